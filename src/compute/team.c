/* Owns the team and its two bells.  See team.h. */
#include "compute/team.h"

#include <stdatomic.h>
#ifdef _OPENMP
#    include <omp.h>
#endif

#include "base/cores.h"
#include "compute/bell.h"
#include "compute/ops.h"

double ls_worth_a_team_ns = 3000;

#ifdef _OPENMP

/* The one team.  `body` and `job` are published by the `jobs` bell; NULL as body sends the team home. */
static struct {
    struct ls_bell jobs, done;
    _Alignas(64) ls_team_body *body;
    const void *job;
    int threads; /* 0: nobody stands by */
    atomic_llong sum;
} team = {.jobs = LS_BELL_INITIALIZER, .done = LS_BELL_INITIALIZER};

static void serve(int thread, int threads, unsigned jobs_seen)
{
    for (;;) {
        ls_bell_await(&team.jobs, ++jobs_seen);
        ls_team_body *body = team.body;
        if (!body)
            return;
        const int64_t result = body(team.job, thread, threads);
        if (result)
            atomic_fetch_add_explicit(&team.sum, result, memory_order_relaxed);
        ls_bell_ring(&team.done);
    }
}

static void lead(void (*work)(void *context), void *context, int threads)
{
    team.threads = threads;
    work(context);
    team.threads = 0;
    team.body = NULL;
    ls_bell_ring(&team.jobs);
}

/* A region that has fewer threads on a busy machine (OMP_DYNAMIC) ends the others: whose scratch an operation
 * of two jobs still needs.  Tells what a program that embeds this had chosen, to be put back behind the
 * region: the setting is the calling thread's, for all its regions. */
static int want_all_threads(void)
{
    const int chosen = omp_get_dynamic();
    omp_set_dynamic(0);
    return chosen;
}

void ls_team_with(void (*work)(void *context), void *context)
{
    const int threads = ls_ops_threads();
    if (threads == 1) {
        ls_cores_take(0);
        work(context);
        return;
    }
    const int chosen = want_all_threads();
    const unsigned jobs_seen = atomic_load(&team.jobs.count);
#    pragma omp parallel default(none) firstprivate(work, context, jobs_seen) num_threads(threads)
    {
        ls_cores_take(omp_get_thread_num());
        if (omp_get_thread_num() == 0)
            lead(work, context, omp_get_num_threads());
        else
            serve(omp_get_thread_num(), omp_get_num_threads(), jobs_seen);
    }
    omp_set_dynamic(chosen);
}

static int64_t run_in_region(ls_team_body *body, const void *job)
{
    const int threads = ls_ops_threads();
    int64_t n_sum = 0;
    const int chosen = want_all_threads();
#    pragma omp parallel default(none) firstprivate(body, job) num_threads(threads) reduction(+ : n_sum)
    {
        ls_cores_take(omp_get_thread_num());
        n_sum += body(job, omp_get_thread_num(), omp_get_num_threads());
    }
    omp_set_dynamic(chosen);
    return n_sum;
}

int ls_team_threads(void)
{
    return ls_ops_threads() == 1 ? 1 : team.threads;
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
    ls_bell_ring(&team.jobs);
    const int64_t mine = body(job, 0, team.threads);
    ls_bell_await(&team.done, target);
    return mine + atomic_load_explicit(&team.sum, memory_order_relaxed);
}

#else

void ls_team_with(void (*work)(void *context), void *context)
{
    ls_cores_take(0);
    work(context);
}

int ls_team_threads(void)
{
    return 1;
}

int64_t ls_team_run(ls_team_body *body, const void *job)
{
    ls_cores_take(0);
    return body(job, 0, 1);
}

#endif

struct each {
    int n;
    void (*work)(void *context, int i);
    void *context;
};

static int64_t each_part(const void *job, int thread, int threads)
{
    const struct each *each = job;
    ls_ops_set_alone(1);
    for (int i = thread; i < each->n; i += threads)
        each->work(each->context, i);
    ls_ops_set_alone(0);
    return 0;
}

void ls_team_each(int n, void (*work)(void *context, int i), void *context)
{
    ls_team_run(each_part, &(struct each){n, work, context});
}
