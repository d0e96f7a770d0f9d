/* Analytic gradients against numerical ones, the textbook's check of backpropagation.
 *
 * Analytic: forward and backward with the operations at hand, binary32, as a training step runs them.
 * Numerical: central differences (L(w + h) - L(w - h)) / 2h of an independent forward pass in binary64.
 *
 * Errors count relative to the larger of the two, but not to less than a hundredth of the largest gradient in
 * the tensor; and of biases and norms, not to less than a tenth of the largest in the layer: the gradient of
 * a bias in front of a batchnorm is 0 in truth, a sum of large numbers of which only rounding is left. */
#ifndef LS_TRAIN_GRADCHECK_H
#define LS_TRAIN_GRADCHECK_H

#include "model/execute.h"

struct ls_gradcheck_case {
    const struct ls_net *net;
    const struct ls_ops *ops;
    struct ls_loss_rule loss;
    const float *parameters;
    ptrdiff_t B;
    const float *x; /* (B, in) */
    struct ls_targets targets;
    ptrdiff_t microbatch;
    double h;                /* the step of the difference */
    ptrdiff_t most_elements; /* checked of each tensor, evenly spread; 0: all */
};

/* One tensor's outcome; the input is the last, named "input". */
struct ls_gradcheck_result {
    char name[64];
    ptrdiff_t n_elements, n_checked;
    int is_state;               /* a running average, which has no gradient: n_checked is 0, worst too */
    double worst;               /* |a - n| / max(|a|, |n|, least), least as said above; inf when a or n is not
                                   finite */
    ptrdiff_t worst_at;         /* element, in memory order */
    double analytic, numerical; /* there */
    double numerical_s;         /* seconds for this tensor's differences */
};

struct ls_gradcheck_report {
    int n;                               /* tensors of the net, and the input */
    struct ls_gradcheck_result *results; /* (n), released by ls_gradcheck_release */
    double analytic_s;                   /* forward and backward for all of them */
};

/* Local. */
enum ls_code ls_gradcheck(const struct ls_gradcheck_case *check, struct ls_gradcheck_report *report,
                          struct ls_error *err);
void ls_gradcheck_release(struct ls_gradcheck_report *report);

#endif
