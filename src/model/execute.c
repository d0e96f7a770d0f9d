/* Owns the walk over layers; knows nothing of batches, ranks or leaves beyond the rows it is given.
 *
 * Backward visits layers in reverse.  The gradient of a value (a layer's output, or the input) is complete
 * when all that took the value have been visited; a second contribution is added to the first.  Slots are
 * chosen by a rule that depends on the net alone, so that walking once without numbers (ops NULL) finds how
 * many there must be and how wide. */
#include "model/execute.h"

#include <stdint.h>
#include <string.h>

#include "base/memory.h"

/* A free slot, made wide enough in the dry walk. */
static int take(struct ls_activations *act, ptrdiff_t width)
{
    int slot = 0;
    while (act->users[slot] > 0)
        slot++;
    if (slot == act->n_slots)
        act->n_slots++;
    if (act->widths[slot] < width)
        act->widths[slot] = width;
    act->users[slot] = 1;
    return slot;
}

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

/* The maxpool that layer i can do with its own work: it comes next, and reads i's output.  0: none. */
static int pool_behind(const struct ls_net *net, int i)
{
    int next = i + 1;
    while (next < net->n_layers && net->layers[next].skip)
        next++;
    return net->layers[i].kind->fuses_maxpool && next < net->n_layers &&
                   net->layers[next].kind == &ls_layer_maxpool &&
                   ls_net_value(net, net->layers[next].from) == i
               ? next
               : 0;
}

/* The window of layer i over B images. */
static struct ls_window window_of(const struct ls_net *net, int i, ptrdiff_t B)
{
    struct ls_window at = net->layers[i].conv.at;
    at.B = B;
    return at;
}

const float *ls_forward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                        struct ls_activations *act, ptrdiff_t B, const struct ls_pass *pass)
{
    for (int i = 0, pooled = -1; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (layer->skip || i == pooled)
            continue;
        struct ls_layer_call call = call_of(act, i, ops, parameters, B, pass);
        struct ls_maxpool pool;
        if (act->with_gradients && pool_behind(net, i)) { /* else y of the pool may lie where x does */
            pooled = pool_behind(net, i);
            pool = (struct ls_maxpool){window_of(net, pooled, B), act->y[pooled]};
            call.pool = &pool;
        }
        const int also = layer->kind == &ls_layer_add ? ls_net_value(net, layer->also) : i;
        layer->kind->forward(layer, &call, act->y[i], output_of(act, ls_net_value(net, layer->from)),
                             also == i ? NULL : output_of(act, also));
    }
    return output_of(act, ls_net_value(net, net->n_layers - 1));
}

/* One backward walk. */
struct walk {
    struct ls_activations *act;
    const struct ls_ops *ops; /* NULL: only slots are given out */
    const float *parameters;
    ptrdiff_t B;
    const struct ls_pass *pass;
    int input_gradient;
    struct ls_maxpool_gradient *pool; /* what the layer below does first; dx NULL: nothing */
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
    const int shared = w->act->users[*mine] > 1, old = *mine;
    if (shared)
        *mine = take(w->act, width_of(w, value));
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
           net->layers[from].kind->fuses_activation && net->layers[from].activation != LS_ACT_NONE;
}

/* Takes the gradient of layer i's output back behind the activation fused into it, unless the layer above
 * did. */
static void undo_activation(const struct walk *w, int i, int above)
{
    const struct ls_net *net = w->act->net;
    const struct ls_layer *layer = &net->layers[i];
    if (!layer->kind->fuses_activation || layer->activation == LS_ACT_NONE || above)
        return;
    const int slot = *slot_of(w, i);
    if (w->act->users[slot] > 1) { /* somebody else still needs it as it is */
        *slot_of(w, i) = take(w->act, layer->out.count);
        let_go(w, slot);
    }
    if (w->ops)
        w->ops->activation_backward(layer->activation, 0.0f, w->B * layer->out.count,
                                    w->act->slots[*slot_of(w, i)], w->act->slots[slot], w->act->y[i]);
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
                                    x + row * layer->in.count, y + row * layer->out.count, x_activation);
        row += piece;
    } while (row < w->B);
}

/* Whether layer i, a maxpool, leaves its gradient to the layer that made its input: nobody else has a part in
 * it. */
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
    const int into = take(w->act, layer->in.count);
    const enum ls_activation x_activation =
        applies_derivative(net, i, from) ? net->layers[from].activation : LS_ACT_NONE;
    if (w->ops && left_to(net, i, from))
        *w->pool = (struct ls_maxpool_gradient){window_of(net, i, w->B), w->act->slots[into],
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
    *slot_of(w, ls_net_value(net, net->n_layers - 1)) = take(act, net->out.count);
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
    const struct walk w = {act, ops, parameters, B, pass, input_gradient, &pool};
    start(&w);
    walk_back(&w);
    return input_gradient ? act->slots[*slot_of(&w, LS_NET_INPUT)] : NULL;
}

/* Without gradients an output's slot is free again when its last taker is done. */
static void place_outputs(struct ls_activations *act, int *place)
{
    const struct ls_net *net = act->net;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        place[i] = -1;
        if (layer->skip)
            continue;
        place[i] = take(act, layer->out.count);
        act->users[place[i]] = layer->consumers > 0 ? layer->consumers : 1;
        const int from = ls_net_value(net, layer->from);
        const int also = layer->kind == &ls_layer_add ? ls_net_value(net, layer->also) : LS_NET_INPUT;
        if (from >= 0)
            act->users[place[from]]--;
        if (also >= 0)
            act->users[place[also]]--;
    }
}

/* The bookkeeping without the buffers; finds the slots by walking dry. */
static enum ls_code plan(struct ls_activations *act, const struct ls_net *net, ptrdiff_t most_rows,
                         int with_gradients, int *place, struct ls_error *err)
{
    const size_t most = 2 * (size_t)net->n_layers + 3;
    *act = (struct ls_activations){.net = net, .most_rows = most_rows, .with_gradients = with_gradients};
    act->widths = ls_alloc(most, sizeof *act->widths, "activations", err);
    act->slots = ls_alloc(most, sizeof *act->slots, "activations", err);
    act->users = ls_alloc(most, sizeof *act->users, "activations", err);
    act->slot_of = ls_alloc((size_t)net->n_layers + 1, sizeof *act->slot_of, "activations", err);
    act->y = ls_alloc((size_t)net->n_layers, sizeof *act->y, "activations", err);
    act->aux = ls_alloc((size_t)net->n_layers, sizeof *act->aux, "activations", err);
    if (!act->widths || !act->slots || !act->users || !act->slot_of || !act->y || !act->aux)
        return LS_FAILED;
    if (!with_gradients)
        place_outputs(act, place);
    for (int input_gradient = 0; with_gradients && input_gradient < 2; input_gradient++) {
        const struct walk dry = {.act = act, .input_gradient = input_gradient};
        start(&dry);
        walk_back(&dry);
    }
    return LS_OK;
}

/* Hands out pieces of one block: many of them are small, and together they share huge pages.  Dry (at NULL)
 * it only counts.  More than can be counted stays SIZE_MAX, which ls_alloc refuses.  Behind each piece is a
 * line that nobody may touch. */
struct pieces {
    char *at;
    size_t bytes;
};

static float *rows_of(struct pieces *pieces, ptrdiff_t rows, ptrdiff_t width)
{
    enum { LINE = 64 };
    size_t bytes;
    char *piece = pieces->at ? pieces->at + pieces->bytes : NULL;
    if (__builtin_mul_overflow((size_t)rows, (size_t)width * sizeof(float), &bytes) ||
        bytes > SIZE_MAX - 2 * LINE ||
        __builtin_add_overflow(pieces->bytes, bytes / LINE * LINE + 2 * LINE, &pieces->bytes))
        pieces->bytes = SIZE_MAX;
    if (piece)
        ls_forbid(piece + bytes, (size_t)(pieces->at + pieces->bytes - (piece + bytes)));
    return (float *)(void *)piece;
}

static ptrdiff_t aux_floats(const struct ls_layer *layer, ptrdiff_t rows)
{
    return layer->aux_floats + rows * layer->aux_floats_per_row;
}

/* In the order in which a pass writes them. */
static void cut(struct ls_activations *act, struct pieces *pieces, const int *place)
{
    const struct ls_net *net = act->net;
    const ptrdiff_t rows = act->most_rows;
    act->x = rows_of(pieces, rows, net->in.count);
    act->sync = rows_of(pieces, 1, net->sync_floats);
    for (int s = 0; !act->with_gradients && s < act->n_slots; s++)
        act->slots[s] = rows_of(pieces, rows, act->widths[s]);
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (aux_floats(layer, rows) > 0)
            act->aux[i] = rows_of(pieces, 1, aux_floats(layer, rows));
        if (!layer->skip)
            act->y[i] = act->with_gradients ? rows_of(pieces, rows, layer->out.count) : act->slots[place[i]];
    }
    for (int s = 0; act->with_gradients && s < act->n_slots; s++)
        act->slots[s] = rows_of(pieces, rows, act->widths[s]);
}

static int allocate(struct ls_activations *act, const int *place, struct ls_error *err)
{
    struct pieces all = {NULL, 0};
    cut(act, &all, place);
    act->block = ls_alloc(all.bytes, 1, "activations", err);
    if (!act->block)
        return 0;
    struct pieces pieces = {act->block, 0};
    cut(act, &pieces, place);
    ls_activations_input(act, 0, 0);
    return 1;
}

enum ls_code ls_activations_create(struct ls_activations *act, const struct ls_net *net, ptrdiff_t most_rows,
                                   int with_gradients, struct ls_error *err)
{
    int *place = ls_alloc((size_t)net->n_layers, sizeof *place, "activations", err);
    enum ls_code code = place ? plan(act, net, most_rows, with_gradients, place, err) : LS_FAILED;
    if (code == LS_OK && !allocate(act, place, err))
        code = LS_FAILED;
    ls_free(place);
    if (code != LS_OK)
        ls_activations_release(act);
    return code;
}

/* Copies of B rows of input that all who read it can use; 1: one will do. */
static int copies_for(const struct ls_net *net, const struct ls_ops *ops, ptrdiff_t B)
{
    int most = 1;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        const int also = layer->kind == &ls_layer_add && ls_net_value(net, layer->also) == LS_NET_INPUT;
        if (layer->skip || (ls_net_value(net, layer->from) != LS_NET_INPUT && !also))
            continue;
        if (!layer->kind->x_copies || also)
            return 1;
        const int wanted = layer->kind->x_copies(layer, ops, B);
        most = wanted > most ? wanted : most;
    }
    return most;
}

enum ls_code ls_activations_create_each(struct ls_activations *act, const struct ls_ops *ops,
                                        struct ls_error *err)
{
    ptrdiff_t rows = act->most_rows;
    while (rows > 0 && copies_for(act->net, ops, rows) == 1)
        rows--;
    if (rows == 0)
        return LS_OK;
    const struct ls_copies copies = {copies_for(act->net, ops, rows), rows * act->net->in.count};
    act->each.x =
        ls_alloc((size_t)copies.n * (size_t)copies.step, sizeof *act->each.x, "copies of the input", err);
    act->each.copies = copies;
    act->each_rows = act->each.x ? rows : 0;
    return act->each.x ? LS_OK : LS_FAILED;
}

struct ls_input ls_activations_input(struct ls_activations *act, ptrdiff_t B, int can_copy)
{
    act->input = can_copy && B <= act->each_rows ? act->each : (struct ls_input){.x = act->x};
    return act->input;
}

void ls_activations_release(struct ls_activations *act)
{
    if (!act->net)
        return;
    ls_free(act->each.x);
    ls_free(act->block);
    ls_free(act->y);
    ls_free(act->aux);
    ls_free(act->widths);
    ls_free(act->slots);
    ls_free(act->users);
    ls_free(act->slot_of);
    *act = (struct ls_activations){0};
}

enum ls_code ls_activations_bytes(const struct ls_net *net, ptrdiff_t most_rows, int with_gradients,
                                  struct ls_activation_bytes *bytes, struct ls_error *err)
{
    struct ls_activations act = {0};
    int *place = ls_alloc((size_t)net->n_layers, sizeof *place, "activations", err);
    const enum ls_code code = place ? plan(&act, net, most_rows, with_gradients, place, err) : LS_FAILED;
    size_t slots = 0, outputs = (size_t)(net->in.count * most_rows);
    for (int s = 0; code == LS_OK && s < act.n_slots; s++)
        slots += (size_t)(act.widths[s] * most_rows);
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        outputs += (size_t)aux_floats(layer, most_rows);
        if (with_gradients && !layer->skip)
            outputs += (size_t)(layer->out.count * most_rows);
    }
    if (!with_gradients)
        outputs += slots;
    *bytes = (struct ls_activation_bytes){.outputs = outputs * sizeof(float),
                                          .gradients = with_gradients ? slots * sizeof(float) : 0};
    ls_activations_release(&act);
    ls_free(place);
    return code;
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
