/* Leaves whose sum depends on the order of adding, and the sum that the contract asks for. */
#ifndef LS_TESTS_LEAVES_H
#define LS_TESTS_LEAVES_H

#include <stddef.h>
#include <stdint.h>

#include "base/tree.h"

/* What leaf `leaf` has at element `i`: both signs, 24 binades; every 97th element is -0 in all leaves, so
 * that a sum begun from +0 shows. */
float leaf_value(int64_t leaf, ptrdiff_t i);

/* One root of the tree: the sum of the node's leaves at element `i`, by ls_tree of base/contract.h. */
float leaf_node_sum(int64_t n_leaves, struct ls_node node, ptrdiff_t i);

/* tree(all leaves) at element `i`. */
float leaf_sum(int64_t n_leaves, ptrdiff_t i);

/* What a rank brings to an allreduce of n elements.  Memory on the heap; abort()s without it. */
struct rank_leaves {
    int n_roots;
    float *sum;
    float *roots[LS_MAX_ROOTS];
};
/* in_place: roots[0] is sum. */
struct rank_leaves rank_leaves_create(int64_t n_leaves, int n_ranks, int rank, ptrdiff_t n, int in_place);
void rank_leaves_release(struct rank_leaves *leaves);

/* The first element whose bits are not the contract's, or n. */
ptrdiff_t first_wrong(int64_t n_leaves, ptrdiff_t n, const float *sum);

/* The first element in [begin, end) whose bits are not the contract's, or end. */
ptrdiff_t first_wrong_in(int64_t n_leaves, ptrdiff_t begin, ptrdiff_t end, const float *sum);

/* Cuts [begin, n) into slices of n_ranks ranks, unevenly; `way` changes where.  Slices may be empty. */
enum { SLICE_WAYS = 3 };
void cut_slices(ptrdiff_t begin, ptrdiff_t n, int n_ranks, int way, ptrdiff_t *cuts);

/* What a rank has of values that it shares, and whether it now has those of all: the first element that is
 * not right, or the end. */
void fill_slice(const ptrdiff_t *cuts, int n_ranks, int rank, float *values);
ptrdiff_t first_not_shared(const ptrdiff_t *cuts, int n_ranks, const float *values);

/* Whether a rank's part [begin, end) of a sum has the contract's bits, and whether it has what all share.
 * Else `failure` says what is wrong, unless it says something already. */
enum { FAILURE_TEXT = 200 };
int is_sum(char failure[FAILURE_TEXT], int64_t n_leaves, int rank, ptrdiff_t begin, ptrdiff_t end,
           const float *sum);
int is_shared(char failure[FAILURE_TEXT], const ptrdiff_t *cuts, int n_ranks, int rank, const float *values);

#endif
