/* lockstep bench step: whole training steps, verified, then timed; every figure is a share of a peak measured
 * in the same run. */
#include "cli/bench_step.h"

#include <math.h>
#include <string.h>

#include "base/timer.h"
#include "cli/bench_statistics.h"
#include "cli/bench_workload.h"
#include "compute/machine.h"
#include "train/model_file.h"

enum { MOST_ROUNDS = 4096 };

/* One way of running the step, timed in turn with the others. */
struct variant {
    enum ls_allreduce allreduce;
    struct ls_bench_run run;
    int64_t steps_a_round;
    int n_rounds;
    double step_s[MOST_ROUNDS]; /* seconds a step, of each round */
};

struct bench {
    struct ls_bench_step_options options;
    struct ls_session session;
    struct ls_bench_workload work;
    int n_variants;
    struct variant variants[2];
    int n_peaks;
    double peak_gflops[MOST_ROUNDS];
    double read_gbytes; /* a second, of this rank's threads, each its part of a buffer as large as the data */
    struct ls_error *err; /* of time_round, and its outcome */
    enum ls_code code;
};

/* Samples in a batch that is verified. */
static int64_t verified_batch(const struct bench *bench)
{
    const int64_t affordable = ls_bench_affordable_batch(&bench->work);
    return affordable < bench->options.batch ? affordable : bench->options.batch;
}

static enum ls_code make_run(struct bench *bench, struct ls_bench_run *run, enum ls_allreduce allreduce,
                             const struct ls_ops *ops, struct ls_comm *comm, struct ls_error *err)
{
    const struct ls_engine_plan plan = {.allreduce = allreduce,
                                        .batch = {bench->options.batch, verified_batch(bench)}};
    return ls_bench_run_create(run, &bench->work, ops, comm, &plan, err);
}

/* Two steps with the tree must give the oracle's bits; the oracle runs on rank 0 only. */
static enum ls_code verify(struct bench *bench, struct ls_error *err)
{
    const int64_t B = verified_batch(bench);
    struct ls_comm *comm = bench->session.comm, *solo = NULL;
    struct ls_bench_run fast = {0}, oracle = {0};
    struct ls_hash hashes[2] = {{0, 0}, {0, 0}};
    err->code = make_run(bench, &fast, LS_ALLREDUCE_TREE, bench->session.ops, comm, err);
    enum ls_code code = ls_comm_agree(comm, err);
    for (int i = 0; code == LS_OK && i < 2; i++)
        code = ls_bench_run_step(&fast, B, err);
    if (code == LS_OK) {
        err->code = ls_net_hash(&bench->work.net, fast.parameters, &hashes[0], err);
        if (err->code == LS_OK && ls_comm_rank(comm) == 0) {
            err->code = ls_comm_create_solo(&solo, err);
            if (err->code == LS_OK)
                err->code = make_run(bench, &oracle, LS_ALLREDUCE_TREE, &ls_ops_serial, solo, err);
            for (int i = 0; err->code == LS_OK && i < 2; i++)
                err->code = ls_bench_run_step(&oracle, B, err);
            if (err->code == LS_OK)
                err->code = ls_net_hash(&bench->work.net, oracle.parameters, &hashes[1], err);
            if (err->code == LS_OK && !ls_hash_equal(hashes[0], hashes[1]))
                ls_fail(err, LS_DIFFERENT,
                        "after two steps the weights differ from the oracle's: nothing was timed");
        }
        code = ls_comm_agree(comm, err);
    }
    ls_bench_run_release(&fast);
    ls_bench_run_release(&oracle);
    ls_comm_destroy(&solo);
    return code;
}

/* Times each variant once, in turn; with the team standing by, as in training. */
static void time_round(void *context)
{
    struct bench *bench = context;
    for (int v = 0; bench->code == LS_OK && v < bench->n_variants; v++) {
        struct variant *variant = &bench->variants[v];
        bench->code = ls_comm_barrier(bench->session.comm, bench->err);
        const double began = ls_now_s();
        for (int64_t i = 0; bench->code == LS_OK && i < variant->steps_a_round; i++)
            bench->code = ls_bench_run_step(&variant->run, bench->options.batch, bench->err);
        variant->step_s[variant->n_rounds++] = (ls_now_s() - began) / (double)variant->steps_a_round;
    }
}

/* Bytes of samples and labels that a step must read; weights and all that it makes itself stay in caches. */
static double step_bytes(const struct bench *bench)
{
    return (double)ls_bench_data_bytes(&bench->work) / (double)bench->work.data.n_stored *
           (double)bench->options.batch;
}

static enum ls_code time_variants(struct bench *bench, struct ls_error *err)
{
    const double round_s = 0.05;
    bench->err = err;
    bench->code = LS_OK;
    for (int v = 0; bench->code == LS_OK && v < bench->n_variants; v++)
        bench->code = ls_bench_run_pace(&bench->variants[v].run, bench->options.batch, round_s,
                                        &bench->variants[v].steps_a_round, err);
    const int rounds =
        (int)fmin(MOST_ROUNDS, fmax(3, (double)bench->options.seconds / (round_s * bench->n_variants)));
    for (int r = 0; bench->code == LS_OK && r < rounds; r++) {
        bench->session.ops->with_team(time_round, bench);
        if (r % 4 == 0)
            bench->peak_gflops[bench->n_peaks++] =
                ls_machine_fma_gflops(bench->session.ops, bench->session.threads, 0.005);
    }
    const int threads = bench->session.threads, all = threads * ls_comm_size(bench->session.comm);
    bench->read_gbytes = ls_machine_read_gbytes(bench->session.ops, threads,
                                                ls_bench_data_bytes(&bench->work) / (size_t)all, 0.05);
    return bench->code;
}

/* Of all ranks: 10^9 bytes a second that the steps took in, at which the data can be read, and their ratio.
 */
struct reading {
    double step_gbytes, all_gbytes, share;
};

static struct reading reading_of(const struct bench *bench, double step_s)
{
    struct reading reading = {.step_gbytes = step_bytes(bench) * 1e-9 / step_s,
                              .all_gbytes = bench->read_gbytes * ls_comm_size(bench->session.comm)};
    if (reading.all_gbytes > 0) /* 0 when there was no memory to measure it */
        reading.share = reading.step_gbytes / reading.all_gbytes;
    return reading;
}

static void print_data(const struct bench *bench, double step_s)
{
    const struct reading reading = reading_of(bench, step_s);
    printf("data      a step reads %.1f KB of samples, %.2f GB/s; all %.1f MB of them, read again and again, "
           "%.1f GB/s: %.1f %%\n",
           step_bytes(bench) * 1e-3, reading.step_gbytes, (double)ls_bench_data_bytes(&bench->work) * 1e-6,
           reading.all_gbytes, 100 * reading.share);
}

static void print_json(const struct bench *bench, double step_s, double best_s, double peak)
{
    const double gflops = ls_bench_sample_flops(&bench->work) * (double)bench->options.batch * 1e-9 / step_s;
    const struct reading reading = reading_of(bench, step_s);
    printf(
        "{\"net\":\"%s\",\"batch\":%lld,\"ranks\":%d,\"threads\":%d,\"isa\":\"%s\",\"step_us\":%.4g,\"best_"
        "step_us\":%.4g,"
        "\"samples_per_s\":%.6g,\"gflops\":%.5g,\"peak_gflops\":%.5g,\"peak_share\":%.4g,"
        "\"data_bytes\":%zu,\"data_gbytes_per_s\":%.4g,\"read_gbytes_per_s\":%.4g,\"read_share\":%.4g,"
        "\"verified\":%s}\n",
        bench->work.net.text, (long long)bench->options.batch, ls_comm_size(bench->session.comm),
        bench->session.threads, bench->session.ops->name, step_s * 1e6, best_s * 1e6,
        (double)bench->options.batch / step_s, gflops, peak, gflops / peak, ls_bench_data_bytes(&bench->work),
        reading.step_gbytes, reading.all_gbytes, reading.share, bench->options.no_verify ? "false" : "true");
}

static void print_result(struct bench *bench)
{
    const int ranks = ls_comm_size(bench->session.comm), n_pairs = bench->variants[0].n_rounds;
    static double ratios[MOST_ROUNDS]; /* of rounds, so before they are sorted */
    for (int r = 0; bench->n_variants == 2 && r < n_pairs; r++)
        ratios[r] = bench->variants[0].step_s[r] / bench->variants[1].step_s[r];
    const double peak = ls_quantile(bench->peak_gflops, bench->n_peaks, 0.5) * ranks;
    static const char *const names[] = {[LS_ALLREDUCE_TREE] = "tree", [LS_ALLREDUCE_MPI] = "mpi"};
    if (bench->options.json) {
        struct variant *v = &bench->variants[0];
        print_json(bench, ls_quantile(v->step_s, v->n_rounds, 0.5), ls_quantile(v->step_s, v->n_rounds, 0),
                   peak);
        return;
    }
    char shape[100];
    const double gflop = ls_bench_sample_flops(&bench->work) * (double)bench->options.batch * 1e-9;
    printf("net       %s; input %s, B = %lld, m = %lld\n", bench->work.net.text,
           ls_shape_format(&bench->work.net.in, shape, sizeof shape), (long long)bench->options.batch,
           (long long)bench->options.net.microbatch);
    printf("run       %d rank%s x %d threads%s, %s; ", ranks, ranks == 1 ? "" : "s", bench->session.threads,
           bench->variants[0].run.engine.in_lanes ? " in lanes" : "", bench->session.ops->name);
    if (bench->options.no_verify)
        printf("not verified\n");
    else
        printf("two steps of %lld samples verified against the oracle\n", (long long)verified_batch(bench));
    printf("peak      %.1f GFLOP/s (FMA loop, measured between rounds, all ranks and threads)\n", peak);
    for (int i = 0; i < bench->n_variants; i++) {
        struct variant *v = &bench->variants[i];
        const double median = ls_quantile(v->step_s, v->n_rounds, 0.5),
                     best = ls_quantile(v->step_s, v->n_rounds, 0);
        printf("%-8s  median %.1f us a step, best %.1f; %.0f samples/s; %.1f GFLOP/s, %.1f %% of peak\n",
               ranks > 1 ? names[v->allreduce] : "step", median * 1e6, best * 1e6,
               (double)bench->options.batch / median, gflop / median, 100 * gflop / median / peak);
    }
    print_data(bench, ls_quantile(bench->variants[0].step_s, n_pairs, 0.5));
    if (bench->n_variants == 2) {
        printf("tree/mpi  median ratio %.3f of %d pairs (quartiles %.3f, %.3f): the price of exactness is "
               "%+.1f %%\n",
               ls_quantile(ratios, n_pairs, 0.5), n_pairs, ls_quantile(ratios, n_pairs, 0.25),
               ls_quantile(ratios, n_pairs, 0.75), 100 * (ls_quantile(ratios, n_pairs, 0.5) - 1));
    }
}

static enum ls_code bench_step(struct bench *bench, struct ls_error *err)
{
    struct ls_comm *comm = bench->session.comm;
    err->code = ls_bench_workload_create(&bench->work, &bench->options.net, bench->options.batch, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK)
        return code;
    if (!bench->options.no_verify)
        code = verify(bench, err);
    if (code != LS_OK)
        return code;
    bench->n_variants = bench->options.compare ? 2 : 1;
    for (int v = 0; err->code == LS_OK && v < bench->n_variants; v++) {
        bench->variants[v].allreduce = v == 0 ? LS_ALLREDUCE_TREE : LS_ALLREDUCE_MPI;
        err->code = make_run(bench, &bench->variants[v].run, bench->variants[v].allreduce, bench->session.ops,
                             comm, err);
    }
    code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = time_variants(bench, err);
    if (code == LS_OK && ls_comm_rank(comm) == 0)
        print_result(bench);
    return code;
}

enum ls_code ls_bench_step(const struct ls_session *session, const struct ls_bench_step_options *options,
                           struct ls_error *err)
{
    static struct bench bench; /* large: not for the stack */
    bench = (struct bench){.options = *options, .session = *session};
    const enum ls_code code = bench_step(&bench, err);
    for (int v = 0; v < 2; v++)
        ls_bench_run_release(&bench.variants[v].run);
    ls_bench_workload_release(&bench.work);
    return code;
}
