/* maxpool KHxKW [stride S] [pad P], avgpool KHxKW [stride S] [pad P], globalavgpool: channel by channel over
 * windows, which by default do not overlap.  Padding is never the largest; for a mean it counts as 0. */
#include "layers/window.h"

#include <string.h>

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    struct ls_window *at = &layer->conv.at;
    *at = (struct ls_window){0};
    if (n_words < 1)
        return ls_fail(err, LS_USAGE, "'%s' needs its window: %s", layer->kind->name, layer->kind->usage);
    enum ls_code code = ls_word_to_pair(words[0], "window", 1, &at->KH, &at->KW, err);
    at->SY = at->KH;
    at->SX = at->KW;
    for (int i = 1; code == LS_OK && i < n_words; i++) {
        int known = 0;
        code = ls_window_option(layer, n_words, words, &i, &known, err);
        if (code == LS_OK && !known)
            return ls_fail(err, LS_USAGE, "'%s' is no option of %s: allowed are 'stride' and 'pad'", words[i],
                           layer->kind->name);
    }
    return code;
}

static enum ls_code infer(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err)
{
    (void)tensors;
    const enum ls_code code = ls_window_infer(layer, err); /* whose windows all have a pixel */
    const struct ls_window *at = &layer->conv.at;
    layer->out = ls_shape_of_image(at->C, at->OH, at->OW);
    return code;
}

/* One window, the image; the output has one number a channel. */
static enum ls_code infer_global(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                                 struct ls_error *err)
{
    (void)tensors;
    const struct ls_image image = ls_shape_image(&layer->in);
    layer->conv.at = (struct ls_window){.KH = image.H, .KW = image.W, .SY = 1, .SX = 1};
    const enum ls_code code = ls_window_infer(layer, err);
    layer->out = ls_shape_of(1, &image.C);
    return code;
}

static void max_forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y,
                        const float *x, const float *also)
{
    (void)also;
    const struct ls_window at = ls_window_of(layer, call->B);
    call->ops->maxpool_forward(&at, y, x);
}

static void max_input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                               const float *dy, const float *x, const float *y,
                               enum ls_activation x_activation)
{
    (void)y;
    const struct ls_window at = ls_window_of(layer, call->B);
    call->ops->maxpool_backward(&at, dx, dy, x_activation, x);
}

static void mean_forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y,
                         const float *x, const float *also)
{
    (void)also;
    const struct ls_window at = ls_window_of(layer, call->B);
    call->ops->avgpool_forward(&at, y, x);
}

static void mean_input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                                const float *dy, const float *x, const float *y,
                                enum ls_activation x_activation)
{
    (void)x;
    (void)y;
    (void)x_activation;
    const struct ls_window at = ls_window_of(layer, call->B);
    call->ops->avgpool_backward(&at, dx, dy);
}

const struct ls_layer_kind ls_layer_maxpool = {.name = "maxpool",
                                               .usage = "maxpool KHxKW [stride S] [pad P]",
                                               .order = LS_ORDER_CHANNELS_LAST,
                                               .configure = configure,
                                               .infer = infer,
                                               .forward = max_forward,
                                               .input_gradient = max_input_gradient,
                                               .fuses_derivative = 1};
const struct ls_layer_kind ls_layer_avgpool = {.name = "avgpool",
                                               .usage = "avgpool KHxKW [stride S] [pad P]",
                                               .order = LS_ORDER_CHANNELS_LAST,
                                               .configure = configure,
                                               .infer = infer,
                                               .forward = mean_forward,
                                               .input_gradient = mean_input_gradient};
const struct ls_layer_kind ls_layer_globalavgpool = {.name = "globalavgpool",
                                                     .usage = "globalavgpool",
                                                     .order = LS_ORDER_CHANNELS_LAST,
                                                     .configure = ls_layer_no_words,
                                                     .infer = infer_global,
                                                     .forward = mean_forward,
                                                     .input_gradient = mean_input_gradient};
