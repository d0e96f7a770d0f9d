/* Owns what rounds come to: medians, efficiencies, the model beside them; the table and the CSV. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/bench_scaling_points.h"
#include "cli/bench_statistics.h"

/* Of one point; seconds of a step, medians over the rounds. */
struct figures {
    struct ls_bench_scaling_times times;
    double best_s, worst_s;                    /* of the rounds */
    double of_rank, of_rank_low, of_rank_high; /* efficiency against one rank: median and quartiles */
    double of_core;                            /* against one thread of one rank */
    double model_s;
    int hosts;
};

static const char *const scaling_names[] = {"strong", "weak"};
static const char *const reference_names[] = {"oracle", "one rank", "layouts"};

/* The q-quantile over rounds of the double that lies `offset` bytes into a round's times. */
static double over_rounds(const struct ls_bench_scaling *bench, const struct ls_bench_scaling_point *point,
                          size_t offset, double q)
{
    double values[LS_BENCH_SCALING_ROUNDS];
    for (int r = 0; r < bench->n_rounds; r++)
        values[r] = *(const double *)(const void *)((const char *)&point->rounds[r] + offset);
    return ls_quantile(values, bench->n_rounds, q);
}

static struct ls_bench_scaling_times medians(const struct ls_bench_scaling *bench,
                                             const struct ls_bench_scaling_point *point)
{
    struct ls_bench_scaling_times times;
    for (size_t at = 0; at < sizeof times; at += sizeof(double))
        *(double *)(void *)((char *)&times + at) = over_rounds(bench, point, at, 0.5);
    return times;
}

/* The point of the same scaling with one rank and so many threads. */
static const struct ls_bench_scaling_point *base_of(const struct ls_bench_scaling *bench,
                                                    const struct ls_bench_scaling_point *point, int threads)
{
    const struct ls_bench_scaling_point *base = bench->points;
    while (base->scaling != point->scaling || base->layout.ranks != 1 || base->layout.threads != threads)
        base++;
    return base;
}

/* Work done a second by each of `workers`, as a share of what the base does with one: within a round, where
 * what disturbs the machine disturbs both. */
static double efficiency(const struct ls_bench_scaling *bench, const struct ls_bench_scaling_point *point,
                         const struct ls_bench_scaling_point *base, int workers, double q)
{
    double values[LS_BENCH_SCALING_ROUNDS];
    for (int r = 0; r < bench->n_rounds; r++)
        values[r] = base->rounds[r].step.max / point->rounds[r].step.max * (double)point->batch /
                    (double)base->batch / workers;
    return ls_quantile(values, bench->n_rounds, q);
}

/* Of a part of several ranks, the allreduce of vectors of length `size`: the lower quartile, since the model
 * is of memory and network, not of what else runs there. */
static struct ls_allreduce_sample sample_of(const struct ls_bench_scaling *bench,
                                            const struct ls_bench_scaling_part *part, int size)
{
    double values[LS_BENCH_SCALING_ROUNDS];
    memcpy(values, part->allreduce_s[size], (size_t)bench->n_rounds * sizeof *values);
    return (struct ls_allreduce_sample){.ranks = part->ranks,
                                        .hosts = ls_comm_n_hosts(part->comm),
                                        .bytes = (double)ls_bench_scaling_size(bench, size) * sizeof(float),
                                        .seconds = ls_quantile(values, bench->n_rounds, 0.25)};
}

static void fit_model(struct ls_bench_scaling *bench)
{
    struct ls_allreduce_sample samples[LS_MOST_LAYOUTS * LS_BENCH_SCALING_SIZES];
    int n = 0;
    for (int p = 0; p < bench->n_parts; p++)
        for (int i = 0; bench->parts[p].ranks > 1 && i < LS_BENCH_SCALING_SIZES; i++)
            samples[n++] = sample_of(bench, &bench->parts[p], i);
    bench->model = ls_allreduce_fit(samples, n);
}

/* One rank's step for as many samples as the busiest rank has, whole leaves, and its update; then the
 * allreduce, none of it hidden. */
static double model_step(const struct ls_bench_scaling *bench, const struct ls_bench_scaling_point *point,
                         const struct ls_bench_scaling_point *base)
{
    const struct ls_bench_scaling_times one = medians(bench, base);
    const int64_t m = bench->options.net.microbatch, P = point->layout.ranks;
    const int64_t leaves = (point->batch + m - 1) / m, rows = (leaves + P - 1) / P * m;
    const double share = (double)(rows < point->batch ? rows : point->batch) / (double)base->batch;
    return (one.step.max - one.update.max) * share + one.update.max +
           ls_allreduce_predict(&bench->model, point->layout.ranks, ls_comm_n_hosts(point->comm),
                                (double)(bench->work.net.n_floats + 1) * sizeof(float));
}

static struct figures figures_of(const struct ls_bench_scaling *bench,
                                 const struct ls_bench_scaling_point *point)
{
    const struct ls_layout layout = point->layout;
    const struct ls_bench_scaling_point *rank = base_of(bench, point, layout.threads),
                                        *core = base_of(bench, point, 1);
    const size_t step = offsetof(struct ls_bench_scaling_times, step.max);
    return (struct figures){.times = medians(bench, point),
                            .best_s = over_rounds(bench, point, step, 0),
                            .worst_s = over_rounds(bench, point, step, 1),
                            .of_rank = efficiency(bench, point, rank, layout.ranks, 0.5),
                            .of_rank_low = efficiency(bench, point, rank, layout.ranks, 0.25),
                            .of_rank_high = efficiency(bench, point, rank, layout.ranks, 0.75),
                            .of_core = efficiency(bench, point, core, layout.ranks * layout.threads, 0.5),
                            .model_s = model_step(bench, point, rank),
                            .hosts = ls_comm_n_hosts(point->comm)};
}

static void print_run(const struct ls_bench_scaling *bench)
{
    const struct ls_comm *comm = bench->session.comm;
    char shape[100], parameters[32];
    printf("net     %s; input %s, %s parameters, m = %lld\n", bench->work.net.text,
           ls_shape_format(&bench->work.net.in, shape, sizeof shape),
           ls_text_grouped((int64_t)bench->work.net.n_floats, parameters),
           (long long)bench->options.net.microbatch);
    printf("run     up to %d ranks on %d host%s, MPI: %s; %s; %d rounds of all layouts in turn\n",
           ls_comm_size(comm), ls_comm_n_hosts(comm), ls_comm_n_hosts(comm) == 1 ? "" : "s",
           ls_comm_library(comm), bench->session.ops->name, bench->n_rounds);
}

/* A line for each batch: the hash that all its layouts have. */
static void print_bits(const struct ls_bench_scaling *bench)
{
    static const char *const words[] = {"the serial oracle's", "one rank's", "compared with each other only"};
    for (int i = 0; i < bench->n_points; i++) {
        const struct ls_bench_scaling_point *point = &bench->points[i];
        char hash[LS_HASH_TEXT];
        int n = 0, first = 1;
        for (int j = 0; j < bench->n_points; j++) {
            n += bench->points[j].batch == point->batch;
            first &= j >= i || bench->points[j].batch != point->batch;
        }
        if (!first)
            continue;
        ls_hash_text(point->hash, hash);
        printf("bits    B = %lld: %s in %d layout%s; %s\n", (long long)point->batch, hash, n,
               n == 1 ? "" : "s",
               n == 1 && point->reference == LS_REFERENCE_LAYOUTS
                   ? "compared with nothing: one rank would take too long"
                   : words[point->reference]);
    }
}

static void print_samples(const struct ls_bench_scaling *bench, const struct ls_bench_scaling_part *part)
{
    const int hosts = ls_comm_n_hosts(part->comm);
    printf("        %d ranks on %d host%s:", part->ranks, hosts, hosts == 1 ? "" : "s");
    for (int i = 0; i < LS_BENCH_SCALING_SIZES; i++) {
        const struct ls_allreduce_sample sample = sample_of(bench, part, i);
        printf("%s %.4g KB %.4g us (%.4g)", i ? "," : "", sample.bytes * 1e-3, sample.seconds * 1e6,
               1e6 * ls_allreduce_predict(&bench->model, sample.ranks, sample.hosts, sample.bytes));
    }
    printf("\n");
}

static void print_model(const struct ls_bench_scaling *bench)
{
    const struct ls_allreduce_model *model = &bench->model;
    const double *c = model->coefficient;
    if (model->n == 0)
        return;
    printf("model   allreduce of s bytes, h hosts, r ranks on each: %.3g us for each doubling of r",
           c[0] * 1e6);
    if (c[1] > 0)
        printf(" + s / %.3g GB/s", 1e-9 / c[1]);
    if (c[2] > 0)
        printf(" + %.3g us for each doubling of h", c[2] * 1e6);
    if (c[3] > 0)
        printf(" + 2 s (h-1)/h / %.3g GB/s", 1e-9 / c[3]);
    printf("; off by %.0f %%, at most %.0f %%.  Lower quartiles (model):\n", 100 * model->typical_error,
           100 * model->largest_error);
    for (int p = 0; p < bench->n_parts; p++)
        if (bench->parts[p].ranks > 1)
            print_samples(bench, &bench->parts[p]);
}

static void print_spread(struct ls_spread spread)
{
    printf(" %8.1f %8.1f %8.1f", spread.min * 1e6, spread.mean * 1e6, spread.max * 1e6);
}

static void print_head(const struct ls_bench_scaling_point *point, const struct ls_bench_scaling *bench)
{
    if (point->scaling == LS_BENCH_SCALING_STRONG)
        printf("\nstrong scaling: B = %lld over all ranks", (long long)point->batch);
    else
        printf("\nweak scaling: %lld samples a rank", (long long)base_of(bench, point, 1)->batch);
    printf("; microseconds a step, medians\n"
           "%16s %19s %26s %26s %7s %7s %17s\n"
           "ranks thr. hosts %9s %9s %8s %8s %8s %8s %8s %8s %7s %7s %5s %5s %5s %11s\n",
           "", "step:    fastest", "forward and backward", "exposed communication", "data", "up-",
           "efficiency, % of", "median", "round", "min", "mean", "max", "min", "mean", "max", "wait", "date",
           "rank", "core", "model", "samples/s");
}

static void print_row(const struct ls_bench_scaling_point *point, const struct figures *f)
{
    char rate[32];
    printf("%5d %4d %5d %9.1f %9.1f", point->layout.ranks, point->layout.threads, f->hosts,
           f->times.step.max * 1e6, f->best_s * 1e6);
    print_spread(f->times.compute);
    print_spread(f->times.exposed);
    printf(" %7.1f %7.1f %5.1f %5.1f %5.1f %11s\n", f->times.data.mean * 1e6, f->times.update.mean * 1e6,
           100 * f->of_rank, 100 * f->of_core, 100 * f->model_s / f->times.step.max,
           ls_text_grouped((int64_t)((double)point->batch / f->times.step.max), rate));
}

static void write_spread(FILE *csv, struct ls_spread spread)
{
    fprintf(csv, ",%.5g,%.5g,%.5g", spread.min * 1e6, spread.mean * 1e6, spread.max * 1e6);
}

static void write_row(FILE *csv, const struct ls_bench_scaling *bench,
                      const struct ls_bench_scaling_point *point, const struct figures *f)
{
    char hash[LS_HASH_TEXT];
    ls_hash_text(point->hash, hash);
    fprintf(csv, "\"%s\",%s,%lld,%d,%d,%d,%s,%d,%.6g,%.6g,%.6g,%.6g", bench->work.net.text,
            scaling_names[point->scaling], (long long)point->batch, point->layout.ranks,
            point->layout.threads, f->hosts, bench->session.ops->name, bench->n_rounds,
            f->times.step.max * 1e6, f->best_s * 1e6, f->worst_s * 1e6,
            (double)point->batch / f->times.step.max);
    write_spread(csv, f->times.compute);
    write_spread(csv, f->times.exposed);
    write_spread(csv, f->times.data);
    write_spread(csv, f->times.update);
    fprintf(csv, ",%.4f,%.4f,%.4f,%.4f,%.4f,%.6g,%.4f,%s,%s\n", f->times.compute.max / f->times.compute.mean,
            f->of_rank, f->of_rank_low, f->of_rank_high, f->of_core, f->model_s * 1e6,
            f->model_s / f->times.step.max, hash, reference_names[point->reference]);
}

static const char csv_head[] =
    "net,scaling,batch,ranks,threads,hosts,isa,rounds,step_us,step_us_best,step_us_worst,samples_per_s,"
    "compute_us_min,compute_us_mean,compute_us_max,exposed_us_min,exposed_us_mean,exposed_us_max,"
    "data_us_min,data_us_mean,data_us_max,update_us_min,update_us_mean,update_us_max,imbalance,"
    "efficiency_of_rank,efficiency_of_rank_quartile1,efficiency_of_rank_quartile3,efficiency_of_core,"
    "model_us,efficiency_of_model,hash,compared_with\n";

void ls_bench_scaling_print(struct ls_bench_scaling *bench, FILE *csv)
{
    fit_model(bench);
    print_run(bench);
    print_bits(bench);
    print_model(bench);
    if (csv)
        fputs(csv_head, csv);
    for (int i = 0; i < bench->n_points; i++) {
        const struct ls_bench_scaling_point *point = &bench->points[i];
        const struct figures figures = figures_of(bench, point);
        if (i == 0 || point->scaling != bench->points[i - 1].scaling)
            print_head(point, bench);
        print_row(point, &figures);
        if (csv)
            write_row(csv, bench, point, &figures);
    }
}
