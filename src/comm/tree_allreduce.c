/* Owns how the tree's sums travel; see tree_allreduce.h.  What is added to what is plan.c's. */
#include "comm/tree_allreduce.h"

#include <assert.h>
#include <string.h>

#include "base/fault.h"
#include "base/memory.h"

enum channel { PARTIAL = 1, RESULT = 2 };

/* Measured with two ranks on two cores, Open MPI 4.1 copying between processes (CMA), alternating with
 * MPI_Allreduce.
 * - small_n: a whole vector still is an eager message (4096 bytes with its header).  At 4096 bytes halving,
 * whose halves are eager, takes 3.1 us and doubling 6.5.  (At 8 KB doubling would win again, by 2 us.)
 * - segment_n: 2 MiB.  On one host a message is copied by the receiving core itself, so segments overlap
 * nothing and each costs a handshake: 400 KB in 1, 2, 4 segments takes 80, 83, 94 us, 4 MB in 1, 2, 4 takes
 * 385, 398, 409.  On a busy machine a handshake also waits for the partner to be scheduled: 16 MB in 32
 * segments took twice as long as in 4.
 * - scratch_n: 8 MiB; half of it made twice as many rounds of a direct exchange, each with two such waits. */
struct ls_reduce_tuning ls_reduce_default_tuning(void)
{
    return (struct ls_reduce_tuning){
        .small_n = 992, .segment_n = 1 << 19, .window = 2, .granule_n = 256, .scratch_n = 1 << 21};
}

int ls_reduce_slots(int size, const struct ls_reduce_tuning *tuning)
{
    return 4 * (size > tuning->window ? size : tuning->window);
}

/* Elements that each owner may have in one round of the direct exchange: a rank packs at most most_roots
 * times as many for every other, and holds n_roots times as many. */
static ptrdiff_t most_owned(const struct ls_reducer *reducer)
{
    const struct ls_plan *plan = &reducer->plan;
    const ptrdiff_t fits =
        (ptrdiff_t)(reducer->scratch_n / ((int64_t)plan->most_roots * plan->members.n + plan->n_roots));
    assert(fits > 0);
    return fits;
}

static ptrdiff_t granule(const struct ls_reducer *reducer)
{
    const ptrdiff_t fits = most_owned(reducer);
    return fits < reducer->tuning.granule_n ? fits : reducer->tuning.granule_n;
}

enum ls_code ls_reducer_init(struct ls_reducer *reducer, const struct ls_wire *wire, const int *first,
                             const struct ls_reduce_tuning *tuning, struct ls_error *err)
{
    /* At least a line of 16 elements fits for every root a rank can hold, twice. */
    const ptrdiff_t least = 2 * (ptrdiff_t)LS_MAX_ROOTS * wire->size * 16;
    ptrdiff_t n = tuning->scratch_n;
    if (n < least && wire->size > 1)
        n = least;
    if (n < tuning->small_n)
        n = tuning->small_n;
    if (n < tuning->segment_n * tuning->window)
        n = tuning->segment_n * tuning->window;
    *reducer = (struct ls_reducer){.wire = *wire,
                                   .members = {wire->size, first},
                                   .tuning = *tuning,
                                   .plan = {.n_leaves = -1},
                                   .scratch_n = n};
    reducer->scratch = ls_alloc((size_t)n, sizeof *reducer->scratch, "scratch of the allreduce", err);
    return reducer->scratch ? LS_OK : LS_FAILED;
}

void ls_reducer_release(struct ls_reducer *reducer)
{
    if (!reducer)
        return;
    ls_free(reducer->scratch);
    reducer->scratch = NULL;
}

static void start_send(struct ls_reducer *reducer, int slot, const float *values, ptrdiff_t n, int to,
                       enum channel channel)
{
    reducer->wire.send(reducer->wire.self, slot, values, n, to, (int)channel);
}

static void start_receive(struct ls_reducer *reducer, int slot, float *values, ptrdiff_t n, int from,
                          enum channel channel)
{
    ls_fault_expect(slot, values, n);
    reducer->wire.receive(reducer->wire.self, slot, values, n, from, (int)channel);
}

static void await(struct ls_reducer *reducer, int slot)
{
    reducer->wire.wait(reducer->wire.self, slot);
    ls_fault_arrived(slot);
}

static void await_all(struct ls_reducer *reducer)
{
    const int n_slots = ls_reduce_slots(reducer->wire.size, &reducer->tuning);
    for (int slot = 0; slot < n_slots; slot++)
        await(reducer, slot);
}

/* sum = the lower rank's values + the higher rank's. */
static void add_partner(const struct ls_reducer *reducer, int partner, float *sum, const float *own,
                        const float *theirs, ptrdiff_t n)
{
    if (partner > reducer->wire.rank)
        ls_plan_add(sum, own, theirs, n);
    else
        ls_plan_add(sum, theirs, own, n);
}

/* Ranks [0, have) hold the sum: each passes it on to one that does not, until all have it. */
static void broadcast_doubling(struct ls_reducer *reducer, int have, float *sum, ptrdiff_t n)
{
    const int rank = reducer->wire.rank, size = reducer->wire.size;
    for (; have < size; have *= 2) {
        if (rank < have && rank + have < size)
            start_send(reducer, 0, sum, n, rank + have, RESULT);
        else if (rank >= have && rank < 2 * have)
            start_receive(reducer, 0, sum, n, rank - have, RESULT);
        await(reducer, 0);
    }
}

static void reduce_doubling(struct ls_reducer *reducer, ptrdiff_t n, float *sum, const float *own)
{
    const int rank = reducer->wire.rank, n_active = reducer->plan.n_active;
    if (rank < n_active) {
        for (int distance = 1; distance < n_active; distance *= 2) {
            const int partner = rank ^ distance;
            start_receive(reducer, 0, reducer->scratch, n, partner, PARTIAL);
            start_send(reducer, 1, own, n, partner, PARTIAL);
            await(reducer, 0);
            await(reducer, 1);
            add_partner(reducer, partner, sum, own, reducer->scratch, n);
            own = sum;
        }
        if (own != sum)
            memcpy(sum, own, (size_t)n * sizeof *sum);
    }
    broadcast_doubling(reducer, n_active, sum, n);
}

/* One level of halving: with `partner`, this rank adds up `mine` and lets the partner add up `theirs`.  Both
 * swap segments, `window` of them in flight, and add each as it arrives, while it is in cache and the next
 * ones travel. */
struct exchange {
    int partner;
    struct ls_range mine, theirs;
    const float *own; /* this rank's partial sums; may be `sum` */
    float *sum;
    int last; /* the tree's top: finished segments go back to the partner at once */
};

/* The slots of a segment: message kinds times window. */
enum kind { PARTIAL_IN, PARTIAL_OUT, RESULT_IN, RESULT_OUT };

static int slot_of(const struct ls_reducer *reducer, int64_t segment, enum kind kind)
{
    return (int)(segment % reducer->tuning.window) + reducer->tuning.window * (int)kind;
}

/* Segment number `segment` of `range`, empty past its end. */
static struct ls_range segment_of(const struct ls_reducer *reducer, struct ls_range range, int64_t segment)
{
    const int64_t begin = range.begin + segment * reducer->tuning.segment_n;
    const int64_t end = begin + reducer->tuning.segment_n;
    return (struct ls_range){begin < range.end ? begin : range.end, end < range.end ? end : range.end};
}

static float *landing(const struct ls_reducer *reducer, int64_t segment)
{
    return reducer->scratch + segment % reducer->tuning.window * reducer->tuning.segment_n;
}

static void start_segment(struct ls_reducer *reducer, const struct exchange *x, int64_t segment)
{
    const struct ls_range in = segment_of(reducer, x->mine, segment);
    const struct ls_range out = segment_of(reducer, x->theirs, segment);
    if (in.begin < in.end)
        start_receive(reducer, slot_of(reducer, segment, PARTIAL_IN), landing(reducer, segment),
                      in.end - in.begin, x->partner, PARTIAL);
    if (out.begin < out.end)
        start_send(reducer, slot_of(reducer, segment, PARTIAL_OUT), x->own + out.begin, out.end - out.begin,
                   x->partner, PARTIAL);
}

static void finish_segment(struct ls_reducer *reducer, const struct exchange *x, int64_t segment)
{
    const struct ls_range in = segment_of(reducer, x->mine, segment);
    const struct ls_range out = segment_of(reducer, x->theirs, segment);
    await(reducer, slot_of(reducer, segment, PARTIAL_IN));
    add_partner(reducer, x->partner, x->sum + in.begin, x->own + in.begin, landing(reducer, segment),
                in.end - in.begin);
    if (x->last && in.begin < in.end) {
        await(reducer, slot_of(reducer, segment, RESULT_OUT));
        start_send(reducer, slot_of(reducer, segment, RESULT_OUT), x->sum + in.begin, in.end - in.begin,
                   x->partner, RESULT);
    }
    /* The result may land where the partial sum was: only once that has left. */
    await(reducer, slot_of(reducer, segment, PARTIAL_OUT));
    if (x->last && out.begin < out.end) {
        await(reducer, slot_of(reducer, segment, RESULT_IN));
        start_receive(reducer, slot_of(reducer, segment, RESULT_IN), x->sum + out.begin, out.end - out.begin,
                      x->partner, RESULT);
    }
}

/* Ranks move through the segments in step but for the window: a message that the rank further behind waits
 * for was started by the other when it finished an earlier segment, so the one behind can always go on. */
static void run_exchange(struct ls_reducer *reducer, const struct exchange *x)
{
    const int64_t mine = x->mine.end - x->mine.begin, theirs = x->theirs.end - x->theirs.begin;
    const int64_t longer = mine > theirs ? mine : theirs;
    const int64_t n_segments = (longer + reducer->tuning.segment_n - 1) / reducer->tuning.segment_n;
    for (int64_t segment = 0; segment < n_segments && segment < reducer->tuning.window; segment++)
        start_segment(reducer, x, segment);
    for (int64_t segment = 0; segment < n_segments; segment++) {
        finish_segment(reducer, x, segment);
        if (segment + reducer->tuning.window < n_segments)
            start_segment(reducer, x, segment + reducer->tuning.window);
    }
    await_all(reducer);
}

/* Finished halves go back the way they came, longest distance first. */
static void swap_results(struct ls_reducer *reducer, const struct exchange *x)
{
    const int64_t most = INT64_C(1) << 28; /* a message's count must fit an int */
    const int64_t mine = x->mine.end - x->mine.begin, theirs = x->theirs.end - x->theirs.begin;
    for (int64_t at = 0; at < mine || at < theirs; at += most) {
        if (at < theirs)
            start_receive(reducer, 0, x->sum + x->theirs.begin + at, theirs - at < most ? theirs - at : most,
                          x->partner, RESULT);
        if (at < mine)
            start_send(reducer, 1, x->sum + x->mine.begin + at, mine - at < most ? mine - at : most,
                       x->partner, RESULT);
        await(reducer, 0);
        await(reducer, 1);
    }
}

static void reduce_halving(struct ls_reducer *reducer, ptrdiff_t n, float *sum, const float *own)
{
    enum { MAX_LEVELS = 31 };
    struct exchange levels[MAX_LEVELS];
    int n_levels = 0;
    struct ls_range range = {0, n};
    for (int distance = 1; distance < reducer->plan.n_active; distance *= 2) {
        const int upper = (reducer->wire.rank & distance) != 0;
        struct exchange *x = &levels[n_levels++];
        *x = (struct exchange){.partner = reducer->wire.rank ^ distance,
                               .mine = ls_plan_half(range, upper),
                               .theirs = ls_plan_half(range, !upper),

                               .own = own,
                               .sum = sum,
                               .last = 2 * distance == reducer->plan.n_active};
        run_exchange(reducer, x);
        own = sum;
        range = x->mine;
    }
    for (int level = n_levels - 2; level >= 0; level--)
        swap_results(reducer, &levels[level]);
}

/* The direct exchange of elements [first, first + n). */
struct round {
    ptrdiff_t first, n, granule_n;
    float *sum;
    float *const *roots;
    int n_roots;
};

static struct ls_range owned(const struct ls_reducer *reducer, const struct round *round, int owner)
{
    const struct ls_range slice = ls_plan_slice(round->n, reducer->wire.size, owner, round->granule_n);
    return (struct ls_range){round->first + slice.begin, round->first + slice.end};
}

/* Slots of the direct exchange: one of each kind for each other rank. */
static int slot_with(const struct ls_reducer *reducer, int other, enum kind kind)
{
    return other + reducer->wire.size * (int)kind;
}

/* Asks every rank for its roots of this rank's slice; they land in rank and root order from `landing` on. */
static void receive_roots(struct ls_reducer *reducer, struct ls_range mine, float *at)
{
    struct ls_node nodes[LS_MAX_ROOTS];
    for (int rank = 0; rank < reducer->plan.n_active; rank++) {
        if (rank == reducer->wire.rank)
            continue;
        const ptrdiff_t n = ls_plan_roots(&reducer->plan, rank, nodes) * (mine.end - mine.begin);
        start_receive(reducer, slot_with(reducer, rank, PARTIAL_IN), at, n, rank, PARTIAL);
        at += n;
    }
}

/* Sends each owner all of this rank's roots of its slice in one message, packed at `at` if they are several.
 * Returns the scratch that is left. */
static float *send_roots(struct ls_reducer *reducer, const struct round *round, float *at)
{
    for (int step = 1; step < reducer->wire.size; step++) {
        /* Everybody starts with its neighbour, so that no rank is asked by all at once. */
        const int owner = (reducer->wire.rank + step) % reducer->wire.size;
        const struct ls_range slice = owned(reducer, round, owner);
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
        start_send(reducer, slot_with(reducer, owner, PARTIAL_OUT), packed, round->n_roots * n, owner,
                   PARTIAL);
    }
    return at;
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
        await(reducer, slot_with(reducer, rank, PARTIAL_IN));
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

static void share_results(struct ls_reducer *reducer, const struct round *round, struct ls_range mine)
{
    for (int step = 1; step < reducer->wire.size; step++) {
        const int other = (reducer->wire.rank + step) % reducer->wire.size;
        const struct ls_range slice = owned(reducer, round, other);
        if (slice.begin < slice.end)
            start_receive(reducer, slot_with(reducer, other, RESULT_IN), round->sum + slice.begin,
                          slice.end - slice.begin, other, RESULT);
        if (mine.begin < mine.end)
            start_send(reducer, slot_with(reducer, other, RESULT_OUT), round->sum + mine.begin,
                       mine.end - mine.begin, other, RESULT);
    }
}

static void reduce_direct(struct ls_reducer *reducer, ptrdiff_t n, float *sum, float *const *roots,
                          int n_roots)
{
    const ptrdiff_t granule_n = granule(reducer);
    const ptrdiff_t most = most_owned(reducer) / granule_n * granule_n * reducer->wire.size;
    for (ptrdiff_t first = 0; first < n; first += most) {
        const struct round round = {.first = first,
                                    .n = n - first < most ? n - first : most,
                                    .granule_n = granule_n,
                                    .sum = sum,
                                    .roots = roots,
                                    .n_roots = n_roots};
        const struct ls_range mine = owned(reducer, &round, reducer->wire.rank);
        float *landed = reducer->scratch;
        float *packing = landed + reducer->plan.n_roots * (mine.end - mine.begin);
        if (mine.begin < mine.end)
            receive_roots(reducer, mine, landed);
        send_roots(reducer, &round, packing);
        if (mine.begin < mine.end)
            merge_roots(reducer, &round, mine, landed);
        await_all(reducer); /* results may land where roots were: only once those have left */
        share_results(reducer, &round, mine);
        await_all(reducer);
    }
}

void ls_tree_allreduce(struct ls_reducer *reducer, int64_t n_leaves, ptrdiff_t n, float *sum,
                       float *const *roots, int n_roots)
{
    if (reducer->plan.n_leaves != n_leaves)
        reducer->plan = ls_plan_make(n_leaves, reducer->members);
    const struct ls_plan *plan = &reducer->plan;
    if (n == 0)
        return;
    if (plan->n_active == 0) {
        memset(sum, 0, (size_t)n * sizeof *sum);
        return;
    }
    const float *own = n_roots ? roots[0] : NULL;
    const int pairs = plan->perfect && !reducer->always_direct;
    if (reducer->wire.size == 1 || (pairs && n <= reducer->tuning.small_n))
        reduce_doubling(reducer, n, sum, own);
    else if (pairs && plan->n_active == plan->members.n)
        reduce_halving(reducer, n, sum, own);
    else
        reduce_direct(reducer, n, sum, roots, n_roots);
}
