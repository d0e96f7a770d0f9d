/* When to stop, and which model is best: rules over what a run has seen, the same on every rank.
 *
 * A "look" is a loss, and with classes an accuracy, of the test data, or the training loss where there is no
 * test data.  Rules are pure functions of looks and gradient norms; only a limit of time makes a run depend
 * on the machine, and then the step it ended at says how to repeat it. */
#ifndef LS_TRAIN_STOPPING_H
#define LS_TRAIN_STOPPING_H

#include <stdint.h>

enum ls_stop_reason {
    LS_STOP_EPOCHS, /* all of --epochs are done */
    LS_STOP_STEPS,
    LS_STOP_LOSS,
    LS_STOP_ACCURACY,
    LS_STOP_PATIENCE,
    LS_STOP_GRADIENT,
    LS_STOP_TIME,
    LS_STOP_ASKED,  /* the observer says so */
    LS_STOP_SIGNAL, /* see signals.h; the run is not at its end */
    LS_STOP_NONE,   /* it failed or diverged */
};

struct ls_stop_rule {
    int has_loss, has_accuracy;
    float loss;               /* stop at a loss of at most this */
    float accuracy;           /* stop at a share of correct answers, in binary32 as this, of at least this */
    int64_t patience;         /* stop after so many looks without a better one; 0: never */
    int by_accuracy;          /* better means more correct answers, not less loss */
    float gradient_tolerance; /* stop when the mean gradient's norm is at most this; 0: never */
    double seconds;           /* stop after so many; 0: no limit */
};

struct ls_look {
    int64_t step, epoch;
    float loss;
    int64_t n_correct, n_samples; /* n_correct < 0: the data has no classes */
};

struct ls_stopping {
    struct ls_stop_rule rule;
    struct ls_look best; /* best.step == 0: none yet */
    int64_t waited;      /* looks since the best */
};

/* Takes a look in: *is_best says whether it is the best so far, of equal ones the first.  Returns the reason
 * to stop, or LS_STOP_NONE. */
enum ls_stop_reason ls_stopping_look(struct ls_stopping *stopping, const struct ls_look *look, int *is_best);

/* "patience", ... */
extern const char *const ls_stop_names[];

/* A sentence for people. */
const char *ls_stop_describe(enum ls_stop_reason reason);

#endif
