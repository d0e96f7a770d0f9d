/* The functions behind ls_ops_serial; compute/ops.h has their formulas.
 *
 * Everything in this folder is scalar, single-threaded and free of MPI, and shares with the parallel path
 * only base/contract.h, base/elementary.h and base/philox.h. */
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
                            const float *bias, enum ls_activation act, const struct ls_maxpool *pool);
void ls_serial_conv_input_gradient(const struct ls_conv_shape *shape, float *dx, const float *dz,
                                   const float *w, enum ls_activation act, const float *x);
void ls_serial_conv_weight_gradient(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                    const float *x, const float *dz, const struct ls_maxpool_gradient *pool);
void ls_serial_activation_forward(enum ls_activation act, float slope, ptrdiff_t n, float *y, const float *z);
void ls_serial_activation_backward(enum ls_activation act, float slope, ptrdiff_t n, float *dz,
                                   const float *dy, const float *y);
void ls_serial_maxpool_forward(const struct ls_window *window, float *y, const float *x);
void ls_serial_maxpool_backward(const struct ls_window *window, float *dx, const float *dy,
                                enum ls_activation act, const float *x);
void ls_serial_avgpool_forward(const struct ls_window *window, float *y, const float *x);
void ls_serial_avgpool_backward(const struct ls_window *window, float *dx, const float *dy);
void ls_serial_channel_sum(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x);
void ls_serial_channel_square_sum(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x,
                                  const float *mean);
void ls_serial_channel_deviation(ptrdiff_t C, float *variance, float *inverse, const float *sum, float r,
                                 float epsilon);
void ls_serial_batchnorm_forward(const struct ls_channels *shape, float *y, const float *x, const float *mean,
                                 const float *inverse, const float *gamma, const float *beta,
                                 const float *also, enum ls_activation act);
void ls_serial_batchnorm_sums(const struct ls_channels *shape, ptrdiff_t m, float *dgamma, float *dbeta,
                              const float *dz, const float *x, const float *mean, const float *inverse);
void ls_serial_batchnorm_input_gradient(const struct ls_channels *shape, float *dx, const float *dz,
                                        const float *x, const float *mean, const float *inverse,
                                        const float *gamma, const float *sum_dzh, const float *sum_dz,
                                        float r);
void ls_serial_layernorm_forward(ptrdiff_t B, ptrdiff_t K, float *y, float *statistics, const float *x,
                                 const float *gamma, const float *beta, float epsilon);
void ls_serial_layernorm_input_gradient(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dz, const float *x,
                                        const float *statistics, const float *gamma);
void ls_serial_layernorm_weight_gradient(ptrdiff_t B, ptrdiff_t K, ptrdiff_t m, float *dgamma, float *dbeta,
                                         const float *dz, const float *x, const float *statistics);
void ls_serial_softmax_forward(ptrdiff_t B, ptrdiff_t K, float *y, const float *x);
void ls_serial_softmax_backward(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dy, const float *y);
void ls_serial_dropout(const struct ls_dropout *drop, ptrdiff_t B, ptrdiff_t K, float *y, const float *x);
void ls_serial_transpose(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t columns, float *to, const float *from);
void ls_serial_add(enum ls_activation act, ptrdiff_t n, float *y, const float *a, const float *b);
void ls_serial_add_backward(enum ls_activation act, ptrdiff_t n, float *dz, const float *a, const float *b,
                            const float *y);
void ls_serial_blend(ptrdiff_t n, float *average, const float *x, float weight);
void ls_serial_scale(ptrdiff_t n, float *y, const float *x, float factor);
void ls_serial_scale_rows(ptrdiff_t B, ptrdiff_t K, float *x, const float *offset, const float *factor);
void ls_serial_loss(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                    const float *z, const struct ls_targets *targets);
int64_t ls_serial_update(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, float *w,
                         float *velocity, float *square, const float *sum);
void ls_serial_adam_direction(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns,
                              float *direction, const float *w, float *velocity, float *square,
                              const float *sum);
float ls_serial_square_sum(ptrdiff_t n, const float *v, float factor);
void ls_serial_square_blocks(ptrdiff_t n, const float *v, float factor, float *sums);
void ls_serial_gather_images(const struct ls_image_view *view, ptrdiff_t B, float *x, const uint8_t *pixels,
                             const int64_t *index, float divisor);
void ls_serial_view_images(const struct ls_image_view *view, ptrdiff_t B, float *x, const int64_t *index);

#endif
