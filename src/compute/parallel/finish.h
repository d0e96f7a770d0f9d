/* What happens to a finished sum before it is stored: an activation, or the derivative of the one below. */
#ifndef LS_COMPUTE_PARALLEL_FINISH_H
#define LS_COMPUTE_PARALLEL_FINISH_H

#include "compute/ops.h"
#include "compute/parallel/vec.h"

/* Done in registers. */
enum finish { FINISH_NONE, FINISH_RELU, FINISH_RELU_GRADIENT, FINISH_TANH_GRADIENT, FINISH_SIGMOID_GRADIENT };

LS_ALWAYS_INLINE vec finished(const enum finish finish, vec z, vec y)
{
    switch (finish) {
    case FINISH_RELU:
        return vec_if_positive(z, z);
    case FINISH_RELU_GRADIENT:
        return vec_if_positive(y, z);
    case FINISH_TANH_GRADIENT:
#ifdef LS_MUTANT_BROKEN_TANH
        return z * vec_fma(-y, vec_all(0.9f), vec_all(1.0f));
#endif
        return z * vec_fma(-y, y, vec_all(1.0f));
    case FINISH_SIGMOID_GRADIENT:
        return z * vec_fma(-y, y, y);
    case FINISH_NONE:
        break;
    }
    return z;
}

/* A fused activation: what of it is done in registers, and what on finished rows in L1 (tanh and sigmoid). */
static inline enum finish finish_forward(enum ls_activation act)
{
    return act == LS_ACT_RELU ? FINISH_RELU : FINISH_NONE;
}

static inline enum ls_activation finish_after(enum ls_activation act)
{
    return act == LS_ACT_RELU ? LS_ACT_NONE : act;
}

static inline enum finish finish_gradient(enum ls_activation act)
{
    static const enum finish derivative[] = {[LS_ACT_NONE] = FINISH_NONE,
                                             [LS_ACT_RELU] = FINISH_RELU_GRADIENT,
                                             [LS_ACT_TANH] = FINISH_TANH_GRADIENT,
                                             [LS_ACT_SIGMOID] = FINISH_SIGMOID_GRADIENT};
    return derivative[act];
}

#endif
