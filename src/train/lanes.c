/* Owns the lanes: when there are any, and which rows they work on.  See lanes.h. */
#include "train/lanes.h"

#include "compute/ops.h"

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

/* Measured with two lanes: adding their gradients takes 0.45 ns a parameter, and what they save is the
 * meetings of a step and a twentieth of its work. */
int ls_lanes_pay(const struct ls_lanes *lanes, const struct ls_net *net, int64_t leaves, ptrdiff_t rows)
{
    const double add_ns = 0.9, meetings_ns = 5000, saved = 0.05, n = lanes->n;
    if (lanes->n == 0 || ls_lanes_rule == LS_LANES_NEVER)
        return 0;
    if (ls_lanes_rule == LS_LANES_ALWAYS)
        return leaves >= lanes->n;
    const int64_t most = (leaves - 1) / lanes->n + 1;
    const int fair = most * lanes->n * 16 <= leaves * 17;
    return fair && add_ns * (double)net->n_floats * (n - 1) / n <
                       meetings_ns + saved * lanes->work_ns * (double)rows / n;
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
