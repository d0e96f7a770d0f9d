/* Owns the velocity. */
#include "optim/sgd.h"

#include "base/memory.h"

enum ls_code ls_sgd_create(struct ls_sgd_state *state, const struct ls_sgd *rule, ptrdiff_t n,
                           struct ls_error *err)
{
    *state = (struct ls_sgd_state){.rule = *rule, .n = n};
    if (rule->momentum != 0.0f) {
        state->velocity = ls_alloc((size_t)n, sizeof(float), "momentum", err);
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
    state->rule.gradient_scale = 1.0f / (float)global_batch;
    return ops->sgd(&state->rule, state->n, w, state->velocity, sum);
}
