/* The update of the parameters by a step's gradient: as a whole, or, where the gradient comes in buckets,
 * bucket by bucket while the others still travel.
 *
 * A step that will be refused leaves the parameters as they are.  So nothing is updated before the loss,
 * which comes with the first bucket, is known to be finite; nor early in a step whose gradient is checked or
 * is one of several, nor where the rule needs the norm of all of it. */
#ifndef LS_TRAIN_UPDATE_H
#define LS_TRAIN_UPDATE_H

#include <stdint.h>

struct ls_run;
struct ls_step_report;

/* Local.  Before the gradient of an update of B samples, with run->step the number of those done. */
void ls_update_expect(struct ls_run *run, int64_t B);

/* Local.  Applies the summed gradient, or what is left to do of it; run->step counts it already.  Sets
 * report's rate and norm.  Returns nonzero when a parameter is no longer finite. */
int64_t ls_update_make(struct ls_run *run, int64_t B, const float *sum, struct ls_step_report *report);

#endif
