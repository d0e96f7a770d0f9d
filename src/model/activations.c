/* Owns the buffers of a walk over layers: an output a layer, slots for gradients, or, without gradients,
 * slots for outputs; and the copies of the input.  One block, in the order in which a pass writes it. */
#include "model/activations.h"

#include <stdint.h>

#include "base/memory.h"

/* A free slot, made wide enough in the dry walk. */
int ls_slot_take(struct ls_activations *act, ptrdiff_t width)
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

/* Without gradients an output's slot is free again when its last taker is done. */
static void place_outputs(struct ls_activations *act, int *place)
{
    const struct ls_net *net = act->net;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        place[i] = -1;
        if (layer->skip)
            continue;
        place[i] = ls_slot_take(act, layer->out.count);
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
    for (int input_gradient = 0; with_gradients && input_gradient < 2; input_gradient++)
        ls_backward_dry(act, input_gradient);
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
        if (ls_output_is_made(net, i, act->with_gradients))
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

enum ls_code ls_activations_share_create(struct ls_activations *share, const struct ls_activations *whole,
                                         struct ls_error *err)
{
    int *place = ls_alloc((size_t)whole->net->n_layers, sizeof *place, "activations", err);
    enum ls_code code =
        place ? plan(share, whole->net, whole->most_rows, whole->with_gradients, place, err) : LS_FAILED;
    ls_free(place);
    if (code != LS_OK)
        ls_activations_release(share);
    else
        ls_activations_share_move(share, whole, 0);
    return code;
}

void ls_activations_share_move(struct ls_activations *share, const struct ls_activations *whole,
                               ptrdiff_t row)
{
    const struct ls_net *net = whole->net;
    share->x = whole->x + row * net->in.count;
    for (int s = 0; s < share->n_slots; s++)
        share->slots[s] = whole->slots[s] + row * whole->widths[s];
    for (int i = 0; i < net->n_layers; i++) {
        if (whole->y[i])
            share->y[i] = whole->y[i] + row * net->layers[i].out.count;
        if (whole->aux[i])
            share->aux[i] = whole->aux[i] + row * net->layers[i].aux_floats_per_row;
    }
    ls_activations_input(share, 0, 0);
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
    act->gather.x = NULL;
    return act->input;
}

int ls_activations_gather(struct ls_activations *act, const struct ls_gather *rows)
{
    int first = 0;
    while (act->net->layers[first].skip)
        first++;
    if (!act->net->layers[first].kind->gathers)
        return 0;
    const struct ls_input input = ls_activations_input(act, rows->B, 1);
    act->gather = *rows;
    act->gather.x = input.x;
    act->gather.copies = input.copies;
    return 1;
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
        if (with_gradients && ls_output_is_made(net, i, 1))
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
