/* Images as data sets store them, of struct ls_ops; see compute/ops.h for the formulas. */
#ifndef LS_COMPUTE_PARALLEL_IMAGES_H
#define LS_COMPUTE_PARALLEL_IMAGES_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_gather_images)(const struct ls_image_view *view, ptrdiff_t B, float *x,
                                  const uint8_t *pixels, const int64_t *index, float divisor);
void LS_PER_ISA(ls_view_images)(const struct ls_image_view *view, ptrdiff_t B, float *x,
                                const int64_t *index);

#endif
