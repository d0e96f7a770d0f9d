/* lockstep eval: what it prints of metrics, the same from any ranks, and its refusals. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 120 };
#define COUNT(a) (sizeof(a) / sizeof *(a))

static void has(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no '%s' in\n%s", part, text);
}

static const struct ls_outcome *succeeds(const struct ls_outcome *o)
{
    cr_assert(o->status == 0, "status %d\n%s%s", o->status, o->out, o->err);
    return o;
}

#define HUNDRED "synthetic:n=2000,shape=9,classes=100,seed=3,test=611"

Test(eval, a_table_for_ten_classes, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st");
    succeeds(lockstep(1, "train --epochs 2 --quiet --save %s", model.path));
    const struct ls_outcome *o = succeeds(lockstep(1, "eval %s --confusion", model.path));
    cr_assert(lines_beginning(o->out, "samples   297 of digits\n") == 1, "%s", o->out);
    has(o->out, "accuracy  80.13 % (238 correct)\ntop-5     ");
    has(o->out, "\nmacro     precision ");
    has(o->out, "\nconfusion: a row a class, a column a prediction\n        0   1   2 ");
    has(o->out, "\nclass  precision     recall         F1    support\n    0 ");
    succeeds(o = lockstep(1, "eval %s --top-k 1", model.path));
    has(o->out, "\ntop-1     80.13 % (238 correct)\n");
    folder_destroy(&folder);
}

Test(eval, a_list_for_a_hundred_classes, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st");
    succeeds(
        lockstep(1, "train --data " HUNDRED " --net 'dense 100' --epochs 1 --quiet --save %s", model.path));
    const struct ls_outcome *o = succeeds(lockstep(1, "eval %s --data " HUNDRED " --confusion", model.path));
    has(o->out, "\nmost confused (--json has the whole matrix)\nclass  taken for    samples  of the class\n");
    has(o->out, "\n   99 ");
    has(o->out, "\n-: never predicted (precision) or without samples (recall).");
    for (const char *line = o->out; *line; line += strcspn(line, "\n") + 1)
        cr_assert(strcspn(line, "\n") <= 80, "a long line: %.200s", line);
    folder_destroy(&folder);
}

/* The same training on three ranks writes the same model, and files of the same evaluation on one rank and on
 * three, and of the oracle's, are the same bytes. */
static void same_json(const char *data, const char *train)
{
#if LS_WITH_MPI
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st"), a = in_folder(&folder, "a.json"),
                       b = in_folder(&folder, "b.json"), c = in_folder(&folder, "c.json");
    succeeds(lockstep(1, "train --data '%s' %s --quiet --serial --save %s", data, train, a.path));
    succeeds(lockstep(3, "train --data '%s' %s --quiet --threads 2 --save %s", data, train, model.path));
    succeeds(lockstep(1, "verify %s %s", a.path, model.path));
    const char *const run = "eval %s --data '%s' --part train --json %s";
    succeeds(lockstep(1, run, model.path, data, a.path));
    succeeds(lockstep(1, "eval %s --data '%s' --part train --serial --json %s", model.path, data, b.path));
    const struct ls_outcome *three = lockstep(3, run, model.path, data, c.path);
    cr_assert(three->status == 0, "%s", three->err);
    size_t n[3];
    char *text[] = {read_file(a.path, &n[0]), read_file(b.path, &n[1]), read_file(c.path, &n[2])};
    for (int i = 1; i < 3; i++)
        cr_assert(n[i] == n[0] && memcmp(text[i], text[0], n[0]) == 0, "%s\n%s", text[0], text[i]);
    const struct ls_outcome *o =
        succeeds(lockstep(1, "eval %s --data '%s' --part train --json -", model.path, data));
    cr_assert_str_eq(o->out, text[0]);
    for (int i = 0; i < 3; i++)
        free(text[i]);
    folder_destroy(&folder);
#else
    (void)data;
    (void)train;
    fprintf(stderr, "skipped: this build has no MPI\n");
#endif
}

Test(eval, three_ranks_write_the_same_json_of_classes, .timeout = LIMIT_S)
{
    same_json("synthetic:n=997,shape=7,classes=12,seed=5",
              "--net 'dense 12' --epochs 2 --microbatch 5 --label-smoothing 0.1 --class-weights balanced");
}

Test(eval, three_ranks_write_the_same_json_of_numbers, .timeout = LIMIT_S)
{
    char data[4000] = "inline:";
    size_t at = strlen(data);
    for (int i = 0; i < 61; i++)
        at += (size_t)snprintf(data + at, sizeof data - at, "%s0.%d %d=%d.%d -0.%d", i ? ";" : "", i, i % 7,
                               i * i % 5, i, i * 7 % 90);
    same_json(data,
              "--net 'dense 3, tanh, dense 2' --loss huber --huber-delta 0.3 --epochs 5 --microbatch 2");
}

/* The number behind a key of `lockstep info`, or of eval. */
static const char *value_of(const char *text, const char *key, char value[40])
{
    const char *at = strstr(text, key);
    cr_assert(at, "no '%s' in\n%s", key, text);
    cr_assert(sscanf(at + strlen(key), "%39s", value) == 1);
    return value;
}

Test(eval, has_the_test_loss_of_training_whatever_shapes_the_loss, .timeout = LIMIT_S)
{
    static const char *const losses[] = {
        "--loss softmax --label-smoothing 0.1",
        "--class-weights balanced --label-smoothing 0.3",
        "--class-weights 1,0.5,0.3,2,1e-3,0.1,7,0,1,3",
        "--loss huber --huber-delta 0.3 --class-weights balanced",
        "--loss huber",
        "--loss hinge",
        "--loss hinge --class-weights balanced",
    };
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st");
    for (size_t i = 0; i < COUNT(losses); i++) {
        char trained[40], evaluated[40];
        succeeds(lockstep(1, "train --epochs 1 --net 'dense 10' --lr 0.01 --quiet %s --save %s", losses[i],
                          model.path));
        value_of(succeeds(lockstep(1, "info %s", model.path))->out, "test_loss ", trained);
        value_of(succeeds(lockstep(1, "eval %s --serial", model.path))->out, "loss ", evaluated);
        cr_assert_str_eq(evaluated, trained, "%s", losses[i]);
    }
    folder_destroy(&folder);
}

Test(eval, options_of_the_loss_that_do_not_go_together, .timeout = LIMIT_S)
{
    static const struct {
        const char *words, *message;
    } cases[] = {
        {"--loss hinge --label-smoothing 0.1",
         "--label-smoothing 0.1 goes with --loss softmax only, found --loss hinge"},
        {"--huber-delta 2", "--huber-delta 2 goes with --loss huber only, found --loss softmax"},
        {"--class-weights 1,2", "--class-weights: found 2 weights, the data has 10 classes"},
        {"--class-weights 1,2,x,4,5,6,7,8,9,0", "'x' is no weight of class 2"},
        {"--class-weights 1,2,3,4,5,6,7,8,9,-1", "'-1' is no weight of class 9"},
        {"--class-weights 0,0,0,0,0,0,0,0,0,0", "all class weights are 0"},
        {"--data inline:1=2.5 --class-weights balanced", "--class-weights needs class labels"},
        {"--data 'inline:1=0;1=2' --net 'dense 3' --loss hinge --class-weights balanced",
         "class 1 of 3 has no sample"},
        {"--data inline:1=2.5 --loss hinge", "--loss hinge needs class labels, 'inline:1=2.5' has 1 target"},
        {"--label-smoothing 1", "--label-smoothing: '1' is not allowed"},
        {"--huber-delta 0", "--huber-delta: '0' is not allowed"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int command = 0; command < 2; command++) {
            const struct ls_outcome *o =
                lockstep(1, "%s %s", command ? "gradcheck" : "train", cases[i].words);
            cr_assert(o->status == 2, "%s: status %d\n%s", cases[i].words, o->status, o->out);
            has(o->err, cases[i].message);
        }
}

Test(eval, what_needs_classes_says_so, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "m.st");
    const char *const data = "--data 'inline:1=0.5;2=1.5'";
    succeeds(lockstep(1, "train %s --epochs 1 --quiet --save %s", data, model.path));
    const struct ls_outcome *o = lockstep(1, "eval %s %s --confusion", model.path, data);
    cr_assert(o->status == 2);
    has(o->err, "--confusion needs classes: the 1 output of this model on 'inline:1=0.5;2=1.5' are none");
    cr_assert((o = lockstep(1, "eval %s %s --top-k 3", model.path, data))->status == 2);
    has(o->err, "--top-k needs classes");
    o = succeeds(lockstep(1, "eval %s %s", model.path, data));
    has(o->out, "\nRMSE      ");
    has(o->out, "\nMAE       ");
    has(o->out, "\nR2        ");
    cr_assert((o = lockstep(1, "eval %s %s --json /none/x", model.path, data))->status == 3);
    has(o->err, "cannot save '/none/x'");
    folder_destroy(&folder);
}
