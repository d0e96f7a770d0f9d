/* What the ranks of a host do in memory that they share, on ranks that are threads, with and without other
 * hosts. */
#include <criterion/criterion.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/merge.h"
#include "comm/shared.h"
#include "compute/ops.h"
#include "leaves.h"
#include "thread_wire.h"

enum { MOST_RANKS = 7, MOST_N = 2100 };

/* --- the order of additions --- */

/* All roots of ranks [begin, end) of n_ranks, merged; then what is left is merged with the others'. */
static void check_merge(int64_t n_leaves, int n_ranks, int begin, int end, ptrdiff_t n)
{
    struct ls_merge merge;
    struct rank_leaves ranks[MOST_RANKS];
    struct ls_node nodes[MOST_RANKS * LS_MAX_ROOTS];
    float *roots[MOST_RANKS * LS_MAX_ROOTS], sum[MOST_N];
    const int whole = begin == 0 && end == n_ranks;
    int n_roots = 0;
    cr_assert(ls_merge_init(&merge, MOST_RANKS * LS_MAX_ROOTS, NULL) == LS_OK);
    for (int rank = begin; rank < end; rank++) {
        ranks[rank] = rank_leaves_create(n_leaves, n_ranks, rank, n, 0);
        ls_tree_roots(n_leaves, ls_leaves_of_rank(n_leaves, n_ranks, rank), nodes + n_roots);
        for (int i = 0; i < ranks[rank].n_roots; i++)
            roots[n_roots++] = ranks[rank].roots[i];
    }
    ls_merge_plan(&merge, n_leaves, n_roots, nodes, whole);
    float *scratch = malloc((size_t)ls_merge_scratch(&merge) * sizeof(float) + 1);
    for (ptrdiff_t at = 0; at < n; at += 1500) /* in two pieces */
        ls_merge_run(&merge, (struct ls_range){at, at + 1500 < n ? at + 1500 : n}, sum, roots, scratch);
    for (int i = 0; i < merge.n_results; i++) {
        const float *result = merge.results[i] == LS_MERGE_SUM ? sum : roots[merge.results[i]];
        for (ptrdiff_t e = 0; e < n; e++) {
            const float expected = leaf_node_sum(n_leaves, merge.nodes[i], e);
            cr_assert(memcmp(&result[e], &expected, sizeof expected) == 0,
                      "%lld leaves, ranks %d-%d of %d, result %d, element %td is %a, not %a",
                      (long long)n_leaves, begin, end, n_ranks, i, e, (double)result[e], (double)expected);
        }
    }
    const struct ls_range leaves = ls_plan_leaves(n_leaves, n_ranks, begin, end);
    cr_assert(merge.n_results == ls_tree_roots(n_leaves, leaves, nodes));
    free(scratch);
    for (int rank = begin; rank < end; rank++)
        rank_leaves_release(&ranks[rank]);
    ls_merge_release(&merge);
}

Test(comm_shared, merges_as_the_tree_does, .timeout = 60)
{
    for (int n_ranks = 1; n_ranks <= MOST_RANKS; n_ranks++)
        for (int begin = 0; begin < n_ranks; begin++)
            for (int end = begin + 1; end <= n_ranks; end++)
                for (int64_t n_leaves = 0; n_leaves <= 24; n_leaves++)
                    check_merge(n_leaves, n_ranks, begin, end, n_leaves % 7 ? 20 : MOST_N);
    check_merge(1023, 5, 1, 3, 50);
    check_merge(1023, 5, 0, 5, 50);
    cr_assert(ls_memory_balance() == 0);
}

/* --- ranks and hosts --- */

struct job {
    int n_hosts, in_slices;
    const int *first;
    struct ls_reduce_tuning tuning;
    void *segments[MOST_RANKS];
    char failure[FAILURE_TEXT];
};

/* The wire between the same lanes of hosts, over the wire between ranks. */
struct lane {
    const struct ls_wire *world;
    const int *first;
    int lane;
};

static void lane_send(void *self, int slot, const float *values, ptrdiff_t n, int to, int channel)
{
    const struct lane *lane = self;
    lane->world->send(lane->world->self, slot, values, n, lane->first[to] + lane->lane, channel);
}

static void lane_receive(void *self, int slot, float *values, ptrdiff_t n, int from, int channel)
{
    const struct lane *lane = self;
    lane->world->receive(lane->world->self, slot, values, n, lane->first[from] + lane->lane, channel);
}

static void lane_wait(void *self, int slot)
{
    const struct lane *lane = self;
    lane->world->wait(lane->world->self, slot);
}

static void wait_for(void *self, const _Atomic uint64_t *flag, uint64_t value)
{
    (void)self;
    while (atomic_load_explicit(flag, memory_order_acquire) < value)
        sched_yield();
}

static struct ls_place place_of(const struct job *job, int rank, int *host)
{
    int least = MOST_RANKS, most = 0;
    for (int i = 0; i < job->n_hosts; i++) {
        const int size = job->first[i + 1] - job->first[i];
        least = size < least ? size : least;
        most = size > most ? size : most;
        if (job->first[i] <= rank)
            *host = i;
    }
    return (struct ls_place){.rank = rank - job->first[*host],
                             .size = job->first[*host + 1] - job->first[*host],
                             .first_rank = job->first[*host],
                             .n_ranks = job->first[job->n_hosts],
                             .n_lanes = job->n_hosts > 1 ? least : 0,
                             .even = least == most};
}

/* The slots are used in an order that is no rank's own, and written as soon as that is allowed. */
static void reduce_once(struct ls_shared *shared, struct job *job, int rank, int64_t n_leaves, ptrdiff_t n,
                        int n_vectors)
{
    struct rank_leaves mine = rank_leaves_create(n_leaves, shared->place.n_ranks, rank, n, 0);
    float *roots[LS_MAX_ROOTS];
    for (int i = 0; i < mine.n_roots; i++) {
        roots[i] = ls_shared_vector(shared, (i + rank + (int)n_leaves) % n_vectors);
        memcpy(roots[i], mine.roots[i], (size_t)n * sizeof(float));
    }
    const struct ls_range all = {0, n};
    float *own = NULL;
    shared->most_own = (n_leaves + n) % 2 ? MOST_RANKS : 0;
    if (ls_shared_can_own(shared, n_leaves))
        own = ls_shared_reduce_to_own(shared, LS_SHARED_WAITED, n_leaves, all, roots, mine.n_roots);
    const float *sum =
        own ? own : ls_shared_reduce(shared, LS_SHARED_WAITED, n_leaves, all, roots, mine.n_roots);
    for (int i = 0; i < mine.n_roots; i++)
        if (roots[i] != own)
            memset(roots[i], 0xff, (size_t)n * sizeof(float));
    is_sum(job->failure, n_leaves, rank, 0, n, sum);
    if (own && own != (mine.n_roots > 0 ? roots[0] : ls_shared_vector(shared, 0)))
        snprintf(job->failure, sizeof job->failure, "%lld leaves: rank %d's own sum is elsewhere",
                 (long long)n_leaves, rank);
    if (own)
        memset(own, 0xff, (size_t)n * sizeof(float));
    rank_leaves_release(&mine);
}

/* The same with slices.  What is shared goes where the sum was, and the sum is wanted again at once. */
static void use_slices_once(struct ls_shared *shared, struct job *job, int rank, int64_t n_leaves,
                            ptrdiff_t n, int n_vectors)
{
    const int size = shared->place.n_ranks, way = (int)(n_leaves + n) % SLICE_WAYS;
    struct rank_leaves mine = rank_leaves_create(n_leaves, size, rank, n, 0);
    float *roots[LS_MAX_ROOTS];
    ptrdiff_t cuts[MOST_RANKS + 1];
    cut_slices(n < 3 ? n : 3, n, size, way, cuts);
    for (int i = 0; i < mine.n_roots; i++) {
        roots[i] = ls_shared_vector(shared, (i + rank + (int)n_leaves) % n_vectors);
        memcpy(roots[i], mine.roots[i], (size_t)n * sizeof(float));
    }
    const float *sum = ls_shared_scatter(shared, LS_SHARED_WAITED, n_leaves, cuts, roots, mine.n_roots);
    for (int i = 0; i < mine.n_roots; i++)
        memset(roots[i], 0xff, (size_t)n * sizeof(float));
    is_sum(job->failure, n_leaves, rank, cuts[rank], cuts[rank + 1], sum);
    fill_slice(cuts, size, rank, mine.sum);
    ls_shared_share(shared, LS_SHARED_WAITED, cuts, mine.sum);
    is_shared(job->failure, cuts, size, rank, mine.sum);
    rank_leaves_release(&mine);
}

enum { VECTORS = 12 };

static void reduce_everything(const struct ls_wire *wire, void *arg)
{
    struct job *job = arg;
    static const ptrdiff_t ns[] = {0, 1, 17, 300, MOST_N};
    int host = 0;
    struct ls_shared shared = {.place = place_of(job, wire->rank, &host), .wait = wait_for, .n_spins = 3};
    struct lane lane = {wire, job->first, shared.place.rank};
    const struct ls_wire across = {host, job->n_hosts, &lane, lane_send, lane_receive, lane_wait};
    struct ls_reducer reducer = {0};
    if (shared.place.rank < shared.place.n_lanes) {
        if (ls_reducer_init(&reducer, &across, job->first, &job->tuning, NULL, NULL) != LS_OK)
            abort();
        shared.slots[LS_SHARED_WAITED].across = &reducer;
    }
    if (ls_shared_init(&shared, MOST_N, NULL) != LS_OK)
        abort();
    ls_shared_attach(&shared, job->segments + shared.place.first_rank);
    for (int64_t n_leaves = 0; n_leaves <= 26; n_leaves++)
        for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
            if (job->in_slices)
                use_slices_once(&shared, job, wire->rank, n_leaves, ns[i], VECTORS);
            else
                reduce_once(&shared, job, wire->rank, n_leaves, ns[i], VECTORS);
    ls_shared_release(&shared);
    ls_reducer_release(&reducer);
}

static void check_hosts(int n_hosts, const int *first, struct ls_reduce_tuning tuning, enum wire_mode mode,
                        int in_slices)
{
    struct job job = {.n_hosts = n_hosts, .in_slices = in_slices, .first = first, .tuning = tuning};
    const int n_ranks = first[n_hosts];
    char layout[80] = "";
    for (int host = 0; host < n_hosts; host++) {
        snprintf(layout + strlen(layout), sizeof layout - strlen(layout), " %d",
                 first[host + 1] - first[host]);
        for (int rank = first[host]; rank < first[host + 1]; rank++) {
            const size_t bytes = ls_shared_bytes(VECTORS, MOST_N, rank == first[host]);
            job.segments[rank] = ls_alloc(bytes, 1, "segment", NULL);
        }
    }
    const int left = run_ranks(n_ranks, ls_reduce_slots(n_ranks, &tuning), mode, reduce_everything, &job);
    cr_assert(!job.failure[0], "ranks on hosts:%s: %s", layout, job.failure);
    cr_assert(left == 0, "ranks on hosts:%s: %d messages not waited for", layout, left);
    for (int rank = 0; rank < n_ranks; rank++)
        ls_free(job.segments[rank]);
    cr_assert(ls_memory_balance() == 0);
}

/* Threads and memory cost much more under AddressSanitizer: there, of the ways to spread more than four
 * ranks, one in five. */
#ifdef __SANITIZE_ADDRESS__
enum { ONE_IN = 5 };
#else
enum { ONE_IN = 1 };
#endif

/* Every way to put up to 7 ranks, in order, on hosts. */
static void check_layouts(struct ls_reduce_tuning tuning, enum wire_mode mode, int in_slices)
{
    ls_ops_set_threads(1); /* ranks are threads already */
    for (int n_ranks = 1; n_ranks <= MOST_RANKS; n_ranks++)
        for (int cuts = 0; cuts < 1 << (n_ranks - 1); cuts++) {
            int first[MOST_RANKS + 1], n_hosts = 0;
            if (n_ranks > 4 && (n_ranks + cuts) % ONE_IN != 0) /* of 5: all on one host, each on its own */
                continue;
            for (int rank = 0; rank < n_ranks; rank++)
                if (rank == 0 || cuts >> (rank - 1) & 1)
                    first[n_hosts++] = rank;
            first[n_hosts] = n_ranks;
            check_hosts(n_hosts, first, tuning, mode, in_slices);
        }
}

Test(comm_shared, is_the_tree_on_any_hosts, .timeout = 120)
{
    check_layouts(ls_reduce_default_tuning(0), WIRE_EAGER, 0);
}

/* Short messages, many of them, copied as late as possible. */
Test(comm_shared, is_the_tree_in_pieces, .timeout = 120)
{
    const struct ls_reduce_tuning tuning = {
        .small_n = 8, .segment_n = 50, .window = 2, .granule_n = 16, .scratch_n = 1};
    check_layouts(tuning, WIRE_LATE, 0);
}

/* Each rank its slice of the sum, then all slices to all. */
Test(comm_shared, slices_on_any_hosts, .timeout = 120)
{
    check_layouts(ls_reduce_default_tuning(0), WIRE_EAGER, 1);
}

Test(comm_shared, slices_in_pieces, .timeout = 120)
{
    const struct ls_reduce_tuning tuning = {
        .small_n = 8, .segment_n = 50, .window = 2, .granule_n = 16, .scratch_n = 1};
    check_layouts(tuning, WIRE_LATE, 1);
}
