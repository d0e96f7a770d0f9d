/* The gradient of an update that is made of several batches, one after the other: less memory for
 * activations, and batch norm over smaller batches.
 *
 * The sum is a tree over the batches' sums, each of which is a tree over its leaves.  When a batch is a power
 * of two of leaves that is the tree over all leaves of the update: then, without batch norm, `batch` samples
 * in `n` batches give the bits of one batch of n times as many. */
#ifndef LS_TRAIN_ACCUMULATE_H
#define LS_TRAIN_ACCUMULATE_H

#include "train/step.h"

struct ls_accumulator {
    int64_t batch, n;      /* an update is n batches of `batch` samples; fewer at an epoch's end */
    struct ls_roots roots; /* no slots when n == 1 */
};

/* Local.  Release with ls_accumulator_release, also after failure. */
enum ls_code ls_accumulator_create(struct ls_accumulator *accumulator, int64_t batch, int64_t n,
                                   const struct ls_net *net, struct ls_error *err);
void ls_accumulator_release(struct ls_accumulator *accumulator);

/* Collective.  As ls_engine_gradient, for the B samples of an update, B at most n batches.  engine->requested
 * is what was asked with the last batch; -1 if it arrived damaged with any. */
enum ls_code ls_accumulate(struct ls_accumulator *accumulator, struct ls_engine *engine, float *parameters,
                           const struct ls_dataset *data, const struct ls_sampler *sampler, int64_t first,
                           int64_t B, const float **sum, struct ls_error *err);

#endif
