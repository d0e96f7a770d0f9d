/* Owns the ways of reducing that are compared, and their table.  See bench_allreduce.h. */
#include "cli/bench_allreduce.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/philox.h"
#include "base/timer.h"
#include "base/tree.h"
#include "cli/bench_statistics.h"

enum way { SHARED, OWN, MESSAGES, MPI, N_WAYS, MOST_ROUNDS = 400 };

static const char *const way_names[] = {"shared", "own", "messages", "mpi"};

struct bench {
    struct ls_comm *comm;
    int64_t n_leaves;
    ptrdiff_t n;
    struct ls_vectors vectors;
    int n_roots;
    float *roots[LS_MAX_ROOTS]; /* vectors.at, in order */
    float *own;                 /* (n): for a sum that is not among the vectors */
    double seconds[N_WAYS][MOST_ROUNDS];
};

/* Both signs, and sizes over 16 binades, so that another order of additions shows. */
static float leaf_value(int64_t leaf, ptrdiff_t i)
{
    const struct ls_bits128 bits = ls_random(1, LS_PURPOSE_SYNTHETIC, (uint64_t)leaf, (uint64_t)i);
    const float unit = (float)(int32_t)bits.word[0] * 0x1p-31f;
    return unit * (float)(1u << (bits.word[1] % 16u));
}

static float sum_of(struct ls_range leaves, ptrdiff_t i)
{
    struct ls_tree tree = {.count = 0};
    for (int64_t leaf = leaves.begin; leaf < leaves.end; leaf++)
        ls_tree_push(&tree, leaf_value(leaf, i));
    return ls_tree_sum(&tree);
}

/* Of many elements some are looked at. */
static ptrdiff_t stride_of(ptrdiff_t n)
{
    const ptrdiff_t most = 1 << 14;
    return n <= most ? 1 : n / most | 1;
}

static void fill(struct bench *bench, float *const *roots, int zeros)
{
    const struct ls_range mine =
        ls_leaves_of_rank(bench->n_leaves, ls_comm_size(bench->comm), ls_comm_rank(bench->comm));
    struct ls_node nodes[LS_MAX_ROOTS];
    ls_tree_roots(bench->n_leaves, mine, nodes);
    for (int root = 0; root < bench->n_roots; root++) {
        memset(roots[root], 0, (size_t)bench->n * sizeof(float));
        for (ptrdiff_t i = 0; !zeros && i < bench->n; i += stride_of(bench->n))
            roots[root][i] = sum_of(ls_node_leaves(nodes[root], bench->n_leaves), i);
    }
}

static const float *reduce(struct bench *bench, enum way way)
{
    static const enum ls_allreduce how[] = {LS_ALLREDUCE_TREE, LS_ALLREDUCE_TREE, LS_ALLREDUCE_MESSAGES,
                                            LS_ALLREDUCE_MPI};
    const float *sum = NULL;
    if (way == SHARED)
        ls_comm_allreduce_range(bench->comm, &bench->vectors, bench->n_leaves, (struct ls_range){0, bench->n},
                                bench->roots, bench->n_roots, &sum);
    else
        ls_comm_allreduce_vectors(bench->comm, how[way], &bench->vectors, bench->n_leaves, bench->n,
                                  bench->roots, bench->n_roots, &sum, NULL);
    if (way != OWN || sum == bench->vectors.at[0])
        return sum;
    return memcpy(bench->own, sum, (size_t)bench->n * sizeof *sum);
}

static enum ls_code verify(struct bench *bench, enum way way, struct ls_error *err)
{
    fill(bench, bench->roots, 0);
    ls_comm_barrier(bench->comm, err);
    const float *sum = reduce(bench, way);
    err->code = LS_OK;
    for (ptrdiff_t i = 0; way != MPI && i < bench->n; i += stride_of(bench->n)) {
        const float expected = sum_of((struct ls_range){0, bench->n_leaves}, i);
        if (memcmp(&expected, &sum[i], sizeof expected) != 0) {
            ls_fail(err, LS_DIFFERENT,
                    "%s: element %td of %td is %a, the tree's sum is %a: nothing was timed", way_names[way],
                    i, bench->n, (double)sum[i], (double)expected);
            break;
        }
    }
    return ls_comm_agree(bench->comm, err);
}

/* The slowest rank's time for one of `inner` in a row. */
static double time_once(struct bench *bench, enum way way, int inner)
{
    struct ls_spread spread;
    ls_comm_barrier(bench->comm, NULL);
    const double began = ls_now_s();
    for (int i = 0; i < inner; i++)
        reduce(bench, way);
    ls_comm_spread(bench->comm, (ls_now_s() - began) / inner, &spread, NULL);
    return spread.max;
}

/* Samples of some 100 us at least, the ways in turn. */
static int time_ways(struct bench *bench, double seconds)
{
    const double sample_s = 1e-4;
    int inner[N_WAYS];
    double all = 0;
    fill(bench, bench->roots, 1);
    for (int way = 0; way < N_WAYS; way++) {
        double once = time_once(bench, (enum way)way, 1);
        for (int i = 0; i < 4; i++)
            once = fmin(once, time_once(bench, (enum way)way, 1));
        inner[way] = once < sample_s ? (int)ceil(sample_s / once) : 1;
        all += once * inner[way] + 2e-5;
    }
    const int n = (int)fmin(MOST_ROUNDS, fmax(5, seconds / all));
    for (int round = 0; round < n; round++)
        for (int way = 0; way < N_WAYS; way++)
            bench->seconds[way][round] = time_once(bench, (enum way)way, inner[way]);
    return n;
}

static void print_size(struct bench *bench, int n, FILE *csv)
{
    double median[N_WAYS];
    const long long bytes = (long long)bench->n * (long long)sizeof(float);
    for (int way = 0; way < N_WAYS; way++) {
        median[way] = ls_quantile(bench->seconds[way], n, 0.5);
        if (csv)
            fprintf(csv, "%d,%lld,%lld,%s,%d,%.4g,%.4g,%.4g,%.4g\n", ls_comm_size(bench->comm),
                    (long long)bench->n_leaves, bytes, way_names[way], n, bench->seconds[way][0] * 1e6,
                    ls_quantile(bench->seconds[way], n, 0.25) * 1e6, median[way] * 1e6,
                    ls_quantile(bench->seconds[way], n, 0.75) * 1e6);
    }
    printf("%10lld %10.1f %10.1f %10.1f %10.1f   %7.2f %7.2f %7.2f\n", bytes, median[SHARED] * 1e6,
           median[OWN] * 1e6, median[MESSAGES] * 1e6, median[MPI] * 1e6, median[MPI] / median[SHARED],
           median[MPI] / median[OWN], median[MPI] / median[MESSAGES]);
    fflush(stdout);
}

static enum ls_code bench_size(struct bench *bench, double seconds, FILE *csv, struct ls_error *err)
{
    const struct ls_range mine =
        ls_leaves_of_rank(bench->n_leaves, ls_comm_size(bench->comm), ls_comm_rank(bench->comm));
    struct ls_node nodes[LS_MAX_ROOTS];
    bench->n_roots = ls_tree_roots(bench->n_leaves, mine, nodes);
    bench->own = ls_alloc((size_t)bench->n, sizeof *bench->own, "a vector", err);
    err->code = bench->own ? LS_OK : LS_FAILED;
    enum ls_code code = ls_comm_vectors_create(bench->comm, bench->n_roots > 0 ? bench->n_roots : 1, bench->n,
                                               &bench->vectors, err);
    for (int i = 0; code == LS_OK && i < bench->n_roots; i++)
        bench->roots[i] = bench->vectors.at[i];
    for (int way = 0; code == LS_OK && way < N_WAYS; way++)
        code = verify(bench, (enum way)way, err);
    if (code == LS_OK) {
        const int n = time_ways(bench, seconds);
        if (ls_comm_rank(bench->comm) == 0)
            print_size(bench, n, csv);
    }
    ls_comm_vectors_destroy(bench->comm, &bench->vectors);
    ls_free(bench->own);
    return code;
}

static enum ls_code open_csv(struct bench *bench, const char *name, FILE **csv, struct ls_error *err)
{
    err->code = LS_OK;
    if (name && ls_comm_rank(bench->comm) == 0) {
        *csv = fopen(name, "w");
        if (!*csv)
            ls_fail(err, LS_FAILED, "--csv: cannot write '%s': %s", name, strerror(errno));
        else
            fprintf(*csv, "ranks,leaves,bytes,way,samples,best_us,quartile1_us,median_us,quartile3_us\n");
    }
    return ls_comm_agree(bench->comm, err);
}

static enum ls_code close_csv(struct bench *bench, const char *name, FILE *csv, struct ls_error *err)
{
    err->code = LS_OK;
    if (csv && (ferror(csv) | fclose(csv)) != 0)
        ls_fail(err, LS_FAILED, "--csv: writing '%s' failed", name);
    return ls_comm_agree(bench->comm, err);
}

enum ls_code ls_bench_allreduce(const struct ls_session *session,
                                const struct ls_bench_allreduce_options *options, struct ls_error *err)
{
    static struct bench bench; /* large: not for the stack */
    FILE *csv = NULL;
    bench = (struct bench){.comm = session->comm};
    bench.n_leaves = options->n_leaves > 0 ? options->n_leaves : ls_comm_size(bench.comm);
    enum ls_code code = open_csv(&bench, options->csv, &csv, err);
    if (code != LS_OK)
        return code;
    int n_sizes = 0;
    for (int64_t bytes = options->least_bytes; bytes <= options->most_bytes; bytes *= 4)
        n_sizes++;
    if (ls_comm_rank(bench.comm) == 0)
        printf("%d ranks, %d on this host, %lld leaves, %s; microseconds, medians\n"
               "     bytes     shared        own   messages        mpi   mpi/sh. mpi/own mpi/me.\n",
               ls_comm_size(bench.comm), ls_comm_ranks_on_host(bench.comm), (long long)bench.n_leaves,
               ls_comm_library(bench.comm));
    for (int64_t bytes = options->least_bytes; code == LS_OK && bytes <= options->most_bytes; bytes *= 4) {
        bench.n = (ptrdiff_t)(bytes / (int64_t)sizeof(float));
        code = bench_size(&bench, options->seconds / n_sizes, csv, err);
    }
    struct ls_error closed;
    const enum ls_code written = close_csv(&bench, options->csv, csv, &closed);
    if (code == LS_OK && written != LS_OK)
        *err = closed;
    return code == LS_OK ? written : code;
}
