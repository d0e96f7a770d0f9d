/* Owns the state, the order of a step, and clipping by norm.  What a family does differently is its file's.
 */
#include "optim/optimizer.h"

#include "base/contract.h"
#include "base/memory.h"
#include "optim/family.h"

const char *const ls_optimizer_names[] = {"sgd", "adagrad", "rmsprop", "adam", "adamw", "lars", "lamb", NULL};

static const struct ls_family *const families[] = {
    [LS_SGD] = &ls_family_sgd,   [LS_ADAGRAD] = &ls_family_adagrad, [LS_RMSPROP] = &ls_family_rmsprop,
    [LS_ADAM] = &ls_family_adam, [LS_ADAMW] = &ls_family_adam,      [LS_LARS] = &ls_family_lars,
    [LS_LAMB] = &ls_family_lamb};

struct ls_optimizer_rule ls_optimizer_defaults(enum ls_optimizer_kind kind)
{
    struct ls_optimizer_rule rule = {.kind = kind, .beta1 = 0.9f, .beta2 = 0.999f, .alpha = 0.99f};
    rule.learning_rate = kind == LS_SGD || kind == LS_LARS ? 0.1f : 0.001f;
    rule.epsilon = 1e-8f;
    switch (kind) {
    case LS_ADAGRAD:
        rule.learning_rate = 0.01f;
        rule.epsilon = 1e-10f;
        break;
    case LS_RMSPROP:
        rule.learning_rate = 0.01f;
        break;
    case LS_ADAMW:
        rule.weight_decay = 0.01f;
        rule.decoupled = 1;
        break;
    case LS_LARS:
        rule.momentum = 0.9f;
        rule.trust = 0.001f;
        rule.trust_skips_vectors = 1;
        break;
    case LS_LAMB:
        rule.epsilon = 1e-6f;
        break;
    case LS_SGD:
    case LS_ADAM:
        break;
    }
    return rule;
}

/* A new array of state, or NULL with *err filled. */
static float *add_state(struct ls_optimizer *optimizer, const char *name, struct ls_error *err)
{
    float *flat = ls_alloc((size_t)optimizer->n_state_floats, sizeof(float), "optimizer state", err);
    if (flat)
        optimizer->states[optimizer->n_states++] = (struct ls_optimizer_state){name, flat};
    return flat;
}

static ptrdiff_t largest_tensor(const struct ls_optimizer *optimizer)
{
    ptrdiff_t most = 0;
    for (int t = 0; t < optimizer->n_tensors; t++)
        most = optimizer->tensors[t].count > most ? optimizer->tensors[t].count : most;
    return most;
}

enum ls_code ls_optimizer_create(struct ls_optimizer *optimizer, const struct ls_optimizer_rule *rule,
                                 const struct ls_parameter *tensors, int n_tensors, ptrdiff_t n_floats,
                                 struct ls_error *err)
{
    return ls_optimizer_create_for(optimizer, rule, tensors, n_tensors, n_floats, NULL, 0, err);
}

int ls_optimizer_takes_slices(const struct ls_optimizer_rule *rule)
{
    return families[rule->kind]->step == ls_plain_step;
}

enum ls_code ls_optimizer_create_for(struct ls_optimizer *optimizer, const struct ls_optimizer_rule *rule,
                                     const struct ls_parameter *tensors, int n_tensors, ptrdiff_t n_floats,
                                     const struct ls_range *slices, int n_slices, struct ls_error *err)
{
    *optimizer = (struct ls_optimizer){.rule = *rule,
                                       .tensors = tensors,
                                       .n_tensors = n_tensors,
                                       .n_floats = n_floats,
                                       .slices = slices,
                                       .n_slices = n_slices,
                                       .n_state_floats = n_slices > 0 ? 0 : n_floats};
    for (int i = 0; i < n_slices; i++)
        optimizer->n_state_floats += (ptrdiff_t)(slices[i].end - slices[i].begin);
    const struct ls_family *family = families[rule->kind];
    const char *velocity = family->velocity_name(rule);
    if (velocity && !(optimizer->velocity = add_state(optimizer, velocity, err)))
        return LS_FAILED;
    if (family->square_name && !(optimizer->square = add_state(optimizer, family->square_name, err)))
        return LS_FAILED;
    if (family->needs_direction && !(optimizer->direction = ls_alloc((size_t)largest_tensor(optimizer),
                                                                     sizeof(float), "direction", err)))
        return LS_FAILED;
    return LS_OK;
}

void ls_optimizer_release(struct ls_optimizer *optimizer)
{
    for (int i = 0; i < optimizer->n_states; i++)
        ls_free(optimizer->states[i].flat);
    ls_free(optimizer->direction);
    *optimizer = (struct ls_optimizer){0};
}

/* 1 - beta^t follows from 1 - beta^(t-1) as  beta (1 - beta^(t-1)) + (1 - beta):  nothing cancels, where the
 * power itself, in binary32, would leave 1 - 0.999^2 wrong in the fifth digit. */
static void count_update(struct ls_optimizer *optimizer)
{
    const float beta[2] = {optimizer->rule.beta1, optimizer->rule.beta2};
    for (int k = 0; k < 2; k++)
        optimizer->memory[k] = ls_fma(beta[k], optimizer->memory[k], 1.0f - beta[k]);
    optimizer->updates++;
}

void ls_optimizer_resume(struct ls_optimizer *optimizer, int64_t updates)
{
    float before[2] = {-1.0f, -1.0f};
    optimizer->memory[0] = optimizer->memory[1] = 0.0f;
    optimizer->updates = 0;
    /* Both soon stand still. */
    while (optimizer->updates < updates &&
           (optimizer->memory[0] != before[0] || optimizer->memory[1] != before[1])) {
        before[0] = optimizer->memory[0];
        before[1] = optimizer->memory[1];
        count_update(optimizer);
    }
    optimizer->updates = updates;
}

/* Contract rule 4 within each tensor, then a tree over tensors in order. */
float ls_optimizer_norm(const struct ls_optimizer *optimizer, const struct ls_ops *ops, int64_t global_batch,
                        const float *sum)
{
    const float scale = 1.0f / (float)global_batch;
    struct ls_tree tree = {.count = 0};
    for (int t = 0; t < optimizer->n_tensors; t++)
        if (!optimizer->tensors[t].is_state)
            ls_tree_push(&tree, ops->square_sum(optimizer->tensors[t].count,
                                                sum + optimizer->tensors[t].offset, scale));
    return __builtin_sqrtf(ls_tree_sum(&tree));
}

/* Each tensor begins a block. */
static ptrdiff_t blocks_of(const struct ls_parameter *tensor)
{
    return tensor->is_state ? 0 : (tensor->count + LS_LANESUM_BLOCK - 1) / LS_LANESUM_BLOCK;
}

ptrdiff_t ls_optimizer_blocks(const struct ls_optimizer *optimizer)
{
    ptrdiff_t n = 0;
    for (int t = 0; t < optimizer->n_tensors; t++)
        n += blocks_of(&optimizer->tensors[t]);
    return n;
}

static struct ls_range overlap(struct ls_range range, const struct ls_parameter *tensor)
{
    const int64_t begin = tensor->offset, end = tensor->offset + tensor->count;
    return (struct ls_range){range.begin > begin ? range.begin : begin, range.end < end ? range.end : end};
}

void ls_optimizer_square_blocks(const struct ls_optimizer *optimizer, const struct ls_ops *ops,
                                int64_t global_batch, struct ls_range range, const float *sum, float *blocks)
{
    const float scale = 1.0f / (float)global_batch;
    for (int t = 0; t < optimizer->n_tensors; blocks += blocks_of(&optimizer->tensors[t]), t++) {
        const struct ls_parameter *tensor = &optimizer->tensors[t];
        const struct ls_range mine = overlap(range, tensor);
        const ptrdiff_t first = (ptrdiff_t)(mine.begin - tensor->offset) / LS_LANESUM_BLOCK;
        if (!tensor->is_state && mine.begin < mine.end)
            ops->square_blocks((ptrdiff_t)(mine.end - mine.begin), sum + mine.begin, scale, blocks + first);
    }
}

float ls_optimizer_norm_of_blocks(const struct ls_optimizer *optimizer, const float *blocks)
{
    struct ls_tree tree = {.count = 0};
    for (int t = 0; t < optimizer->n_tensors; t++) {
        const ptrdiff_t n = blocks_of(&optimizer->tensors[t]);
        struct ls_tree tensor = {.count = 0};
        for (ptrdiff_t i = 0; i < n; i++)
            ls_tree_push(&tensor, blocks[i]);
        if (!optimizer->tensors[t].is_state)
            ls_tree_push(&tree, ls_tree_sum(&tensor));
        blocks += n;
    }
    return __builtin_sqrtf(ls_tree_sum(&tree));
}

int ls_optimizer_needs_norm(const struct ls_optimizer_rule *rule)
{
    return rule->clip_norm > 0.0f || rule->report_gradient_norm;
}

/* As PyTorch's clip_grad_norm_; a norm that is not a number makes a factor that is none, and so parameters
 * that stop the run. */
static float clip_factor(float most, float norm)
{
    const float factor = most / (norm + 1e-6f);
    return factor > 1.0f ? 1.0f : factor;
}

/* Decay as this tensor gets it. */
static struct ls_update with_decay(const struct ls_optimizer_rule *rule, const struct ls_update *all,
                                   const struct ls_parameter *tensor, float learning_rate)
{
    struct ls_update update = *all;
    if (rule->weight_decay == 0.0f || (rule->decay_skips_vectors && ls_is_vector(tensor)))
        return update;
    if (rule->decoupled || rule->kind == LS_ADAMW)
        update.keep = ls_fma(-learning_rate, rule->weight_decay, 1.0f);
    else
        update.weight_decay = rule->weight_decay;
    return update;
}

void ls_optimizer_begin(struct ls_optimizer *optimizer, int64_t global_batch, float learning_rate, float norm)
{
    const struct ls_optimizer_rule *rule = &optimizer->rule;
    optimizer->learning_rate = learning_rate;
    optimizer->at_hand = (struct ls_update){.gradient_scale = 1.0f / (float)global_batch,
                                            .clip_factor = 1.0f,
                                            .clip_value = rule->clip_value,
                                            .keep = 1.0f};
    if (rule->clip_norm > 0.0f)
        optimizer->at_hand.clip_factor = clip_factor(rule->clip_norm, norm);
    count_update(optimizer);
    families[rule->kind]->prepare(optimizer, learning_rate, &optimizer->at_hand);
}

/* Where the state of element `at` is. */
static ptrdiff_t state_of(const struct ls_optimizer *optimizer, int64_t at)
{
    int64_t before = 0;
    for (int i = 0; i < optimizer->n_slices; i++) {
        const struct ls_range slice = optimizer->slices[i];
        if (at >= slice.begin && at < slice.end)
            return (ptrdiff_t)(before + at - slice.begin);
        before += slice.end - slice.begin;
    }
    return (ptrdiff_t)at;
}

/* Elements of a tensor: all of them as the matrix that they are, or some as a row. */
static int64_t update_elements(struct ls_optimizer *optimizer, const struct ls_ops *ops,
                               const struct ls_parameter *tensor, struct ls_range range, float *w,
                               const float *sum)
{
    const struct ls_family *family = families[optimizer->rule.kind];
    const ptrdiff_t at = (ptrdiff_t)range.begin, n = (ptrdiff_t)(range.end - range.begin);
    const ptrdiff_t columns = n == tensor->count ? ls_parameter_columns(tensor) : n;
    const ptrdiff_t state = state_of(optimizer, at);
    const struct ls_update update =
        with_decay(&optimizer->rule, &optimizer->at_hand, tensor, optimizer->learning_rate);
    const struct ls_tensor_step step = {.tensor = tensor,
                                        .rows = n / columns,
                                        .columns = columns,
                                        .w = w + at,
                                        .velocity = optimizer->velocity ? optimizer->velocity + state : NULL,
                                        .square = optimizer->square ? optimizer->square + state : NULL,
                                        .sum = sum + at};
    return family->step(optimizer, ops, &update, &step);
}

int64_t ls_optimizer_part(struct ls_optimizer *optimizer, const struct ls_ops *ops, struct ls_range range,
                          float *w, const float *sum)
{
    int64_t not_finite = 0;
    for (int t = 0; t < optimizer->n_tensors; t++) {
        const struct ls_parameter *tensor = &optimizer->tensors[t];
        const struct ls_range mine = overlap(range, tensor);
        if (!tensor->is_state && mine.begin < mine.end)
            not_finite += update_elements(optimizer, ops, tensor, mine, w, sum);
    }
    return not_finite;
}

int64_t ls_optimizer_step(struct ls_optimizer *optimizer, const struct ls_ops *ops, int64_t global_batch,
                          float learning_rate, float *w, const float *sum, struct ls_optimizer_report *report)
{
    struct ls_optimizer_report done = {.has_norm = ls_optimizer_needs_norm(&optimizer->rule)};
    if (done.has_norm)
        done.gradient_norm = ls_optimizer_norm(optimizer, ops, global_batch, sum);
    ls_optimizer_begin(optimizer, global_batch, learning_rate, done.gradient_norm);
    done.not_finite = ls_optimizer_part(optimizer, ops, (struct ls_range){0, optimizer->n_floats}, w, sum);
    if (report)
        *report = done;
    return done.not_finite;
}
