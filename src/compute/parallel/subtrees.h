/* Threads that share out leaves: a thread sums whole subtrees of 2^p leaves, each into memory of its own, and
 * the tree over them is finished afterwards (contract rule 3), so the cut cannot be seen. */
#ifndef LS_COMPUTE_PARALLEL_SUBTREES_H
#define LS_COMPUTE_PARALLEL_SUBTREES_H

#include <string.h>

#include "compute/parallel/team.h"

enum { STRETCH = 64 /* sums that the end of the tree takes at a time */ };

static inline ptrdiff_t subtrees_of(ptrdiff_t leaves, ptrdiff_t subtree)
{
    return (leaves - 1) / subtree + 1;
}

/* The leaves of subtree s. */
static inline struct range subtree_leaves(ptrdiff_t leaves, ptrdiff_t subtree, ptrdiff_t s)
{
    const ptrdiff_t end = (s + 1) * subtree;
    return (struct range){s * subtree, end < leaves ? end : leaves};
}

/* Leaves of the thread that gets most. */
static inline ptrdiff_t most_leaves(ptrdiff_t leaves, ptrdiff_t subtree, ptrdiff_t threads)
{
    return ((subtrees_of(leaves, subtree) - 1) / threads + 1) * subtree;
}

/* Leaves of a subtree such that the thread with the most has the fewest; the largest of equally good ones,
 * with no more than `most` subtrees.  All leaves, when none shares them out to within a quarter. */
static inline ptrdiff_t subtree_for(ptrdiff_t leaves, ptrdiff_t threads, ptrdiff_t most)
{
    ptrdiff_t best = leaves, least = leaves;
    for (ptrdiff_t size = 1; size < leaves; size *= 2) {
        const ptrdiff_t here = most_leaves(leaves, size, threads);
        if (subtrees_of(leaves, size) > most || here > least)
            continue;
        least = here;
        best = size;
    }
    const ptrdiff_t fair = (leaves - 1) / threads + 1;
    return least <= fair + fair / 4 ? best : leaves;
}

/* to = the tree over `count` subtrees from `first` on, of n <= STRETCH numbers at `at`; sums[s * step] are
 * those of subtree s.  It is cut at the largest power of two. */
static void tree_of(float *const *sums, ptrdiff_t step, ptrdiff_t first, ptrdiff_t count, ptrdiff_t at,
                    ptrdiff_t n, float *to)
{
    if (count == 1) {
        memcpy(to, sums[first * step] + at, (size_t)n * sizeof *to);
        return;
    }
    ptrdiff_t half = 1;
    while (half * 2 < count)
        half *= 2;
    float right[STRETCH];
    tree_of(sums, step, first, half, at, n, to);
    tree_of(sums, step, first + half, count - half, at, n, right);
    for (ptrdiff_t i = 0; i < n; i++)
        to[i] = to[i] + right[i];
}

#endif
