/* Owns the numbers of feature scaling and their spelling as text. */
#include "data/scaling.h"

#include <string.h>

#include "base/memory.h"
#include "base/numbers.h"

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

enum ls_code ls_scaling_describe(struct ls_scaling *scaling, struct ls_error *err)
{
    scaling->offset_text = ls_numbers_to_text(scaling->n_features, scaling->offset, "scaling as text", err);
    scaling->factor_text = ls_numbers_to_text(scaling->n_features, scaling->factor, "scaling as text", err);
    return scaling->offset_text && scaling->factor_text ? LS_OK : LS_FAILED;
}

static enum ls_code read_all(struct ls_scaling *scaling, const char *offsets, const char *factors,
                             struct ls_error *err)
{
    const ptrdiff_t n = scaling->n_features;
    if (!offsets || !factors)
        return ls_fail(err, LS_FAILED, "the metadata has no '%s'", offsets ? "scale_factor" : "scale_offset");
    enum ls_code code = ls_numbers_of_text(offsets, "scale_offset", n, scaling->offset, err);
    if (code == LS_OK)
        code = ls_numbers_of_text(factors, "scale_factor", n, scaling->factor, err);
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
