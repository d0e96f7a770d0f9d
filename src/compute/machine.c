/* What this machine can do at best, measured.  The loops are compiled once an ISA (parallel/peak.c); here
 * they are run and timed.  A best of short repeats is taken because the question is what the machine can do,
 * not what its other users left. */
#include "compute/machine.h"

#include <string.h>
#ifdef _OPENMP
#    include <omp.h>
#endif

#include "base/cores.h"
#include "base/memory.h"
#include "base/timer.h"
#include "compute/parallel/peak.h"
#include "compute/placement.h"

static const struct ls_peak *peak_of(const struct ls_ops *ops)
{
    static const struct ls_peak *const known[] = {
#ifdef __x86_64__
        &ls_peak_avx2,
        &ls_peak_avx512,
#endif
        &ls_peak_portable,
    };
    const char *name = ops == &ls_ops_serial ? ls_ops_isas()[0] : ops->name;
    size_t i = 0;
    while (i + 1 < sizeof known / sizeof *known && strcmp(name, known[i]->name) != 0)
        i++;
    return known[i];
}

static _Thread_local volatile float sink; /* so that no compiler drops a loop whose result nobody wants */

/* One thread's share of a timed region: `count` rounds of multiply-adds, or passes over its own n floats at
 * v. */
struct work {
    const struct ls_peak *peak;
    long count;
    size_t n;
    const float *v;
};

/* Returns the flops done, or the bytes read. */
static double work_do(const struct work *work, int thread)
{
    double done = 0.0;
    if (!work->v) {
        sink = work->peak->multiply_add(work->count, &done);
        return done;
    }
    for (long i = 0; i < work->count; i++)
        sink = work->peak->read(work->n, work->v + (size_t)thread * work->n);
    return (double)work->count * (double)work->n * sizeof *work->v;
}

/* 10^9 flops or bytes a second of all threads together, waiting for the last one. */
static double work_rate(const struct work *work, int threads)
{
    double done = 0.0;
    (void)threads; /* without OpenMP there is one */
    const double begin = ls_now_s();
#pragma omp parallel default(none) shared(done) firstprivate(work) num_threads(threads)
    {
        int thread = 0;
#ifdef _OPENMP
        thread = omp_get_thread_num();
#endif
        ls_cores_take(thread);
        const double mine = work_do(work, thread);
#pragma omp critical
        done += mine;
    }
    return done / (ls_now_s() - begin) * 1e-9;
}

/* How often to repeat the loop so that one timed region takes about a third of a millisecond: found on this
 * thread alone, and by the best of a few, because one interruption must not make regions too short to time.
 */
static long work_count(struct work work)
{
    for (work.count = 1; work.count < 1 << 24; work.count *= 2) {
        double best = 1.0;
        for (int i = 0; i < 4 && best > 3e-4; i++) {
            const double begin = ls_now_s();
            work_do(&work, 0);
            const double took = ls_now_s() - begin;
            best = took < best ? took : best;
        }
        if (best > 3e-4)
            break;
    }
    return work.count;
}

static double work_best(struct work work, int threads, double seconds)
{
    const double until = ls_now_s() + seconds;
    work.count = work_count(work);
    double best = 0.0;
    do {
        const double rate = work_rate(&work, threads);
        best = rate > best ? rate : best;
    } while (ls_now_s() < until);
    return best;
}

double ls_machine_fma_gflops(const struct ls_ops *ops, int threads, double seconds)
{
    return work_best((struct work){.peak = peak_of(ops)}, threads, seconds);
}

double ls_machine_read_gbytes(const struct ls_ops *ops, int threads, size_t bytes, double seconds)
{
    const size_t n = (bytes / sizeof(float) + 255) / 256 * 256;
    float *v = ls_alloc((size_t)threads * n, sizeof *v, "a buffer to read", NULL);
    if (!v)
        return 0.0;
    ls_place(v, (size_t)threads * n * sizeof *v);
    memset(v, 1, (size_t)threads * n * sizeof *v); /* pages that nobody wrote to are all the same one */
    const double best = work_best((struct work){.peak = peak_of(ops), .n = n, .v = v}, threads, seconds);
    ls_free(v);
    return best;
}

void ls_machine_measure(struct ls_machine *machine, const struct ls_ops *ops)
{
    const int threads = ls_ops_threads();
    const size_t bytes = (size_t)256 << 20; /* several times the largest cache a core can fill */
    machine->fma_one_gflops = ls_machine_fma_gflops(ops, 1, 0.2);
    machine->fma_all_gflops = ls_machine_fma_gflops(ops, threads, 0.2);
    machine->read_one_gbytes = ls_machine_read_gbytes(ops, 1, bytes, 0.3);
    machine->read_all_gbytes = ls_machine_read_gbytes(ops, threads, bytes / (size_t)threads, 0.3);
}
