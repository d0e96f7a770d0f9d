/* A net: the layer list as text, resolved against an input shape into layers, shapes and named tensors.
 *
 * A net is pure description; parameters are one flat array of net->n_floats that its owner allocates, in
 * which each tensor is a view at a 64-byte boundary (the gaps stay zero for ever: their gradient is zero).
 * Gradients, velocities and averages are arrays of the same layout, so optimizers and the allreduce are flat
 * loops.
 *
 * Layers are in an order in which each comes after what it takes; mostly a chain, but for the two ends of a
 * residual block.  Layers that only change the order of numbers in memory are inserted. */
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
    ptrdiff_t n_parameters; /* trained ones: running averages do not count */
    ptrdiff_t n_floats;     /* of the flat arrays, gaps included */
    ptrdiff_t sync_floats;  /* the most numbers that a layer sums across the global batch at once; 0: none */
};

/* Reads `text`: layers separated by commas or line ends, '#' starts a comment, and blocks
 *   residual { LAYERS } [shortcut { LAYERS }]      y = LAYERS(x) + x, or + shortcut's LAYERS(x)
 * or "@FILE", a file of the same, at most 1 MB.  Then infers shapes from the sample shape `in`.  Local.
 * Release with ls_net_release, also after failure. */
enum ls_code ls_net_create(struct ls_net *net, const char *text, struct ls_shape in, struct ls_error *err);
void ls_net_release(struct ls_net *net);

/* The layer whose output buffer holds layer i's output: i, or the one that it skips back to; or LS_NET_INPUT.
 */
int ls_net_value(const struct ls_net *net, int i);

/* The hash of all parameters, tensors in order, gaps left out. */
enum ls_code ls_net_hash(const struct ls_net *net, const float *parameters, struct ls_hash *hash,
                         struct ls_error *err);

/* The hash of one tensor. */
struct ls_hash ls_parameter_hash(const struct ls_parameter *tensor, const float *flat);

/* The first tensor of `flat` that holds a number that is not finite, and where in it; NULL when all are
 * finite. */
const struct ls_parameter *ls_net_find_nonfinite(const struct ls_net *net, const float *flat,
                                                 ptrdiff_t *element);

/* "[3,7]": an element, counted in memory order, as an index into the tensor that files have. */
void ls_parameter_index(const struct ls_parameter *tensor, ptrdiff_t element, char *text, size_t size);

/* How parameters start (contract rule 6: keyed by seed, tensor and element). */
enum ls_init_kind {
    LS_INIT_HE,
    LS_INIT_XAVIER,
    LS_INIT_ZEROS,
    LS_INIT_CONSTANT,
    LS_INIT_NORMAL,
    LS_INIT_TRUNCATED_NORMAL,
    LS_INIT_UNIFORM,
};
struct ls_init {
    enum ls_init_kind kind;
    int normal;   /* He and Xavier: normal instead of uniform */
    float number; /* the constant of LS_INIT_CONSTANT, the standard deviation of the normals, the bound of
                     uniform */
    float bias;   /* where biases start; LS_INIT_CONSTANT has its own */
};

/* "he-uniform", "he-normal", "xavier-uniform", "xavier-normal", "zeros", "constant=X", "normal=S",
 * "truncated-normal=S", "uniform=A". */
enum ls_code ls_init_parse(struct ls_init *init, const char *text, struct ls_error *err);

/* Fills the parameters.  He: variance 2 / fan_in (He et al. 2015, eq. 10), Xavier: 2 / (fan_in + fan_out)
 * (Glorot and Bengio 2010, eq. 12 and 16), uniform in +-sqrt(3 variance) or normal.  Truncated normal: a
 * normal of deviation S, given that it lies within 2 S.  Biases are init->bias but for constant; what belongs
 * to a normalisation starts as that layer says. */
void ls_net_initialise(const struct ls_net *net, const struct ls_init *init, uint64_t seed,
                       float *parameters);

/* The same for trial number `trial` of random search, below 2^32: each its own numbers.  Trial 0 is
 * ls_net_initialise. */
void ls_net_draw(const struct ls_net *net, const struct ls_init *init, uint64_t seed, uint64_t trial,
                 float *parameters);

#endif
