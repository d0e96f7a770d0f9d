/* Sums over channels and both normalisations against the serial oracle, bit for bit, and against formulas in
 * binary64. */
#include <stdio.h>

#include "implementations.h"

static const ptrdiff_t widths[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 130};
static const ptrdiff_t leaves[] = {1, 2, 3, 4, 16, 32, 33, 1000};

/* Positive and finite, as the inverse of a deviation is. */
static float *positives(ptrdiff_t n)
{
    float *v = values(n, 0);
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = v[i] * 0.5f + 1.0f;
    return v;
}

static void check_sums(struct ls_channels s, ptrdiff_t m, int special)
{
    const ptrdiff_t n = s.B * s.P * s.C;
    float *x = values(n, special), *dz = values(n, special), *mean = values(s.C, 0),
          *inverse = positives(s.C);
    float *sum = unset(s.C), *squares = unset(s.C), *dgamma = unset(s.C), *dbeta = unset(s.C);
    ls_ops_serial.channel_sum(&s, m, sum, x);
    ls_ops_serial.channel_square_sum(&s, m, squares, x, mean);
    ls_ops_serial.batchnorm_sums(&s, m, dgamma, dbeta, dz, x, mean, inverse);
    char shape[100];
    snprintf(shape, sizeof shape, "B %td P %td C %td m %td special %d", s.B, s.P, s.C, m, special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(s.C), *other = unset(s.C);
        ops->channel_sum(&s, m, found, x);
        expect_same("sum", ops, threads, shape, s.C, found, sum);
        ops->channel_square_sum(&s, m, found, x, mean);
        expect_same("squares", ops, threads, shape, s.C, found, squares);
        ops->batchnorm_sums(&s, m, found, other, dz, x, mean, inverse);
        expect_same("dgamma", ops, threads, shape, s.C, found, dgamma);
        expect_same("dbeta", ops, threads, shape, s.C, other, dbeta);
        FREE(found, other);
    }
    FREE(x, dz, mean, inverse, sum, squares, dgamma, dbeta);
}

Test(ops_norm, channel_sums, .timeout = 120)
{
    for (size_t i = 0; i < 250; i++)
        check_sums((struct ls_channels){random_bits() % 70, 1 + random_bits() % 9, widths[i % COUNT(widths)]},
                   leaves[random_bits() % COUNT(leaves)], (int)(i % 3));
    check_sums((struct ls_channels){0, 4, 17}, 32, 0);
    check_sums((struct ls_channels){3, 0, 17}, 32, 0);
    check_sums((struct ls_channels){333, 1, 16}, 1, 0);
    check_sums((struct ls_channels){300, 5, 33}, 2, 0);
    check_sums((struct ls_channels){9, 1, 20000}, 1, 0);
    check_sums((struct ls_channels){64, 100, 16}, 16, 0);
}

static void check_batchnorm(struct ls_channels s, enum ls_activation act, int special)
{
    const ptrdiff_t n = s.B * s.P * s.C;
    float *x = values(n, special), *dz = values(n, special), *also = values(n, special), *sum = unset(n),
          *mean = values(s.C, 0), *inverse = positives(s.C);
    float *gamma = values(s.C, special), *beta = values(s.C, special), *dzh = values(s.C, 0),
          *sums = values(s.C, special);
    float *y = unset(n), *dx = unset(n), *variance = unset(s.C), *deviation = unset(s.C);
    const float r = 1.0f / (float)(s.B * s.P + 1);
    ls_ops_serial.batchnorm_forward(&s, y, x, mean, inverse, gamma, beta, NULL, act);
    ls_ops_serial.batchnorm_forward(&s, sum, x, mean, inverse, gamma, beta, NULL, LS_ACT_NONE);
    ls_ops_serial.add(act, n, sum, sum, also);
    ls_ops_serial.batchnorm_input_gradient(&s, dx, dz, x, mean, inverse, gamma, dzh, sums, r);
    ls_ops_serial.channel_deviation(s.C, variance, deviation, sums, r, 1e-5f);
    float *at_once = unset(n);
    ls_ops_serial.batchnorm_forward(&s, at_once, x, mean, inverse, gamma, beta, also, act);
    char shape[100];
    expect_same("y and another", &ls_ops_serial, 1, "at once", n, at_once, sum);
    free(at_once);
    snprintf(shape, sizeof shape, "B %td P %td C %td activation %d special %d", s.B, s.P, s.C, (int)act,
             special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(n), *in_place = copy_of(n, x), *v = unset(s.C), *d = unset(s.C);
        ops->batchnorm_forward(&s, found, x, mean, inverse, gamma, beta, also, act);
        expect_same("y and another", ops, threads, shape, n, found, sum);
        ops->batchnorm_forward(&s, found, x, mean, inverse, gamma, beta, NULL, act);
        expect_same("y", ops, threads, shape, n, found, y);
        ops->batchnorm_forward(&s, in_place, in_place, mean, inverse, gamma, beta, NULL, act);
        expect_same("y in place", ops, threads, shape, n, in_place, y);
        ops->batchnorm_input_gradient(&s, found, dz, x, mean, inverse, gamma, dzh, sums, r);
        expect_same("dx", ops, threads, shape, n, found, dx);
        memcpy(in_place, dz, (size_t)n * sizeof *dz);
        ops->batchnorm_input_gradient(&s, in_place, in_place, x, mean, inverse, gamma, dzh, sums, r);
        expect_same("dx in place", ops, threads, shape, n, in_place, dx);
        ops->channel_deviation(s.C, v, d, sums, r, 1e-5f);
        expect_same("variance", ops, threads, shape, s.C, v, variance);
        expect_same("inverse", ops, threads, shape, s.C, d, deviation);
        memcpy(v, sums, (size_t)s.C * sizeof *v);
        ops->channel_deviation(s.C, v, d, v, r, 1e-5f);
        expect_same("variance in place", ops, threads, shape, s.C, v, variance);
        FREE(found, in_place, v, d);
    }
    FREE(x, dz, also, sum, mean, inverse, gamma, beta, dzh, sums, y, dx, variance, deviation);
}

Test(ops_norm, batchnorm, .timeout = 120)
{
    for (size_t i = 0; i < 200; i++)
        check_batchnorm(
            (struct ls_channels){random_bits() % 20, 1 + random_bits() % 12, widths[i % COUNT(widths)]},
            (enum ls_activation)(random_bits() % 4), (int)(i % 3));
    check_batchnorm((struct ls_channels){2, 3, 5000}, LS_ACT_TANH, 0);
    check_batchnorm((struct ls_channels){40, 100, 16}, LS_ACT_RELU, 0);
}

static void check_layernorm(ptrdiff_t B, ptrdiff_t K, ptrdiff_t m, int special)
{
    float *x = values(B * K, special), *dz = values(B * K, special), *gamma = values(K, special),
          *beta = values(K, 0);
    float *y = unset(B * K), *statistics = unset(2 * B), *dx = unset(B * K), *dgamma = unset(K),
          *dbeta = unset(K);
    ls_ops_serial.layernorm_forward(B, K, y, statistics, x, gamma, beta, 1e-5f);
    ls_ops_serial.layernorm_input_gradient(B, K, dx, dz, x, statistics, gamma);
    ls_ops_serial.layernorm_weight_gradient(B, K, m, dgamma, dbeta, dz, x, statistics);
    char shape[100];
    snprintf(shape, sizeof shape, "B %td K %td m %td special %d", B, K, m, special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(B * K), *pairs = unset(2 * B), *in_place = copy_of(B * K, dz), *a = unset(K),
              *b = unset(K);
        ops->layernorm_forward(B, K, found, pairs, x, gamma, beta, 1e-5f);
        expect_same("y", ops, threads, shape, B * K, found, y);
        expect_same("statistics", ops, threads, shape, 2 * B, pairs, statistics);
        ops->layernorm_input_gradient(B, K, found, dz, x, statistics, gamma);
        expect_same("dx", ops, threads, shape, B * K, found, dx);
        ops->layernorm_input_gradient(B, K, in_place, in_place, x, statistics, gamma);
        expect_same("dx in place", ops, threads, shape, B * K, in_place, dx);
        ops->layernorm_weight_gradient(B, K, m, a, b, dz, x, statistics);
        expect_same("dgamma", ops, threads, shape, K, a, dgamma);
        expect_same("dbeta", ops, threads, shape, K, b, dbeta);
        FREE(found, pairs, in_place, a, b);
    }
    FREE(x, dz, gamma, beta, y, statistics, dx, dgamma, dbeta);
}

Test(ops_norm, layernorm, .timeout = 120)
{
    for (size_t i = 0; i < 200; i++)
        check_layernorm(random_bits() % 40, widths[i % COUNT(widths)], leaves[random_bits() % COUNT(leaves)],
                        (int)(i % 3));
    static const ptrdiff_t wide[] = {4095, 4096, 4097, 4112, 9000};
    for (size_t i = 0; i < COUNT(wide); i++)
        check_layernorm(3, wide[i], 2, 0);
    check_layernorm(300, 17, 1, 0);
}

/* The oracle is checked, too: a normalised batch has mean beta and deviation gamma, and the gradient is that
 * of finite differences of sum(y * dy) in the formulas of binary64. */
static double normalised(ptrdiff_t n, const double *x, const float *dz, double gamma)
{
    double mean = 0, square = 0, sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        mean += x[i] / (double)n;
    for (ptrdiff_t i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += (double)dz[i] * gamma * (x[i] - mean) / sqrt(square + 1e-5);
    return sum;
}

static void expect_gradient(ptrdiff_t n, const float *x, const float *dz, float gamma, const float *dx)
{
    double moved[16];
    for (ptrdiff_t i = 0; i < n; i++)
        moved[i] = (double)x[i];
    for (ptrdiff_t i = 0; i < n; i++) {
        moved[i] = (double)x[i] + 1e-6;
        const double up = normalised(n, moved, dz, (double)gamma);
        moved[i] = (double)x[i] - 1e-6;
        const double down = normalised(n, moved, dz, (double)gamma), slope = (up - down) / 2e-6;
        moved[i] = (double)x[i];
        cr_assert(fabs(slope - (double)dx[i]) < 1e-5 * (1 + fabs(slope)), "dx[%td] = %g, not %g", i,
                  (double)dx[i], slope);
    }
}

Test(ops_norm, gradients_are_slopes)
{
    enum { N = 12 };
    const struct ls_ops *o = &ls_ops_serial;
    const struct ls_channels s = {4, 3, 1};
    const float r = 1.0f / N, gamma[] = {1.5f}, beta[] = {0.25f};
    float *x = values(N, 0), *dz = values(N, 0), dx[N], y[N], mean[1], inverse[1], a[1], b[1];
    o->channel_sum(&s, 2, mean, x);
    mean[0] *= r;
    o->channel_square_sum(&s, 2, a, x, mean);
    o->channel_deviation(1, a, inverse, a, r, 1e-5f);
    o->batchnorm_forward(&s, y, x, mean, inverse, gamma, beta, NULL, LS_ACT_NONE);
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += (double)y[i];
    cr_assert(fabs(sum / N - 0.25) < 1e-6);
    o->batchnorm_sums(&s, 2, a, b, dz, x, mean, inverse);
    o->batchnorm_input_gradient(&s, dx, dz, x, mean, inverse, gamma, a, b, r);
    expect_gradient(N, x, dz, gamma[0], dx);
    float wide_gamma[N], wide_beta[N], statistics[2];
    for (int i = 0; i < N; i++) {
        wide_gamma[i] = 1.5f;
        wide_beta[i] = 0.0f;
    }
    o->layernorm_forward(1, N, y, statistics, x, wide_gamma, wide_beta, 1e-5f);
    o->layernorm_input_gradient(1, N, dx, dz, x, statistics, wide_gamma);
    expect_gradient(N, x, dz, gamma[0], dx);
    FREE(x, dz);
}
