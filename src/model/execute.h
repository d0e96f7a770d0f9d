/* Running a net: forward and backward over a block of rows, in terms of layers.
 *
 * An ls_activations holds what one pass needs: each layer's output, what layers leave for backward, and
 * buffers for gradients, which are given to one value after another as the walk goes.  It is sized at set-up
 * for the most rows a pass will have; nothing is allocated afterwards. */
#ifndef LS_MODEL_EXECUTE_H
#define LS_MODEL_EXECUTE_H

#include "model/net.h"

/* Rows of the net's input, and how often they lie in memory. */
struct ls_input {
    float *x;
    struct ls_copies copies;
};

struct ls_activations {
    const struct ls_net *net;
    ptrdiff_t most_rows;
    int with_gradients;
    float *x;             /* (rows, in): the caller fills it before ls_forward */
    struct ls_input each; /* the same for up to each_rows rows, a copy a thread; each.x NULL: not worth it */
    ptrdiff_t each_rows;
    struct ls_input input;   /* where the rows at hand are: in x, or in `each` */
    struct ls_gather gather; /* how the next ls_forward fills them; x NULL: the caller has */
    float **y;               /* y[i]: output of layer i (rows, out); NULL where ls_output_is_made says no */
    float **aux;             /* aux[i]: what layer i leaves for backward */

    /* Buffers that live for a part of a pass: gradients, and without them outputs. */
    int n_slots;
    ptrdiff_t *widths; /* floats a row of each */
    float **slots;
    int *users;   /* how many values a slot stands for at the moment */
    int *slot_of; /* of each value's gradient, the input's in front; -1: none yet */

    float *sync; /* (net->sync_floats) of ls_pass_alone */

    void *block; /* all numbers above lie in it; owned */
};

/* Local.  Keeps the pointer to the net. */
enum ls_code ls_activations_create(struct ls_activations *act, const struct ls_net *net, ptrdiff_t most_rows,
                                   int with_gradients, struct ls_error *err);
void ls_activations_release(struct ls_activations *act);

/* Local.  Room for few rows of input once a thread, if `ops` and the net's first layers gain from that. */
enum ls_code ls_activations_create_each(struct ls_activations *act, const struct ls_ops *ops,
                                        struct ls_error *err);

/* Where the caller puts the B rows of the next ls_forward: into act->x, which needs no call, or with
 * can_copy, when there is room, into as many copies as the result says. */
struct ls_input ls_activations_input(struct ls_activations *act, ptrdiff_t B, int can_copy);

/* Leaves it to the next ls_forward to gather its rows, where its threads read them first; what `rows` points
 * at must last until then, its x and copies are set here.  0, and the caller gathers: the net's first layer
 * cannot. */
int ls_activations_gather(struct ls_activations *act, const struct ls_gather *rows);

/* Some rows of `whole` as activations of their own, so that several threads can each take rows through the
 * net: the numbers are those of `whole` from row `row` on, the bookkeeping is its own.  For nets without
 * layers across samples.  Local; released as others are, before `whole`. */
enum ls_code ls_activations_share_create(struct ls_activations *share, const struct ls_activations *whole,
                                         struct ls_error *err);
void ls_activations_share_move(struct ls_activations *share, const struct ls_activations *whole,
                               ptrdiff_t row);

/* Bytes of a pass's buffers in ls_activations_create. */
struct ls_activation_bytes {
    size_t outputs, gradients;
};
enum ls_code ls_activations_bytes(const struct ls_net *net, ptrdiff_t most_rows, int with_gradients,
                                  struct ls_activation_bytes *bytes, struct ls_error *err);

/* The net's output for the B rows in act->x, which is the result.  pass NULL: inference.  Collective when the
 * net has layers across samples and pass is given. */
const float *ls_forward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                        struct ls_activations *act, ptrdiff_t B, const struct ls_pass *pass);

/* Whether there is a y[i].  Not of a layer that is skipped, nor, with gradients, of one that makes the sum
 * behind it instead. */
int ls_output_is_made(const struct ls_net *net, int i, int with_gradients);

/* The buffer that the loss writes dL/dz into before ls_backward. */
float *ls_output_gradient(struct ls_activations *act);

/* Backward over the B rows of the last ls_forward, which had the same pass, from the gradient in
 * ls_output_gradient(act).  Each part's flat gradient is overwritten with the tree over its leaves of m rows.
 * Returns the gradient with respect to the input (B, in) when `input_gradient` is set, else NULL. */
const float *ls_backward(const struct ls_net *net, const struct ls_ops *ops, const float *parameters,
                         struct ls_activations *act, ptrdiff_t B, const struct ls_pass *pass,
                         int input_gradient);

/* A pass over a whole batch of B rows on this rank alone, its gradient in one part, which must outlive it:
 * running averages stay, step and seed are 0. */
struct ls_pass ls_pass_alone(struct ls_activations *act, ptrdiff_t B, ptrdiff_t m,
                             const struct ls_gradient_part *all);

#endif
