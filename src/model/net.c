/* Owns the layout: from a list of layers and an input shape to shapes, orders in memory, fused activations
 * and the flat buffers' tensors. */
#include "model/net.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/language.h"

enum { TENSOR_ALIGNMENT = 16 };

/* While the net is laid out: where the list's layers have gone. */
struct layout {
    const struct ls_layer_list *list;
    struct ls_net *net;
    int *placed;    /* (list->n) index in the net */
    int *reordered; /* (net's layers + 1) 1 + the reorder of a value, from the input on; 0: none yet */
    struct ls_error *err;
};

/* One channel or one pixel lies the same way in both orders. */
static int order_matters(const struct ls_shape *shape)
{
    const struct ls_image image = ls_shape_image(shape);
    return image.C > 1 && image.H * image.W > 1;
}

static const struct ls_shape *shape_of(const struct ls_net *net, int value)
{
    return value == LS_NET_INPUT ? &net->in : &net->layers[value].out;
}

static enum ls_order order_of(const struct ls_net *net, int value)
{
    return value == LS_NET_INPUT ? LS_ORDER_CHANNELS_FIRST : net->layers[value].order;
}

/* `value` in the order that is wanted: itself, or a reorder of it, which is made once. */
static int in_order(struct layout *l, int value, enum ls_order wanted)
{
    struct ls_net *net = l->net;
    const struct ls_shape *shape = shape_of(net, value);
    if (wanted == LS_ORDER_ANY || order_of(net, value) == wanted || !order_matters(shape))
        return value;
    int *made = &l->reordered[value + 1];
    if (!*made) {
        struct ls_layer *layer = &net->layers[net->n_layers];
        *layer = (struct ls_layer){.kind = &ls_layer_reorder,
                                   .from = value,
                                   .also = LS_NET_INPUT,
                                   .in = *shape,
                                   .out = *shape,
                                   .order = wanted};
        snprintf(layer->text, sizeof layer->text, "(%s)",
                 wanted == LS_ORDER_CHANNELS_LAST ? "channels last" : "channels first");
        layer->place = net->n_layers++;
        *made = net->n_layers;
    }
    return *made - 1;
}

static enum ls_code place_tensors(struct ls_net *net, struct ls_layer *layer, struct ls_error *err)
{
    layer->first_tensor = net->n_tensors;
    for (int t = 0; t < layer->n_tensors; t++) {
        struct ls_parameter *tensor = &net->tensors[net->n_tensors++];
        char role[16]; /* "running_mean" */
        snprintf(role, sizeof role, "%.15s", tensor->name);
        snprintf(tensor->name, sizeof tensor->name, "%.47s.%.15s", layer->name, role);
        tensor->offset = net->n_floats;
        net->n_parameters += tensor->is_state ? 0 : tensor->count;
        net->n_floats += (tensor->count + TENSOR_ALIGNMENT - 1) / TENSOR_ALIGNMENT * TENSOR_ALIGNMENT;
        if (net->n_floats > PTRDIFF_MAX / 64)
            return ls_fail(err, LS_USAGE, "more parameters than memory can hold");
    }
    return LS_OK;
}

/* Both paths of a block must give the same shape. */
static enum ls_code infer_add(const struct ls_net *net, const struct ls_layer *add, struct ls_error *err)
{
    char a[100], b[100];
    const struct ls_shape *shortcut = shape_of(net, add->also);
    if (ls_shape_equal(&add->in, shortcut))
        return LS_OK;
    return ls_fail(
        err, LS_USAGE,
        "the block's layers give %s and its shortcut %s, which cannot be added: add a shortcut that "
        "brings one to the other, such as shortcut { conv N 1x1 stride S }",
        ls_shape_format(&add->in, a, sizeof a), ls_shape_format(shortcut, b, sizeof b));
}

/* The most floats that an activation of one sample may have. */
enum { MOST_SAMPLE = INT32_MAX };

static enum ls_code place_layer(struct layout *l, int i)
{
    struct ls_net *net = l->net;
    struct ls_layer next = l->list->layers[i];
    next.from = next.from == LS_NET_INPUT ? LS_NET_INPUT : l->placed[next.from];
    const int is_add = next.kind == &ls_layer_add;
    if (is_add)
        next.also = next.also == LS_NET_INPUT ? LS_NET_INPUT : l->placed[next.also];
    const struct ls_shape *in = shape_of(net, next.from);
    const enum ls_order wanted = is_add ? LS_ORDER_CHANNELS_LAST : next.kind->order;
    next.in = *in;
    enum ls_code code = is_add ? infer_add(net, &next, l->err) : LS_OK;
    if (code == LS_OK) {
        next.from = in_order(l, next.from, wanted);
        if (is_add)
            next.also = in_order(l, next.also, wanted);
        struct ls_layer *layer = &net->layers[net->n_layers];
        *layer = next;
        l->placed[i] = layer->place = net->n_layers++;
        code = layer->kind->infer(layer, net->tensors + net->n_tensors, l->err);
        layer->order = wanted == LS_ORDER_ANY ? order_of(net, layer->from) : wanted;
        if (code == LS_OK && layer->out.count > MOST_SAMPLE)
            code =
                ls_fail(l->err, LS_USAGE, "an output of %td numbers a sample is too large", layer->out.count);
        if (code == LS_OK)
            code = place_tensors(net, layer, l->err);
    }
    return ls_layer_explain(&l->list->layers[i], code, l->err);
}

int ls_net_value(const struct ls_net *net, int i)
{
    while (i >= 0 && net->layers[i].skip)
        i = net->layers[i].from;
    return i;
}

static void count_consumers(struct ls_net *net)
{
    for (int i = 0; i < net->n_layers; i++)
        net->layers[i].consumers = 0;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        const int from = ls_net_value(net, layer->from);
        const int also = layer->kind == &ls_layer_add ? ls_net_value(net, layer->also) : LS_NET_INPUT;
        if (!layer->skip && from >= 0)
            net->layers[from].consumers++;
        if (!layer->skip && also >= 0)
            net->layers[also].consumers++;
    }
}

/* An activation becomes part of the layer before it, if that can end in one and nobody else takes its output.
 */
static void fuse_activations(struct ls_net *net)
{
    count_consumers(net);
    for (int i = 0; i < net->n_layers; i++) {
        struct ls_layer *layer = &net->layers[i];
        const int from = ls_net_value(net, layer->from);
        if (!layer->kind->is_activation || from < 0)
            continue;
        struct ls_layer *before = &net->layers[from];
        if (before->kind->fuses_activation && before->activation == LS_ACT_NONE && before->consumers == 1) {
            before->activation = layer->activation;
            layer->skip = 1;
            before->consumers = layer->consumers;
        }
    }
    count_consumers(net);
}

static ptrdiff_t sync_floats(const struct ls_net *net)
{
    ptrdiff_t most = 0;
    for (int i = 0; i < net->n_layers; i++) {
        const ptrdiff_t C = ls_shape_image(&net->layers[i].in).C;
        if (net->layers[i].kind->across_samples && 2 * C > most)
            most = 2 * C;
    }
    return most;
}

static enum ls_code lay_out(struct layout *l)
{
    struct ls_net *net = l->net;
    for (int i = 0; i < l->list->n; i++) {
        const enum ls_code code = place_layer(l, i);
        if (code != LS_OK)
            return code;
    }
    /* Targets and predictions know one order. */
    in_order(l, l->placed[l->list->n - 1], LS_ORDER_CHANNELS_FIRST);
    fuse_activations(net);
    net->out = net->layers[net->n_layers - 1].out;
    net->sync_floats = sync_floats(net);
    return LS_OK;
}

enum ls_code ls_net_create(struct ls_net *net, const char *text, struct ls_shape in, struct ls_error *err)
{
    *net = (struct ls_net){.in = in};
    struct ls_layer_list list;
    struct layout l = {.list = &list, .net = net, .err = err};
    enum ls_code code = ls_layer_list_parse(&list, text, err);
    if (code == LS_OK) {
        const size_t n = (size_t)list.n, most = 2 * n + 1; /* each value has at most one reorder */
        net->layers = ls_alloc(most, sizeof *net->layers, "layers", err);
        net->tensors = ls_alloc(n * LS_LAYER_TENSORS, sizeof *net->tensors, "tensors", err);
        l.placed = ls_alloc(n, sizeof *l.placed, "layers", err);
        l.reordered = ls_alloc(most + 1, sizeof *l.reordered, "layers", err);
        code = net->layers && net->tensors && l.placed && l.reordered ? LS_OK : LS_FAILED;
    }
    if (code == LS_OK)
        code = lay_out(&l);
    if (code == LS_OK) {
        net->text = list.text;
        list.text = NULL;
    }
    ls_free(l.placed);
    ls_free(l.reordered);
    ls_layer_list_release(&list);
    return code;
}

void ls_net_release(struct ls_net *net)
{
    if (!net)
        return;
    ls_free(net->text);
    ls_free(net->layers);
    ls_free(net->tensors);
    *net = (struct ls_net){0};
}

enum ls_code ls_net_hash(const struct ls_net *net, const float *parameters, struct ls_hash *hash,
                         struct ls_error *err)
{
    struct ls_hasher *hasher = ls_hasher_create();
    if (!hasher)
        return ls_fail(err, LS_FAILED, "out of memory for a hash");
    for (int t = 0; t < net->n_tensors; t++)
        ls_hasher_add(hasher, parameters + net->tensors[t].offset,
                      (size_t)net->tensors[t].count * sizeof(float));
    *hash = ls_hasher_end(hasher);
    ls_hasher_destroy(&hasher);
    return LS_OK;
}

struct ls_hash ls_parameter_hash(const struct ls_parameter *tensor, const float *flat)
{
    return ls_hash_bytes(flat + tensor->offset, (size_t)tensor->count * sizeof(float));
}

const struct ls_parameter *ls_net_find_nonfinite(const struct ls_net *net, const float *flat,
                                                 ptrdiff_t *element)
{
    for (int t = 0; t < net->n_tensors; t++)
        for (ptrdiff_t i = 0; i < net->tensors[t].count; i++)
            if (!__builtin_isfinite(flat[net->tensors[t].offset + i])) {
                *element = i;
                return &net->tensors[t];
            }
    return NULL;
}

void ls_parameter_index(const struct ls_parameter *tensor, ptrdiff_t element, char *text, size_t size)
{
    ptrdiff_t index[LS_SHAPE_DIMS] = {0};
    if (tensor->transposed) { /* memory (rest, dims[0]) -> stored (dims[0], rest) */
        const ptrdiff_t columns = tensor->dims[0];
        element = element % columns * (tensor->count / columns) + element / columns;
    }
    for (int d = tensor->n_dims - 1; d >= 0; d--) {
        index[d] = element % tensor->dims[d];
        element /= tensor->dims[d];
    }
    size_t used = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < tensor->n_dims && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, d ? ",%td" : "%td", index[d]);
    if (used < size)
        snprintf(text + used, size - used, "]");
}
