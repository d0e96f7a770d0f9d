/* Threads that stand by: one OpenMP region around a whole run, in which thread 0 does the run's serial part
 * and the others wait for jobs.
 *
 * A region an operation costs a fork and a join each, several times a step.  Here a job costs two cache lines
 * going there and back.  Waiting is patient for a while, then sleeps: on a machine that other processes use
 * as well, a thread that spins for a partner which is not running takes the very core that the partner needs
 * (libgomp's default: steps 100 times slower). */
#ifndef LS_COMPUTE_TEAM_H
#define LS_COMPUTE_TEAM_H

#include <stdint.h>

/* Part `thread` of `threads` of a job; what it returns is added up over threads. */
typedef int64_t ls_team_body(const void *job, int thread, int threads);

/* Calls work(context) on this thread with ls_ops_threads() - 1 others standing by until it returns.  Must not
 * be nested, nor called from two threads at once. */
void ls_team_with(void (*work)(void *context), void *context);

/* struct ls_ops's each. */
void ls_team_each(int n, void (*work)(void *context, int i), void *context);

/* Threads that ls_team_run runs a job on, the caller's among them, while others stand by; 0: nobody does, and
 * OpenMP will say. */
int ls_team_threads(void);

/* Runs body for every thread of the team and returns the sum.  Called by the thread that runs `work`; outside
 * ls_team_with it opens an OpenMP region for this one job. */
int64_t ls_team_run(ls_team_body *body, const void *job);

/* Below this many nanoseconds of estimated work on one core a second thread costs more than it brings: waking
 * and joining it takes 1-2 us.  Only tests set it, to 0, so that small operations are shared out as well. */
extern double ls_worth_a_team_ns;

#endif
