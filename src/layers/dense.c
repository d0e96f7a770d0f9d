/* dense N [nobias]: y = x W + b, W (in, out) in memory; any input shape counts as flat.
 * Fuses the activation behind it, so a dense + relu pair is one pass over its output. */
#include "layers/layer.h"

#include <stdint.h>
#include <string.h>

#include "base/text.h"

enum { WEIGHT, BIAS };

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    int64_t units = 0;
    if (n_words < 1)
        return ls_fail(err, LS_USAGE, "'dense' needs its number of outputs: dense N [nobias]");
    if (!ls_text_to_int64(words[0], &units) || units < 1 || units > INT32_MAX)
        return ls_fail(err, LS_USAGE, "'%s' is no number of outputs: allowed are whole numbers from 1 to %d",
                       words[0], INT32_MAX);
    layer->units = (ptrdiff_t)units;
    layer->bias = 1;
    for (int i = 1; i < n_words; i++) {
        if (strcmp(words[i], "nobias") != 0)
            return ls_fail(err, LS_USAGE, "'%s' is no option of dense: allowed is 'nobias'", words[i]);
        layer->bias = 0;
    }
    return LS_OK;
}

static enum ls_code infer(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err)
{
    const ptrdiff_t K = layer->in.count, N = layer->units;
    if (K > (PTRDIFF_MAX / 64) / N)
        return ls_fail(err, LS_USAGE, "%td inputs times %td outputs are more weights than memory can hold", K,
                       N);
    layer->out = ls_shape_of(1, &N);
    layer->n_tensors = layer->bias ? 2 : 1;
    tensors[WEIGHT] = (struct ls_parameter){.name = "weight",
                                            .n_dims = 2,
                                            .dims = {K, N},
                                            .transposed_in_files = 1,
                                            .count = K * N,
                                            .fan_in = K,
                                            .fan_out = N};
    if (layer->bias)
        tensors[BIAS] = (struct ls_parameter){
            .name = "bias", .n_dims = 1, .dims = {N}, .count = N, .fan_in = K, .fan_out = N, .is_bias = 1};
    return LS_OK;
}

static struct ls_dense_shape dense_shape(const struct ls_layer *layer, const struct ls_layer_call *call)
{
    return (struct ls_dense_shape){.B = call->B, .K = layer->in.count, .N = layer->units};
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x)
{
    const float *bias = layer->bias ? call->parameters + call->tensors[BIAS].offset : NULL;
    call->ops->dense_forward(dense_shape(layer, call), y, x, call->parameters + call->tensors[WEIGHT].offset,
                             bias, layer->activation);
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)y;
    call->ops->dense_input_gradient(dense_shape(layer, call), dx, dy,
                                    call->parameters + call->tensors[WEIGHT].offset, x_activation, x);
}

static void weight_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, ptrdiff_t m,
                            float *gradient, const float *x, const float *dy)
{
    float *db = layer->bias ? gradient + call->tensors[BIAS].offset : NULL;
    call->ops->dense_weight_gradient(dense_shape(layer, call), m, gradient + call->tensors[WEIGHT].offset, db,
                                     x, dy);
}

const struct ls_layer_kind ls_layer_dense = {
    .name = "dense",
    .usage = "dense N [nobias]",
    .fuses_activation = 1,
    .configure = configure,
    .infer = infer,
    .forward = forward,
    .input_gradient = input_gradient,
    .weight_gradient = weight_gradient,
};
