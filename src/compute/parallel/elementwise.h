/* Elementwise operations of struct ls_ops; see compute/ops.h for their formulas. */
#ifndef LS_COMPUTE_PARALLEL_ELEMENTWISE_H
#define LS_COMPUTE_PARALLEL_ELEMENTWISE_H

#include "base/elementary.h"
#include "compute/ops.h"
#include "compute/parallel/vec.h"

/* y[i] = act(z[i]) on this thread; y == z is allowed. */
static inline void activate(enum ls_activation act, ptrdiff_t n, float *y, const float *z)
{
    switch (act) {
    case LS_ACT_NONE:
        if (y != z)
            memcpy(y, z, (size_t)n * sizeof *y);
        break;
    case LS_ACT_RELU:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = z[i] <= 0.0f ? 0.0f : z[i];
        break;
    case LS_ACT_TANH:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = ls_tanh(z[i]);
        break;
    case LS_ACT_SIGMOID:
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = ls_sigmoid(z[i]);
        break;
    }
}

#endif
