/* Fibers: functions that give way in the middle and go on later, on the thread that resumes them.
 *
 * So the blocking code of an allreduce, whose order of messages is easy to follow, also runs beside the
 * computing that goes on around it: where it would wait, it yields. */
#ifndef LS_COMM_FIBER_H
#define LS_COMM_FIBER_H

#include "base/status.h"

struct ls_fiber;

/* Local.  *fiber is the caller's, to be released by ls_fiber_destroy, which accepts NULL and idle ones. */
enum ls_code ls_fiber_create(struct ls_fiber **fiber, struct ls_error *err);
void ls_fiber_destroy(struct ls_fiber *fiber);

/* Runs body(argument) until it yields or returns; the fiber must be idle, the caller no fiber. */
void ls_fiber_start(struct ls_fiber *fiber, void (*body)(void *argument), void *argument);

/* Goes on where it yielded.  Nothing when it is idle. */
void ls_fiber_resume(struct ls_fiber *fiber);

/* Whether the body has not returned yet. */
int ls_fiber_is_running(const struct ls_fiber *fiber);

/* Whether the caller runs in a fiber. */
int ls_fiber_is_inside(void);

/* Only in a fiber: gives way, and returns when it is resumed. */
void ls_fiber_yield(void);

#endif
