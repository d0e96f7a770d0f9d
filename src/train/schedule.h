/* Schedules: the learning rate as a function of the update's number (Goyal et al. 2017 for warm-up and the
 * linear scaling rule, Loshchilov and Hutter 2017 for cosine, Smith and Topin 2018 for one cycle).
 *
 * All but "plateau" are pure functions of the update and the run's length; plateau also follows the losses it
 * is told.  Every rank computes the rate itself, in fixed sequences of binary32, so all have the same bits.
 */
#ifndef LS_TRAIN_SCHEDULE_H
#define LS_TRAIN_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum ls_schedule_kind {
    LS_SCHEDULE_CONSTANT,
    LS_SCHEDULE_STEP,        /* base factor^floor(t / every) */
    LS_SCHEDULE_MULTISTEP,   /* base factor^(milestones reached) */
    LS_SCHEDULE_EXPONENTIAL, /* step with every = 1 epoch unless said otherwise */
    LS_SCHEDULE_POLYNOMIAL,  /* end + (base - end) (1 - x)^power */
    LS_SCHEDULE_COSINE,      /* least + (base - least) (1 + cos pi x) / 2 */
    LS_SCHEDULE_ONECYCLE,    /* up from start base to base at peak_at, then down to end start base */
    LS_SCHEDULE_PLATEAU,     /* times factor when the loss has stood still for more than patience looks */
};

enum { LS_MILESTONES = 16, LS_SCHEDULE_TEXT = 400, LS_SPAN_TEXT = 32 };

/* A stretch of training: epochs, of which fractions are allowed, or updates. */
struct ls_span {
    float length;
    int in_updates;
};

/* t counts updates from the run's start; x goes from 0 to 1 over what warm-up leaves of it.  All zero is a
 * constant rate. */
struct ls_schedule {
    enum ls_schedule_kind kind;
    struct ls_span warmup; /* the rate times (t + 1) / warmup while t < warmup */
    struct ls_span every;
    int n_milestones;
    struct ls_span at[LS_MILESTONES];
    float factor, power, end, least, peak_at, start, threshold;
    int linear; /* one cycle: straight lines instead of cosines */
    int64_t patience;
};

/* Reads "cosine min=0.0001", "step every=30 factor=0.1", ..., and leaves schedule->warmup as it is. */
enum ls_code ls_schedule_parse(struct ls_schedule *schedule, const char *text, struct ls_error *err);

/* The text that ls_schedule_parse reads back, every setting stated; returns text. */
const char *ls_schedule_format(const struct ls_schedule *schedule, char text[LS_SCHEDULE_TEXT]);

/* "5", "0.5" epochs; "500u" updates. */
enum ls_code ls_span_parse(struct ls_span *span, const char *text, struct ls_error *err);
const char *ls_span_format(struct ls_span span, char text[LS_SPAN_TEXT]);

int64_t ls_updates_per_epoch(int64_t n_samples, int64_t batch, int drop_last);

/* Whether its rates depend on the length of the run. */
int ls_schedule_ends_with_run(const struct ls_schedule *schedule);

/* A schedule at work in one run. */
struct ls_learning_rate {
    struct ls_schedule schedule;
    float base;
    int64_t per_epoch, total; /* updates */
    /* Of plateau, for checkpoints: its rate now, the best loss, and the looks since. */
    float plateau_rate, best;
    int64_t waited;
};

/* A run's length is its epochs: of one that ends before, steps repeats the beginning, at the same rates. With
 * more epochs than can be counted it is steps; steps < 0: no limit. */
struct ls_learning_rate ls_learning_rate_start(const struct ls_schedule *schedule, float base,
                                               int64_t updates_per_epoch, int64_t epochs, int64_t steps);

/* The rate of update t, counted from 0. */
float ls_learning_rate_at(const struct ls_learning_rate *rate, int64_t t);

/* Tells plateau a loss, the same on all ranks: once an evaluation. */
void ls_learning_rate_watch(struct ls_learning_rate *rate, float loss);

/* The linear scaling rule: `rate` is meant for batches of `reference` samples. */
float ls_scaled_rate(float rate, int64_t batch, int64_t reference);

#endif
