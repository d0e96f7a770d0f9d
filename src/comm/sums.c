/* Owns the vectors that are added over ranks, and which of the ways there are adds them: through memory of
 * the host where it is shared, else by the backend's messages. */
#include "comm/comm.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "comm/comm_backend.h"
#include "comm/shared.h"

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
