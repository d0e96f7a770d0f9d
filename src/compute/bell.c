/* Owns waiting, and how long it is patient.  See bell.h. */
#include "compute/bell.h"

#include "base/timer.h"

static int patience = LS_BELL_PATIENCE_US;

void ls_bell_set_patience_us(int patience_us)
{
    patience = patience_us;
}

/* The counter and the number of sleepers are sequentially consistent, so either the ringer sees the sleeper
 * or the sleeper sees the count. */
void ls_bell_ring(struct ls_bell *bell)
{
    atomic_fetch_add(&bell->count, 1);
    if (atomic_load(&bell->sleepers) > 0) {
        pthread_mutex_lock(&bell->mutex);
        pthread_cond_broadcast(&bell->cond);
        pthread_mutex_unlock(&bell->mutex);
    }
}

static inline void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

static int reached(struct ls_bell *bell, unsigned target)
{
    return (int)(atomic_load_explicit(&bell->count, memory_order_acquire) - target) >= 0;
}

void ls_bell_await(struct ls_bell *bell, unsigned target)
{
    if (reached(bell, target))
        return;
    for (int i = 0; patience > 0 && i < 64; i++) {
        if (reached(bell, target))
            return;
        relax();
    }
    const double until = ls_now_s() + 1e-6 * (double)patience;
    while (patience > 0 && ls_now_s() < until)
        for (int i = 0; i < 32; i++) {
            if (reached(bell, target))
                return;
            relax();
        }
    pthread_mutex_lock(&bell->mutex);
    atomic_fetch_add(&bell->sleepers, 1);
    /* Sequentially consistent, not only acquire: see above. */
    while ((int)(atomic_load(&bell->count) - target) < 0)
        pthread_cond_wait(&bell->cond, &bell->mutex);
    atomic_fetch_sub(&bell->sleepers, 1);
    pthread_mutex_unlock(&bell->mutex);
}
