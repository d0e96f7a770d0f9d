/* Owns the numbers of feature scaling and their spelling as text. */
#include "data/scaling.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

const char *const ls_scaling_names[] = {"none", "standard", "minmax", NULL};

enum ls_code ls_scaling_create(struct ls_scaling *scaling, enum ls_scaling_kind kind, ptrdiff_t n_features,
                               struct ls_error *err)
{
    *scaling = (struct ls_scaling){.kind = kind, .n_features = n_features};
    scaling->offset = ls_alloc((size_t)n_features, sizeof(float), "offsets of features", err);
    scaling->factor = ls_alloc((size_t)n_features, sizeof(float), "factors of features", err);
    return scaling->offset && scaling->factor ? LS_OK : LS_FAILED;
}

void ls_scaling_release(struct ls_scaling *scaling)
{
    if (!scaling)
        return;
    ls_free(scaling->offset);
    ls_free(scaling->factor);
    ls_free(scaling->offset_text);
    ls_free(scaling->factor_text);
    *scaling = (struct ls_scaling){.kind = LS_SCALE_NONE};
}

static char *text_of(ptrdiff_t n, const float *numbers, struct ls_error *err)
{
    char *text = ls_alloc((size_t)n, LS_FLOAT_TEXT + 1, "scaling as text", err), *at = text;
    for (ptrdiff_t k = 0; text && k < n; k++) {
        char number[LS_FLOAT_TEXT];
        if (k > 0)
            *at++ = ',';
        at = stpcpy(at, ls_text_of_float(numbers[k], number));
    }
    return text;
}

enum ls_code ls_scaling_describe(struct ls_scaling *scaling, struct ls_error *err)
{
    scaling->offset_text = text_of(scaling->n_features, scaling->offset, err);
    scaling->factor_text = text_of(scaling->n_features, scaling->factor, err);
    return scaling->offset_text && scaling->factor_text ? LS_OK : LS_FAILED;
}

/* Reads all numbers of `text`; `what` names them for the message. */
static enum ls_code read_numbers(const char *text, const char *what, ptrdiff_t n, float *numbers,
                                 struct ls_error *err)
{
    ptrdiff_t found = 0;
    for (const char *at = text; at; found++) {
        const size_t length = strcspn(at, ",");
        char word[LS_FLOAT_TEXT + 20];
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), at);
        if (found < n && !ls_text_to_float(word, &numbers[found]))
            return ls_fail(err, LS_FAILED, "%s: number %td is '%s'; allowed are finite numbers", what,
                           found + 1, word);
        at = at[length] ? at + length + 1 : NULL;
    }
    if (found == n)
        return LS_OK;
    return ls_fail(err, LS_FAILED, "%s has %td numbers, a sample has %td features", what, found, n);
}

static enum ls_code read_all(struct ls_scaling *scaling, const char *offsets, const char *factors,
                             struct ls_error *err)
{
    const ptrdiff_t n = scaling->n_features;
    if (!offsets || !factors)
        return ls_fail(err, LS_FAILED, "the metadata has no '%s'", offsets ? "scale_factor" : "scale_offset");
    enum ls_code code = read_numbers(offsets, "scale_offset", n, scaling->offset, err);
    if (code == LS_OK)
        code = read_numbers(factors, "scale_factor", n, scaling->factor, err);
    return code == LS_OK ? ls_scaling_describe(scaling, err) : code;
}

enum ls_code ls_scaling_read(struct ls_scaling *scaling, ptrdiff_t n_features, const char *kind,
                             const char *offsets, const char *factors, struct ls_error *err)
{
    *scaling = (struct ls_scaling){.kind = LS_SCALE_NONE};
    int known = 0;
    while (ls_scaling_names[known] && strcmp(kind, ls_scaling_names[known]) != 0)
        known++;
    if (!ls_scaling_names[known])
        return ls_fail(err, LS_FAILED, "unknown scaling '%.60s'; known are none, standard and minmax", kind);
    if (known == LS_SCALE_NONE)
        return LS_OK;
    enum ls_code code = ls_scaling_create(scaling, (enum ls_scaling_kind)known, n_features, err);
    if (code == LS_OK)
        code = read_all(scaling, offsets, factors, err);
    if (code != LS_OK)
        ls_scaling_release(scaling);
    return code;
}

struct ls_hash ls_scaling_hash(const struct ls_scaling *scaling)
{
    const size_t bytes = (size_t)scaling->n_features * sizeof(float);
    const struct ls_hash parts[] = {
        {(uint64_t)scaling->kind, (uint64_t)scaling->n_features},
        scaling->offset ? ls_hash_bytes(scaling->offset, bytes) : (struct ls_hash){0, 0},
        scaling->factor ? ls_hash_bytes(scaling->factor, bytes) : (struct ls_hash){0, 0},
    };
    return ls_hash_bytes(parts, sizeof parts);
}
