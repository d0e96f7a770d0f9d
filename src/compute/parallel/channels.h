/* What struct ls_ops does channel by channel: sums over samples, batch normalisation, the weights of layer
 * normalisation; see compute/ops.h for the formulas. */
#ifndef LS_COMPUTE_PARALLEL_CHANNELS_H
#define LS_COMPUTE_PARALLEL_CHANNELS_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_channel_sum)(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x);
void LS_PER_ISA(ls_channel_square_sum)(const struct ls_channels *shape, ptrdiff_t m, float *sum,
                                       const float *x, const float *mean);
void LS_PER_ISA(ls_channel_deviation)(ptrdiff_t C, float *variance, float *inverse, const float *sum, float r,
                                      float epsilon);
void LS_PER_ISA(ls_batchnorm_forward)(const struct ls_channels *shape, float *y, const float *x,
                                      const float *mean, const float *inverse, const float *gamma,
                                      const float *beta, const float *also, enum ls_activation act);
void LS_PER_ISA(ls_batchnorm_sums)(const struct ls_channels *shape, ptrdiff_t m, float *dgamma, float *dbeta,
                                   const float *dz, const float *x, const float *mean, const float *inverse);
void LS_PER_ISA(ls_batchnorm_input_gradient)(const struct ls_channels *shape, float *dx, const float *dz,
                                             const float *x, const float *mean, const float *inverse,
                                             const float *gamma, const float *sum_dzh, const float *sum_dz,
                                             float r);
void LS_PER_ISA(ls_layernorm_weight_gradient)(ptrdiff_t B, ptrdiff_t K, ptrdiff_t m, float *dgamma,
                                              float *dbeta, const float *dz, const float *x,
                                              const float *statistics);

#endif
