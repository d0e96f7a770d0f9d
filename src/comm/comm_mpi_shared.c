/* Owns the memory that the ranks of a host share, and which ranks these are.  What is done in it is
 * shared.c's.
 *
 * Objects of POSIX shared memory rather than MPI_Win_allocate_shared: when one rank finds no room for its
 * window (a small /dev/shm, a limit on file sizes), Open MPI 4.1 leaves the others waiting for ever; and a
 * window's pages are not reserved, so that a tmpfs that is full ends the run in its first step with SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/timer.h"
#include "comm/comm_mpi.h"
#include "comm/fiber.h"

enum { NAME = 64 };

/* The vectors of one ls_comm_vectors_create. */
struct window {
    struct ls_shared shared; /* first */
    struct ls_mpi *mpi;
    uint64_t key;    /* in the names of its segments */
    void **segments; /* (place.size) */
    size_t *bytes;   /* of each */
};

static int ranks_per_host(void)
{
    const char *text = getenv("LOCKSTEP_RANKS_PER_HOST");
    const long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n < INT_MAX ? (int)n : INT_MAX;
}

/* The communicator of the ranks that this one shares memory with, in their order among all. */
static MPI_Comm split_by_memory(struct ls_mpi *mpi)
{
    const int most = ranks_per_host();
    MPI_Comm host = MPI_COMM_NULL, part = MPI_COMM_NULL;
    int rank = 0;
    ls_mpi_check(mpi, "MPI_Comm_split_type",
                 MPI_Comm_split_type(mpi->world, MPI_COMM_TYPE_SHARED, mpi->base.rank, MPI_INFO_NULL, &host));
    MPI_Comm_rank(host, &rank);
    ls_mpi_check(mpi, "MPI_Comm_split", MPI_Comm_split(host, rank / most, rank, &part));
    MPI_Comm_free(&host);
    MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN);
    return part;
}

/* From each rank's leader, the lowest rank of its host: hosts as ranges of ranks.  Returns whether they are.
 */
static int find_members(struct ls_mpi_hosts *hosts, const int *leaders, int size)
{
    int n = 0;
    for (int rank = 0; rank < size; rank++) {
        if (leaders[rank] == rank)
            hosts->first[n++] = rank;
        else if (rank == 0 || leaders[rank] != leaders[rank - 1])
            return 0;
    }
    hosts->first[n] = size;
    hosts->members = (struct ls_members){n, hosts->first};
    return 1;
}

static void find_place(struct ls_mpi_hosts *hosts, int rank, int size)
{
    const int *first = hosts->first, n = hosts->members.n;
    int least = INT_MAX, most = 0, host = 0;
    for (int i = 0; i < n; i++) {
        const int held = first[i + 1] - first[i];
        least = held < least ? held : least;
        most = held > most ? held : most;
        host = first[i] <= rank ? i : host;
    }
    hosts->place = (struct ls_place){.rank = rank - first[host],
                                     .size = first[host + 1] - first[host],
                                     .first_rank = first[host],
                                     .n_ranks = size,
                                     .n_lanes = n > 1 ? least : 0,
                                     .even = least == most};
    hosts->share = most > 1;
}

void ls_mpi_hosts_find(struct ls_mpi *mpi)
{
    struct ls_mpi_hosts *hosts = &mpi->hosts;
    const int size = mpi->base.size;
    int leader = mpi->base.rank;
    struct ls_error err;
    int *leaders = ls_alloc((size_t)size, sizeof *leaders, "hosts of the ranks", &err);
    hosts->first = ls_alloc((size_t)size + 1, sizeof *hosts->first, "hosts of the ranks", &err);
    if (!leaders || !hosts->first)
        ls_mpi_check(mpi, "memory for the table of hosts", MPI_ERR_NO_MEM);
    hosts->comm = split_by_memory(mpi);
    ls_mpi_check(mpi, "MPI_Bcast", MPI_Bcast(&leader, 1, MPI_INT, 0, hosts->comm));
    ls_mpi_check(mpi, "MPI_Allgather", MPI_Allgather(&leader, 1, MPI_INT, leaders, 1, MPI_INT, mpi->world));
    if (find_members(hosts, leaders, size))
        find_place(hosts, mpi->base.rank, size);
    ls_free(leaders);
}

void ls_mpi_hosts_release(struct ls_mpi *mpi)
{
    ls_mpi_reducer_release(&mpi->hosts.across);
    if (mpi->hosts.comm != MPI_COMM_NULL)
        MPI_Comm_free(&mpi->hosts.comm);
    ls_free(mpi->hosts.first);
}

struct awaited {
    const _Atomic uint64_t *flag;
    uint64_t value;
};

static int has_come(void *context)
{
    const struct awaited *awaited = context;
    if (atomic_load_explicit(awaited->flag, memory_order_acquire) >= awaited->value)
        return 1;
    if (!ls_fiber_is_inside()) /* else there is work to do */
        sched_yield();
    return 0;
}

static void wait_patiently(void *self, const _Atomic uint64_t *flag, uint64_t value)
{
    struct window *window = self;
    struct awaited awaited = {flag, value};
    ls_mpi_wait_until(&window->mpi->watch, has_come, &awaited, "the allreduce with the ranks of its host");
}

/* Spinning pays when everybody it waits for is running. */
static int spins(int ranks)
{
    enum { SPINS = 2000 }; /* some 20 us */
    return ranks <= sysconf(_SC_NPROCESSORS_ONLN) ? SPINS : 0;
}

/* An object of POSIX shared memory in this process: a rank's segment. */
static void *map_segment(int file, size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return at == MAP_FAILED ? NULL : at;
}

static const char *name_of(const struct window *window, int rank, char name[NAME])
{
    snprintf(name, NAME, "/lockstep-%llx-%d", (unsigned long long)window->key, rank);
    return name;
}

/* Its pages are reserved, on this rank's side of the machine: later nobody can find that there is no room.
 * Returns 0, or why not. */
static int create_segment(struct window *window, size_t bytes)
{
    char name[NAME];
    const int rank = window->shared.place.rank;
    const int file = shm_open(name_of(window, rank, name), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0)
        return errno;
    window->bytes[rank] = bytes;
    int why = posix_fallocate(file, 0, (off_t)bytes);
    if (why == 0 && !(window->segments[rank] = map_segment(file, bytes)))
        why = errno;
    close(file);
    return why;
}

/* Returns 0, or why not. */
static int attach_segments(struct window *window)
{
    char name[NAME];
    for (int rank = 0; rank < window->shared.place.size; rank++) {
        struct stat about;
        if (rank == window->shared.place.rank)
            continue;
        const int file = shm_open(name_of(window, rank, name), O_RDWR | O_CLOEXEC, 0);
        if (file < 0)
            return errno;
        if (fstat(file, &about) == 0 && about.st_size > 0) {
            window->bytes[rank] = (size_t)about.st_size;
            window->segments[rank] = map_segment(file, window->bytes[rank]);
        }
        const int why = errno;
        close(file);
        if (!window->segments[rank])
            return why;
    }
    return 0;
}

/* Collective.  The lowest of the ranks that failed tells why, once: the run goes on, but slower. */
static int failed_anywhere(struct window *window, int why, size_t bytes)
{
    struct ls_mpi *mpi = window->mpi;
    const struct ls_comm *comm = &mpi->base;
    const uint64_t mine = why ? (uint64_t)(comm->size - comm->rank) : 0;
    uint64_t first = mine;
    comm->ops->take_largest(&mpi->base, &first, 1);
    if (first > 0 && first == mine && !mpi->hosts.has_told)
        fprintf(stderr,
                "warning: rank %d of %d, on %s, finds no room for %.1f MB in the memory that ranks of a host "
                "share (/dev/shm): %s; all ranks send messages instead, which is slower\n",
                comm->rank, comm->size, comm->hosts[comm->rank], (double)bytes / 1e6, strerror(why));
    mpi->hosts.has_told |= first > 0;
    return first > 0;
}

/* Collective over all ranks.  The names are gone again before anything else can happen, so that nothing is
 * left behind by a job that is killed. */
static int open_window(struct window *window, size_t bytes)
{
    char name[NAME];
    struct ls_mpi *mpi = window->mpi;
    window->key = (uint64_t)getpid() << 40 ^ (uint64_t)(ls_now_s() * 1e9);
    ls_mpi_check(mpi, "MPI_Bcast", MPI_Bcast(&window->key, 1, MPI_UINT64_T, 0, mpi->hosts.comm));
    int failed = failed_anywhere(window, create_segment(window, bytes), bytes);
    if (!failed)
        failed = failed_anywhere(window, attach_segments(window), bytes);
    if (window->bytes[window->shared.place.rank] > 0)
        shm_unlink(name_of(window, window->shared.place.rank, name));
    return !failed;
}

static void close_window(struct window *window)
{
    if (!window)
        return;
    for (int rank = 0; window->segments && rank < window->shared.place.size; rank++)
        if (window->segments[rank])
            munmap(window->segments[rank], window->bytes[rank]);
    ls_shared_release(&window->shared);
    ls_free(window->segments);
    ls_free(window->bytes);
    ls_free(window);
}

/* Ranks of a host that each get the sum into their own memory.  Two gain from it in long vectors: 4 MB take
 * 143 us instead of 212 (README, `own` and `shared`).  With p ranks one sum for all moves n + 2 n / p, one
 * each 2 n: where that begins to cost more was not measured. */
enum { MOST_OWN = 2 };

static struct window *create(struct ls_mpi *mpi, const struct ls_vectors *vectors, struct ls_error *err)
{
    const struct ls_place *place = &mpi->hosts.place;
    struct window *window = ls_alloc(1, sizeof *window, "shared vectors", err);
    if (!window)
        return NULL;
    window->mpi = mpi;
    window->segments = ls_alloc((size_t)place->size, sizeof *window->segments, "shared vectors", err);
    window->bytes = ls_alloc((size_t)place->size, sizeof *window->bytes, "shared vectors", err);
    window->shared = (struct ls_shared){
        .place = *place,
        .wait = wait_patiently,
        .self = window,
        .n_spins = spins(place->size),
        .most_own = MOST_OWN,
    };
    if (place->rank < place->n_lanes)
        window->shared.slots[LS_SHARED_WAITED].across = &mpi->hosts.across.tree;
    if (window->segments && window->bytes && ls_shared_init(&window->shared, vectors->n_floats, err) == LS_OK)
        return window;
    close_window(window);
    return NULL;
}

/* Without room for a window (a small /dev/shm) the vectors stay private, on all ranks. */
enum ls_code ls_mpi_vectors_create(struct ls_comm *comm, struct ls_vectors *vectors, struct ls_error *err)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    if (!mpi->hosts.share)
        return LS_OK;
    struct window *window = create(mpi, vectors, err);
    uint64_t failed = window == NULL;
    comm->ops->take_largest(comm, &failed, 1);
    if (failed) {
        if (window)
            ls_fail(err, LS_FAILED, "another rank is out of memory");
        close_window(window);
        return LS_FAILED;
    }
    const int first = window->shared.place.rank == 0;
    if (!open_window(window, ls_shared_bytes(vectors->n, vectors->n_floats, first))) {
        close_window(window);
        return LS_OK;
    }
    ls_shared_attach(&window->shared, window->segments);
    for (int i = 0; i < vectors->n; i++)
        vectors->at[i] = ls_shared_vector(&window->shared, i);
    vectors->shared = &window->shared;
    return LS_OK;
}

void ls_mpi_vectors_destroy(struct ls_comm *comm, struct ls_vectors *vectors)
{
    (void)comm;
    close_window((struct window *)vectors->shared);
}
