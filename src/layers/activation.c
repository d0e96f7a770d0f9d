/* relu, tanh, sigmoid: elementwise, no parameters.  The net fuses them into the layer before where that can
 * be. */
#include "layers/layer.h"

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    if (n_words > 0)
        return ls_fail(err, LS_USAGE, "'%s' takes no words behind it, found '%s'", layer->kind->name,
                       words[0]);
    layer->activation = layer->kind == &ls_layer_relu   ? LS_ACT_RELU
                        : layer->kind == &ls_layer_tanh ? LS_ACT_TANH
                                                        : LS_ACT_SIGMOID;
    return LS_OK;
}

static enum ls_code infer(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err)
{
    (void)tensors;
    (void)err;
    layer->out = layer->in;
    layer->n_tensors = 0;
    return LS_OK;
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x)
{
    call->ops->activation_forward(layer->activation, 0.0f, call->B * layer->in.count, y, x);
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    const ptrdiff_t n = call->B * layer->in.count;
    call->ops->activation_backward(layer->activation, 0.0f, n, dx, dy, y);
    if (x_activation != LS_ACT_NONE)
        call->ops->activation_backward(x_activation, 0.0f, n, dx, dx, x);
}

#define ACTIVATION(id)                                                                                       \
    const struct ls_layer_kind ls_layer_##id = {.name = #id,                                                 \
                                                .usage = #id,                                                \
                                                .configure = configure,                                      \
                                                .infer = infer,                                              \
                                                .forward = forward,                                          \
                                                .input_gradient = input_gradient}
ACTIVATION(relu);
ACTIVATION(tanh);
ACTIVATION(sigmoid);
