/* The arithmetic that the numeric contract defines, in its plainest form (src/compute/README.md is its text).
 *
 * The serial oracle and the parallel path share this file and nothing else of each other's.  Every function
 * is a fixed sequence of IEEE binary32 operations; the build uses -ffp-contract=off, so what is written is
 * what is computed. */
#ifndef LS_BASE_CONTRACT_H
#define LS_BASE_CONTRACT_H

#include <stddef.h>

#define LS_CONTRACT_VERSION 1

enum {
    LS_LANES = 16,             /* lanes of lanesum */
    LS_LANESUM_BLOCK = 4096,   /* elements of one lanesum; a longer row is a tree over such blocks */
    LS_TREE_LEVELS = 62,       /* more than any tree over a 63-bit count of leaves needs */
    LS_DEFAULT_MICROBATCH = 32 /* samples in a leaf unless the run says otherwise */
};

/* One correctly rounded a*b+c.  A hardware instruction where the file is compiled for one, else libm's fmaf,
 * which IEEE 754 defines to the last bit: the one libm function that may reach a result. */
static inline float ls_fma(float a, float b, float c)
{
    return __builtin_fmaf(a, b, c);
}

/* A tree fed one value at a time, in order, in O(log n) memory: a binary counter whose digit l, when set,
 * holds the finished subtree of 2^l values.  Ends with the same additions as pairing level by level, an odd
 * last node going up unchanged. */
struct ls_tree {
    unsigned long long count;
    float pending[LS_TREE_LEVELS];
};

static inline void ls_tree_push(struct ls_tree *tree, float value)
{
    int level = 0;
    for (unsigned long long digits = tree->count; digits & 1; digits >>= 1)
        value = tree->pending[level++] + value;
    tree->pending[level] = value;
    tree->count++;
}

/* The sum of what was pushed; of nothing, +0. */
static inline float ls_tree_sum(const struct ls_tree *tree)
{
    float sum = 0.0f;
    int started = 0;
    for (int level = 0; level < LS_TREE_LEVELS && tree->count >> level; level++) {
        if (!((tree->count >> level) & 1))
            continue;
        sum = started ? tree->pending[level] + sum : tree->pending[level];
        started = 1;
    }
    return sum;
}

/* lanesum over at most LS_LANESUM_BLOCK elements: lane l folds v_l, v_(l+16), ... from +0; then a tree over
 * lanes. */
static inline float ls_lanesum_block(const float *v, ptrdiff_t n)
{
    float lane[LS_LANES] = {0};
    for (ptrdiff_t i = 0; i < n; i++)
        lane[i % LS_LANES] = ls_fma(v[i], 1.0f, lane[i % LS_LANES]);
    for (int width = LS_LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            lane[l] = lane[2 * l] + lane[2 * l + 1];
    return lane[0];
}

/* Rule 4: the sum of a row of any length. */
static inline float ls_lanesum(const float *v, ptrdiff_t n)
{
    if (n <= LS_LANESUM_BLOCK)
        return ls_lanesum_block(v, n);
    struct ls_tree tree = {.count = 0};
    for (ptrdiff_t at = 0; at < n; at += LS_LANESUM_BLOCK)
        ls_tree_push(&tree, ls_lanesum_block(v + at, n - at < LS_LANESUM_BLOCK ? n - at : LS_LANESUM_BLOCK));
    return ls_tree_sum(&tree);
}

#endif
