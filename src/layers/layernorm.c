/* layernorm [epsilon E]: each sample brought to mean 0 and variance 1 over all its numbers, then scaled and
 * shifted number by number (Ba, Kiros and Hinton 2016). */
#include "layers/layer.h"

#include <string.h>

enum { GAMMA, BETA };

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    layer->epsilon = 1e-5f;
    if (n_words == 0)
        return LS_OK;
    const char *wrong = strcmp(words[0], "epsilon") != 0 ? words[0] : n_words > 2 ? words[2] : NULL;
    if (wrong)
        return ls_fail(err, LS_USAGE, "'%s' is no option of layernorm: allowed is 'epsilon'", wrong);
    if (n_words < 2)
        return ls_fail(err, LS_USAGE, "'epsilon' needs a number behind it: %s", layer->kind->usage);
    return ls_word_to_float(words[1], "epsilon", 1e-12f, 1.0f, &layer->epsilon, err);
}

static enum ls_code infer(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err)
{
    (void)err;
    layer->out = layer->in;
    layer->aux_floats_per_row = 2;
    layer->n_tensors = 2;
    tensors[GAMMA] = (struct ls_parameter){.name = "weight",
                                           .n_dims = layer->in.n_dims,
                                           .count = layer->in.count,
                                           .fan_in = layer->in.count,
                                           .fan_out = layer->in.count,
                                           .is_norm = 1,
                                           .constant = 1.0f};
    memcpy(tensors[GAMMA].dims, layer->in.dims, sizeof layer->in.dims);
    tensors[BETA] = tensors[GAMMA];
    strcpy(tensors[BETA].name, "bias");
    tensors[BETA].constant = 0.0f;
    return LS_OK;
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    (void)also;
    call->ops->layernorm_forward(call->B, layer->in.count, y, call->aux, x,
                                 call->parameters + call->tensors[GAMMA].offset,
                                 call->parameters + call->tensors[BETA].offset, layer->epsilon);
}

static void weight_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x,
                            const float *dy)
{
    for (int p = 0; p < call->pass->n_parts; p++) {
        const struct ls_gradient_part *part = &call->pass->parts[p];
        call->ops->layernorm_weight_gradient(
            part->end - part->begin, layer->in.count, call->pass->m, part->flat + call->tensors[GAMMA].offset,
            part->flat + call->tensors[BETA].offset, dy + part->begin * layer->in.count,
            x + part->begin * layer->in.count, call->aux + 2 * part->begin);
    }
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)y;
    (void)x_activation;
    call->ops->layernorm_input_gradient(call->B, layer->in.count, dx, dy, x, call->aux,
                                        call->parameters + call->tensors[GAMMA].offset);
}

const struct ls_layer_kind ls_layer_layernorm = {
    .name = "layernorm",
    .usage = "layernorm [epsilon E]",
    .order = LS_ORDER_CHANNELS_FIRST,
    .configure = configure,
    .infer = infer,
    .forward = forward,
    .weight_gradient = weight_gradient,
    .input_gradient = input_gradient,
};
