/* What a training step and an evaluation have in common.  Private to step.c and engine_evaluate.c. */
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

struct ls_targets ls_step_targets(const struct ls_engine *engine, const struct ls_dataset *data);

/* Brings the samples in engine->index[0..B) in and runs the net on them; pass is NULL outside training. */
const float *ls_step_forward_rows(struct ls_engine *engine, const float *parameters,
                                  const struct ls_dataset *data, ptrdiff_t B, const struct ls_pass *pass,
                                  double *since);

/* A sample that could not be read makes the loss, which all ranks share, not a number: then all of them ask
 * one another, and the rank that knows why tells. */
void ls_step_spoil_loss(struct ls_engine *engine, const struct ls_dataset *data, ptrdiff_t rows);
enum ls_code ls_step_ask_about_samples(struct ls_engine *engine, const struct ls_dataset *data, float loss,
                                       struct ls_error *err);

/* Finishes the tree over all ranks; the result is in slot 0. */
enum ls_code ls_step_reduce(struct ls_engine *engine, struct ls_roots *roots, ptrdiff_t n,
                            struct ls_error *err);

#endif
