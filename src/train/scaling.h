/* What the training data says of its features: the numbers of data/scaling.h, measured by all ranks together.
 *
 * Sums over samples are contract rule 3's, in leaves of 32 samples in the data's order, whatever the batch;
 * each rank reads only its own leaves.  So the numbers are the same bits on any ranks and threads, and the
 * oracle's.
 *
 *   lo, hi     the least and the largest value, R = hi - lo; maxima need no order
 *   minmax     offset = lo, factor = 1 / R
 *   standard   about = S(x) * r, r = 1.0f / (float)n;  then, over t = (x - about) * (1 / R),
 *              a = S(t) * r, q = S(t * t) * r;  mean = fma(R, a, about), variance = fma(-a, a, q);
 *              offset = mean, factor = 1 / (R * sqrt(variance))
 * The second pass corrects the first one's rounding (Chan, Golub and LeVeque 1983), so a mean that is large
 * beside the deviation costs no digits; and as it works in units of R, no square overflows or vanishes. */
#ifndef LS_TRAIN_SCALING_H
#define LS_TRAIN_SCALING_H

#include "comm/comm.h"
#include "data/dataset.h"

/* Collective; all ranks return the same.  LS_FAILED when a feature's values are not finite, or lie too far
 * apart or too close together for a factor in binary32: the message names it.  On failure nothing is held. */
enum ls_code ls_scaling_fit(struct ls_scaling *scaling, enum ls_scaling_kind kind,
                            const struct ls_dataset *train, const struct ls_ops *ops, struct ls_comm *comm,
                            struct ls_error *err);

#endif
