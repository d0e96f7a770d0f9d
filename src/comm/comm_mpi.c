/* Ranks over MPI; only comm_mpi*.[ch] include mpi.h.
 *
 * Works on a communicator of its own, with errors returned: a call that fails is named in the message, with
 * the rank and MPI's words for it, and then the job ends, since a rank that cannot communicate cannot agree
 * on anything.  (MPI 3 has no way to go on: the others would wait for ever.)  Every call that waits for
 * another rank is the nonblocking one, ended by a wait that has a deadline (comm_mpi_wait.h).  Only the
 * thread that called MPI_Init communicates: FUNNELED. The order of additions is not decided here: the tree is
 * tree_allreduce.c's, over messages that this file moves. */
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/comm_mpi.h"

enum { TAG_GATHER = 0 }; /* the channels of ls_wire are the others */

static void end_job(struct ls_comm *comm, int exit_status) __attribute__((noreturn));
static void end_job(struct ls_comm *comm, int exit_status)
{
    MPI_Abort(ls_mpi_of(comm)->world, exit_status);
    _Exit(exit_status);
}

void ls_mpi_check(struct ls_mpi *mpi, const char *call, int code)
{
    if (code == MPI_SUCCESS)
        return;
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    char host[LS_HOST_TEXT];
    int length = 0;
    MPI_Error_string(code, text, &length);
    ls_comm_name_host(host);
    fprintf(stderr, "lockstep: %s failed on rank %d of %d, on %s: %s\n", call, mpi->base.rank, mpi->base.size,
            host, text);
    ls_comm_abort(&mpi->base, LS_FAILED);
}

/* Ends a nonblocking call that was started with `code`. */
static void finish(struct ls_mpi *mpi, const char *call, int code, MPI_Request *request)
{
    ls_mpi_check(mpi, call, code);
    ls_mpi_check(mpi, call, ls_mpi_wait(&mpi->watch, request, call));
}

/* The one place where a count becomes MPI's int. */
static int narrow(struct ls_mpi *mpi, int64_t count)
{
    if (count < 0 || count > INT_MAX)
        ls_mpi_check(mpi, "a message longer than MPI can count", MPI_ERR_COUNT);
    return (int)count;
}

/* How many of `left` elements go into the next message. */
static int next_count(struct ls_mpi *mpi, size_t left, size_t element_bytes)
{
    const size_t most = mpi->base.most_bytes / element_bytes;
    return narrow(mpi, (int64_t)(left < most ? left : most));
}

static int world_rank(const struct ls_mpi_reducer *reducer, int member)
{
    return reducer->first ? reducer->first[member] + reducer->lane : member;
}

static void wire_send(void *self, int slot, const float *values, ptrdiff_t n, int to, int channel)
{
    struct ls_mpi_reducer *r = self;
    ls_mpi_check(r->mpi, "MPI_Isend",
                 MPI_Isend(values, narrow(r->mpi, n), MPI_FLOAT, world_rank(r, to), r->tag + channel,
                           r->mpi->world, &r->requests[slot]));
}

static void wire_receive(void *self, int slot, float *values, ptrdiff_t n, int from, int channel)
{
    struct ls_mpi_reducer *r = self;
    ls_mpi_check(r->mpi, "MPI_Irecv",
                 MPI_Irecv(values, narrow(r->mpi, n), MPI_FLOAT, world_rank(r, from), r->tag + channel,
                           r->mpi->world, &r->requests[slot]));
}

static void wire_wait(void *self, int slot)
{
    struct ls_mpi_reducer *r = self;
    if (r->requests[slot] != MPI_REQUEST_NULL)
        finish(r->mpi, "a message of the allreduce", MPI_SUCCESS, &r->requests[slot]);
}

static enum ls_code create(struct ls_mpi_reducer *reducer, int rank, struct ls_members members,
                           const struct ls_reduce_tuning *tuning, const struct ls_mpi_reducer *beside,
                           struct ls_error *err)
{
    const struct ls_wire wire = {rank, members.n, reducer, wire_send, wire_receive, wire_wait};
    const int n_slots = ls_reduce_slots(members.n, tuning);
    reducer->requests = ls_alloc((size_t)n_slots, sizeof(MPI_Request), "messages in flight", err);
    if (!reducer->requests)
        return LS_FAILED;
    for (int slot = 0; slot < n_slots; slot++)
        reducer->requests[slot] = MPI_REQUEST_NULL;
    return ls_reducer_init(&reducer->tree, &wire, members.first, tuning, beside ? &beside->tree : NULL, err);
}

enum ls_code ls_mpi_reducer_create(struct ls_mpi_reducer *reducer, struct ls_mpi *mpi,
                                   const struct ls_reduce_tuning *tuning, struct ls_error *err)
{
    *reducer = (struct ls_mpi_reducer){.mpi = mpi};
    return create(reducer, mpi->base.rank, (struct ls_members){mpi->base.size, NULL}, tuning, NULL, err);
}

enum ls_code ls_mpi_lane_create(struct ls_mpi_reducer *reducer, struct ls_mpi *mpi,
                                const struct ls_reduce_tuning *tuning, const struct ls_mpi_reducer *beside,
                                struct ls_error *err)
{
    const struct ls_mpi_hosts *hosts = &mpi->hosts;
    const struct ls_place *place = &hosts->place;
    int host = 0;
    *reducer = (struct ls_mpi_reducer){.mpi = mpi, .first = hosts->first, .lane = place->rank};
    if (!hosts->share || place->rank >= place->n_lanes)
        return LS_OK;
    while (hosts->first[host] < place->first_rank)
        host++;
    return create(reducer, host, hosts->members, tuning, beside, err);
}

void ls_mpi_reducer_release(struct ls_mpi_reducer *reducer)
{
    ls_free(reducer->requests);
    reducer->requests = NULL;
    ls_reducer_release(&reducer->tree);
}

static enum ls_code take_reducers(struct ls_mpi *mpi, const struct ls_reduce_tuning *tuning,
                                  struct ls_error *err)
{
    const enum ls_code code = ls_mpi_reducer_create(&mpi->reducer, mpi, tuning, err);
    mpi->tuning = *tuning;
    return code == LS_OK ? ls_mpi_lane_create(&mpi->hosts.across, mpi, tuning, &mpi->reducer, err) : code;
}

static enum ls_code tune(struct ls_comm *comm, const struct ls_reduce_tuning *tuning, struct ls_error *err)
{
    ls_mpi_reducer_release(&ls_mpi_of(comm)->hosts.across);
    ls_mpi_reducer_release(&ls_mpi_of(comm)->reducer);
    return take_reducers(ls_mpi_of(comm), tuning, err);
}

static void destroy(struct ls_comm *comm)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    const int owns_mpi = mpi->owns_mpi;
    ls_mpi_flights_release(mpi);
    ls_mpi_reducer_release(&mpi->reducer);
    ls_mpi_hosts_release(mpi);
    ls_mpi_watch_release(&mpi->watch);
    if (mpi->world != MPI_COMM_NULL)
        ls_mpi_check(mpi, "MPI_Comm_free", MPI_Comm_free(&mpi->world));
    ls_comm_release_tables(comm);
    ls_free(mpi);
    if (owns_mpi)
        MPI_Finalize();
}

static void barrier(struct ls_comm *comm)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    MPI_Request request;
    finish(mpi, "MPI_Ibarrier", MPI_Ibarrier(mpi->world, &request), &request);
}

static void rest(struct ls_comm *comm)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    MPI_Request request;
    ls_mpi_check(mpi, "MPI_Ibarrier", MPI_Ibarrier(mpi->world, &request));
    ls_mpi_check(mpi, "MPI_Ibarrier", ls_mpi_wait_asleep(&mpi->watch, &request, "a barrier"));
}

static enum ls_code create_part(struct ls_comm *comm, int n, struct ls_comm **part, struct ls_error *err)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    MPI_Comm some = MPI_COMM_NULL;
    ls_mpi_check(mpi, "MPI_Comm_split",
                 MPI_Comm_split(mpi->world, comm->rank < n ? 0 : MPI_UNDEFINED, comm->rank, &some));
    return some == MPI_COMM_NULL ? LS_OK : ls_mpi_create_on(part, some, 0, err);
}

static void reduce_tree(struct ls_comm *comm, int direct, int64_t n_leaves, ptrdiff_t n, float *sum,
                        float *const *roots, int n_roots)
{
    struct ls_reducer *reducer = &ls_mpi_of(comm)->reducer.tree;
    reducer->always_direct = direct;
    ls_tree_allreduce(reducer, n_leaves, n, sum, roots, n_roots);
}

static void scatter(struct ls_comm *comm, int64_t n_leaves, const ptrdiff_t *cuts, float *sum,
                    float *const *roots, int n_roots)
{
    ls_tree_scatter(&ls_mpi_of(comm)->reducer.tree, n_leaves, &(struct ls_slices){cuts, 1, 0}, sum, roots,
                    n_roots);
}

static void share(struct ls_comm *comm, const ptrdiff_t *cuts, float *values)
{
    ls_tree_share(&ls_mpi_of(comm)->reducer.tree, &(struct ls_slices){cuts, 1, 0}, values);
}

/* Without a time limit MPI's own blocking sum, since that is what the tree is compared with: the nonblocking
 * twin is another algorithm, and slower. */
static void add_floats(struct ls_comm *comm, float *values, ptrdiff_t n)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    while (n > 0) {
        const int count = next_count(mpi, (size_t)n, sizeof *values);
        MPI_Request request;
        if (mpi->watch.timeout_s > 0)
            finish(mpi, "MPI_Iallreduce",
                   MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, mpi->world, &request),
                   &request);
        else
            ls_mpi_check(mpi, "MPI_Allreduce",
                         MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, mpi->world));
        values += count;
        n -= count;
    }
}

static void add_counts(struct ls_comm *comm, int64_t *values, int n)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    MPI_Request request;
    finish(mpi, "MPI_Iallreduce",
           MPI_Iallreduce(MPI_IN_PLACE, values, n, MPI_INT64_T, MPI_SUM, mpi->world, &request), &request);
}

static void take_largest(struct ls_comm *comm, uint64_t *values, int n)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    MPI_Request request;
    finish(mpi, "MPI_Iallreduce",
           MPI_Iallreduce(MPI_IN_PLACE, values, n, MPI_UINT64_T, MPI_MAX, mpi->world, &request), &request);
}

static void broadcast(struct ls_comm *comm, void *bytes, size_t n, int from)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    MPI_Request request;
    finish(mpi, "MPI_Ibcast",
           MPI_Ibcast(bytes, narrow(mpi, (int64_t)n), MPI_BYTE, from, mpi->world, &request), &request);
}

static void collect(struct ls_comm *comm, const void *mine, size_t n, void *all)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    const int count = narrow(mpi, (int64_t)n);
    MPI_Request request;
    finish(mpi, "MPI_Iallgather",
           MPI_Iallgather(mine, count, MPI_BYTE, all, count, MPI_BYTE, mpi->world, &request), &request);
}

static void send_bytes(struct ls_mpi *mpi, const char *bytes, size_t n, int to)
{
    while (n > 0) {
        const int count = next_count(mpi, n, 1);
        MPI_Request request;
        finish(mpi, "MPI_Isend", MPI_Isend(bytes, count, MPI_BYTE, to, TAG_GATHER, mpi->world, &request),
               &request);
        bytes += count;
        n -= (size_t)count;
    }
}

static void receive_bytes(struct ls_mpi *mpi, char *bytes, size_t n, int from)
{
    while (n > 0) {
        const int count = next_count(mpi, n, 1);
        MPI_Request request;
        finish(mpi, "MPI_Irecv", MPI_Irecv(bytes, count, MPI_BYTE, from, TAG_GATHER, mpi->world, &request),
               &request);
        bytes += count;
        n -= (size_t)count;
    }
}

/* Messages rather than MPI_Gatherv, whose displacements are ints: the whole may be longer than 2 GiB. */
static void gather(struct ls_comm *comm, const void *mine, size_t mine_bytes, void *out, const size_t *sizes)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    if (comm->rank != 0) {
        send_bytes(mpi, mine, mine_bytes, 0);
        return;
    }
    char *at = out;
    if (mine_bytes > 0)
        memcpy(at, mine, mine_bytes);
    for (int rank = 1; rank < comm->size; rank++) {
        at += sizes[rank - 1];
        receive_bytes(mpi, at, sizes[rank], rank);
    }
}

static void set_stall_timeout(struct ls_comm *comm, double seconds)
{
    ls_mpi_of(comm)->watch.timeout_s = seconds;
}

static int meet(struct ls_comm *comm, double seconds)
{
    return ls_mpi_meet(&ls_mpi_of(comm)->watch, seconds);
}

static const struct ls_comm_ops mpi_ops = {
    .destroy = destroy,
    .barrier = barrier,
    .rest = rest,
    .create_part = create_part,
    .abort = end_job,
    .reduce_tree = reduce_tree,
    .scatter = scatter,
    .share = share,
    .add_floats = add_floats,
    .add_counts = add_counts,
    .take_largest = take_largest,
    .broadcast = broadcast,
    .collect = collect,
    .gather = gather,
    .tune = tune,
    .set_stall_timeout = set_stall_timeout,
    .meet = meet,
    .vectors_create = ls_mpi_vectors_create,
    .vectors_destroy = ls_mpi_vectors_destroy,
    .flights_create = ls_mpi_flights_create,
    .start = ls_mpi_start,
    .await = ls_mpi_await,
    .can_start = ls_mpi_can_start,
    .progress = ls_mpi_progress,
    .finish = ls_mpi_finish,
    .travels = ls_mpi_travels,
};

static void learn_hosts(struct ls_comm *comm)
{
    const struct ls_mpi_hosts *hosts = &ls_mpi_of(comm)->hosts;
    comm->n_hosts = hosts->share ? hosts->members.n : comm->size;
    char host[LS_HOST_TEXT] = "";
    ls_comm_name_host(host);
    collect(comm, host, sizeof host, comm->hosts);
    for (int rank = 0; rank < comm->size; rank++)
        comm->ranks_on_host += strcmp(comm->hosts[rank], host) == 0;
}

/* Everything that takes memory, with one agreement at its end. */
static enum ls_code take_memory(struct ls_mpi *mpi, struct ls_error *err)
{
    const struct ls_reduce_tuning tuning = ls_reduce_default_tuning(mpi->hosts.members.n != 1);
    uint64_t failed = ls_mpi_watch_init(&mpi->watch, &mpi->base, mpi->world, err) != LS_OK ||
                      ls_comm_take_tables(&mpi->base, err) != LS_OK ||
                      take_reducers(mpi, &tuning, err) != LS_OK;
    const uint64_t own = failed;
    take_largest(&mpi->base, &failed, 1);
    if (failed && !own)
        ls_fail(err, LS_FAILED, "another rank is out of memory");
    return failed ? LS_FAILED : LS_OK;
}

enum ls_code ls_mpi_create_on(struct ls_comm **comm, MPI_Comm world, int owns_mpi, struct ls_error *err)
{
    struct ls_mpi *mpi = ls_alloc(1, sizeof *mpi, "communication of ranks", err);
    *comm = NULL;
    if (!mpi)
        MPI_Abort(MPI_COMM_WORLD, LS_FAILED); /* nothing to agree with yet */
    *mpi = (struct ls_mpi){
        .base = {.ops = &mpi_ops, .most_bytes = 1 << 30}, .world = world, .owns_mpi = owns_mpi};
    MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN); /* until now MPI's default: a failure ends the job */
    MPI_Comm_rank(world, &mpi->base.rank);
    MPI_Comm_size(world, &mpi->base.size);
    ls_comm_mpi_library(mpi->base.library, sizeof mpi->base.library);
    ls_mpi_hosts_find(mpi);
    if (take_memory(mpi, err) != LS_OK) {
        destroy(&mpi->base);
        return LS_FAILED;
    }
    learn_hosts(&mpi->base);
    *comm = &mpi->base;
    return LS_OK;
}
