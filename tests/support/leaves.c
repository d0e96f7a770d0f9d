#include "leaves.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

float leaf_value(int64_t leaf, ptrdiff_t i)
{
    if (i % 97 == 5)
        return -0.0f;
    /* Sign and fraction as they come, and an exponent in [-12, 12). */
    const uint64_t random = mix((uint64_t)leaf * UINT64_C(1000003) + (uint64_t)i);
    const uint32_t exponent = (uint32_t)(127 - 12 + ((random >> 32) * 24 >> 32));
    const uint32_t bits = ((uint32_t)random & UINT32_C(0x807fffff)) | exponent << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float leaf_node_sum(int64_t n_leaves, struct ls_node node, ptrdiff_t i)
{
    const struct ls_range leaves = ls_node_leaves(node, n_leaves);
    struct ls_tree tree = {.count = 0};
    for (int64_t leaf = leaves.begin; leaf < leaves.end; leaf++)
        ls_tree_push(&tree, leaf_value(leaf, i));
    return ls_tree_sum(&tree);
}

float leaf_sum(int64_t n_leaves, ptrdiff_t i)
{
    struct ls_tree tree = {.count = 0};
    for (int64_t leaf = 0; leaf < n_leaves; leaf++)
        ls_tree_push(&tree, leaf_value(leaf, i));
    return ls_tree_sum(&tree);
}

static float *floats(ptrdiff_t n)
{
    float *values = malloc(n ? (size_t)n * sizeof *values : 1);
    if (!values)
        abort();
    for (ptrdiff_t i = 0; i < n; i++)
        values[i] = NAN; /* nothing may be taken from here */
    return values;
}

struct rank_leaves rank_leaves_create(int64_t n_leaves, int n_ranks, int rank, ptrdiff_t n, int in_place)
{
    struct ls_node nodes[LS_MAX_ROOTS];
    struct rank_leaves leaves = {.sum = floats(n)};
    leaves.n_roots = ls_tree_roots(n_leaves, ls_leaves_of_rank(n_leaves, n_ranks, rank), nodes);
    for (int root = 0; root < leaves.n_roots; root++) {
        leaves.roots[root] = root == 0 && in_place ? leaves.sum : floats(n);
        for (ptrdiff_t i = 0; i < n; i++)
            leaves.roots[root][i] = leaf_node_sum(n_leaves, nodes[root], i);
    }
    return leaves;
}

void rank_leaves_release(struct rank_leaves *leaves)
{
    for (int root = 0; root < leaves->n_roots; root++)
        if (leaves->roots[root] != leaves->sum)
            free(leaves->roots[root]);
    free(leaves->sum);
}

/* tree(all leaves) of the first elements, kept: every rank of every layout asks for the same. */
enum { KEPT_LEAVES = 64, KEPT_N = 4096 };
static _Atomic(float *) kept[KEPT_LEAVES];

static const float *kept_sums(int64_t n_leaves)
{
    if (n_leaves >= KEPT_LEAVES)
        return NULL;
    float *sums = atomic_load(&kept[n_leaves]);
    if (sums)
        return sums;
    float *made = floats(KEPT_N);
    for (ptrdiff_t i = 0; i < KEPT_N; i++)
        made[i] = leaf_sum(n_leaves, i);
    if (atomic_compare_exchange_strong(&kept[n_leaves], &sums, made))
        return made;
    free(made); /* another thread was first */
    return sums;
}

ptrdiff_t first_wrong_in(int64_t n_leaves, ptrdiff_t begin, ptrdiff_t end, const float *sum)
{
    const float *sums = kept_sums(n_leaves);
    for (ptrdiff_t i = begin; i < end; i++) {
        const float expected = sums && i < KEPT_N ? sums[i] : leaf_sum(n_leaves, i);
        if (memcmp(&expected, &sum[i], sizeof expected) != 0)
            return i;
    }
    return end;
}

ptrdiff_t first_wrong(int64_t n_leaves, ptrdiff_t n, const float *sum)
{
    return first_wrong_in(n_leaves, 0, n, sum);
}

/* Equal; all with one rank in the middle; longer and longer. */
void cut_slices(ptrdiff_t begin, ptrdiff_t n, int n_ranks, int way, ptrdiff_t *cuts)
{
    for (int rank = 0; rank <= n_ranks; rank++) {
        const ptrdiff_t part = way == 0   ? (n - begin) * rank / n_ranks
                               : way == 1 ? (rank > n_ranks / 2 ? n - begin : 0)
                                          : (n - begin) * rank * rank / (n_ranks * n_ranks);
        cuts[rank] = begin + part;
    }
}

static float shared_value(int rank, ptrdiff_t i)
{
    return leaf_value(rank + 7, i);
}

void fill_slice(const ptrdiff_t *cuts, int n_ranks, int rank, float *values)
{
    for (ptrdiff_t i = cuts[0]; i < cuts[n_ranks]; i++)
        values[i] = i >= cuts[rank] && i < cuts[rank + 1] ? shared_value(rank, i) : NAN;
}

ptrdiff_t first_not_shared(const ptrdiff_t *cuts, int n_ranks, const float *values)
{
    for (int rank = 0; rank < n_ranks; rank++)
        for (ptrdiff_t i = cuts[rank]; i < cuts[rank + 1]; i++) {
            const float expected = shared_value(rank, i);
            if (memcmp(&expected, &values[i], sizeof expected) != 0)
                return i;
        }
    return cuts[n_ranks];
}

int is_sum(char failure[FAILURE_TEXT], int64_t n_leaves, int rank, ptrdiff_t begin, ptrdiff_t end,
           const float *sum)
{
    const ptrdiff_t wrong = first_wrong_in(n_leaves, begin, end, sum);
    if (wrong < end && !failure[0])
        snprintf(failure, FAILURE_TEXT,
                 "%lld leaves, rank %d, elements %td to %td: element %td is %a, not %a", (long long)n_leaves,
                 rank, begin, end, wrong, (double)sum[wrong], (double)leaf_sum(n_leaves, wrong));
    return wrong >= end;
}

int is_shared(char failure[FAILURE_TEXT], const ptrdiff_t *cuts, int n_ranks, int rank, const float *values)
{
    const ptrdiff_t wrong = first_not_shared(cuts, n_ranks, values), end = cuts[n_ranks];
    if (wrong < end && !failure[0])
        snprintf(failure, FAILURE_TEXT,
                 "rank %d, elements %td to %td: what is shared is wrong at element %td, %a", rank, cuts[0],
                 end, wrong, (double)values[wrong]);
    return wrong >= end;
}
