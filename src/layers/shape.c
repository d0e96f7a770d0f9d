/* Layers that move numbers and change none: flatten, which only renames a shape; reorder, which the net
 * inserts between layers that want channels first and layers that want them last; add, the end of a residual
 * block, whose gradient goes to both inputs unchanged. */
#include "layers/layer.h"

static enum ls_code infer_flatten(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                                  struct ls_error *err)
{
    (void)tensors;
    (void)err;
    layer->out = ls_shape_of(1, &layer->in.count);
    layer->skip = 1;
    return LS_OK;
}

const struct ls_layer_kind ls_layer_flatten = {.name = "flatten",
                                               .usage = "flatten",
                                               .order = LS_ORDER_CHANNELS_FIRST,
                                               .configure = ls_layer_no_words,
                                               .infer = infer_flatten};

static void transpose(const struct ls_layer *layer, const struct ls_layer_call *call, float *to,
                      const float *from, int to_last)
{
    const struct ls_image image = ls_shape_image(&layer->in);
    const ptrdiff_t P = image.H * image.W, C = image.C;
    call->ops->transpose(call->B, to_last ? C : P, to_last ? P : C, to, from);
}

static void forward_reorder(const struct ls_layer *layer, const struct ls_layer_call *call, float *y,
                            const float *x, const float *also)
{
    (void)also;
    transpose(layer, call, y, x, layer->order == LS_ORDER_CHANNELS_LAST);
}

static void input_gradient_reorder(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                                   const float *dy, const float *x, const float *y,
                                   enum ls_activation x_activation)
{
    (void)x;
    (void)y;
    (void)x_activation;
    transpose(layer, call, dx, dy, layer->order == LS_ORDER_CHANNELS_FIRST);
}

const struct ls_layer_kind ls_layer_reorder = {.name = "reorder",
                                               .usage = "",
                                               .order = LS_ORDER_ANY,
                                               .infer = ls_layer_infer_same,
                                               .forward = forward_reorder,
                                               .input_gradient = input_gradient_reorder};

static void forward_add(const struct ls_layer *layer, const struct ls_layer_call *call, float *y,
                        const float *x, const float *also)
{
    call->ops->add(layer->activation, call->B * layer->out.count, y, x, also);
}

const struct ls_layer_kind ls_layer_add = {.name = "add",
                                           .usage = "",
                                           .order = LS_ORDER_ANY,
                                           .fuses_activation = 1,
                                           .infer = ls_layer_infer_same,
                                           .forward = forward_add};
