/* Initialisation: every element is a pure function of (seed, tensor, element), contract rule 6. */
#include "model/net.h"

#include <string.h>

#include "base/elementary.h"
#include "base/philox.h"
#include "base/text.h"

static const char *const names[] = {"he-uniform", "he-normal", "xavier-uniform",     "xavier-normal", "zeros",
                                    "constant=X", "normal=S",  "truncated-normal=S", "uniform=A",     NULL};

/* "normal=0.05": a name with a number. */
static enum ls_code parse_number(struct ls_init *init, const char *text, const char *number,
                                 struct ls_error *err)
{
    const struct {
        const char *name;
        enum ls_init_kind kind;
    } known[] = {{"constant=", LS_INIT_CONSTANT},
                 {"normal=", LS_INIT_NORMAL},
                 {"truncated-normal=", LS_INIT_TRUNCATED_NORMAL},
                 {"uniform=", LS_INIT_UNIFORM}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const size_t length = strlen(known[i].name);
        if (length != (size_t)(number - text) || strncmp(text, known[i].name, length) != 0)
            continue;
        init->kind = known[i].kind;
        if (!ls_text_to_float(number, &init->number))
            return ls_fail(err, LS_USAGE, "--init: '%s' is no finite number in '%s'", number, text);
        if (init->kind != LS_INIT_CONSTANT && init->number < 0.0f)
            return ls_fail(err, LS_USAGE, "--init: '%s' must not be negative in '%s'", number, text);
        return LS_OK;
    }
    char list[160];
    return ls_fail(err, LS_USAGE, "--init: unknown initialisation '%s': did you mean '%s'? Known: %s", text,
                   ls_text_nearest(text, names), ls_text_join(names, list, sizeof list));
}

enum ls_code ls_init_parse(struct ls_init *init, const char *text, struct ls_error *err)
{
    static const struct ls_init known[] = {{.kind = LS_INIT_HE},
                                           {.kind = LS_INIT_HE, .normal = 1},
                                           {.kind = LS_INIT_XAVIER},
                                           {.kind = LS_INIT_XAVIER, .normal = 1},
                                           {.kind = LS_INIT_ZEROS}};
    *init = (struct ls_init){0};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *init = known[i];
            return LS_OK;
        }
    const char *equals = strchr(text, '=');
    return parse_number(init, text, equals ? equals + 1 : text + strlen(text), err);
}

/* The standard deviation of the weights; the uniform kinds reach sqrt(3) times as far. */
static float deviation_of(const struct ls_init *init, const struct ls_parameter *tensor)
{
    if (init->kind == LS_INIT_HE)
        return __builtin_sqrtf(2.0f / (float)tensor->fan_in);
    return __builtin_sqrtf(2.0f / (float)(tensor->fan_in + tensor->fan_out));
}

static float bound_of(const struct ls_init *init, const struct ls_parameter *tensor)
{
    if (init->kind == LS_INIT_UNIFORM)
        return init->number;
    const float variance =
        2.0f / (float)(init->kind == LS_INIT_HE ? tensor->fan_in : tensor->fan_in + tensor->fan_out);
    return __builtin_sqrtf(3.0f * variance);
}

/* One weight from a uniform number in (0, 1). */
static float draw(const struct ls_init *init, float deviation, float bound, float u)
{
    /* P(Z <= -2) and P(|Z| <= 2): the truncated normal is the quantile of what lies between. */
    const float below = 0.022750132f, within = 0.954499736f;
    if (init->kind == LS_INIT_TRUNCATED_NORMAL)
        return init->number * ls_normal_quantile(ls_fma(u, within, below));
    if (init->kind == LS_INIT_NORMAL)
        return init->number * ls_normal_quantile(u);
    return init->normal ? deviation * ls_normal_quantile(u) : bound * ls_fma(2.0f, u, -1.0f);
}

static void fill_random(const struct ls_init *init, const struct ls_parameter *tensor, uint64_t seed,
                        enum ls_purpose purpose, uint64_t stream, float *w)
{
    const float deviation = deviation_of(init, tensor), bound = bound_of(init, tensor);
    for (ptrdiff_t i = 0; i < tensor->count; i++) {
        /* Four elements share a block of 128 bits. */
        const struct ls_bits128 bits = ls_random(seed, purpose, stream, (uint64_t)i / 4);
        w[i] = draw(init, deviation, bound, ls_uniform(bits.word[i % 4]));
    }
}

static void fill(const struct ls_parameter *tensor, float *w, float value)
{
    for (ptrdiff_t i = 0; i < tensor->count; i++)
        w[i] = value;
}

/* stream + t is the stream of tensor t. */
static void draw_all(const struct ls_net *net, const struct ls_init *init, uint64_t seed,
                     enum ls_purpose purpose, uint64_t stream, float *parameters)
{
    memset(parameters, 0, (size_t)net->n_floats * sizeof *parameters);
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_parameter *tensor = &net->tensors[t];
        float *w = parameters + tensor->offset;
        if (tensor->is_norm || tensor->is_state)
            fill(tensor, w, tensor->constant);
        else if (init->kind == LS_INIT_CONSTANT)
            fill(tensor, w, init->number);
        else if (tensor->is_bias)
            fill(tensor, w, init->bias);
        else if (init->kind != LS_INIT_ZEROS)
            fill_random(init, tensor, seed, purpose, stream + (uint64_t)t, w);
    }
}

void ls_net_initialise(const struct ls_net *net, const struct ls_init *init, uint64_t seed, float *parameters)
{
    draw_all(net, init, seed, LS_PURPOSE_INIT, 0, parameters);
}

void ls_net_draw(const struct ls_net *net, const struct ls_init *init, uint64_t seed, uint64_t trial,
                 float *parameters)
{
    enum { TENSOR_BITS = 24 }; /* trials have the other 32 of a stream's 56 */
    if (trial == 0)
        ls_net_initialise(net, init, seed, parameters);
    else
        draw_all(net, init, seed, LS_PURPOSE_SEARCH, trial << TENSOR_BITS, parameters);
}
