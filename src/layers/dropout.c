/* dropout P: each number is 0 with probability P, else divided by 1 - P (Srivastava et al. 2014, inverted as
 * everybody has it); in inference nothing.  Which are dropped is keyed by (seed, step, layer, position in the
 * batch, number), so any rank finds the same, and backward finds it again without having stored it. */
#include "layers/layer.h"

enum { LAYER_BITS = 16 }; /* of the random stream; the rest is the step */

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    if (n_words != 1)
        return ls_fail(err, LS_USAGE, "'dropout' needs one number, the share that is dropped: dropout P");
    return ls_word_to_float(words[0], "share", 0.0f, 1.0f, &layer->rate, err);
}

static void drop(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x)
{
    const ptrdiff_t K = layer->in.count;
    if (!call->pass || layer->rate == 0.0f) {
        call->ops->scale(call->B * K, y, x, 1.0f);
        return;
    }
    const struct ls_dropout which = {.seed = call->pass->seed,
                                     .stream = call->pass->step << LAYER_BITS | (uint64_t)layer->place,
                                     .first_row = call->pass->first_row,
                                     .threshold = (uint32_t)((double)layer->rate * 0x1p32),
                                     .scale = 1.0f / (1.0f - layer->rate)};
    call->ops->dropout(&which, call->B, K, y, x);
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    (void)also;
    drop(layer, call, y, x);
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)x;
    (void)y;
    (void)x_activation;
    drop(layer, call, dx, dy);
}

const struct ls_layer_kind ls_layer_dropout = {.name = "dropout",
                                               .usage = "dropout P",
                                               .order = LS_ORDER_ANY,
                                               .configure = configure,
                                               .infer = ls_layer_infer_same,
                                               .forward = forward,
                                               .input_gradient = input_gradient};
