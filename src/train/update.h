/* The update of the parameters by a step's gradient: as a whole, or, where the gradient comes in buckets,
 * bucket by bucket while the others still travel.
 *
 * A step that will be refused leaves the parameters as they are.  So nothing is updated before the loss,
 * which comes with the first bucket, is known to be finite; nor early in a step whose gradient is checked or
 * is one of several, nor where the rule needs the norm of all of it. */
#ifndef LS_TRAIN_UPDATE_H
#define LS_TRAIN_UPDATE_H

#include <stdint.h>

#include "base/status.h"

struct ls_run;
struct ls_step_report;

/* Local.  The optimizer, for what this rank updates: run->engine is there.  Released by ls_update_release. */
enum ls_code ls_update_create(struct ls_run *run, struct ls_error *err);
void ls_update_release(struct ls_run *run);

/* Local.  Before the gradient of an update of B samples, with run->step the number of those done. */
void ls_update_expect(struct ls_run *run, int64_t B);

/* Collective where ranks update slices, else local.  Applies the summed gradient, or what is left to do of
 * it; run->step counts it already.  Sets report's rate and norm.  Returns nonzero when a parameter is no
 * longer finite. */
int64_t ls_update_make(struct ls_run *run, int64_t B, const float *sum, struct ls_step_report *report);

/* The same.  A sum by which no update has been made yet, all of it on every rank: to find out what is wrong
 * with it. */
const float *ls_update_whole_sum(struct ls_run *run, const float *sum);

#endif
