/* Running a net: forward and backward over a block of rows, in terms of layers.
 *
 * An ls_activations holds what one pass needs: each layer's output and two gradient buffers that layers
 * alternate between.  It is sized at set-up for the most rows a pass will have; nothing is allocated
 * afterwards. */
#ifndef LS_MODEL_EXECUTE_H
#define LS_MODEL_EXECUTE_H

#include "model/net.h"

struct ls_activations {
    ptrdiff_t most_rows;
    float *x;       /* (rows, in): the caller fills it before ls_forward */
    float **y;      /* y[i]: output of layer i (rows, out); a fused activation shares its layer's */
    float *grad[2]; /* (rows, widest layer): gradients going down; NULL when made for forward only */
};

enum ls_code ls_activations_create(struct ls_activations *act, const struct ls_net *net, ptrdiff_t most_rows,
                                   int with_gradients, struct ls_error *err);
void ls_activations_release(struct ls_activations *act, const struct ls_net *net);

/* Bytes that ls_activations_create takes. */
size_t ls_activations_bytes(const struct ls_net *net, ptrdiff_t most_rows, int with_gradients);

/* The net's output for the B rows in act->x; the result is the last act->y. */
const float *ls_forward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                        struct ls_activations *act, ptrdiff_t B);

/* The buffer that the loss writes dL/dz into before ls_backward. */
float *ls_output_gradient(struct ls_activations *act);

/* One gradient to fill: the rows [begin, end) of the pass are a subtree of the leaf tree; `flat` gets their
 * sum. */
struct ls_gradient_part {
    ptrdiff_t begin, end;
    float *flat;
};

/* Backward over the B rows of the last ls_forward, from the gradient in ls_output_gradient(act).  Each part's
 * flat gradient is overwritten with the tree over its leaves of m rows.  Returns the gradient with respect to
 * the input (B, in) when `input_gradient` is set, else NULL. */
const float *ls_backward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                         struct ls_activations *act, ptrdiff_t B, ptrdiff_t m,
                         const struct ls_gradient_part *parts, int n_parts, int input_gradient);

#endif
