/* --shard-optimizer: each rank updates its slices of the parameters, and nothing of the result tells. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "files.h"
#include "launch.h"
#include "optim/optimizer.h"

enum { LIMIT_S = 60, BLOCK = LS_LANESUM_BLOCK };

static struct ls_error err;

/* --- an optimizer of slices --- */

/* A matrix of several blocks, a gap, averages that no update touches, a bias. */
static const struct ls_parameter tensors[] = {
    {.name = "0.weight", .n_dims = 2, .dims = {100, 103}, .count = 10300, .offset = 0},
    {.name = "1.running_mean", .n_dims = 1, .dims = {50}, .count = 50, .offset = 10304, .is_state = 1},
    {.name = "2.bias", .n_dims = 1, .dims = {77}, .count = 77, .offset = 10368, .is_bias = 1},
};
enum { FLOATS = 10448, STEPS = 3 };

static void fill(float *values, int key)
{
    for (int i = 0; i < FLOATS; i++)
        values[i] = (float)((i * 37 + key * 11) % 201 - 100) / 64.0f;
}

/* What slices come to, as two ranks would have them: the second has its slices in another order. */
static void check_slices(const struct ls_optimizer_rule *rule, const struct ls_ops *ops)
{
    static float whole[FLOATS], sliced[FLOATS], sum[FLOATS], blocks[FLOATS / 77];
    static const struct ls_range mine[2][2] = {{{0, BLOCK}, {2 * BLOCK, 10310}},
                                               {{10310, FLOATS}, {BLOCK, 2 * BLOCK}}};
    struct ls_optimizer one, parts[2];
    fill(whole, 1);
    fill(sliced, 1);
    cr_assert(ls_optimizer_create(&one, rule, tensors, 3, FLOATS, &err) == LS_OK, "%s", err.text);
    for (int r = 0; r < 2; r++) {
        cr_assert(ls_optimizer_create_for(&parts[r], rule, tensors, 3, FLOATS, mine[r], 2, &err) == LS_OK);
        cr_assert(parts[r].n_state_floats ==
                  mine[r][0].end - mine[r][0].begin + mine[r][1].end - mine[r][1].begin);
    }
    for (int step = 0; step < STEPS; step++) {
        struct ls_optimizer_report report;
        fill(sum, step + 2);
        ls_optimizer_step(&one, ops, 4, 0.1f, whole, sum, &report);
        memset(blocks, 0xff, sizeof blocks);
        for (int r = 0; r < 2; r++)
            for (int i = 0; i < 2; i++)
                ls_optimizer_square_blocks(&parts[r], ops, 4, mine[r][i], sum, blocks);
        cr_assert(ls_optimizer_blocks(&one) == 4);
        const float norm = ls_optimizer_norm_of_blocks(&parts[0], blocks);
        cr_assert(!report.has_norm || memcmp(&norm, &report.gradient_norm, sizeof norm) == 0, "%a, not %a",
                  (double)norm, (double)report.gradient_norm);
        for (int r = 0; r < 2; r++) {
            ls_optimizer_begin(&parts[r], 4, 0.1f, norm);
            for (int i = 0; i < 2; i++)
                ls_optimizer_part(&parts[r], ops, mine[r][i], sliced, sum);
        }
        cr_assert(memcmp(whole, sliced, sizeof whole) == 0, "%s, step %d", ls_optimizer_names[rule->kind],
                  step);
    }
    ls_optimizer_release(&one);
    ls_optimizer_release(&parts[0]);
    ls_optimizer_release(&parts[1]);
}

Test(shards, slices_are_updated_as_the_whole)
{
    for (int kind = LS_SGD; kind <= LS_LAMB; kind++)
        for (int variant = 0; variant < 8; variant++) {
            struct ls_optimizer_rule rule = ls_optimizer_defaults((enum ls_optimizer_kind)kind);
            rule.momentum = variant & 1 ? 0.9f : 0.0f;
            rule.nesterov = variant & 1 && variant & 2;
            rule.weight_decay = variant & 2 ? 0.1f : 0.0f;
            rule.clip_norm = variant & 4 ? 0.5f : 0.0f;
            cr_assert(ls_optimizer_takes_slices(&rule) == (kind < LS_LARS));
            if (!ls_optimizer_takes_slices(&rule))
                continue;
            check_slices(&rule, &ls_ops_serial);
            check_slices(&rule, ls_ops_parallel(NULL));
        }
    cr_assert(ls_memory_balance() == 0);
}

#if LS_WITH_MPI

/* --- runs --- */

static struct ls_outcome outcome;

#    define TRAIN                                                                                            \
        LS_BUILD                                                                                             \
        "/lockstep train --data synthetic:n=90,shape=2x6x5,classes=4,test=11 --net 'conv 5 3x3 pad 1, "      \
        "batchnorm, relu, conv 7 3x3, tanh, dense 40, relu, dense 30, relu, dense 4' --batch 20 "            \
        "--microbatch 5 --epochs 2 --quiet --threads 1 "

/* per_host ranks are taken to share a host; 0: all. */
static void run(int ranks, int per_host, const char *command)
{
    char hosts[64];
    snprintf(hosts, sizeof hosts, "LOCKSTEP_RANKS_PER_HOST=%d", per_host);
    ls_launch_mpi(&outcome, ranks, LIMIT_S, (const char *const[]){hosts, NULL}, LS_ARGV("sh", "-c", command));
}

/* The hash that ends the only line of a quiet run. */
static const char *hash_of_run(void)
{
    const size_t length = strlen(outcome.out);
    return length > 33 ? outcome.out + length - 33 : "";
}

Test(shards, cannot_be_seen_in_the_result, .timeout = 10 * LIMIT_S)
{
    static const char *const ways[] = {
        "--momentum 0.9 --nesterov --hash-every 1 --bucket-bytes 600",
        "--optimizer adamw --lr 0.01 --weight-decay 0.1 --ema 0.9 --bucket-bytes 600",
        "--optimizer adam --clip-norm 0.1 --bucket-bytes 20000",
        "--optimizer rmsprop --accumulate 2 --batch 10 --keep best --bucket-bytes 600",
        "--optimizer adagrad --clip-value 0.01 --overlap off --cross-check 2"};
    static const int layouts[][2] = {{1, 0}, {2, 0}, {2, 1}, {3, 2}, {5, 1}, {5, 2}};
    char command[1200], expected[40] = "";
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(command, sizeof command, "exec " TRAIN "%s --serial", ways[i]);
        run(1, 0, command);
        cr_assert(outcome.status == 0, "%s: status %d\n%s", ways[i], outcome.status, outcome.err);
        snprintf(expected, sizeof expected, "%.32s", hash_of_run());
        snprintf(command, sizeof command, "exec " TRAIN "%s --shard-optimizer", ways[i]);
        for (size_t k = 0; k < sizeof layouts / sizeof *layouts; k++) {
            run(layouts[k][0], layouts[k][1], command);
            cr_assert(outcome.status == 0 && strncmp(hash_of_run(), expected, 32) == 0,
                      "%s, %d ranks, %d a host: status %d, %.32s, not %s\n%s", ways[i], layouts[k][0],
                      layouts[k][1], outcome.status, hash_of_run(), expected, outcome.err);
        }
    }
}

static void expect(int ranks, int per_host, const char *command)
{
    run(ranks, per_host, command);
    cr_assert(outcome.status == 0, "%d ranks, %d a host: status %d: %s\n%s", ranks, per_host, outcome.status,
              command, outcome.err);
}

/* Checkpoints are those of a run without slices, byte by byte, and either goes on as the other. */
Test(shards, checkpoints_have_no_slices, .timeout = 10 * LIMIT_S)
{
    const struct folder folder = folder_create();
    char command[1500];
    static const char options[] = "--optimizer adam --bucket-bytes 600 --checkpoint-every 3steps "
                                  "--keep-checkpoints 9 ";
    for (int sharded = 0; sharded < 2; sharded++) {
        snprintf(command, sizeof command, "exec " TRAIN "%s --checkpoint %s/%d --save %s/%d.model %s",
                 options, folder.path, sharded, folder.path, sharded,
                 sharded ? "--shard-optimizer" : "--serial");
        expect(sharded ? 3 : 1, sharded ? 2 : 0, command);
    }
    snprintf(command, sizeof command,
             "cd %s && ls 0 | grep -c . && diff -r 0 1 && cmp 0.model 1.model && cp -r 0 2 && cp -r 1 3 && "
             "for f in 2 3; do cd $f; rm $(ls | tail -n 2); cd ..; done",
             folder.path);
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV("sh", "-c", command));
    cr_assert(outcome.status == 0 && atoi(outcome.out) >= 4, "status %d\n%s%s", outcome.status, outcome.out,
              outcome.err);
    snprintf(command, sizeof command,
             "exec " LS_BUILD "/lockstep train --resume %s/2 --save %s/2.model --shard-optimizer --quiet",
             folder.path, folder.path);
    expect(5, 1, command);
    snprintf(command, sizeof command,
             "exec " LS_BUILD "/lockstep train --resume %s/3 --save %s/3.model --quiet", folder.path,
             folder.path);
    expect(2, 0, command);
    snprintf(command, sizeof command,
             "cd %s && diff -r 0 2 && diff -r 0 3 && cmp 0.model 2.model && cmp 0.model 3.model; rm -r %s",
             folder.path, folder.path);
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV("sh", "-c", command));
    cr_assert(outcome.status == 0 && !*outcome.out, "%s%s", outcome.out, outcome.err);
}

/* Where a run went to infinity takes the whole gradient, of which no rank has more than slices. */
Test(shards, a_diverging_run_says_the_same, .timeout = 5 * LIMIT_S)
{
    static const int layouts[][2] = {{1, 0}, {3, 0}, {3, 1}, {5, 2}};
    char command[1000], expected[400] = "";
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        snprintf(command, sizeof command, "exec " TRAIN "--lr 1e15 --bucket-bytes 600 --shard-optimizer");
        run(layouts[i][0], layouts[i][1], command);
        const char *text = strstr(outcome.err, "training went non-finite");
        cr_assert(outcome.status == 4 && text, "status %d\n%s", outcome.status, outcome.err);
        if (i == 0)
            snprintf(expected, sizeof expected, "%.*s", (int)strcspn(text, ";"), text);
        cr_assert(strstr(expected, "first in the gradient of '"), "%s", expected);
        cr_assert(strncmp(text, expected, strlen(expected)) == 0, "%s, not %s", text, expected);
    }
}

Test(shards, rules_of_whole_tensors_are_refused, .timeout = LIMIT_S)
{
    run(2, 0, "exec " TRAIN "--optimizer lamb --shard-optimizer");
    cr_assert(outcome.status == 2 &&
                  strstr(outcome.err, "--shard-optimizer does not take --optimizer lamb") &&
                  strstr(outcome.err, "adamw"),
              "status %d\n%s", outcome.status, outcome.err);
}

#endif
