/* One training step's mathematics, and evaluation: what a rank computes from a range of leaves, and the tree
 * that makes it one result.
 *
 * An engine is a net with everything a step needs, allocated once: activations for one pass, gradient slots,
 * batch buffers.  The same code runs on the oracle's operations and on the parallel ones, on one rank or
 * many; only `ops` and `comm` differ. */
#ifndef LS_TRAIN_STEP_H
#define LS_TRAIN_STEP_H

#include "comm/comm.h"
#include "data/dataset.h"
#include "data/sampler.h"
#include "model/execute.h"
#include "train/metrics.h"
#include "train/roots.h"

/* Seconds spent, since the caller last zeroed them. */
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
    int64_t pass_leaves; /* leaves that one forward and backward covers; a power of two */

    struct ls_activations act;
    struct ls_roots
        gradients; /* slots of net->n_floats + LS_SLOT_EXTRA: gradients, then the loss at [net->n_floats] */
    struct ls_roots
        losses;         /* evaluation's: the loss, and behind it sums of errors when targets are numbers */
    float *sample_loss; /* (rows of a pass) */
    int64_t *index;     /* (rows of a pass) */
    int32_t *labels;    /* (rows of a pass) */
    float *values;      /* (rows of a pass, n_values) */
    struct ls_step_times times;
    struct ls_metrics *metrics; /* the caller's, set on all ranks or none; NULL: only struct ls_evaluation */
};

enum { LS_SLOT_EXTRA = 16, LS_PASS_ROWS = 4096, LS_ENGINE_SIZES = 3 };

/* What an engine is made for. */
struct ls_engine_plan {
    struct ls_loss_rule loss;
    enum ls_allreduce allreduce;
    int64_t microbatch;
    /* Every number of samples that a batch or an evaluation will have; 0: unused. */
    int64_t n_samples[LS_ENGINE_SIZES];
    ptrdiff_t n_values; /* target numbers a sample */
    int with_gradients; /* 0: only forward and ls_engine_evaluate */
};

/* Local.  The engine keeps pointers to net, ops and comm. */
enum ls_code ls_engine_create(struct ls_engine *engine, const struct ls_net *net, const struct ls_ops *ops,
                              struct ls_comm *comm, const struct ls_engine_plan *plan, struct ls_error *err);
void ls_engine_release(struct ls_engine *engine);

/* Collective.  The sums over the batch at positions [first, first + B) of the sampler's epoch: *sum points at
 * net->n_floats summed gradients (not yet divided by B) followed by the summed loss, the same bits on every
 * rank, valid until the next call. */
enum ls_code ls_engine_gradient(struct ls_engine *engine, const float *parameters,
                                const struct ls_dataset *data, const struct ls_sampler *sampler,
                                int64_t first, int64_t B, const float **sum, struct ls_error *err);

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

#endif
