/* batchnorm [momentum M] [epsilon E]: each channel of the global batch brought to mean 0 and variance 1, then
 * scaled and shifted (Ioffe and Szegedy 2015, algorithm 1 and its gradient).  The statistics are sums over
 * every rank's rows by the leaf tree, so this layer is synchronised by definition.  The variance is that of
 * the centred values, a second sum: one pass over x and x^2 cancels.  Running averages, for inference, move
 * by M towards each batch's mean and unbiased variance, as PyTorch has it.  Fuses the activation behind it.
 */
#include "layers/layer.h"

#include <string.h>

enum { GAMMA, BETA, RUNNING_MEAN, RUNNING_VARIANCE };

/* What forward leaves in aux, C numbers each. */
enum { MEAN, INVERSE, SCRATCH, AUX_ROWS };

static enum ls_code configure(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    layer->momentum = 0.1f;
    layer->epsilon = 1e-5f;
    for (int i = 0; i < n_words; i++) {
        const int momentum = strcmp(words[i], "momentum") == 0;
        if (!momentum && strcmp(words[i], "epsilon") != 0)
            return ls_fail(err, LS_USAGE, "'%s' is no option of batchnorm: allowed are 'momentum', 'epsilon'",
                           words[i]);
        if (++i == n_words)
            return ls_fail(err, LS_USAGE, "'%s' needs a number behind it: %s", words[i - 1],
                           layer->kind->usage);
        const enum ls_code code =
            momentum ? ls_word_to_float(words[i], "momentum of running averages", 0.0f, 1.0000001f,
                                        &layer->momentum, err)
                     : ls_word_to_float(words[i], "epsilon", 1e-12f, 1.0f, &layer->epsilon, err);
        if (code != LS_OK)
            return code;
    }
    return LS_OK;
}

static enum ls_code infer(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err)
{
    (void)err;
    const ptrdiff_t C = ls_shape_image(&layer->in).C;
    layer->out = layer->in;
    layer->aux_floats = AUX_ROWS * C;
    layer->n_tensors = 4;
    const struct ls_parameter vector = {.n_dims = 1, .dims = {C}, .count = C, .fan_in = C, .fan_out = C};
    for (int t = 0; t < layer->n_tensors; t++)
        tensors[t] = vector;
    strcpy(tensors[GAMMA].name, "weight");
    strcpy(tensors[BETA].name, "bias");
    strcpy(tensors[RUNNING_MEAN].name, "running_mean");
    strcpy(tensors[RUNNING_VARIANCE].name, "running_var");
    tensors[GAMMA].is_norm = tensors[BETA].is_norm = 1;
    tensors[RUNNING_MEAN].is_state = tensors[RUNNING_VARIANCE].is_state = 1;
    tensors[GAMMA].constant = tensors[RUNNING_VARIANCE].constant = 1.0f;
    return LS_OK;
}

static struct ls_channels channels(const struct ls_layer *layer, ptrdiff_t B)
{
    const struct ls_image image = ls_shape_image(&layer->in);
    return (struct ls_channels){.B = B, .P = image.H * image.W, .C = image.C};
}

static const float *parameter(const struct ls_layer_call *call, int tensor)
{
    return call->parameters + call->tensors[tensor].offset;
}

/* 1 over the values of a channel in the global batch. */
static float reciprocal(const struct ls_channels *shape, const struct ls_pass *pass)
{
    return 1.0f / (float)(pass->global_batch * shape->P);
}

/* Each part's sums of x, or of squared distances from `mean`, then the tree over all ranks. */
static const float *sum_parts(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x,
                              const float *mean)
{
    const struct ls_pass *pass = call->pass;
    for (int p = 0; p < pass->n_parts; p++) {
        const struct ls_gradient_part *part = &pass->parts[p];
        const struct ls_channels rows = channels(layer, part->end - part->begin);
        const float *from = x + part->begin * layer->in.count;
        if (mean)
            call->ops->channel_square_sum(&rows, pass->m, pass->sums[p], from, mean);
        else
            call->ops->channel_sum(&rows, pass->m, pass->sums[p], from);
    }
    return pass->finish_sums(pass->context, channels(layer, 0).C);
}

/* The running variance is unbiased: n / (n - 1) times that of the batch. */
static void move_averages(const struct ls_layer *layer, const struct ls_layer_call *call,
                          const float *square_sum)
{
    const struct ls_channels shape = channels(layer, call->B);
    const ptrdiff_t C = shape.C;
    const int64_t n = call->pass->global_batch * shape.P;
    float *running_mean = call->pass->state + call->tensors[RUNNING_MEAN].offset;
    float *running_variance = call->pass->state + call->tensors[RUNNING_VARIANCE].offset;
    call->ops->blend(C, running_mean, call->aux + MEAN * C, layer->momentum);
    call->ops->scale(C, call->aux + SCRATCH * C, square_sum, 1.0f / (float)(n > 1 ? n - 1 : 1));
    call->ops->blend(C, running_variance, call->aux + SCRATCH * C, layer->momentum);
}

static void use_batch(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x)
{
    const struct ls_channels shape = channels(layer, call->B);
    const ptrdiff_t C = shape.C;
    const float r = reciprocal(&shape, call->pass);
    call->ops->scale(C, call->aux + MEAN * C, sum_parts(layer, call, x, NULL), r);
    const float *square_sum = sum_parts(layer, call, x, call->aux + MEAN * C);
    call->ops->channel_deviation(C, call->aux + SCRATCH * C, call->aux + INVERSE * C, square_sum, r,
                                 layer->epsilon);
    if (call->pass->state)
        move_averages(layer, call, square_sum);
}

static void use_averages(const struct ls_layer *layer, const struct ls_layer_call *call)
{
    const ptrdiff_t C = channels(layer, call->B).C;
    call->ops->scale(C, call->aux + MEAN * C, parameter(call, RUNNING_MEAN), 1.0f);
    call->ops->channel_deviation(C, call->aux + SCRATCH * C, call->aux + INVERSE * C,
                                 parameter(call, RUNNING_VARIANCE), 1.0f, layer->epsilon);
}

static void forward(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also)
{
    const struct ls_channels shape = channels(layer, call->B);
    if (call->pass)
        use_batch(layer, call, x);
    else
        use_averages(layer, call);
    call->ops->batchnorm_forward(&shape, y, x, call->aux + MEAN * shape.C, call->aux + INVERSE * shape.C,
                                 parameter(call, GAMMA), parameter(call, BETA), also,
                                 also ? call->add_activation : layer->activation);
}

/* The parts' sums are this layer's gradient, and at the same time what the input gradient needs of the whole
 * batch. */
static void weight_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x,
                            const float *dy)
{
    const struct ls_pass *pass = call->pass;
    const ptrdiff_t C = channels(layer, 0).C;
    for (int p = 0; p < pass->n_parts; p++) {
        const struct ls_gradient_part *part = &pass->parts[p];
        const struct ls_channels rows = channels(layer, part->end - part->begin);
        float *dgamma = part->flat + call->tensors[GAMMA].offset;
        float *dbeta = part->flat + call->tensors[BETA].offset;
        call->ops->batchnorm_sums(&rows, pass->m, dgamma, dbeta, dy + part->begin * layer->out.count,
                                  x + part->begin * layer->in.count, call->aux + MEAN * C,
                                  call->aux + INVERSE * C);
        memcpy(pass->sums[p], dgamma, (size_t)C * sizeof(float));
        memcpy(pass->sums[p] + C, dbeta, (size_t)C * sizeof(float));
        for (int t = RUNNING_MEAN; t <= RUNNING_VARIANCE; t++)
            memset(part->flat + call->tensors[t].offset, 0, (size_t)C * sizeof(float));
    }
}

static void input_gradient(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation)
{
    (void)y;
    (void)x_activation;
    const struct ls_channels shape = channels(layer, call->B);
    const ptrdiff_t C = shape.C;
    const float *sums = call->pass->finish_sums(call->pass->context, 2 * C);
    call->ops->batchnorm_input_gradient(&shape, dx, dy, x, call->aux + MEAN * C, call->aux + INVERSE * C,
                                        parameter(call, GAMMA), sums, sums + C,
                                        reciprocal(&shape, call->pass));
}

const struct ls_layer_kind ls_layer_batchnorm = {
    .name = "batchnorm",
    .usage = "batchnorm [momentum M] [epsilon E]",
    .order = LS_ORDER_CHANNELS_LAST,
    .fuses_activation = 1,
    .fuses_add = 1,
    .across_samples = 1,
    .configure = configure,
    .infer = infer,
    .forward = forward,
    .weight_gradient = weight_gradient,
    .input_gradient = input_gradient,
};
