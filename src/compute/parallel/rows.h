/* Operations of struct ls_ops on whole rows; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_ROWS_H
#define LS_COMPUTE_PARALLEL_ROWS_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_layernorm_forward)(ptrdiff_t B, ptrdiff_t K, float *y, float *statistics, const float *x,
                                      const float *gamma, const float *beta, float epsilon);
void LS_PER_ISA(ls_layernorm_input_gradient)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dz,
                                             const float *x, const float *statistics, const float *gamma);
void LS_PER_ISA(ls_softmax_forward)(ptrdiff_t B, ptrdiff_t K, float *y, const float *x);
void LS_PER_ISA(ls_softmax_backward)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dy, const float *y);

#endif
