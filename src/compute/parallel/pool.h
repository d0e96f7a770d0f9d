/* Pooling of struct ls_ops; see compute/ops.h for the formulas. */
#ifndef LS_COMPUTE_PARALLEL_POOL_H
#define LS_COMPUTE_PARALLEL_POOL_H

#include "compute/ops.h"
#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_maxpool_forward)(const struct ls_window *window, float *y, const float *x);
void LS_PER_ISA(ls_maxpool_backward)(const struct ls_window *window, float *dx, const float *dy,
                                     enum ls_activation act, const float *x);

/* Some images of it, on this thread alone. */
void LS_PER_ISA(ls_maxpool_images)(const struct ls_maxpool *pool, const float *x, struct range images);

/* The same backward; act is none or ReLU. */
void LS_PER_ISA(ls_maxpool_gradient_images)(const struct ls_maxpool_gradient *pool, struct range images);

void LS_PER_ISA(ls_avgpool_forward)(const struct ls_window *window, float *y, const float *x);
void LS_PER_ISA(ls_avgpool_backward)(const struct ls_window *window, float *dx, const float *dy);

#endif
