/* The curve of a learning-rate range test (Smith 2017, arXiv 1506.01186): the loss while the rate grows
 * exponentially, smoothed, and what it suggests.
 *
 * Numbers for people: binary64, and none of them reaches a weight.  They come from the updates' losses alone
 * by additions, multiplications and divisions, so all ranks have the same and stop after the same update. */
#ifndef LS_TRAIN_LR_CURVE_H
#define LS_TRAIN_LR_CURVE_H

#include <stdint.h>

#include "base/status.h"

struct ls_lr_point {
    float rate, loss;
    double smoothed; /* exponential average of the losses so far, corrected for its start at 0 */
};

struct ls_lr_curve {
    int64_t n, capacity;
    struct ls_lr_point *points; /* (capacity) */
    double smoothing;           /* 0 <= smoothing < 1: how much of itself the average keeps */
    double rise;                /* the curve ends above this many times the best */
    double average, weight;     /* of the smoothing */
    double best;                /* the least smoothed so far */
    int rose;                   /* it ended so */
};

/* Release with ls_lr_curve_release, also after failure. */
enum ls_code ls_lr_curve_create(struct ls_lr_curve *curve, int64_t capacity, double smoothing, double rise,
                                struct ls_error *err);
void ls_lr_curve_release(struct ls_lr_curve *curve);

/* Takes the next update in; nothing once it is full. */
void ls_lr_curve_add(struct ls_lr_curve *curve, float rate, float loss);

enum ls_lr_verdict {
    LS_LR_FOUND,
    LS_LR_STILL_FALLING, /* found, but the least is at the end of the range */
    LS_LR_TOO_SHORT,     /* fewer points than say anything */
    LS_LR_NOISY,         /* it falls, by no more than the batches differ */
    LS_LR_FLAT,          /* it hardly falls, and does not rise either */
    LS_LR_ONLY_RISES,    /* or is never near where it began */
};

struct ls_lr_suggestion {
    enum ls_lr_verdict verdict;
    int64_t first;           /* what is judged begins here: the average needs some points */
    int64_t steepest, least; /* points: where the smoothed loss falls fastest a decade, and is least */
    double slope;            /* there: change a decade */
    double fall;             /* from the highest before the least to the least, as a share of the former */
};

struct ls_lr_suggestion ls_lr_curve_suggest(const struct ls_lr_curve *curve);

#endif
