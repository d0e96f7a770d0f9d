/* What a rank asks all ranks for, while they train: the end, a checkpoint.  Signals reach any rank, and
 * clocks are one rank's; the sum of all requests travels with the update's gradient, so that all ranks do the
 * same after the same update, without a message of its own. */
#ifndef LS_TRAIN_REQUESTS_H
#define LS_TRAIN_REQUESTS_H

#include <stdint.h>

#include "base/status.h"

struct ls_run;

/* What this rank, whose struct ls_run it is, asks for now: engine.request.  Local. */
int64_t ls_requests_of(const void *run);

/* The last thing after an update, so that a checkpoint has all that came before: it is written when it is
 * due, when a signal came, and when this was the run's last update.  Collective. */
enum ls_code ls_requests_heed(struct ls_run *run, struct ls_error *err);

/* LS_INTERRUPTED, and how to go on.  Local. */
enum ls_code ls_requests_interrupted(const struct ls_run *run, struct ls_error *err);

#endif
