/* The price of the tree: its allreduce against MPI's, alternating in one run, each verified before it is
 * timed. mpi-cases allreduce-speed RANKS [LEAVES [SMALL_N SEGMENT_N WINDOW GRANULE_N SCRATCH_N
 * [LEAST_BYTES [STALL_TIMEOUT]]]] */
#include "cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "comm/comm_backend.h"
#include "leaves.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The slowest rank's time. */
static double time_once(struct ls_comm *comm, enum ls_allreduce how, int64_t n_leaves, ptrdiff_t n,
                        struct rank_leaves *mine, int inner)
{
    ls_comm_barrier(comm, NULL);
    const double begin = now_s();
    for (int i = 0; i < inner; i++)
        ls_comm_allreduce(comm, how, n_leaves, n, mine->sum, mine->roots, mine->n_roots, NULL);
    struct ls_spread spread;
    ls_comm_spread(comm, (now_s() - begin) / inner, &spread, NULL);
    return spread.max;
}

/* Samples of a fifth of a millisecond at least, for about a second; the best is what an unshared machine
 * would do. */
static int compare(struct ls_comm *comm, int64_t n_leaves, ptrdiff_t n)
{
    enum { MOST = 600 };
    static double seconds[2][MOST];
    struct rank_leaves mine = rank_leaves_create(n_leaves, ls_comm_size(comm), ls_comm_rank(comm), n, 1);
    ls_comm_allreduce(comm, LS_ALLREDUCE_TREE, n_leaves, n, mine.sum, mine.roots, mine.n_roots, NULL);
    const ptrdiff_t wrong = first_wrong(n_leaves, n, mine.sum);
    /* Sums of sums would overflow in time; zeros are safe, and as fast. */
    for (int root = 0; root < mine.n_roots; root++)
        memset(mine.roots[root], 0, (size_t)n * sizeof *mine.sum);
    double once = 1;
    for (int i = 0; i < 10; i++) {
        once = fmin(once, time_once(comm, LS_ALLREDUCE_TREE, n_leaves, n, &mine, 1));
        once = fmin(once, time_once(comm, LS_ALLREDUCE_MPI, n_leaves, n, &mine, 1));
    }
    const int inner = once < 2e-4 ? (int)(2e-4 / once) + 1 : 1;
    const double samples = 0.5 / (once * inner);
    const int n_samples = samples > MOST ? MOST : samples < 20 ? 20 : (int)samples;
    for (int i = 0; i < n_samples; i++)
        for (int how = 0; how < 2; how++)
            seconds[how][i] =
                time_once(comm, how ? LS_ALLREDUCE_MPI : LS_ALLREDUCE_TREE, n_leaves, n, &mine, inner);
    rank_leaves_release(&mine);
    for (int how = 0; how < 2; how++)
        qsort(seconds[how], (size_t)n_samples, sizeof seconds[0][0], ascending);
    const double tree = seconds[0][n_samples / 2], mpi = seconds[1][n_samples / 2];
    if (ls_comm_rank(comm) == 0)
        printf("%9td  %10.1f %10.1f  %10.1f %10.1f  %6.2f %6.2f\n", n * 4, tree * 1e6, seconds[0][0] * 1e6,
               mpi * 1e6, seconds[1][0] * 1e6, tree / mpi, seconds[0][0] / seconds[1][0]);
    fflush(stdout);
    return wrong < n ? complain(comm, "element %td of %td is wrong", wrong, n) : 0;
}

static int run_speed(struct ls_comm *comm, int n_args, char **args)
{
    static const ptrdiff_t bytes[] = {64,     1024,   4096,    8192,    16384,   65536,
                                      131072, 409600, 1 << 20, 4 << 20, 16 << 20};
    const int64_t n_leaves = n_args > 0 ? atoll(args[0]) : ls_comm_size(comm);
    if (n_args > 5) {
        const struct ls_reduce_tuning tuning = {.small_n = atol(args[1]),
                                                .segment_n = atol(args[2]),
                                                .window = atoi(args[3]),
                                                .granule_n = atol(args[4]),
                                                .scratch_n = atol(args[5])};
        ls_comm_tune(comm, &tuning, 1 << 30, NULL);
    }
    if (ls_comm_rank(comm) == 0)
        printf("%d ranks, %lld leaves, %s; microseconds\n    bytes  tree median       best  mpi median       "
               "best  "
               "ratio   best\n",
               ls_comm_size(comm), (long long)n_leaves, ls_comm_library(comm));
    ls_comm_set_stall_timeout(comm, n_args > 7 ? atof(args[7]) : 0.0);
    int failed = 0;
    const ptrdiff_t least = n_args > 6 ? atol(args[6]) : 0;
    for (size_t i = 0; !failed && i < sizeof bytes / sizeof *bytes; i++)
        failed = bytes[i] >= least && compare(comm, n_leaves, bytes[i] / 4);
    return failed;
}

const struct mpi_case comm_speed_cases[] = {{"allreduce-speed", run_speed}, {0}};
