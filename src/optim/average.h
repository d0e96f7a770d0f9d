/* An exponential moving average of the weights: average = average + (1 - decay) (w - average) after each
 * update, from the first weights on (Polyak and Juditsky 1992 in its recursive form).  Evaluated and saved in
 * place of the weights, which go on without it. */
#ifndef LS_OPTIM_AVERAGE_H
#define LS_OPTIM_AVERAGE_H

#include "base/status.h"
#include "compute/ops.h"

struct ls_average {
    ptrdiff_t n;
    float weight; /* 1.0f - decay */
    float *flat;  /* (n), in the weights' layout; for checkpoints, state like an optimizer's */
};

/* Starts at w (n).  0 <= decay < 1.  Release with ls_average_release, also after failure. */
enum ls_code ls_average_create(struct ls_average *average, ptrdiff_t n, float decay, const float *w,
                               struct ls_error *err);
void ls_average_release(struct ls_average *average);

/* After each update. */
void ls_average_follow(struct ls_average *average, const struct ls_ops *ops, const float *w);

#endif
