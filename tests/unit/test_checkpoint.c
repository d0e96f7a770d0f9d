/* Checkpoints as users meet them: a run that was ended and resumed has the bits of the run that was not; what
 * would change them is refused by name; what is damaged is never resumed. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clean.h"
#include "files.h"
#include "lockstep.h"
#include "train/checkpoint_folder.h"

enum { LIMIT_S = 4 * LOCKSTEP_LIMIT_S, USAGE = 2, FAILED = 3, INTERRUPTED = 6 };

#define CHECKPOINT_TEST(name) Test(checkpoint, name, .timeout = LIMIT_S)

/* Everything that a run remembers is in use: running averages, both moments, an average of weights, the best
 * model, plateau's losses, batches that make an update, keyed draws. */
#define RICH                                                                                                 \
    "train --data synthetic:n=130,shape=2x5x4,classes=3,test=30 --net 'conv 3 3x3 pad 1, batchnorm, relu, "  \
    "dropout 0.2, dense 3' --batch 16 --microbatch 4 --accumulate 2 --optimizer adam --ema 0.8 --schedule "  \
    "'plateau patience=0 factor=0.5 threshold=0.02' --check-every 2 --keep best --augment flip "             \
    "--hash-every 3 --epochs 4 "                                                                             \
    "--threads 1 --quiet "
/* Looks at the training loss, of numbers. */
#define NUMBERS                                                                                              \
    "train --data 'inline:1=3.5;2=5.1;3=8.2;4=9.5;5=11.1;6=12.7;7=15.5;8=17.2;9=20.1;10=21.3;11=24.5' "      \
    "--net 'dense 1' --batch 2 "                                                                             \
    "--microbatch 1 "                                                                                        \
    "--lr 0.012 --optimizer rmsprop --schedule 'plateau patience=0 factor=0.7 threshold=0.1' --check-every " \
    "4 --keep best "                                                                                         \
    "--patience 5 --epochs 5 --threads 1 --hash-every 1 --quiet "
#define STOPS                                                                                                \
    "train --lr 0.05 --batch 250 --epochs 100 --patience 2 --eval-every 2 --momentum 0.9 --quiet "           \
    "--drop-last "
#define PLAIN "train --epochs 2 --batch 300 --quiet --threads 1 "

static void check(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d, expected %d: %s%s", what, o->status, status, o->out,
              o->err);
}

static void has(const struct ls_outcome *o, const char *part)
{
    cr_assert(strstr(o->err, part), "no '%s' in the message: %s", part, o->err);
}

static void same_files(const char *a, const char *b)
{
    size_t n, m;
    char *first = read_file(a, &n), *second = read_file(b, &m);
    cr_assert(n == m && memcmp(first, second, n) == 0, "'%s' and '%s' are not the same", a, b);
    free(first);
    free(second);
}

static void empty(const struct folder *folder, const char *name)
{
    char command[700];
    snprintf(command, sizeof command, "find %s -delete", in_folder(folder, name).path);
    cr_assert_eq(system(command), 0);
}

static void copy_checkpoint(const struct folder *folder, const char *from, const char *to, int64_t step)
{
    const struct place a = in_folder(folder, from), b = in_folder(folder, to);
    size_t n;
    char *bytes = read_file(ls_checkpoint_path(a.path, step).text, &n);
    mkdir(b.path, 0777);
    write_file(ls_checkpoint_path(b.path, step).text, bytes, n);
    free(bytes);
}

static void leave(const struct folder *folder)
{
    char command[200];
    snprintf(command, sizeof command, "find %s -delete", folder->path);
    cr_assert_eq(system(command), 0);
}

/* --- the same bits --- */

/* Ends at every step but those between, and goes on in another way. */
static void resume_everywhere(const char *words, int64_t last, int64_t stride)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, "%s --save %s/a.st --log %s/a.jsonl", words, at, at), 0, "undisturbed");
    check(lockstep(1,
                   "%s --save %s/b.st --checkpoint %s/all --checkpoint-every 1 --keep 1000 --log %s/b.jsonl",
                   words, at, at, at),
          0, "with checkpoints");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    for (int64_t step = 1; step <= last; step += stride) {
        copy_checkpoint(&folder, "all", "one", step);
        check(lockstep(1, "train --resume %s/one %s --quiet --save %s/c.st --log %s/b.jsonl", at,
                       step % 2 ? "--threads 2" : "--serial", at, at),
              0, "resumed");
        same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "c.st").path);
        check(lockstep(1, "verify %s/a.jsonl %s/b.jsonl", at, at), 0, "verify");
        const struct place all = in_folder(&folder, "all"), one = in_folder(&folder, "one");
        same_files(ls_checkpoint_path(all.path, last).text, ls_checkpoint_path(one.path, last).text);
        empty(&folder, "one");
    }
    leave(&folder);
}

CHECKPOINT_TEST(a_resumed_run_is_the_undisturbed_one)
{
    resume_everywhere(RICH, 20, 3);
}

CHECKPOINT_TEST(a_resumed_run_without_test_data_is_too)
{
    resume_everywhere(NUMBERS, 16, 3);
}

/* The last checkpoint is that of the update whose look ends the run. */
CHECKPOINT_TEST(a_run_that_stops_by_itself_stops_there_again)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, STOPS "--save %s/a.st --checkpoint %s/all --checkpoint-every 25 --keep 9", at, at), 0,
          "stops");
    check(lockstep(1, "train --quiet --resume %s/all --save %s/b.st --threads 2", at, at), 0, "again");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}

CHECKPOINT_TEST(a_run_that_diverges_does_so_with_the_same_model)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    const char *words =
        "train --lr 0.01 --schedule 'step every=2 factor=1e4' --loss squared --batch 300 --epochs 9 --quiet "
        "--net 'dense 10'";
    check(lockstep(1, "%s --save %s/a.st --checkpoint %s/c --checkpoint-every 1 --keep 9", words, at, at), 4,
          "diverges");
    check(lockstep(1, "train --quiet --resume %s/c --save %s/b.st", at, at), 4, "again");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}

/* A longer run is the same as one that was to be so long from the start. */
CHECKPOINT_TEST(a_run_can_be_made_longer)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, PLAIN "--eval-every 3 --schedule 'plateau patience=0' --epochs 7 --save %s/a.st", at),
          0, "long");
    check(lockstep(1, PLAIN "--eval-every 3 --schedule 'plateau patience=0' --checkpoint %s/c", at), 0,
          "short");
    check(lockstep(1, "train --quiet --resume %s/c --epochs 7 --save %s/b.st", at, at), 0, "longer");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}

/* --- what is in a file --- */

CHECKPOINT_TEST(a_file_is_a_model_too)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    char text[800];
    check(lockstep(1, RICH "--keep last --save %s/a.st --checkpoint %s/c", at, at), 0, "train");
    snprintf(text, sizeof text, "%.700s",
             lockstep(1, "eval %s/a.st --data synthetic:n=130,shape=2x5x4,classes=3,test=30", at)->out);
    const struct ls_outcome *o = lockstep(
        1,
        "eval %s/c/checkpoint-000000000020.safetensors --data synthetic:n=130,shape=2x5x4,classes=3,test=30",
        at);
    check(o, 0, "eval the checkpoint");
    cr_assert_str_eq(o->out, text);
    check(lockstep(1, "info %s/c/checkpoint-000000000020.safetensors", at), 0, "info");
    leave(&folder);
}

/* Readers of PyPI's safetensors, where they are installed. */
CHECKPOINT_TEST(another_reader_opens_it)
{
    const struct folder folder = folder_create();
    struct ls_outcome *o = malloc(sizeof *o);
    char script[700];
    if (ls_launch(o, 60, NULL, LS_ARGV("build/venv/bin/python3", "-c", "import safetensors.numpy")) != 0) {
        fprintf(stderr,
                "skipped: the Python package safetensors cannot be imported: make test installs it\n");
        free(o);
        leave(&folder);
        return;
    }
    check(lockstep(1, RICH "--checkpoint %s/c", folder.path), 0, "train");
    snprintf(script, sizeof script,
             "from safetensors.numpy import load_file\n"
             "from safetensors import safe_open\n"
             "p='%s/c/checkpoint-000000000020.safetensors'\n"
             "t=load_file(p); m=safe_open(p,'numpy').metadata()\n"
             "assert t['0.weight'].shape==(3,2,3,3) and t['state.first_moment'].size==t['state.good'].size\n"
             "assert m['state.step']=='20' and m['option.ema']=='0.8', m\n",
             folder.path);
    ls_launch(o, 60, NULL, LS_ARGV("build/venv/bin/python3", "-c", script));
    cr_assert(o->status == 0, "%s", o->err);
    free(o);
    leave(&folder);
}

#if LS_WITH_MPI
CHECKPOINT_TEST(a_file_knows_no_ranks)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, RICH "--serial --checkpoint %s/a --checkpoint-every 7 --keep 9", at), 0, "one");
    check(lockstep(3, RICH "--checkpoint %s/b --checkpoint-every 7 --keep 9", at), 0, "three");
    const struct place a = in_folder(&folder, "a"), b = in_folder(&folder, "b");
    for (int64_t step = 7; step <= 20; step += step == 14 ? 6 : 7)
        same_files(ls_checkpoint_path(a.path, step).text, ls_checkpoint_path(b.path, step).text);
    leave(&folder);
}

/* A place between the updates of another batch: on two ranks its first update would take 9 samples, for which
 * rank 1 needs more room than for the 16 and 12 that there are. */
CHECKPOINT_TEST(another_batch_goes_on_at_its_next_update)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, "train --epochs 2 --batch 67 --steps 1 --quiet --threads 1 --checkpoint %s/c", at), 0,
          "train");
    copy_checkpoint(&folder, "c", "d", 1);
    const char *words = "--batch 16 --microbatch 1 --steps 200 --quiet --resume-with-changes --threads 1";
    check(lockstep(2, "train --resume %s/c %s --save %s/a.st", at, words, at), 0, "two ranks");
    check(lockstep(1, "train --resume %s/d %s --save %s/b.st --serial", at, words, at), 0, "one");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    check(lockstep(1, "train --resume %s/c --quiet --steps 220 --save %s/a.st", at, at), 0, "on");
    check(lockstep(1, "train --resume %s/d --quiet --steps 220 --save %s/b.st --serial", at, at), 0, "on");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}

/* The signal comes to a rank that has no leaf, whose request is in no gradient. */
CHECKPOINT_TEST(a_signal_on_any_rank_ends_all_well)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    const char *words = "train --data synthetic:n=640,shape=4x4,classes=5 --threads 1 --quiet --batch 64";
    const struct ls_outcome *o =
        lockstep_after(3, "[ $OMPI_COMM_WORLD_RANK != 2 ] || (sleep 1; kill -USR1 $$) & exec",
                       "%s --epochs 1000000 --checkpoint %s/c", words, at);
    check(o, INTERRUPTED, "interrupted");
    has(o, "a signal ended training after step ");
    struct ls_error err;
    int64_t step = 0;
    ls_checkpoint_folder_last(in_folder(&folder, "c").path, &step, &err);
    check(
        lockstep(2, "train --resume %s/c --steps %lld --quiet --save %s/a.st", at, (long long)step + 20, at),
        0, "on");
    check(lockstep(1, "%s --steps %lld --epochs 1000000 --save %s/b.st", words, (long long)step + 20, at), 0,
          "undisturbed");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}

/* The first start loses a rank; the second has one fewer.  Epochs enough for a rank to be killed in the
 * middle: under sanitizers each takes 35 times as long. */
#    ifdef __SANITIZE_ADDRESS__
#        define EPOCHS "150"
#        define MORE_EPOCHS "450"
#    else
#        define EPOCHS "400"
#        define MORE_EPOCHS "1200"
#    endif

CHECKPOINT_TEST(lockstep_run_starts_again)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    char program[900];
    snprintf(program, sizeof program,
             "#!/bin/sh\nif [ $OMPI_COMM_WORLD_RANK = 1 ] && mkdir %s/once 2>/dev/null; then (until ls "
             "%s/c/*.safetensors >/dev/null 2>&1; do sleep 0.02; done; kill -9 $$) & "
             "fi\nexec " LOCKSTEP " \"$@\"\n",
             at, at);
    write_file(in_folder(&folder, "program").path, program, strlen(program));
    chmod(in_folder(&folder, "program").path, 0755);
    const char *words = "--epochs " EPOCHS " --batch 300 --quiet --threads 1";
    const struct ls_outcome *o =
        lockstep_after(1,
                       "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
                       "OMPI_MCA_mpi_yield_when_idle=1 ASAN_OPTIONS=detect_leaks=0; : ",
                       "; scripts/lockstep-run -n 3 --shrink --mpirun '--oversubscribe --bind-to none' -- "
                       "%s/program train %s "
                       "--checkpoint %s/c --checkpoint-every 20 --save %s/a.st",
                       at, words, at, at);
    check(o, 0, "lockstep-run");
    has(o, "restart 1 of 3 with 2 rank(s)");
    check(lockstep(1, "train %s --save %s/b.st", words, at), 0, "undisturbed");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    check(lockstep_after(1, ":", "; scripts/lockstep-run -n 2 -- %s/program train", at), USAGE, "no folder");
    /* A signal before the first step, as any. */
    const char *slow = "#!/bin/sh\nkill -USR1 $(awk '{print $4}' /proc/$PPID/stat)\nsleep 9\n";
    write_file(in_folder(&folder, "slow").path, slow, strlen(slow));
    chmod(in_folder(&folder, "slow").path, 0755);
    o = lockstep_after(1,
                       "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
                       "OMPI_MCA_mpi_yield_when_idle=1; : ",
                       "; scripts/lockstep-run -n 1 -- %s/slow train --checkpoint %s/none", at, at);
    check(o, INTERRUPTED, "in set-up");
    has(o, "a signal ended the run (status 138");
    /* From one folder into another: the second start goes on in the other. */
    cr_assert_eq(rmdir(in_folder(&folder, "once").path), 0);
    snprintf(program, sizeof program,
             "#!/bin/sh\nif [ $OMPI_COMM_WORLD_RANK = 1 ] && mkdir %s/once 2>/dev/null; then (until ls "
             "%s/d/checkpoint-*[1-9]?.safetensors >/dev/null 2>&1; do sleep 0.05; done; kill -9 $$) & "
             "fi\nexec " LOCKSTEP " \"$@\"\n",
             at, at);
    write_file(in_folder(&folder, "program").path, program, strlen(program));
    o = lockstep_after(1,
                       "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
                       "OMPI_MCA_mpi_yield_when_idle=1 ASAN_OPTIONS=detect_leaks=0; : ",
                       "; scripts/lockstep-run -n 2 --mpirun '--oversubscribe --bind-to none' -- "
                       "%s/program train --resume %s/c --checkpoint %s/d --epochs " MORE_EPOCHS
                       " --checkpoint-every 20 "
                       "--save %s/a.st --quiet --threads 1",
                       at, at, at, at);
    check(o, 0, "another folder");
    has(o, "restart 1 of 3");
    check(lockstep(1, "train --epochs " MORE_EPOCHS " --batch 300 --quiet --threads 1 --save %s/b.st", at), 0,
          "undisturbed");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}
#endif

/* --- signals on one rank --- */

CHECKPOINT_TEST(a_signal_ends_a_run_after_the_step)
{
    static const char *const signals[] = {"INT", "TERM", "USR1"};
    const struct folder folder = folder_create();
    const char *at = folder.path;
    for (int i = 0; i < 3; i++) {
        char before[300]; /* the signal comes when the log has a few steps */
        snprintf(before, sizeof before,
                 "rm -f %s/log; (until [ \"$(cat %s/log 2>/dev/null | wc -l)\" -gt 4 ]; do sleep 0.05; done; "
                 "kill -%s $$) & exec env --default-signal=INT",
                 at, at, signals[i]);
        check(lockstep_after(1, before,
                             "train --epochs 1000000 --quiet --hash-every 1 --log %s/log --checkpoint %s/c%d "
                             "--save %s/none.st",
                             at, at, i, at),
              INTERRUPTED, signals[i]);
        check(lockstep_after(1, before,
                             "train --epochs 1000000 --quiet --hash-every 1 --log %s/log --save %s/s%d.st",
                             at, at, i),
              INTERRUPTED, signals[i]);
        check(lockstep(1, "eval %s/s%d.st", at, i), 0, "the model of --save");
    }
    cr_assert_neq(access(in_folder(&folder, "none.st").path, F_OK), 0, "--save of a run that will go on");
    leave(&folder);
}

/* Of a step that takes a second or more the first is the last, not the one after it. */
CHECKPOINT_TEST(a_signal_within_a_step_ends_the_run_with_it)
{
    const struct folder folder = folder_create();
    char before[300]; /* the folder is made at the end of set-up */
    snprintf(before, sizeof before,
             "(until [ -e %s/c ]; do sleep 0.02; done; sleep 0.3; kill -TERM $$) & exec", folder.path);
    const struct ls_outcome *o =
        lockstep_after(1, before,
                       "train --data synthetic:n=400,shape=64,classes=5 --batch all --net 'dense 512, relu, "
                       "dense 512, relu, dense 5' --epochs 9 --serial --quiet --checkpoint %s/c",
                       folder.path);
    check(o, INTERRUPTED, "interrupted");
    has(o, "a signal ended training after step 1 (epoch 1)");
    leave(&folder);
}

CHECKPOINT_TEST(a_second_sigint_ends_at_once)
{
    const struct ls_outcome *o =
        lockstep_after(1, "(sleep 1; kill -INT $$; sleep 0.3; kill -INT $$) & exec env --default-signal=INT",
                       "train --data synthetic:n=300000,shape=64,classes=5 --batch all --net 'dense 512, "
                       "relu, dense 512, relu, dense 5' "
                       "--epochs 100 --serial --quiet");
    check(o, 128 + 2, "killed");
    cr_assert(o->seconds < 10, "%g s", o->seconds);
}

/* --- what is refused --- */

CHECKPOINT_TEST(changes_are_refused_by_name)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    static const struct {
        const char *words, *part;
    } cases[] = {
        {"--lr 0.2", "--lr would change the result: the checkpoint was written with 0.1, now it is 0.2"},
        {"--batch 64", "--batch would change the result: the checkpoint was written with 300, now it is 64"},
        {"--seed 2", "--seed would change the result"},
        {"--momentum 0.5", "--momentum would change the result"},
        {"--optimizer adam", "--optimizer would change the result"},
        {"--nesterov", "--nesterov would change the result"},
        {"--net 'dense 10'", "--net would change the result"},
        {"--data synthetic:n=1500,shape=8x8,classes=10,test=9", "--data would change the result"},
        {"--epochs 1", "--epochs 1: the checkpoint is in epoch 2 already"},
        {"--steps 3", "--steps 3: the checkpoint is at step 10 already"},
        {"--keep best",
         "--keep would change the result: the checkpoint was written with last, now it is best"},
        {"--allreduce mpi", "--allreduce would change the result"},
        {"--microbatch 16", "--microbatch would change the result"},
    };
    check(lockstep(1, PLAIN "--lr 0.1 --checkpoint %s/c", at), 0, "train");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ls_outcome *o = lockstep(1, "train --resume %s/c --quiet %s", at, cases[i].words);
        check(o, USAGE, cases[i].words);
        has(o, cases[i].part);
    }
    /* A run that was over before it began could not be resumed after. */
    check(lockstep(1, "train --resume %s/c --quiet --epochs 1 --resume-with-changes", at), USAGE, "epochs");
    check(lockstep(1, "train --resume %s/c --quiet --steps 3 --resume-with-changes", at), USAGE, "steps");
    check(lockstep(1, "train --resume %s/c --quiet --lr 0.1 --batch 300 --threads 2 --keep 7 --data digits",
                   at),
          0, "the same");
    check(lockstep(1,
                   "train --resume %s/c --quiet --lr 0.2 --optimizer adam --batch 100 --epochs 5 "
                   "--resume-with-changes",
                   at),
          0, "changes");
    leave(&folder);
}

/* A checkpoint's options are there as if they were given; --no-NAME takes one back, by name like any change.
 */
CHECKPOINT_TEST(an_option_that_is_held_can_be_taken_back)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, PLAIN "--momentum 0.5 --nesterov --patience 9 --clip-norm 2 --checkpoint %s/c", at), 0,
          "train");
    static const char *const words[] = {"--no-nesterov", "--no-patience", "--no-clip-norm"};
    for (int i = 0; i < 3; i++) {
        char part[60];
        snprintf(part, sizeof part, "--%s would change the result", words[i] + strlen("--no-"));
        const struct ls_outcome *o = lockstep(1, "train --quiet --resume %s/c %s", at, words[i]);
        check(o, USAGE, words[i]);
        has(o, part);
    }
    check(lockstep(1,
                   "train --quiet --resume %s/c --no-nesterov --no-patience --no-clip-norm --epochs 3 "
                   "--resume-with-changes",
                   at),
          0, "taken back");
    const struct ls_outcome *o = lockstep(1, "train --quiet --resume %s/c --nesterov", at);
    check(o, USAGE, "it is not held any more");
    has(o, "--nesterov would change the result: the checkpoint was written without it");
    check(lockstep(1, "train --quiet --resume %s/c --threads 2 --lr 7 --no-lr --no-nesterov", at), 0, "on");
    leave(&folder);
}

/* What an option comes to counts, not its text, nor whether it was given. */
CHECKPOINT_TEST(defaults_may_be_given_and_are_told_by_their_values)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    static const struct {
        const char *words, *part;
    } cases[] = {
        {"--lr 0.2", "--lr would change the result: the checkpoint was written with 0.1, now it is 0.2"},
        {"--batch 32", "--batch would change the result: the checkpoint was written with 64, now it is 32"},
        {"--loss hinge", "--loss would change the result: the checkpoint was written with softmax, now it is "
                         "hinge"},
        {"--momentum 0.5", "--momentum would change the result: the checkpoint was written with 0, now it is "
                           "0.5"},
        {"--clip-norm 1",
         "--clip-norm would change the result: the checkpoint was written without it, now it "
         "is 1"},
        {"--ema 0.5", "--ema would change the result"},
        {"--schedule 'step every=2'", "--schedule would change the result"},
        {"--warmup 3u", "--warmup would change the result"},
        {"--scale standard", "--scale would change the result"},
        {"--normalise channel", "--normalise would change the result"},
        {"--augment flip", "--augment would change the result"},
        {"--label-smoothing 0.1", "--label-smoothing would change the result"},
        {"--class-weights balanced", "--class-weights would change the result"},
    };
    check(lockstep(1, "train --epochs 1 --quiet --threads 1 --checkpoint %s/c", at), 0, "train");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ls_outcome *o = lockstep(1, "train --resume %s/c --quiet %s", at, cases[i].words);
        check(o, USAGE, cases[i].words);
        has(o, cases[i].part);
    }
    check(lockstep(1,
                   "train --resume %s/c --quiet --lr 0.10 --batch 64 --loss softmax --momentum 0 --ema 0 "
                   "--schedule constant --warmup 0 --weight-decay 0 --scale none --normalise none --augment "
                   "none --check-data on --steps 24",
                   at),
          0, "the same");
    check(lockstep(1, "train --epochs 1 --quiet --schedule 'step factor=0.5 every=2' --checkpoint %s/d", at),
          0, "train");
    check(lockstep(1, "train --resume %s/d --quiet --schedule 'step every=2 factor=0.5'", at), 0, "order");
    check(lockstep(1, "train --epochs 1 --quiet --split 0.8,0.2 --stratify --checkpoint %s/e", at), 0,
          "train");
    check(lockstep(1, "train --resume %s/e --quiet --split-seed 1", at), 0, "it is --seed's");
    for (int i = 0; i < 2; i++) {
        const char *word = i ? "--split-seed 2" : "--no-stratify";
        check(lockstep(1, "train --resume %s/e --quiet %s", at, word), USAGE, word);
    }
    const struct ls_outcome *o = lockstep(1, "train --resume %s/d --quiet --schedule constant", at);
    check(o, USAGE, "away");
    has(o, "--schedule would change the result: the checkpoint was written with step");
    leave(&folder);
}

CHECKPOINT_TEST(a_schedule_that_ends_with_the_run_holds_its_length)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    check(lockstep(1, PLAIN "--schedule cosine --checkpoint %s/c", at), 0, "train");
    const struct ls_outcome *o = lockstep(1, "train --resume %s/c --quiet --epochs 4", at);
    check(o, USAGE, "epochs");
    has(o, "--epochs would change the result: the schedule is stretched over the run, which had 10 updates");
    leave(&folder);
}

CHECKPOINT_TEST(folders)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    const struct ls_outcome *o = lockstep(1, "train --resume %s/none", at);
    check(o, FAILED, "no folder");
    has(o, "there is no checkpoint in '");
    check(lockstep(1, PLAIN "--checkpoint %s/c --resume %s/c", at, at), 0, "begins");
    check(lockstep(1, PLAIN "--checkpoint %s/g --resume %s/g/", at, at), 0, "begins");
    o = lockstep(1, PLAIN "--checkpoint %s/c", at);
    check(o, USAGE, "of another run");
    has(o, "has checkpoints of another run (the newest of step 10)");
    check(lockstep(1, PLAIN "--checkpoint %s/no/such", at), FAILED, "no parent");
    check(lockstep(1, PLAIN "--checkpoint /proc/lockstep"), FAILED, "/proc");
    for (const char *const *every =
             (const char *const[]){"0", "x", "5parsecs", "-3", "1.5steps", "0minutes", NULL};
         *every; every++)
        check(lockstep(1, PLAIN "--checkpoint %s/d --checkpoint-every %s", at, *every), USAGE, *every);
    for (const char *const *every =
             (const char *const[]){"5steps", "'5 steps'", "0.5minutes", "2hours", NULL};
         *every; every++)
        check(lockstep(1, PLAIN "--checkpoint %s/e --resume %s/e --checkpoint-every %s", at, at, *every), 0,
              *every);
    o = lockstep_after(1, "",
                       "train --epochs 1000000 --quiet --checkpoint %s/f & sleep 0.5; " LOCKSTEP " " PLAIN
                       "--checkpoint %s/f; s=$?; kill $!; exit $s",
                       at, at);
    check(o, FAILED, "two runs");
    has(o, "another run is writing checkpoints into '");
    leave(&folder);
}

/* What has a checkpoint's name and is none is passed over and replaced; what a link points to is nobody's. */
CHECKPOINT_TEST(nothing_outside_the_folder_is_written)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    const struct place c = in_folder(&folder, "c"), kept = in_folder(&folder, "precious");
    const struct ls_checkpoint_path last = ls_checkpoint_path(c.path, 10);
    struct stat status;
    size_t n;
    check(lockstep(1, PLAIN "--save %s/a.st --checkpoint %s/c --checkpoint-every 5", at, at), 0, "train");
    for (int pipe = 0; pipe < 2; pipe++) {
        write_file(kept.path, "precious", 8);
        unlink(last.text);
        cr_assert_eq(pipe ? mkfifo(last.text, 0666) : symlink("../precious", last.text), 0);
        const struct ls_outcome *o = lockstep(1, "train --resume %s/c --quiet --save %s/b.st", at, at);
        check(o, 0, "resumed");
        has(o, "warning: a checkpoint is passed over: ");
        char *bytes = read_file(kept.path, &n);
        cr_assert(n == 8 && memcmp(bytes, "precious", 8) == 0, "a file outside was written");
        free(bytes);
        cr_assert(lstat(last.text, &status) == 0 && S_ISREG(status.st_mode));
        same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    }
    unlink(last.text);
    cr_assert_eq(mkdir(last.text, 0777), 0);
    const struct ls_outcome *o = lockstep(1, "train --resume %s/c --quiet", at);
    check(o, FAILED, "a folder in its place");
    has(o, "it is a folder: remove it");
    leave(&folder);
}

/* What a run that was killed while it wrote leaves goes, and nothing that has a name of another make. */
CHECKPOINT_TEST(of_what_lies_in_the_folder_only_leftovers_go)
{
    const struct folder folder = folder_create();
    const struct place c = in_folder(&folder, "c");
    static const struct {
        const char *name;
        int stays;
    } files[] = {{"checkpoint-000000000005.safetensors.123-0.tmp", 0},
                 {"checkpoint-mine.safetensors.123-0.tmp", 1},
                 {"checkpoint-000000000005.safetensors.old.tmp", 1},
                 {"checkpoint-000000000005.safetensors.123-0.tmp.tmp", 1},
                 {"checkpoint-5.safetensors", 1},
                 {"notes.txt", 1}};
    const size_t n_files = sizeof files / sizeof files[0];
    char path[700];
    cr_assert_eq(mkdir(c.path, 0777), 0);
    for (size_t i = 0; i < n_files; i++) {
        snprintf(path, sizeof path, "%s/%s", c.path, files[i].name);
        write_file(path, "x", 1);
    }
    check(lockstep(1, PLAIN "--checkpoint %s", c.path), 0, "train");
    for (size_t i = 0; i < n_files; i++) {
        snprintf(path, sizeof path, "%s/%s", c.path, files[i].name);
        cr_assert_eq(access(path, F_OK) == 0, files[i].stays, "%s", files[i].name);
    }
    leave(&folder);
}

/* --- damage --- */

static void count_skipped(void *context, const char *why)
{
    cr_assert(strstr(why, "/checkpoint-000000000020"), "%s", why);
    ++*(int *)context;
}

/* It is no checkpoint; of some is asked too that the one before is found, and that it is said. */
static void expect_refused(const char *folder, const char *newest, const char *what, size_t where)
{
    struct ls_error err = {.code = LS_OK};
    struct ls_hash checksum;
    int64_t step = 0;
    int n = 0;
    cr_assert(ls_safetensors_check_seal(newest, &checksum, &err) != LS_OK, "%s %zu: it is taken", what,
              where);
    if (where % 64 != 0)
        return;
    cr_assert_eq(ls_checkpoint_folder_newest(folder, &step, count_skipped, &n, &err), LS_OK);
    cr_assert(step == 10 && n == 1, "%s %zu: the checkpoint of step %lld is taken", what, where,
              (long long)step);
}

static void make_two(const struct folder *folder)
{
    check(lockstep(1, RICH "--checkpoint %s/c --checkpoint-every 10", folder->path), 0, "train");
}

CLEAN_TEST(checkpoint, cut_anywhere_or_changed_anywhere_it_is_passed_over)
{
    const struct folder folder = folder_create();
    check(lockstep(
              1,
              "train --data synthetic:n=40,shape=2,classes=2 --net 'dense 2' --batch 10 --epochs 5 --quiet "
              "--checkpoint %s/c --checkpoint-every 10",
              folder.path),
          0, "train");
    const struct place place = in_folder(&folder, "c");
    const struct ls_checkpoint_path newest = ls_checkpoint_path(place.path, 20);
    size_t n;
    char *bytes = read_file(newest.text, &n);
    uint64_t header = 0;
    memcpy(&header, bytes, 8);
    srand(1);
    const size_t begin = 8 + header;
    for (int i = 0; i < 200; i++) {
        const size_t length = begin + (size_t)rand() % (n - begin);
        write_file(newest.text, bytes, length);
        expect_refused(place.path, newest.text, "cut at", length);
    }
    for (size_t length = begin; length-- > 0;) {
        cr_assert_eq(truncate(newest.text, (off_t)length), 0);
        expect_refused(place.path, newest.text, "cut at", length);
    }
    write_file(newest.text, bytes, n);
    const int fd = open(newest.text, O_WRONLY);
    for (size_t i = 0; i < begin + 400; i++) { /* a bit of every byte of the header, and of 400 behind */
        const size_t at = i < begin ? i : begin + (size_t)rand() % (n - begin);
        const char changed = (char)(bytes[at] ^ 1 << rand() % 8);
        cr_assert_eq(pwrite(fd, &changed, 1, (off_t)at), 1);
        expect_refused(place.path, newest.text, "a bit changed in byte", at);
        cr_assert_eq(pwrite(fd, &bytes[at], 1, (off_t)at), 1);
    }
    close(fd);
    free(bytes);
    leave(&folder);
}

/* Changes text in the header to as much other text and puts the right checksum. */
static void forge(const char *path, const char *from, const char *to)
{
    size_t n;
    char *bytes = read_file(path, &n), *digits = bytes + 8 + sizeof LS_SEAL_BEGINNING - 1;
    char text[LS_HASH_TEXT];
    uint64_t header = 0;
    memcpy(&header, bytes, 8);
    char *at = memmem(bytes, 8 + header, from, strlen(from));
    cr_assert(at && strlen(from) == strlen(to), "no '%s' in the header", from);
    memcpy(at, to, strlen(to));
    memset(digits, '0', LS_HASH_TEXT - 1);
    ls_hash_text(ls_hash_bytes(bytes, n), text);
    memcpy(digits, text, LS_HASH_TEXT - 1);
    write_file(path, bytes, n);
    free(bytes);
}

/* A checksum says that nothing changed by accident, not who wrote the file: it must not choose where this
 * program writes, and numbers that no run can have are refused. */
CHECKPOINT_TEST(a_forged_one_neither_writes_elsewhere_nor_goes_on_from_nowhere)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    static const struct {
        const char *from, *to, *part;
        int status;
    } cases[] = {
        {"\"option.seed\":\"7\"", "\"option.save\":\"7\"", "holds --save, which no checkpoint carries",
         FAILED},
        {"\"option.seed\":\"7\"", "\"option.log\": \"7\"", "holds --log, which no checkpoint carries",
         FAILED},
        {"\"option.momentum\":\"0.5\"", "\"option.momentum\":\"0.6\"", "--momentum would change", USAGE},
        {"\"option.batch\":\"300\"", "\"option.batch\":\"200\"", "--batch would change", USAGE},
        {"\"state.step\":\"10\"", "\"state.step\":\"11\"", "by its name it is of step 10", FAILED},
        {"\"state.epoch\":\"2\"", "\"state.epoch\":\"0\"", "no run is in epoch 0", FAILED},
        {"\"state.epoch\":\"2\"", "\"state.epoch\":\"9\"", "the checkpoint is in epoch 9 already", USAGE},
        {"\"state.position\":\"1500\"", "\"state.position\":\"-500\"", "its state.position is '-500'",
         FAILED},
        {"\"state.position\":\"1500\"", "\"state.position\":\"1499\"",
         "no update of 300 samples begins at position 1499 of 1500", FAILED},
        {"\"state.position\":\"1500\"", "\"state.position\":\"1800\"", "begins at position 1800 of 1500",
         FAILED},
        {"\"state.base_rate\":\"0.1\"", "\"state.base_rate\":\"0.2\"", "its state.base_rate is not", FAILED},
        {"\"state.waited\":\"0\"", "\"state.waited\":\"x\"", "its state.waited is 'x'", FAILED},
    };
    check(lockstep(1, PLAIN "--seed 7 --momentum 0.5 --checkpoint %s/c", at), 0, "train");
    const struct place place = in_folder(&folder, "f");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        copy_checkpoint(&folder, "c", "f", 10);
        forge(ls_checkpoint_path(place.path, 10).text, cases[i].from, cases[i].to);
        const struct ls_outcome *o = lockstep(1, "train --resume %s/f --quiet", at);
        check(o, cases[i].status, cases[i].to);
        has(o, cases[i].part);
    }
    cr_assert(access("7", F_OK) != 0, "a forged checkpoint chose a file to write");
    leave(&folder);
}

CHECKPOINT_TEST(a_damaged_one_is_passed_over_and_that_is_said)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    make_two(&folder);
    check(lockstep(1, RICH "--save %s/a.st", at), 0, "undisturbed");
    const struct place place = in_folder(&folder, "c");
    cr_assert_eq(truncate(ls_checkpoint_path(place.path, 20).text, 3000), 0);
    const struct ls_outcome *o = lockstep(1, "train --resume %s/c --save %s/b.st", at, at);
    check(o, 0, "resumed");
    has(o, "warning: a checkpoint is passed over: '");
    cr_assert(strstr(o->out, "resumed after step 10, in epoch 2, from '"), "%s", o->out);
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    for (int64_t step = 10; step <= 20; step += 10)
        cr_assert_eq(truncate(ls_checkpoint_path(place.path, step).text, 100), 0);
    o = lockstep(1, "train --resume %s/c --checkpoint %s/c", at, at);
    check(o, FAILED, "none is whole");
    has(o, "none of the 2 checkpoints in '");
    leave(&folder);
}

CHECKPOINT_TEST(a_disk_that_is_full)
{
    const struct folder folder = folder_create();
    const char *at = folder.path;
    const struct place disk = in_folder(&folder, "disk");
    cr_assert_eq(mkdir(disk.path, 0755), 0);
    if (mount("none", disk.path, "tmpfs", 0, "size=48k") != 0) {
        fprintf(stderr, "skipped: a small tmpfs cannot be mounted here: it takes root\n");
        leave(&folder);
        return;
    }
    struct ls_outcome full = *lockstep(1, RICH "--checkpoint %s --checkpoint-every 1 --keep 99", disk.path);
    int64_t step = 0;
    struct ls_error err;
    ls_checkpoint_folder_last(disk.path, &step, &err);
    const int left = (int)step;
    const struct ls_outcome *o =
        lockstep(1, "train --quiet --resume %s --checkpoint %s/c --save %s/a.st", disk.path, at, at);
    const int status = o->status;
    cr_assert_eq(mount("none", disk.path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    const struct ls_outcome *closed = lockstep(1, "train --quiet --resume %s", disk.path);
    const int closed_status = closed->status;
    const int named = strstr(closed->err, "Read-only file system") != NULL;
    cr_assert_eq(umount2(disk.path, MNT_DETACH), 0);
    check(&full, FAILED, "full");
    has(&full, "was not written, the ones before it stay as they are: cannot save '");
    has(&full, "No space left on device");
    cr_assert(left >= 1 && left < 20, "the last one is of step %d", left);
    cr_assert_eq(status, 0);
    cr_assert(closed_status == FAILED && named, "read-only: status %d", closed_status);
    check(lockstep(1, RICH "--save %s/b.st", at), 0, "undisturbed");
    same_files(in_folder(&folder, "a.st").path, in_folder(&folder, "b.st").path);
    leave(&folder);
}
