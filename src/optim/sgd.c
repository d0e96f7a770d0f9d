/* Owns the velocity. */
#include "optim/sgd.h"

#include "base/memory.h"

enum ls_code ls_sgd_create(struct ls_sgd_state *state, const struct ls_sgd *rule,
                           const struct ls_parameter *tensors, int n_tensors, ptrdiff_t n_floats,
                           struct ls_error *err)
{
    *state = (struct ls_sgd_state){.rule = *rule, .tensors = tensors, .n_tensors = n_tensors};
    if (rule->momentum != 0.0f) {
        state->velocity = ls_alloc((size_t)n_floats, sizeof(float), "momentum", err);
        if (!state->velocity)
            return LS_FAILED;
    }
    return LS_OK;
}

void ls_sgd_release(struct ls_sgd_state *state)
{
    ls_free(state->velocity);
    *state = (struct ls_sgd_state){0};
}

int64_t ls_sgd_step(struct ls_sgd_state *state, const struct ls_ops *ops, int64_t global_batch, float *w,
                    const float *sum)
{
    int64_t not_finite = 0;
    state->rule.gradient_scale = 1.0f / (float)global_batch;
    for (int t = 0; t < state->n_tensors; t++) {
        const struct ls_parameter *tensor = &state->tensors[t];
        if (tensor->is_state) /* a running average: no gradient, and it must not decay */
            continue;
        const ptrdiff_t columns = tensor->dims[tensor->n_dims - 1], at = tensor->offset;
        not_finite += ops->sgd(&state->rule, tensor->count / columns, columns, w + at,
                               state->velocity ? state->velocity + at : NULL, sum + at);
    }
    return not_finite;
}
