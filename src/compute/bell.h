/* A counter that threads wait for: first spinning, then asleep. */
#ifndef LS_COMPUTE_BELL_H
#define LS_COMPUTE_BELL_H

#include <pthread.h>
#include <stdatomic.h>

struct ls_bell {
    _Alignas(64) atomic_uint count;
    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

#define LS_BELL_INITIALIZER                                                                                  \
    {                                                                                                        \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                                 \
    }

/* Counts one more.  What this thread wrote before, those see who awaited it. */
void ls_bell_ring(struct ls_bell *bell);

/* Until `target` have been counted, for counts that differ by less than 2^31. */
void ls_bell_await(struct ls_bell *bell, unsigned target);

/* How long a waiting thread spins before it sleeps, in microseconds: LS_BELL_PATIENCE_US at the start, which
 * is longer than the gap between two operations of a step; 0 when there are more threads than cores. */
enum { LS_BELL_PATIENCE_US = 100 };
void ls_bell_set_patience_us(int patience_us);

#endif
