/* Initialisation: every element is a pure function of (seed, tensor, element), contract rule 6. */
#include "model/net.h"

#include <string.h>

#include "base/elementary.h"
#include "base/philox.h"
#include "base/text.h"

static const char *const names[] = {"he-uniform", "he-normal", "xavier-uniform", "xavier-normal", "zeros",
                                    "constant=X", NULL};

enum ls_code ls_init_parse(struct ls_init *init, const char *text, struct ls_error *err)
{
    *init = (struct ls_init){0};
    if (strncmp(text, "constant=", 9) == 0) {
        init->kind = LS_INIT_CONSTANT;
        if (ls_text_to_float(text + 9, &init->constant))
            return LS_OK;
        return ls_fail(err, LS_USAGE, "--init: '%s' is no finite number in '%s'", text + 9, text);
    }
    static const struct ls_init known[] = {{LS_INIT_HE, 0, 0},
                                           {LS_INIT_HE, 1, 0},
                                           {LS_INIT_XAVIER, 0, 0},
                                           {LS_INIT_XAVIER, 1, 0},
                                           {LS_INIT_ZEROS, 0, 0}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *init = known[i];
            return LS_OK;
        }
    char list[160];
    return ls_fail(err, LS_USAGE, "--init: unknown initialisation '%s': did you mean '%s'? Known: %s", text,
                   ls_text_nearest(text, names), ls_text_join(names, list, sizeof list));
}

static float variance(const struct ls_init *init, const struct ls_parameter *tensor)
{
    if (init->kind == LS_INIT_HE)
        return 2.0f / (float)tensor->fan_in;
    return 2.0f / (float)(tensor->fan_in + tensor->fan_out);
}

static void fill_random(const struct ls_init *init, const struct ls_parameter *tensor, uint64_t seed,
                        uint64_t stream, float *w)
{
    const float deviation = __builtin_sqrtf(variance(init, tensor));
    const float bound = __builtin_sqrtf(3.0f * variance(init, tensor));
    for (ptrdiff_t i = 0; i < tensor->count; i++) {
        /* Four elements share a block of 128 bits. */
        const struct ls_bits128 bits = ls_random(seed, LS_PURPOSE_INIT, stream, (uint64_t)i / 4);
        const float u = ls_uniform(bits.word[i % 4]);
        w[i] = init->normal ? deviation * ls_normal_quantile(u) : bound * ls_fma(2.0f, u, -1.0f);
    }
}

void ls_net_initialise(const struct ls_net *net, const struct ls_init *init, uint64_t seed, float *parameters)
{
    memset(parameters, 0, (size_t)net->n_floats * sizeof *parameters);
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_parameter *tensor = &net->tensors[t];
        float *w = parameters + tensor->offset;
        if (init->kind == LS_INIT_CONSTANT)
            for (ptrdiff_t i = 0; i < tensor->count; i++)
                w[i] = init->constant;
        else if (init->kind != LS_INIT_ZEROS && !tensor->is_bias)
            fill_random(init, tensor, seed, (uint64_t)t, w);
    }
}
