/* Owns which way to communicate a run gets, the tables that all ways share, and collectives of small things.
 *
 * Memory for these is taken when communication starts, so that no later call can fail for memory on one rank
 * and leave the others waiting. */
#include "comm/comm.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "comm/comm_backend.h"

/* What started this process: the environment variable that tells, and the number of ranks it claims (0: not
 * said). */
struct launcher {
    const char *variable;
    int n_ranks;
};

static int count_in(const char *variable)
{
    const char *text = getenv(variable);
    if (!text)
        return 0;
    const long n = strtol(text, NULL, 10);
    return n > 0 && n <= INT_MAX ? (int)n : 0;
}

/* Open MPI's mpirun; MPICH's, Intel's and Slurm's pmi2; MVAPICH; PMIx (Slurm, PRRTE) and PMI without a count
 * of their own. Slurm's count is last: inside an allocation, mpirun's ranks inherit that of the step that
 * started mpirun's daemons.  It alone counts only when it says several, since an interactive shell under srun
 * is a step of one. */
static struct launcher find_launcher(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"};
    static const char *const ranks[] = {"PMIX_RANK", "PMI_RANK"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (getenv(sizes[i]))
            return (struct launcher){sizes[i], count_in(sizes[i])};
    const int n_tasks = count_in("SLURM_STEP_NUM_TASKS");
    if (n_tasks > 1)
        return (struct launcher){"SLURM_STEP_NUM_TASKS", n_tasks};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        if (getenv(ranks[i]))
            return (struct launcher){ranks[i], n_tasks};
    return (struct launcher){0};
}

enum ls_code ls_comm_create(struct ls_comm **comm, struct ls_error *err)
{
    *comm = NULL;
    const struct launcher launcher = find_launcher();
#if LS_WITH_MPI
    if (launcher.variable || ls_comm_mpi_is_running())
        return ls_comm_create_mpi(comm, launcher.n_ranks, launcher.variable, err);
#else
    if (launcher.n_ranks > 1)
        return ls_fail(
            err, LS_USAGE,
            "this build has no MPI, but it was started as one of %d ranks (%s=%s): each would train alone; "
            "build with `make MPI=1`, or start one process",
            launcher.n_ranks, launcher.variable, getenv(launcher.variable));
#endif
    return ls_comm_create_solo(comm, err);
}

void ls_comm_destroy(struct ls_comm **comm)
{
    if (!comm || !*comm)
        return;
    (*comm)->ops->destroy(*comm);
    *comm = NULL;
}

enum ls_code ls_comm_take_tables(struct ls_comm *comm, struct ls_error *err)
{
    const size_t n = (size_t)comm->size;
    comm->hosts = ls_alloc(n, sizeof *comm->hosts, "host names of the ranks", err);
    comm->hashes = ls_alloc(n, sizeof *comm->hashes, "hashes of the ranks", err);
    comm->values = ls_alloc(n, sizeof *comm->values, "values of the ranks", err);
    comm->sizes = ls_alloc(n, sizeof *comm->sizes, "sizes of the ranks", err);
    return comm->hosts && comm->hashes && comm->values && comm->sizes ? LS_OK : LS_FAILED;
}

void ls_comm_release_tables(struct ls_comm *comm)
{
    ls_free(comm->hosts);
    ls_free(comm->hashes);
    ls_free(comm->values);
    ls_free(comm->sizes);
}

void ls_comm_name_host(char host[LS_HOST_TEXT])
{
    if (gethostname(host, LS_HOST_TEXT) != 0)
        snprintf(host, LS_HOST_TEXT, "unknown host");
    host[LS_HOST_TEXT - 1] = '\0';
}

enum ls_code ls_comm_create_part(struct ls_comm *comm, int n, struct ls_comm **part, struct ls_error *err)
{
    assert(n >= 1 && n <= comm->size);
    *part = NULL;
    err->code = LS_OK;
    if (n > 1)
        comm->ops->create_part(comm, n, part, err);
    else if (comm->rank == 0)
        err->code = ls_comm_create_solo(part, err);
    const enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK)
        ls_comm_destroy(part);
    return code;
}

int ls_comm_rank(const struct ls_comm *comm)
{
    return comm->rank;
}

int ls_comm_size(const struct ls_comm *comm)
{
    return comm->size;
}

const char *ls_comm_host(const struct ls_comm *comm)
{
    return comm->hosts[comm->rank];
}

const char *ls_comm_host_of(const struct ls_comm *comm, int rank)
{
    return comm->hosts[rank];
}

int ls_comm_ranks_on_host(const struct ls_comm *comm)
{
    return comm->ranks_on_host;
}

int ls_comm_n_hosts(const struct ls_comm *comm)
{
    return comm->n_hosts;
}

const char *ls_comm_library(const struct ls_comm *comm)
{
    return comm->library;
}

void ls_comm_set_stall_timeout(struct ls_comm *comm, double seconds)
{
    comm->ops->set_stall_timeout(comm, seconds);
}

enum ls_code ls_comm_sum_counts(struct ls_comm *comm, int64_t *counts, int n, struct ls_error *err)
{
    (void)err;
    comm->ops->add_counts(comm, counts, n);
    return LS_OK;
}

enum ls_code ls_comm_spread(struct ls_comm *comm, double value, struct ls_spread *spread,
                            struct ls_error *err)
{
    (void)err;
    double *all = comm->values;
    comm->ops->collect(comm, &value, sizeof value, all);
    *spread = (struct ls_spread){.min = all[0], .max = all[0]};
    for (int rank = 0; rank < comm->size; rank++) {
        spread->mean += all[rank] / comm->size;
        if (all[rank] < spread->min)
            spread->min = all[rank];
        if (all[rank] > spread->max)
            spread->max = all[rank];
    }
    return LS_OK;
}

void ls_comm_collect_slices(struct ls_comm *comm, const ptrdiff_t *cuts, const float *mine, float *whole)
{
    for (int rank = 0; rank < comm->size; rank++)
        comm->sizes[rank] = (size_t)(cuts[rank + 1] - cuts[rank]) * sizeof *mine;
    comm->ops->gather(comm, mine, comm->sizes[comm->rank], whole ? whole + cuts[0] : NULL, comm->sizes);
}

void ls_comm_take_largest(struct ls_comm *comm, uint64_t *values, int n)
{
    comm->ops->take_largest(comm, values, n);
}

void ls_comm_broadcast(struct ls_comm *comm, void *bytes, size_t n, int from)
{
    comm->ops->broadcast(comm, bytes, n, from);
}

enum ls_code ls_comm_gather(struct ls_comm *comm, const void *mine, size_t bytes, void *out,
                            struct ls_error *err)
{
    (void)err;
    for (int rank = 0; rank < comm->size; rank++)
        comm->sizes[rank] = bytes;
    comm->ops->gather(comm, mine, bytes, out, comm->sizes);
    return LS_OK;
}

enum ls_code ls_comm_gather_variable(struct ls_comm *comm, const void *mine, size_t mine_bytes, void **out,
                                     size_t *sizes, struct ls_error *err)
{
    struct ls_error outcome = {.code = LS_OK};
    *out = NULL;
    comm->ops->collect(comm, &mine_bytes, sizeof mine_bytes, comm->sizes);
    if (comm->rank == 0) {
        size_t total = 0;
        for (int rank = 0; rank < comm->size && total != SIZE_MAX; rank++)
            total = comm->sizes[rank] > SIZE_MAX - total ? SIZE_MAX : total + comm->sizes[rank];
        *out = ls_alloc(total, 1, "what all ranks sent to rank 0", &outcome);
    }
    if (ls_comm_agree(comm, &outcome) != LS_OK) {
        if (err)
            *err = outcome;
        return outcome.code;
    }
    comm->ops->gather(comm, mine, mine_bytes, *out, comm->sizes);
    if (comm->rank == 0)
        memcpy(sizes, comm->sizes, (size_t)comm->size * sizeof *sizes);
    return LS_OK;
}

enum ls_code ls_comm_barrier(struct ls_comm *comm, struct ls_error *err)
{
    (void)err;
    comm->ops->barrier(comm);
    return LS_OK;
}

void ls_comm_rest(struct ls_comm *comm)
{
    comm->ops->rest(comm);
}

void ls_comm_abort(struct ls_comm *comm, int exit_status)
{
    fflush(NULL);
    if (comm)
        comm->ops->abort(comm, exit_status);
    _Exit(exit_status);
}

enum ls_code ls_comm_tune(struct ls_comm *comm, const struct ls_reduce_tuning *tuning, size_t most_bytes,
                          struct ls_error *err)
{
    struct ls_error outcome = {.code = LS_OK};
    comm->most_bytes = most_bytes;
    comm->ops->tune(comm, tuning, &outcome);
    const enum ls_code code = ls_comm_agree(comm, &outcome);
    if (code != LS_OK && err)
        *err = outcome;
    return code;
}

const char *ls_comm_library_built(void)
{
#if LS_WITH_MPI
    static char name[80];
    ls_comm_mpi_library(name, sizeof name);
    return name;
#else
    return "none";
#endif
}
