/* Owns the walk of the binary64 forward pass, a whole batch layer by layer, every one as the list has it: an
 * activation that the net has fused away is a layer here.  The layers are in reference64_layers.c, the losses
 * in reference64_loss.c. */
#include "model/reference64.h"

#include "base/memory.h"

/* Here an image lies one way, so some layers have nothing to do. */
static int only_renames(const struct ls_layer *layer)
{
    return layer->kind == &ls_layer_flatten || layer->kind == &ls_layer_reorder;
}

enum ls_code ls_reference64_create(struct ls_reference64 *reference, const struct ls_net *net, ptrdiff_t B,
                                   struct ls_error *err)
{
    *reference = (struct ls_reference64){.net = net, .B = B};
    reference->y = ls_alloc((size_t)net->n_layers, sizeof *reference->y, "activations", err);
    if (!reference->y)
        return LS_FAILED;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (only_renames(layer))
            continue;
        reference->y[i] = ls_alloc((size_t)B, (size_t)layer->out.count * sizeof(double), "activations", err);
        if (!reference->y[i])
            return LS_FAILED;
    }
    return LS_OK;
}

void ls_reference64_release(struct ls_reference64 *reference)
{
    for (int i = 0; reference->y && i < reference->net->n_layers; i++)
        ls_free(reference->y[i]);
    ls_free(reference->y);
    *reference = (struct ls_reference64){0};
}

/* What layer i gave, or the input. */
static const double *output_of(const struct ls_reference64 *reference, const double *x, int i)
{
    while (i != LS_NET_INPUT && only_renames(&reference->net->layers[i]))
        i = reference->net->layers[i].from;
    return i == LS_NET_INPUT ? x : reference->y[i];
}

double ls_reference64_loss(const struct ls_reference64 *reference, int first_layer,
                           const struct ls_loss_rule *loss, const double *x, const double *parameters,
                           const struct ls_targets *targets)
{
    const struct ls_net *net = reference->net;
    const ptrdiff_t B = reference->B, N = net->out.count;
    for (int i = first_layer; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (!only_renames(layer))
            ls_reference64_layer(layer, net->tensors + layer->first_tensor, B, reference->y[i],
                                 output_of(reference, x, layer->from), output_of(reference, x, layer->also),
                                 parameters);
    }
    const double *z = output_of(reference, x, net->n_layers - 1);
    double total = 0;
    for (ptrdiff_t b = 0; b < B; b++)
        total += ls_reference64_sample_loss(loss, N, z + b * N, targets, b);
    return total / (double)B;
}
