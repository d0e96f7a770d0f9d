/* Owns the walk over layers; knows nothing of batches, ranks or leaves beyond the rows it is given. */
#include "model/execute.h"

#include "base/memory.h"

static ptrdiff_t widest(const struct ls_net *net)
{
    ptrdiff_t most = net->in.count;
    for (int i = 0; i < net->n_layers; i++)
        if (net->layers[i].out.count > most)
            most = net->layers[i].out.count;
    return most;
}

size_t ls_activations_bytes(const struct ls_net *net, ptrdiff_t most_rows, int with_gradients)
{
    ptrdiff_t floats = net->in.count;
    for (int i = 0; i < net->n_layers; i++)
        if (!net->layers[i].fused)
            floats += net->layers[i].out.count;
    if (with_gradients)
        floats += 2 * widest(net);
    return (size_t)floats * (size_t)most_rows * sizeof(float);
}

static float *rows_of(ptrdiff_t rows, ptrdiff_t width, struct ls_error *err)
{
    return ls_alloc((size_t)rows, (size_t)width * sizeof(float), "activations", err);
}

enum ls_code ls_activations_create(struct ls_activations *act, const struct ls_net *net, ptrdiff_t most_rows,
                                   int with_gradients, struct ls_error *err)
{
    *act = (struct ls_activations){.most_rows = most_rows};
    act->x = rows_of(most_rows, net->in.count, err);
    act->y = ls_alloc((size_t)net->n_layers, sizeof *act->y, "activations", err);
    int complete = act->x && act->y;
    for (int i = 0; complete && i < net->n_layers; i++) {
        act->y[i] = net->layers[i].fused ? act->y[i - 1] : rows_of(most_rows, net->layers[i].out.count, err);
        complete = act->y[i] != NULL;
    }
    for (int g = 0; complete && with_gradients && g < 2; g++) {
        act->grad[g] = rows_of(most_rows, widest(net), err);
        complete = act->grad[g] != NULL;
    }
    if (complete)
        return LS_OK;
    ls_activations_release(act, net);
    return LS_FAILED;
}

void ls_activations_release(struct ls_activations *act, const struct ls_net *net)
{
    ls_free(act->x);
    for (int i = 0; act->y && i < net->n_layers; i++)
        if (!net->layers[i].fused)
            ls_free(act->y[i]);
    ls_free(act->y);
    ls_free(act->grad[0]);
    ls_free(act->grad[1]);
    *act = (struct ls_activations){0};
}

static struct ls_layer_call call_of(const struct ls_net *net, int i, const struct ls_ops *ops,
                                    const float *parameters, ptrdiff_t B)
{
    return (struct ls_layer_call){
        .ops = ops, .tensors = net->tensors + net->layers[i].first_tensor, .parameters = parameters, .B = B};
}

const float *ls_forward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                        struct ls_activations *act, ptrdiff_t B)
{
    const float *x = act->x;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (!layer->fused) {
            const struct ls_layer_call call = call_of(net, i, ops, parameters, B);
            layer->kind->forward(layer, &call, act->y[i], x);
        }
        x = act->y[i];
    }
    return x;
}

float *ls_output_gradient(struct ls_activations *act)
{
    return act->grad[0];
}

/* The layer that made the input of layer i and has not been fused away, or -1. */
static int layer_before(const struct ls_net *net, int i)
{
    do
        i--;
    while (i >= 0 && net->layers[i].fused);
    return i;
}

/* The activation fused into layer i, whose derivative the layer above is asked to apply. */
static enum ls_activation fused_into(const struct ls_net *net, int i)
{
    return i >= 0 && net->layers[i].kind->fuses_activation ? net->layers[i].activation : LS_ACT_NONE;
}

const float *ls_backward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                         struct ls_activations *act, ptrdiff_t B, ptrdiff_t m,
                         const struct ls_gradient_part *parts, int n_parts, int input_gradient)
{
    float *dy = act->grad[0], *dx = act->grad[1];
    int i = layer_before(net, net->n_layers);
    if (fused_into(net, i) != LS_ACT_NONE)
        ops->activation_backward(fused_into(net, i), 0.0f, B * net->out.count, dy, dy, act->y[i]);
    while (i >= 0) {
        const struct ls_layer *layer = &net->layers[i];
        const int below = layer_before(net, i);
        const float *x = below >= 0 ? act->y[below] : act->x;
        struct ls_layer_call call = call_of(net, i, ops, parameters, B);
        if (below >= 0 || input_gradient)
            layer->kind->input_gradient(layer, &call, dx, dy, x, act->y[i], fused_into(net, below));
        for (int p = 0; layer->kind->weight_gradient && p < n_parts; p++) {
            call.B = parts[p].end - parts[p].begin;
            layer->kind->weight_gradient(layer, &call, m, parts[p].flat, x + parts[p].begin * layer->in.count,
                                         dy + parts[p].begin * layer->out.count);
        }
        float *swap = dy;
        dy = dx;
        dx = swap;
        i = below;
    }
    return input_gradient ? dy : NULL;
}
