/* --normalise and --augment as users meet them: what is refused, what is stored and printed, that eval,
 * predict and --load do as the model was trained, and the same bits however a run is spread. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S };

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

static void has(const char *text, const char *part, const char *what)
{
    cr_assert(strstr(text, part), "%s: no '%s' in\n%s", what, part, text);
}

#define PHOTOS "--data synthetic:n=300,shape=3x32x32,classes=10,test=100"

Test(input_options, refusals_say_what_was_found_and_what_is_allowed, .timeout = LIMIT_S)
{
    static const struct {
        const char *words, *parts[3];
    } cases[] = {
        {"--augment shift=8", {"shift=8", "\"digits\" is 8x8 pixels", "allowed is 0 to 7"}},
        {"--augment shift=4,crop=4", {"shift + crop=8", "allowed is 0 to 7"}},
        {"--augment crop=16384", {"crop=16384", "from 0 to 16383"}},
        {"--augment shift=-1", {"shift=-1", "from 0 to 16383"}},
        {"--augment shift", {"shift=;", "whole numbers of pixels"}},
        {"--augment flip=yes", {"flip=yes", "without a value"}},
        {"--augment flop", {"unknown \"flop\"", "did you mean flip?", "crop=PIXELS"}},
        {"--augment none,flip", {"unknown \"none\"", "none alone"}},
        {"--augment flip,flip", {"flip is given twice"}},
        {"--augment flip,", {"unknown \"\""}},
        {"--augment flip --data inline:1,2=3", {"needs images, HxW or CxHxW", "has 1 dimension"}},
        {"--augment flip --data synthetic:n=9,shape=2x2x2x2,classes=2", {"has 4 dimensions"}},
        {"--normalise chanel",
         {"unknown \"chanel\"", "did you mean channel?", "mean=X,..,std=X,.. and none"}},
        {"--normalise 1,2", {"unknown \"1\""}},
        {"--normalise mean=1", {"1 numbers for mean, 0 for std"}},
        {"--normalise mean=1,2,std=1,1", {"2 numbers for the mean", "\"digits\" has 1 channel"}},
        {"--normalise mean=1,std=1 " PHOTOS, {"1 numbers for the mean", "3 channels"}},
        {"--normalise mean=0,std=0", {"std has 0", "above 0"}},
        {"--normalise mean=0,std=-1", {"std has -1", "above 0"}},
        {"--normalise mean=0,std=1e-45", {"std has 1e-45", "above 0"}},
        {"--normalise mean=x,std=1", {"mean has \"x\"", "finite numbers"}},
        {"--normalize mean=inf,std=1", {"mean has \"inf\""}},
        {"--normalise mean=1,std=1,mean=2", {"mean is given twice"}},
        {"--normalise mean=1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,std=1", {"more than 16 numbers for mean"}},
        {"--normalise channel --data synthetic:n=9,shape=17x2x2,classes=2", {"17 channels", "1 to 16"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ls_outcome *o = lockstep(1, "train --quiet --steps 1 %s", cases[i].words);
        check_status(o, 2, cases[i].words);
        for (int k = 0; k < 3 && cases[i].parts[k]; k++)
            has(o->err, cases[i].parts[k], cases[i].words);
    }
}

/* What is printed and stored can be given again, and means the same. */
Test(input_options, what_was_measured_is_stored_exactly, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    char line[700] = "", normalise[600] = "";
    const struct ls_outcome *o = lockstep(
        1, "train " PHOTOS " --normalise channel --augment crop=2,flip --epochs 1 --save %s/a", folder.path);
    check_status(o, 0, "train");
    const struct hash_text hash = last_hash(o->out);
    sscanf(strstr(o->out, "input "), "%699[^\n]", line);
    sscanf(line, "input --normalise %599s", normalise);
    has(line, " --augment flip,crop=2", "the report");
    o = lockstep(1, "info %s/a", folder.path);
    has(o->out, normalise, "info");
    has(o->out, "  augment            flip,crop=2\n", "info");
    o = lockstep(1, "train " PHOTOS " --normalise %s --augment flip,crop=2 --epochs 1 --quiet", normalise);
    check_status(o, 0, "train again");
    cr_assert_str_eq(last_hash(o->out).text, hash.text, "%s: another run", normalise);
    folder_destroy(&folder);
}

/* The loss that training reported, again: nothing was augmented, everything was normalised. */
Test(input_options, a_model_is_used_as_it_was_trained, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, "train --normalise mean=0.25,std=0.5 --augment shift=2 --epochs 2 --quiet --save %s/a",
                 folder.path);
    check_status(o, 0, "train");
    char loss[32] = "", line[64];
    cr_assert_eq(sscanf(o->out, "%*d %*d %*s %31s", loss), 1, "%s", o->out);
    snprintf(line, sizeof line, "loss      %s\n", loss);
    o = lockstep(1, "eval %s/a", folder.path);
    has(o->out, line, "eval");
    o = lockstep(1, "train --load %s/a --lr 0 --epochs 1 --quiet", folder.path);
    has(o->out, loss, "--load goes on as the model was normalised");
    o = lockstep(1, "train --load %s/a --lr 0 --epochs 1 --quiet --normalise none", folder.path);
    cr_assert(!strstr(o->out, loss), "--normalise none is the user's word:\n%s", o->out);
    o = lockstep(1, "eval %s/a --data inline:1,2=3", folder.path);
    check_status(o, 2, "eval of other data");
    folder_destroy(&folder);
}

static void expect_hash(const struct ls_outcome *o, struct hash_text hash, const char *what)
{
    check_status(o, 0, what);
    cr_assert_str_eq(last_hash(o->out).text, hash.text, "%s: %s", what, o->out);
}

Test(input_options, the_same_bits_however_it_is_spread, .timeout = LIMIT_S)
{
    static const char words[] =
        "train " PHOTOS " --normalise channel --augment shift=1,flip,crop=4 --epochs 2 --batch 100 "
        "--microbatch 8 --quiet";
    const struct ls_outcome *o = lockstep(1, "%s --serial", words);
    check_status(o, 0, "serial");
    const struct hash_text hash = last_hash(o->out);
    expect_hash(lockstep(1, "%s --threads 3", words), hash, "3 threads");
    expect_hash(lockstep_after(1, "LOCKSTEP_ISA=portable", "%s", words), hash, "portable");
    if (LS_WITH_MPI)
        expect_hash(lockstep(3, "%s", words), hash, "3 ranks");
    o = lockstep(1, "%s --seed 2", words);
    cr_assert_str_neq(last_hash(o->out).text, hash.text);
}

/* Three channels, and classes that can be learned. */
Test(input_options, synthetic_photographs_are_learned, .timeout = LIMIT_S)
{
    const struct ls_outcome *o =
        lockstep(1, "train --data synthetic:n=2000,shape=3x32x32,classes=10,test=500 --net 'dense 10' "
                    "--normalise channel --lr 0.001 --epochs 3 --quiet");
    check_status(o, 0, "train");
    double accuracy = 0;
    cr_assert_eq(sscanf(o->out, "%*d %*d %*s %*s %lf", &accuracy), 1, "%s", o->out);
    cr_assert_gt(accuracy, 99.0, "%s", o->out);
}
