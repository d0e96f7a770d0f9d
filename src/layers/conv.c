/* conv N KHxKW [stride S] [pad P|same] [groups G|depthwise] [nobias]: the cross-correlation that everybody
 * calls convolution, N output channels, weights (N, C/G, KH, KW) in files.  Fuses the activation behind it.
 */
#include <stdint.h>
#include <string.h>

#include "layers/window.h"

enum { WEIGHT, BIAS };

static enum ls_code read_option(struct ls_layer *layer, int n_words, char *const *words, int *i,
                                struct ls_error *err)
{
    int known = 0;
    const enum ls_code code = ls_window_option(layer, n_words, words, i, &known, err);
    if (known || code != LS_OK)
        return code;
    if (strcmp(words[*i], "nobias") == 0) {
        layer->bias = 0;
    } else if (strcmp(words[*i], "depthwise") == 0) {
        layer->depthwise = 1;
    } else if (strcmp(words[*i], "groups") == 0) {
        if (++*i == n_words)
            return ls_fail(err, LS_USAGE, "'groups' needs a number behind it: %s", layer->kind->usage);
        return ls_word_to_count(words[*i], "number of groups", &layer->conv.G, err);
    } else {
        return ls_fail(
            err, LS_USAGE,
            "'%s' is no option of conv: allowed are 'stride', 'pad', 'groups', 'depthwise', 'nobias'",
            words[*i]);
    }
    return LS_OK;
}

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    layer->bias = 1;
    layer->conv = (struct ls_conv_shape){.at = {.SY = 1, .SX = 1}, .G = 1};
    if (n_words < 2)
        return ls_fail(err, LS_USAGE, "'conv' needs its output channels and its window: %s",
                       layer->kind->usage);
    enum ls_code code = ls_word_to_count(words[0], "number of output channels", &layer->units, err);
    if (code == LS_OK)
        code = ls_word_to_pair(words[1], "window", 1, &layer->conv.at.KH, &layer->conv.at.KW, err);
    for (int i = 2; code == LS_OK && i < n_words; i++)
        code = read_option(layer, n_words, words, &i, err);
    if (code == LS_OK && layer->depthwise && layer->conv.G > 1)
        return ls_fail(err, LS_USAGE,
                       "'groups %td' and 'depthwise', which is one group a channel: give one of them",
                       layer->conv.G);
    return code;
}

static enum ls_code pad_same(struct ls_window *at, struct ls_error *err)
{
    if (at->KH % 2 == 0 || at->KW % 2 == 0)
        return ls_fail(err, LS_USAGE, "'pad same' needs an odd window, found %tdx%td", at->KH, at->KW);
    at->PY = at->KH / 2;
    at->PX = at->KW / 2;
    return LS_OK;
}

static enum ls_code infer(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err)
{
    struct ls_conv_shape *conv = &layer->conv;
    struct ls_window *at = &conv->at;
    enum ls_code code = layer->same ? pad_same(at, err) : LS_OK;
    if (code == LS_OK)
        code = ls_window_infer(layer, err);
    if (code != LS_OK)
        return code;
    const ptrdiff_t N = conv->N = layer->units;
    if (layer->depthwise)
        conv->G = at->C;
    if (at->C % conv->G != 0 || N % conv->G != 0)
        return ls_fail(
            err, LS_USAGE,
            "%td groups must divide the input channels, which are %td, and the output channels, which "
            "are %td",
            conv->G, at->C, N);
    if (at->OH > INT32_MAX / at->OW || at->OH * at->OW > INT32_MAX / N)
        return ls_fail(err, LS_USAGE, "an output of %tdx%tdx%td numbers a sample is too large", N, at->OH,
                       at->OW);
    const ptrdiff_t taps = at->KH * at->KW, channels = at->C / conv->G;
    if (channels * taps > (PTRDIFF_MAX / 64) / N)
        return ls_fail(err, LS_USAGE, "%td taps times %td outputs are more weights than memory can hold",
                       channels * taps, N);
    layer->out = ls_shape_of_image(N, at->OH, at->OW);
    layer->n_tensors = layer->bias ? 2 : 1;
    tensors[WEIGHT] = (struct ls_parameter){.name = "weight",
                                            .n_dims = 4,
                                            .dims = {N, channels, at->KH, at->KW},
                                            .transposed = 1,
                                            .count = channels * taps * N,
                                            .fan_in = channels * taps,
                                            .fan_out = N * taps};
    if (layer->bias)
        tensors[BIAS] = (struct ls_parameter){.name = "bias",
                                              .n_dims = 1,
                                              .dims = {N},
                                              .count = N,
                                              .fan_in = channels * taps,
                                              .fan_out = N * taps,
                                              .is_bias = 1};
    return LS_OK;
}

static struct ls_conv_shape conv_shape(const struct ls_layer *layer, ptrdiff_t B)
{
    struct ls_conv_shape shape = layer->conv;
    shape.at.B = B;
    return shape;
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    (void)also;
    const struct ls_conv_shape shape = conv_shape(layer, call->B);
    const float *bias = layer->bias ? call->parameters + call->tensors[BIAS].offset : NULL;
    call->ops->conv_forward(&shape, y, x, call->parameters + call->tensors[WEIGHT].offset, bias,
                            layer->activation, call->pool);
}

static void weight_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x,
                            const float *dy)
{
    for (int p = 0; p < call->pass->n_parts; p++) {
        const struct ls_gradient_part *part = &call->pass->parts[p];
        const struct ls_conv_shape shape = conv_shape(layer, part->end - part->begin);
        struct ls_maxpool_gradient pool;
        if (call->pool_gradient)
            pool = ls_maxpool_gradient_of(call->pool_gradient, part->begin, part->end);
        float *db = layer->bias ? part->flat + call->tensors[BIAS].offset : NULL;
        call->ops->conv_weight_gradient(&shape, call->pass->m, part->flat + call->tensors[WEIGHT].offset, db,
                                        x + part->begin * layer->in.count,
                                        dy + part->begin * layer->out.count,
                                        call->pool_gradient ? &pool : NULL);
    }
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)y;
    const struct ls_conv_shape shape = conv_shape(layer, call->B);
    call->ops->conv_input_gradient(&shape, dx, dy, call->parameters + call->tensors[WEIGHT].offset,
                                   x_activation, x);
}

static double flops(const struct ls_layer *layer)
{
    const struct ls_window *at = &layer->conv.at;
    return 2.0 * (double)layer->out.count * (double)(at->C / layer->conv.G * at->KH * at->KW);
}

const struct ls_layer_kind ls_layer_conv = {
    .name = "conv",
    .usage = "conv N KHxKW [stride S] [pad P|same] [groups G|depthwise] [nobias]",
    .order = LS_ORDER_CHANNELS_LAST,
    .fuses_activation = 1,
    .fuses_derivative = 1,
    .fuses_maxpool = 1,
    .configure = configure,
    .infer = infer,
    .forward = forward,
    .weight_gradient = weight_gradient,
    .input_gradient = input_gradient,
    .flops = flops,
};
