/* The updates of struct ls_ops, and norms; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_UPDATE_H
#define LS_COMPUTE_PARALLEL_UPDATE_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

int64_t LS_PER_ISA(ls_update)(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, float *w,
                              float *velocity, float *square, const float *sum);
void LS_PER_ISA(ls_adam_direction)(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns,
                                   float *direction, const float *w, float *velocity, float *square,
                                   const float *sum);
float LS_PER_ISA(ls_square_sum)(ptrdiff_t n, const float *v, float factor);
void LS_PER_ISA(ls_square_blocks)(ptrdiff_t n, const float *v, float factor, float *sums);

#endif
