/* The same nets and losses once more, forward only, in binary64: what numerical gradients are taken of.
 *
 * Independent of compute/ops.h on purpose: it uses libm and plain sums, and nothing it computes reaches a
 * weight. */
#ifndef LS_MODEL_REFERENCE64_H
#define LS_MODEL_REFERENCE64_H

#include "model/net.h"

/* The mean loss over B samples; x (B, in), parameters in the net's flat layout, targets as in compute/ops.h.
 * scratch holds 2 * widest layer doubles (ls_reference64_scratch). */
double ls_reference64_loss(const struct ls_net *net, const struct ls_loss_rule *loss, ptrdiff_t B,
                           const double *x, const double *parameters, const struct ls_targets *targets,
                           double *scratch);
ptrdiff_t ls_reference64_scratch(const struct ls_net *net);

/* The loss of sample b with the outputs z (N). */
double ls_reference64_sample_loss(const struct ls_loss_rule *rule, ptrdiff_t N, const double *z,
                                  const struct ls_targets *targets, ptrdiff_t b);

#endif
