/* softmax: a sample's numbers as shares that add up to 1.  For classification the loss of that name works on
 * the logits and needs no such layer. */
#include "layers/layer.h"

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    (void)also;
    call->ops->softmax_forward(call->B, layer->in.count, y, x);
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)x;
    (void)x_activation;
    call->ops->softmax_backward(call->B, layer->in.count, dx, dy, y);
}

const struct ls_layer_kind ls_layer_softmax = {.name = "softmax",
                                               .usage = "softmax",
                                               .order = LS_ORDER_CHANNELS_FIRST,
                                               .configure = ls_layer_no_words,
                                               .infer = ls_layer_infer_same,
                                               .forward = forward,
                                               .input_gradient = input_gradient};
