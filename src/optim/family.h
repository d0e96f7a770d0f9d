/* What the files of this folder share: a family turns a rule into the numbers of struct ls_update. */
#ifndef LS_OPTIM_FAMILY_H
#define LS_OPTIM_FAMILY_H

#include "optim/optimizer.h"

/* One tensor in one step, at its place in the flat arrays. */
struct ls_tensor_step {
    const struct ls_parameter *tensor;
    ptrdiff_t rows, columns;
    float *w, *velocity, *square;
    const float *sum;
};

struct ls_family {
    /* What the state arrays are called; NULL: the rule needs none. */
    const char *(*velocity_name)(const struct ls_optimizer_rule *rule);
    const char *square_name;
    int needs_direction;

    /* Fills in what belongs to the family for a step at this rate.  Clipping and weight decay are there. */
    void (*prepare)(const struct ls_optimizer *optimizer, float learning_rate, struct ls_update *update);

    /* The step of one tensor; returns how many parameters are not finite. */
    int64_t (*step)(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                    const struct ls_update *update, const struct ls_tensor_step *at);
};

extern const struct ls_family ls_family_sgd, ls_family_adagrad, ls_family_rmsprop, ls_family_adam,
    ls_family_lars, ls_family_lamb;

/* Adam's numbers, which LAMB starts from. */
void ls_adam_prepare(const struct ls_optimizer *optimizer, float learning_rate, struct ls_update *update);
const char *ls_adam_velocity_name(const struct ls_optimizer_rule *rule);

/* Momentum's array, for rules that have some. */
const char *ls_momentum_name(const struct ls_optimizer_rule *rule);

/* ops->update and no more: the step of the families that need no norm. */
int64_t ls_plain_step(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                      const struct ls_update *update, const struct ls_tensor_step *at);

/* Biases, and gamma and beta of normalisations. */
static inline int ls_is_vector(const struct ls_parameter *tensor)
{
    return tensor->is_bias || tensor->is_norm;
}

#endif
