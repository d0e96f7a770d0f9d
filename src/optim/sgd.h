/* Stochastic gradient descent: plain, with momentum (Polyak 1964, in PyTorch's form), Nesterov's variant
 * (Sutskever et al. 2013), and L2 weight decay.  The update itself is ops->sgd, contract rule 8; this file
 * owns its state. */
#ifndef LS_OPTIM_SGD_H
#define LS_OPTIM_SGD_H

#include "base/status.h"
#include "layers/layer.h"

struct ls_sgd_state {
    struct ls_sgd rule; /* gradient_scale is set for each step */
    const struct ls_parameter *tensors;
    int n_tensors;
    float *velocity; /* in the tensors' flat layout, zero at the start; NULL without momentum */
};

/* For tensors in a flat buffer of n_floats; keeps the pointer to them.  Velocity is allocated only when the
 * rule has momentum.  Release with ls_sgd_release. */
enum ls_code ls_sgd_create(struct ls_sgd_state *state, const struct ls_sgd *rule,
                           const struct ls_parameter *tensors, int n_tensors, ptrdiff_t n_floats,
                           struct ls_error *err);
void ls_sgd_release(struct ls_sgd_state *state);

/* Updates w in place from summed gradients of global_batch samples; returns nonzero when a parameter is no
 * longer finite. */
int64_t ls_sgd_step(struct ls_sgd_state *state, const struct ls_ops *ops, int64_t global_batch, float *w,
                    const float *sum);

#endif
