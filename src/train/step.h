/* One training step's mathematics, and evaluation: what a rank computes from a range of leaves, and the tree
 * that makes it one result.
 *
 * A rank's leaves go through the net in passes, as many at once as a budget of memory allows: how many cannot
 * change a bit.  A net with layers across samples (batch norm) takes all of them in one pass, and its ranks
 * meet inside forward and backward.
 *
 * An engine is a net with everything a step needs, allocated once: activations for one pass, gradient slots,
 * batch buffers.  The same code runs on the oracle's operations and on the parallel ones, on one rank or
 * many; only `ops` and `comm` differ. */
#ifndef LS_TRAIN_STEP_H
#define LS_TRAIN_STEP_H

#include "comm/comm.h"
#include "data/dataset.h"
#include "data/prefetch.h"
#include "data/sampler.h"
#include "model/execute.h"
#include "train/buckets.h"
#include "train/lanes.h"
#include "train/metrics.h"
#include "train/probe.h"
#include "train/roots.h"
#include "train/shards.h"

/* Seconds spent, since the caller last zeroed them.  What a first layer gathers itself is compute: it waits
 * for no file. */
struct ls_step_times {
    double data_s, compute_s, allreduce_s, update_s;
};

struct ls_engine {
    const struct ls_net *net;
    const struct ls_ops *ops;
    struct ls_comm *comm;
    struct ls_loss_rule loss;
    enum ls_allreduce allreduce;
    int64_t microbatch;
    uint64_t seed; /* keys what a training step draws, with `step` */
    uint64_t step; /* of the gradient to come; the caller counts it */
    /* What this rank asks all ranks for, from 0; their sum must stay below 2^22.  It is asked when its
     * gradient is done, so that what came while it was made is heard with it.  NULL: nothing. */
    int64_t (*request)(const void *asked);
    const void *asked;
    int64_t requested;   /* the sum of all ranks' requests, as of the last gradient; -1: it arrived damaged */
    int64_t row_offset;  /* where the batch at hand begins within its update */
    int64_t pass_leaves; /* leaves that one forward and backward covers; a power of two */
    int64_t eval_leaves; /* the same for evaluation */
    ptrdiff_t rows;      /* of the largest pass */
    struct ls_augment augment; /* of training's samples; whoever trains sets its epoch */

    struct ls_activations act;
    struct ls_lane whole;      /* all rows of a pass */
    struct ls_lanes lanes;     /* parts of them at once */
    int in_lanes;              /* the last pass of a step was */
    struct ls_vectors vectors; /* that the gradients' sums are in */
    struct ls_buckets buckets; /* none: the gradients are summed when backward is over */
    struct ls_shards shards;   /* none: every rank gets all of the sum */
    struct ls_roots
        gradients; /* slots of net->n_floats + LS_SLOT_EXTRA: gradients, then the loss at [net->n_floats] */
    struct ls_roots
        losses;           /* evaluation's: the loss, and behind it sums of errors when targets are numbers */
    struct ls_roots sync; /* sums across samples inside a pass; no slots when the net has none */
    int64_t sync_leaves;  /* of the batch at hand */
    int sync_parts;
    struct ls_error sync_error; /* of the pass at hand */
    /* Told of each bucket that is in, while others still travel: `sum` is complete in its range and, from the
     * first on, at [net->n_floats].  NULL: nobody asks. */
    void (*bucket_in)(void *context, struct ls_range range, const float *sum);
    void *bucket_context;
    struct ls_step_times times;
    struct ls_prefetch *prefetch; /* the caller's: told of each batch; may be NULL */
    struct ls_probe *probe;       /* the caller's, NULL: no step will be checked */
    struct ls_metrics *metrics; /* the caller's, set on all ranks or none; NULL: only struct ls_evaluation */
};

enum { LS_SLOT_EXTRA = 16, LS_PASS_ROWS = 4096, LS_EVAL_ROWS = 512, LS_ENGINE_SIZES = 2 };
#define LS_PASS_BYTES ((size_t)256 << 20) /* of activations in a pass that can be cut smaller */

/* What an engine is made for. */
struct ls_engine_plan {
    struct ls_loss_rule loss;
    enum ls_allreduce allreduce;
    int64_t microbatch;
    int64_t batch[LS_ENGINE_SIZES]; /* every number of samples that a batch will have; 0: unused */
    int64_t n_evaluated;            /* the most samples of an evaluation; 0: none */
    uint64_t seed;
    ptrdiff_t n_values; /* target numbers a sample */
    struct ls_augment augment;
    int64_t bucket_bytes; /* > 0: where sums take messages, pieces of this size leave while backward runs */
    ptrdiff_t shard_granule; /* > 0: of several ranks each gets its slices of the sum (shards.h) */
    int with_probe;          /* room for a leaf of its own, in any place */
    int with_gradients;      /* 0: only forward and ls_engine_evaluate */
};

/* How many rows the largest pass of such an engine has on rank 0, the busiest. */
enum ls_code ls_engine_rows(const struct ls_net *net, const struct ls_engine_plan *plan, int n_ranks,
                            ptrdiff_t *rows, struct ls_error *err);

/* Collective with gradients, else local.  What failed is not always agreed on.  The engine keeps pointers to
 * net, ops and comm.  It may be released also after failure. */
enum ls_code ls_engine_create(struct ls_engine *engine, const struct ls_net *net, const struct ls_ops *ops,
                              struct ls_comm *comm, const struct ls_engine_plan *plan, struct ls_error *err);
void ls_engine_release(struct ls_engine *engine);

/* Collective, if all is well: for a rank that has seen numbers which are not finite, and is about to act on
 * it with the others.  When they do not come, it ends the job; see ls_comm_meet. */
void ls_step_meet(struct ls_engine *engine);

/* Collective.  The sums over the batch at positions [first, first + B) of the sampler's epoch: *sum points at
 * net->n_floats summed gradients (not yet divided by B) followed by the summed loss, the same bits on every
 * rank, read only, valid until the next call.  With shards, of the gradients only this rank's slices are sure
 * to be there.  Running averages in `parameters` move. */
enum ls_code ls_engine_gradient(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                                const struct ls_sampler *sampler, int64_t first, int64_t B, const float **sum,
                                struct ls_error *err);

/* Local, unless pass->finish_sums is not.  Forward, loss and backward for the `rows` samples at `position` of
 * the sampler's epoch: each part's gradients and loss. */
void ls_engine_run_rows(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                        const struct ls_sampler *sampler, int64_t position, const struct ls_pass *pass,
                        ptrdiff_t rows);

struct ls_evaluation {
    float loss; /* mean over the samples, contract rule 3 */
    int64_t n_samples;
    int64_t n_correct; /* -1 when outputs are no classes */
    float rmse;        /* of outputs that are numbers (train/metrics.h); else -1 */
};

/* Collective.  Loss and correct predictions over all samples, in their order, each exactly once; and
 * engine->metrics, when there are any. */
enum ls_code ls_engine_evaluate(struct ls_engine *engine, const float *parameters,
                                const struct ls_dataset *data, struct ls_evaluation *result,
                                struct ls_error *err);

/* Whether the net's input and output, the loss and the data go together; the message says what to change.
 * Local. */
enum ls_code ls_check_fit(const struct ls_net *net, enum ls_loss loss, const struct ls_dataset *data,
                          struct ls_error *err);

/* The net's input and a sample's alone.  Local. */
enum ls_code ls_check_inputs(const struct ls_net *net, const struct ls_dataset *data, struct ls_error *err);

#endif
