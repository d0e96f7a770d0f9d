/* The cores that this process may use, and a core of its own for each thread of its team.
 *
 * Threads take their cores themselves (ls_cores_take), each when a job first reaches it: a thread inherits
 * the mask of the one that started it, and an OpenMP runtime starts and ends threads as it sees fit. */
#ifndef LS_BASE_CORES_H
#define LS_BASE_CORES_H

#include <stddef.h>

enum { LS_MOST_CORES = 1024 };

struct ls_cores {
    int n;
    int core[LS_MOST_CORES]; /* ascending */
};

/* Where the process was allowed to run when this was first called, by the launcher or taskset; with
 * OMP_PROC_BIND or OMP_PLACES, all of OpenMP's places.  Valid until the process ends.  Not to be called first
 * by two threads at once. */
const struct ls_cores *ls_cores_mine(void);

/* Writes "cores 0-3,8", and returns the text. */
const char *ls_cores_text(const struct ls_cores *cores, char *text, size_t size);

/* From now on thread t of the team runs on core[t] alone; threads from n on anywhere.  n 0, as at the start:
 * all anywhere.  Must not be called while the team has a job. */
void ls_cores_pin(const int *core, int n);

/* For a thread of the team, at the start of a job: goes to its core, if it is not there yet. */
void ls_cores_take(int thread);

/* For a thread beside the team: it may run on all cores of the process, whoever started it. */
void ls_cores_leave(void);

#endif
