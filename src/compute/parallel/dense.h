/* The dense products of struct ls_ops; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_DENSE_H
#define LS_COMPUTE_PARALLEL_DENSE_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

int LS_PER_ISA(ls_dense_input_copies)(struct ls_dense_shape shape);
void LS_PER_ISA(ls_dense_forward)(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                                  const float *bias, enum ls_activation act);
void LS_PER_ISA(ls_dense_forward_gathered)(struct ls_dense_shape shape, float *y, const struct ls_gather *x,
                                           const float *w, const float *bias, enum ls_activation act);
void LS_PER_ISA(ls_dense_input_gradient)(struct ls_dense_shape shape, float *dx, const float *dz,
                                         const float *w, enum ls_activation act, const float *x);
void LS_PER_ISA(ls_dense_weight_gradient)(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                          const float *x, const float *dz);

#endif
