/* The functions behind ls_ops_serial; compute/ops.h has their formulas.
 *
 * Everything in this folder is scalar, single-threaded and free of MPI, and shares with the parallel path
 * only base/contract.h and base/elementary.h. */
#ifndef LS_COMPUTE_SERIAL_SERIAL_H
#define LS_COMPUTE_SERIAL_SERIAL_H

#include "compute/ops.h"

/* The end of the leaf that begins at row `first`; written so that first + m cannot overflow. */
static inline ptrdiff_t ls_serial_leaf_end(ptrdiff_t first, ptrdiff_t m, ptrdiff_t B)
{
    return B - first < m ? B : first + m;
}

void ls_serial_dense_forward(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                             const float *bias, enum ls_activation act);
void ls_serial_dense_input_gradient(struct ls_dense_shape shape, float *dx, const float *dz, const float *w,
                                    enum ls_activation act, const float *x);
void ls_serial_dense_weight_gradient(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                     const float *x, const float *dz);
void ls_serial_conv_forward(const struct ls_conv_shape *shape, float *y, const float *x, const float *w,
                            const float *bias, enum ls_activation act);
void ls_serial_conv_input_gradient(const struct ls_conv_shape *shape, float *dx, const float *dz,
                                   const float *w, enum ls_activation act, const float *x);
void ls_serial_conv_weight_gradient(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                    const float *x, const float *dz);
void ls_serial_activation_forward(enum ls_activation act, float slope, ptrdiff_t n, float *y, const float *z);
void ls_serial_activation_backward(enum ls_activation act, float slope, ptrdiff_t n, float *dz,
                                   const float *dy, const float *y);
void ls_serial_loss(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                    const float *z, const struct ls_targets *targets);

#endif
