/* The families whose step is one formula of the gradient: descent with and without momentum, and the two that
 * divide it by the root of its squares. */
#include "optim/family.h"

const char *ls_momentum_name(const struct ls_optimizer_rule *rule)
{
    return rule->momentum != 0.0f ? "velocity" : NULL;
}

static const char *no_velocity(const struct ls_optimizer_rule *rule)
{
    (void)rule;
    return NULL;
}

int64_t ls_plain_step(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                      const struct ls_update *update, const struct ls_tensor_step *at)
{
    (void)optimizer;
    return ops->update(update, at->rows, at->columns, at->w, at->velocity, at->square, at->sum);
}

static void prepare_sgd(const struct ls_optimizer *optimizer, float learning_rate, struct ls_update *update)
{
    update->kind = LS_UPDATE_SGD;
    update->rate = learning_rate;
    update->momentum = optimizer->rule.momentum;
    update->nesterov = optimizer->rule.nesterov;
}

static void prepare_adagrad(const struct ls_optimizer *optimizer, float learning_rate,
                            struct ls_update *update)
{
    update->kind = LS_UPDATE_ADAGRAD;
    update->rate = learning_rate;
    update->epsilon = optimizer->rule.epsilon;
}

static void prepare_rmsprop(const struct ls_optimizer *optimizer, float learning_rate,
                            struct ls_update *update)
{
    update->kind = LS_UPDATE_RMSPROP;
    update->rate = learning_rate;
    update->momentum = optimizer->rule.momentum;
    update->beta2 = optimizer->rule.alpha;
    update->epsilon = optimizer->rule.epsilon;
}

const struct ls_family ls_family_sgd = {
    .velocity_name = ls_momentum_name, .prepare = prepare_sgd, .step = ls_plain_step};
const struct ls_family ls_family_adagrad = {.velocity_name = no_velocity,
                                            .square_name = "second_moment",
                                            .prepare = prepare_adagrad,
                                            .step = ls_plain_step};
const struct ls_family ls_family_rmsprop = {.velocity_name = ls_momentum_name,
                                            .square_name = "second_moment",
                                            .prepare = prepare_rmsprop,
                                            .step = ls_plain_step};
