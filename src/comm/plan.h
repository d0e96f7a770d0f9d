/* Who adds what in the tree over all ranks: geometry and the order of merging, without any communication.
 *
 * Members of a plan are the ranks, or the hosts with all their ranks' leaves.  Pure functions of n_leaves and
 * the layout: every rank computes the same plan, so no rank is ever told what another holds. */
#ifndef LS_COMM_PLAN_H
#define LS_COMM_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/tree.h"
#include "comm/add.h"

/* Who the members are: member i is ranks [first[i], first[i + 1]); first == NULL: rank i. */
struct ls_members {
    int n;
    const int *first; /* (n + 1), ascending from 0 */
};

struct ls_plan {
    int64_t n_leaves;
    struct ls_members members;
    int n_active;    /* members that hold leaves: always the first ones */
    int most_roots;  /* of any member */
    int64_t n_roots; /* of all members */
    int perfect;     /* one root of the same size on each active member, their number a power of two: pairs of
                        members at distances 1, 2, 4 … are then exactly the siblings of the tree */
};

struct ls_plan ls_plan_make(int64_t n_leaves, struct ls_members members);

/* The subtree roots that a member holds, ascending; returns their number. */
int ls_plan_roots(const struct ls_plan *plan, int member, struct ls_node nodes[LS_MAX_ROOTS]);

/* The leaves of ranks [begin, end) of n_ranks. */
struct ls_range ls_plan_leaves(int64_t n_leaves, int n_ranks, int begin, int end);

/* Elements [0, n) dealt to n_owners in contiguous slices whose inner borders are multiples of `granule`, the
 * earlier owners having the longer ones.  Late owners have none when n is small. */
struct ls_range ls_plan_slice(ptrdiff_t n, int n_owners, int owner, ptrdiff_t granule);

/* Part `part` of `parts` of a range, cut between cache lines that are counted from its beginning. */
struct ls_range ls_plan_part(struct ls_range range, int parts, int part);

/* Elements that each rank has a slice of: rank r elements [cuts[r], cuts[r + 1]).  Of hosts as members, in
 * lanes: each lane has its part of what the host's ranks have together. */
struct ls_slices {
    const ptrdiff_t *cuts; /* (ranks + 1), ascending */
    int n_lanes, lane;     /* 1, 0: all of it */
};

/* A member's own elements. */
struct ls_range ls_slice_of(const struct ls_slices *slices, struct ls_members members, int member);

/* The lower or the upper half of `range`, split at a cache line counted from its begin. */
struct ls_range ls_plan_half(struct ls_range range, int upper);

/* Subtrees of n values each, pushed in ascending order and merged as soon as two are siblings: what is left
 * after the last is the tree's sum.  Holds pointers only; merging two writes into the left one's values. */
struct ls_forest {
    int64_t n_leaves;
    ptrdiff_t n;
    int n_trees;
    struct {
        struct ls_node node;
        float *values;
    } trees[LS_MAX_ROOTS];
};

void ls_forest_begin(struct ls_forest *forest, int64_t n_leaves, ptrdiff_t n);
void ls_forest_push(struct ls_forest *forest, struct ls_node node, float *values);

/* The values of the finished tree: all roots must have been pushed.  NULL when there was none. */
float *ls_forest_sum(const struct ls_forest *forest);

#endif
