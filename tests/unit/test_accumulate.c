/* Batches accumulated into an update, and averaged weights, as users meet them. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S };

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

static void has(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no '%s' in\n%s", part, text);
}

/* Expects two logs of every step to be the same. */
static void verify(const struct folder *folder, const char *a, const char *b)
{
    const struct ls_outcome *o = lockstep(1, "verify %s/%s %s/%s", folder->path, a, folder->path, b);
    cr_assert(o->status == 0, "%s and %s: %s%s", a, b, o->out, o->err);
}

static void train(const struct folder *folder, int ranks, const char *log, const char *words)
{
    check_status(lockstep(ranks, "train %s --hash-every 1 --quiet --log %s/%s", words, folder->path, log), 0,
                 words);
}

#define DEEP                                                                                                 \
    "--net 'dense 24, relu, dropout 0.3, dense 10' --augment shift=1 --momentum 0.9 --microbatch 8 "         \
    "--epochs 2 "

/* 1500 samples: updates of 128 leave 92, two batches of 32 and one of 28; updates of 256 leave 220. */
Test(accumulate, as_one_batch_of_n_times_the_size, .timeout = LIMIT_S)
{
    static const struct {
        const char *together, *apart;
    } cases[] = {
        {"--batch 128", "--batch 32 --accumulate 4"},
        {"--batch 128", "--batch 64 --accumulate 2"},
        {"--batch 96", "--batch 32 --accumulate 3"},
        {"--batch 256", "--batch 16 --accumulate 16"},
        {"--batch 40", "--batch 8 --accumulate 5"},
        {"--batch 128 --drop-last", "--batch 32 --accumulate 4 --drop-last"},
        {"--batch all", "--batch 512 --accumulate 3"},
        {"--batch all", "--batch 256 --accumulate 100"},
        {"--batch 96 --scale-lr-to 48", "--batch 32 --accumulate 3 --scale-lr-to 48"},
    };
    const struct folder folder = folder_create();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char words[400];
        snprintf(words, sizeof words, DEEP "%s", cases[i].together);
        train(&folder, 1, "together", words);
        snprintf(words, sizeof words, DEEP "%s", cases[i].apart);
        train(&folder, 1, "apart", words);
        const struct ls_outcome *o = lockstep(1, "verify %s/together %s/apart", folder.path, folder.path);
        cr_assert(o->status == 0, "%s, %s: %s%s", cases[i].together, cases[i].apart, o->out, o->err);
    }
    folder_destroy(&folder);
}

/* Batches that are no power of two of leaves, and batch norm, whose statistics are a batch's. */
Test(accumulate, the_same_bits_however_it_is_spread, .timeout = LIMIT_S)
{
    static const char *const runs[] = {
        "--batch 100 --microbatch 8 --accumulate 3 --epochs 2 --net 'dense 24, relu, dropout 0.3, dense 10' "
        "--optimizer adam --clip-norm 1",
        "--batch 60 --microbatch 7 --accumulate 3 --epochs 1 --net 'dense 24, batchnorm, relu, dense 10' "
        "--ema 0.9",
    };
    const struct folder folder = folder_create();
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        char words[400];
        snprintf(words, sizeof words, "%s --serial", runs[i]);
        train(&folder, 1, "serial", words);
        snprintf(words, sizeof words, "%s --threads 3", runs[i]);
        train(&folder, 1, "threads", words);
        verify(&folder, "serial", "threads");
        if (LS_WITH_MPI) {
            train(&folder, 3, "ranks", runs[i]);
            verify(&folder, "serial", "ranks");
        }
    }
    folder_destroy(&folder);
}

Test(accumulate, it_is_stated, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, "train --batch 64 --accumulate 5 --steps 5 --save %s/model", folder.path);
    check_status(o, 0, "train");
    has(o->out, "5 batches an update; 5 steps an epoch (the last of 220 samples)\n");
    o = lockstep(1, "info %s/model", folder.path);
    has(o->out, "  accumulate         5\n");
    folder_destroy(&folder);
}

/* --- averaged weights --- */

/* w goes 0.6, 1.08, 1.464; the average, half of itself and half of w, 0.3, 0.69, 1.077; rounded along the
 * way. */
Test(ema, what_is_saved_is_the_average, .timeout = LIMIT_S)
{
    static const float expected[] = {0.3f, 0.69f, 1.077f};
    const struct folder folder = folder_create();
    for (int steps = 1; steps <= 3; steps++) {
        check_status(
            lockstep(1,
                     "train --data inline:1=3 --net 'dense 1 nobias' --loss squared --init zeros --lr 0.1 "
                     "--ema 0.5 --steps %d --quiet --save %s/model",
                     steps, folder.path),
            0, "train");
        const struct ls_outcome *o = lockstep(1, "predict %s/model --data inline:1=3", folder.path);
        float y = 0;
        cr_assert(sscanf(o->out, "index,y0\n0,%f", &y) == 1, "%s%s", o->out, o->err);
        cr_assert(y > expected[steps - 1] - 1e-6f && y < expected[steps - 1] + 1e-6f,
                  "%d steps: %.9g, not %g", steps, (double)y, (double)expected[steps - 1]);
    }
    folder_destroy(&folder);
}

/* What is evaluated, hashed and saved is one thing; the weights go on without it. */
Test(ema, what_is_told_is_the_average, .timeout = LIMIT_S)
{
    static const char words[] = "--net 'dense 24, relu, batchnorm, dense 10' --epochs 2 --hash-every 1";
    const struct folder folder = folder_create();
    const struct ls_outcome *o = lockstep(1, "train %s --ema 0.9 --quiet --log %s/log --save %s/model", words,
                                          folder.path, folder.path);
    check_status(o, 0, "train");
    char test_loss[32], info_hash[48];
    const struct hash_text hash = last_hash(o->out);
    cr_assert_eq(sscanf(o->out, "%*d %*d %*s %31s", test_loss), 1);
    o = lockstep(1, "eval %s/model", folder.path);
    has(o->out, test_loss);
    snprintf(info_hash, sizeof info_hash, "\nhash        %s\n", hash.text);
    o = lockstep(1, "info %s/model", folder.path);
    has(o->out, info_hash);
    has(o->out, "  ema                0.9\n");
    const char *tensor = strstr(o->out, "0.weight      24x64 ");
    char tensor_hash[33] = "";
    cr_assert(tensor && sscanf(tensor, "0.weight 24x64 %*d %32s", tensor_hash) == 1, "%s", o->out);
    size_t n;
    char *log = read_file(in_folder(&folder, "log").path, &n);
    const char *last = NULL;
    for (const char *at = log; (at = strstr(at, "{\"event\":\"step\"")); at++)
        last = at;
    has(last, hash.text); /* of the last step, and of the epoch behind it */
    has(last, tensor_hash);
    has(strstr(last, "{\"event\":\"epoch\""), hash.text);
    has(strstr(last, "{\"event\":\"epoch\""), tensor_hash);
    free(log);
    o = lockstep(1, "train %s --quiet --log %s/plain", words, folder.path);
    check_status(o, 0, "train without");
    cr_assert_str_neq(last_hash(o->out).text, hash.text);
    float with = 0, without = 1;
    cr_assert_eq(sscanf(o->out, "%*d %*d %f", &without), 1);
    o = lockstep(1, "train %s --ema 0.9 --quiet", words);
    cr_assert(sscanf(o->out, "%*d %*d %f", &with) == 1 && with == without,
              "the training loss is the weights' own: %g, %g", (double)with, (double)without);
    folder_destroy(&folder);
}

Test(ema, nothing_of_itself_is_the_weights, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, "train --epochs 1 --quiet");
    const struct hash_text hash = last_hash(o->out);
    o = lockstep(1, "train --epochs 1 --quiet --ema 0");
    cr_assert_str_eq(last_hash(o->out).text, hash.text);
}

Test(ema, the_same_bits_however_it_is_spread, .timeout = LIMIT_S)
{
    static const char words[] = "--ema 0.97 --epochs 2 --batch 90 --microbatch 8 --optimizer rmsprop";
    const struct folder folder = folder_create();
    char text[300];
    snprintf(text, sizeof text, "%s --serial", words);
    train(&folder, 1, "serial", text);
    train(&folder, LS_WITH_MPI ? 3 : 1, "ranks", words);
    verify(&folder, "serial", "ranks");
    folder_destroy(&folder);
}
