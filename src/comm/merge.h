/* Subtree roots that lie in memory, merged stretch by stretch: what the ranks of a host do with one another's
 * gradients.
 *
 * Which vectors are added in which order is worked out once for a tree (ls_merge_plan) and then followed for
 * any stretch of elements (ls_merge_run): partial sums of a stretch stay in cache, every root is read once,
 * and only results are written.  Disjoint stretches may be worked on by several threads or processes at once.
 */
#ifndef LS_COMM_MERGE_H
#define LS_COMM_MERGE_H

#include "base/status.h"
#include "comm/plan.h"

/* Where the values of a sum are: root i as i >= 0; the rest below. */
enum { LS_MERGE_SUM = -1, LS_MERGE_SCRATCH = -2 /* and below: one stretch each */ };

struct ls_merge_add {
    int to, left, right; /* right == LS_MERGE_SUM: a copy of left */
};

struct ls_merge {
    int most_roots;
    int n_adds, n_results, n_scratch;
    struct ls_merge_add *adds; /* (most_roots + 1) */
    int *results;              /* (n_results): roots, in place, or the sum */
    struct ls_node *nodes;     /* (most_roots): of the results */
};

/* Local.  Room for plans of up to most_roots roots.  *merge may be released also after failure. */
enum ls_code ls_merge_init(struct ls_merge *merge, int most_roots, struct ls_error *err);
void ls_merge_release(struct ls_merge *merge);

/* Roots nodes[0..n_roots), ascending, of a tree of n_leaves, to be merged as far as they are siblings. whole:
 * they are all that the tree has; then its sum goes to LS_MERGE_SUM, also when it is a single root (a copy),
 * and there is one result, or none of no roots.  Else what several roots add up to replaces the first of
 * them. */
void ls_merge_plan(struct ls_merge *merge, int64_t n_leaves, int n_roots, const struct ls_node *nodes,
                   int whole);

/* Floats of scratch that a call of ls_merge_run needs. */
enum { LS_MERGE_STRETCH = 1024 };
static inline ptrdiff_t ls_merge_scratch(const struct ls_merge *merge)
{
    return (ptrdiff_t)merge->n_scratch * LS_MERGE_STRETCH;
}

/* Elements [range.begin, range.end) of every vector.  A whole tree's sum may be one of the roots. */
void ls_merge_run(const struct ls_merge *merge, struct ls_range range, float *sum, float *const *roots,
                  float *scratch);

#endif
