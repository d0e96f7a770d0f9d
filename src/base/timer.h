/* Wall-clock time for reports; never part of a result. */
#ifndef LS_BASE_TIMER_H
#define LS_BASE_TIMER_H

#include <time.h>

/* Seconds on the monotonic clock. */
static inline double ls_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
