/* Owns the order of additions between vectors in memory.  See merge.h. */
#include "comm/merge.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"

enum ls_code ls_merge_init(struct ls_merge *merge, int most_roots, struct ls_error *err)
{
    const size_t n = (size_t)most_roots + 1;
    *merge = (struct ls_merge){.most_roots = most_roots};
    merge->adds = ls_alloc(n, sizeof *merge->adds, "order of additions", err);
    merge->results = ls_alloc(n, sizeof *merge->results, "order of additions", err);
    merge->nodes = ls_alloc(n, sizeof *merge->nodes, "order of additions", err);
    return merge->adds && merge->results && merge->nodes ? LS_OK : LS_FAILED;
}

void ls_merge_release(struct ls_merge *merge)
{
    ls_free(merge->adds);
    ls_free(merge->results);
    ls_free(merge->nodes);
    *merge = (struct ls_merge){0};
}

/* A finished subtree: where its sum is, its leftmost root, and the addition that made it (-1: none). */
struct subtree {
    struct ls_node node;
    int at, first, add;
};

/* Merges `tree` into what stands to the left of it, as far as they are siblings. */
static void push(struct ls_merge *merge, int64_t n_leaves, struct subtree stack[LS_MAX_ROOTS], int *n_stack,
                 struct subtree tree)
{
    while (*n_stack > 0) {
        const struct subtree *left = &stack[*n_stack - 1];
        struct ls_node parent;
        if (!ls_tree_siblings(n_leaves, left->node, tree.node, &parent))
            break;
        const int to = LS_MERGE_SCRATCH - (*n_stack - 1);
        merge->adds[merge->n_adds] = (struct ls_merge_add){to, left->at, tree.at};
        tree = (struct subtree){parent, to, left->first, merge->n_adds++};
        (*n_stack)--;
        if (*n_stack + 1 > merge->n_scratch)
            merge->n_scratch = *n_stack + 1;
    }
    assert(*n_stack < LS_MAX_ROOTS);
    stack[(*n_stack)++] = tree;
}

void ls_merge_plan(struct ls_merge *merge, int64_t n_leaves, int n_roots, const struct ls_node *nodes,
                   int whole)
{
    struct subtree stack[LS_MAX_ROOTS];
    int n_stack = 0;
    assert(n_roots <= merge->most_roots);
    merge->n_adds = merge->n_scratch = 0;
    for (int root = 0; root < n_roots; root++)
        push(merge, n_leaves, stack, &n_stack, (struct subtree){nodes[root], root, root, -1});
    assert(!whole || n_stack <= 1);
    merge->n_results = n_stack;
    for (int i = 0; i < n_stack; i++) {
        merge->nodes[i] = stack[i].node;
        merge->results[i] = whole ? LS_MERGE_SUM : stack[i].first;
        if (stack[i].add >= 0)
            merge->adds[stack[i].add].to = merge->results[i];
        else if (whole)
            merge->adds[merge->n_adds++] = (struct ls_merge_add){LS_MERGE_SUM, stack[i].at, LS_MERGE_SUM};
    }
}

static float *place(int at, ptrdiff_t from, float *sum, float *const *roots, float *scratch)
{
    if (at >= 0)
        return roots[at] + from;
    return at == LS_MERGE_SUM ? sum + from : scratch + (ptrdiff_t)(LS_MERGE_SCRATCH - at) * LS_MERGE_STRETCH;
}

void ls_merge_run(const struct ls_merge *merge, struct ls_range range, float *sum, float *const *roots,
                  float *scratch)
{
    /* With no partial sums to keep in cache, one stretch. */
    const int64_t stretch = merge->n_adds > 1 ? LS_MERGE_STRETCH : range.end - range.begin;
    for (int64_t from = range.begin; from < range.end; from += stretch) {
        const ptrdiff_t n = (ptrdiff_t)(range.end - from < stretch ? range.end - from : stretch);
        for (int i = 0; i < merge->n_adds; i++) {
            const struct ls_merge_add *add = &merge->adds[i];
            float *to = place(add->to, (ptrdiff_t)from, sum, roots, scratch);
            const float *left = place(add->left, (ptrdiff_t)from, sum, roots, scratch);
            if (add->right != LS_MERGE_SUM)
                ls_plan_add(to, left, place(add->right, (ptrdiff_t)from, sum, roots, scratch), n);
            else if (to != left)
                memcpy(to, left, (size_t)n * sizeof *to);
        }
    }
}
