/* Weight gradients with few outputs; see narrow_gradient.c. */
#ifndef LS_COMPUTE_PARALLEL_NARROW_GRADIENT_H
#define LS_COMPUTE_PARALLEL_NARROW_GRADIENT_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

/* Whether ls_narrow_gradient takes this shape. */
int LS_PER_ISA(ls_gradient_is_narrow)(struct ls_dense_shape shape);

/* dense_weight_gradient of struct ls_ops for such a shape, B > 0. */
void LS_PER_ISA(ls_narrow_gradient)(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                    const float *x, const float *dz);

#endif
