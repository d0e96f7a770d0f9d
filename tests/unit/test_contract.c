/* base/contract.h and base/tree.c against the plainest reading of contract.md: exact integer arithmetic for
 * fma, a tree built level by level, sixteen lanes filled one after the other. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/philox.h"
#include "base/tree.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Numbers of either sign over 24 powers of two: any two orders of adding a few of them differ. */
static float awkward(uint32_t stream, uint32_t i)
{
    const struct ls_bits128 random = ls_random(20240229, LS_PURPOSE_SYNTHETIC, stream, i);
    const float size = ldexpf(1.0f + ls_uniform(random.word[0]), (int)(random.word[1] % 24u) - 12);
    return random.word[2] & 1u ? -size : size;
}

/* `noinline` and volatile arguments: the operation that runs is the one tested, not the compiler's
 * arithmetic. */
__attribute__((noinline)) static float fma_at_run_time(float a, float b, float c)
{
    volatile float x = a, y = b, z = c;
    return ls_fma(x, y, z);
}

Test(fma, rounds_once)
{
    const struct {
        float a, b, c, wanted;
    } cases[] = {
        /* The product's low bits survive the addition. */
        {1 + 0x1p-12f, 1 + 0x1p-12f, -(1 + 0x1p-11f), 0x1p-24f},
        {1 + 0x1p-23f, 1 - 0x1p-23f, -1, -0x1p-46f},
        {0x1.000002p0f, 0x1.000002p0f, -0x1.000004p0f, 0x1p-46f},
        /* The product is half way between two numbers and c, far below it, decides; a sum rounded to binary64
         * on the way would lose c.  24929 * 673 = 2^24 + 1. */
        {24929, 673 * 0x1p-24f, 0x1p-60f, 1 + 0x1p-23f},
        {24929, 673 * 0x1p-24f, -0x1p-60f, 1},
        {24929, 673 * 0x1p-24f, 0, 1},
        /* Neither an overflowing nor an underflowing product is rounded by itself. */
        {0x1p127f, 2, -0x1p127f, 0x1p127f},
        {0x1p-100f, 0x1p-49f, 0x1p-149f, 0x1p-148f},
        {0x1p-75f, 0x1p-75f, 0x1p-126f, 0x1p-126f},
        {0x1.8p-75f, 0x1p-75f, 0x1p-149f, 0x1p-148f},
        /* Subnormals are kept. */
        {0x1p-149f, 1, 0, 0x1p-149f},
        {0x1p-126f, 0.5f, 0x1p-149f, 0x1.000004p-127f},
        /* Signs of zero. */
        {-1, 0, 0, 0},
        {-1, 0, -0.0f, -0.0f},
        {1, 1, -1, 0},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const float y = fma_at_run_time(cases[c].a, cases[c].b, cases[c].c);
        cr_expect(bits_of(y) == bits_of(cases[c].wanted), "fma(%a, %a, %a) = %a, not %a", (double)cases[c].a,
                  (double)cases[c].b, (double)cases[c].c, (double)y, (double)cases[c].wanted);
    }
}

__extension__ typedef __int128 wide;

/* sum * 2^exponent, rounded to the nearest binary32, ties to even; results here are normal or zero. */
static float rounded(wide sum, int exponent)
{
    const int negative = sum < 0;
    wide rest = negative ? -sum : sum, shifted_out = 0, half = 0;
    int shift = 0;
    while (rest >> shift >= (wide)1 << 24)
        shift++;
    if (shift > 0) {
        shifted_out = rest & (((wide)1 << shift) - 1);
        half = (wide)1 << (shift - 1);
    }
    rest >>= shift;
    if (shifted_out > half || (shift > 0 && shifted_out == half && (rest & 1)))
        rest++;
    const float size = ldexpf((float)(int64_t)rest, exponent + shift);
    return negative ? -size : size;
}

Test(fma, equals_exact_integer_arithmetic)
{
    int unfused_differs = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        const struct ls_bits128 random = ls_random(1, LS_PURPOSE_SYNTHETIC, 0, i);
        const int32_t a = (int32_t)(random.word[0] >> 8) - (1 << 23);
        const int32_t b = (int32_t)(random.word[1] >> 8) - (1 << 23);
        const int32_t c = (int32_t)(random.word[2] >> 8) - (1 << 23);
        const int shift =
            (int)(random.word[3] % 70u) - 12; /* c * 2^shift meets a*b everywhere, and beside it */
        const float x = (float)a, y = (float)b, z = ldexpf((float)c, shift);
        const float wanted = rounded((wide)a * b * 4096 + c * ((wide)1 << (12 + shift)), -12);
        const float got = fma_at_run_time(x, y, z);
        cr_assert(bits_of(got) == bits_of(wanted), "fma(%a, %a, %a) = %a, not %a", (double)x, (double)y,
                  (double)z, (double)got, (double)wanted);
        const volatile float product = x * y;
        unfused_differs += bits_of(product + z) != bits_of(wanted);
    }
    cr_assert(unfused_differs > 20000, "only %d cases tell fused from unfused", unfused_differs);
}

/* tree() of the contract, word for word: v_i = v_2i + v_2i+1, an odd last node goes up unchanged. */
static float naive_tree(const float *v, ptrdiff_t n)
{
    if (n == 0)
        return 0;
    float *level = malloc((size_t)n * sizeof *level);
    cr_assert_not_null(level);
    memcpy(level, v, (size_t)n * sizeof *level);
    for (; n > 1; n = (n + 1) / 2)
        for (ptrdiff_t i = 0; i < (n + 1) / 2; i++)
            level[i] = 2 * i + 1 < n ? level[2 * i] + level[2 * i + 1] : level[2 * i];
    const float sum = level[0];
    free(level);
    return sum;
}

static float pushed_tree(const float *v, ptrdiff_t n)
{
    struct ls_tree tree = {.count = 0};
    for (ptrdiff_t i = 0; i < n; i++)
        ls_tree_push(&tree, v[i]);
    return ls_tree_sum(&tree);
}

Test(tree, pushing_equals_pairing_level_by_level)
{
    float v[300];
    int order_matters = 0;
    for (int n = 0; n <= 300; n++) {
        for (int i = 0; i < n; i++)
            v[i] = awkward((uint32_t)n, (uint32_t)i);
        const float wanted = naive_tree(v, n), got = pushed_tree(v, n);
        cr_assert(bits_of(got) == bits_of(wanted), "tree of %d: %a, not %a", n, (double)got, (double)wanted);
        float in_order = 0;
        for (int i = 0; i < n; i++)
            in_order += v[i];
        order_matters += bits_of(in_order) != bits_of(wanted);
    }
    cr_assert(order_matters > 200, "only %d of 301 sums depend on the order", order_matters);
}

Test(tree, edges)
{
    const float minus_zero = -0.0f;
    cr_expect(bits_of(pushed_tree(NULL, 0)) == 0, "tree of nothing is +0");
    cr_expect(bits_of(pushed_tree(&minus_zero, 1)) == 0x80000000u, "tree of one value is that value");
    /* The sum of a tree may be asked for at any time and does not disturb it. */
    struct ls_tree tree = {.count = 0};
    float v[100];
    for (int i = 0; i < 100; i++) {
        v[i] = awkward(7, (uint32_t)i);
        ls_tree_push(&tree, v[i]);
        cr_assert(bits_of(ls_tree_sum(&tree)) == bits_of(naive_tree(v, i + 1)), "after %d values", i + 1);
    }
}

/* lanesum() of the contract: per lane, then a tree over lanes; blocks of 4096; a tree over blocks. */
static float naive_lanesum(const float *v, ptrdiff_t n)
{
    float blocks[64];
    ptrdiff_t n_blocks = 0;
    for (ptrdiff_t begin = 0; begin == 0 || begin < n; begin += 4096) {
        const ptrdiff_t end = begin + 4096 < n ? begin + 4096 : n;
        float lanes[16];
        for (ptrdiff_t l = 0; l < 16; l++) {
            lanes[l] = 0;
            for (ptrdiff_t i = begin + l; i < end; i += 16)
                lanes[l] = lanes[l] + v[i];
        }
        blocks[n_blocks++] = naive_tree(lanes, 16);
    }
    return naive_tree(blocks, n_blocks);
}

Test(lanesum, equals_the_definition)
{
    enum { MOST = 30000 };
    static float v[MOST];
    for (uint32_t i = 0; i < MOST; i++)
        v[i] = awkward(1000, i);
    const ptrdiff_t long_rows[] = {1000, 4080, 4095,  4096,  4097,  4112,  8191,
                                   8192, 8193, 12288, 12293, 16385, 20480, MOST};
    int order_matters = 0;
    for (ptrdiff_t n = 0; n < 200 + (ptrdiff_t)(sizeof long_rows / sizeof long_rows[0]); n++) {
        const ptrdiff_t length = n < 200 ? n : long_rows[n - 200];
        const float wanted = naive_lanesum(v, length), got = ls_lanesum(v, length);
        cr_assert(bits_of(got) == bits_of(wanted), "lanesum of %td: %a, not %a", length, (double)got,
                  (double)wanted);
        float in_order = 0;
        for (ptrdiff_t i = 0; i < length; i++)
            in_order += v[i];
        order_matters +=
            bits_of(in_order) != bits_of(wanted) && bits_of(naive_tree(v, length)) != bits_of(wanted);
    }
    cr_assert(order_matters > 100, "only %d rows tell lanesum from other orders", order_matters);
}

Test(lanesum, zeros_and_infinities)
{
    const float zeros[3] = {-0.0f, -0.0f, -0.0f};
    const float overflow[2] = {0x1.fffffep127f, 0x1.fffffep127f},
                opposite[17] = {[0] = INFINITY, [16] = -INFINITY};
    cr_expect(bits_of(ls_lanesum(zeros, 0)) == 0);
    cr_expect(bits_of(ls_lanesum(zeros, 3)) == 0, "lanes start from +0");
    cr_expect(isinf(ls_lanesum(overflow, 2)));
    cr_expect(isnan(ls_lanesum(opposite, 17)));
}

enum { MOST_LEAVES = 70, MOST_RANKS = 9 };

Test(leaf_tree, counts_leaves)
{
    cr_expect(ls_count_leaves(0, 32) == 0);
    cr_expect(ls_count_leaves(1, 32) == 1);
    cr_expect(ls_count_leaves(32, 32) == 1);
    cr_expect(ls_count_leaves(33, 32) == 2);
    cr_expect(ls_count_leaves(7, 1) == 7);
    cr_expect(ls_count_leaves(INT64_MAX, 2) == INT64_C(1) << 62, "no overflow on the way");
}

Test(leaf_tree, ranks_share_the_leaves_in_order)
{
    for (int64_t n = 0; n <= MOST_LEAVES; n++) {
        for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
            int64_t next = 0, most = 0;
            for (int rank = 0; rank < ranks; rank++) {
                const struct ls_range mine = ls_leaves_of_rank(n, ranks, rank);
                cr_assert(mine.begin == next && mine.begin <= mine.end,
                          "leaves %d of %d ranks: rank %d has %d-%d", (int)n, ranks, rank, (int)mine.begin,
                          (int)mine.end);
                most = mine.end - mine.begin > most ? mine.end - mine.begin : most;
                next = mine.end;
            }
            cr_assert(next == n, "%d of %d leaves given to %d ranks", (int)next, (int)n, ranks);
            cr_assert(most == (n + ranks - 1) / ranks, "the slowest of %d ranks has %d of %d leaves", ranks,
                      (int)most, (int)n);
        }
    }
}

/* The fewest nodes of the tree over n leaves that make up [begin, end), by trying every node at every place.
 */
static int fewest_nodes(int64_t n, int64_t begin, int64_t end)
{
    int least[MOST_LEAVES + 1];
    least[end] = 0;
    for (int64_t at = end - 1; at >= begin; at--) {
        least[at] = 1000;
        for (int level = 0; level <= 7; level++) {
            const struct ls_range covered = ls_node_leaves((struct ls_node){level, at >> level}, n);
            if (covered.begin == at && covered.end <= end && 1 + least[covered.end] < least[at])
                least[at] = 1 + least[covered.end];
        }
    }
    return least[begin];
}

Test(leaf_tree, node_covers_its_leaves)
{
    const struct {
        struct ls_node node;
        int64_t n, begin, end;
    } cases[] = {{{0, 0}, 1, 0, 1}, {{0, 4}, 5, 4, 5}, {{1, 2}, 5, 4, 5},   {{2, 1}, 7, 4, 7},
                 {{3, 0}, 5, 0, 5}, {{3, 0}, 8, 0, 8}, {{3, 1}, 16, 8, 16}, {{61, 0}, 3, 0, 3}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const struct ls_range covered = ls_node_leaves(cases[c].node, cases[c].n);
        cr_expect(covered.begin == cases[c].begin && covered.end == cases[c].end, "case %zu: %d-%d", c,
                  (int)covered.begin, (int)covered.end);
    }
}

Test(leaf_tree, roots_partition_any_range_and_are_the_fewest)
{
    struct ls_node roots[LS_MAX_ROOTS];
    for (int64_t n = 1; n <= MOST_LEAVES; n++) {
        for (int64_t begin = 0; begin <= n; begin++) {
            for (int64_t end = begin; end <= n; end++) {
                const int n_roots = ls_tree_roots(n, (struct ls_range){begin, end}, roots);
                int64_t next = begin;
                for (int i = 0; i < n_roots; i++) {
                    const struct ls_range covered = ls_node_leaves(roots[i], n);
                    cr_assert(covered.begin == next && covered.end > next, "%d-%d of %d: a gap at %d",
                              (int)begin, (int)end, (int)n, (int)next);
                    next = covered.end;
                }
                cr_assert(next == end, "%d-%d of %d: roots end at %d", (int)begin, (int)end, (int)n,
                          (int)next);
                cr_assert(n_roots == fewest_nodes(n, begin, end), "%d-%d of %d: %d roots", (int)begin,
                          (int)end, (int)n, n_roots);
            }
        }
    }
}

Test(leaf_tree, roots_of_the_largest_range_fit)
{
    struct ls_node roots[LS_MAX_ROOTS];
    const int64_t n = INT64_C(1) << 62;
    const int n_roots = ls_tree_roots(n, (struct ls_range){1, n - 1}, roots);
    cr_assert(n_roots == 122, "%d roots", n_roots);
    cr_assert(ls_node_leaves(roots[n_roots - 1], n).end == n - 1);
}

/* One subtree on its way to the whole: where it is and what it sums to. */
struct part {
    struct ls_node node;
    float sum;
};

/* Every rank's roots in rank order, each with the tree over its own leaves. */
static int all_parts(int64_t n, int ranks, const float *leaf, struct part *parts)
{
    int n_parts = 0;
    for (int rank = 0; rank < ranks; rank++) {
        struct ls_node roots[LS_MAX_ROOTS];
        const int n_roots = ls_tree_roots(n, ls_leaves_of_rank(n, ranks, rank), roots);
        for (int i = 0; i < n_roots; i++) {
            const struct ls_range covered = ls_node_leaves(roots[i], n);
            parts[n_parts++] =
                (struct part){roots[i], pushed_tree(leaf + covered.begin, covered.end - covered.begin)};
        }
    }
    return n_parts;
}

/* Merges siblings until none are left; `choose` picks among the pairs that could be next.  Returns how many
 * parts remain. */
static int merge_all(int64_t n, struct part *parts, int n_parts, uint32_t choose)
{
    for (;;) {
        int pairs[MOST_LEAVES], n_pairs = 0;
        struct ls_node parent;
        for (int i = 0; i + 1 < n_parts; i++)
            if (ls_tree_siblings(n, parts[i].node, parts[i + 1].node, &parent))
                pairs[n_pairs++] = i;
        if (n_pairs == 0)
            return n_parts;
        choose = choose * 1664525u + 1013904223u;
        const int at = pairs[(choose >> 16) % (uint32_t)n_pairs];
        ls_tree_siblings(n, parts[at].node, parts[at + 1].node, &parent);
        parts[at] = (struct part){parent, parts[at].sum + parts[at + 1].sum};
        n_parts--;
        memmove(&parts[at + 1], &parts[at + 2], (size_t)(n_parts - at - 1) * sizeof parts[0]);
    }
}

Test(leaf_tree, merging_siblings_is_the_tree_bit_for_bit)
{
    float leaf[MOST_LEAVES];
    for (int64_t n = 1; n <= MOST_LEAVES; n++) {
        for (int64_t i = 0; i < n; i++)
            leaf[i] = awkward((uint32_t)n, (uint32_t)i);
        const float wanted = naive_tree(leaf, n);
        for (int ranks = 1; ranks <= MOST_RANKS; ranks++) {
            for (uint32_t order = 0; order < 5; order++) {
                struct part parts[MOST_LEAVES + 1];
                const int left = merge_all(n, parts, all_parts(n, ranks, leaf, parts), order);
                const struct ls_range covered = ls_node_leaves(parts[0].node, n);
                cr_assert(left == 1 && covered.begin == 0 && covered.end == n,
                          "%d leaves, %d ranks: %d parts, %d-%d", (int)n, ranks, left, (int)covered.begin,
                          (int)covered.end);
                cr_assert(bits_of(parts[0].sum) == bits_of(wanted),
                          "%d leaves, %d ranks, order %u: %a, not %a", (int)n, ranks, order,
                          (double)parts[0].sum, (double)wanted);
            }
        }
    }
}

/* ls_tree_siblings says yes for exactly the children of one node: every pair of nodes over few leaves. */
Test(leaf_tree, only_children_of_one_node_are_siblings)
{
    for (int64_t n = 1; n <= 20; n++) {
        for (int a = 0; a < 5 * 20; a++) {
            for (int b = 0; b < 5 * 20; b++) {
                const struct ls_node left = {a / 20, a % 20}, right = {b / 20, b % 20};
                const struct ls_range l = ls_node_leaves(left, n), r = ls_node_leaves(right, n);
                if (l.begin >= n || r.begin >= n)
                    continue;
                /* The parent, if any: the smallest node whose halves are exactly these leaves. */
                int children = 0;
                for (int level = 1; level <= 6; level++) {
                    const int64_t size = INT64_C(1) << level;
                    const int64_t middle = l.begin + size / 2, end = l.begin + size < n ? l.begin + size : n;
                    children |= l.begin % size == 0 && l.end == middle && r.begin == middle && r.end == end;
                }
                struct ls_node parent = {-1, -1};
                cr_assert(ls_tree_siblings(n, left, right, &parent) == children,
                          "%d leaves: %d-%d and %d-%d: children %d", (int)n, (int)l.begin, (int)l.end,
                          (int)r.begin, (int)r.end, children);
                if (!children)
                    continue;
                /* The parent covers both, under the name that ls_tree_roots has for those leaves: raised as
                 * far as may be. */
                struct ls_node roots[LS_MAX_ROOTS];
                cr_assert(ls_tree_roots(n, (struct ls_range){l.begin, r.end}, roots) == 1);
                cr_assert(roots[0].level == parent.level && roots[0].index == parent.index,
                          "%d leaves: %d-%d is (%d, %d), not (%d, %d)", (int)n, (int)l.begin, (int)r.end,
                          parent.level, (int)parent.index, roots[0].level, (int)roots[0].index);
            }
        }
    }
}
