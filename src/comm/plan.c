/* Owns the geometry of the allreduce; see plan.h.  Knows neither messages nor scratch memory. */
#include "comm/plan.h"

#include <assert.h>

enum { LINE = 16 }; /* floats in a cache line */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct ls_range ls_plan_leaves(int64_t n_leaves, int n_ranks, int begin, int end)
{
    return (struct ls_range){ls_leaves_of_rank(n_leaves, n_ranks, begin).begin,
                             ls_leaves_of_rank(n_leaves, n_ranks, end - 1).end};
}

static struct ls_range leaves_of(const struct ls_plan *plan, int member)
{
    const int n = plan->members.n, *first = plan->members.first;
    return first ? ls_plan_leaves(plan->n_leaves, first[n], first[member], first[member + 1])
                 : ls_leaves_of_rank(plan->n_leaves, n, member);
}

/* Subtrees of one size next to each other, of which only the last may be smaller, are a level of the tree;
 * with a power of two of them no odd node is left anywhere above it. */
static int is_perfect(const struct ls_plan *plan)
{
    const int n = plan->n_active;
    const struct ls_range begin = leaves_of(plan, 0);
    const int64_t size = begin.end - begin.begin;
    if (plan->most_roots > 1 || (n & (n - 1)) != 0)
        return 0;
    for (int member = 1; member < n; member++) {
        const struct ls_range leaves = leaves_of(plan, member);
        const int64_t held = leaves.end - leaves.begin;
        if (leaves.begin != member * size || held > size || (held < size && member < n - 1))
            return 0;
    }
    return n <= 1 || (size & (size - 1)) == 0;
}

struct ls_plan ls_plan_make(int64_t n_leaves, struct ls_members members)
{
    struct ls_plan plan = {.n_leaves = n_leaves, .members = members};
    struct ls_node nodes[LS_MAX_ROOTS];
    for (int member = 0; member < members.n; member++) {
        const int n_roots = ls_plan_roots(&plan, member, nodes);
        if (n_roots == 0)
            break;
        plan.n_active++;
        plan.n_roots += n_roots;
        if (n_roots > plan.most_roots)
            plan.most_roots = n_roots;
    }
    plan.perfect = is_perfect(&plan);
    return plan;
}

int ls_plan_roots(const struct ls_plan *plan, int member, struct ls_node nodes[LS_MAX_ROOTS])
{
    return ls_tree_roots(plan->n_leaves, leaves_of(plan, member), nodes);
}

struct ls_range ls_plan_slice(ptrdiff_t n, int n_owners, int owner, ptrdiff_t granule)
{
    const int64_t n_granules = (n + granule - 1) / granule;
    const int64_t each = n_granules / n_owners, longer = n_granules % n_owners;
    const int64_t first = each * owner + least(owner, longer);
    const int64_t end = first + each + (owner < longer);
    return (struct ls_range){least(first * granule, n), least(end * granule, n)};
}

struct ls_range ls_plan_part(struct ls_range range, int parts, int part)
{
    const struct ls_range some = ls_plan_slice((ptrdiff_t)(range.end - range.begin), parts, part, LINE);
    return (struct ls_range){range.begin + some.begin, range.begin + some.end};
}

struct ls_range ls_slice_of(const struct ls_slices *slices, struct ls_members members, int member)
{
    const int first = members.first ? members.first[member] : member;
    const int end = members.first ? members.first[member + 1] : member + 1;
    return ls_plan_part((struct ls_range){slices->cuts[first], slices->cuts[end]}, slices->n_lanes,
                        slices->lane);
}

struct ls_range ls_plan_half(struct ls_range range, int upper)
{
    const int64_t lines = (range.end - range.begin + LINE - 1) / LINE;
    const int64_t middle = least(range.begin + (lines + 1) / 2 * LINE, range.end);
    return upper ? (struct ls_range){middle, range.end} : (struct ls_range){range.begin, middle};
}

void ls_forest_begin(struct ls_forest *forest, int64_t n_leaves, ptrdiff_t n)
{
    forest->n_leaves = n_leaves;
    forest->n = n;
    forest->n_trees = 0;
}

void ls_forest_push(struct ls_forest *forest, struct ls_node node, float *values)
{
    while (forest->n_trees > 0) {
        const int top = forest->n_trees - 1;
        struct ls_node parent;
        if (!ls_tree_siblings(forest->n_leaves, forest->trees[top].node, node, &parent))
            break;
        float *left = forest->trees[top].values;
        ls_plan_add(left, left, values, forest->n);
        values = left;
        node = parent;
        forest->n_trees = top;
    }
    assert(forest->n_trees < LS_MAX_ROOTS);
    forest->trees[forest->n_trees].node = node;
    forest->trees[forest->n_trees].values = values;
    forest->n_trees++;
}

float *ls_forest_sum(const struct ls_forest *forest)
{
    assert(forest->n_trees <= 1);
    return forest->n_trees ? forest->trees[0].values : NULL;
}
