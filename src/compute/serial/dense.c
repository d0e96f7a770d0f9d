/* The oracle's dense layer: the three formulas of compute/ops.h, one loop a sum. */
#include "compute/serial/serial.h"

#include "base/contract.h"

void ls_serial_dense_forward(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                             const float *bias, enum ls_activation act)
{
    for (ptrdiff_t b = 0; b < shape.B; b++)
        for (ptrdiff_t j = 0; j < shape.N; j++) {
            float z = bias ? bias[j] : 0.0f;
            for (ptrdiff_t k = 0; k < shape.K; k++)
                z = ls_fma(x[b * shape.K + k], w[k * shape.N + j], z);
            y[b * shape.N + j] = z;
        }
    ls_serial_activation_forward(act, 0.0f, shape.B * shape.N, y, y);
}

void ls_serial_dense_input_gradient(struct ls_dense_shape shape, float *dx, const float *dz, const float *w,
                                    enum ls_activation act, const float *x)
{
    for (ptrdiff_t b = 0; b < shape.B; b++)
        for (ptrdiff_t k = 0; k < shape.K; k++) {
            float sum = 0.0f;
            for (ptrdiff_t j = 0; j < shape.N; j++)
                sum = ls_fma(dz[b * shape.N + j], w[k * shape.N + j], sum);
            dx[b * shape.K + k] = sum;
        }
    ls_serial_activation_backward(act, 0.0f, shape.B * shape.K, dx, dx, x);
}

void ls_serial_dense_weight_gradient(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                     const float *x, const float *dz)
{
    for (ptrdiff_t k = 0; k < shape.K; k++)
        for (ptrdiff_t j = 0; j < shape.N; j++) {
            struct ls_tree tree = {.count = 0};
            for (ptrdiff_t first = 0; first < shape.B; first += m) {
                const ptrdiff_t end = ls_serial_leaf_end(first, m, shape.B);
                float leaf = 0.0f;
                for (ptrdiff_t b = first; b < end; b++)
                    leaf = ls_fma(x[b * shape.K + k], dz[b * shape.N + j], leaf);
                ls_tree_push(&tree, leaf);
            }
            dw[k * shape.N + j] = ls_tree_sum(&tree);
        }
    for (ptrdiff_t j = 0; db && j < shape.N; j++) {
        struct ls_tree tree = {.count = 0};
        for (ptrdiff_t first = 0; first < shape.B; first += m) {
            const ptrdiff_t end = ls_serial_leaf_end(first, m, shape.B);
            float leaf = 0.0f;
            for (ptrdiff_t b = first; b < end; b++)
                leaf = ls_fma(dz[b * shape.N + j], 1.0f, leaf);
            ls_tree_push(&tree, leaf);
        }
        db[j] = ls_tree_sum(&tree);
    }
}
