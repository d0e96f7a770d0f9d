/* A run while it goes on: what trainer.c, looks.c and what writes checkpoints share, and nobody else sees. */
#ifndef LS_TRAIN_RUN_H
#define LS_TRAIN_RUN_H

#include "base/contract.h"
#include "optim/average.h"
#include "train/accumulate.h"
#include "train/trainer.h"

/* Everything that changes while training, besides the parameters. */
struct ls_run {
    const struct ls_train_config *config;
    const struct ls_net *net;
    const struct ls_ops *ops;
    struct ls_comm *comm;
    const struct ls_data *data;
    const struct ls_observer *observer;
    float *parameters;
    float *good; /* parameters to fall back to: at the last epoch's end, or of the best look */
    int64_t good_step;
    struct ls_engine engine;
    struct ls_accumulator accumulator;
    struct ls_sampler sampler;
    struct ls_optimizer optimizer;
    struct ls_learning_rate rate;
    struct ls_average average; /* flat is NULL without --ema */
    struct ls_stopping stopping;
    enum ls_stop_reason stop; /* LS_STOP_NONE while the run goes on */
    struct ls_tree epoch_loss, look_loss;
    int64_t step, epoch, samples_in_epoch, samples_since_look;
    int64_t last_look; /* its step */
    struct ls_evaluation last_test;
    float first_loss;
    int updated;                             /* the optimizer has made a step */
    double epoch_began_s, began_s, paused_s; /* paused_s: in looks of this epoch */
    struct ls_train_result *result;
    struct ls_error *err;
    enum ls_code code; /* agreed: LS_OK while the run goes on */
};

/* What is evaluated and saved. */
const float *ls_run_shown(const struct ls_run *run);

/* Keeps what is shown as what to fall back to. */
void ls_run_remember_good(struct ls_run *run);

static inline int ls_run_due(int64_t count, int64_t every)
{
    return every > 0 && count % every == 0;
}

/* Collective.  A look at how well it goes: the test data's loss, or the training loss since the last look. */
enum ls_code ls_run_look(struct ls_run *run, float train_loss, int evaluate, int *is_best,
                         struct ls_error *err);

/* Collective.  A look between epochs' ends, which the observer is told of. */
enum ls_code ls_run_check(struct ls_run *run, struct ls_error *err);

#endif
