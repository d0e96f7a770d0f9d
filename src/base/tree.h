/* The fixed tree over leaves, as index arithmetic: which leaves a rank holds, and which subtrees that makes.
 *
 * A node (level, index) covers the leaves [index << level, min((index + 1) << level, n_leaves)).  The tree's
 * shape depends on n_leaves alone, so how leaves are spread over ranks cannot change a sum; it only decides
 * who adds what. */
#ifndef LS_BASE_TREE_H
#define LS_BASE_TREE_H

#include <stddef.h>
#include <stdint.h>

enum { LS_MAX_ROOTS = 128 }; /* subtree roots of one contiguous range of leaves: at most 2 * 62 */

struct ls_range {
    int64_t begin, end; /* half-open */
};

struct ls_node {
    int level;
    int64_t index;
};

/* The leaves of `rank`: blocks of ceil(n_leaves / n_ranks), so the slowest rank has as little as possible,
 * ranges are aligned subtrees whenever the block is a power of two, and late ranks may have none (begin ==
 * end). */
struct ls_range ls_leaves_of_rank(int64_t n_leaves, int n_ranks, int rank);

/* Share i of `shares` of a range, as even as can be: the first ones have one more. */
struct ls_range ls_share_of(struct ls_range range, int i, int shares);

/* ceil(n_samples / microbatch). */
int64_t ls_count_leaves(int64_t n_samples, int64_t microbatch);

/* The leaves a node covers, clipped to n_leaves. */
struct ls_range ls_node_leaves(struct ls_node node, int64_t n_leaves);

/* The fewest subtrees that make up `range`, in ascending order.  Returns their number, 0 for an empty range.
 */
int ls_tree_roots(int64_t n_leaves, struct ls_range range, struct ls_node nodes[LS_MAX_ROOTS]);

/* Whether `left` and `right` are the two children of one node; if so *parent is that node, raised as far as
 * it covers the same leaves (an odd last node goes up unchanged). */
int ls_tree_siblings(int64_t n_leaves, struct ls_node left, struct ls_node right, struct ls_node *parent);

#endif
