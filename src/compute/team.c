/* Owns the team and its two bells.  See team.h. */
#include "compute/team.h"

#include <pthread.h>
#include <stdatomic.h>
#ifdef _OPENMP
#    include <omp.h>
#endif

#include "base/cores.h"
#include "base/timer.h"
#include "compute/ops.h"

static int patience = LS_TEAM_PATIENCE_US;

void ls_team_set_patience_us(int patience_us)
{
    patience = patience_us;
}

#ifdef _OPENMP

/* A counter that threads wait for: first spinning, then asleep.  The counter and the number of sleepers are
 * sequentially consistent, so either the ringer sees the sleeper or the sleeper sees the count. */
struct bell {
    _Alignas(64) atomic_uint count;
    _Alignas(64) atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
};

static void bell_ring(struct bell *bell)
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
#    if defined __x86_64__
    __builtin_ia32_pause();
#    elif defined __aarch64__
    __asm__ volatile("yield");
#    endif
}

static int reached(struct bell *bell, unsigned target)
{
    return (int)(atomic_load_explicit(&bell->count, memory_order_acquire) - target) >= 0;
}

static void bell_await(struct bell *bell, unsigned target)
{
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
    /* Sequentially consistent, not only acquire: see struct bell. */
    while ((int)(atomic_load(&bell->count) - target) < 0)
        pthread_cond_wait(&bell->cond, &bell->mutex);
    atomic_fetch_sub(&bell->sleepers, 1);
    pthread_mutex_unlock(&bell->mutex);
}

/* The one team.  `body` and `job` are published by the `jobs` bell; NULL as body sends the team home. */
static struct {
    struct bell jobs, done;
    _Alignas(64) ls_team_body *body;
    const void *job;
    int threads; /* 0: nobody stands by */
    atomic_llong sum;
} team = {.jobs = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER},
          .done = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER}};

static void serve(int thread, int threads, unsigned jobs_seen)
{
    for (;;) {
        bell_await(&team.jobs, ++jobs_seen);
        ls_team_body *body = team.body;
        if (!body)
            return;
        const int64_t result = body(team.job, thread, threads);
        if (result)
            atomic_fetch_add_explicit(&team.sum, result, memory_order_relaxed);
        bell_ring(&team.done);
    }
}

static void lead(void (*work)(void *context), void *context, int threads)
{
    team.threads = threads;
    work(context);
    team.threads = 0;
    team.body = NULL;
    bell_ring(&team.jobs);
}

void ls_team_with(void (*work)(void *context), void *context)
{
    const int threads = ls_ops_threads();
    if (threads == 1) {
        ls_cores_take(0);
        work(context);
        return;
    }
    const unsigned jobs_seen = atomic_load(&team.jobs.count);
#    pragma omp parallel default(none) firstprivate(work, context, jobs_seen) num_threads(threads)
    {
        ls_cores_take(omp_get_thread_num());
        if (omp_get_thread_num() == 0)
            lead(work, context, omp_get_num_threads());
        else
            serve(omp_get_thread_num(), omp_get_num_threads(), jobs_seen);
    }
}

static int64_t run_in_region(ls_team_body *body, const void *job)
{
    const int threads = ls_ops_threads();
    int64_t n_sum = 0;
#    pragma omp parallel default(none) firstprivate(body, job) num_threads(threads) reduction(+ : n_sum)
    {
        ls_cores_take(omp_get_thread_num());
        n_sum += body(job, omp_get_thread_num(), omp_get_num_threads());
    }
    return n_sum;
}

int64_t ls_team_run(ls_team_body *body, const void *job)
{
    if (team.threads == 0)
        return run_in_region(body, job);
    const unsigned target =
        atomic_load_explicit(&team.done.count, memory_order_relaxed) + (unsigned)team.threads - 1;
    team.body = body;
    team.job = job;
    atomic_store_explicit(&team.sum, 0, memory_order_relaxed);
    bell_ring(&team.jobs);
    const int64_t mine = body(job, 0, team.threads);
    bell_await(&team.done, target);
    return mine + atomic_load_explicit(&team.sum, memory_order_relaxed);
}

#else

void ls_team_with(void (*work)(void *context), void *context)
{
    ls_cores_take(0);
    work(context);
}

int64_t ls_team_run(ls_team_body *body, const void *job)
{
    ls_cores_take(0);
    return body(job, 0, 1);
}

#endif
