/* Owns what is known of features.  See features.h. */
#include "data/features.h"

#include <string.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "formats/quote.h"

void ls_features_release(struct ls_features *features)
{
    ls_class_names_release(&features->names);
    ls_free(features->means);
    *features = (struct ls_features){.n_means = 0};
}

enum ls_code ls_features_check(const struct ls_features *trained, const struct ls_features *found,
                               const char *path, struct ls_error *err)
{
    const struct ls_class_names *a = &trained->names, *b = &found->names;
    for (int32_t k = 0; a->n == b->n && k < a->n; k++)
        if (strcmp(a->name[k], b->name[k]) != 0)
            return ls_fail(err, LS_FAILED,
                           "\"%s\": input %d is the column '%.60s', of the training data it is '%.60s': give "
                           "the inputs the same names, in the same order",
                           path, k + 1, ls_quote(b->name[k]).text, ls_quote(a->name[k]).text);
    return LS_OK;
}

static enum ls_code read_means(struct ls_features *features, const char *text, struct ls_error *err)
{
    const ptrdiff_t n = ls_numbers_count(text);
    features->means = ls_alloc((size_t)n, sizeof *features->means, "means of features", err);
    if (!features->means)
        return LS_FAILED;
    features->n_means = n;
    return ls_numbers_of_text(text, "input_means", n, features->means, err);
}

enum ls_code ls_features_read(struct ls_features *features, const char *names, const char *means,
                              struct ls_error *err)
{
    *features = (struct ls_features){.n_means = 0};
    enum ls_code code = names ? ls_names_of_json(&features->names, names, err) : LS_OK;
    if (code == LS_OK && means)
        code = read_means(features, means, err);
    if (code == LS_OK && names && means && features->names.n != features->n_means)
        code = ls_fail(err, LS_FAILED, "input_names are %d, input_means %td", features->names.n,
                       features->n_means);
    if (code != LS_OK)
        ls_features_release(features);
    return code;
}

void ls_features_complete(struct ls_features *features, struct ls_features *other, ptrdiff_t n_features)
{
    if (features->names.n == 0 && other->names.n == n_features) {
        features->names = other->names;
        other->names = (struct ls_class_names){.n = 0};
    }
    if (features->n_means == 0 && other->n_means == n_features) {
        features->n_means = other->n_means;
        features->means = other->means;
        other->n_means = 0;
        other->means = NULL;
    }
}
