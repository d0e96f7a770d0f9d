/* The training loop: epochs of steps, evaluation, agreement of replicas, and when to stop.
 *
 * It prints nothing and writes no file: an observer is told what happened and does that.  Every rank runs the
 * same loop and holds the same bits after each step; observers are usually set on rank 0 only. */
#ifndef LS_TRAIN_TRAINER_H
#define LS_TRAIN_TRAINER_H

#include "optim/optimizer.h"
#include "train/checkpoint.h"
#include "train/schedule.h"
#include "train/step.h"
#include "train/stopping.h"

struct ls_train_config {
    struct ls_loss_rule loss;
    enum ls_allreduce allreduce;
    int64_t
        bucket_bytes; /* > 0: gradients leave in pieces of this size while backward runs, where it can pay */
    int shard_optimizer; /* each rank updates its slices of the parameters (shards.h) */
    int64_t batch;       /* global batch, 1 <= batch <= train samples */
    int64_t accumulate;  /* batches in an update; 0 counts as 1 */
    int64_t microbatch;  /* samples in a leaf */
    int64_t epochs;      /* stop after so many passes over the data ... */
    int64_t steps;       /* ... or after so many updates, whichever is first; -1: no such limit */
    struct ls_optimizer_rule optimizer;
    struct ls_schedule schedule; /* of the optimizer's learning rate */
    float ema;                   /* decay of the average of weights; 0: none */
    uint64_t seed;
    int shuffle;               /* enum ls_shuffle */
    int64_t shuffle_block;     /* of LS_SHUFFLE_BLOCKS */
    struct ls_augment augment; /* its seed is set by who fills this in, its epoch here */
    int drop_last;             /* leave out an epoch's last batch when it is short */
    int64_t eval_every;        /* epochs between evaluations of the test data; 0: never */
    int64_t check_every;       /* updates between looks, beside those at epochs' ends; 0: only those */
    struct ls_stop_rule stop;
    int keep_best;       /* end with the parameters of the best look instead of the last ones */
    int64_t cross_check; /* steps between checks of one leaf by another rank; 0: none */
    int64_t hash_every;  /* steps between comparisons of replicas, beside those at each epoch's end; 0: only
                            those */
    struct ls_checkpoint_rule checkpoint;
    const struct ls_checkpoint_source *resume; /* go on from there; NULL, or its file is NULL: from the
                                                  beginning */
};

struct ls_step_report {
    int64_t step, epoch; /* both from 1 */
    int64_t step_in_epoch, steps_per_epoch;
    float loss; /* mean over the update's samples */
    float learning_rate;
    int has_norm;
    float gradient_norm;  /* of the mean gradient, when something asks for it */
    double samples_per_s; /* so far in this epoch */
    int hashed;           /* hash is set: replicas were compared after this step */
    struct ls_hash hash;
};

struct ls_epoch_report {
    int64_t epoch, step;
    int64_t n_samples; /* used in this epoch */
    float loss; /* mean over the samples as they were trained on: tree over the steps' sums, scaled once */
    float first_loss; /* of the run's first update: what there is to get better than; 0: of too few samples */
    int evaluated;
    int is_best; /* the best look so far */
    struct ls_evaluation test;
    double seconds, samples_per_s;                     /* of training, evaluation left out */
    double compute_share, allreduce_share, data_share; /* of the epoch's training time, mean over ranks */
    struct ls_hash hash;                               /* of the parameters after it */
};

/* A look between epochs' ends. */
struct ls_check_report {
    int64_t step, epoch;
    float loss; /* mean over the samples trained on since the last look */
    int evaluated, is_best;
    struct ls_evaluation test;
};

struct ls_observer {
    void *context;
    void (*on_step)(void *context, const struct ls_step_report *report, const float *parameters);
    void (*on_check)(void *context, const struct ls_check_report *report);
    /* Whether to end after this update: set on all ranks or on none, and all must say the same.  NULL: no. */
    int (*stop)(void *context);
    /* A failure here, or one remembered from the others, ends training on all ranks. */
    enum ls_code (*on_epoch)(void *context, const struct ls_epoch_report *report, const float *parameters,
                             struct ls_error *err);
};

struct ls_train_result {
    int64_t steps, epochs; /* done */
    struct ls_epoch_report last;
    int64_t good_step; /* the step whose parameters are in `parameters` on return */
    enum ls_stop_reason stopped;
    struct ls_look best; /* best.step == 0: nothing was looked at */
};

/* Collective.  Trains `parameters` (net->n_floats) in place; with an average of weights, what is evaluated,
 * hashed, kept and returned is that.  LS_NONFINITE: the loss or a parameter is not finite; the message names
 * step and tensor, and `parameters` holds those of result->good_step, the last epoch's end or the best look.
 * LS_REPLICA: ranks hold different bits.  LS_INTERRUPTED: one of the signals of signals.h came on some rank,
 * when they are caught; the run is in a checkpoint, if it writes such, and `parameters` are those of the last
 * step (or of the best look).  observer may be NULL. */
enum ls_code ls_train(const struct ls_train_config *config, const struct ls_net *net,
                      const struct ls_ops *ops, struct ls_comm *comm, const struct ls_data *data,
                      float *parameters, const struct ls_observer *observer, struct ls_train_result *result,
                      struct ls_error *err);

#endif
