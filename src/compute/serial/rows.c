/* The oracle's operations on whole rows: layer normalisation and softmax. */
#include "compute/serial/serial.h"

#include "base/contract.h"
#include "base/elementary.h"
#include "compute/serial/row_sum.h"

void ls_serial_layernorm_forward(ptrdiff_t B, ptrdiff_t K, float *y, float *statistics, const float *x,
                                 const float *gamma, const float *beta, float epsilon)
{
    const float r = 1.0f / (float)K;
    for (ptrdiff_t b = 0; b < B; b++, x += K, y += K) {
        const float mean = ls_lanesum(x, K) * r;
        struct row_sum squares = {.count = 0};
        for (ptrdiff_t k = 0; k < K; k++)
            row_sum_add(&squares, (x[k] - mean) * (x[k] - mean));
        const float variance = row_sum_end(&squares) * r;
        const float inverse = 1.0f / __builtin_sqrtf(variance + epsilon);
        for (ptrdiff_t k = 0; k < K; k++)
            y[k] = ls_fma((x[k] - mean) * inverse, gamma[k], beta[k]);
        statistics[2 * b] = mean;
        statistics[2 * b + 1] = inverse;
    }
}

void ls_serial_layernorm_input_gradient(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dz, const float *x,
                                        const float *statistics, const float *gamma)
{
    const float r = 1.0f / (float)K;
    for (ptrdiff_t b = 0; b < B; b++, dx += K, dz += K, x += K) {
        const float mean = statistics[2 * b], inverse = statistics[2 * b + 1];
        struct row_sum plain = {.count = 0}, weighted = {.count = 0};
        for (ptrdiff_t k = 0; k < K; k++) {
            const float h = (x[k] - mean) * inverse, g = dz[k] * gamma[k];
            row_sum_add(&plain, g);
            row_sum_add(&weighted, g * h);
        }
        const float s = row_sum_end(&plain) * r, t = row_sum_end(&weighted) * r;
        for (ptrdiff_t k = 0; k < K; k++) {
            const float h = (x[k] - mean) * inverse, g = dz[k] * gamma[k];
            dx[k] = inverse * ls_fma(-h, t, g - s);
        }
    }
}

void ls_serial_layernorm_weight_gradient(ptrdiff_t B, ptrdiff_t K, ptrdiff_t m, float *dgamma, float *dbeta,
                                         const float *dz, const float *x, const float *statistics)
{
    for (ptrdiff_t k = 0; k < K; k++) {
        struct ls_tree scales = {.count = 0}, shifts = {.count = 0};
        for (ptrdiff_t first = 0; first < B; first += m) {
            const ptrdiff_t end = ls_serial_leaf_end(first, m, B);
            float scale = 0.0f, shift = 0.0f;
            for (ptrdiff_t b = first; b < end; b++) {
                const float h = (x[b * K + k] - statistics[2 * b]) * statistics[2 * b + 1];
                scale = ls_fma(dz[b * K + k], h, scale);
                shift = ls_fma(dz[b * K + k], 1.0f, shift);
            }
            ls_tree_push(&scales, scale);
            ls_tree_push(&shifts, shift);
        }
        dgamma[k] = ls_tree_sum(&scales);
        dbeta[k] = ls_tree_sum(&shifts);
    }
}

void ls_serial_softmax_forward(ptrdiff_t B, ptrdiff_t K, float *y, const float *x)
{
    for (ptrdiff_t b = 0; b < B; b++, y += K, x += K) {
        float top = x[0];
        for (ptrdiff_t k = 1; k < K; k++)
            if (x[k] > top)
                top = x[k];
        for (ptrdiff_t k = 0; k < K; k++)
            y[k] = ls_exp(x[k] - top);
        const float sum = ls_lanesum(y, K);
        for (ptrdiff_t k = 0; k < K; k++)
            y[k] = y[k] / sum;
    }
}

void ls_serial_softmax_backward(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dy, const float *y)
{
    for (ptrdiff_t b = 0; b < B; b++, dx += K, dy += K, y += K) {
        struct row_sum product = {.count = 0};
        for (ptrdiff_t k = 0; k < K; k++)
            row_sum_add(&product, dy[k] * y[k]);
        const float sum = row_sum_end(&product);
        for (ptrdiff_t k = 0; k < K; k++)
            dx[k] = y[k] * (dy[k] - sum);
    }
}
