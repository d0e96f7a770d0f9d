/* --split and --folds: each sample in one part, shares and classes as asked for, the same parts anywhere;
 * that what is fitted sees the training part alone; and that eval finds the parts again. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "data/split.h"
#include "files.h"
#include "implementations.h"
#include "lockstep.h"
#include "train/loss_rule.h"
#include "train/scaling.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S };

static struct ls_data open_data(const char *spec)
{
    struct ls_data data;
    struct ls_error err = {.code = LS_OK};
    cr_assert_eq(ls_data_open(&data, spec, NULL, &err), LS_OK, "%s", err.text);
    return data;
}

static struct ls_data split_data(const char *spec, const char *shares, int stratify, uint64_t seed)
{
    struct ls_data data = open_data(spec);
    struct ls_split split;
    struct ls_error err = {.code = LS_OK};
    cr_assert_eq(ls_split_parse(&split, shares, &err), LS_OK, "%s", err.text);
    split.stratify = stratify;
    split.seed = seed;
    cr_assert_eq(ls_data_split(&data, &split, &err), LS_OK, "%s: %s", shares, err.text);
    return data;
}

/* Marks the stored samples of a part; none may be marked already, and they ascend. */
static void mark(const struct ls_dataset *part, char *seen, const char *what)
{
    int64_t last = -1;
    for (int64_t i = 0; i < part->n_samples; i++) {
        const int64_t at = ls_dataset_stored(part, i);
        cr_assert(at > last && at < part->n_stored, "%s: sample %lld is %lld behind %lld", what, (long long)i,
                  (long long)at, (long long)last);
        cr_assert(!seen[at], "%s: sample %lld is in two parts", what, (long long)at);
        seen[last = at] = 1;
    }
}

static void expect_all(const char *seen, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        cr_assert(seen[i], "%s: sample %lld is in no part", what, (long long)i);
}

/* A count may be its share rounded up or down. */
static void expect_share(int64_t found, double share, int64_t n, const char *what)
{
    cr_assert(fabs((double)found - share * (double)n) < 1.0 + 1e-6, "%s: %lld of %lld, share %g", what,
              (long long)found, (long long)n, share);
}

static void check_split(int64_t n, int classes, const char *shares, const double *share, int stratify)
{
    char spec[100], what[160];
    snprintf(spec, sizeof spec, "synthetic:n=%lld,shape=3,classes=%d,test=0", (long long)n, classes);
    snprintf(what, sizeof what, "%s --split %s%s", spec, shares, stratify ? " --stratify" : "");
    struct ls_data all = open_data(spec), data = split_data(spec, shares, stratify, 5);
    const struct ls_dataset *const parts[] = {&data.train, share[2] > 0 ? &data.validation : &data.test,
                                              &data.test};
    char *seen = calloc((size_t)n, 1);
    int64_t total[32] = {0};
    ls_dataset_count_classes(&all.train, total);
    for (int p = 0; p < (share[2] > 0 ? 3 : 2); p++) {
        int64_t counts[32] = {0};
        mark(parts[p], seen, what);
        ls_dataset_count_classes(parts[p], counts);
        if (!stratify)
            expect_share(parts[p]->n_samples, share[p], n, what);
        for (int c = 0; stratify && c < classes; c++)
            expect_share(counts[c], share[p], total[c], what);
    }
    expect_all(seen, n, what);
    free(seen);
    ls_data_release(&all);
    ls_data_release(&data);
}

Test(split, parts_have_their_shares_and_each_sample_once, .timeout = 60)
{
    static const struct {
        const char *text;
        double share[3];
    } shares[] = {{"0.8,0.1,0.1", {0.8, 0.1, 0.1}},
                  {"0.5,0.5", {0.5, 0.5}},
                  {"0.7,0.3", {0.7, 0.3}},
                  {"0.34,0.33,0.33", {0.34, 0.33, 0.33}},
                  {"0.333333,0.333333,0.333334", {1.0 / 3, 1.0 / 3, 1.0 / 3}}};
    for (int64_t n = 40; n <= 5000; n = n * 7 / 5 + 1)
        for (size_t i = 0; i < COUNT(shares); i++)
            for (int stratify = 0; stratify < 2; stratify++)
                check_split(n, (int)(2 + n % 3), shares[i].text, shares[i].share, stratify);
    cr_assert_eq(ls_memory_balance(), 0);
}

Test(split, exact_sizes_are_exact)
{
    struct ls_data data = split_data("synthetic:n=10000,shape=3,classes=4,test=0", "0.8,0.1,0.1", 0, 1);
    cr_assert_eq(data.train.n_samples, 8000);
    cr_assert_eq(data.validation.n_samples, 1000);
    cr_assert_eq(data.test.n_samples, 1000);
    ls_data_release(&data);
    data = split_data("synthetic:n=10000,shape=3,classes=4,test=0", "7001,2000,999", 0, 1);
    cr_assert_eq(data.train.n_samples, 7001);
    cr_assert_eq(data.test.n_samples, 999);
    ls_data_release(&data);
}

/* Test samples of its own stay what they are. */
Test(split, digits_keep_their_test_samples)
{
    struct ls_data data = split_data("digits", "0.8,0.2", 1, 1);
    cr_assert_eq(data.train.n_samples + data.validation.n_samples, 1500);
    cr_assert_eq(data.test.n_samples, 297);
    cr_assert_null(data.test.subset);
    cr_assert(ls_data_watched(&data) == &data.validation);
    ls_data_release(&data);
}

static int64_t in_common(uint64_t seed_a, uint64_t seed_b)
{
    static char in_a[2000];
    memset(in_a, 0, sizeof in_a);
    struct ls_data a = split_data("synthetic:n=2000,shape=3,classes=4,test=0", "0.5,0.5", 0, seed_a),
                   b = split_data("synthetic:n=2000,shape=3,classes=4,test=0", "0.5,0.5", 0, seed_b);
    mark(&a.train, in_a, "a");
    int64_t n = 0;
    for (int64_t i = 0; i < b.train.n_samples; i++)
        n += in_a[ls_dataset_stored(&b.train, i)];
    ls_data_release(&a);
    ls_data_release(&b);
    return n;
}

/* Two random halves of 2,000 have 500 in common, give or take 11. */
Test(split, the_key_is_the_seed)
{
    cr_assert_eq(in_common(3, 3), 1000);
    for (uint64_t seed = 4; seed < 12; seed++) {
        const int64_t n = in_common(3, seed);
        cr_assert(n > 430 && n < 570, "%lld in common", (long long)n);
    }
}

/* What is gathered from a part are the stored samples: more than a chunk of them, moved by their own keys. */
Test(split, a_part_gives_the_stored_samples, .timeout = 60)
{
    enum { B = 2100, K = 49 };
    static const char spec[] = "synthetic:n=5000,shape=7x7,classes=4,test=0";
    struct ls_data all = open_data(spec), data = split_data(spec, "0.5,0.5", 0, 2);
    const struct ls_augment augment = {.shift = 2, .flip = 1, .seed = 3, .epoch = 1};
    static float x[B * K], expected[B * K];
    static int32_t labels[B], expected_labels[B];
    static int64_t index[B], stored[B];
    for (int64_t b = 0; b < B; b++) {
        index[b] = (b * 37) % data.test.n_samples;
        stored[b] = ls_dataset_stored(&data.test, index[b]);
    }
    const struct ls_ops *ops = ls_ops_parallel(NULL);
    ls_dataset_gather_augmented(&data.test, &augment, ops, B, index, x, labels, NULL);
    ls_dataset_gather_augmented(&all.train, &augment, ops, B, stored, expected, expected_labels, NULL);
    cr_assert_eq(memcmp(x, expected, sizeof x), 0);
    cr_assert_eq(memcmp(labels, expected_labels, sizeof labels), 0);
    ls_dataset_gather_raw(&data.test, 5, x);
    ls_dataset_gather_raw(&all.train, ls_dataset_stored(&data.test, 5), expected);
    cr_assert_eq(memcmp(x, expected, K * sizeof *x), 0);
    ls_data_release(&all);
    ls_data_release(&data);
}

/* The training part as a dataset of its own. */
static struct ls_dataset copy_part(const struct ls_dataset *part, float *numbers, int32_t *labels)
{
    struct ls_dataset copy = *part;
    for (int64_t i = 0; i < part->n_samples; i++)
        ls_dataset_gather(part, &ls_ops_serial, 1, &i, numbers + i * part->n_features, labels + i, NULL);
    memset(copy.owned, 0, sizeof copy.owned);
    copy.subset = NULL;
    copy.generate = NULL;
    copy.pixels = NULL;
    copy.numbers = numbers;
    copy.labels = labels;
    return copy;
}

/* Scaling, normalisation and class weights of a part are those of its samples alone. */
Test(split, what_is_fitted_sees_only_the_training_part)
{
    static float numbers[1500 * 64];
    static int32_t labels[1500];
    struct ls_data data = split_data("digits", "0.6,0.4", 0, 9);
    const struct ls_dataset copy = copy_part(&data.train, numbers, labels);
    struct ls_comm *comm = NULL;
    struct ls_error err = {.code = LS_OK};
    struct ls_scaling part, alone;
    struct ls_normalise channel, channel_alone;
    struct ls_loss_rule weights = {.kind = LS_LOSS_SOFTMAX}, weights_alone = {.kind = LS_LOSS_SOFTMAX};
    cr_assert_eq(ls_comm_create_solo(&comm, &err), LS_OK);
    ls_scaling_fit(&part, LS_SCALE_STANDARD, &data.train, &ls_ops_serial, comm, &err);
    ls_scaling_fit(&alone, LS_SCALE_STANDARD, &copy, &ls_ops_serial, comm, &err);
    cr_assert_str_eq(part.offset_text, alone.offset_text);
    cr_assert_str_eq(part.factor_text, alone.factor_text);
    ls_normalise_measure(&channel, &data.train, &err);
    ls_normalise_measure(&channel_alone, &copy, &err);
    cr_assert_float_eq(channel.mean[0], channel_alone.mean[0], 1e-6);
    cr_assert_float_eq(channel.deviation[0], channel_alone.deviation[0], 1e-6);
    ls_loss_balance_weights(&weights, &data.train, &err);
    ls_loss_balance_weights(&weights_alone, &copy, &err);
    cr_assert_eq(memcmp(weights.class_weights, weights_alone.class_weights, 10 * sizeof(float)), 0);
    ls_data_scale(&data, &part); /* which owns it now */
    cr_assert(data.train.scaling && data.validation.scaling && data.test.scaling);
    ls_scaling_release(&alone);
    ls_loss_rule_release(&weights);
    ls_loss_rule_release(&weights_alone);
    ls_comm_destroy(&comm);
    ls_data_release(&data);
    cr_assert_eq(ls_memory_balance(), 0);
}

static void check_folds(int64_t n, int64_t n_folds, int stratify)
{
    char spec[100], what[160];
    snprintf(spec, sizeof spec, "synthetic:n=%lld,shape=3,classes=3,test=0", (long long)n);
    snprintf(what, sizeof what, "%s --folds %lld%s", spec, (long long)n_folds, stratify ? " --stratify" : "");
    struct ls_data data = open_data(spec);
    struct ls_error err = {.code = LS_OK};
    char *seen = calloc((size_t)n, 1);
    int64_t least[4] = {n, n, n, n}, most[4] = {0}; /* of each class, and of all */
    for (int64_t k = 0; k < n_folds; k++) {
        cr_assert_eq(ls_data_fold(&data, n_folds, k, stratify, 4, &err), LS_OK, "%s: %s", what, err.text);
        cr_assert_eq(data.train.n_samples + data.test.n_samples, n);
        char *both = calloc((size_t)n, 1);
        mark(&data.train, both, what);
        mark(&data.test, both, what);
        expect_all(both, n, what);
        free(both);
        mark(&data.test, seen, what);
        int64_t counts[4] = {0, 0, 0, data.test.n_samples};
        ls_dataset_count_classes(&data.test, counts);
        for (int c = 0; c < 4; c++) {
            least[c] = counts[c] < least[c] ? counts[c] : least[c];
            most[c] = counts[c] > most[c] ? counts[c] : most[c];
        }
    }
    expect_all(seen, n, what);
    for (int c = stratify ? 0 : 3; c < 4; c++)
        cr_assert_leq(most[c] - least[c], 1, "%s: %lld to %lld", what, (long long)least[c],
                      (long long)most[c]);
    free(seen);
    ls_data_release(&data);
}

Test(split, folds_hold_each_sample_once, .timeout = 60)
{
    for (int64_t n = 20; n < 2000; n = n * 3 + 1)
        for (int64_t n_folds = 2; n_folds <= 10; n_folds++)
            for (int stratify = 0; stratify < 2; stratify++)
                check_folds(n, n_folds, stratify);
    check_folds(20, 20, 0);
    cr_assert_eq(ls_memory_balance(), 0);
}

/* --- as users meet it --- */

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

static void has(const char *text, const char *part, const char *what)
{
    cr_assert(strstr(text, part), "%s: no '%s' in\n%s", what, part, text);
}

Test(split, refusals_say_what_was_found, .timeout = LIMIT_S)
{
    static const struct {
        const char *words, *parts[2];
    } cases[] = {
        {"--split 0.5", {"one share splits nothing", "0.8,0.1,0.1"}},
        {"--split 0.5,0.6", {"the sum is not 1"}},
        {"--split 0.5,0.2,0.2,0.1", {"two or three numbers"}},
        {"--split 0.5,", {"two or three numbers"}},
        {"--split 0.5,-0.5", {"two or three numbers above 0"}},
        {"--split 0.4,0.3,0.3", {"297 test samples of its own", "give two shares"}},
        {"--split 1000,600", {"that is 1600 samples", "has 1500 to split"}},
        {"--split 0.9999,0.0001", {"leaves part 2 without any of the 1500 samples"}},
        {"--stratify", {"--stratify means nothing without --split or --folds"}},
        {"--split-seed 3", {"--split-seed means nothing without --split"}},
        {"--split 0.5,0.5 --split-seed -1", {"--split-seed -1", "2^64 - 1"}},
        {"--shuffle-block 8", {"--shuffle-block means nothing without --shuffle blocks"}},
        {"--folds 1", {"--folds", "2"}},
        {"--folds 1501", {"--folds 1501", "has only 1500 samples"}},
        {"--folds 3 --save x", {"--save does not go with --folds", "keeps none"}},
        {"--folds 3 --load x", {"--load does not go with --folds", "knows the samples"}},
        {"--folds 3 --split 0.5,0.5", {"--split does not go with --folds"}},
        {"--folds 3 --patience 2", {"--patience does not go with --folds", "would choose the model"}},
        {"--folds 3 --keep best", {"--keep does not go with --folds"}},
        {"--folds 3 --checkpoint x", {"--checkpoint does not go with --folds"}},
        {"--folds 3 --optimizer random-search --trials 3", {"random-search does not go with --folds"}},
        {"--data 'inline:1=0.5;2=3.5' --split 0.5,0.5 --stratify --net 'dense 1' --loss squared",
         {"--stratify needs classes"}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ls_outcome *o = lockstep(1, "train --quiet --steps 1 %s", cases[i].words);
        check_status(o, 2, cases[i].words);
        for (int k = 0; k < 2 && cases[i].parts[k]; k++)
            has(o->err, cases[i].parts[k], cases[i].words);
    }
}

#define SPLIT_DATA "--data synthetic:n=1000,shape=20,classes=4,test=0"

/* One file from any ranks, threads and the oracle; blocks of the order, too, and scaling. */
Test(split, the_same_model_file_however_a_run_is_spread, .timeout = LIMIT_S)
{
    static const char words[] =
        "train " SPLIT_DATA " --split 0.7,0.1,0.2 --stratify --split-seed 3 --scale standard "
        "--shuffle blocks --shuffle-block 8 --epochs 2 --quiet --save";
    const struct folder folder = folder_create();
    check_status(lockstep(1, "%s %s/a --serial", words, folder.path), 0, "serial");
    check_status(lockstep(1, "%s %s/b --threads 3", words, folder.path), 0, "3 threads");
    if (LS_WITH_MPI)
        check_status(lockstep(3, "%s %s/b", words, folder.path), 0, "3 ranks");
    size_t n_a, n_b;
    char *a = read_file(in_folder(&folder, "a").path, &n_a),
         *b = read_file(in_folder(&folder, "b").path, &n_b);
    cr_assert(n_a == n_b && memcmp(a, b, n_a) == 0, "another file");
    free(a);
    free(b);
    folder_destroy(&folder);
}

/* The losses that training reported, again, by part; other data are not cut. */
Test(split, eval_finds_the_parts_again, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o = lockstep(
        1, "train " SPLIT_DATA " --split 0.7,0.1,0.2 --scale minmax --epochs 2 --save %s/a --log %s/log",
        folder.path, folder.path);
    check_status(o, 0, "train");
    has(o->out, "700 training + 100 validation + 200 test samples", "train");
    has(o->out, "valid. loss", "train");
    char validation[32] = "", test[32] = "", line[64];
    const char *row = strstr(o->out, "\n    2 "), *end = strstr(o->out, "with the model that is kept: loss ");
    cr_assert(row && end, "%s", o->out);
    cr_assert_eq(sscanf(row, "%*d %*d %*s %31s", validation), 1);
    cr_assert_eq(sscanf(end, "with the model that is kept: loss %31[^,]", test), 1);
    snprintf(line, sizeof line, "\nloss      %s\n", validation);
    o = lockstep(LS_WITH_MPI ? 2 : 1, "eval %s/a " SPLIT_DATA " --part validation", folder.path);
    has(o->out, line, "eval --part validation");
    has(o->out, "100 of synthetic:n=1000,shape=20,classes=4,test=0, the validation part of --split", "eval");
    snprintf(line, sizeof line, "\nloss      %s\n", test);
    has(lockstep(1, "eval %s/a " SPLIT_DATA, folder.path)->out, line, "eval");
    o = lockstep(1, "predict %s/a " SPLIT_DATA " --part validation", folder.path);
    int n_lines = 0;
    for (const char *at = o->out; (at = strchr(at, '\n')); at++)
        n_lines++;
    cr_assert_eq(n_lines, 101, "%s", o->out);
    has(lockstep(1, "eval %s/a " SPLIT_DATA " --no-split", folder.path)->out, "samples   1000 of",
        "--no-split");
    o = lockstep(1, "eval %s/a --data synthetic:n=999,shape=20,classes=4,test=0", folder.path);
    has(o->out, "samples   999 of", "other data");
    has(o->out, ", uncut: not the data, by hash, that the model's --split was of\n", "other data");
    o = lockstep(1, "eval %s/a --data synthetic:n=999,shape=20,classes=4,test=0 --part validation",
                 folder.path);
    check_status(o, 2, "a part of other data");
    has(o->err, "not the data that the model was trained on (by hash)", "a part of other data");
    size_t n;
    char *log = read_file(in_folder(&folder, "log").path, &n);
    has(log, "{\"event\":\"test\",\"samples\":200,\"test_loss\":", "log");
    has(log, "\"validation_loss\":", "log");
    free(log);
    folder_destroy(&folder);
}

/* The same rows and the same log from any ranks, threads and the oracle. */
Test(split, folds_are_the_same_however_they_are_spread, .timeout = LIMIT_S)
{
    static const char words[] = "train --folds 3 --stratify --scale standard --epochs 1 --quiet --log";
    const struct folder folder = folder_create();
    check_status(lockstep(1, "%s %s/a --serial", words, folder.path), 0, "serial");
    check_status(lockstep(LS_WITH_MPI ? 3 : 1, "%s %s/b --threads 2", words, folder.path), 0, "spread");
    size_t n;
    char *a = read_file(in_folder(&folder, "a").path, &n), *b = read_file(in_folder(&folder, "b").path, &n);
    const char *rows_a = strchr(a, '\n'), *rows_b = strchr(b, '\n'); /* the first line says where it ran */
    cr_assert(rows_a && rows_b);
    cr_assert_str_eq(rows_a, rows_b);
    cr_assert_eq(lines_beginning(rows_a, "{\"event\":\"fold\","), 3, "%s", rows_a);
    cr_assert_eq(lines_beginning(rows_a, "{\"event\":\"folds\","), 1, "%s", rows_a);
    free(a);
    free(b);
    folder_destroy(&folder);
}

/* Fold 2 of 2 is what a model gives that was trained on the other samples alone, scaled by their numbers; and
 * mean and deviation are those of the folds: of two numbers a, b the latter is |a - b| / sqrt(2). */
Test(split, a_fold_is_a_training_on_the_other_samples, .timeout = LIMIT_S)
{
    static const char common[] = "--net 'dense 1' --loss squared --init zeros --batch all --lr 0.1 --steps 5 "
                                 "--scale standard --quiet";
    static const float x[8] = {1, 2, 4, 7, -3, 0, 9, 5}, y[8] = {2, 1, 5, 6, -2, 0.5f, 8, 6};
    char all[200] = "", parts[2][2][200] = {{"", ""}, {"", ""}};
    for (int i = 0; i < 8; i++)
        sprintf(all + strlen(all), "%s%g=%g", i ? ";" : "", (double)x[i], (double)y[i]);
    char spec[220];
    snprintf(spec, sizeof spec, "inline:%s", all);
    struct ls_data data = open_data(spec);
    struct ls_error err = {.code = LS_OK};
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(ls_data_fold(&data, 2, k, 0, 1, &err), LS_OK);
        const struct ls_dataset *const both[2] = {&data.train, &data.test};
        for (int p = 0; p < 2; p++)
            for (int64_t i = 0; i < both[p]->n_samples; i++) {
                const int64_t s = ls_dataset_stored(both[p], i);
                sprintf(parts[k][p] + strlen(parts[k][p]), "%s%g=%g", i ? ";" : "", (double)x[s],
                        (double)y[s]);
            }
    }
    ls_data_release(&data);
    char rows[2][3][40];
    double losses[2], mean, deviation;
    const struct ls_outcome *o = lockstep(1, "train --data '%s' --folds 2 %s", spec, common);
    check_status(o, 0, "folds");
    const char *at = o->out;
    for (int k = 0; k < 2; k++, at = strchr(at, '\n') + 1)
        cr_assert_eq(sscanf(at, "%*d %*d %*d %*d %39s %39s %*s %39s", rows[k][0], rows[k][1], rows[k][2]), 3,
                     "%s", o->out);
    cr_assert_eq(sscanf(at, "mean of 2 folds +- standard deviation: test loss %lf +- %lf", &mean, &deviation),
                 2, "%s", at);
    for (int k = 0; k < 2; k++) {
        o = lockstep(1, "train --data 'inline:%s' --test-data 'inline:%s' %s", parts[k][0], parts[k][1],
                     common);
        check_status(o, 0, "one training");
        char loss[40], test[40];
        cr_assert_eq(sscanf(o->out, "%*d %*d %39s %39s", loss, test), 2, "%s", o->out);
        cr_assert_str_eq(rows[k][0], loss);
        cr_assert_str_eq(rows[k][1], test);
        cr_assert_str_eq(rows[k][2], last_hash(o->out).text);
        losses[k] = strtod(test, NULL);
    }
    cr_assert_float_eq(mean, (losses[0] + losses[1]) / 2, 1e-5 * mean);
    cr_assert_float_eq(deviation, fabs(losses[0] - losses[1]) / sqrt(2), 1e-2 * deviation);
}

/* Random search judges its best trial by the test samples, too. */
Test(split, random_search_is_judged_once, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o = lockstep(
        1,
        "train " SPLIT_DATA " --split 0.7,0.1,0.2 --optimizer random-search --trials 5 --quiet --save %s/a",
        folder.path);
    check_status(o, 0, "train");
    char validation[32] = "", test[32] = "", line[64];
    cr_assert_eq(sscanf(o->out, "%*d %*d %*s %31s", validation), 1, "%s", o->out);
    const char *end = strstr(o->out, "that is kept: loss ");
    cr_assert(end && sscanf(end, "that is kept: loss %31[^,]", test) == 1, "%s", o->out);
    snprintf(line, sizeof line, "\nloss      %s\n", validation);
    has(lockstep(1, "eval %s/a " SPLIT_DATA " --part validation", folder.path)->out, line, "validation");
    snprintf(line, sizeof line, "\nloss      %s\n", test);
    has(lockstep(1, "eval %s/a " SPLIT_DATA " --part test", folder.path)->out, line, "test");
    folder_destroy(&folder);
}
