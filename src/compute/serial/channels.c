/* The oracle's sums over a channel, and batch normalisation from them. */
#include "compute/serial/serial.h"

#include "base/contract.h"

void ls_serial_channel_sum(const struct ls_channels *s, ptrdiff_t m, float *sum, const float *x)
{
    for (ptrdiff_t c = 0; c < s->C; c++) {
        struct ls_tree tree = {.count = 0};
        for (ptrdiff_t first = 0; first < s->B; first += m) {
            const ptrdiff_t end = ls_serial_leaf_end(first, m, s->B);
            float leaf = 0.0f;
            for (ptrdiff_t p = first * s->P; p < end * s->P; p++)
                leaf = ls_fma(x[p * s->C + c], 1.0f, leaf);
            ls_tree_push(&tree, leaf);
        }
        sum[c] = ls_tree_sum(&tree);
    }
}

void ls_serial_channel_square_sum(const struct ls_channels *s, ptrdiff_t m, float *sum, const float *x,
                                  const float *mean)
{
    for (ptrdiff_t c = 0; c < s->C; c++) {
        struct ls_tree tree = {.count = 0};
        for (ptrdiff_t first = 0; first < s->B; first += m) {
            const ptrdiff_t end = ls_serial_leaf_end(first, m, s->B);
            float leaf = 0.0f;
            for (ptrdiff_t p = first * s->P; p < end * s->P; p++) {
                const float d = x[p * s->C + c] - mean[c];
                leaf = ls_fma(d, d, leaf);
            }
            ls_tree_push(&tree, leaf);
        }
        sum[c] = ls_tree_sum(&tree);
    }
}

void ls_serial_channel_deviation(ptrdiff_t C, float *variance, float *inverse, const float *sum, float r,
                                 float epsilon)
{
    for (ptrdiff_t c = 0; c < C; c++) {
        variance[c] = sum[c] * r;
        inverse[c] = 1.0f / __builtin_sqrtf(variance[c] + epsilon);
    }
}

void ls_serial_batchnorm_forward(const struct ls_channels *s, float *y, const float *x, const float *mean,
                                 const float *inverse, const float *gamma, const float *beta,
                                 const float *also, enum ls_activation act)
{
    for (ptrdiff_t p = 0; p < s->B * s->P; p++)
        for (ptrdiff_t c = 0; c < s->C; c++) {
            const float h = (x[p * s->C + c] - mean[c]) * inverse[c];
            const float z = ls_fma(h, gamma[c], beta[c]);
            y[p * s->C + c] = also ? z + also[p * s->C + c] : z;
        }
    ls_serial_activation_forward(act, 0.0f, s->B * s->P * s->C, y, y);
}

void ls_serial_batchnorm_sums(const struct ls_channels *s, ptrdiff_t m, float *dgamma, float *dbeta,
                              const float *dz, const float *x, const float *mean, const float *inverse)
{
    for (ptrdiff_t c = 0; c < s->C; c++) {
        struct ls_tree scales = {.count = 0}, shifts = {.count = 0};
        for (ptrdiff_t first = 0; first < s->B; first += m) {
            const ptrdiff_t end = ls_serial_leaf_end(first, m, s->B);
            float scale = 0.0f, shift = 0.0f;
            for (ptrdiff_t p = first * s->P; p < end * s->P; p++) {
                const float h = (x[p * s->C + c] - mean[c]) * inverse[c];
                scale = ls_fma(dz[p * s->C + c], h, scale);
                shift = ls_fma(dz[p * s->C + c], 1.0f, shift);
            }
            ls_tree_push(&scales, scale);
            ls_tree_push(&shifts, shift);
        }
        dgamma[c] = ls_tree_sum(&scales);
        dbeta[c] = ls_tree_sum(&shifts);
    }
}

void ls_serial_batchnorm_input_gradient(const struct ls_channels *s, float *dx, const float *dz,
                                        const float *x, const float *mean, const float *inverse,
                                        const float *gamma, const float *sum_dzh, const float *sum_dz,
                                        float r)
{
    for (ptrdiff_t p = 0; p < s->B * s->P; p++)
        for (ptrdiff_t c = 0; c < s->C; c++) {
            const ptrdiff_t i = p * s->C + c;
            const float h = (x[i] - mean[c]) * inverse[c];
            dx[i] = (gamma[c] * inverse[c]) * ls_fma(-h, sum_dzh[c] * r, dz[i] - sum_dz[c] * r);
        }
}
