/* Feature scaling: x[k] becomes (x[k] - offset[k]) * factor[k], after a training image was moved.
 *
 *   standard  offset is the feature's mean, factor 1 over its standard deviation (of the whole data, not of a
 *             sample of more)
 *   minmax    offset is its least value, factor 1 over the distance to its largest: values go to [0, 1]
 * A feature that does not vary keeps factor 1, as in scikit-learn.  The numbers are the training data's own
 * (train/scaling.h measures them), and a model keeps them as text, since its tensors are those of its layers.
 */
#ifndef LS_DATA_SCALING_H
#define LS_DATA_SCALING_H

#include <stddef.h>

#include "base/hash.h"
#include "base/status.h"

enum ls_scaling_kind { LS_SCALE_NONE, LS_SCALE_STANDARD, LS_SCALE_MINMAX };

/* "none", "standard", "minmax", NULL-terminated, in the order above. */
extern const char *const ls_scaling_names[];

struct ls_scaling {
    enum ls_scaling_kind kind;
    ptrdiff_t n_features;
    float *offset, *factor;          /* (n_features), finite; owned */
    char *offset_text, *factor_text; /* the same, "0.5,-1,..", exact; owned */
};

/* Local.  Takes memory for the numbers, all zero; ls_scaling_release also after failure. */
enum ls_code ls_scaling_create(struct ls_scaling *scaling, enum ls_scaling_kind kind, ptrdiff_t n_features,
                               struct ls_error *err);
void ls_scaling_release(struct ls_scaling *scaling);

/* Local.  Writes the texts from the numbers. */
enum ls_code ls_scaling_describe(struct ls_scaling *scaling, struct ls_error *err);

/* Local.  Reads what a model stores: the kind's name and both texts, which must have n_features finite
 * numbers each.  LS_FAILED with what is wrong; then nothing is held. */
enum ls_code ls_scaling_read(struct ls_scaling *scaling, ptrdiff_t n_features, const char *kind,
                             const char *offsets, const char *factors, struct ls_error *err);

/* Of kind and numbers, for ranks to see that they have the same. */
struct ls_hash ls_scaling_hash(const struct ls_scaling *scaling);

#endif
