/* `lockstep bench allreduce`: the command, and the script that goes through MPI's own algorithms. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "launch.h"
#include "lockstep.h"

/* Every way and size in the CSV, once, with a time. */
Test(bench_allreduce, command, .timeout = 2 * LOCKSTEP_LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place csv = in_folder(&folder, "allreduce.csv");
    const struct ls_outcome *run = lockstep(
        3,
        "bench allreduce --threads 1 --leaves 7 --seconds 0.2 --least-bytes 1024 --most-bytes 16384 --csv %s",
        csv.path);
    cr_assert_eq(run->status, 0, "status %d\n%s", run->status, run->err);
    cr_expect(strstr(run->out, "3 ranks, 3 on this host, 7 leaves"), "%s", run->out);
    size_t n = 0;
    char *text = read_file(csv.path, &n);
    static const char *const ways[] = {"shared", "own", "messages", "mpi"};
    for (int bytes = 1024; bytes <= 16384; bytes *= 4)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            char row[80];
            snprintf(row, sizeof row, "\n3,7,%d,%s,", bytes, ways[i]);
            const char *at = strstr(text, row);
            cr_assert_not_null(at, "no row '%s' in\n%s", row + 1, text);
            int samples = 0;
            float best = 0;
            cr_expect(sscanf(at + strlen(row), "%d,%f", &samples, &best) == 2 && samples > 0 && best > 0,
                      "%.60s", at);
            cr_expect_null(strstr(at + 1, row));
        }
    free(text);
    folder_destroy(&folder);
}

Test(bench_allreduce, script, .timeout = 2 * LOCKSTEP_LIMIT_S)
{
    static struct ls_outcome run;
    const struct folder folder = folder_create();
    const struct place csv = in_folder(&folder, "allreduce.csv");
    const char *const env[] = {"LOCKSTEP=" LOCKSTEP, "LOCKSTEP_MPIRUN_OPTIONS=--oversubscribe --bind-to none",
                               "ASAN_OPTIONS=detect_leaks=0", /* Open MPI's: see launch.c */
                               NULL};
    ls_launch(&run, LOCKSTEP_LIMIT_S, env,
              LS_ARGV("scripts/allreduce.sh", "--algorithms", "default ring", "--out", csv.path, "--",
                      "--seconds", "0.1", "--least-bytes", "1024", "--most-bytes", "4096"));
    cr_assert_eq(run.status, 0, "status %d\n%s%s", run.status, run.out, run.err);
    cr_expect(strstr(run.out, "default") && strstr(run.out, "ring") && strstr(run.out, "fastest/tree"), "%s",
              run.out);
    size_t n = 0;
    char *text = read_file(csv.path, &n);
    cr_expect(strncmp(text, "algorithm,ranks,leaves,bytes,way,", 33) == 0, "%s", text);
    cr_expect(strstr(text, "\ndefault,2,2,4096,mpi,") && strstr(text, "\nring,2,2,4096,mpi,"), "%s", text);
    free(text);
    ls_launch(&run, LOCKSTEP_LIMIT_S, env, LS_ARGV("scripts/allreduce.sh", "--algorithms", "round"));
    cr_expect(run.status == 2 && strstr(run.err, "unknown algorithm 'round'"), "status %d\n%s", run.status,
              run.err);
    ls_launch(&run, LOCKSTEP_LIMIT_S, env, LS_ARGV("scripts/allreduce.sh", "--rank", "3"));
    cr_expect(run.status == 2 && strstr(run.err, "allreduce.sh: unknown option '--rank'"), "status %d\n%s",
              run.status, run.err);
    ls_launch(&run, LOCKSTEP_LIMIT_S, env, LS_ARGV("scripts/allreduce.sh", "--ranks"));
    cr_expect(run.status == 2 && strstr(run.err, "a value is missing behind '--ranks'"), "status %d\n%s",
              run.status, run.err);
    folder_destroy(&folder);
}
