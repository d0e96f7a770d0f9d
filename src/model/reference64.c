/* Owns the binary64 forward pass; one sample at a time, layer by layer. */
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

static double target(const struct ls_targets *targets, ptrdiff_t N, ptrdiff_t b, ptrdiff_t j)
{
    if (targets->values)
        return (double)targets->values[b * N + j];
    return N == 1 ? (double)targets->labels[b] : (double)(targets->labels[b] == j);
}

static double sample_loss(enum ls_loss loss, ptrdiff_t N, const double *z, const struct ls_targets *targets,
                          ptrdiff_t b)
{
    double sum = 0, top = z[0];
    for (ptrdiff_t j = 1; j < N; j++)
        top = z[j] > top ? z[j] : top;
    for (ptrdiff_t j = 0; j < N; j++) {
        if (loss == LS_LOSS_SOFTMAX) {
            sum += exp(z[j] - top);
            continue;
        }
        const double t = target(targets, N, b, j);
        if (loss == LS_LOSS_BCE)
            sum += fmax(z[j], 0) - z[j] * t + log1p(exp(-fabs(z[j])));
        else
            sum += (z[j] - t) * (z[j] - t) * (loss == LS_LOSS_HALF_SQUARED ? 0.5 : 1.0);
    }
    return loss == LS_LOSS_SOFTMAX ? log(sum) - (z[targets->labels[b]] - top) : sum;
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

double ls_reference64_loss(const struct ls_net *net, enum ls_loss loss, ptrdiff_t B, const double *x,
                           const double *parameters, const struct ls_targets *targets, double *scratch)
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
        total += sample_loss(loss, net->out.count, in, targets, b);
    }
    return total / (double)B;
}
