/* Owns the boards and who adds which elements.  See shared.h. */
#include "comm/shared.h"

#include <assert.h>
#include <string.h>

#include "base/fault.h"
#include "base/memory.h"
#include "compute/ops.h"
#include "compute/team.h"

enum {
    LINE = 16,              /* floats in a cache line */
    WORTH_A_TEAM = 1 << 14, /* floats: some 3 us on one core */
};

/* A multiple of a line, but not of a page: vectors that are read together should not meet in the same sets of
 * a cache. */
static ptrdiff_t stride_of(ptrdiff_t n_floats)
{
    const ptrdiff_t page = 1024, lines = (n_floats + LINE - 1) / LINE * LINE;
    return lines % page == 0 ? lines + LINE : lines;
}

size_t ls_shared_bytes(int n_vectors, ptrdiff_t n_floats, int is_first)
{
    return LS_SHARED_SLOTS * sizeof(struct ls_board) +
           (size_t)(n_vectors + (is_first != 0)) * (size_t)stride_of(n_floats) * sizeof(float);
}

/* The sum is the first vector of the first rank's segment. */
static float *vector_of(const struct ls_shared *shared, int rank, int i)
{
    float *vectors = (float *)(shared->boards[rank] + LS_SHARED_SLOTS);
    return vectors + (i + (rank == 0)) * shared->n_floats;
}

float *ls_shared_vector(const struct ls_shared *shared, int i)
{
    return vector_of(shared, shared->place.rank, i);
}

enum ls_code ls_shared_init(struct ls_shared *shared, ptrdiff_t n_floats, struct ls_error *err)
{
    const size_t size = (size_t)shared->place.size;
    int complete = 1;
    shared->n_floats = stride_of(n_floats);
    shared->n_leaves = -1;
    shared->scratch_n = (ptrdiff_t)LS_MAX_ROOTS * LS_MERGE_STRETCH;
    for (int slot = 0; complete && slot < LS_SHARED_SLOTS; slot++) {
        shared->slots[slot].roots =
            ls_alloc(size * LS_MAX_ROOTS, sizeof(void *), "roots of the host's ranks", err);
        complete = shared->slots[slot].roots != NULL;
    }
    if (!complete)
        return LS_FAILED;
    shared->boards = ls_alloc(size, sizeof(void *), "boards of the host's ranks", err);
    shared->scratch = ls_alloc((size_t)ls_ops_threads() * (size_t)shared->scratch_n, sizeof(float),
                               "partial sums of the host's ranks", err);
    if (!shared->boards || !shared->scratch)
        return LS_FAILED;
    return ls_merge_init(&shared->merge, (int)size * LS_MAX_ROOTS, err);
}

void ls_shared_attach(struct ls_shared *shared, void *const *segments)
{
    for (int rank = 0; rank < shared->place.size; rank++)
        shared->boards[rank] = segments[rank];
    shared->sum = (float *)(shared->boards[0] + LS_SHARED_SLOTS);
}

void ls_shared_release(struct ls_shared *shared)
{
    ls_free(shared->boards);
    for (int slot = 0; slot < LS_SHARED_SLOTS; slot++)
        ls_free(shared->slots[slot].roots);
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

/* A call of one of the collectives. */
struct call {
    struct ls_shared *shared;
    int slot;
    uint64_t number;
    float **roots; /* the host's, in the tree's order */
    int n_roots;
    struct ls_range range;
    const ptrdiff_t *cuts; /* each rank gets its slice only; NULL: all get all */
    int to_own;            /* the sum goes into a vector of each rank */
};

static struct call begin_call(struct ls_shared *shared, int slot, struct ls_range range,
                              const ptrdiff_t *cuts)
{
    return (struct call){.shared = shared,
                         .slot = slot,
                         .number = ++shared->slots[slot].n_calls,
                         .roots = shared->slots[slot].roots,
                         .range = range,
                         .cuts = cuts};
}

static struct ls_range all_of(const struct ls_shared *shared, const ptrdiff_t *cuts)
{
    return (struct ls_range){cuts[0], cuts[shared->place.n_ranks]};
}

static struct ls_range slice_of(const struct ls_shared *shared, const ptrdiff_t *cuts)
{
    const int rank = shared->place.first_rank + shared->place.rank;
    return (struct ls_range){cuts[rank], cuts[rank + 1]};
}

static void await(const struct call *call, const _Atomic uint64_t *flag)
{
    const struct ls_shared *shared = call->shared;
    const int n_spins = call->slot == LS_SHARED_WAITED ? shared->n_spins : 0; /* else there is other work */
    for (int i = 0; i < n_spins; i++) {
        if (atomic_load_explicit(flag, memory_order_acquire) >= call->number)
            return;
        relax();
    }
    if (atomic_load_explicit(flag, memory_order_acquire) < call->number)
        shared->wait(shared->self, flag, call->number);
}

static void post(const struct call *call, _Atomic uint64_t *flag)
{
    atomic_store_explicit(flag, call->number, memory_order_release);
}

static struct ls_board *board_of(const struct call *call, int rank)
{
    return call->shared->boards[rank] + call->slot;
}

static void post_roots(const struct call *call, float *const *roots, int n_roots)
{
    const struct ls_shared *shared = call->shared;
    struct ls_board *board = board_of(call, shared->place.rank);
    board->n_roots = n_roots;
    board->roots[0] = 0; /* its own sum's, without roots */
    for (int i = 0; i < n_roots; i++) {
        const ptrdiff_t at = roots[i] - ls_shared_vector(shared, 0);
        assert(at >= 0 && at % shared->n_floats == 0);
        board->roots[i] = (int32_t)(at / shared->n_floats);
    }
    post(call, &board->ready);
}

static void await_roots(struct call *call)
{
    for (int rank = 0; rank < call->shared->place.size; rank++) {
        const struct ls_board *board = board_of(call, rank);
        await(call, &board->ready);
        for (int i = 0; i < board->n_roots; i++)
            call->roots[call->n_roots++] = vector_of(call->shared, rank, board->roots[i]);
    }
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
    assert(ls_merge_scratch(&shared->merge) <= shared->scratch_n);
    shared->n_leaves = n_leaves;
}

/* What this rank adds up of the host's roots: where that is the sum, and it gets no more, its own. */
static struct ls_range merged_by(const struct call *call)
{
    const struct ls_place *place = &call->shared->place;
    return call->cuts && place->n_lanes == 0 ? slice_of(call->shared, call->cuts)
                                             : ls_plan_part(call->range, place->size, place->rank);
}

static float *own_sum(const struct call *call, int rank)
{
    return vector_of(call->shared, rank, board_of(call, rank)->roots[0]);
}

/* In stretches: what was a root's lines a moment ago is still in this core's cache when the sum takes their
 * place. */
static void merge_to_own(const struct call *call, struct ls_range part, float *scratch)
{
    const struct ls_shared *shared = call->shared;
    const int me = shared->place.rank;
    float *mine = own_sum(call, me);
    for (int64_t from = part.begin; from < part.end; from += LS_MERGE_STRETCH) {
        const int64_t end = from + LS_MERGE_STRETCH < part.end ? from + LS_MERGE_STRETCH : part.end;
        ls_merge_run(&shared->merge, (struct ls_range){from, end}, mine, call->roots, scratch);
        for (int rank = 0; rank < shared->place.size; rank++)
            if (rank != me)
                memcpy(own_sum(call, rank) + from, mine + from, (size_t)(end - from) * sizeof *mine);
    }
}

static int64_t merge_part(const void *job, int thread, int threads)
{
    const struct call *call = job;
    const struct ls_shared *shared = call->shared;
    const struct ls_range part = ls_plan_part(merged_by(call), threads, thread);
    float *scratch = shared->scratch + thread * shared->scratch_n;
    if (call->to_own)
        merge_to_own(call, part, scratch);
    else
        ls_merge_run(&shared->merge, part, shared->sum, call->roots, scratch);
    return 0;
}

static void merge_slice(const struct call *call)
{
    const struct ls_shared *shared = call->shared;
    const struct ls_place *place = &shared->place;
    const struct ls_range slice = merged_by(call);
    const ptrdiff_t n = (ptrdiff_t)(slice.end - slice.begin);
    if (call->n_roots == 0 && place->n_lanes == 0)
        memset(shared->sum + slice.begin, 0, (size_t)n * sizeof(float));
    else if (ls_ops_threads() == 1 || n * call->n_roots < WORTH_A_TEAM)
        merge_part(call, 0, 1);
    else
        ls_team_run(merge_part, call);
    if (place->n_lanes == 0) { /* nothing is sent, but what one rank wrote others read */
        float *to = call->to_own ? own_sum(call, (place->rank + 1) % place->size) : shared->sum;
        ls_fault_strike_message(call->slot, to + slice.begin, n);
    }
}

/* This rank's lane, with the same lane of every other host. */
static void reduce_across(const struct call *call, int64_t n_leaves)
{
    const struct ls_shared *shared = call->shared;
    const struct ls_place *place = &shared->place;
    if (place->rank >= place->n_lanes)
        return;
    if (!place->even || call->cuts) { /* lanes are not slices: others have a part of this one */
        for (int rank = 0; rank < place->size; rank++)
            await(call, &board_of(call, rank)->merged);
    }
    struct ls_reducer *across = shared->slots[call->slot].across;
    const int n_results = shared->merge.n_results;
    const struct ls_range lane = ls_plan_part(call->range, place->n_lanes, place->rank);
    const ptrdiff_t at = call->cuts ? 0 : (ptrdiff_t)lane.begin;
    float *results[LS_MAX_ROOTS];
    for (int i = 0; i < n_results; i++)
        results[i] = call->roots[shared->merge.results[i]] + at;
    if (call->cuts)
        ls_tree_scatter(across, n_leaves, &(struct ls_slices){call->cuts, place->n_lanes, place->rank},
                        shared->sum, results, n_results);
    else
        ls_tree_allreduce(across, n_leaves, (ptrdiff_t)(lane.end - lane.begin), shared->sum + at, results,
                          n_results);
}

static void reduce(struct call *call, int64_t n_leaves, float *const *roots, int n_roots)
{
    struct ls_shared *shared = call->shared;
    struct ls_board *board = board_of(call, shared->place.rank);
    post_roots(call, roots, n_roots);
    await_roots(call);
    plan(shared, n_leaves, call->n_roots);
    merge_slice(call);
    if (shared->place.n_lanes > 0) {
        post(call, &board->merged);
        reduce_across(call, n_leaves);
    }
    post(call, &board->done);
    for (int rank = 0; rank < shared->place.size; rank++)
        await(call, &board_of(call, rank)->done);
}

const float *ls_shared_reduce(struct ls_shared *shared, int slot, int64_t n_leaves, struct ls_range range,
                              float *const *roots, int n_roots)
{
    struct call call = begin_call(shared, slot, range, NULL);
    reduce(&call, n_leaves, roots, n_roots);
    return shared->sum;
}

int ls_shared_can_own(const struct ls_shared *shared, int64_t n_leaves)
{
    return shared->place.n_lanes == 0 && shared->place.size <= shared->most_own && n_leaves > 0;
}

float *ls_shared_reduce_to_own(struct ls_shared *shared, int slot, int64_t n_leaves, struct ls_range range,
                               float *const *roots, int n_roots)
{
    struct call call = begin_call(shared, slot, range, NULL);
    assert(ls_shared_can_own(shared, n_leaves));
    call.to_own = 1;
    reduce(&call, n_leaves, roots, n_roots);
    return own_sum(&call, shared->place.rank);
}

const float *ls_shared_scatter(struct ls_shared *shared, int slot, int64_t n_leaves, const ptrdiff_t *cuts,
                               float *const *roots, int n_roots)
{
    struct call call = begin_call(shared, slot, all_of(shared, cuts), cuts);
    reduce(&call, n_leaves, roots, n_roots);
    return shared->sum;
}

struct copy {
    float *to;
    const float *from;
    struct ls_range range;
};

static int64_t copy_part(const void *job, int thread, int threads)
{
    const struct copy *copy = job;
    const struct ls_range part = ls_plan_part(copy->range, threads, thread);
    memcpy(copy->to + part.begin, copy->from + part.begin, (size_t)(part.end - part.begin) * sizeof(float));
    return 0;
}

static void copy_range(float *to, const float *from, int64_t begin, int64_t end)
{
    const struct copy copy = {to, from, {begin, end}};
    if (ls_ops_threads() == 1 || end - begin < WORTH_A_TEAM)
        copy_part(&copy, 0, 1);
    else
        ls_team_run(copy_part, &copy);
}

void ls_shared_share(struct ls_shared *shared, int slot, const ptrdiff_t *cuts, float *values)
{
    const struct ls_range all = all_of(shared, cuts), mine = slice_of(shared, cuts);
    const struct ls_place *place = &shared->place;
    const struct call call = begin_call(shared, slot, all, cuts);
    struct ls_board *board = board_of(&call, place->rank);
    copy_range(shared->sum, values, mine.begin, mine.end);
    post(&call, &board->ready);
    for (int rank = 0; rank < place->size; rank++)
        await(&call, &board_of(&call, rank)->ready);
    if (place->rank < place->n_lanes) {
        ls_tree_share(shared->slots[slot].across, &(struct ls_slices){cuts, place->n_lanes, place->rank},
                      shared->sum);
        post(&call, &board->done);
    }
    for (int rank = 0; rank < place->n_lanes; rank++)
        await(&call, &board_of(&call, rank)->done);
    copy_range(values, shared->sum, all.begin, mine.begin);
    copy_range(values, shared->sum, mine.end, all.end);
}
