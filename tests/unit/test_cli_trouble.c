/* Runs that go wrong, and surroundings that could make them. */
#include <criterion/criterion.h>
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/session.h"
#include "cli_checks.h"
#include "files.h"

#define TEXTBOOK "--data inline:1=3 --net 'dense 1 nobias' --loss squared --init zeros --lr 0.1 --batch 1"

static struct ls_error err;

/* --- runs that go wrong --- */

static void diverges(int ranks)
{
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st"), first = in_folder(&folder, "first.st"),
                       log = in_folder(&folder, "run.jsonl");
    const char *const run = "train --net 'dense 16, relu, dense 10' --loss squared --quiet";
    RUN("%s --epochs 0 --save %s", run, first.path);
    const struct ls_outcome *o =
        lockstep(ranks, "%s --lr 1e6 --epochs 3 --save %s --log %s", run, model.path, log.path);
    cr_assert(o->status == 4, "%d ranks: status %d\n%s", ranks, o->status, o->err);
    cr_assert(lines_beginning(o->err, "lockstep: ") == 1, "%s", o->err);
    has(o->err, "training went non-finite at step ", "message");
    has(o->err, " (epoch 1)", "message");
    has(o->err, "' [", "the tensor and element");
    has(o->err, "try --lr 1e+05", "advice");
    has(o->err, "The model of step 0 is kept", "message");
    o = lockstep(1, "verify %s %s", first.path, model.path);
    check_status(o, 0, "the first model is kept");
    size_t n;
    char *text = read_file(log.path, &n);
    has(text, "\"outcome\":\"non-finite\"", "the log");
    free(text);

    check_status(o = lockstep(1, "%s --init constant=1e30", run), 4, "before any update");
    has(o->err, "step 1 (epoch 1)", "before any update");
    has(o->err, "no update was made yet: the first weights or the inputs are too large", "before any update");

    /* The variance overflows and the loss does not: batch norm makes zeros of what it divides by infinity. */
    check_status(
        o = lockstep(ranks, "train --net 'batchnorm, dense 10' --normalise mean=0,std=1e-25 --quiet"), 4,
        "a running average");
    has(o->err, "first in parameter '0.running_var' [0]", "a running average");
    has(o->err, "the first weights or the inputs are too large", "a running average");

    /* One sample, one step an epoch: the loss overflows in the third. */
    check_status(lockstep(1, "train " TEXTBOOK " --lr 1.5e9 --epochs 2 --quiet --save %s", first.path), 0,
                 "2");
    check_status(o = lockstep(1, "train " TEXTBOOK " --lr 1.5e9 --epochs 9 --quiet --save %s", model.path), 4,
                 "9");
    has(o->err, "step 3 (epoch 3)", "a later epoch");
    has(o->err, "The model of step 2 is kept", "a later epoch");
    check_status(lockstep(1, "verify %s %s", first.path, model.path), 0, "the last good model is kept");
    folder_destroy(&folder);
}

/* Too high a rate may kill every relu and leave a finite loss: that is said, too, and once. */
Test(cli, a_loss_that_blew_up_is_warned_of, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "train --lr 100 --epochs 3 --quiet");
    cr_assert_eq(o->status, 0, "%s", o->err);
    has(o->err, "the learning rate 100 is probably too high; try --lr 10", "warning");
    cr_assert_eq(lines_beginning(o->err, "warning: the mean loss of epoch"), 1, "%s", o->err);
    check_status(lockstep(1, "train --lr 0.5 --epochs 2 --quiet"), 0, "a usable rate");
}

Test(cli, a_run_that_diverges_keeps_the_last_good_model, .timeout = LIMIT_S)
{
    diverges(1);
}

Test(cli, a_run_of_three_ranks_that_diverges, .timeout = LIMIT_S)
{
#if LS_WITH_MPI
    diverges(3);
#else
    SKIP("this build has no MPI");
#endif
}

Test(cli, warnings_of_what_spoils_a_run, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "train --epochs 1 --quiet --threads 64");
    cr_assert(o->status == 0, "%s", o->err);
    has(o->err, "warning: 64 threads on ", "threads");
    has(o->err, "use --threads ", "threads");
    o = lockstep_after(1, "", "train --epochs 1 --quiet");
    cr_assert(o->status == 0 && !*o->err, "%s", o->err);
    static struct ls_outcome bound;
    ls_launch(&bound, 60, NULL,
              LS_ARGV("taskset", "-c", "0", LOCKSTEP, "train", "--epochs", "1", "--quiet", "--threads", "2"));
    cr_assert(bound.status == 0, "status %d\n%s", bound.status, bound.err);
    has(bound.err, "the 2 threads of a rank are bound to one core", "bound");
    has(bound.err, "--bind-to none", "bound");
#if LS_WITH_MPI
    o = lockstep(3, "train --epochs 1 --quiet --batch 40");
    cr_assert(o->status == 0, "%s", o->err);
    has(o->err, "warning: a batch has 2 leaves, fewer than the 3 ranks", "leaves");
#endif
}

/* --- the surroundings --- */

Test(cli, standard_output_that_cannot_be_written, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place log = in_folder(&folder, "run.jsonl"), model = in_folder(&folder, "m.st");
    const struct ls_outcome *o = lockstep(1, "train --epochs 1 >/dev/full");
    check_status(o, 3, "a full disk");
    has(o->err, "cannot write to standard output: No space left on device", "a full disk");
    o = lockstep(1, "train --epochs 1 --log %s --save %s >&-", log.path, model.path);
    check_status(o, 3, "closed");
    has(o->err, "cannot write to standard output", "closed");
    size_t n;
    char *text = read_file(log.path, &n);
    cr_assert(strncmp(text, "{\"event\":\"start\"", 16) == 0, "what was printed is in the log: %s", text);
    free(text);
    check_status(lockstep(1, "info %s", model.path), 0, "the model");
    o = lockstep(1, "train --epochs 1 | head -n 1");
    cr_assert(o->status == 0 && lines_beginning(o->out, "data ") == 1, "%d %s%s", o->status, o->out, o->err);
    folder_destroy(&folder);
}

Test(cli, neither_home_nor_locale_matters, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "train --epochs 1 --quiet");
    const struct hash_text hash = last_hash(o->out);
    static const char *const before[] = {"LC_ALL=de_DE.UTF-8; export LC_ALL;", "LANG=tr_TR; export LANG;",
                                         "unset HOME PATH USER TMPDIR;"};
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        o = lockstep_after(1, before[i], "train --epochs 1 --quiet --lr 0.1");
        check_status(o, 0, before[i]);
        cr_assert_str_eq(last_hash(o->out).text, hash.text, "%s", before[i]);
    }
}

/* As a library linked with -ffast-math leaves the thread that loads it. */
static void spoil_arithmetic(void)
{
    fesetround(FE_UPWARD);
#ifdef __x86_64__
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* flush subnormals, read them as 0 */
#endif
}

Test(cli, a_session_has_ieee_arithmetic_on_every_thread)
{
    struct ls_comm *comm = NULL;
    struct ls_session session;
    const struct ls_session_options options = {.threads = 2};
    cr_assert(ls_comm_create_solo(&comm, &err) == LS_OK, "%s", err.text);
    spoil_arithmetic();
    cr_assert(ls_session_start(&session, &options, comm, &err) == LS_OK, "%s", err.text);
    int n_wrong = 0;
#pragma omp parallel default(none) num_threads(2) reduction(+ : n_wrong)
    {
        const volatile float smallest = 0x1p-126f, minus_one = -1.0f;
        n_wrong += smallest * 0.5f == 0.0f;
        n_wrong += minus_one / 3.0f != -0x1.555556p-2f; /* upward: ...4 */
        n_wrong += fegetround() != FE_TONEAREST;
    }
    cr_assert(n_wrong == 0, "%d", n_wrong);
    ls_comm_destroy(&comm);
}
