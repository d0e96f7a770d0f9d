/* Owns how the tree's sums travel; see tree_allreduce.h.  What is added to what is plan.c's. */
#include "comm/tree_allreduce.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "comm/direct.h"

enum { LINE = 16, MOST_RADIX = 16 }; /* floats in a cache line */

/* Measured with two ranks on two cores, Open MPI 4.1 copying between processes (CMA), alternating with
 * MPI_Allreduce.
 * - small_n: a whole vector still is an eager message (4096 bytes with its header).  At 4096 bytes halving,
 * whose halves are eager, takes 3.1 us and doubling 6.5.  (At 8 KB doubling would win again, by 2 us.)
 * - segment_n: 2 MiB.  On one host a message is copied by the receiving core itself, so segments overlap
 * nothing and each costs a handshake: 400 KB in 1, 2, 4 segments takes 80, 83, 94 us, 4 MB in 1, 2, 4 takes
 * 385, 398, 409.  On a busy machine a handshake also waits for the partner to be scheduled: 16 MB in 32
 * segments took twice as long as in 4.
 * - scratch_n: 8 MiB; half of it made twice as many rounds of a direct exchange, each with two such waits.
 *
 * Between hosts a message of 16 KiB takes little longer than an empty one (1.3 us on a link of 100 Gbit/s,
 * beside a latency of some microseconds), and halving needs twice as many in a row as there are levels; four
 * ranks that swap whole vectors need half as many.  A ResNet-50-like net, whose 53 batch norms have three
 * such sums each: 97.5 % of one node's speed on 64 simulated nodes, 96.5 by halving and doubling. */
struct ls_reduce_tuning ls_reduce_default_tuning(int between_hosts)
{
    return (struct ls_reduce_tuning){.small_n = between_hosts ? 4096 : 992,
                                     .radix = 4,
                                     .segment_n = 1 << 19,
                                     .window = 2,
                                     .granule_n = 256,
                                     .scratch_n = 1 << 21};
}

static ptrdiff_t most(ptrdiff_t a, ptrdiff_t b)
{
    return a > b ? a : b;
}

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* 32 messages of 1 MiB.  The first halving receives half of the elements; a direct exchange of four times as
 * many as there are takes one round of ranks with two roots each. */
struct ls_reduce_tuning ls_reduce_flight_tuning(const struct ls_reduce_tuning *tuning, ptrdiff_t most_n)
{
    struct ls_reduce_tuning flight = *tuning;
    flight.segment_n = least(tuning->segment_n, 1 << 18);
    flight.window = 32;
    ptrdiff_t half = (most_n / 2 + 2 * LINE) / LINE * LINE;
    if (half > flight.segment_n)
        half = least((half + flight.segment_n - 1) / flight.segment_n, flight.window) * flight.segment_n;
    flight.scratch_n = most(half, least(4 * most_n, tuning->scratch_n));
    return flight;
}

int ls_reduce_slots(int size, const struct ls_reduce_tuning *tuning)
{
    return 4 * (size > tuning->window ? size : tuning->window);
}

/* What a tuning comes to.  One element of every root fits that ranks can hold, twice (direct.c). */
static void fit(struct ls_reduce_tuning *tuning, int size)
{
    const ptrdiff_t roots = size > 1 ? 2 * (ptrdiff_t)LS_MAX_ROOTS * size : 1;
    tuning->radix = tuning->radix < 2 ? 2 : tuning->radix;
    assert(tuning->radix <= MOST_RADIX && (tuning->radix & (tuning->radix - 1)) == 0);
    tuning->scratch_n = most(most(tuning->scratch_n, roots), (tuning->radix - 1) * tuning->small_n);
    tuning->segment_n = least(tuning->segment_n, tuning->scratch_n);
    tuning->window = (int)least(tuning->window, tuning->scratch_n / tuning->segment_n);
}

enum ls_code ls_reducer_init(struct ls_reducer *reducer, const struct ls_wire *wire, const int *first,
                             const struct ls_reduce_tuning *tuning, const struct ls_reducer *beside,
                             struct ls_error *err)
{
    *reducer = (struct ls_reducer){.wire = *wire,
                                   .members = {wire->size, first},
                                   .tuning = *tuning,
                                   .plan = {.n_leaves = -1},
                                   .borrows = beside != NULL};
    fit(&reducer->tuning, wire->size);
    reducer->scratch_n = reducer->tuning.scratch_n;
    assert(!beside || reducer->scratch_n <= beside->scratch_n);
    reducer->scratch = beside ? beside->scratch
                              : ls_alloc((size_t)reducer->scratch_n, sizeof *reducer->scratch,
                                         "scratch of the allreduce", err);
    reducer->owned = ls_alloc((size_t)wire->size, sizeof *reducer->owned, "owners of the allreduce", err);
    return reducer->scratch && reducer->owned ? LS_OK : LS_FAILED;
}

void ls_reducer_release(struct ls_reducer *reducer)
{
    if (!reducer)
        return;
    if (!reducer->borrows)
        ls_free(reducer->scratch);
    ls_free(reducer->owned);
    reducer->scratch = NULL;
    reducer->owned = NULL;
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
            ls_message_send(reducer, 0, sum, n, rank + have, LS_RESULT);
        else if (rank >= have && rank < 2 * have)
            ls_message_receive(reducer, 0, sum, n, rank - have, LS_RESULT);
        ls_message_await(reducer, 0);
    }
}

/* Swaps whole vectors with radix - 1 others: those whose rank differs in one digit, of weight `distance`. */
static void swap_wholes(struct ls_reducer *reducer, int distance, int radix, ptrdiff_t n, float *sum,
                        const float *own)
{
    const int rank = reducer->wire.rank, mine = rank / distance % radix;
    const float *values[MOST_RADIX];
    values[mine] = own;
    for (int i = 1; i < radix; i++) {
        float *landing = reducer->scratch + (i - 1) * n;
        values[mine ^ i] = landing;
        ls_message_receive(reducer, 2 * i, landing, n, rank + ((mine ^ i) - mine) * distance, LS_PARTIAL);
    }
    for (int i = 1; i < radix; i++)
        ls_message_send(reducer, 2 * i + 1, own, n, rank + ((mine ^ i) - mine) * distance, LS_PARTIAL);
    for (int slot = 2; slot < 2 * radix; slot++)
        ls_message_await(reducer, slot);
    for (int left = radix; left > 1; left /= 2)
        for (int i = 0; i < left / 2; i++) {
            /* In the place of one that is in scratch: of the two, one is. */
            const float *a = values[2 * i], *b = values[2 * i + 1], *scratch = a == own ? b : a;
            float *to = left == 2 ? sum : reducer->scratch + (scratch - reducer->scratch);
            ls_plan_add(to, a, b, n);
            values[i] = to;
        }
}

static void reduce_wholes(struct ls_reducer *reducer, ptrdiff_t n, float *sum, const float *own)
{
    const int rank = reducer->wire.rank, n_active = reducer->plan.n_active;
    if (rank < n_active) {
        for (int distance = 1, radix; distance < n_active; distance *= radix) {
            radix = (int)least(reducer->tuning.radix, n_active / distance);
            swap_wholes(reducer, distance, radix, n, sum, own);
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
static int slot_of(const struct ls_reducer *reducer, int64_t segment, enum ls_message_kind kind)
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
        ls_message_receive(reducer, slot_of(reducer, segment, LS_PARTIAL_IN), landing(reducer, segment),
                           in.end - in.begin, x->partner, LS_PARTIAL);
    if (out.begin < out.end)
        ls_message_send(reducer, slot_of(reducer, segment, LS_PARTIAL_OUT), x->own + out.begin,
                        out.end - out.begin, x->partner, LS_PARTIAL);
}

static void finish_segment(struct ls_reducer *reducer, const struct exchange *x, int64_t segment)
{
    const struct ls_range in = segment_of(reducer, x->mine, segment);
    const struct ls_range out = segment_of(reducer, x->theirs, segment);
    ls_message_await(reducer, slot_of(reducer, segment, LS_PARTIAL_IN));
    add_partner(reducer, x->partner, x->sum + in.begin, x->own + in.begin, landing(reducer, segment),
                in.end - in.begin);
    if (x->last && in.begin < in.end) {
        ls_message_await(reducer, slot_of(reducer, segment, LS_RESULT_OUT));
        ls_message_send(reducer, slot_of(reducer, segment, LS_RESULT_OUT), x->sum + in.begin,
                        in.end - in.begin, x->partner, LS_RESULT);
    }
    /* The result may land where the partial sum was: only once that has left. */
    ls_message_await(reducer, slot_of(reducer, segment, LS_PARTIAL_OUT));
    if (x->last && out.begin < out.end) {
        ls_message_await(reducer, slot_of(reducer, segment, LS_RESULT_IN));
        ls_message_receive(reducer, slot_of(reducer, segment, LS_RESULT_IN), x->sum + out.begin,
                           out.end - out.begin, x->partner, LS_RESULT);
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
    ls_message_await_all(reducer);
}

/* Finished halves go back the way they came, longest distance first. */
static void swap_results(struct ls_reducer *reducer, const struct exchange *x)
{
    const int64_t most = INT64_C(1) << 28; /* a message's count must fit an int */
    const int64_t mine = x->mine.end - x->mine.begin, theirs = x->theirs.end - x->theirs.begin;
    for (int64_t at = 0; at < mine || at < theirs; at += most) {
        if (at < theirs)
            ls_message_receive(reducer, 0, x->sum + x->theirs.begin + at,
                               theirs - at < most ? theirs - at : most, x->partner, LS_RESULT);
        if (at < mine)
            ls_message_send(reducer, 1, x->sum + x->mine.begin + at, mine - at < most ? mine - at : most,
                            x->partner, LS_RESULT);
        ls_message_await(reducer, 0);
        ls_message_await(reducer, 1);
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

void ls_reducer_plan(struct ls_reducer *reducer, int64_t n_leaves)
{
    if (reducer->plan.n_leaves != n_leaves)
        reducer->plan = ls_plan_make(n_leaves, reducer->members);
}

void ls_tree_allreduce(struct ls_reducer *reducer, int64_t n_leaves, ptrdiff_t n, float *sum,
                       float *const *roots, int n_roots)
{
    ls_reducer_plan(reducer, n_leaves);
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
        reduce_wholes(reducer, n, sum, own);
    else if (pairs && plan->n_active == plan->members.n)
        reduce_halving(reducer, n, sum, own);
    else
        ls_direct_allreduce(reducer, n, sum, roots, n_roots);
}
