/* Elementwise layers without parameters: relu, tanh, sigmoid, which the net fuses into the layer before where
 * that can be, and leakyrelu [SLOPE], gelu, softplus, whose derivatives need their input. */
#include "layers/layer.h"

#include <string.h>

static enum ls_activation activation_of(const struct ls_layer_kind *kind)
{
    return kind == &ls_layer_relu        ? LS_ACT_RELU
           : kind == &ls_layer_tanh      ? LS_ACT_TANH
           : kind == &ls_layer_sigmoid   ? LS_ACT_SIGMOID
           : kind == &ls_layer_leakyrelu ? LS_ACT_LEAKYRELU
           : kind == &ls_layer_gelu      ? LS_ACT_GELU
                                         : LS_ACT_SOFTPLUS;
}

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    layer->activation = activation_of(layer->kind);
    layer->slope = 0.01f;
    if (layer->kind != &ls_layer_leakyrelu || n_words == 0)
        return ls_layer_no_words(layer, n_words, words, err);
    if (n_words > 1)
        return ls_fail(err, LS_USAGE, "'%s' behind the slope: allowed is leakyrelu [SLOPE]", words[1]);
    return ls_word_to_float(words[0], "slope", 0.0f, 1.0f, &layer->slope, err);
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    (void)also;
    call->ops->activation_forward(layer->activation, layer->slope, call->B * layer->in.count, y, x);
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)x_activation;
    const float *known = layer->kind->is_activation ? y : x;
    call->ops->activation_backward(layer->activation, layer->slope, call->B * layer->in.count, dx, dy, known);
}

#define ACTIVATION(id, words, from_output)                                                                   \
    const struct ls_layer_kind ls_layer_##id = {.name = #id,                                                 \
                                                .usage = #id words,                                          \
                                                .order = LS_ORDER_ANY,                                       \
                                                .is_activation = from_output,                                \
                                                .configure = configure,                                      \
                                                .infer = ls_layer_infer_same,                                \
                                                .forward = forward,                                          \
                                                .input_gradient = input_gradient}
ACTIVATION(relu, "", 1);
ACTIVATION(tanh, "", 1);
ACTIVATION(sigmoid, "", 1);
ACTIVATION(leakyrelu, " [SLOPE]", 0);
ACTIVATION(gelu, "", 0);
ACTIVATION(softplus, "", 0);
