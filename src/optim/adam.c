/* Adam and AdamW.  With c_k = 1 - beta_k^t,  w -= (lr / c_1) v / (sqrt(s / c_2) + epsilon):  the numbers of
 * an update are  rate = lr / c_1  and  correction2 = 1 / sqrt(c_2). */
#include "optim/family.h"

const char *ls_adam_velocity_name(const struct ls_optimizer_rule *rule)
{
    (void)rule;
    return "first_moment";
}

void ls_adam_prepare(const struct ls_optimizer *optimizer, float learning_rate, struct ls_update *update)
{
    update->kind = LS_UPDATE_ADAM;
    update->rate = learning_rate / optimizer->memory[0];
    update->beta1 = optimizer->rule.beta1;
    update->beta2 = optimizer->rule.beta2;
    update->epsilon = optimizer->rule.epsilon;
    update->correction1 = 1.0f / optimizer->memory[0];
    update->correction2 = 1.0f / __builtin_sqrtf(optimizer->memory[1]);
}

const struct ls_family ls_family_adam = {.velocity_name = ls_adam_velocity_name,
                                         .square_name = "second_moment",
                                         .prepare = ls_adam_prepare,
                                         .step = ls_plain_step};
