/* The gradient check for every kind of layer and the graphs they make: right operations pass on the oracle
 * and on every ISA, and of wrong ones the tensors below are reported, and no others. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "train/gradcheck.h"

enum { B = 7, MICROBATCH = 3, LIMIT_S = 60, MOST_IN = 1000, MOST_OUT = 16, SOME = 24 };

static const double tolerance = 1e-4; /* a tenth of the command's default */
static struct ls_error err;
static struct ls_gradcheck_report report;

struct problem {
    struct ls_net net;
    struct ls_loss_rule loss;
    float *parameters;
    float x[B * MOST_IN], values[B * MOST_OUT];
    int32_t labels[B];
};

/* In (-1, 1): no two numbers of a window are alike, none is near a kink. */
static float number(uint64_t stream, uint64_t i)
{
    return 2.0f * ls_uniform(ls_random(11, LS_PURPOSE_SYNTHETIC, stream, i).word[0]) - 1.0f;
}

/* Norms and biases do not start where a gradient is special. */
static void stir(struct problem *p)
{
    for (int t = 0; t < p->net.n_tensors; t++) {
        const struct ls_parameter *tensor = &p->net.tensors[t];
        for (ptrdiff_t i = 0; (tensor->is_bias || tensor->is_norm) && i < tensor->count; i++)
            p->parameters[tensor->offset + i] += 0.3f * number((uint64_t)t + 2, (uint64_t)i);
    }
}

static struct problem *problem_create(const char *net, struct ls_shape in, enum ls_loss loss)
{
    const struct ls_init init = {.kind = LS_INIT_XAVIER};
    struct problem *p = calloc(1, sizeof *p);
    cr_assert(ls_net_create(&p->net, net, in, &err) == LS_OK, "'%s': %s", net, err.text);
    cr_assert(p->net.out.count <= MOST_OUT && in.count <= MOST_IN);
    p->loss.kind = loss;
    p->parameters = calloc((size_t)p->net.n_floats, sizeof(float));
    ls_net_initialise(&p->net, &init, 3, p->parameters);
    stir(p);
    for (ptrdiff_t i = 0; i < B * in.count; i++)
        p->x[i] = number(0, (uint64_t)i);
    for (ptrdiff_t i = 0; i < B * MOST_OUT; i++)
        p->values[i] = number(1, (uint64_t)i);
    for (ptrdiff_t b = 0; b < B; b++)
        p->labels[b] = (int32_t)(5 * b % p->net.out.count);
    return p;
}

static void problem_destroy(struct problem *p)
{
    ls_net_release(&p->net);
    free(p->parameters);
    free(p);
}

static void check(const struct problem *p, const struct ls_ops *ops)
{
    const int labels = p->loss.kind == LS_LOSS_SOFTMAX;
    const struct ls_gradcheck_case one = {
        .net = &p->net,
        .ops = ops,
        .loss = p->loss,
        .parameters = p->parameters,
        .B = B,
        .x = p->x,
        .targets = {.labels = labels ? p->labels : NULL, .values = labels ? NULL : p->values},
        .microbatch = MICROBATCH,
        .h = 1e-5,
        .most_elements = SOME,
    };
    cr_assert(ls_gradcheck(&one, &report, &err) == LS_OK, "%s", err.text);
    cr_assert(report.n == p->net.n_tensors + 1);
}

/* --- right operations --- */

static void passes(const char *net, struct ls_shape in, enum ls_loss loss, const struct ls_ops *ops)
{
    struct problem *p = problem_create(net, in, loss);
    check(p, ops);
    for (int i = 0; i < report.n; i++) {
        const struct ls_gradcheck_result *r = &report.results[i];
        const int state = strstr(r->name, "running_") != NULL;
        cr_assert(r->is_state == state && (state ? r->n_checked == 0 : r->n_checked > 0), "%s", r->name);
        cr_assert(r->worst >= 0 && r->worst < tolerance,
                  "'%s' with %s: '%s' is off by %g at %td: %.9g, numerical %.9g", net, ops->name, r->name,
                  r->worst, r->worst_at, r->analytic, r->numerical);
    }
    ls_gradcheck_release(&report);
    problem_destroy(p);
}

struct net_case {
    const char *net;
    ptrdiff_t C, H, W;
    enum ls_loss loss;
};

static const struct net_case nets[] = {
    /* windows: strides, padding, groups, one pixel, not square */
    {"conv 4 3x3, flatten, dense 3", 2, 6, 5, LS_LOSS_SOFTMAX},
    {"conv 5 3x3 pad same nobias, tanh, conv 3 2x3 stride 2x1 pad 1x2, globalavgpool", 3, 6, 7,
     LS_LOSS_SOFTMAX},
    {"conv 6 3x3 stride 2 pad 1 groups 2, relu, conv 6 3x1 groups 3, dense 4", 4, 7, 7, LS_LOSS_SOFTMAX},
    {"conv 6 3x3 pad same depthwise, sigmoid, conv 4 1x1, globalavgpool", 3, 5, 5, LS_LOSS_SOFTMAX},
    {"conv 3 5x5 pad same, tanh, conv 2 4x4 stride 3 nobias, dense 3", 1, 8, 9, LS_LOSS_HALF_SQUARED},
    {"conv 17 1x1, relu, conv 2 3x3 stride 3, dense 5", 2, 6, 6, LS_LOSS_SOFTMAX},
    {"conv 3 3x3, relu, conv 2 2x3", 2, 5, 6, LS_LOSS_SQUARED}, /* an image comes out */
    {"conv 2 4x3, relu", 2, 6, 4, LS_LOSS_SQUARED},
    /* pools, which overlap, have padding, or leave pixels out */
    {"conv 4 3x3, maxpool 3x3 stride 2 pad 1, dense 3", 2, 8, 7, LS_LOSS_SOFTMAX},
    {"maxpool 2x2, conv 3 2x2, maxpool 2x1 stride 1, dense 3", 3, 9, 8, LS_LOSS_SOFTMAX},
    {"conv 3 3x3 pad same, residual { maxpool 3x3 stride 1 pad 1 }, dense 3", 2, 5, 6, LS_LOSS_SOFTMAX},
    {"conv 3 3x3 pad same, relu, residual { maxpool 1x1, conv 3 3x3 pad 1, tanh, maxpool 1x1 }, dense 3", 2,
     5, 6, LS_LOSS_SOFTMAX},
    {"avgpool 3x2 stride 2x1 pad 1, conv 4 2x2, avgpool 2x2, dense 3", 2, 8, 6, LS_LOSS_SOFTMAX},
    /* norms */
    {"conv 4 3x3 pad same nobias, batchnorm, relu, conv 3 3x3, batchnorm, globalavgpool, dense 3", 2, 6, 5,
     LS_LOSS_SOFTMAX},
    {"conv 4 3x3, batchnorm momentum 0.3 epsilon 0.01, tanh, batchnorm, dense 3", 2, 5, 5, LS_LOSS_SOFTMAX},
    {"layernorm, conv 3 3x3, layernorm epsilon 0.01, tanh, dense 4", 2, 6, 5, LS_LOSS_SOFTMAX},
    /* activations and softmax on images and behind dense layers */
    {"conv 4 3x3, leakyrelu, conv 4 2x2, gelu, conv 3 2x2, softplus, dense 4", 2, 7, 6, LS_LOSS_SOFTMAX},
    {"leakyrelu 0.2, dense 5, gelu, dense 4, leakyrelu 0, dense 4, softplus", 1, 4, 5, LS_LOSS_SQUARED},
    {"conv 3 2x2, softmax, dense 5, softmax", 2, 4, 4, LS_LOSS_SQUARED},
    /* dropout on images in both orders, behind dense, and in front of everything */
    {"dropout 0.2, conv 5 3x3, dropout 0.5, relu, conv 3 2x2, flatten, dropout 0.3, dense 6, dropout 0.9, "
     "dense 3",
     3, 6, 5, LS_LOSS_SOFTMAX},
    {"conv 3 2x2, layernorm, dropout 0.4, conv 3 2x2, dropout 0, globalavgpool", 2, 5, 5, LS_LOSS_SOFTMAX},
    /* graphs: identity, projection, inside one another, a value with three takers, the input as a shortcut */
    {"residual { conv 2 3x3 pad same, tanh, conv 2 3x3 pad same }, tanh, dense 3", 2, 5, 5, LS_LOSS_SOFTMAX},
    {"conv 4 3x3 pad same, batchnorm, relu, residual { conv 6 3x3 stride 2 pad same nobias, batchnorm, relu, "
     "conv 6 3x3 pad same nobias, batchnorm } shortcut { conv 6 1x1 stride 2 nobias, batchnorm }, relu, "
     "globalavgpool, dense 3",
     2, 6, 6, LS_LOSS_SOFTMAX},
    {"residual { residual { dense 6, tanh } shortcut { dense 6 nobias }, gelu, dense 6 } shortcut { dense 6 "
     "}, "
     "relu, residual { tanh }, dense 3",
     1, 3, 4, LS_LOSS_SOFTMAX},
    {"dense 6, residual { tanh, dense 6 }, dense 5, residual { dense 5 } shortcut { sigmoid }, dense 3", 1, 3,
     4, LS_LOSS_SOFTMAX},
    {"conv 3 3x3 pad same, relu, residual { residual { residual { gelu } } }, residual { layernorm } "
     "shortcut { "
     "maxpool 1x1 }, dense 3",
     2, 4, 4, LS_LOSS_SOFTMAX},
    {"conv 4 3x3 pad same, sigmoid, residual { dropout 0.5 } shortcut { conv 4 1x1 }, tanh, residual { "
     "avgpool 3x3 "
     "stride 1 pad 1, batchnorm, relu }, dense 4",
     2, 4, 5, LS_LOSS_SOFTMAX},
    {"residual { softplus, dense 7 } shortcut { residual { dense 7, relu } shortcut { dense 7, tanh } }, "
     "batchnorm, leakyrelu, dense 3",
     7, 1, 1, LS_LOSS_HALF_SQUARED},
};
enum { N_NETS = sizeof nets / sizeof nets[0] };

static void all_pass(const struct ls_ops *ops)
{
    for (int i = 0; i < N_NETS; i++) {
        const ptrdiff_t dims[] = {nets[i].C, nets[i].H, nets[i].W};
        passes(nets[i].net, ls_shape_of(3, dims), nets[i].loss, ops);
    }
}

Test(gradcheck_layers, pass_with_the_oracle, .timeout = LIMIT_S)
{
    all_pass(&ls_ops_serial);
}

Test(gradcheck_layers, pass_with_every_isa, .timeout = LIMIT_S)
{
    ls_ops_set_threads(2);
    for (const char *const *isa = ls_ops_isas(); *isa; isa++)
        all_pass(ls_ops_parallel(*isa));
}

/* --- one wrong operation --- */

/* Every tensor of `wrong` is above the tolerance, all others are below. */
static void reports(const char *what, const char *net, const struct ls_ops *ops, const char *const wrong[])
{
    const ptrdiff_t dims[] = {2, 7, 6};
    struct problem *p = problem_create(net, ls_shape_of(3, dims), LS_LOSS_SOFTMAX);
    check(p, ops);
    for (int i = 0; i < report.n; i++) {
        const struct ls_gradcheck_result *r = &report.results[i];
        int expected = 0;
        for (int w = 0; wrong[w]; w++)
            expected = expected || strcmp(wrong[w], r->name) == 0;
        if (expected)
            cr_expect(r->worst > 100 * tolerance, "%s: '%s' is off by only %g", what, r->name, r->worst);
        else
            cr_expect(r->worst < tolerance, "%s: '%s' is off by %g", what, r->name, r->worst);
    }
    ls_gradcheck_release(&report);
    problem_destroy(p);
}

#define TENSORS(...) ((const char *const[]){__VA_ARGS__, NULL})

static float *right_numbers(ptrdiff_t n)
{
    float *numbers = calloc((size_t)n, sizeof *numbers);
    cr_assert_not_null(numbers);
    return numbers;
}

/* The weights (c, ky, kx) taken as (c, kx, ky): right only for kernels that are symmetric. */
static void turned_conv_input_gradient(const struct ls_conv_shape *shape, float *dx, const float *dz,
                                       const float *w, enum ls_activation act, const float *x)
{
    const ptrdiff_t C = shape->at.C / shape->G, K = shape->at.KH, N = shape->N;
    float *turned = right_numbers(C * K * K * N);
    cr_assert(K == shape->at.KW);
    for (ptrdiff_t c = 0; c < C; c++)
        for (ptrdiff_t ky = 0; ky < K; ky++)
            for (ptrdiff_t kx = 0; kx < K; kx++)
                for (ptrdiff_t j = 0; j < N; j++)
                    turned[((c * K + ky) * K + kx) * N + j] = w[((c * K + kx) * K + ky) * N + j];
    ls_ops_serial.conv_input_gradient(shape, dx, dz, turned, act, x);
    free(turned);
}

/* The derivative of the activation below left out. */
static void forgetful_conv_input_gradient(const struct ls_conv_shape *shape, float *dx, const float *dz,
                                          const float *w, enum ls_activation act, const float *x)
{
    (void)act, (void)x;
    ls_ops_serial.conv_input_gradient(shape, dx, dz, w, LS_ACT_NONE, NULL);
}

/* The last row of taps left out: a wrong bound. */
static void short_conv_weight_gradient(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                       const float *x, const float *dz,
                                       const struct ls_maxpool_gradient *pool)
{
    const ptrdiff_t row = shape->at.KW * shape->N;
    ls_ops_serial.conv_weight_gradient(shape, m, dw, db, x, dz, pool);
    for (ptrdiff_t c = 0; c < shape->at.C / shape->G; c++)
        memset(dw + ((c + 1) * shape->at.KH - 1) * row, 0, (size_t)row * sizeof *dw);
}

static const char *const conv_net = "conv 4 3x3, tanh, conv 3 3x3 pad same, dense 3";

Test(gradcheck_layers, a_wrong_convolution_is_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.conv_input_gradient = turned_conv_input_gradient;
    reports("turned", conv_net, &ops, TENSORS("0.weight", "0.bias", "input"));
    ops.conv_input_gradient = forgetful_conv_input_gradient;
    reports("derivative", conv_net, &ops, TENSORS("0.weight", "0.bias", "input"));
    ops = ls_ops_serial;
    ops.conv_weight_gradient = short_conv_weight_gradient;
    reports("last taps", conv_net, &ops, TENSORS("0.weight", "2.weight"));
}

/* Every tap of a window gets the gradient, as if it were a sum. */
static void spread_maxpool_backward(const struct ls_window *window, float *dx, const float *dy,
                                    enum ls_activation act, const float *x)
{
    (void)act, (void)x;
    ls_ops_serial.avgpool_backward(window, dx, dy);
}

static void spread_conv_weight_gradient(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                        const float *x, const float *dz,
                                        const struct ls_maxpool_gradient *pool)
{
    if (pool)
        spread_maxpool_backward(&pool->at, pool->dx, pool->dy, pool->act, pool->x);
    ls_ops_serial.conv_weight_gradient(shape, m, dw, db, x, dz, NULL);
}

/* The factor of the mean forgotten. */
static void unscaled_avgpool_backward(const struct ls_window *window, float *dx, const float *dy)
{
    ls_ops_serial.avgpool_backward(window, dx, dy);
    for (ptrdiff_t i = 0; i < window->B * window->H * window->W * window->C; i++)
        dx[i] *= (float)(window->KH * window->KW);
}

Test(gradcheck_layers, a_wrong_pool_is_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.maxpool_backward = spread_maxpool_backward;
    reports("max", "conv 3 2x2, layernorm, maxpool 2x2, dense 3", &ops,
            TENSORS("0.weight", "0.bias", "1.weight", "1.bias", "input"));
    ops = ls_ops_serial;
    ops.conv_weight_gradient = spread_conv_weight_gradient;
    reports("max right behind", "conv 3 2x2, maxpool 2x2, dense 3", &ops, TENSORS("0.weight", "input"));
    ops = ls_ops_serial;
    ops.avgpool_backward = unscaled_avgpool_backward;
    reports("mean", "conv 3 2x2, avgpool 2x2 stride 1, dense 3", &ops,
            TENSORS("0.weight", "0.bias", "input"));
}

/* Mean and variance taken for constants. */
static void constant_statistics(const struct ls_channels *shape, float *dx, const float *dz, const float *x,
                                const float *mean, const float *inverse, const float *gamma,
                                const float *sum_dzh, const float *sum_dz, float r)
{
    (void)x, (void)mean, (void)sum_dzh, (void)sum_dz, (void)r;
    for (ptrdiff_t i = 0; i < shape->B * shape->P * shape->C; i++)
        dx[i] = dz[i] * gamma[i % shape->C] * inverse[i % shape->C];
}

/* Of x instead of the normalised x. */
static void uncentred_sums(const struct ls_channels *shape, ptrdiff_t m, float *dgamma, float *dbeta,
                           const float *dz, const float *x, const float *mean, const float *inverse)
{
    float *zero = right_numbers(shape->C);
    (void)mean;
    ls_ops_serial.batchnorm_sums(shape, m, dgamma, dbeta, dz, x, zero, inverse);
    free(zero);
}

/* Only the first leaf's variance. */
static void one_leaf_squares(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x,
                             const float *mean)
{
    struct ls_channels first = *shape;
    first.B = first.B < m ? first.B : m;
    ls_ops_serial.channel_square_sum(&first, m, sum, x, mean);
}

static const char *const batchnorm_net = "conv 4 3x3 nobias, batchnorm, relu, dense 3";

Test(gradcheck_layers, a_wrong_batchnorm_is_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.batchnorm_input_gradient = constant_statistics;
    reports("constants", batchnorm_net, &ops, TENSORS("0.weight", "input"));
    ops = ls_ops_serial;
    ops.batchnorm_sums = uncentred_sums;
    reports("uncentred", batchnorm_net, &ops, TENSORS("0.weight", "1.weight", "input"));
    ops = ls_ops_serial;
    ops.channel_square_sum = one_leaf_squares;
    reports("one leaf", batchnorm_net, &ops,
            TENSORS("0.weight", "1.weight", "1.bias", "3.weight", "3.bias", "input"));
}

/* Without the part that comes through the variance. */
static void layernorm_without_variance(ptrdiff_t rows, ptrdiff_t K, float *dx, const float *dz,
                                       const float *x, const float *statistics, const float *gamma)
{
    (void)x;
    for (ptrdiff_t b = 0; b < rows; b++) {
        float sum = 0.0f;
        for (ptrdiff_t k = 0; k < K; k++)
            sum += dz[b * K + k] * gamma[k];
        for (ptrdiff_t k = 0; k < K; k++)
            dx[b * K + k] = statistics[2 * b + 1] * (dz[b * K + k] * gamma[k] - sum / (float)K);
    }
}

static void layernorm_one_leaf(ptrdiff_t rows, ptrdiff_t K, ptrdiff_t m, float *dgamma, float *dbeta,
                               const float *dz, const float *x, const float *statistics)
{
    ls_ops_serial.layernorm_weight_gradient(rows < m ? rows : m, K, m, dgamma, dbeta, dz, x, statistics);
}

Test(gradcheck_layers, a_wrong_layernorm_is_reported, .timeout = LIMIT_S)
{
    static const char *const net = "conv 2 3x3, layernorm, tanh, dense 3";
    struct ls_ops ops = ls_ops_serial;
    ops.layernorm_input_gradient = layernorm_without_variance;
    reports("variance", net, &ops, TENSORS("0.weight", "0.bias", "input"));
    ops = ls_ops_serial;
    ops.layernorm_weight_gradient = layernorm_one_leaf;
    reports("one leaf", net, &ops, TENSORS("1.weight", "1.bias"));
}

/* Only the diagonal of softmax's Jacobian. */
static void diagonal_softmax(ptrdiff_t rows, ptrdiff_t K, float *dx, const float *dy, const float *y)
{
    for (ptrdiff_t i = 0; i < rows * K; i++)
        dx[i] = y[i] * (1.0f - y[i]) * dy[i];
}

/* Another mask backward than forward: every second call is one step on. */
static void forgetful_dropout(const struct ls_dropout *drop, ptrdiff_t rows, ptrdiff_t K, float *y,
                              const float *x)
{
    static int calls = 0;
    struct ls_dropout which = *drop;
    which.stream += (uint64_t)(calls++ % 2) << 16;
    ls_ops_serial.dropout(&which, rows, K, y, x);
}

/* gelu as z * sigmoid(1.702 z): near, and not the same. */
static void approximate_gelu(enum ls_activation act, float slope, ptrdiff_t n, float *dz, const float *dy,
                             const float *y)
{
    ls_ops_serial.activation_backward(act, slope, n, dz, dy, y);
    for (ptrdiff_t i = 0; act == LS_ACT_GELU && i < n; i++) {
        const float s = 1.0f / (1.0f + expf(-1.702f * y[i]));
        dz[i] = dy[i] * (s + 1.702f * y[i] * s * (1.0f - s));
    }
}

static void untransposed(ptrdiff_t rows, ptrdiff_t height, ptrdiff_t width, float *to, const float *from)
{
    memcpy(to, from, (size_t)(rows * height * width) * sizeof *to);
}

Test(gradcheck_layers, other_wrong_operations_are_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.softmax_backward = diagonal_softmax;
    reports("softmax", "dense 5, softmax, dense 3", &ops, TENSORS("0.weight", "0.bias", "input"));
    ops = ls_ops_serial;
    ops.dropout = forgetful_dropout;
    reports("dropout", "dense 9, dropout 0.5, dense 3", &ops, TENSORS("0.weight", "0.bias", "input"));
    ops = ls_ops_serial;
    ops.activation_backward = approximate_gelu;
    reports("gelu", "dense 9, gelu, dense 3", &ops, TENSORS("0.weight", "0.bias", "input"));
    ops = ls_ops_serial;
    ops.transpose = untransposed;
    reports("order", "conv 3 3x3, dense 3", &ops,
            TENSORS("0.weight", "0.bias", "1.weight", "1.bias", "input"));
}
