/* Random search: the baseline that says why gradients matter.
 *
 * A trial draws all weights anew as initialisation does, keyed by its number, and has the loss over the whole
 * training set; the best is kept.  Trial 0 is whatever the caller starts from, which is what gradient descent
 * would start from, too. */
#ifndef LS_TRAIN_RANDOM_SEARCH_H
#define LS_TRAIN_RANDOM_SEARCH_H

#include "train/step.h"

struct ls_search_config {
    struct ls_loss_rule loss;
    enum ls_allreduce allreduce;
    int64_t microbatch; /* samples in a leaf */
    int64_t trials;     /* at least 1, trial 0 counted */
    uint64_t seed;
    struct ls_init init;
};

struct ls_search_result {
    int64_t best_trial; /* of equal ones the first */
    struct ls_evaluation train,
        test;                   /* of the best; test: of the samples that looks are at, n_samples 0 without */
    struct ls_step_times times; /* of this rank's trials, the test left out */
};

struct ls_search_observer {
    void *context;
    /* After each trial.  A failure here ends the search on all ranks. */
    enum ls_code (*on_trial)(void *context, int64_t trial, const struct ls_evaluation *train, int is_best,
                             struct ls_error *err);
};

/* Collective.  `parameters` (net->n_floats) are trial 0, and the best on return.  A loss that is not finite
 * is never the best; LS_NONFINITE when all are such.  observer may be NULL. */
enum ls_code ls_random_search(const struct ls_search_config *config, const struct ls_net *net,
                              const struct ls_ops *ops, struct ls_comm *comm, const struct ls_data *data,
                              float *parameters, const struct ls_search_observer *observer,
                              struct ls_search_result *result, struct ls_error *err);

#endif
