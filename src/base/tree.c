/* Owns the geometry of the leaf tree; see tree.h.  No floating point here. */
#include "base/tree.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The highest level whose node at `leaf` still lies wholly inside [leaf, end); the tree's clipped edge counts
 * as inside. */
static int highest_level(int64_t n_leaves, int64_t leaf, int64_t end)
{
    int level = 0;
    while (level < 61) {
        const int up = level + 1;
        if (leaf & ((INT64_C(1) << up) - 1))
            break;
        if (ls_node_leaves((struct ls_node){up, leaf >> up}, n_leaves).end > end)
            break;
        level = up;
    }
    return level;
}

struct ls_range ls_leaves_of_rank(int64_t n_leaves, int n_ranks, int rank)
{
    const int64_t block = (n_leaves + n_ranks - 1) / n_ranks;
    return (struct ls_range){least(block * rank, n_leaves), least(block * (rank + 1), n_leaves)};
}

struct ls_range ls_share_of(struct ls_range range, int i, int shares)
{
    const int64_t n = range.end - range.begin, each = n / shares, more = n % shares;
    const int64_t begin = range.begin + i * each + (i < more ? i : more);
    return (struct ls_range){begin, begin + each + (i < more)};
}

int64_t ls_count_leaves(int64_t n_samples, int64_t microbatch)
{
    return n_samples / microbatch + (n_samples % microbatch != 0);
}

struct ls_range ls_node_leaves(struct ls_node node, int64_t n_leaves)
{
    const int64_t size = INT64_C(1) << node.level;
    const int64_t begin = node.index << node.level;
    return (struct ls_range){begin, n_leaves - begin < size ? n_leaves : begin + size};
}

int ls_tree_roots(int64_t n_leaves, struct ls_range range, struct ls_node nodes[LS_MAX_ROOTS])
{
    int n = 0;
    for (int64_t leaf = range.begin; leaf < range.end && n < LS_MAX_ROOTS; n++) {
        const int level = highest_level(n_leaves, leaf, range.end);
        nodes[n] = (struct ls_node){level, leaf >> level};
        leaf = ls_node_leaves(nodes[n], n_leaves).end;
    }
    return n;
}

int ls_tree_siblings(int64_t n_leaves, struct ls_node left, struct ls_node right, struct ls_node *parent)
{
    /* A clipped right node may carry a higher level than its sibling: compare the leaves, not the labels. */
    const struct ls_range l = ls_node_leaves(left, n_leaves);
    const struct ls_range r = ls_node_leaves(right, n_leaves);
    const struct ls_node up = {left.level + 1, left.index >> 1};
    const struct ls_range both = ls_node_leaves(up, n_leaves);
    if (left.index & 1 || l.end != r.begin || both.begin != l.begin || both.end != r.end)
        return 0;
    *parent = up;
    while (parent->level < 61) {
        const struct ls_node above = {parent->level + 1, parent->index >> 1};
        const struct ls_range covered = ls_node_leaves(above, n_leaves);
        if (parent->index & 1 || covered.end != both.end)
            break;
        *parent = above;
    }
    return 1;
}
