/* Owns the lanes: when there are any, and which rows they work on.  See lanes.h. */
#include "train/lanes.h"

#include "compute/ops.h"
#include "train/roots.h"

enum ls_lanes_rule ls_lanes_rule = LS_LANES_THAT_PAY;

/* Half a core's L2, in which a gradient should stay until it is added.  784-128-10 (102k) gains 10 % with
 * 1,024 samples; the conv net of 422k gains nothing. */
enum { MOST_FLOATS = 256 * 1024 };

enum ls_code ls_lanes_create(struct ls_lanes *lanes, const struct ls_net *net, const struct ls_ops *ops,
                             const struct ls_lane *whole, ptrdiff_t n_values, struct ls_error *err)
{
    const double flops_a_ns = 100, passes = 3; /* forward, and backward twice */
    const int threads = ops == &ls_ops_serial ? 1 : ls_ops_threads();
    *lanes = (struct ls_lanes){.n_values = n_values};
    if (threads < 2 || threads > LS_MOST_LANES || net->sync_floats > 0 || net->n_floats > MOST_FLOATS ||
        ls_lanes_rule == LS_LANES_NEVER)
        return LS_OK;
    for (int i = 0; i < net->n_layers; i++)
        if (!net->layers[i].skip && net->layers[i].kind->flops)
            lanes->work_ns += net->layers[i].kind->flops(&net->layers[i]) * passes / flops_a_ns;
    for (; lanes->n < threads; lanes->n++)
        if (ls_activations_share_create(&lanes->each[lanes->n].act, whole->act, err) != LS_OK)
            return LS_FAILED;
    return LS_OK;
}

void ls_lanes_release(struct ls_lanes *lanes)
{
    for (int i = 0; i < lanes->n; i++)
        ls_activations_release(&lanes->each[i].act);
    lanes->n = 0;
}

/* Subtrees that shares of some leaves are made of: sums that the tree then adds. */
static int subtrees_of(int64_t n_leaves, struct ls_range leaves, int shares)
{
    struct ls_node nodes[LS_MAX_ROOTS];
    int n = 0;
    for (int i = 0; i < shares; i++)
        n += ls_tree_roots(n_leaves, ls_share_of(leaves, i, shares), nodes);
    return n;
}

/* Measured with two lanes: adding their gradients takes 0.45 ns a parameter, and 0.1 each further subtree
 * that only they cut the leaves into; what they save is the meetings of a step and a twentieth of its work.
 */
int ls_lanes_pay(const struct ls_lanes *lanes, const struct ls_net *net, int64_t n_leaves,
                 struct ls_range leaves, ptrdiff_t rows)
{
    const double add_ns = 0.9, subtree_ns = 0.2, meetings_ns = 5000, saved = 0.05, n = lanes->n;
    const int64_t count = leaves.end - leaves.begin;
    if (lanes->n == 0 || ls_lanes_rule == LS_LANES_NEVER)
        return 0;
    if (ls_lanes_rule == LS_LANES_ALWAYS)
        return count >= lanes->n;
    const int64_t most = (count - 1) / lanes->n + 1;
    if (most * lanes->n * 16 > count * 17)
        return 0;
    const int further =
        subtrees_of(n_leaves, leaves, lanes->n) - subtrees_of(n_leaves, leaves, 1) - (lanes->n - 1);
    return (add_ns * (n - 1) + subtree_ns * further) * (double)net->n_floats <
           meetings_ns * n + saved * lanes->work_ns * (double)rows;
}

struct ls_lane *ls_lanes_at(struct ls_lanes *lanes, int i, const struct ls_lane *whole, ptrdiff_t row)
{
    ls_activations_share_move(&lanes->each[i].act, whole->act, row);
    lanes->each[i].lane = (struct ls_lane){.act = &lanes->each[i].act,
                                           .sample_loss = whole->sample_loss + row,
                                           .index = whole->index + row,
                                           .stored = whole->stored + row,
                                           .labels = whole->labels + row,
                                           .values = whole->values + row * lanes->n_values};
    return &lanes->each[i].lane;
}
