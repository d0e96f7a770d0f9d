/* What a layer is: a kind (one file each in this folder), its place in a net, its shapes and its parameters.
 *
 * A layer owns no memory.  It declares tensors, which the net lays out in one flat buffer, and turns forward
 * and backward into operations of the table (compute/ops.h), so it runs on the oracle and on the SIMD kernels
 * alike.  What couples the samples of a batch, or depends on where in a run it happens, comes in through
 * struct ls_pass; a layer knows no ranks. */
#ifndef LS_LAYERS_LAYER_H
#define LS_LAYERS_LAYER_H

#include <stddef.h>

#include "base/status.h"
#include "compute/ops.h"

enum { LS_SHAPE_DIMS = 4, LS_LAYER_TENSORS = 4, LS_LAYER_WORDS = 16 };

/* The shape of one sample, as data sets and other programs have it: (features), (height, width) or
 * (channels, height, width). */
struct ls_shape {
    int n_dims;
    ptrdiff_t dims[LS_SHAPE_DIMS];
    ptrdiff_t count; /* product of dims */
};

/* A named view into the flat parameter and gradient buffers. */
struct ls_parameter {
    char name[64]; /* as PyTorch's nn.Sequential names it: "0.weight", "2.bias", "3.main.0.weight" */
    int n_dims;
    ptrdiff_t dims[LS_SHAPE_DIMS]; /* as files and PyTorch have it: a dense weight is (out, in) */
    int transposed;                /* memory is (product of dims[1..], dims[0]): a dense weight (in, out) */
    ptrdiff_t count;
    ptrdiff_t offset;          /* in floats, a multiple of 16 */
    ptrdiff_t fan_in, fan_out; /* for initialisation */
    int is_bias;
    int is_norm;    /* gamma or beta of a normalisation */
    int is_state;   /* no gradient: running averages */
    float constant; /* where a norm's tensor or a state starts, whatever the initialisation */
};

/* Rows and columns of a tensor in memory: of a transposed one the matrix, else (1, count). */
ptrdiff_t ls_parameter_columns(const struct ls_parameter *tensor);

/* In which order the numbers of an image lie in memory; the same thing for one channel or one pixel. */
enum ls_order {
    LS_ORDER_ANY, /* of a kind: it takes either, and keeps it */
    LS_ORDER_CHANNELS_FIRST,
    LS_ORDER_CHANNELS_LAST,
};

struct ls_layer_kind;

enum { LS_NET_INPUT = -1 }; /* as struct ls_layer.from */

struct ls_layer {
    const struct ls_layer_kind *kind;
    char name[48];  /* its place in the list, from 0: "3", in a residual block "3.main.0"; empty when inserted
                     */
    char text[96];  /* as the user wrote it, for messages */
    char where[96]; /* "--net, layer 2" or "net.txt:2" */
    int place;      /* its index in the net, inserted layers counted */
    int from;       /* the layer whose output it takes, or LS_NET_INPUT */
    int also;       /* add: the second input, the shortcut */
    int consumers;  /* how many layers take its output */
    struct ls_shape in, out;
    enum ls_order order; /* of its output */
    int n_tensors;
    int first_tensor; /* in the net's list */
    int skip; /* nothing to do, its output is its input: a flatten, or an activation done by the layer before
                 it */
    enum ls_activation activation; /* an activation layer's own; or one fused behind a layer that can */
    ptrdiff_t aux_floats, aux_floats_per_row; /* what forward leaves for backward, beside its output */

    /* What configure read; infer fills in the rest. */
    ptrdiff_t units; /* dense and conv: outputs */
    int bias;
    struct ls_conv_shape conv; /* conv and pools: their window; B is the call's */
    int same, depthwise;       /* conv: "pad same", "depthwise" */
    float slope, rate;         /* leakyrelu; dropout */
    float epsilon, momentum;   /* norms */
};

/* A block of rows whose gradient goes into one flat buffer: a subtree of the leaf tree. */
struct ls_gradient_part {
    ptrdiff_t begin, end;
    float *flat;
};

/* Where in a run a pass over B rows happens, and what of it other rows must know.  NULL in a call: inference,
 * in which nothing is dropped and running averages are used. */
struct ls_pass {
    uint64_t seed, step; /* of the run; updates done so far */
    int64_t first_row;   /* position in the global batch of row 0 */
    int64_t global_batch;
    ptrdiff_t m;  /* microbatch */
    float *state; /* the flat parameters, whose running averages forward updates; NULL: they stay */

    int n_parts; /* the rows as subtrees of the leaf tree */
    const struct ls_gradient_part *parts;

    /* Sums across the whole global batch: the caller fills sums[0..n_parts) with n numbers each, a part's
     * tree each; finish_sums ends the tree over all ranks and returns its n numbers, which last until the
     * next call.  Collective. */
    float *const *sums;
    const float *(*finish_sums)(void *context, ptrdiff_t n);

    /* Backward is done with this layer and with all behind it: their parameters' gradients are complete.
     * NULL: nobody wants to know. */
    void (*layer_done)(void *context, int layer);

    /* Called about every tick_flops of an input gradient, which is cut by rows for it.  NULL: never. */
    void (*tick)(void *context);
    double tick_flops;
    void *context;
};

/* One call's view: the flat parameters and a block of rows. */
struct ls_layer_call {
    const struct ls_ops *ops;
    const struct ls_parameter *tensors; /* of this layer */
    const float *parameters;            /* flat */
    ptrdiff_t B;
    struct ls_copies x_copies;      /* of the layer's input; one but where the kind has x_copies */
    const struct ls_gather *gather; /* of a kind that gathers: forward fills x so; NULL: x is there */
    float *aux;                     /* aux_floats + B * aux_floats_per_row, from forward to backward */
    const struct ls_pass *pass;
    /* Of a kind that fuses_add, when forward has an `also`: the activation of the add whose output y is. */
    enum ls_activation add_activation;
    /* Of a kind that fuses_maxpool: the maxpool right behind, which forward does with its own work, or whose
     * gradient weight_gradient does first; NULL: it is somebody else's. */
    const struct ls_maxpool *pool;
    const struct ls_maxpool_gradient *pool_gradient;
};

struct ls_layer_kind {
    const char *name;
    const char *usage;    /* "dense N [nobias]" */
    enum ls_order order;  /* of images it takes and gives */
    int fuses_activation; /* its forward can end in an activation, layer->activation */
    int fuses_derivative; /* its input_gradient can apply the derivative of the activation that made x */
    int fuses_maxpool;    /* its forward and weight_gradient can do that of a maxpool behind */
    int fuses_add;        /* its forward can do that of an add behind */
    int is_activation;    /* relu, tanh, sigmoid: can be fused into the layer before */
    int across_samples;   /* needs all rows of the global batch in one pass */
    int gathers;          /* its forward can gather the rows of its input */
    /* How many copies of its input x (B,in) it would like, at least 1; NULL: it can read one only. */
    int (*x_copies)(const struct ls_layer *layer, const struct ls_ops *ops, ptrdiff_t B);

    /* Reads the words behind the name into the layer; the message says what is wrong, the caller adds where.
     */
    enum ls_code (*configure)(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err);

    /* From layer->in: sets layer->out, and fills and counts layer->n_tensors. */
    enum ls_code (*infer)(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                          struct ls_error *err);

    /* y (B,out) from x (B,in); `also` (B,out) is the second input of an add, or, of a kind that fuses_add,
     * what the add behind adds to its output; else NULL. */
    void (*forward)(const struct ls_layer *layer, const struct ls_layer_call *call, float *y, const float *x,
                    const float *also);

    /* This layer's slices of each part's flat gradient, overwritten, from dy (B,out) and the x of forward. Of
     * a layer with a fused activation, dy is the gradient before that.  Comes before input_gradient.  NULL
     * without parameters. */
    void (*weight_gradient)(const struct ls_layer *layer, const struct ls_layer_call *call, const float *x,
                            const float *dy);

    /* dx (B,in) from dy (B,out), with x and y of the forward call.  x_activation, LS_ACT_NONE unless
     * fuses_derivative, is the activation that made x: its derivative is applied to dx.  NULL: dx is dy. */
    void (*input_gradient)(const struct ls_layer *layer, const struct ls_layer_call *call, float *dx,
                           const float *dy, const float *x, const float *y, enum ls_activation x_activation);

    /* Multiplications and additions of forward, a sample; NULL: not worth counting. */
    double (*flops)(const struct ls_layer *layer);
};

/* What a user can write. */
extern const struct ls_layer_kind ls_layer_dense, ls_layer_conv;
extern const struct ls_layer_kind ls_layer_maxpool, ls_layer_avgpool, ls_layer_globalavgpool;
extern const struct ls_layer_kind ls_layer_batchnorm, ls_layer_layernorm, ls_layer_dropout, ls_layer_softmax;
extern const struct ls_layer_kind ls_layer_relu, ls_layer_tanh, ls_layer_sigmoid;
extern const struct ls_layer_kind ls_layer_leakyrelu, ls_layer_gelu, ls_layer_softplus;
extern const struct ls_layer_kind ls_layer_flatten;

/* What the net inserts. */
extern const struct ls_layer_kind ls_layer_reorder; /* between channels first and channels last */
extern const struct ls_layer_kind ls_layer_add;     /* the end of a residual block */

/* The kind of that name, or NULL with a message that names the nearest known one. */
const struct ls_layer_kind *ls_layer_find(const char *name, struct ls_error *err);

/* The i-th kind that a user can write, or NULL behind the last. */
const struct ls_layer_kind *ls_layer_kind_at(int i);

struct ls_shape ls_shape_of(int n_dims, const ptrdiff_t *dims);
int ls_shape_equal(const struct ls_shape *a, const struct ls_shape *b);

/* The shape as channels of height x width: (features) are channels of one pixel, (height, width) is one
 * channel. */
struct ls_image {
    ptrdiff_t C, H, W;
};
struct ls_image ls_shape_image(const struct ls_shape *shape);

/* The shape of an image in a layer's output: 3 dims. */
struct ls_shape ls_shape_of_image(ptrdiff_t C, ptrdiff_t H, ptrdiff_t W);

/* "28x28" -> a shape; 0 when it is none, or has more than 2^31 numbers. */
int ls_shape_parse(const char *text, struct ls_shape *shape);

/* "28x28", "10". */
const char *ls_shape_format(const struct ls_shape *shape, char *text, size_t size);

/* Reading the words of a layer.  "3x3" or "3": two numbers of at least `least`. */
enum ls_code ls_word_to_pair(const char *word, const char *what, int64_t least, ptrdiff_t *y, ptrdiff_t *x,
                             struct ls_error *err);
enum ls_code ls_word_to_count(const char *word, const char *what, ptrdiff_t *count, struct ls_error *err);
/* A number in [least, most). */
enum ls_code ls_word_to_float(const char *word, const char *what, float least, float most, float *number,
                              struct ls_error *err);
/* For kinds whose output has the shape of their input, and that have no parameters. */
enum ls_code ls_layer_infer_same(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                                 struct ls_error *err);
/* For kinds that take no words. */
enum ls_code ls_layer_no_words(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err);

#endif
