/* Owns what all ways to communicate share: which one a run gets, agreement, and the comparison of replicas.
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
#include "comm/shared.h"

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

/* Puts " (rank R of P, on HOST)" behind the message, cutting the message rather than that. */
static void name_rank(const struct ls_comm *comm, int rank, struct ls_error *err)
{
    char suffix[LS_HOST_TEXT + 64];
    const int length =
        snprintf(suffix, sizeof suffix, " (rank %d of %d, on %s)", rank, comm->size, comm->hosts[rank]);
    size_t at = strlen(err->text);
    if (at > sizeof err->text - 1 - (size_t)length)
        at = sizeof err->text - 1 - (size_t)length;
    memcpy(err->text + at, suffix, (size_t)length + 1);
}

enum ls_code ls_comm_agree(struct ls_comm *comm, struct ls_error *err)
{
    /* The worst code and, of those who have it, the lowest rank: one number to take the largest of. */
    const uint64_t own =
        err->code == LS_OK ? 0 : (uint64_t)err->code << 32 | (uint64_t)(INT32_MAX - comm->rank);
    uint64_t worst = own;
    comm->ops->take_largest(comm, &worst, 1);
    if (worst == 0)
        return LS_OK;
    const enum ls_code code = (enum ls_code)(worst >> 32);
    const int from = (int)(INT32_MAX - (worst & UINT32_MAX));

    struct ls_error theirs = {.code = code};
    if (comm->rank == from)
        snprintf(theirs.text, sizeof theirs.text, "%s", err->text);
    comm->ops->broadcast(comm, theirs.text, sizeof theirs.text, from);
    theirs.text[sizeof theirs.text - 1] = '\0';
    uint64_t any_differs = err->code != code || strcmp(err->text, theirs.text) != 0;
    comm->ops->take_largest(comm, &any_differs, 1);
    *err = theirs;
    if (any_differs)
        name_rank(comm, from, err);
    return code;
}

enum ls_code ls_comm_allreduce(struct ls_comm *comm, enum ls_allreduce how, int64_t n_leaves, ptrdiff_t n,
                               float *sum, float *const *roots, int n_roots, struct ls_error *err)
{
    (void)err;
    assert(n >= 0 && n_leaves >= 0 && n_roots >= 0 && n_roots <= LS_MAX_ROOTS);
    if (how != LS_ALLREDUCE_MPI) {
        comm->ops->reduce_tree(comm, how == LS_ALLREDUCE_TREE_DIRECT, n_leaves, n, sum, roots, n_roots);
        return LS_OK;
    }
    if (n_roots == 0)
        memset(sum, 0, (size_t)n * sizeof *sum);
    else if (roots[0] != sum)
        memcpy(sum, roots[0], (size_t)n * sizeof *sum);
    for (int root = 1; root < n_roots; root++)
        ls_plan_add(sum, sum, roots[root], n);
    comm->ops->add_floats(comm, sum, n);
    return LS_OK;
}

static enum ls_code take_vectors(struct ls_vectors *vectors, struct ls_error *err)
{
    for (int i = 0; i < vectors->n; i++) {
        vectors->at[i] = ls_alloc((size_t)vectors->n_floats, sizeof(float), "vectors of an allreduce", err);
        if (!vectors->at[i])
            return LS_FAILED;
    }
    return LS_OK;
}

enum ls_code ls_comm_vectors_create(struct ls_comm *comm, int n, ptrdiff_t n_floats,
                                    struct ls_vectors *vectors, struct ls_error *err)
{
    *vectors = (struct ls_vectors){.n = n, .n_floats = n_floats};
    if (err->code == LS_OK) {
        vectors->at = ls_alloc((size_t)n, sizeof *vectors->at, "vectors of an allreduce", err);
        err->code = vectors->at ? LS_OK : LS_FAILED;
    }
    if (ls_comm_agree(comm, err) != LS_OK)
        return err->code;
    if (comm->ops->vectors_create) {
        const enum ls_code code = comm->ops->vectors_create(comm, vectors, err);
        if (code != LS_OK || vectors->shared)
            return code;
    }
    err->code = take_vectors(vectors, err);
    return ls_comm_agree(comm, err);
}

void ls_comm_vectors_destroy(struct ls_comm *comm, struct ls_vectors *vectors)
{
    if (vectors->shared)
        comm->ops->vectors_destroy(comm, vectors);
    for (int i = 0; vectors->at && !vectors->shared && i < vectors->n; i++)
        ls_free(vectors->at[i]);
    ls_free(vectors->at);
    *vectors = (struct ls_vectors){0};
}

/* Where nobody shares, the sum goes into this rank's first root. */
static float *own_sum(struct ls_vectors *vectors, float *const *roots, int n_roots)
{
    return n_roots > 0 ? roots[0] : vectors->at[0];
}

enum ls_code ls_comm_allreduce_vectors(struct ls_comm *comm, enum ls_allreduce how,
                                       struct ls_vectors *vectors, int64_t n_leaves, ptrdiff_t n,
                                       float *const *roots, int n_roots, const float **sum,
                                       struct ls_error *err)
{
    if (how == LS_ALLREDUCE_TREE && vectors->shared) {
        const struct ls_range all = {0, n};
        *sum = ls_shared_can_own(vectors->shared, n_leaves)
                   ? ls_shared_reduce_to_own(vectors->shared, LS_SHARED_WAITED, n_leaves, all, roots, n_roots)
                   : ls_shared_reduce(vectors->shared, LS_SHARED_WAITED, n_leaves, all, roots, n_roots);
        return LS_OK;
    }
    float *own = own_sum(vectors, roots, n_roots);
    *sum = own;
    return ls_comm_allreduce(comm, how, n_leaves, n, own, roots, n_roots, err);
}

void ls_comm_allreduce_range(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                             struct ls_range range, float *const *roots, int n_roots, const float **sum)
{
    float *some[LS_MAX_ROOTS];
    if (vectors->shared) {
        *sum = ls_shared_reduce(vectors->shared, LS_SHARED_WAITED, n_leaves, range, roots, n_roots);
        return;
    }
    float *own = own_sum(vectors, roots, n_roots);
    for (int i = 0; i < n_roots; i++)
        some[i] = roots[i] + range.begin;
    comm->ops->reduce_tree(comm, 0, n_leaves, (ptrdiff_t)(range.end - range.begin), own + range.begin, some,
                           n_roots);
    *sum = own;
}

void ls_comm_scatter_vectors(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                             const ptrdiff_t *cuts, float *const *roots, int n_roots, const float **sum)
{
    if (vectors->shared) {
        *sum = ls_shared_scatter(vectors->shared, LS_SHARED_WAITED, n_leaves, cuts, roots, n_roots);
        return;
    }
    float *own = own_sum(vectors, roots, n_roots);
    comm->ops->scatter(comm, n_leaves, cuts, own, roots, n_roots);
    *sum = own;
}

void ls_comm_share_slices(struct ls_comm *comm, struct ls_vectors *vectors, const ptrdiff_t *cuts,
                          float *values)
{
    if (vectors->shared)
        ls_shared_share(vectors->shared, LS_SHARED_WAITED, cuts, values);
    else
        comm->ops->share(comm, cuts, values);
}

void ls_comm_collect_slices(struct ls_comm *comm, const ptrdiff_t *cuts, const float *mine, float *whole)
{
    for (int rank = 0; rank < comm->size; rank++)
        comm->sizes[rank] = (size_t)(cuts[rank + 1] - cuts[rank]) * sizeof *mine;
    comm->ops->gather(comm, mine, comm->sizes[comm->rank], whole ? whole + cuts[0] : NULL, comm->sizes);
}

enum ls_code ls_comm_flights_create(struct ls_comm *comm, ptrdiff_t most_n, struct ls_error *err)
{
    return comm->ops->flights_create ? comm->ops->flights_create(comm, most_n, err) : LS_OK;
}

static int64_t start_piece(struct ls_comm *comm, struct ls_piece *piece, float *const *roots, int n_roots)
{
    const struct ls_range range = piece->range;
    assert(range.begin <= range.end && n_roots <= LS_MAX_ROOTS);
    piece->n_roots = n_roots;
    memcpy(piece->roots, roots, (size_t)n_roots * sizeof *roots);
    if (comm->ops->start)
        return comm->ops->start(comm, piece);
    if (n_roots == 0)
        memset(piece->vectors->at[0] + range.begin, 0, (size_t)(range.end - range.begin) * sizeof(float));
    return 0;
}

int64_t ls_comm_start(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                      struct ls_range range, float *const *roots, int n_roots)
{
    struct ls_piece piece = {.vectors = vectors, .n_leaves = n_leaves, .range = range};
    return start_piece(comm, &piece, roots, n_roots);
}

int64_t ls_comm_start_scatter(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                              const ptrdiff_t *cuts, float *const *roots, int n_roots)
{
    struct ls_piece piece = {
        .vectors = vectors, .n_leaves = n_leaves, .range = {cuts[0], cuts[comm->size]}, .cuts = cuts};
    return start_piece(comm, &piece, roots, n_roots);
}

int ls_comm_can_start(struct ls_comm *comm)
{
    return !comm->ops->can_start || comm->ops->can_start(comm);
}

void ls_comm_progress(struct ls_comm *comm)
{
    if (comm->ops->progress)
        comm->ops->progress(comm);
}

static const float *sum_of(struct ls_vectors *vectors, float *const *roots, int n_roots)
{
    return vectors->shared ? ((struct ls_shared *)vectors->shared)->sum : own_sum(vectors, roots, n_roots);
}

const float *ls_comm_await(struct ls_comm *comm, int64_t piece, struct ls_vectors *vectors,
                           float *const *roots, int n_roots)
{
    if (comm->ops->await)
        comm->ops->await(comm, piece);
    return sum_of(vectors, roots, n_roots);
}

void ls_comm_finish(struct ls_comm *comm, struct ls_vectors *vectors, float *const *roots, int n_roots,
                    const float **sum)
{
    if (comm->ops->finish)
        comm->ops->finish(comm);
    *sum = sum_of(vectors, roots, n_roots);
}

int ls_comm_travels(const struct ls_comm *comm)
{
    return comm->ops->travels && comm->ops->travels(comm);
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

/* The hash that most ranks have; without a majority, rank 0's.  Returns how many have it.  Boyer and Moore's
 * vote: in the only hash that can be a majority, pairs of ranks that differ cancel out. */
static int take_vote(const struct ls_hash *hashes, int n, struct ls_hash *winner)
{
    struct ls_hash candidate = hashes[0];
    int lead = 0, votes = 0;
    for (int i = 0; i < n; i++) {
        if (lead == 0)
            candidate = hashes[i];
        lead += ls_hash_equal(hashes[i], candidate) ? 1 : -1;
    }
    for (int i = 0; i < n; i++)
        votes += ls_hash_equal(hashes[i], candidate);
    *winner = votes > n / 2 ? candidate : hashes[0];
    votes = 0;
    for (int i = 0; i < n; i++)
        votes += ls_hash_equal(hashes[i], *winner);
    return votes;
}

static enum ls_code name_odd_ranks(const struct ls_comm *comm, const char *what, struct ls_error *err)
{
    enum { MOST_NAMED = 6 };
    const int n = comm->size;
    struct ls_hash right;
    char text[LS_HASH_TEXT];
    const int votes = take_vote(comm->hashes, n, &right);
    char list[800];
    size_t at = 0;
    int n_odd = 0;
    for (int rank = 0; rank < n; rank++) {
        if (ls_hash_equal(comm->hashes[rank], right))
            continue;
        if (++n_odd > MOST_NAMED)
            continue;
        ls_hash_text(comm->hashes[rank], text);
        at += (size_t)snprintf(list + at, sizeof list - at, "%srank %d on %s has %s", n_odd == 1 ? "" : ", ",
                               rank, comm->hosts[rank], text);
    }
    if (n_odd > MOST_NAMED)
        snprintf(list + at, sizeof list - at, ", and %d more", n_odd - MOST_NAMED);
    ls_hash_text(right, text);
    if (votes > n / 2)
        return ls_fail(err, LS_REPLICA, "%s differ between ranks: %s; %d of %d ranks have %s", what, list,
                       votes, n, text);
    return ls_fail(err, LS_REPLICA, "%s differ between ranks: %s; no majority, rank 0 on %s has %s", what,
                   list, comm->hosts[0], text);
}

enum ls_code ls_comm_compare_hashes(struct ls_comm *comm, struct ls_hash hash, const char *what,
                                    struct ls_error *err)
{
    /* All equal exactly when the largest is the smallest, and ~x turns the one into the other. */
    uint64_t extremes[4] = {hash.high, hash.low, ~hash.high, ~hash.low};
    comm->ops->take_largest(comm, extremes, 4);
    if (extremes[0] == ~extremes[2] && extremes[1] == ~extremes[3])
        return LS_OK;
    comm->ops->collect(comm, &hash, sizeof hash, comm->hashes);
    return name_odd_ranks(comm, what, err);
}

int ls_comm_vote(struct ls_comm *comm, struct ls_hash hash, int *odd)
{
    struct ls_hash right;
    comm->ops->collect(comm, &hash, sizeof hash, comm->hashes);
    take_vote(comm->hashes, comm->size, &right);
    int trusted = -1;
    *odd = -1;
    for (int rank = comm->size - 1; rank >= 0; rank--)
        *(ls_hash_equal(comm->hashes[rank], right) ? &trusted : odd) = rank;
    return trusted;
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

void ls_comm_disagree(struct ls_comm *comm, const char *what)
{
    fprintf(stderr,
            "lockstep: replicas disagree: rank %d of %d, on %s: %s. A message, memory or a core of some rank "
            "changed bits; resume from the last checkpoint, with --cross-check 1 to find out whose\n",
            comm->rank, comm->size, comm->hosts[comm->rank], what);
    ls_comm_abort(comm, LS_REPLICA);
}

void ls_comm_meet(struct ls_comm *comm, double seconds, const char *what)
{
    if (!comm->ops->meet(comm, seconds))
        ls_comm_disagree(comm, what);
}
