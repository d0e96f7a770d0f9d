/* The convolutions of struct ls_ops; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_CONV_H
#define LS_COMPUTE_PARALLEL_CONV_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_conv_forward)(const struct ls_conv_shape *shape, float *y, const float *x, const float *w,
                                 const float *bias, enum ls_activation act, const struct ls_maxpool *pool);
void LS_PER_ISA(ls_conv_input_gradient)(const struct ls_conv_shape *shape, float *dx, const float *dz,
                                        const float *w, enum ls_activation act, const float *x);
void LS_PER_ISA(ls_conv_weight_gradient)(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                         const float *x, const float *dz,
                                         const struct ls_maxpool_gradient *pool);

/* Whether a convolution is a dense layer of B * H * W samples. */
static inline int conv_is_dense(const struct ls_conv_shape *s)
{
    const struct ls_window *at = &s->at;
    return s->G == 1 && at->KH == 1 && at->KW == 1 && at->SY == 1 && at->SX == 1 && at->PY == 0 &&
           at->PX == 0;
}

/* Whether each group is one channel with one output: then SIMD runs over channels. */
static inline int conv_is_depthwise(const struct ls_conv_shape *s)
{
    return s->G == s->at.C && s->N == s->G && s->G > 1;
}

/* Nanoseconds on one core, guessed from 50 flops each. */
static inline double conv_ns(const struct ls_conv_shape *s)
{
    const struct ls_window *at = &s->at;
    return (double)at->B * (double)(at->OH * at->OW) * (double)(at->KH * at->KW) * (double)(at->C / s->G) *
           (double)s->N / 25.0;
}

#endif
