/* Elementwise operations of struct ls_ops; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_ELEMENTWISE_H
#define LS_COMPUTE_PARALLEL_ELEMENTWISE_H

#include "base/elementary.h"
#include "compute/ops.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_activation_forward)(enum ls_activation act, float slope, ptrdiff_t n, float *y,
                                       const float *z);
void LS_PER_ISA(ls_activation_backward)(enum ls_activation act, float slope, ptrdiff_t n, float *dz,
                                        const float *dy, const float *y);
void LS_PER_ISA(ls_dropout)(const struct ls_dropout *drop, ptrdiff_t B, ptrdiff_t K, float *y,
                            const float *x);
void LS_PER_ISA(ls_transpose)(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t columns, float *to, const float *from);
void LS_PER_ISA(ls_add)(enum ls_activation act, ptrdiff_t n, float *y, const float *a, const float *b);
void LS_PER_ISA(ls_add_backward)(enum ls_activation act, ptrdiff_t n, float *dz, const float *a,
                                 const float *b, const float *y);
void LS_PER_ISA(ls_blend)(ptrdiff_t n, float *average, const float *x, float weight);
void LS_PER_ISA(ls_scale)(ptrdiff_t n, float *y, const float *x, float factor);
void LS_PER_ISA(ls_scale_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const float *offset, const float *factor);
float LS_PER_ISA(ls_leaf_sum)(ptrdiff_t B, ptrdiff_t m, const float *v);
void LS_PER_ISA(ls_tree_add)(ptrdiff_t n, float *left, const float *right);

/* y[i] = act(z[i]) on this thread; y == z is allowed. */
static inline void activate(enum ls_activation act, float slope, ptrdiff_t n, float *y, const float *z)
{
    switch (act) {
    case LS_ACT_NONE:
        if (y != z)
            memcpy(y, z, (size_t)n * sizeof *y);
        break;
    case LS_ACT_RELU:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = z[i] <= 0.0f ? 0.0f : z[i];
        break;
    case LS_ACT_TANH:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = ls_tanh(z[i]);
        break;
    case LS_ACT_SIGMOID:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = ls_sigmoid(z[i]);
        break;
    case LS_ACT_LEAKYRELU:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = z[i] <= 0.0f ? slope * z[i] : z[i];
        break;
    case LS_ACT_GELU:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = z[i] * ls_fma(0.5f, ls_erf(z[i] * 0.70710678118f), 0.5f);
        break;
    case LS_ACT_SOFTPLUS:
        for (ptrdiff_t i = 0; i < n; i++) {
            const float positive = z[i] <= 0.0f ? 0.0f : z[i];
            const float magnitude = z[i] < 0.0f ? -z[i] : z[i];
            y[i] = positive + ls_log1p(ls_exp(-magnitude));
        }
        break;
    }
}

#endif
