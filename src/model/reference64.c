/* Owns the binary64 forward pass; one sample at a time, layer by layer.  The losses are in
 * reference64_loss.c. */
#include "model/reference64.h"

#include <math.h>

static double activate(enum ls_activation act, double z)
{
    switch (act) {
    case LS_ACT_RELU:
        return z <= 0 ? 0 : z;
    case LS_ACT_TANH:
        return tanh(z);
    case LS_ACT_SIGMOID:
        return 1 / (1 + exp(-z));
    case LS_ACT_LEAKYRELU:
    case LS_ACT_GELU:
    case LS_ACT_SOFTPLUS:
    case LS_ACT_NONE:
        break;
    }
    return z;
}

static void dense(const struct ls_net *net, const struct ls_layer *layer, double *y, const double *x,
                  const double *parameters)
{
    const ptrdiff_t K = layer->in.count, N = layer->out.count;
    const double *w = parameters + net->tensors[layer->first_tensor].offset;
    const double *bias = layer->bias ? parameters + net->tensors[layer->first_tensor + 1].offset : NULL;
    for (ptrdiff_t j = 0; j < N; j++) {
        double z = bias ? bias[j] : 0;
        for (ptrdiff_t k = 0; k < K; k++)
            z += x[k] * w[k * N + j];
        y[j] = z;
    }
}

static ptrdiff_t widest(const struct ls_net *net)
{
    ptrdiff_t most = net->in.count;
    for (int i = 0; i < net->n_layers; i++)
        most = net->layers[i].out.count > most ? net->layers[i].out.count : most;
    return most;
}

ptrdiff_t ls_reference64_scratch(const struct ls_net *net)
{
    return 2 * widest(net);
}

double ls_reference64_loss(const struct ls_net *net, const struct ls_loss_rule *loss, ptrdiff_t B,
                           const double *x, const double *parameters, const struct ls_targets *targets,
                           double *scratch)
{
    double total = 0;
    for (ptrdiff_t b = 0; b < B; b++) {
        const double *in = x + b * net->in.count;
        double *halves[2] = {scratch, scratch + widest(net)};
        for (int i = 0; i < net->n_layers; i++) {
            const struct ls_layer *layer = &net->layers[i];
            double *out = halves[i % 2];
            if (layer->kind == &ls_layer_dense)
                dense(net, layer, out, in, parameters);
            else /* the activation layers as the list has them, fused or not */
                for (ptrdiff_t j = 0; j < layer->out.count; j++)
                    out[j] = activate(layer->activation, in[j]);
            in = out;
        }
        total += ls_reference64_sample_loss(loss, net->out.count, in, targets, b);
    }
    return total / (double)B;
}
