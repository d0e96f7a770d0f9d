/* The same nets and losses once more, forward only, in binary64: what numerical gradients are taken of.
 *
 * Independent of compute/ops.h on purpose: it uses libm and plain sums, has an indexing of its own (images
 * are channels-first throughout, one number an index into (B, C, H, W)), fuses nothing, and nothing it
 * computes reaches a weight.  Only the layout of the parameters (layers/layer.h) and the key of dropout
 * (layers/dropout.c) are the net's. */
#ifndef LS_MODEL_REFERENCE64_H
#define LS_MODEL_REFERENCE64_H

#include "model/net.h"

/* Each layer's output for a whole batch. */
struct ls_reference64 {
    const struct ls_net *net;
    ptrdiff_t B;
    double **y; /* y[i] (B, out of layer i); NULL where the layer only renames its input or reorders it */
};

/* Local.  Keeps the pointer to the net.  Release also after failure. */
enum ls_code ls_reference64_create(struct ls_reference64 *reference, const struct ls_net *net, ptrdiff_t B,
                                   struct ls_error *err);
void ls_reference64_release(struct ls_reference64 *reference);

/* The mean loss over the batch, in a training pass as ls_pass_alone describes it: batch statistics, dropout
 * with seed and step 0.  x (B, in), parameters in the net's flat layout, targets as in compute/ops.h.  Layers
 * before first_layer are not computed again: what they gave in the last call must still be so. */
double ls_reference64_loss(const struct ls_reference64 *reference, int first_layer,
                           const struct ls_loss_rule *loss, const double *x, const double *parameters,
                           const struct ls_targets *targets);

/* One layer's output y (B, out) from x (B, in), and of an add the second input.  first_tensor is the net's
 * list of tensors from this layer's on. */
void ls_reference64_layer(const struct ls_layer *layer, const struct ls_parameter *first_tensor, ptrdiff_t B,
                          double *y, const double *x, const double *also, const double *parameters);

/* The loss of sample b with the outputs z (N). */
double ls_reference64_sample_loss(const struct ls_loss_rule *rule, ptrdiff_t N, const double *z,
                                  const struct ls_targets *targets, ptrdiff_t b);

#endif
