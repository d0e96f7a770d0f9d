/* dense N [nobias]: y = x W + b, W (in, out) in memory; an image counts as flat, channels first.
 * Fuses the activation behind it, so a dense + relu pair is one pass over its output. */
#include "layers/layer.h"

#include <stdint.h>
#include <string.h>

enum { WEIGHT, BIAS };

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    if (n_words < 1)
        return ls_fail(err, LS_USAGE, "'dense' needs its number of outputs: dense N [nobias]");
    const enum ls_code code = ls_word_to_count(words[0], "number of outputs", &layer->units, err);
    layer->bias = 1;
    for (int i = 1; code == LS_OK && i < n_words; i++) {
        if (strcmp(words[i], "nobias") != 0)
            return ls_fail(err, LS_USAGE, "'%s' is no option of dense: allowed is 'nobias'", words[i]);
        layer->bias = 0;
    }
    return code;
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
                                            .dims = {N, K},
                                            .transposed = 1,
                                            .count = K * N,
                                            .fan_in = K,
                                            .fan_out = N};
    if (layer->bias)
        tensors[BIAS] = (struct ls_parameter){
            .name = "bias", .n_dims = 1, .dims = {N}, .count = N, .fan_in = K, .fan_out = N, .is_bias = 1};
    return LS_OK;
}

static struct ls_dense_shape dense_shape(const struct ls_layer *layer, ptrdiff_t B, struct ls_copies x)
{
    return (struct ls_dense_shape){.B = B, .K = layer->in.count, .N = layer->units, .x = x};
}

static int x_copies(const struct ls_layer *layer, const struct ls_ops *ops, ptrdiff_t B)
{
    return ops->dense_input_copies(dense_shape(layer, B, (struct ls_copies){0}));
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    (void)also;
    const struct ls_dense_shape shape = dense_shape(layer, call->B, call->x_copies);
    const float *w = call->parameters + call->tensors[WEIGHT].offset,
                *bias = layer->bias ? call->parameters + call->tensors[BIAS].offset : NULL;
    if (call->gather)
        call->ops->dense_forward_gathered(shape, y, call->gather, w, bias, layer->activation);
    else
        call->ops->dense_forward(shape, y, x, w, bias, layer->activation);
}

static void weight_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x,
                            const float *dy)
{
    for (int p = 0; p < call->pass->n_parts; p++) {
        const struct ls_gradient_part *part = &call->pass->parts[p];
        float *db = layer->bias ? part->flat + call->tensors[BIAS].offset : NULL;
        call->ops->dense_weight_gradient(dense_shape(layer, part->end - part->begin, call->x_copies),
                                         call->pass->m, part->flat + call->tensors[WEIGHT].offset, db,
                                         x + part->begin * layer->in.count,
                                         dy + part->begin * layer->out.count);
    }
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)y;
    call->ops->dense_input_gradient(dense_shape(layer, call->B, (struct ls_copies){0}), dx, dy,
                                    call->parameters + call->tensors[WEIGHT].offset, x_activation, x);
}

static double flops(const struct ls_layer *layer)
{
    return 2.0 * (double)layer->in.count * (double)layer->units;
}

const struct ls_layer_kind ls_layer_dense = {
    .name = "dense",
    .usage = "dense N [nobias]",
    .order = LS_ORDER_CHANNELS_FIRST,
    .fuses_activation = 1,
    .fuses_derivative = 1,
    .gathers = 1,
    .x_copies = x_copies,
    .configure = configure,
    .infer = infer,
    .forward = forward,
    .weight_gradient = weight_gradient,
    .input_gradient = input_gradient,
    .flops = flops,
};
