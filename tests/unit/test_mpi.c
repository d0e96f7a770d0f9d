/* Launches the multi-rank cases of tests/mpi, one mpirun after the other, on rank counts that are and are not
 * powers of two. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cores.h"
#include "launch.h"

enum { LIMIT_S = 60 };

#if LS_WITH_MPI

static struct ls_outcome outcome;

struct parameters {
    int ranks;
    char name[32];
};

static struct criterion_test_params every_case(void)
{
    static const char *const names[] = {
        "allreduce", "allreduce-in-pieces", "mpi-differs", "agree", "hashes", "counts",
        "gather",    "gather-too-much",     "parts"};
    static const int ranks[] = {1, 2, 3, 4, 5, 7, 8};
    enum { NAMES = sizeof names / sizeof *names, RANKS = sizeof ranks / sizeof *ranks };
    static struct parameters all[NAMES * RANKS];
    for (int i = 0; i < NAMES; i++)
        for (int j = 0; j < RANKS; j++) {
            all[i * RANKS + j].ranks = ranks[j];
            snprintf(all[i * RANKS + j].name, sizeof all[0].name, "%s", names[i]);
        }
    return cr_make_param_array(struct parameters, all, NAMES * RANKS);
}

static void launch_case(const char *name, int ranks)
{
    char ranks_text[16];
    snprintf(ranks_text, sizeof ranks_text, "%d", ranks);
    ls_launch_mpi(&outcome, ranks, LIMIT_S, NULL, LS_ARGV(LS_MPI_CASES, name, ranks_text));
}

ParameterizedTestParameters(mpi, case)
{
    return every_case();
}

ParameterizedTest(struct parameters *p, mpi, case, .timeout = LIMIT_S + 20)
{
    launch_case(p->name, p->ranks);
    cr_assert(outcome.status == 0, "%s on %d ranks: status %d%s\n%s%s", p->name, p->ranks, outcome.status,
              outcome.timed_out ? ", timed out" : "", outcome.out, outcome.err);
}

/* Ranks on hosts of their own, some to a host, all on one: the last host may have fewer. */
ParameterizedTestParameters(mpi, vectors_on_hosts)
{
    static int ranks[] = {1, 2, 3, 4, 5, 7, 8};
    return cr_make_param_array(int, ranks, sizeof ranks / sizeof *ranks);
}

ParameterizedTest(int *ranks, mpi, vectors_on_hosts, .timeout = 5 * LIMIT_S)
{
    char ranks_text[16], hosts[64];
    snprintf(ranks_text, sizeof ranks_text, "%d", *ranks);
    for (int per_host = 1; per_host <= *ranks;
         per_host = per_host == 3 && *ranks > 4 ? *ranks : per_host + 1) {
        snprintf(hosts, sizeof hosts, "LOCKSTEP_RANKS_PER_HOST=%d", per_host);
        ls_launch_mpi(
            &outcome, *ranks, LIMIT_S, (const char *const[]){hosts, NULL},
            LS_ARGV(LS_MPI_CASES, "allreduce-vectors", ranks_text, *ranks > 1 && per_host > 1 ? "1" : "0"));
        cr_assert(outcome.status == 0, "%d ranks, %d a host: status %d%s\n%s%s", *ranks, per_host,
                  outcome.status, outcome.timed_out ? ", timed out" : "", outcome.out, outcome.err);
        ls_launch_mpi(&outcome, *ranks, LIMIT_S, (const char *const[]){hosts, NULL},
                      LS_ARGV(LS_MPI_CASES, "slices", ranks_text));
        cr_assert(outcome.status == 0, "slices, %d ranks, %d a host: status %d%s\n%s%s", *ranks, per_host,
                  outcome.status, outcome.timed_out ? ", timed out" : "", outcome.out, outcome.err);
    }
}

/* Neither when gradients leave nor in which pieces can be seen in the result. */
Test(mpi, buckets_cannot_be_seen, .timeout = 5 * LIMIT_S)
{
    static const char *const ways[] = {"--overlap off",
                                       "--bucket-bytes 1",
                                       "--bucket-bytes 600",
                                       "--bucket-bytes 20000",
                                       "--bucket-bytes 600 --accumulate 2 --batch 10",
                                       "--bucket-bytes 1 --cross-check 2",
                                       "--bucket-bytes 1 --nesterov --clip-value 0.1 --ema 0.9",
                                       "--bucket-bytes 600 --optimizer lars --lr 2",
                                       "--bucket-bytes 600 --clip-norm 0.1"};
    static const char train[] =
        "exec " LS_BUILD
        "/lockstep train --data synthetic:n=90,shape=2x6x5,classes=4,test=11 --net 'conv 5 3x3 pad 1, "
        "batchnorm, relu, conv 7 3x3, tanh, dense 40, relu, dense 30, relu, dense 4' --batch 20 --microbatch "
        "5 "
        "--epochs 2 --quiet --threads 1 --momentum 0.9 ";
    char command[1000], hosts[64], expected[40] = "";
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (int per_host = 0; per_host <= 2; per_host++) {
            const int ranks = per_host == 0 ? 1 : 5; /* one rank alone says what is expected */
            snprintf(hosts, sizeof hosts, "LOCKSTEP_RANKS_PER_HOST=%d", per_host);
            snprintf(command, sizeof command, "%s%s", train, ways[i]);
            ls_launch_mpi(&outcome, ranks, LIMIT_S, (const char *const[]){hosts, NULL},
                          LS_ARGV("sh", "-c", command));
            cr_assert(outcome.status == 0, "%s, %s: status %d\n%s", ways[i], hosts, outcome.status,
                      outcome.err);
            const char *hash = outcome.out + strlen(outcome.out) - 33;
            if (per_host == 0)
                snprintf(expected, sizeof expected, "%.32s", hash);
            cr_assert(strncmp(hash, expected, 32) == 0, "%s, %s: %s, not %s", ways[i], hosts, hash, expected);
        }
}

/* Buckets that are in are applied while others travel, but not those of a step that is refused: then it is
 * the gradient that is not finite, and no parameter. */
Test(mpi, a_refused_step_updates_nothing, .timeout = 5 * LIMIT_S)
{
    static const char *const ways[] = {"--overlap off", "--bucket-bytes 1", "--bucket-bytes 600"};
    static const char train[] =
        "exec " LS_BUILD
        "/lockstep train --data synthetic:n=90,shape=9,classes=4,test=11 --net 'dense 40, relu, dense 30, "
        "relu, dense 4' --batch 20 --microbatch 4 --epochs 2 --quiet --threads 1 --lr 1e15 ";
    char command[1000], expected[300] = "";
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const int ranks = i == 0 ? 1 : 5;
        snprintf(command, sizeof command, "%s%s", train, ways[i]);
        ls_launch_mpi(&outcome, ranks, LIMIT_S, (const char *const[]){"LOCKSTEP_RANKS_PER_HOST=1", NULL},
                      LS_ARGV("sh", "-c", command));
        const char *text = strstr(outcome.err, "training went non-finite");
        cr_assert(outcome.status == 4 && text, "%s: status %d\n%s", ways[i], outcome.status, outcome.err);
        if (i == 0) {
            snprintf(expected, sizeof expected, "%.*s", (int)strcspn(text, ";"), text);
            cr_assert(strstr(expected, "first in the gradient of '"), "%s", expected);
        }
        cr_assert(strncmp(text, expected, strlen(expected)) == 0, "%s: %s, not %s", ways[i], text, expected);
    }
}

/* On as many ranks as there are cores, and on more. */
Test(mpi, ranks_have_cores_of_their_own, .timeout = 2 * LIMIT_S)
{
    const int cores = ls_cores_mine()->n, ranks[] = {cores < 8 ? cores : 8, 5};
    for (int i = 0; i < 2; i++) {
        launch_case("pinned", ranks[i]);
        cr_assert(outcome.status == 0, "%d ranks: status %d\n%s%s", ranks[i], outcome.status, outcome.out,
                  outcome.err);
    }
}

Test(mpi, an_abort_ends_all_ranks_with_its_status, .timeout = LIMIT_S + 20)
{
    launch_case("abort", 3);
    cr_assert(outcome.status == 7, "status %d\n%s", outcome.status, outcome.err);
    cr_assert(!strstr(outcome.err, "went on"), "%s", outcome.err);
}

Test(mpi, a_dead_rank_hangs_nobody, .timeout = LIMIT_S + 20)
{
    launch_case("die", 4);
    cr_assert(outcome.status > 0 && !outcome.timed_out, "status %d\n%s", outcome.status, outcome.err);
    cr_assert(!strstr(outcome.err, "went on"), "%s", outcome.err);
}

Test(mpi, a_failed_message_names_call_and_rank, .timeout = LIMIT_S + 20)
{
    launch_case("mismatch", 2);
    cr_assert(outcome.status == 3 && !outcome.timed_out, "status %d\n%s", outcome.status, outcome.err);
    cr_assert(strstr(outcome.err, "lockstep: a message of the allreduce failed on rank 0 of 2, on "), "%s",
              outcome.err);
    cr_assert(strstr(outcome.err, "truncated"), "%s", outcome.err);
}

Test(mpi, a_wrong_number_of_ranks_is_noticed, .timeout = LIMIT_S + 20)
{
    ls_launch_mpi(&outcome, 2, LIMIT_S, NULL, LS_ARGV(LS_MPI_CASES, "identity", "3"));
    cr_assert(outcome.status == 1 && strstr(outcome.err, "3 ranks were asked for"), "status %d\n%s",
              outcome.status, outcome.err);
}

Test(mpi, a_run_without_mpirun_is_one_rank_without_mpi, .timeout = LIMIT_S + 20)
{
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV(LS_MPI_CASES, "identity", "1"));
    cr_assert(outcome.status == 0 && strcmp(outcome.out, "1 ranks, none\n") == 0, "status %d\n%s%s",
              outcome.status, outcome.out, outcome.err);
    ls_launch_mpi(&outcome, 2, LIMIT_S, NULL, LS_ARGV(LS_MPI_CASES, "identity", "2"));
    cr_assert(outcome.status == 0 && strstr(outcome.out, "2 ranks, ") && !strstr(outcome.out, "none"),
              "status %d\n%s%s", outcome.status, outcome.out, outcome.err);
}

/* What a process sees that the mpirun of another MPI has started. */
Test(mpi, a_foreign_launcher_is_refused, .timeout = LIMIT_S + 20)
{
    static const char *const variables[] = {"PMI_SIZE=4", "SLURM_STEP_NUM_TASKS=4", "MV2_COMM_WORLD_SIZE=4"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *const env[] = {variables[i], "OMPI_ALLOW_RUN_AS_ROOT=1",
                                   "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", NULL};
        ls_launch(&outcome, LIMIT_S, env, LS_ARGV(LS_MPI_CASES, "identity", "1"));
        cr_assert(outcome.status == 2, "%s: status %d\n%s", variables[i], outcome.status, outcome.err);
        cr_assert(strstr(outcome.err, "started as one of 4 ranks") && strstr(outcome.err, variables[i]),
                  "%s: %s", variables[i], outcome.err);
    }
}

#else

Test(mpi, a_build_without_mpi_refuses_several_ranks, .timeout = LIMIT_S + 20)
{
    static struct ls_outcome outcome;
    const char *const several[] = {"OMPI_COMM_WORLD_SIZE=4", NULL};
    ls_launch(&outcome, LIMIT_S, several, LS_ARGV(LS_MPI_CASES, "identity", "1"));
    cr_assert(outcome.status == 2, "status %d\n%s", outcome.status, outcome.err);
    cr_assert(strstr(outcome.err, "this build has no MPI") && strstr(outcome.err, "OMPI_COMM_WORLD_SIZE=4"),
              "%s", outcome.err);
    const char *const one[] = {"OMPI_COMM_WORLD_SIZE=1", NULL};
    ls_launch(&outcome, LIMIT_S, one, LS_ARGV(LS_MPI_CASES, "identity", "1"));
    cr_assert(outcome.status == 0 && strcmp(outcome.out, "1 ranks, none\n") == 0, "status %d\n%s%s",
              outcome.status, outcome.out, outcome.err);
}

#endif

Test(launch, captures_both_streams_and_the_status, .timeout = 20)
{
    static struct ls_outcome o;
    const char *const env[] = {"LS_TEST_A=x y", "HOME", NULL};
    ls_launch(&o, 10, env, LS_ARGV("sh", "-c", "echo \"$LS_TEST_A.${HOME-none}\"; echo oops >&2; exit 5"));
    cr_assert(o.status == 5 && strcmp(o.out, "x y.none\n") == 0 && strcmp(o.err, "oops\n") == 0,
              "%d \"%s\" \"%s\"", o.status, o.out, o.err);
    ls_launch(&o, 10, NULL, LS_ARGV("sh", "-c", "kill -9 $$"));
    cr_assert(o.status == 128 + 9 && !o.timed_out);
    ls_launch(&o, 10, NULL, LS_ARGV("/no/such/program"));
    cr_assert(o.status == 127 && strstr(o.err, "/no/such/program"));
    ls_launch(&o, 10, NULL, LS_ARGV("sh", "-c", "yes | head -c 1000000; echo end >&2"));
    cr_assert(o.status == 0 && strlen(o.out) == LS_OUTCOME_TEXT - 1 && strcmp(o.err, "end\n") == 0);
}

Test(launch, ends_what_takes_too_long, .timeout = 30)
{
    static struct ls_outcome o;
    ls_launch(&o, 0.3, NULL, LS_ARGV("sh", "-c", "trap '' TERM; echo begun; sleep 30 & sleep 30"));
    cr_assert(o.timed_out && o.status == -1 && o.seconds < 10 && strcmp(o.out, "begun\n") == 0,
              "%d %g \"%s\"", o.timed_out, o.seconds, o.out);
}

Test(launch, leaves_the_job_around_it, .timeout = 20)
{
    static struct ls_outcome o;
    setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
    setenv("PMIX_RANK", "1", 1);
    ls_launch(&o, 10, NULL, LS_ARGV("sh", "-c", "env | grep -c -E '^(OMPI_|PMIX_)'"));
    cr_assert(strcmp(o.out, "0\n") == 0, "%s", o.out);
}
