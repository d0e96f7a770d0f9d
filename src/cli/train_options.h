/* The options of lockstep train: reading them, over those of a checkpoint when a run goes on, and refusing
 * what does not go together. */
#ifndef LS_CLI_TRAIN_OPTIONS_H
#define LS_CLI_TRAIN_OPTIONS_H

#include "cli/checkpoint_options.h"
#include "cli/fault_options.h"
#include "cli/resume.h"
#include "cli/setup.h"
#include "cli/stop_options.h"

struct ls_train_options {
    struct ls_setup_options setup;
    const char *save, *log;
    int64_t epochs, steps, eval_every, hash_every;
    struct ls_stop_options stop;
    struct ls_fault_options faults;
    struct ls_checkpoint_options checkpoint;
    int quiet, progress;           /* progress: off, on, auto */
    int64_t old_epochs, old_steps; /* of a run that goes on: the length that it was to have */
};

/* Reads the command line; with an open checkpoint (source->file) over its options, and then a changed one
 * that would change the result is refused, unless it is allowed.  *configuration records them for
 * checkpoints. With `print`, --help is printed.  Local. */
enum ls_code ls_train_options_read(struct ls_train_options *options, struct ls_checkpoint_source *source,
                                   struct ls_configuration *configuration, int argc, char **argv, int *help,
                                   int print, struct ls_error *err);

/* LS_USAGE for an option that means nothing, or would cheat, beside --folds; beside random search.  Local. */
enum ls_code ls_train_options_for_folds(const struct ls_train_options *options, struct ls_error *err);
enum ls_code ls_train_options_for_search(const struct ls_train_options *options, struct ls_error *err);

/* Passes over the training data when the user says `epochs` and `steps` (below 0: nothing). */
int64_t ls_train_epochs(int64_t epochs, int64_t steps);

#endif
