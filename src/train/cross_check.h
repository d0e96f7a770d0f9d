/* --cross-check: a core that computes wrong numbers is found by another one that computes the same again.
 *
 * Cores that silently compute wrong are met in practice (Hochschild et al. 2021, "Cores that don't count";
 * Dixit et al. 2021), and a wrong gradient reaches all replicas alike, so comparing these shows nothing.
 * Here leaves are exact: any rank finds any leaf's sums to the last bit.  In every N-th step one leaf of the
 * update, drawn by key, is computed a second time by another rank, drawn by key, and compared with what its
 * owner put into the tree; the reduction is done a second time by other messages; and the replicas are
 * compared after the update.  A run's bits do not change, and steps in between cost nothing.
 *
 * What it cannot see: a bit that flips once, in a leaf that was not drawn.  A core that is wrong each time is
 * found within as many checks as there are leaves, on average. */
#ifndef LS_TRAIN_CROSS_CHECK_H
#define LS_TRAIN_CROSS_CHECK_H

#include "train/probe.h"
#include "train/step.h"

struct ls_cross_check {
    int64_t every, batch; /* batch: samples of one of the update's batches */
    uint64_t seed;
    struct ls_engine *engine;
    struct ls_probe probe;
    float *again; /* the leaf's sums, computed again */
    /* Of the step at hand. */
    int64_t first_row, n_rows; /* of the batch of the leaf, in the update */
    int owner, checker;
};

/* Local.  every 0: nothing is taken, and nothing will be checked.  Sets engine->probe. */
enum ls_code ls_cross_check_create(struct ls_cross_check *check, int64_t every, int64_t batch,
                                   struct ls_engine *engine, struct ls_error *err);
void ls_cross_check_release(struct ls_cross_check *check);

/* Before the gradient of an update of B samples, step number `step` from 1: draws a leaf if it is to be
 * checked. */
void ls_cross_check_begin(struct ls_cross_check *check, int64_t step, int64_t B);

/* Collective.  Between the gradient and the update, whose samples are at [first, first + B) of the sampler's
 * epoch: LS_REPLICA, with a message that names ranks, hosts, step, leaf, element and values, when the leaf
 * was computed wrong. */
enum ls_code ls_cross_check_end(struct ls_cross_check *check, float *parameters,
                                const struct ls_dataset *data, const struct ls_sampler *sampler,
                                int64_t first, struct ls_error *err);

/* Whether the step at hand is one that is checked. */
int ls_cross_check_is_due(const struct ls_cross_check *check);

#endif
