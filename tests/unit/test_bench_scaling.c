/* `lockstep bench scaling`: its layouts, the model of the allreduce, and the command on several ranks. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cores.h"
#include "cli/allreduce_model.h"
#include "cli/bench_layouts.h"
#include "files.h"
#include "lockstep.h"

static const char *text_of(const struct ls_layouts *layouts)
{
    static char text[500];
    text[0] = '\0';
    for (int i = 0; i < layouts->n; i++)
        sprintf(text + strlen(text), "%s%dx%d", i ? "," : "", layouts->at[i].ranks, layouts->at[i].threads);
    return text;
}

Test(bench_scaling, layouts)
{
    static const struct {
        const char *text;
        int n_ranks, threads;
        const char *expected; /* or what the message says */
    } cases[] = {
        {NULL, 1, 1, "1x1"},
        {NULL, 1, 4, "1x1,1x4"},
        {NULL, 6, 1, "1x1,2x1,4x1,6x1"},
        {NULL, 8, 2, "1x1,1x2,2x2,4x2,8x2"},
        {"2x1", 2, 1, "1x1,2x1"},
        {"3x2,1x1,3x2,2x1", 3, 1, "1x1,2x1,1x2,3x2"},
        {"2x1,", 2, 1, "'' is no layout"},
        {"2", 2, 1, "'2' is no layout"},
        {"0x1", 2, 1, "'0x1' is no layout"},
        {"1x0", 2, 1, "'1x0' is no layout"},
        {"1x4097", 2, 1, "'1x4097' is no layout"},
        {"4x1", 2, 1, "4x1 wants 4 ranks, this job has 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ls_layouts layouts;
        struct ls_error err = {.code = LS_OK};
        const enum ls_code code =
            ls_layouts_choose(&layouts, cases[i].text, cases[i].n_ranks, cases[i].threads, &err);
        if (cases[i].expected[0] == '1')
            cr_expect(code == LS_OK && strcmp(text_of(&layouts), cases[i].expected) == 0, "%s: %s, not %s",
                      cases[i].text, code == LS_OK ? text_of(&layouts) : err.text, cases[i].expected);
        else
            cr_expect(code == LS_USAGE && strstr(err.text, cases[i].expected), "%s: '%s'", cases[i].text,
                      err.text);
    }
}

static double time_of(const double c[4], int ranks, int hosts, double bytes)
{
    const double on_host = (double)ranks / hosts;
    return c[0] * ceil(log2(on_host)) + (on_host > 1 ? c[1] * bytes : 0) + c[2] * ceil(log2(hosts)) +
           c[3] * bytes * 2 * (hosts - 1) / hosts;
}

static int measure(struct ls_allreduce_sample *samples, const double c[4], double spoil)
{
    static const int layouts[][2] = {{2, 1}, {4, 1}, {3, 3}, {4, 2}, {8, 4}, {12, 3}};
    int n = 0;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        for (double bytes = 4096; bytes < 1e8; bytes *= 16, n++)
            samples[n] = (struct ls_allreduce_sample){layouts[i][0], layouts[i][1], bytes,
                                                      time_of(c, layouts[i][0], layouts[i][1], bytes) *
                                                          (n % 2 ? 1 + spoil : 1 - spoil)};
    return n;
}

/* The coefficients that times were made with come back; of spoilt times, about. */
Test(bench_scaling, model)
{
    static const double all[][4] = {
        {2e-6, 1e-10, 2e-5, 1e-9}, {0, 1e-10, 2e-5, 0}, {5e-7, 3e-11, 1e-3, 8e-8}};
    struct ls_allreduce_sample samples[100];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const int n = measure(samples, all[i], 0);
        for (int s = 0; s < n; s++)
            samples[s].seconds = fmax(samples[s].seconds, 1e-9);
        const struct ls_allreduce_model model = ls_allreduce_fit(samples, n);
        cr_expect(model.n == n && model.largest_error < 1e-6 && model.typical_error <= model.largest_error,
                  "case %zu: error %g", i, model.largest_error);
        for (int c = 0; c < 4; c++)
            cr_expect(fabs(model.coefficient[c] - all[i][c]) <= 1e-6 * all[i][c] + 1e-15,
                      "case %zu: coefficient %d is %g, not %g", i, c, model.coefficient[c], all[i][c]);
        cr_expect(fabs(ls_allreduce_predict(&model, 64, 8, 5e6) / time_of(all[i], 64, 8, 5e6) - 1) < 1e-6);
    }
    const struct ls_allreduce_model spoilt = ls_allreduce_fit(samples, measure(samples, all[0], 0.1));
    cr_expect(spoilt.typical_error > 0.05 && spoilt.typical_error < 0.11 && spoilt.largest_error < 0.2,
              "errors %g, %g", spoilt.typical_error, spoilt.largest_error);
    for (int c = 0; c < 4; c++)
        cr_expect(fabs(spoilt.coefficient[c] / all[0][c] - 1) < 0.25, "coefficient %d: %g", c,
                  spoilt.coefficient[c]);
}

/* Of two ranks on one host only two terms can be told; none is negative, and no samples say 0. */
Test(bench_scaling, model_of_little)
{
    const struct ls_allreduce_sample falling[] = {{2, 1, 1e4, 2e-6}, {2, 1, 1e6, 1e-6}};
    const struct ls_allreduce_model model = ls_allreduce_fit(falling, 2), none = ls_allreduce_fit(falling, 0);
    for (int c = 0; c < 4; c++)
        cr_expect(model.coefficient[c] >= 0 && none.coefficient[c] == 0.0);
    cr_expect(model.coefficient[2] == 0.0 && model.coefficient[3] == 0.0 && model.coefficient[0] > 0);
    cr_expect(ls_allreduce_predict(&model, 1, 1, 1e6) == 0.0);
}

#if LS_WITH_MPI
#    define TINY "bench scaling --net 'dense 8, relu, dense 10' --input 8x8 --batch 96 --seconds 0.05 "
enum { MOST_ROWS = 20, N_COLUMNS = 33, SCALING = 1, BATCH, RANKS, THREADS, STEP_US = 8, EFFICIENCY = 25 };

struct rows {
    int n;
    char fields[MOST_ROWS][N_COLUMNS][80]; /* the first row is the head */
};

/* The first field may have commas, in quotes. */
static void read_rows(const char *path, struct rows *rows)
{
    size_t n = 0;
    char *text = read_file(path, &n), *rest = text;
    rows->n = 0;
    for (char *line; (line = strsep(&rest, "\n")) && *line; rows->n++) {
        cr_assert_lt(rows->n, MOST_ROWS);
        int column = 0;
        while (line) {
            cr_assert_lt(column, N_COLUMNS, "row %d has more columns", rows->n);
            char *end = line[0] == '"' ? strchr(line + 1, '"') + 1 : line + strcspn(line, ",");
            snprintf(rows->fields[rows->n][column++], 80, "%.*s", (int)(end - line), line);
            line = *end ? end + 1 : NULL;
        }
        cr_assert_eq(column, N_COLUMNS, "row %d has %d columns", rows->n, column);
    }
    free(text);
}

static void check_rows(const struct rows *rows, const char *expected, const char *compared_with)
{
    char layouts[400] = "";
    cr_assert_str_eq(rows->fields[0][BATCH], "batch");
    cr_assert_str_eq(rows->fields[0][STEP_US], "step_us");
    cr_assert_str_eq(rows->fields[0][EFFICIENCY], "efficiency_of_rank");
    for (int i = 1; i < rows->n; i++) {
        const char(*row)[80] = rows->fields[i];
        sprintf(layouts + strlen(layouts), "%s%c%s:%sx%s", i > 1 ? " " : "", row[SCALING][0], row[BATCH],
                row[RANKS], row[THREADS]);
        cr_expect(atof(row[STEP_US]) > 0 && atof(row[EFFICIENCY]) > 0, "row %d: %s us", i, row[STEP_US]);
        cr_expect(strcmp(row[RANKS], "1") != 0 || atof(row[EFFICIENCY]) == 1.0);
        cr_expect_str_eq(row[N_COLUMNS - 1], compared_with);
        cr_expect_eq(strlen(row[N_COLUMNS - 2]), 32u);
        for (int j = 1; j < i; j++)
            cr_expect((strcmp(row[BATCH], rows->fields[j][BATCH]) == 0) ==
                          (strcmp(row[N_COLUMNS - 2], rows->fields[j][N_COLUMNS - 2]) == 0),
                      "rows %d and %d: hashes %s and %s", j, i, rows->fields[j][N_COLUMNS - 2],
                      row[N_COLUMNS - 2]);
    }
    cr_expect_str_eq(layouts, expected);
}

Test(bench_scaling, command, .timeout = 6 * LOCKSTEP_LIMIT_S)
{
    static const struct {
        int ranks;
        const char *options, *rows, *compared_with;
    } cases[] = {
        {1, "--threads 1", "s96:1x1 w96:1x1", "oracle"},
        {2, "--threads 1 --rank-batch 48", "s96:1x1 s96:2x1 w48:1x1 w96:2x1", "oracle"},
        {3, "--threads 1 --scaling strong --bucket-bytes 0", "s96:1x1 s96:2x1 s96:3x1", "oracle"},
        {3, "--scaling strong --layouts 3x2,2x1 --no-verify", "s96:1x1 s96:2x1 s96:1x2 s96:3x2", "one rank"},
        {3, "--scaling weak --layouts 3x1 --net 'dense 500, relu, dense 500, relu, dense 10' --input 28x28",
         "w96:1x1 w288:3x1", "one rank"},
    };
    static struct rows rows;
    const struct folder folder = folder_create();
    const struct place csv = in_folder(&folder, "scaling.csv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct ls_outcome *run =
            lockstep(cases[i].ranks, TINY "%s --csv %s", cases[i].options, csv.path);
        cr_assert_eq(run->status, 0, "%s: status %d\n%s", cases[i].options, run->status, run->err);
        cr_expect(strstr(run->out, "strong scaling: B = 96 over all ranks") ||
                      strstr(run->out, "weak scaling: 96 samples a rank"),
                  "%s", run->out);
        cr_expect((strstr(run->out, "model   allreduce") != NULL) == (cases[i].ranks > 1));
        read_rows(csv.path, &rows);
        check_rows(&rows, cases[i].rows, cases[i].compared_with);
    }
    folder_destroy(&folder);
}

/* A machine whose every hardware thread is of one core. */
static void write_lscpu(const char *path)
{
    char text[20000] = "#!/bin/sh\ncat <<END\n# CPU,Core,Socket\n";
    size_t n = strlen(text);
    for (int cpu = 0; cpu < LS_MOST_CORES; cpu++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%d,7,0\n", cpu);
    n += (size_t)snprintf(text + n, sizeof text - n, "END\n");
    write_file(path, text, n);
    cr_assert_eq(chmod(path, 0700), 0);
}

/* Tables, CSV and picture of all jobs; and a row with other bits is told.  A job for each number of threads
 * up to that of cores: one. */
Test(bench_scaling, script, .timeout = 2 * LOCKSTEP_LIMIT_S)
{
    static struct ls_outcome run;
    const struct folder folder = folder_create();
    const struct place csv = in_folder(&folder, "scaling.csv"), svg = in_folder(&folder, "scaling.svg");
    char path[4096];
    snprintf(path, sizeof path, "PATH=%s:%s", folder.path, getenv("PATH"));
    const char *const env[] = {"LOCKSTEP=" LOCKSTEP, path, "ASAN_OPTIONS=detect_leaks=0", NULL};
    write_lscpu(in_folder(&folder, "lscpu").path);
    ls_launch(&run, LOCKSTEP_LIMIT_S, env,
              LS_ARGV("scripts/scaling.sh", "--out", folder.path, "--", "--net", "dense 10", "--input", "8x8",
                      "--seconds", "0.05"));
    cr_assert_eq(run.status, 0, "status %d\n%s%s", run.status, run.out, run.err);
    cr_expect(strstr(run.out, "2 rows, 1 nets and batches, the same bits"), "%s", run.out);
    cr_expect(strstr(run.out, "== 1 ranks a host x 1 threads, 1 host(s)"), "%s", run.out);
    size_t n = 0;
    char *text = read_file(svg.path, &n);
    cr_expect(strncmp(text, "<svg", 4) == 0 && strstr(text, "weak scaling, B = 64 x ranks: dense 10"));
    free(text);
    text = read_file(csv.path, &n);
    char *hash = strrchr(text, ',') - 32;
    hash[0] = hash[0] == '0' ? '1' : '0';
    write_file(csv.path, text, n);
    free(text);
    ls_launch(&run, LOCKSTEP_LIMIT_S, NULL,
              LS_ARGV("python3", "scripts/scaling_plot.py", csv.path, svg.path));
    cr_expect(run.status == 1 && strstr(run.err, "other bits: dense 10, B = 64"), "status %d\n%s", run.status,
              run.err);
    folder_destroy(&folder);
}

/* MPI's own sum adds in another order: it must be found, and nothing be timed. */
Test(bench_scaling, other_bits, .timeout = 2 * LOCKSTEP_LIMIT_S)
{
    const struct ls_outcome *run =
        lockstep(3, TINY "--threads 1 --batch 224 --scaling strong --allreduce mpi");
    cr_expect_eq(run->status, 1, "status %d\n%s", run->status, run->err);
    cr_expect(
        strstr(run->err, "strong scaling, B = 224, 3 ranks x 1 threads: after 2 steps the weights have hash"),
        "%s", run->err);
    cr_expect(strstr(run->err, "the serial oracle's is ") && strstr(run->err, "nothing was timed"));
    cr_expect_null(strstr(run->out, "scaling:"));
}

Test(bench_scaling, refusals, .timeout = 3 * LOCKSTEP_LIMIT_S)
{
    const struct ls_outcome *run = lockstep(2, TINY "--layouts 4x1");
    cr_expect(run->status == 2 && strstr(run->err, "this job has 2"), "status %d\n%s", run->status, run->err);
    run = lockstep(2, TINY "--threads 1 --csv /nowhere/scaling.csv");
    cr_expect(run->status == 3 && strstr(run->err, "cannot write '/nowhere/scaling.csv'"), "status %d\n%s",
              run->status, run->err);
}
#endif
