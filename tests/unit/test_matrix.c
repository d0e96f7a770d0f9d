/* Launches the contract's matrix (tests/mpi/case_matrix.c) on 1 to 8 ranks, and shows that it is not blind:
 * runs with plain MPI_Allreduce, and builds that are broken on purpose (make MUTANT=...; scripts/test.sh
 * builds them), must fail. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"

enum { LIMIT_S = 480 };

static struct ls_outcome outcome;

/* per_host: how many ranks are taken to share a host; 0: all. */
static void launch_matrix_on(int per_host, const char *program, const char *name, int ranks,
                             const char *argument)
{
    char ranks_text[16], hosts[64];
    snprintf(hosts, sizeof hosts, "LOCKSTEP_RANKS_PER_HOST=%d", per_host);
    snprintf(ranks_text, sizeof ranks_text, "%d", ranks);
    const char *const argv[] = {program, name, ranks_text, argument, NULL};
    /* For the float-reduction mutant: its region lies inside the region of the team that stands by, and would
     * get one thread. */
    const char *const env[] = {"OMP_MAX_ACTIVE_LEVELS=2", hosts, NULL};
    if (LS_WITH_MPI)
        ls_launch_mpi(&outcome, ranks, LIMIT_S, env, argv);
    else
        ls_launch(&outcome, LIMIT_S, env, argv);
}

static void launch_matrix(const char *program, const char *name, int ranks, const char *argument)
{
    launch_matrix_on(0, program, name, ranks, argument);
}

static void expect_the_oracle_on(int per_host, int ranks)
{
    launch_matrix_on(per_host, LS_MPI_CASES, "matrix", ranks, NULL);
    cr_assert(outcome.status == 0 && strstr(outcome.out, "all as the oracle, "),
              "%d ranks: status %d%s\n%s%s", ranks, outcome.status, outcome.timed_out ? ", timed out" : "",
              outcome.out, outcome.err);
}

static void expect_the_oracle(int ranks)
{
    expect_the_oracle_on(0, ranks);
}

Test(matrix, on_1_rank, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(1);
}

#if LS_WITH_MPI

Test(matrix, on_2_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(2);
}

Test(matrix, on_3_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(3);
}

Test(matrix, on_4_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(4);
}

Test(matrix, on_5_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(5);
}

Test(matrix, on_7_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(7);
}

Test(matrix, on_8_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle(8);
}

/* Shared memory and messages; messages alone, between ranks that pair up in the tree and ranks that do not.
 */
Test(matrix, on_hosts_of_2_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle_on(2, 4);
}

Test(matrix, on_hosts_of_2_2_and_1_ranks, .timeout = LIMIT_S + 20)
{
    expect_the_oracle_on(2, 5);
}

Test(matrix, on_4_hosts, .timeout = LIMIT_S + 20)
{
    expect_the_oracle_on(1, 4);
}

Test(matrix, on_3_hosts, .timeout = LIMIT_S + 20)
{
    expect_the_oracle_on(1, 3);
}

static struct criterion_test_params rank_counts(void)
{
    static int ranks[] = {1, 2, 3, 4, 5, 7, 8};
    return cr_make_param_array(int, ranks, sizeof ranks / sizeof *ranks);
}

ParameterizedTestParameters(matrix, mpi_allreduce_stays_near)
{
    return rank_counts();
}

ParameterizedTest(int *ranks, matrix, mpi_allreduce_stays_near, .timeout = LIMIT_S + 20)
{
    launch_matrix(LS_MPI_CASES, "matrix-tolerance", *ranks, NULL);
    cr_assert(outcome.status == 0, "%d ranks: status %d\n%s%s", *ranks, outcome.status, outcome.out,
              outcome.err);
}

/* The matrix must have failed, by its own count.  Which status mpirun makes of a rank's abort is not the
 * matter here: Open MPI 4.1's can crash while it ends a job (tests/support/launch.c), twice in a row too. */
static void expect_failure(int ranks)
{
    cr_assert(outcome.status != 0 && !outcome.timed_out, "%d ranks: status %d\n%s%s", ranks, outcome.status,
              outcome.out, outcome.err);
    cr_assert(strstr(outcome.err, " trainings differ from the oracle"), "%d ranks: status %d\n%s%s", ranks,
              outcome.status, outcome.out, outcome.err);
}

/* And say where. */
static void expect_red(int ranks)
{
    expect_failure(ranks);
    cr_assert(strstr(outcome.err, "differs after step ") || strstr(outcome.err, "the loss of step "), "%s",
              outcome.err);
}

ParameterizedTestParameters(matrix, mpi_allreduce_turns_it_red)
{
    static int ranks[] = {3, 4, 8};
    return cr_make_param_array(int, ranks, sizeof ranks / sizeof *ranks);
}

ParameterizedTest(int *ranks, matrix, mpi_allreduce_turns_it_red, .timeout = LIMIT_S + 20)
{
    launch_matrix(LS_MPI_CASES, "matrix", *ranks, "mpi");
    expect_red(*ranks);
}

/* Fails with advice when a mutant has not been built. */
static void need(const char *program, const char *mutant)
{
    cr_assert(access(program, X_OK) == 0, "'%s' is missing: make MUTANT=%s %s (make test does that)", program,
              mutant, program);
}

Test(mutants, float_reduction_turns_the_matrix_red, .timeout = LIMIT_S + 20)
{
    const char *program = "build/mutant-float-reduction/mpi-cases";
    need(program, "float-reduction");
    launch_matrix(program, "matrix", 1, NULL);
    expect_red(1);
    /* A batch of one leaf has one order for one thread: there, it is the threads that are seen. */
    cr_assert(!strstr(outcome.err, "one leaf, B < m\" with 1 threads"), "%s", outcome.err);
    cr_assert(strstr(outcome.err, "one leaf, B < m\" with 2 threads"), "%s", outcome.err);
    launch_matrix(program, "matrix", 3, NULL);
    expect_red(3);
}

/* What a framework without synchronised batch norm does: on one rank right, on three not, and only there. */
Test(mutants, batch_norm_by_rank_turns_the_matrix_red, .timeout = LIMIT_S + 20)
{
    const char *program = "build/mutant-local-batchnorm/mpi-cases";
    need(program, "local-batchnorm");
    launch_matrix(program, "matrix", 1, NULL);
    cr_assert(outcome.status == 0 && strstr(outcome.out, "all as the oracle, "), "status %d\n%s%s",
              outcome.status, outcome.out, outcome.err);
    launch_matrix(program, "matrix", 3, NULL);
    expect_failure(3);
    cr_assert(strstr(outcome.err, "\"batch norm of dense layers") && strstr(outcome.err, "\"ResNet-20"), "%s",
              outcome.err);
    cr_assert(!strstr(outcome.err, "relu on digits") && !strstr(outcome.err, "layer norm"), "%s",
              outcome.err);
}

Test(mutants, a_broken_derivative_fails_gradcheck, .timeout = LIMIT_S + 20)
{
    const char *program = "build/mutant-broken-tanh/lockstep";
    need(program, "broken-tanh");
    const char *const net = "dense 12, tanh, dense 10";
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV(program, "gradcheck", "--net", net));
    cr_assert(outcome.status == 1 && strstr(outcome.out, "TOO LARGE"), "status %d\n%s%s", outcome.status,
              outcome.out, outcome.err);
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV(program, "gradcheck", "--net", "dense 12, sigmoid, dense 10"));
    cr_assert(outcome.status == 0, "another activation, status %d\n%s%s", outcome.status, outcome.out,
              outcome.err);
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV(LS_BUILD "/lockstep", "gradcheck", "--net", net));
    cr_assert(outcome.status == 0, "the real one, status %d\n%s%s", outcome.status, outcome.out, outcome.err);
}

#endif
