/* Owns the boards and who adds which elements.  See shared.h. */
#include "comm/shared.h"

#include <assert.h>
#include <string.h>

#include "base/fault.h"
#include "base/memory.h"
#include "compute/ops.h"
#include "compute/team.h"

enum { LINE = 16 }; /* floats in a cache line */

/* A multiple of a line, but not of a page: vectors that are read together should not meet in the same sets of
 * a cache. */
static ptrdiff_t stride_of(ptrdiff_t n_floats)
{
    const ptrdiff_t page = 1024, lines = (n_floats + LINE - 1) / LINE * LINE;
    return lines % page == 0 ? lines + LINE : lines;
}

size_t ls_shared_bytes(int n_vectors, ptrdiff_t n_floats, int is_first)
{
    return sizeof(struct ls_board) +
           (size_t)(n_vectors + (is_first != 0)) * (size_t)stride_of(n_floats) * sizeof(float);
}

/* The sum is the first vector of the first rank's segment. */
static float *vector_of(const struct ls_shared *shared, int rank, int i)
{
    float *vectors = (float *)(shared->boards[rank] + 1);
    return vectors + (i + (rank == 0)) * shared->n_floats;
}

float *ls_shared_vector(const struct ls_shared *shared, int i)
{
    return vector_of(shared, shared->place.rank, i);
}

enum ls_code ls_shared_init(struct ls_shared *shared, ptrdiff_t n_floats, struct ls_error *err)
{
    const size_t size = (size_t)shared->place.size;
    shared->n_floats = stride_of(n_floats);
    shared->n_leaves = -1;
    shared->scratch_n = (ptrdiff_t)LS_MAX_ROOTS * LS_MERGE_STRETCH;
    shared->boards = ls_alloc(size, sizeof(void *), "boards of the host's ranks", err);
    shared->roots = ls_alloc(size * LS_MAX_ROOTS, sizeof(void *), "roots of the host's ranks", err);
    shared->scratch = ls_alloc((size_t)ls_ops_threads() * (size_t)shared->scratch_n, sizeof(float),
                               "partial sums of the host's ranks", err);
    if (!shared->boards || !shared->roots || !shared->scratch)
        return LS_FAILED;
    return ls_merge_init(&shared->merge, (int)size * LS_MAX_ROOTS, err);
}

void ls_shared_attach(struct ls_shared *shared, void *const *segments)
{
    for (int rank = 0; rank < shared->place.size; rank++)
        shared->boards[rank] = segments[rank];
    shared->sum = (float *)(shared->boards[0] + 1);
}

void ls_shared_release(struct ls_shared *shared)
{
    ls_free(shared->boards);
    ls_free(shared->roots);
    ls_free(shared->scratch);
    ls_merge_release(&shared->merge);
}

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static void await(const struct ls_shared *shared, const _Atomic uint64_t *flag)
{
    for (int i = 0; i < shared->n_spins; i++) {
        if (atomic_load_explicit(flag, memory_order_acquire) >= shared->n_calls)
            return;
        relax();
    }
    if (atomic_load_explicit(flag, memory_order_acquire) < shared->n_calls)
        shared->wait(shared->self, flag, shared->n_calls);
}

static void post(const struct ls_shared *shared, _Atomic uint64_t *flag)
{
    atomic_store_explicit(flag, shared->n_calls, memory_order_release);
}

static void post_roots(struct ls_shared *shared, float *const *roots, int n_roots)
{
    struct ls_board *board = shared->boards[shared->place.rank];
    shared->n_calls++;
    board->n_roots = n_roots;
    for (int i = 0; i < n_roots; i++) {
        const ptrdiff_t at = roots[i] - ls_shared_vector(shared, 0);
        assert(at >= 0 && at % shared->n_floats == 0);
        board->roots[i] = (int32_t)(at / shared->n_floats);
    }
    post(shared, &board->ready);
}

/* All roots of the host, in the tree's order. */
static int await_roots(struct ls_shared *shared)
{
    int n = 0;
    for (int rank = 0; rank < shared->place.size; rank++) {
        const struct ls_board *board = shared->boards[rank];
        await(shared, &board->ready);
        for (int i = 0; i < board->n_roots; i++)
            shared->roots[n++] = vector_of(shared, rank, board->roots[i]);
    }
    return n;
}

static void plan(struct ls_shared *shared, int64_t n_leaves, int n_roots)
{
    const struct ls_place *place = &shared->place;
    if (shared->n_leaves == n_leaves)
        return;
    struct ls_node *nodes = shared->merge.nodes; /* as input, then as result */
    int n = 0;
    for (int rank = place->first_rank; rank < place->first_rank + place->size; rank++)
        n += ls_tree_roots(n_leaves, ls_leaves_of_rank(n_leaves, place->n_ranks, rank), nodes + n);
    assert(n == n_roots);
    (void)n_roots;
    ls_merge_plan(&shared->merge, n_leaves, n, nodes, place->n_lanes == 0);
    shared->n_leaves = n_leaves;
}

struct slice {
    struct ls_shared *shared;
    struct ls_range range;
};

static int64_t merge_part(const void *job, int thread, int threads)
{
    const struct slice *slice = job;
    const struct ls_shared *shared = slice->shared;
    const struct ls_range part =
        ls_plan_slice((ptrdiff_t)(slice->range.end - slice->range.begin), threads, thread, LINE);
    ls_merge_run(&shared->merge,
                 (struct ls_range){slice->range.begin + part.begin, slice->range.begin + part.end},
                 shared->sum, shared->roots, shared->scratch + thread * shared->scratch_n);
    return 0;
}

static void merge_slice(struct ls_shared *shared, ptrdiff_t n, int n_roots)
{
    const struct ls_place *place = &shared->place;
    const ptrdiff_t worth_a_team = 1 << 14; /* floats: some 3 us on one core */
    const struct slice slice = {shared, ls_plan_slice(n, place->size, place->rank, LINE)};
    const ptrdiff_t mine = (ptrdiff_t)(slice.range.end - slice.range.begin);
    if (n_roots == 0 && place->n_lanes == 0)
        memset(shared->sum + slice.range.begin, 0, (size_t)mine * sizeof(float));
    else if (ls_ops_threads() == 1 || mine * n_roots < worth_a_team)
        merge_part(&slice, 0, 1);
    else
        ls_team_run(merge_part, &slice);
    if (place->n_lanes == 0) /* nothing is sent, but what one rank wrote the others read */
        ls_fault_strike(LS_FAULT_MESSAGE, shared->sum + slice.range.begin, mine, 1);
}

/* This rank's lane, with the same lane of every other host. */
static void reduce_across(struct ls_shared *shared, int64_t n_leaves, ptrdiff_t n)
{
    const struct ls_place *place = &shared->place;
    if (place->rank >= place->n_lanes)
        return;
    if (!place->even) { /* lanes are not slices: others have a part of this one */
        for (int rank = 0; rank < place->size; rank++)
            await(shared, &shared->boards[rank]->merged);
    }
    const struct ls_range lane = ls_plan_slice(n, place->n_lanes, place->rank, LINE);
    float *results[LS_MAX_ROOTS];
    for (int i = 0; i < shared->merge.n_results; i++)
        results[i] = shared->roots[shared->merge.results[i]] + lane.begin;
    ls_tree_allreduce(shared->across, n_leaves, (ptrdiff_t)(lane.end - lane.begin), shared->sum + lane.begin,
                      results, shared->merge.n_results);
}

const float *ls_shared_reduce(struct ls_shared *shared, int64_t n_leaves, ptrdiff_t n, float *const *roots,
                              int n_roots)
{
    struct ls_board *board = shared->boards[shared->place.rank];
    post_roots(shared, roots, n_roots);
    const int n_all = await_roots(shared);
    plan(shared, n_leaves, n_all);
    merge_slice(shared, n, n_all);
    if (shared->place.n_lanes > 0) {
        post(shared, &board->merged);
        reduce_across(shared, n_leaves, n);
    }
    post(shared, &board->done);
    for (int rank = 0; rank < shared->place.size; rank++)
        await(shared, &shared->boards[rank]->done);
    return shared->sum;
}
