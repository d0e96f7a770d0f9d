/* What is known of a sample's features beside their values: the names of columns, and what stands in for
 * values that are missing.  The training data say it, a model stores it, and whatever data meet the model
 * later are held to it. */
#ifndef LS_DATA_FEATURES_H
#define LS_DATA_FEATURES_H

#include <stddef.h>

#include "data/class_names.h"

struct ls_features {
    struct ls_class_names names; /* any texts, also the same twice; n == 0: none are known */
    ptrdiff_t n_means;           /* 0: none are known */
    float *means;                /* (n_means), of the values that are there, for missing=mean; of ls_alloc */
};

void ls_features_release(struct ls_features *features);

static inline int ls_features_any(const struct ls_features *features)
{
    return features->names.n > 0 || features->n_means > 0;
}

/* Refuses features that have other names than in training; without names on one side, or of other numbers of
 * features (which do not fit the net), nothing is said.  `path` is for the message. */
enum ls_code ls_features_check(const struct ls_features *trained, const struct ls_features *found,
                               const char *path, struct ls_error *err);

/* What a model's metadata say of both, or NULL.  On failure nothing is held. */
enum ls_code ls_features_read(struct ls_features *features, const char *names, const char *means,
                              struct ls_error *err);

/* Takes from `other` what `features` lacks, when it is of n_features. */
void ls_features_complete(struct ls_features *features, struct ls_features *other, ptrdiff_t n_features);

#endif
