/* A net: the layer list as text, resolved against an input shape into layers, shapes and named tensors.
 *
 * A net is pure description; parameters are one flat array of net->n_floats that its owner allocates, in
 * which each tensor is a view at a 64-byte boundary (the gaps stay zero for ever: their gradient is zero).
 * Gradients, velocities and averages are arrays of the same layout, so optimizers and the allreduce are flat
 * loops. */
#ifndef LS_MODEL_NET_H
#define LS_MODEL_NET_H

#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "layers/layer.h"

struct ls_net {
    char *text; /* canonical: "dense 128, relu, dense 10" */
    int n_layers;
    struct ls_layer *layers;
    int n_tensors;
    struct ls_parameter *tensors;
    struct ls_shape in, out;
    ptrdiff_t n_parameters;
    ptrdiff_t n_floats; /* of the flat arrays, gaps included */
};

/* Reads `text`: layers separated by commas or line ends, '#' starts a comment; or "@FILE", a file of the
 * same, at most 1 MB.  Then infers shapes from the sample shape `in`.  Local.  Release with ls_net_release,
 * also after failure. */
enum ls_code ls_net_create(struct ls_net *net, const char *text, struct ls_shape in, struct ls_error *err);
void ls_net_release(struct ls_net *net);

/* The hash of all parameters, tensors in order, gaps left out. */
enum ls_code ls_net_hash(const struct ls_net *net, const float *parameters, struct ls_hash *hash,
                         struct ls_error *err);

/* The hash of one tensor. */
struct ls_hash ls_parameter_hash(const struct ls_parameter *tensor, const float *flat);

/* The first tensor of `flat` that holds a number that is not finite, and where in it; NULL when all are
 * finite. */
const struct ls_parameter *ls_net_find_nonfinite(const struct ls_net *net, const float *flat,
                                                 ptrdiff_t *element);

/* How parameters start (contract rule 6: keyed by seed, tensor and element). */
enum ls_init_kind { LS_INIT_HE, LS_INIT_XAVIER, LS_INIT_ZEROS, LS_INIT_CONSTANT };
struct ls_init {
    enum ls_init_kind kind;
    int normal;     /* He and Xavier: normal instead of uniform */
    float constant; /* of LS_INIT_CONSTANT, for weights and biases */
};

/* "he-uniform", "he-normal", "xavier-uniform", "xavier-normal", "zeros", "constant=X". */
enum ls_code ls_init_parse(struct ls_init *init, const char *text, struct ls_error *err);

/* Fills the parameters.  He: variance 2 / fan_in (He et al. 2015, eq. 10), Xavier: 2 / (fan_in + fan_out)
 * (Glorot and Bengio 2010, eq. 12 and 16), uniform in +-sqrt(3 variance) or normal.  Biases are 0 but for
 * constant. */
void ls_net_initialise(const struct ls_net *net, const struct ls_init *init, uint64_t seed,
                       float *parameters);

#endif
