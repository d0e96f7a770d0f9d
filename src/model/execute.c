/* Owns the walk over layers; knows nothing of batches, ranks or leaves beyond the rows it is given.
 *
 * Backward visits layers in reverse.  The gradient of a value (a layer's output, or the input) is complete
 * when all that took the value have been visited, or, of a convolution with a maxpool right behind (left_to),
 * when its own weight gradient is done; a second contribution is added to the first.  Slots are
 * chosen by a rule that depends on the net alone, so that walking once without numbers (ops NULL) finds how
 * many there must be and how wide. */
#include "model/execute.h"

#include <string.h>

#include "layers/window.h"
#include "model/activations.h"

static const float *output_of(const struct ls_activations *act, int value)
{
    return value == LS_NET_INPUT ? act->input.x : act->y[value];
}

static struct ls_copies copies_of(const struct ls_activations *act, int i)
{
    return ls_net_value(act->net, act->net->layers[i].from) == LS_NET_INPUT ? act->input.copies
                                                                            : (struct ls_copies){0};
}

static struct ls_layer_call call_of(const struct ls_activations *act, int i, const struct ls_ops *ops,
                                    const float *parameters, ptrdiff_t B, const struct ls_pass *pass)
{
    const struct ls_net *net = act->net;
    return (struct ls_layer_call){.ops = ops,
                                  .tensors = net->tensors + net->layers[i].first_tensor,
                                  .parameters = parameters,
                                  .B = B,
                                  .x_copies = copies_of(act, i),
                                  .aux = act->aux[i],
                                  .pass = pass};
}

static int next_layer(const struct ls_net *net, int i)
{
    do
        i++;
    while (i < net->n_layers && net->layers[i].skip);
    return i;
}

/* The maxpool that layer i can do with its own work: it comes next, and reads i's output.  0: none. */
static int pool_behind(const struct ls_net *net, int i)
{
    const int next = next_layer(net, i);
    return net->layers[i].kind->fuses_maxpool && next < net->n_layers &&
                   net->layers[next].kind == &ls_layer_maxpool &&
                   ls_net_value(net, net->layers[next].from) == i
               ? next
               : 0;
}

/* The same of an add, of which nobody else needs i's output: that is not made then.  Backward needs it no
 * more, for it has no activation of its own. */
static int add_behind(const struct ls_net *net, int i)
{
    const int next = next_layer(net, i);
    const struct ls_layer *layer = &net->layers[i];
    if (!layer->kind->fuses_add || layer->consumers != 1 || layer->activation != LS_ACT_NONE ||
        next == net->n_layers || net->layers[next].kind != &ls_layer_add)
        return 0;
    const struct ls_layer *add = &net->layers[next];
    return ls_net_value(net, add->from) == i || ls_net_value(net, add->also) == i ? next : 0;
}

/* What an add adds to layer i's output. */
static int other_input(const struct ls_net *net, int add, int i)
{
    const int from = ls_net_value(net, net->layers[add].from);
    return from == i ? ls_net_value(net, net->layers[add].also) : from;
}

int ls_output_is_made(const struct ls_net *net, int i, int with_gradients)
{
    return !net->layers[i].skip && !(with_gradients && add_behind(net, i));
}

const float *ls_forward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                        struct ls_activations *act, ptrdiff_t B, const struct ls_pass *pass)
{
    for (int i = 0, done = -1; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (layer->skip || i == done)
            continue;
        struct ls_layer_call call = call_of(act, i, ops, parameters, B, pass);
        /* Without gradients, y of what is behind may lie where x does. */
        const int pooled = act->with_gradients ? pool_behind(net, i) : 0,
                  add = act->with_gradients ? add_behind(net, i) : 0;
        struct ls_maxpool pool;
        if (pooled) {
            pool = (struct ls_maxpool){ls_window_of(&net->layers[pooled], B), act->y[pooled]};
            call.pool = &pool;
            done = pooled;
        }
        int into = i, also = layer->kind == &ls_layer_add ? ls_net_value(net, layer->also) : i;
        if (add) {
            call.add_activation = net->layers[add].activation;
            also = other_input(net, add, i);
            into = done = add;
        }
        call.gather = act->gather.x ? &act->gather : NULL; /* the first layer's, whose input is the net's */
        layer->kind->forward(layer, &call, act->y[into], output_of(act, ls_net_value(net, layer->from)),
                             also == i ? NULL : output_of(act, also));
        act->gather.x = NULL;
    }
    return output_of(act, ls_net_value(net, net->n_layers - 1));
}

enum { NO_VALUE = LS_NET_INPUT - 1 };

/* One backward walk. */
struct walk {
    struct ls_activations *act;
    const struct ls_ops *ops; /* NULL: only slots are given out */
    const float *parameters;
    ptrdiff_t B;
    const struct ls_pass *pass;
    int input_gradient;
    struct ls_maxpool_gradient *pool; /* what the layer below does first; dx NULL: nothing */
    struct late *late;
};

/* A value's second and last contribution, which is added on the way back behind the value's activation: one
 * pass over memory instead of two. */
struct late {
    int value, slot; /* NO_VALUE: none */
};

static int *slot_of(const struct walk *w, int value)
{
    return &w->act->slot_of[value + 1];
}

static void let_go(const struct walk *w, int slot)
{
    w->act->users[slot]--;
}

static ptrdiff_t width_of(const struct walk *w, int value)
{
    return value == LS_NET_INPUT ? w->act->net->in.count : w->act->net->layers[value].out.count;
}

/* Whether layer i's output has an activation to be taken back behind. */
static int is_activated(const struct ls_net *net, int i)
{
    return net->layers[i].kind->fuses_activation && net->layers[i].activation != LS_ACT_NONE;
}

static int can_be_late(const struct walk *w, int value)
{
    return w->late->value == NO_VALUE && value >= 0 && w->act->net->layers[value].consumers == 2 &&
           is_activated(w->act->net, value);
}

/* The gradient in `slot` is a contribution to that of `value`. */
static void contribute(const struct walk *w, int value, int slot)
{
    if (value == LS_NET_INPUT && !w->input_gradient)
        return;
    int *mine = slot_of(w, value);
    if (*mine < 0) {
        *mine = slot;
        w->act->users[slot]++;
        return;
    }
    if (can_be_late(w, value)) {
        *w->late = (struct late){value, slot};
        w->act->users[slot]++;
        return;
    }
    const int shared = w->act->users[*mine] > 1, old = *mine;
    if (shared)
        *mine = ls_slot_take(w->act, width_of(w, value));
    if (w->ops)
        w->ops->add(LS_ACT_NONE, w->B * width_of(w, value), w->act->slots[*mine], w->act->slots[old],
                    w->act->slots[slot]);
    if (shared)
        let_go(w, old);
}

/* Whether layer i itself applies the derivative of the activation that made its input `from`. */
static int applies_derivative(const struct ls_net *net, int i, int from)
{
    return net->layers[i].kind->fuses_derivative && from >= 0 && net->layers[from].consumers == 1 &&
           is_activated(net, from);
}

/* Takes the gradient of layer i's output back behind the activation fused into it, unless the layer above
 * did. */
static void undo_activation(const struct walk *w, int i, int above)
{
    const struct ls_net *net = w->act->net;
    const struct ls_layer *layer = &net->layers[i];
    if (!is_activated(net, i) || above)
        return;
    const int slot = *slot_of(w, i);
    if (w->act->users[slot] > 1) { /* somebody else still needs it as it is */
        *slot_of(w, i) = ls_slot_take(w->act, layer->out.count);
        let_go(w, slot);
    }
    float *dz = w->act->slots[*slot_of(w, i)];
    const float *dy = w->act->slots[slot], *y = w->act->y[i];
    const ptrdiff_t n = w->B * layer->out.count;
    if (w->late->value == i) {
        if (w->ops)
            w->ops->add_backward(layer->activation, n, dz, dy, w->act->slots[w->late->slot], y);
        let_go(w, w->late->slot);
        w->late->value = NO_VALUE;
    } else if (w->ops) {
        w->ops->activation_backward(layer->activation, 0.0f, n, dz, dy, y);
    }
}

/* Rows of a layer's input gradient between two looks after what is under way elsewhere: a row's elements are
 * folds of their own, so any cut gives the same bits.  Only products are long enough to be cut. */
static ptrdiff_t piece_of(const struct walk *w, const struct ls_layer *layer)
{
    const double work = layer->kind->flops ? layer->kind->flops(layer) : 0.0;
    if (!w->pass->tick || work * (double)w->B <= w->pass->tick_flops)
        return w->B;
    return work < w->pass->tick_flops ? (ptrdiff_t)(w->pass->tick_flops / work) : 1;
}

static void input_gradient(const struct walk *w, const struct ls_layer *layer,
                           const struct ls_layer_call *call, float *dx, const float *dy, const float *x,
                           const float *y, enum ls_activation x_activation)
{
    const ptrdiff_t piece = piece_of(w, layer);
    ptrdiff_t row = 0;
    do { /* once also without rows: some layers' others wait for them */
        struct ls_layer_call part = *call;
        part.B = w->B - row < piece ? w->B - row : piece;
        if (row > 0)
            w->pass->tick(w->pass->context);
        layer->kind->input_gradient(layer, &part, dx + row * layer->in.count, dy + row * layer->out.count,
                                    x + row * layer->in.count, y ? y + row * layer->out.count : NULL,
                                    x_activation);
        row += piece;
    } while (row < w->B);
}

/* Whether layer i, a maxpool, leaves its gradient to the layer that made its input: nobody else has a part in
 * it.  Its dy is in a slot that is free again: that layer is the next to be visited, and takes no slot before
 * its weight gradient, since the pool applies the derivative of its activation. */
static int left_to(const struct ls_net *net, int i, int from)
{
    return from >= 0 && net->layers[from].consumers == 1 && pool_behind(net, from) == i;
}

static void go_down(const struct walk *w, int i, const struct ls_layer_call *call)
{
    const struct ls_net *net = w->act->net;
    const struct ls_layer *layer = &net->layers[i];
    const int from = ls_net_value(net, layer->from), slot = *slot_of(w, i);
    if (!layer->kind->input_gradient) { /* both inputs have the output's gradient */
        contribute(w, from, slot);
        contribute(w, ls_net_value(net, layer->also), slot);
        return;
    }
    if (from == LS_NET_INPUT && !w->input_gradient)
        return;
    const int into = ls_slot_take(w->act, layer->in.count);
    const enum ls_activation x_activation =
        applies_derivative(net, i, from) ? net->layers[from].activation : LS_ACT_NONE;
    if (w->ops && left_to(net, i, from))
        *w->pool = (struct ls_maxpool_gradient){ls_window_of(layer, w->B), w->act->slots[into],
                                                w->act->slots[slot], x_activation, output_of(w->act, from)};
    else if (w->ops)
        input_gradient(w, layer, call, w->act->slots[into], w->act->slots[slot], output_of(w->act, from),
                       w->act->y[i], x_activation);
    contribute(w, from, into);
    let_go(w, into);
}

/* Whether the only layer above layer i has applied the derivative of i's activation. */
static int done_above(const struct ls_net *net, int i)
{
    for (int above = i + 1; above < net->n_layers && net->layers[i].consumers == 1; above++)
        if (!net->layers[above].skip && ls_net_value(net, net->layers[above].from) == i)
            return applies_derivative(net, above, i);
    return 0;
}

static void walk_back(const struct walk *w)
{
    const struct ls_net *net = w->act->net;
    for (int i = net->n_layers - 1; i >= 0; i--) {
        const struct ls_layer *layer = &net->layers[i];
        if (layer->skip || *slot_of(w, i) < 0)
            continue;
        undo_activation(w, i, done_above(net, i));
        struct ls_layer_call call = {0};
        if (w->ops)
            call = call_of(w->act, i, w->ops, w->parameters, w->B, w->pass);
        if (w->ops && w->pool->dx)
            call.pool_gradient = w->pool;
        if (w->ops && layer->kind->weight_gradient)
            layer->kind->weight_gradient(layer, &call, output_of(w->act, ls_net_value(net, layer->from)),
                                         w->act->slots[*slot_of(w, i)]);
        if (w->ops)
            w->pool->dx = NULL;
        if (w->ops && w->pass->layer_done)
            w->pass->layer_done(w->pass->context, i);
        go_down(w, i, &call);
        let_go(w, *slot_of(w, i));
    }
}

/* The output's gradient lies in the first slot, where the loss has put it. */
static void start(const struct walk *w)
{
    struct ls_activations *act = w->act;
    const struct ls_net *net = act->net;
    for (int i = 0; i < act->n_slots; i++)
        act->users[i] = 0;
    for (int i = 0; i <= net->n_layers; i++)
        act->slot_of[i] = -1;
    *slot_of(w, ls_net_value(net, net->n_layers - 1)) = ls_slot_take(act, net->out.count);
}

void ls_backward_dry(struct ls_activations *act, int input_gradient)
{
    struct late late = {.value = NO_VALUE};
    const struct walk w = {.act = act, .input_gradient = input_gradient, .late = &late};
    start(&w);
    walk_back(&w);
}

float *ls_output_gradient(struct ls_activations *act)
{
    return act->slots[0];
}

const float *ls_backward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                         struct ls_activations *act, ptrdiff_t B, const struct ls_pass *pass,
                         int input_gradient)
{
    (void)net;
    struct ls_maxpool_gradient pool = {.dx = NULL};
    struct late late = {.value = NO_VALUE};
    const struct walk w = {act, ops, parameters, B, pass, input_gradient, &pool, &late};
    start(&w);
    walk_back(&w);
    return input_gradient ? act->slots[*slot_of(&w, LS_NET_INPUT)] : NULL;
}

static const float *the_only_sums(void *context, ptrdiff_t n)
{
    (void)n;
    return ((struct ls_activations *)context)->sync;
}

struct ls_pass ls_pass_alone(struct ls_activations *act, ptrdiff_t B, ptrdiff_t m,
                             const struct ls_gradient_part *all)
{
    return (struct ls_pass){.global_batch = B,
                            .m = m,
                            .n_parts = 1,
                            .parts = all,
                            .sums = &act->sync,
                            .finish_sums = the_only_sums,
                            .context = act};
}
