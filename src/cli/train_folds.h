/* lockstep train --folds K: cross-validation. */
#ifndef LS_CLI_TRAIN_FOLDS_H
#define LS_CLI_TRAIN_FOLDS_H

#include "cli/setup.h"

struct ls_folds_options {
    const struct ls_setup_options *setup; /* its `folds` says how many */
    int64_t epochs, steps, hash_every;    /* of each training, as struct ls_train_config has them */
    const char *log;
    int quiet;
};

/* Collective.  Trains once for each fold on the samples of the others, from the same first weights, and
 * evaluates each model once on its fold; prints and logs a row for each, and their mean and standard
 * deviation. LS_NONFINITE, with the fold in the message, ends it. */
enum ls_code ls_train_folds(const struct ls_folds_options *options, struct ls_comm *comm,
                            struct ls_error *err);

#endif
