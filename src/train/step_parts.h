/* What a training step and an evaluation have in common.  Private to step.c, reduce.c
 * and engine_evaluate.c. */
#ifndef LS_TRAIN_STEP_PARTS_H
#define LS_TRAIN_STEP_PARTS_H

#include "base/timer.h"
#include "train/step.h"

/* Adds the time since *since to *total and moves *since on. */
static inline void ls_step_charge(double *total, double *since)
{
    const double now = ls_now_s();
    *total += now - *since;
    *since = now;
}

/* Adds a lane's times to the engine's. */
void ls_step_take_times(struct ls_engine *engine, struct ls_lane *lane);

struct ls_targets ls_step_targets(const struct ls_engine *engine, const struct ls_lane *lane,
                                  const struct ls_dataset *data);

/* Brings the samples in lane->index[0..B) in and runs the net on them; pass is NULL outside training. */
const float *ls_step_forward_rows(const struct ls_engine *engine, struct ls_lane *lane,
                                  const float *parameters, const struct ls_dataset *data, ptrdiff_t B,
                                  const struct ls_pass *pass, double *since);

/* A sample that could not be read makes the loss, which all ranks share, not a number: then all of them ask
 * one another, and the rank that knows why tells. */
void ls_step_spoil_loss(struct ls_lane *lane, const struct ls_dataset *data, ptrdiff_t rows);
enum ls_code ls_step_ask_about_samples(struct ls_engine *engine, const struct ls_dataset *data, float loss,
                                       struct ls_error *err);

/* Finishes the tree over all ranks; the result is in slot 0. */
enum ls_code ls_step_reduce(struct ls_engine *engine, struct ls_roots *roots, ptrdiff_t n,
                            struct ls_error *err);

/* Whether the batch at hand is one that the probe keeps something of. */
int ls_step_is_watched(const struct ls_engine *engine);

/* Whether the batch at hand goes in buckets; the same on all ranks. */
int ls_step_goes_in_buckets(const struct ls_engine *engine);

/* struct ls_pass's layer_done, when the pass is all that this rank has. */
void ls_step_send_layer(void *engine, int layer);

/* Its tick: messages of a sum go on only when this rank looks after them, and a sum of P ranks takes
 * 2 log2(P) looks at least. */
void ls_step_see_to_pieces(void *engine);

/* Collective.  What ls_engine_gradient returns, from the roots of this rank, and engine->requested. */
enum ls_code ls_step_reduce_gradients(struct ls_engine *engine, const float **sum, struct ls_error *err);

#endif
