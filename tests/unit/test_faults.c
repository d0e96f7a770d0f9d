/* One rank fails, in every way that can be arranged here: the job ends soon, its status is not 0, and a
 * message names rank, host and cause. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "lockstep.h"

enum { LIMIT_S = 60 };

#if LS_WITH_MPI

/* This machine's name, as messages have it. */
static const char *host(void)
{
    static char text[80];
    static struct ls_outcome o;
    ls_launch(&o, 10, NULL, LS_ARGV("hostname"));
    o.out[strcspn(o.out, "\n")] = '\0';
    snprintf(text, sizeof text, "%.63s", o.out);
    return text;
}

static void expect_words(const struct ls_outcome *o, const char *words)
{
    cr_assert(strstr(o->err, words), "no '%s' in\n%s", words, o->err);
}

static void expect_end(const struct ls_outcome *o, int status, double within_s)
{
    cr_assert(o->status == status && !o->timed_out, "status %d, not %d%s\n%s", o->status, status,
              o->timed_out ? ", timed out" : "", o->err);
    cr_assert(o->seconds < within_s, "ended after %g s", o->seconds);
    expect_words(o, host());
}

static const struct ls_outcome *run_case(int ranks, const char *name, const char *argument)
{
    static struct ls_outcome o;
    char ranks_text[16];
    snprintf(ranks_text, sizeof ranks_text, "%d", ranks);
    ls_launch_mpi(&o, ranks, LIMIT_S, NULL, LS_ARGV(LS_MPI_CASES, name, ranks_text, argument));
    return &o;
}

/* The time that mpirun takes to start and end a job is in it. */
Test(mpi, a_rank_that_stops_is_named_after_the_timeout, .timeout = LIMIT_S + 20)
{
    for (int odd = 0; odd < 3; odd += 2) {
        char number[16], expected[80];
        snprintf(number, sizeof number, "%d", odd);
        snprintf(expected, sizeof expected, "lockstep: rank %d on ", odd);
        const struct ls_outcome *o = run_case(3, "stall", number);
        expect_end(o, 3, 10);
        expect_words(o, expected);
        expect_words(o, "of 3 ranks, did not answer for 1 s (--stall-timeout)");
        expect_words(o, odd == 0 ? "rank 1 on" : "rank 0 on");
        cr_assert(o->seconds >= 1.0 && lines_beginning(o->err, "lockstep: ") == 1, "%g s\n%s", o->seconds,
                  o->err);
    }
}

Test(mpi, only_the_rank_that_all_wait_for_is_named, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o = run_case(4, "chain", NULL);
    expect_end(o, 3, 12);
    expect_words(o, "lockstep: rank 2 on ");
    cr_assert(!strstr(o->err, "rank 1 on ") && !strstr(o->err, "rank 3 on "), "%s", o->err);
}

Test(mpi, a_job_that_was_suspended_goes_on, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o = run_case(3, "suspended", NULL);
    cr_assert(o->status == 0 && o->seconds > 2.0, "status %d after %g s\n%s", o->status, o->seconds, o->err);
}

/* What one rank's shell does before it becomes the program; the others start at once. */
#    define ONLY_RANK(R, WORDS) "if [ \"$OMPI_COMM_WORLD_RANK\" = " #    R " ]; then " WORDS "\nfi; exec"

/* It would train for minutes. */
#    define LONG_RUN                                                                                         \
        "train --data synthetic:n=600,shape=8x8,classes=10 --microbatch 16 --epochs 1000000 --quiet "        \
        "--threads 1"

Test(mpi, a_training_rank_that_stops_is_named, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o =
        lockstep_after(3, ONLY_RANK(1, "(sleep 1.5; kill -STOP $$) &"), LONG_RUN " --stall-timeout 1.5");
    expect_end(o, 3, 12);
    expect_words(o, "lockstep: rank 1 on ");
    expect_words(o, "did not answer for 1.5 s (--stall-timeout)");
}

Test(mpi, a_killed_and_an_aborted_rank_end_the_job, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o = lockstep_after(3, ONLY_RANK(1, "(sleep 1.5; kill -KILL $$) &"), LONG_RUN);
    expect_end(o, 128 + 9, 10);
    expect_words(o, "rank 1 with PID");
    expect_words(o, "exited on signal 9 (Killed)");

    o = lockstep_after(3, ONLY_RANK(2, "(sleep 1.5; kill -ABRT $$) &"), LONG_RUN);
    expect_end(o, 128 + 6, 10);
    expect_words(o, "lockstep: rank 2 of 3, on ");
    expect_words(o, "ends: SIGABRT, ");
}

Test(mpi, a_rank_out_of_memory_ends_the_job, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o = lockstep_after(3, ONLY_RANK(1, "ulimit -v 300000"),
                                                "train --net 'dense 80000, dense 10' --steps 1 --threads 1");
    expect_end(o, 3, 10);
    expect_words(o, "out of memory asking for ");
    expect_words(o, "(rank 1 of 3, ");
}

/* On hosts of their own, in twos, and all on one. */
Test(mpi, any_allocation_of_an_engine_may_fail_on_one_rank, .timeout = 6 * LIMIT_S)
{
    static struct ls_outcome o;
    for (int per_host = 1; per_host <= 3; per_host++)
        for (int odd = 0; odd < 3; odd += 2) {
            char hosts[64], number[16];
            snprintf(hosts, sizeof hosts, "LOCKSTEP_RANKS_PER_HOST=%d", per_host);
            snprintf(number, sizeof number, "%d", odd);
            ls_launch_mpi(&o, 3, LIMIT_S, (const char *const[]){hosts, NULL},
                          LS_ARGV(LS_MPI_CASES, "out-of-memory", "3", number));
            cr_assert(o.status == 0, "%s, rank %d: status %d%s\n%s", hosts, odd, o.status,
                      o.timed_out ? ", timed out" : "", o.err);
        }
}

/* A limit on the sizes of files is one on what a rank has in /dev/shm.  Open MPI's own files stay below this
 * one, the vectors do not; the rank's host, of several and the only one, is then without shared memory. */
Test(mpi, a_host_without_room_for_shared_memory_sends_messages, .timeout = 6 * LIMIT_S)
{
    static const char train[] =
        "train --data synthetic:n=90,shape=60,classes=4,test=11 --net 'dense 1500, relu, dense 1500, relu, "
        "dense 4' --batch 20 --microbatch 2 --steps 3 --quiet --threads 1 --momentum 0.9 --bucket-bytes 600";
    static const struct {
        int ranks, per_host, odd;
    } cases[] = {{4, 2, 3}, {5, 2, 0}, {5, 2, 4}, {4, 8, 2}};
    struct hash_text expected = last_hash(lockstep(1, "%s --serial", train)->out);
    cr_assert(expected.text[0]);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char before[300], words[200];
        snprintf(
            before, sizeof before,
            "export LOCKSTEP_RANKS_PER_HOST=%d; if [ \"$OMPI_COMM_WORLD_RANK\" = %d ]; then trap '' XFSZ; "
            "ulimit -f 16384; fi; exec",
            cases[i].per_host, cases[i].odd);
        const struct ls_outcome *o = lockstep_after(cases[i].ranks, before, "%s", train);
        cr_assert(o->status == 0, "case %zu: status %d\n%s", i, o->status, o->err);
        const struct hash_text found = last_hash(o->out);
        cr_assert(strcmp(found.text, expected.text) == 0, "case %zu: %s, not %s", i, found.text,
                  expected.text);
        snprintf(words, sizeof words, "warning: rank %d of %d, on %s, finds no room for ", cases[i].odd,
                 cases[i].ranks, host());
        /* host() runs a program of its own, whose outcome is another's. */
        cr_assert(strstr(o->err, words) &&
                      strstr(o->err, "(/dev/shm): File too large; all ranks send messages"),
                  "case %zu: %s", i, o->err);
        cr_assert(lines_beginning(o->err, "warning: rank ") == 1, "%s", o->err);
    }
}

Test(mpi, data_that_one_rank_cannot_read_or_reads_otherwise_end_the_job, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o =
        lockstep_after(3, "data=digits; " ONLY_RANK(2, "data=idx:/no/such,/file"), "train --data $data");
    expect_end(o, 3, 10);
    expect_words(o, "cannot open \"/no/such\": No such file or directory (rank 2 of 3, on");

    o = lockstep_after(3, "data=synthetic:n=100,seed=1; " ONLY_RANK(1, "data=synthetic:n=100,seed=2"),
                       "train --data $data");
    expect_end(o, 5, 10);
    expect_words(o, "differ between ranks: rank 1 on ");
}

Test(mpi, a_full_disk_of_rank_0_ends_the_job, .timeout = LIMIT_S + 20)
{
    const struct ls_outcome *o = lockstep(3, "train --epochs 2 --threads 1 --log /dev/full");
    expect_end(o, 3, 10);
    expect_words(o, "cannot write line 1 of the log '/dev/full': No space left on device (rank 0 of 3, on ");

    o = lockstep(3, "train --epochs 2 --threads 1 >/dev/full");
    expect_end(o, 3, 10);
    expect_words(o, "cannot write to standard output: No space left on device (rank 0 of 3, on ");
}

#endif
