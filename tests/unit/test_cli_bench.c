/* What the machine can do and what is made of it: bench and info machine. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli_checks.h"
#include "files.h"

static void check_reading(const char *more, double n, double sample_bytes)
{
    const struct ls_outcome *o =
        lockstep(1, "bench step --net 'dense 10' --batch 96 --threads 1 --seconds 0.05 --json %s", more);
    check_status(o, 0, "bench step");
    json_t *of = json_loads(o->out, 0, NULL);
    cr_assert(of, "not JSON: %s", o->out);
    const double step_us = json_number_value(json_object_get(of, "step_us"));
    const double gbytes = json_number_value(json_object_get(of, "data_gbytes_per_s"));
    const double read = json_number_value(json_object_get(of, "read_gbytes_per_s"));
    cr_assert(json_integer_value(json_object_get(of, "data_bytes")) == (json_int_t)(n * sample_bytes), "%s",
              o->out);
    cr_assert(fabs(gbytes * step_us / (96 * sample_bytes * 1e-3) - 1) < 0.01, "%s", o->out);
    cr_assert(fabs(json_number_value(json_object_get(of, "read_share")) * read / gbytes - 1) < 0.01, "%s",
              o->out);
    json_decref(of);
}

/* 784 pixels of a byte, or numbers of four, and a label of four are what a step must read of a sample. */
Test(cli, bench_step_counts_what_it_reads, .timeout = 3 * LIMIT_S)
{
    check_reading("", 8192, 784 + 4);
    check_reading("--samples 96", 96, 784 + 4);
    check_reading("--samples 1000 --elements f32", 1000, 4 * 784 + 4);
    const struct ls_outcome *o = lockstep(1, "bench step --batch 96 --samples 95");
    check_status(o, 2, "fewer samples than a batch");
    has(o->err, "--samples: 95 are fewer than a batch, which has 96", "fewer samples than a batch");
}

static void check_lanes(const char *more, int in_lanes)
{
    const struct ls_outcome *o =
        lockstep(1, "bench step --net 'dense 10' --batch 128 --threads 2 --seconds 0.05 %s", more);
    check_status(o, 0, more); /* after its bits were compared */
    has(o->out, in_lanes ? "2 threads in lanes, " : "2 threads, ", more);
}

/* 64 samples of 784 numbers for each of two threads are work enough; one leaf for both is none. */
Test(cli, bench_step_takes_lanes_or_not, .timeout = 4 * LIMIT_S)
{
#ifdef _OPENMP
    check_lanes("--lanes on", 1);
    check_lanes("", 1);
    check_lanes("--lanes on --microbatch 128", 0);
    check_lanes("--lanes off", 0);
#endif
}

Test(cli, info_machine_says_what_is_there, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "info machine");
    check_status(o, 0, "info machine");
    static const char *const parts[] = {"processor ", "cores ", "ISA ", "MPI ", "FMA peak ", "memory "};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        has(o->out, parts[i], "info machine");
}

Test(cli, bench_load_compares_then_times, .timeout = 5 * LIMIT_S)
{
    struct folder folder = folder_create();
    char before[200];
    snprintf(before, sizeof before, "TMPDIR=%s; export TMPDIR;", folder.path);
    const struct ls_outcome *o = lockstep_after(1, before, "bench load --data digits --seconds 0.05");
    check_status(o, 0, "bench load");
    static const char *const parts[] = {"0.1 MB of samples and labels as IDX", "verified", "load gzip IDX ",
                                        "open .lsd, touch each page ", "open .lsd, --check-data on "};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        has(o->out, parts[i], "bench load");
    cr_expect(folder_count(&folder) == 0, "files are left");
    o = lockstep_after(1, before, "bench load --data 'synthetic:n=10,shape=4,classes=2'");
    check_status(o, 2, "bench load of generated data");
    has(o->err, "no pixels in memory with labels", "bench load of generated data");
    char file[300];
    snprintf(file, sizeof file, "%s/digits.lsd", folder.path);
    check_status(lockstep(1, "convert digits %s --quiet", file), 0, "convert");
    o = lockstep_after(1, before, "bench load --data lsd:%s,read=pread", file);
    check_status(o, 2, "bench load of what is read sample by sample");
    has(o->err, "lsd:FILE,read=memory", "bench load of what is read sample by sample");
    check_status(lockstep_after(1, before, "bench load --seconds 0.05 --data lsd:%s,read=memory", file), 0,
                 "bench load of an .lsd file");
    o = lockstep_after(1, "TMPDIR=/nowhere/at/all; export TMPDIR;", "bench load --data digits");
    check_status(o, 3, "bench load without a folder");
    has(o->err, "/nowhere/at/all", "bench load without a folder");
    folder_destroy(&folder);
}
