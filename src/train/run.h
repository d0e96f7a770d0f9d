/* A run while it goes on: what trainer.c, looks.c and what writes checkpoints share, and nobody else sees. */
#ifndef LS_TRAIN_RUN_H
#define LS_TRAIN_RUN_H

#include "base/contract.h"
#include "optim/average.h"
#include "train/accumulate.h"
#include "train/cross_check.h"
#include "train/trainer.h"

/* An update by buckets (update.h). */
struct ls_early {
    int64_t B; /* samples of it */
    int begun; /* then every bucket has been told of, and is applied */
    int64_t not_finite;
};

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
    struct ls_cross_check cross_check;
    struct ls_sampler sampler;
    struct ls_optimizer optimizer;
    struct ls_learning_rate rate;
    struct ls_average average; /* flat is NULL without --ema */
    struct ls_stopping stopping;
    enum ls_stop_reason stop; /* LS_STOP_NONE while the run goes on */
    struct ls_tree epoch_loss, look_loss;
    int64_t step, epoch, samples_in_epoch, samples_since_look;
    int64_t position;  /* in the epoch: of the next update's first sample */
    int in_epoch;      /* the epoch has begun and finish_epoch is to come */
    int64_t last_look; /* its step */
    struct ls_evaluation last_test;
    struct ls_epoch_report last_epoch; /* last_epoch.epoch == 0: none has ended */
    float first_loss;
    int updated; /* the optimizer has made a step */
    struct ls_early early;
    float *squares;        /* of the gradient's blocks, where ranks know some each; else NULL */
    uint64_t *square_bits; /* the same under way */
    int64_t samples_timed; /* of this epoch, by this process */
    double epoch_began_s, began_s, paused_s; /* paused_s: in looks of this epoch */
    struct ls_checkpoint_writer *writer;     /* rank 0's; NULL elsewhere, and without checkpoints */
    double checkpoint_s;                     /* when the last one was begun */
    struct ls_train_result *result;
    struct ls_error *err;
    enum ls_code code; /* agreed: LS_OK while the run goes on */
};

/* What is evaluated and saved. */
const float *ls_run_shown(const struct ls_run *run);

/* Keeps what is shown as what to fall back to. */
void ls_run_remember_good(struct ls_run *run);

static inline int64_t ls_samples_per_update(const struct ls_train_config *config)
{
    return config->batch * (config->accumulate > 1 ? config->accumulate : 1);
}

static inline int ls_run_due(int64_t count, int64_t every)
{
    return every > 0 && count % every == 0;
}

static inline int ls_run_epoch_is_over(const struct ls_run *run)
{
    const int64_t left = run->data->train.n_samples - run->position;
    return left <= 0 || (run->config->drop_last && left < ls_samples_per_update(run->config));
}

static inline int ls_run_finished(struct ls_run *run)
{
    if (run->stop == LS_STOP_NONE && run->config->steps >= 0 && run->step >= run->config->steps)
        run->stop = LS_STOP_STEPS;
    return run->stop != LS_STOP_NONE;
}

/* Collective.  A look at how well it goes: the test data's loss, or the training loss since the last look. */
enum ls_code ls_run_look(struct ls_run *run, float train_loss, int evaluate, int *is_best,
                         struct ls_error *err);

/* Collective.  LS_OK when all ranks hold the same parameters; *hash is that of what is shown. */
enum ls_code ls_run_compare(struct ls_run *run, struct ls_hash *hash, struct ls_error *err);

/* Local: makes the run what the checkpoint of config->resume says, after its buffers are there. */
enum ls_code ls_run_restore(struct ls_run *run, struct ls_error *err);

/* Collective.  Writes a checkpoint of the run as it is: on a thread of its own, while training goes on,
 * unless `wait`.  A failure of one begun before shows here. */
enum ls_code ls_run_checkpoint(struct ls_run *run, int wait, struct ls_error *err);

/* Local, rank 0: the writer and its copy of the state. */
enum ls_code ls_checkpoint_writer_create(struct ls_checkpoint_writer **writer, struct ls_run *run,
                                         struct ls_error *err);
void ls_checkpoint_writer_destroy(struct ls_checkpoint_writer **writer);
int ls_checkpoint_writer_failed(struct ls_checkpoint_writer *writer); /* as far as it is known; NULL: no */
enum ls_code ls_checkpoint_writer_wait(struct ls_checkpoint_writer *writer, struct ls_error *err);

/* The arrays of a run that a checkpoint holds, beside the model that it shows.  Returns how many. */
enum { LS_RUN_ARRAYS = 3 + LS_OPTIMIZER_STATES + 2 };
struct ls_run_array {
    const char *name; /* NULL: the model that is shown */
    float *flat;
    ptrdiff_t n;
    const struct ls_tree *tree; /* these are the pending sums of a tree */
    int in_slices;              /* flat has this rank's slices of the n, one behind the other (shards.h) */
};
int ls_run_arrays(struct ls_run *run, struct ls_run_array arrays[LS_RUN_ARRAYS]);

/* The numbers of a run, as facts named state.* */
void ls_run_numbers(const struct ls_run *run, struct ls_model_facts *facts);

/* Collective.  A look between epochs' ends, which the observer is told of. */
enum ls_code ls_run_check(struct ls_run *run, struct ls_error *err);

#endif
