/* Owns the direct exchange.  See direct.h.
 *
 * It goes in rounds, of as many elements as there is scratch for their roots; reducer->owned says who owns
 * what in the round at hand: of an allreduce slices that are cut anew in each, else what comes next of
 * everybody's own slice. */
#include "comm/direct.h"

#include <assert.h>
#include <string.h>

struct round {
    float *sum;
    float *const *roots;
    int n_roots;
};

/* Elements that each owner may have in a round: a rank packs at most most_roots times as many for every
 * other, and holds n_roots times as many. */
static ptrdiff_t most_owned(const struct ls_reducer *reducer)
{
    const struct ls_plan *plan = &reducer->plan;
    const ptrdiff_t fits =
        (ptrdiff_t)(reducer->scratch_n / ((int64_t)plan->most_roots * plan->members.n + plan->n_roots));
    assert(fits > 0);
    return fits;
}

static struct ls_range mine_of(const struct ls_reducer *reducer)
{
    return reducer->owned[reducer->wire.rank];
}

/* Slots of the direct exchange: one of each kind for each other rank. */
static int slot_with(const struct ls_reducer *reducer, int other, enum ls_message_kind kind)
{
    return other + reducer->wire.size * (int)kind;
}

/* Asks every rank for its roots of this rank's slice; they land in rank and root order from `at` on. */
static void receive_roots(struct ls_reducer *reducer, struct ls_range mine, float *at)
{
    struct ls_node nodes[LS_MAX_ROOTS];
    for (int rank = 0; rank < reducer->plan.n_active; rank++) {
        if (rank == reducer->wire.rank)
            continue;
        const ptrdiff_t n = ls_plan_roots(&reducer->plan, rank, nodes) * (mine.end - mine.begin);
        ls_message_receive(reducer, slot_with(reducer, rank, LS_PARTIAL_IN), at, n, rank, LS_PARTIAL);
        at += n;
    }
}

/* Sends each owner all of this rank's roots of its slice in one message, packed at `at` if they are several.
 */
static void send_roots(struct ls_reducer *reducer, const struct round *round, float *at)
{
    for (int step = 1; step < reducer->wire.size; step++) {
        /* Everybody starts with its neighbour, so that no rank is asked by all at once. */
        const int owner = (reducer->wire.rank + step) % reducer->wire.size;
        const struct ls_range slice = reducer->owned[owner];
        const ptrdiff_t n = slice.end - slice.begin;
        if (n == 0 || round->n_roots == 0)
            continue;
        const float *packed = round->roots[0] + slice.begin;
        if (round->n_roots > 1) {
            for (int root = 0; root < round->n_roots; root++)
                memcpy(at + root * n, round->roots[root] + slice.begin, (size_t)n * sizeof *at);
            packed = at;
            at += round->n_roots * n;
        }
        ls_message_send(reducer, slot_with(reducer, owner, LS_PARTIAL_OUT), packed, round->n_roots * n, owner,
                        LS_PARTIAL);
    }
}

/* Merges all roots of all ranks in ascending order, each rank's when its message is there. */
static void merge_roots(struct ls_reducer *reducer, const struct round *round, struct ls_range mine,
                        float *at)
{
    const ptrdiff_t n = mine.end - mine.begin;
    struct ls_node nodes[LS_MAX_ROOTS];
    struct ls_forest forest;
    ls_forest_begin(&forest, reducer->plan.n_leaves, n);
    for (int rank = 0; rank < reducer->plan.n_active; rank++) {
        const int n_roots = ls_plan_roots(&reducer->plan, rank, nodes);
        ls_message_await(reducer, slot_with(reducer, rank, LS_PARTIAL_IN));
        for (int root = 0; root < n_roots; root++) {
            if (rank == reducer->wire.rank) {
                ls_forest_push(&forest, nodes[root], round->roots[root] + mine.begin);
            } else {
                ls_forest_push(&forest, nodes[root], at);
                at += n;
            }
        }
    }
    const float *result = ls_forest_sum(&forest);
    if (result != round->sum + mine.begin)
        memcpy(round->sum + mine.begin, result, (size_t)n * sizeof *result);
}

/* Everybody's roots to their owners, who merge them. */
static void reduce_round(struct ls_reducer *reducer, const struct round *round)
{
    const struct ls_range mine = mine_of(reducer);
    float *landed = reducer->scratch;
    if (mine.begin < mine.end)
        receive_roots(reducer, mine, landed);
    send_roots(reducer, round, landed + reducer->plan.n_roots * (mine.end - mine.begin));
    if (mine.begin < mine.end)
        merge_roots(reducer, round, mine, landed);
    ls_message_await_all(reducer); /* results may land where roots were: only once those have left */
}

static void share_round(struct ls_reducer *reducer, float *values)
{
    const struct ls_range mine = mine_of(reducer);
    for (int step = 1; step < reducer->wire.size; step++) {
        const int other = (reducer->wire.rank + step) % reducer->wire.size;
        const struct ls_range slice = reducer->owned[other];
        if (slice.begin < slice.end)
            ls_message_receive(reducer, slot_with(reducer, other, LS_RESULT_IN), values + slice.begin,
                               slice.end - slice.begin, other, LS_RESULT);
        if (mine.begin < mine.end)
            ls_message_send(reducer, slot_with(reducer, other, LS_RESULT_OUT), values + mine.begin,
                            mine.end - mine.begin, other, LS_RESULT);
    }
    ls_message_await_all(reducer);
}

/* Elements [first, first + n) dealt out among all. */
static void deal_out(struct ls_reducer *reducer, ptrdiff_t first, ptrdiff_t n, ptrdiff_t granule_n)
{
    for (int member = 0; member < reducer->wire.size; member++) {
        const struct ls_range slice = ls_plan_slice(n, reducer->wire.size, member, granule_n);
        reducer->owned[member] = (struct ls_range){first + slice.begin, first + slice.end};
    }
}

void ls_direct_allreduce(struct ls_reducer *reducer, ptrdiff_t n, float *sum, float *const *roots,
                         int n_roots)
{
    const ptrdiff_t fits = most_owned(reducer);
    const ptrdiff_t granule_n = fits < reducer->tuning.granule_n ? fits : reducer->tuning.granule_n;
    const ptrdiff_t most = fits / granule_n * granule_n * reducer->wire.size;
    const struct round round = {sum, roots, n_roots};
    for (ptrdiff_t first = 0; first < n; first += most) {
        deal_out(reducer, first, n - first < most ? n - first : most, granule_n);
        reduce_round(reducer, &round);
        share_round(reducer, sum);
    }
}

/* Elements [first, first + most) of everybody's slice.  Returns whether anybody has some. */
static int deal_slices(struct ls_reducer *reducer, const struct ls_slices *slices, ptrdiff_t first,
                       ptrdiff_t most)
{
    int any = 0;
    for (int member = 0; member < reducer->wire.size; member++) {
        const struct ls_range slice = ls_slice_of(slices, reducer->members, member);
        const int64_t begin = slice.begin + first < slice.end ? slice.begin + first : slice.end;
        const int64_t end = begin + most < slice.end ? begin + most : slice.end;
        reducer->owned[member] = (struct ls_range){begin, end};
        any |= begin < end;
    }
    return any;
}

void ls_tree_scatter(struct ls_reducer *reducer, int64_t n_leaves, const struct ls_slices *slices, float *sum,
                     float *const *roots, int n_roots)
{
    ls_reducer_plan(reducer, n_leaves);
    if (reducer->plan.n_active == 0) {
        const struct ls_range mine = ls_slice_of(slices, reducer->members, reducer->wire.rank);
        memset(sum + mine.begin, 0, (size_t)(mine.end - mine.begin) * sizeof *sum);
        return;
    }
    const ptrdiff_t most = most_owned(reducer);
    const struct round round = {sum, roots, n_roots};
    for (ptrdiff_t first = 0; deal_slices(reducer, slices, first, most); first += most)
        reduce_round(reducer, &round);
}

void ls_tree_share(struct ls_reducer *reducer, const struct ls_slices *slices, float *values)
{
    const ptrdiff_t most = (ptrdiff_t)1 << 28; /* a message's count must fit an int */
    for (ptrdiff_t first = 0; deal_slices(reducer, slices, first, most); first += most)
        share_round(reducer, values);
}
