/* What a layer is: a kind (one file each in this folder), its place in a net, its shapes and its parameters.
 *
 * A layer owns no memory.  It declares tensors, which the net lays out in one flat buffer, and turns forward
 * and backward into operations of the table (compute/ops.h), so it runs on the oracle and on the SIMD kernels
 * alike. */
#ifndef LS_LAYERS_LAYER_H
#define LS_LAYERS_LAYER_H

#include <stddef.h>

#include "base/status.h"
#include "compute/ops.h"

enum { LS_SHAPE_DIMS = 4, LS_LAYER_TENSORS = 2, LS_LAYER_WORDS = 16 };

/* The shape of one sample. */
struct ls_shape {
    int n_dims;
    ptrdiff_t dims[LS_SHAPE_DIMS];
    ptrdiff_t count; /* product of dims */
};

/* A named view into the flat parameter and gradient buffers. */
struct ls_parameter {
    char name[48]; /* as PyTorch's nn.Sequential names it: "0.weight", "2.bias" */
    int n_dims;
    ptrdiff_t dims[LS_SHAPE_DIMS]; /* as in memory: a dense weight is (in, out) */
    int transposed_in_files; /* stored with dims reversed: a dense weight as (out, in), as PyTorch has it */
    ptrdiff_t count;
    ptrdiff_t offset;          /* in floats, a multiple of 16 */
    ptrdiff_t fan_in, fan_out; /* for initialisation */
    int is_bias;
    int is_norm;  /* gamma or beta of a normalisation */
    int is_state; /* no gradient: running averages */
};

struct ls_layer_kind;

struct ls_layer {
    const struct ls_layer_kind *kind;
    int index;      /* in the net's list, from 0: the number in its tensors' names */
    char text[96];  /* as the user wrote it, for messages */
    char where[96]; /* "layer 2" or "net.txt:2" */
    struct ls_shape in, out;
    int n_tensors;
    int first_tensor; /* in the net's list */
    ptrdiff_t units;  /* dense: outputs */
    int bias;
    enum ls_activation activation; /* an activation layer's own; or one fused behind a layer that can */
    int fused;                     /* this activation is done by the layer before it: skip it */
};

/* One call's view: the flat parameters and a block of rows. */
struct ls_layer_call {
    const struct ls_ops *ops;
    const struct ls_parameter *tensors; /* of this layer */
    const float *parameters;            /* flat */
    ptrdiff_t B;
};

struct ls_layer_kind {
    const char *name;
    const char *usage;    /* "dense N [nobias]" */
    int fuses_activation; /* its forward can end in an activation, layer->activation */

    /* Reads the words behind the name into the layer; the message says what is wrong, the caller adds where.
     */
    enum ls_code (*configure)(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err);

    /* From layer->in: sets layer->out, and fills and counts layer->n_tensors. */
    enum ls_code (*infer)(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err);

    /* y (B,out) from x (B,in). */
    void (*forward)(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x);

    /* dx (B,in) from dy (B,out), with x and y of the forward call.  If the layer fuses an activation, dy is
     * already the gradient behind it (dz).  x_activation is the activation that made x: its derivative is
     * applied to dx. */
    void (*input_gradient)(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation);

    /* This layer's part of the flat gradient, overwritten: tree over the leaves of m rows.  NULL without
     * parameters. */
    void (*weight_gradient)(const struct ls_layer *layer, const struct ls_layer_call *call, ptrdiff_t m,
                            float *gradient, const float *x, const float *dy);
};

extern const struct ls_layer_kind ls_layer_dense;
extern const struct ls_layer_kind ls_layer_relu, ls_layer_tanh, ls_layer_sigmoid;

/* The kind of that name, or NULL with a message that names the nearest known one. */
const struct ls_layer_kind *ls_layer_find(const char *name, struct ls_error *err);

struct ls_shape ls_shape_of(int n_dims, const ptrdiff_t *dims);

/* "28x28", "10". */
const char *ls_shape_format(const struct ls_shape *shape, char *text, size_t size);

#endif
