/* The losses of struct ls_ops; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_LOSS_H
#define LS_COMPUTE_PARALLEL_LOSS_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_loss)(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                         const float *z, const struct ls_targets *targets);

#endif
