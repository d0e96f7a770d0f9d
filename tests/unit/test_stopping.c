/* When a run stops and which model it ends with: the rule on looks made up, and the options as users meet
 * them. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"
#include "train/stopping.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S };

/* --- the rule --- */

/* Looks one after the other; returns the number of the one at which it stops, from 1, or 0. */
static int64_t stops_at(struct ls_stopping *stopping, const struct ls_look *looks, int n,
                        enum ls_stop_reason *reason)
{
    for (int i = 0; i < n; i++) {
        int is_best = -1;
        struct ls_look look = looks[i];
        look.step = i + 1;
        *reason = ls_stopping_look(stopping, &look, &is_best);
        cr_assert(is_best == (stopping->best.step == look.step), "look %d", i + 1);
        if (*reason != LS_STOP_NONE)
            return i + 1;
    }
    return 0;
}

#define LOOKS(...)                                                                                           \
    (const struct ls_look[]){__VA_ARGS__},                                                                   \
        (int)(sizeof((struct ls_look[]){__VA_ARGS__}) / sizeof(struct ls_look))
#define LOSS(x)                                                                                              \
    {                                                                                                        \
        .loss = (x), .n_correct = -1                                                                         \
    }
#define BOTH(x, n)                                                                                           \
    {                                                                                                        \
        .loss = (x), .n_correct = (n), .n_samples = 100                                                      \
    }

static void expect(struct ls_stop_rule rule, const struct ls_look *looks, int n, int64_t at,
                   enum ls_stop_reason why, int64_t best)
{
    struct ls_stopping stopping = {.rule = rule};
    enum ls_stop_reason reason = LS_STOP_NONE;
    const int64_t found = stops_at(&stopping, looks, n, &reason);
    cr_assert(found == at && reason == why && stopping.best.step == best,
              "stopped at look %lld by %s, best %lld; expected %lld, %s, %lld", (long long)found,
              ls_stop_names[reason], (long long)stopping.best.step, (long long)at, ls_stop_names[why],
              (long long)best);
}

Test(stopping, rules_on_looks)
{
    const float bad = NAN, lost = INFINITY;
    expect((struct ls_stop_rule){0}, LOOKS(LOSS(3), LOSS(1), LOSS(1), LOSS(2)), 0, LS_STOP_NONE, 2);
    expect((struct ls_stop_rule){.patience = 2},
           LOOKS(LOSS(3), LOSS(4), LOSS(2), LOSS(2), LOSS(2.5f), LOSS(1)), 5, LS_STOP_PATIENCE, 3);
    expect((struct ls_stop_rule){.patience = 1}, LOOKS(LOSS(3), LOSS(3)), 2, LS_STOP_PATIENCE, 1);
    expect((struct ls_stop_rule){.has_loss = 1, .loss = 1}, LOOKS(LOSS(1.1f), LOSS(1), LOSS(0)), 2,
           LS_STOP_LOSS, 2);
    expect((struct ls_stop_rule){.has_accuracy = 1, .accuracy = 0.9f}, LOOKS(BOTH(1, 89), BOTH(2, 90)), 2,
           LS_STOP_ACCURACY, 1);
    /* 0.55 is rounded up: in binary64, 55 of 100 would be less. */
    expect((struct ls_stop_rule){.has_accuracy = 1, .accuracy = 0.55f}, LOOKS(BOTH(1, 54), BOTH(2, 55)), 2,
           LS_STOP_ACCURACY, 1);
    expect((struct ls_stop_rule){.has_accuracy = 1, .accuracy = 0}, LOOKS(LOSS(1), LOSS(2)), 0, LS_STOP_NONE,
           1);
    expect((struct ls_stop_rule){.by_accuracy = 1}, LOOKS(BOTH(1, 50), BOTH(2, 51), BOTH(0, 51)), 0,
           LS_STOP_NONE, 2);
    /* A NaN is no loss: never the best, never low enough, and it tries one's patience. */
    expect((struct ls_stop_rule){.patience = 3, .has_loss = 1, .loss = 5},
           LOOKS(LOSS(bad), LOSS(bad), LOSS(bad)), 3, LS_STOP_PATIENCE, 0);
    expect((struct ls_stop_rule){.by_accuracy = 1}, LOOKS(BOTH(bad, 90), BOTH(2, 51), BOTH(bad, 60)), 0,
           LS_STOP_NONE, 2);
    expect((struct ls_stop_rule){0}, LOOKS(LOSS(lost), LOSS(bad), LOSS(3)), 0, LS_STOP_NONE, 3);
}

/* --- the program --- */

static struct folder folder;

static void begin(void)
{
    folder = folder_create();
}

static void end(void)
{
    folder_destroy(&folder);
}

#define STOP_TEST(name) Test(stopping, name, .init = begin, .fini = end, .timeout = LIMIT_S)

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

/* The last number in `text` behind "key":. */
static double logged(const char *text, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = NULL;
    for (const char *next = text; (next = strstr(next, quoted)); next++)
        at = next + strlen(quoted);
    cr_assert_not_null(at, "no %s in %s", quoted, text);
    return strtod(at, NULL);
}

static double fact(const char *info, const char *key)
{
    char line[64];
    snprintf(line, sizeof line, "\n  %-18s ", key);
    const char *at = strstr(info, line);
    cr_assert_not_null(at, "no '%s' in %s", key, info);
    return strtod(at + strlen(line), NULL);
}

static void has(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no '%s' in\n%s", part, text);
}

/* The hash in `info` of a model. */
static struct hash_text model_hash(const char *name)
{
    struct hash_text hash = {""};
    const struct ls_outcome *o = lockstep(1, "info %s/%s", folder.path, name);
    check_status(o, 0, "info");
    const char *at = strstr(o->out, "\nhash ");
    cr_assert(at && sscanf(at, "\nhash %32s", hash.text) == 1, "%s", o->out);
    return hash;
}

/* Runs, then expects the reason on the screen, in the log and in the model, and returns the step. */
static int64_t stopped(const char *options, const char *reason, const char *sentence)
{
    char line[200];
    const struct ls_outcome *o =
        lockstep(1, "train %s --log %s/log --save %s/model", options, folder.path, folder.path);
    check_status(o, 0, options);
    size_t n;
    char *log = read_file(in_folder(&folder, "log").path, &n);
    const int64_t step = (int64_t)logged(log, "steps");
    snprintf(line, sizeof line, "\nstopped at step %lld: %s\n", (long long)step, sentence);
    has(o->out, line);
    snprintf(line, sizeof line, "\"stopped_by\":\"%s\"", reason);
    has(log, line);
    free(log);
    o = lockstep(1, "info %s/model", folder.path);
    snprintf(line, sizeof line, "  stopped_by         %s\n", reason);
    has(o->out, line);
    cr_assert_eq((int64_t)fact(o->out, "stopped_at_step"), step);
    return step;
}

STOP_TEST(at_a_loss_or_an_accuracy)
{
    int64_t step = stopped("--stop-at loss=0.5", "loss", "the loss is as low as asked");
    cr_assert(step % 24 == 0 && step < 480, "step %lld", (long long)step);
    const int64_t sooner =
        stopped("--stop-at loss=0.5 --check-every 5", "loss", "the loss is as low as asked");
    cr_assert(sooner <= step && (sooner % 5 == 0 || sooner % 24 == 0), "step %lld", (long long)sooner);
    step = stopped("--stop-at accuracy=80%", "accuracy", "the accuracy is as high as asked");
    cr_assert_eq(
        stopped("--stop-at loss=0.0001,accuracy=0.8", "accuracy", "the accuracy is as high as asked"), step);
    /* A share that no binary number is: 11 of 20 are 55%. */
    const char *const shares[] = {"55%", "0.55"};
    for (int i = 0; i < 2; i++) {
        char options[400];
        snprintf(options, sizeof options,
                 "--data 'inline:1=0;1=1' --test-data "
                 "'inline:1=0;1=0;1=0;1=0;1=0;1=0;1=0;1=0;1=0;1=0;1=0;1=1;1=1;1=1;"
                 "1=1;1=1;1=1;1=1;1=1;1=1' --net 'dense 2' --loss softmax --init zeros --stop-at accuracy=%s",
                 shares[i]);
        cr_assert_eq(stopped(options, "accuracy", "the accuracy is as high as asked"), 1);
    }
    /* Without test data the training loss is looked at. */
    step = stopped("--data 'inline:1=3' --net 'dense 1 nobias' --loss squared --init zeros --stop-at loss=1",
                   "loss", "the loss is as low as asked");
    cr_assert_eq(step, 6, "step %lld: (w - 3)^2 before updates 1 to 6 is 9, 5.76, 3.69, 2.36, 1.51, 0.97",
                 (long long)step);
}

/* A loss of 9 that 1 % of the rate lowers each step: patience is looks, not steps. */
STOP_TEST(out_of_patience)
{
    static const char one[] =
        "--data 'inline:1=3' --net 'dense 1 nobias' --loss squared --init zeros --epochs 50 ";
    char words[300];
    snprintf(words, sizeof words, "%s --lr 0 --patience 4", one);
    cr_assert_eq(stopped(words, "patience", "it got no better for as long as --patience allows"), 5);
    const struct ls_outcome *o = lockstep(1, "train %s --lr 0.01 --patience 1", one);
    check_status(o, 0, "patience while it gets better");
    cr_assert(!strstr(o->out, "stopped at"), "%s", o->out);
    has(o->out, "\nbest look: step 50 (epoch 50)");
}

STOP_TEST(at_a_small_gradient)
{
    static const char one[] =
        "--data 'inline:1=3' --net 'dense 1 nobias' --loss squared --init zeros --epochs 50 ";
    char words[300];
    /* |g| = 2 (3 - w) = 6 * 0.8^t before update t + 1. */
    snprintf(words, sizeof words, "%s --gradient-tolerance 2", one);
    cr_assert_eq(stopped(words, "gradient", "the gradient's norm is within --gradient-tolerance"), 6);
    snprintf(words, sizeof words, "%s --gradient-tolerance 6", one);
    cr_assert_eq(stopped(words, "gradient", "the gradient's norm is within --gradient-tolerance"), 1);
}

/* On any number of ranks, and the step that it tells repeats the run. */
STOP_TEST(at_a_time)
{
    for (int ranks = 1; ranks <= (LS_WITH_MPI ? 3 : 1); ranks += 2) {
        const struct ls_outcome *o = lockstep(
            ranks,
            "train --epochs 1000000 --max-time 0.3 --eval-every 0 --quiet --log %s/log --save %s/model",
            folder.path, folder.path);
        check_status(o, 0, "--max-time");
        cr_assert(o->seconds < 20, "%g s", o->seconds);
        size_t n;
        char *log = read_file(in_folder(&folder, "log").path, &n);
        has(log, "\"stopped_by\":\"time\"");
        const int64_t step = (int64_t)logged(log, "steps");
        free(log);
        o = lockstep(1, "train --steps %lld --eval-every 0 --quiet --save %s/again", (long long)step,
                     folder.path);
        check_status(o, 0, "--steps");
        cr_assert_str_eq(model_hash("model").text, model_hash("again").text);
    }
}

/* The model of the best look, bit for bit: that of a run of so many steps. */
STOP_TEST(the_best_model_is_kept)
{
    static const char *const runs[] = {
        "--lr 0.8 --batch 16 --microbatch 8 --momentum 0.8 --epochs 5",
        "--lr 0.8 --batch 16 --microbatch 8 --momentum 0.8 --epochs 3 --check-every 13",
        "--lr 0.8 --batch 16 --microbatch 8 --momentum 0.8 --epochs 3 --check-every 13 --monitor accuracy",
        "--lr 0.8 --batch 16 --microbatch 8 --momentum 0.8 --epochs 30 --check-every 13 --patience 4",
        "--lr 0.8 --batch 16 --microbatch 8 --momentum 0.8 --epochs 3 --check-every 13 --ema 0.5 "
        "--eval-every 0",
    };
    int before_the_end = 0;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        const struct ls_outcome *o = lockstep(1, "train %s --keep best --log %s/log --save %s/model", runs[i],
                                              folder.path, folder.path);
        check_status(o, 0, runs[i]);
        has(o->out, "; that model is kept\n");
        size_t n;
        char *log = read_file(in_folder(&folder, "log").path, &n);
        const int64_t best = (int64_t)logged(log, "best_step"), steps = (int64_t)logged(log, "steps");
        const float loss = (float)logged(log, "best_loss");
        cr_assert_eq((int64_t)logged(log, "kept_step"), best);
        free(log);
        before_the_end += best < steps;
        const struct hash_text kept = model_hash("model");
        o = lockstep(1, "eval %s/model", folder.path);
        cr_assert_eq(strtof(strstr(o->out, "loss ") + 5, NULL), loss, "%s: %s", runs[i], o->out);
        o = lockstep(1, "info %s/model", folder.path);
        cr_assert(fact(o->out, "steps") == (double)best && (float)fact(o->out, "best_loss") == loss, "%s",
                  o->out);
        has(o->out, "  kept               best\n");
        const char *ema = strstr(runs[i], "--ema 0.5") ? "--ema 0.5" : "";
        o = lockstep(
            1,
            "train --lr 0.8 --batch 16 --microbatch 8 --momentum 0.8 %s --steps %lld --quiet --save %s/short",
            ema, (long long)best, folder.path);
        check_status(o, 0, "the shorter run");
        cr_assert_str_eq(model_hash("short").text, kept.text, "%s: not the model of step %lld", runs[i],
                         (long long)best);
    }
    cr_assert(before_the_end >= 2, "the best look was the last one in nearly all runs, which shows nothing");
}

/* --steps beside --epochs ends a run early and changes no rate: a schedule still fills the epochs. */
STOP_TEST(steps_repeat_the_beginning)
{
    const char *const run = "--schedule cosine --warmup 5u --optimizer adam --epochs 6";
    char options[200];
    snprintf(options, sizeof options, "%s --check-every 7 --stop-at accuracy=70%%", run);
    const int64_t step = stopped(options, "accuracy", "the accuracy is as high as asked");
    cr_assert(step < 6 * 24, "step %lld", (long long)step);
    const struct hash_text long_run = model_hash("model");
    const struct ls_outcome *o =
        lockstep(1, "train %s --steps %lld --quiet --save %s/short", run, (long long)step, folder.path);
    check_status(o, 0, "the shorter run");
    cr_assert_str_eq(model_hash("short").text, long_run.text, "not the model of step %lld", (long long)step);
}

/* With --eval-every 0 only looks of --check-every count: the training loss at an epoch's end is another
 * thing. */
STOP_TEST(looks_are_all_of_one_kind)
{
    const struct ls_outcome *o =
        lockstep(1, "train --epochs 3 --eval-every 0 --check-every 1000 --lr 0.05 --log %s/log --patience 1",
                 folder.path);
    check_status(o, 0, "train");
    cr_assert(!strstr(o->out, "best look") && !strstr(o->out, "stopped at"), "%s", o->out);
}

STOP_TEST(looks_between_epochs)
{
    const struct ls_outcome *o =
        lockstep(1, "train --epochs 2 --batch 100 --check-every 4 --log %s/log", folder.path);
    check_status(o, 0, "train");
    size_t n;
    char *log = read_file(in_folder(&folder, "log").path, &n);
    cr_assert_eq(lines_beginning(log, "{\"event\":\"check\""), 7, "%s", log); /* at 4, 8 ... 28 of 30 */
    const char *check = strstr(log, "{\"event\":\"check\",\"step\":4,\"epoch\":1,");
    cr_assert_not_null(check, "%s", log);
    const float loss = (float)strtod(strstr(check, "\"test_loss\":") + 12, NULL);
    free(log);
    o = lockstep(1, "train --batch 100 --steps 4 --save %s/four --quiet", folder.path);
    check_status(o, 0, "train");
    o = lockstep(1, "eval %s/four", folder.path);
    cr_assert_eq(strtof(strstr(o->out, "loss ") + 5, NULL), loss, "%s", o->out);
}

/* Looks change no bit of training, and stopping is the same on any ranks and for the oracle. */
STOP_TEST(the_same_bits_however_it_is_spread)
{
    static const char words[] =
        "train --lr 0.8 --batch 90 --microbatch 8 --check-every 7 --patience 3 --keep best "
        "--gradient-tolerance 0.001 --epochs 12 --quiet";
    const struct ls_outcome *o =
        lockstep(1, "%s --serial --log %s/serial --save %s/a", words, folder.path, folder.path);
    check_status(o, 0, "serial");
    check_status(
        lockstep(LS_WITH_MPI ? 3 : 1, "%s --log %s/ranks --save %s/b", words, folder.path, folder.path), 0,
        "ranks");
    check_status(lockstep(1, "verify %s/serial %s/ranks", folder.path, folder.path), 0, "verify");
    check_status(lockstep(1, "verify %s/a %s/b", folder.path, folder.path), 0, "verify");
}

#if LS_WITH_MPI
/* Only rank 0's clock decides, so a rank without the limit would not take part in asking it. */
STOP_TEST(ranks_that_are_told_different_limits)
{
    const struct ls_outcome *o = lockstep_after(3, "T=9; [ $OMPI_COMM_WORLD_RANK != 1 ] || T=8;",
                                                "train --epochs 1 --max-time $T --quiet");
    check_status(o, 5, "train");
    has(o->err, "the options");
}
#endif
