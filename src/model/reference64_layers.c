/* Owns every kind of layer in binary64, in its textbook form; images are (B, C, H, W) whatever the net does
 * with them in memory. */
#include "model/reference64.h"

#include <math.h>

#include "base/philox.h"

/* One call: a layer and a whole batch. */
struct call {
    const struct ls_layer *layer;
    const struct ls_parameter *tensors; /* of this layer */
    ptrdiff_t B;
    double *y;
    const double *x, *also, *parameters;
};

static const double *tensor(const struct call *c, int t)
{
    return c->parameters + c->tensors[t].offset;
}

static double activate(const struct ls_layer *layer, double z)
{
    switch (layer->activation) {
    case LS_ACT_RELU:
        return z <= 0 ? 0 : z;
    case LS_ACT_TANH:
        return tanh(z);
    case LS_ACT_SIGMOID:
        return 1 / (1 + exp(-z));
    case LS_ACT_LEAKYRELU:
        return z <= 0 ? (double)layer->slope * z : z;
    case LS_ACT_GELU:
        return z * erfc(-z / sqrt(2)) / 2;
    case LS_ACT_SOFTPLUS:
        return fmax(z, 0) + log1p(exp(-fabs(z)));
    case LS_ACT_NONE:
        break;
    }
    return z;
}

static void activation(const struct call *c)
{
    for (ptrdiff_t i = 0; i < c->B * c->layer->out.count; i++)
        c->y[i] = activate(c->layer, c->x[i]);
}

static void add(const struct call *c)
{
    for (ptrdiff_t i = 0; i < c->B * c->layer->out.count; i++)
        c->y[i] = c->x[i] + c->also[i];
}

/* Weights (in, out). */
static void dense(const struct call *c)
{
    const ptrdiff_t K = c->layer->in.count, N = c->layer->out.count;
    const double *w = tensor(c, 0), *bias = c->layer->bias ? tensor(c, 1) : NULL;
    for (ptrdiff_t b = 0; b < c->B; b++)
        for (ptrdiff_t j = 0; j < N; j++) {
            double z = bias ? bias[j] : 0;
            for (ptrdiff_t k = 0; k < K; k++)
                z += c->x[b * K + k] * w[k * N + j];
            c->y[b * N + j] = z;
        }
}

/* The tap (ky, kx) of output (oy, ox) in a plane (H, W); NULL in the padding. */
static const double *tap(const struct ls_window *at, const double *plane, ptrdiff_t oy, ptrdiff_t ox,
                         ptrdiff_t ky, ptrdiff_t kx)
{
    const ptrdiff_t row = oy * at->SY + ky - at->PY, column = ox * at->SX + kx - at->PX;
    if (row < 0 || row >= at->H || column < 0 || column >= at->W)
        return NULL;
    return plane + row * at->W + column;
}

/* One output of output channel j, from the image of one sample.  Weights (C/G * KH * KW, N). */
static double conv_output(const struct ls_conv_shape *conv, const double *image, const double *w, ptrdiff_t j,
                          ptrdiff_t oy, ptrdiff_t ox)
{
    const struct ls_window *at = &conv->at;
    const ptrdiff_t C = at->C / conv->G, first = j / (conv->N / conv->G) * C;
    double sum = 0;
    for (ptrdiff_t c = 0; c < C; c++)
        for (ptrdiff_t ky = 0; ky < at->KH; ky++)
            for (ptrdiff_t kx = 0; kx < at->KW; kx++) {
                const double *v = tap(at, image + (first + c) * at->H * at->W, oy, ox, ky, kx);
                sum += v ? *v * w[((c * at->KH + ky) * at->KW + kx) * conv->N + j] : 0;
            }
    return sum;
}

static void conv(const struct call *c)
{
    const struct ls_conv_shape *shape = &c->layer->conv;
    const struct ls_window *at = &shape->at;
    const double *bias = c->layer->bias ? tensor(c, 1) : NULL;
    double *y = c->y;
    for (ptrdiff_t b = 0; b < c->B; b++)
        for (ptrdiff_t j = 0; j < shape->N; j++)
            for (ptrdiff_t oy = 0; oy < at->OH; oy++)
                for (ptrdiff_t ox = 0; ox < at->OW; ox++)
                    *y++ = (bias ? bias[j] : 0) +
                           conv_output(shape, c->x + b * c->layer->in.count, tensor(c, 0), j, oy, ox);
}

static double largest_tap(const struct ls_window *at, const double *plane, ptrdiff_t oy, ptrdiff_t ox)
{
    double top = -INFINITY;
    for (ptrdiff_t ky = 0; ky < at->KH; ky++)
        for (ptrdiff_t kx = 0; kx < at->KW; kx++) {
            const double *v = tap(at, plane, oy, ox, ky, kx);
            top = v && *v > top ? *v : top;
        }
    return top;
}

/* Over all taps of the window: padding counts as 0. */
static double mean_tap(const struct ls_window *at, const double *plane, ptrdiff_t oy, ptrdiff_t ox)
{
    double sum = 0;
    for (ptrdiff_t ky = 0; ky < at->KH; ky++)
        for (ptrdiff_t kx = 0; kx < at->KW; kx++) {
            const double *v = tap(at, plane, oy, ox, ky, kx);
            sum += v ? *v : 0;
        }
    return sum / (double)(at->KH * at->KW);
}

static void pool(const struct call *c)
{
    const struct ls_window *at = &c->layer->conv.at;
    const int largest = c->layer->kind == &ls_layer_maxpool;
    double *y = c->y;
    for (ptrdiff_t plane = 0; plane < c->B * at->C; plane++)
        for (ptrdiff_t oy = 0; oy < at->OH; oy++)
            for (ptrdiff_t ox = 0; ox < at->OW; ox++)
                *y++ = (largest ? largest_tap : mean_tap)(at, c->x + plane * at->H * at->W, oy, ox);
}

/* y[i] = gamma[i * step] * (x[i] - mean) / deviation + beta[i * step], for the n numbers of one plane or row.
 */
static void normalise(ptrdiff_t n, double *y, const double *x, double mean, double variance, double epsilon,
                      const double *gamma, const double *beta, ptrdiff_t step)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = gamma[i * step] * (x[i] - mean) / sqrt(variance + epsilon) + beta[i * step];
}

/* Mean and variance of channel k, over the batch and its pixels. */
static void channel_moments(const struct call *c, ptrdiff_t C, ptrdiff_t P, ptrdiff_t k, double *mean,
                            double *variance)
{
    const double n = (double)(c->B * P);
    double sum = 0, squares = 0;
    for (ptrdiff_t b = 0; b < c->B; b++)
        for (ptrdiff_t p = 0; p < P; p++)
            sum += c->x[(b * C + k) * P + p];
    *mean = sum / n;
    for (ptrdiff_t b = 0; b < c->B; b++)
        for (ptrdiff_t p = 0; p < P; p++)
            squares += pow(c->x[(b * C + k) * P + p] - *mean, 2);
    *variance = squares / n;
}

static void batchnorm(const struct call *c)
{
    const struct ls_image image = ls_shape_image(&c->layer->in);
    const ptrdiff_t C = image.C, P = image.H * image.W;
    for (ptrdiff_t k = 0; k < C; k++) {
        double mean, variance;
        channel_moments(c, C, P, k, &mean, &variance);
        for (ptrdiff_t b = 0; b < c->B; b++) {
            const ptrdiff_t plane = (b * C + k) * P;
            normalise(P, c->y + plane, c->x + plane, mean, variance, (double)c->layer->epsilon,
                      tensor(c, 0) + k, tensor(c, 1) + k, 0);
        }
    }
}

static void layernorm(const struct call *c)
{
    const ptrdiff_t K = c->layer->in.count;
    for (ptrdiff_t b = 0; b < c->B; b++) {
        const double *x = c->x + b * K;
        double sum = 0, squares = 0;
        for (ptrdiff_t k = 0; k < K; k++)
            sum += x[k];
        const double mean = sum / (double)K;
        for (ptrdiff_t k = 0; k < K; k++)
            squares += pow(x[k] - mean, 2);
        normalise(K, c->y + b * K, x, mean, squares / (double)K, (double)c->layer->epsilon, tensor(c, 0),
                  tensor(c, 1), 1);
    }
}

static void softmax(const struct call *c)
{
    const ptrdiff_t K = c->layer->in.count;
    for (ptrdiff_t b = 0; b < c->B; b++) {
        double top = -INFINITY, sum = 0;
        for (ptrdiff_t k = 0; k < K; k++)
            top = fmax(top, c->x[b * K + k]);
        for (ptrdiff_t k = 0; k < K; k++)
            sum += c->y[b * K + k] = exp(c->x[b * K + k] - top);
        for (ptrdiff_t k = 0; k < K; k++)
            c->y[b * K + k] /= sum;
    }
}

/* The key counts a sample's numbers as they lie in memory: of an image, channels first or last. */
static uint32_t random_word(const struct ls_layer *layer, ptrdiff_t b, ptrdiff_t k)
{
    const struct ls_image image = ls_shape_image(&layer->in);
    const ptrdiff_t P = image.H * image.W;
    const ptrdiff_t place = layer->order == LS_ORDER_CHANNELS_LAST ? k % P * image.C + k / P : k;
    const uint64_t i = (uint64_t)(b * layer->in.count + place);
    return ls_random(0, LS_PURPOSE_DROPOUT, (uint64_t)layer->place, i / 4).word[i % 4];
}

static void dropout(const struct call *c)
{
    const ptrdiff_t K = c->layer->in.count;
    const double rate = (double)c->layer->rate;
    for (ptrdiff_t b = 0; b < c->B; b++)
        for (ptrdiff_t k = 0; k < K; k++) {
            const int kept = random_word(c->layer, b, k) >= (uint32_t)floor(rate * 0x1p32);
            c->y[b * K + k] = kept ? c->x[b * K + k] / (1 - rate) : 0;
        }
}

void ls_reference64_layer(const struct ls_layer *layer, const struct ls_parameter *first_tensor, ptrdiff_t B,
                          double *y, const double *x, const double *also, const double *parameters)
{
    static const struct {
        const struct ls_layer_kind *kind;
        void (*forward)(const struct call *c);
    } kinds[] = {
        {&ls_layer_dense, dense},         {&ls_layer_conv, conv},
        {&ls_layer_maxpool, pool},        {&ls_layer_avgpool, pool},
        {&ls_layer_globalavgpool, pool},  {&ls_layer_batchnorm, batchnorm},
        {&ls_layer_layernorm, layernorm}, {&ls_layer_softmax, softmax},
        {&ls_layer_dropout, dropout},     {&ls_layer_add, add},
        {&ls_layer_relu, activation},     {&ls_layer_tanh, activation},
        {&ls_layer_sigmoid, activation},  {&ls_layer_leakyrelu, activation},
        {&ls_layer_gelu, activation},     {&ls_layer_softplus, activation},
    };
    const struct call c = {layer, first_tensor, B, y, x, also, parameters};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].kind == layer->kind) {
            kinds[i].forward(&c);
            return;
        }
    for (ptrdiff_t i = 0; i < B * layer->out.count; i++) /* a kind not known here fails every check */
        y[i] = NAN;
}
