/* LARS and LAMB: each tensor's rate follows from its own norms.
 *
 * LARS:  local = trust |w| / (|g| + decay |w|), g before decay;  v = mu v + lr local (g + decay w);  w -= v.
 * LAMB:  r = Adam's direction + decay w;  w -= lr (|w| / |r|) r.
 * The factor is 1 where it would mean nothing: a norm of 0, and vectors when the rule skips them. */
#include "base/contract.h"
#include "optim/family.h"

static float norm(const struct ls_ops *ops, ptrdiff_t n, const float *v, float factor)
{
    return __builtin_sqrtf(ops->square_sum(n, v, factor));
}

static void prepare_lars(const struct ls_optimizer *optimizer, float learning_rate, struct ls_update *update)
{
    update->kind = LS_UPDATE_LARS;
    update->rate = learning_rate;
    update->momentum = optimizer->rule.momentum;
}

static int64_t step_lars(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                         const struct ls_update *update, const struct ls_tensor_step *at)
{
    struct ls_update own = *update;
    if (!optimizer->rule.trust_skips_vectors || !ls_is_vector(at->tensor)) {
        const ptrdiff_t n = at->tensor->count;
        const float of_w = norm(ops, n, at->w, 1.0f);
        const float of_g = norm(ops, n, at->sum, update->gradient_scale * update->clip_factor);
        if (of_w > 0.0f && of_g > 0.0f)
            own.rate =
                update->rate * (optimizer->rule.trust * of_w / ls_fma(update->weight_decay, of_w, of_g));
    }
    return ops->update(&own, at->rows, at->columns, at->w, at->velocity, at->square, at->sum);
}

static void prepare_lamb(const struct ls_optimizer *optimizer, float learning_rate, struct ls_update *update)
{
    ls_adam_prepare(optimizer, learning_rate, update);
    update->rate = learning_rate;
}

static int64_t step_lamb(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                         const struct ls_update *update, const struct ls_tensor_step *at)
{
    struct ls_update descent = {.kind = LS_UPDATE_SGD,
                                .gradient_scale = 1.0f,
                                .clip_factor = 1.0f,
                                .keep = 1.0f,
                                .rate = update->rate};
    ops->adam_direction(update, at->rows, at->columns, optimizer->direction, at->w, at->velocity, at->square,
                        at->sum);
    if (!optimizer->rule.trust_skips_vectors || !ls_is_vector(at->tensor)) {
        const ptrdiff_t n = at->tensor->count;
        const float of_w = norm(ops, n, at->w, 1.0f), of_r = norm(ops, n, optimizer->direction, 1.0f);
        if (of_w > 0.0f && of_r > 0.0f)
            descent.rate = update->rate * (of_w / of_r);
    }
    return ops->update(&descent, at->rows, at->columns, at->w, NULL, NULL, optimizer->direction);
}

const struct ls_family ls_family_lars = {
    .velocity_name = ls_momentum_name, .prepare = prepare_lars, .step = step_lars};
const struct ls_family ls_family_lamb = {.velocity_name = ls_adam_velocity_name,
                                         .square_name = "second_moment",
                                         .needs_direction = 1,
                                         .prepare = prepare_lamb,
                                         .step = step_lamb};
