/* One run has one result, as its users see it: the textbook's weights, the same files and hashes whichever
 * way it ran, and the difference where there is one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_checks.h"
#include "files.h"
#include "train/model_file.h"

#define TEXTBOOK "--data inline:1=3 --net 'dense 1 nobias' --loss squared --init zeros --lr 0.1 --batch 1"

static struct ls_error err;

/* --- the textbook --- */

static float only_weight(const char *path)
{
    struct ls_model model;
    cr_assert(ls_model_load(&model, path, &err) == LS_OK, "%s", err.text);
    cr_assert(model.net.n_parameters == 1);
    const float w = model.parameters[0];
    ls_model_release(&model);
    return w;
}

/* L(w) = (w - 3)^2 from 0 with rate 0.1: w = 3 - 3 * 0.8^t. */
Test(cli, the_textbook_example, .timeout = LIMIT_S)
{
    static const char *const printed[] = {"0,0.6", "0,1.08", "0,1.464", "0,1.7712", "0,2.01"};
    static const double expected[] = {0.6, 1.08, 1.464, 1.7712, 2.01696};
    const struct folder folder = folder_create();
    const struct place model = in_folder(&folder, "w.safetensors");
    for (int t = 1; t <= 5; t++) {
        RUN("train " TEXTBOOK " --steps %d --quiet --save %s", t, model.path);
        const double w = (double)only_weight(model.path);
        cr_assert(fabs(w - expected[t - 1]) < 5e-7, "after %d steps: %.9g, expected %g", t, w,
                  expected[t - 1]);
        const struct ls_outcome *o = lockstep(1, "predict %s --data inline:1=3", model.path);
        check_status(o, 0, "predict");
        cr_assert(strncmp(o->out, "index,y0\n", 9) == 0 &&
                      strncmp(o->out + 9, printed[t - 1], strlen(printed[t - 1])) == 0,
                  "after %d steps: %s", t, o->out);
    }
    const struct ls_outcome *o = lockstep(1, "train " TEXTBOOK " --steps 5");
    check_status(o, 0, "the table");
    has(o->out, "    1        1  9 ", "loss of step 1");
    has(o->out, "    2        2  5.76 ", "loss of step 2");
    has(o->out, "    3        3  3.6864 ", "loss of step 3");
    folder_destroy(&folder);
}

/* --- one result --- */

Test(cli, the_oracle_and_every_isa_write_the_same_file, .timeout = LIMIT_S)
{
    static const char *const how[] = {"LOCKSTEP_ISA=portable", "LOCKSTEP_ISA=", "OMP_NUM_THREADS=2"};
    const char *const run = "train --net 'dense 33, tanh, dense 10' --epochs 2 --batch 100 --microbatch 7 "
                            "--momentum 0.9 --nesterov --weight-decay 1e-4 --quiet";
    const struct folder folder = folder_create();
    const struct place a = in_folder(&folder, "a.st"), b = in_folder(&folder, "b.st");
    const struct ls_outcome *o = lockstep(1, "%s --serial --save %s", run, a.path);
    check_status(o, 0, "--serial");
    const struct hash_text hash = last_hash(o->out);
    cr_assert(strlen(hash.text) == 32, "%s", o->out);
    for (size_t i = 0; i < sizeof how / sizeof how[0]; i++) {
        o = lockstep_after(1, how[i], "%s --save %s", run, b.path);
        check_status(o, 0, how[i]);
        cr_assert_str_eq(last_hash(o->out).text, hash.text, "%s", how[i]);
        same_bytes(a.path, b.path);
        o = lockstep(1, "verify %s %s", a.path, b.path);
        check_status(o, 0, "verify");
        has(o->out, "identical: ", "verify");
        has(o->out, hash.text, "verify");
    }
    o = lockstep(1, "%s --microbatch 8", run); /* the last of an option given twice counts */
    check_status(o, 0, "another leaf");
    cr_assert_str_neq(last_hash(o->out).text, hash.text, "the leaf is part of the result");
    folder_destroy(&folder);
}

Test(cli, three_ranks_write_the_same_files_and_the_same_log, .timeout = LIMIT_S)
{
#if LS_WITH_MPI
    const char *const run = "train --epochs 2 --hash-every 5 --quiet";
    const struct folder folder = folder_create();
    const struct place a = in_folder(&folder, "a.st"), b = in_folder(&folder, "b.st");
    const struct place la = in_folder(&folder, "a.jsonl"), lb = in_folder(&folder, "b.jsonl");
    check_status(lockstep(1, "%s --serial --save %s --log %s", run, a.path, la.path), 0, "serial");
    const struct ls_outcome *o = lockstep(3, "%s --threads 2 --save %s --log %s", run, b.path, lb.path);
    cr_assert(o->status == 0, "%d\n%s", o->status, o->err);
    same_bytes(a.path, b.path);
    check_status(o = lockstep(1, "verify %s %s", la.path, lb.path), 0, "verify");
    has(o->out, "identical: ", "verify");
    const struct ls_outcome *evaluated = lockstep(3, "eval %s", b.path);
    static char three[LS_OUTCOME_TEXT];
    snprintf(three, sizeof three, "%s", evaluated->out);
    check_status(o = lockstep(1, "eval %s --serial", a.path), 0, "eval");
    cr_assert_str_eq(o->out, three);
    folder_destroy(&folder);
#else
    SKIP("this build has no MPI");
#endif
}

/* The last batch is shorter, and its leaves make more subtrees on ranks 1 and 2 than those of the full ones.
 */
Test(cli, a_short_batch_of_more_subtrees_than_a_full_one, .timeout = LIMIT_S)
{
#if LS_WITH_MPI
    const char *const run = "train --data synthetic:n=1983043,shape=1,classes=2 --net 'dense 2' --quiet "
                            "--batch 1000000 --microbatch 1 --steps 2 --threads 1";
    const struct ls_outcome *o = lockstep(1, "%s", run);
    check_status(o, 0, run);
    const struct hash_text hash = last_hash(o->out);
    o = lockstep(3, "%s", run);
    cr_assert(o->status == 0, "%d\n%s", o->status, o->err);
    cr_assert_str_eq(last_hash(o->out).text, hash.text);
#else
    SKIP("this build has no MPI");
#endif
}

/* --- verify --- */

Test(cli, verify_finds_the_first_difference, .timeout = LIMIT_S)
{
    const char *const run = "train --net 'dense 3, tanh, dense 1' --shuffle off --batch 1 --epochs 1 "
                            "--hash-every 1 --quiet --loss squared";
    const struct folder folder = folder_create();
    const struct place a = in_folder(&folder, "a.st"), b = in_folder(&folder, "b.st");
    const struct place la = in_folder(&folder, "a.jsonl"), lb = in_folder(&folder, "b.jsonl");
    RUN("%s --data 'inline:1 2=0;2 3=1;3 4=0;1 1=1' --save %s --log %s", run, a.path, la.path);
    RUN("%s --data 'inline:1 2=0;2 3=1;3 5=0;1 1=1' --save %s --log %s", run, b.path, lb.path);
    const struct ls_outcome *o = lockstep(1, "verify %s %s", la.path, lb.path);
    check_status(o, 1, "logs");
    has(o->out, "different: step 3, tensor '0.weight'", "logs");
    cr_assert(!*o->err, "%s", o->err);
    check_status(o = lockstep(1, "verify %s %s", a.path, b.path), 1, "models");
    has(o->out, "different: tensor '0.weight' at [0,0]", "models");
    has(o->out, "13 of 13 elements differ", "models");

    size_t n;
    char *bytes = read_file(a.path, &n);
    bytes[n - 4 - 4] ^= 1; /* the last bit of 2.weight [0,2]; the bias of the output is behind it */
    write_file(b.path, bytes, n);
    free(bytes);
    check_status(o = lockstep(1, "verify %s %s", a.path, b.path), 1, "one bit");
    has(o->out, "different: tensor '2.weight' at [0,2]", "one bit");
    has(o->out, "1 of 13 elements differ", "one bit");

    check_status(o = lockstep(1, "verify %s %s", a.path, la.path), 3, "two kinds");
    check_status(o = lockstep(1, "verify %s %s/none", a.path, folder.path), 3, "no file");
    check_status(o = lockstep(1, "verify %s", a.path), 2, "one file");
    folder_destroy(&folder);
}

/* The bits themselves, as README shows them: a change of the definition must raise the contract version. */
Test(cli, the_first_run_has_the_bits_that_readme_shows, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "train --epochs 3");
    has(o->out, "1.7731106     1.3652622", "losses of epoch 1");
    has(o->out, "8fdd77800aa33e96ecbc35ef238a13ec", "hash of epoch 1");
    has(o->out, "3f6730c54d0002898ee32da57e92b537", "hash of epoch 3");
    size_t n = 0;
    char *readme = read_file("README.md", &n);
    for (int epoch = 1; epoch <= 3; epoch++) {
        char row[16], hash[33];
        snprintf(row, sizeof row, "\n    %d ", epoch);
        const char *at = strstr(o->out, row), *end = at ? strchr(at + 1, '\n') : NULL;
        cr_assert(end && end - at > 32, "no row of epoch %d:\n%s", epoch, o->out);
        snprintf(hash, sizeof hash, "%.32s", end - 32);
        cr_assert_not_null(strstr(readme, hash), "README does not show epoch %d's hash %s", epoch, hash);
    }
    free(readme);
    RUN("train --data inline:1=3 --net 'dense 1' --loss squared --steps 1 --quiet");
}
