/* --scale: the numbers are contract rule 3's and scikit-learn's, the same however a run is spread; a model
 * carries them; and what they are for: a problem that crawls without. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "compare.h"
#include "files.h"
#include "implementations.h"
#include "lockstep.h"
#include "train/scaling.h"

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

/* --- the numbers --- */

static void expect_numbers(struct compare how, const char *what, size_t n, const float *found,
                           const float *expected)
{
    char message[300];
    cr_assert(compare_floats(how, what, n, found, expected, message, sizeof message), "%s", message);
}

static struct ls_scaling fit(const char *spec, enum ls_scaling_kind kind, const struct ls_ops *ops)
{
    struct ls_data data;
    struct ls_scaling scaling;
    struct ls_comm *comm = NULL;
    struct ls_error err = {.code = LS_OK};
    cr_assert_eq(ls_data_open(&data, spec, NULL, &err), LS_OK, "%s", err.text);
    cr_assert_eq(ls_comm_create_solo(&comm, &err), LS_OK);
    cr_assert_eq(ls_scaling_fit(&scaling, kind, &data.train, ops, comm, &err), LS_OK, "%s", err.text);
    cr_assert_eq(scaling.n_features, data.train.n_features);
    ls_comm_destroy(&comm);
    ls_data_release(&data);
    return scaling;
}

/* Five features: small numbers, a mean far above the deviation, a deviation far below 1, none, an outlier.
 * The numbers are those of StandardScaler and MinMaxScaler of scikit-learn 1.2.1 in binary64. */
#define FIVE                                                                                                 \
    "inline:1,1000000,0.001,7,-3=0;2,1000001.5,0.002,7,4=0;4,1000003,-0.004,7,0.5=0;"                        \
    "8,999998,0.0005,7,-2.25=0;-1,1000000.5,0.003,7,100=0"

Test(scaling, the_numbers_are_those_of_scikit_learn)
{
    static const float mean[] = {2.8f, 1000000.6f, 0.0005f, 7, 19.85f},
                       standard[] = {0.326860225f, 0.604122093f, 415.227383714f, 1, 0.024906465f},
                       least[] = {-1, 999998, -0.004f, 7, -3},
                       minmax[] = {1.0f / 9, 0.2f, 142.857142f, 1, 1.0f / 103};
    const struct ls_ops *const all[] = {&ls_ops_serial, ls_ops_parallel(NULL)};
    for (size_t i = 0; i < 2; i++) {
        struct ls_scaling s = fit(FIVE, LS_SCALE_STANDARD, all[i]);
        expect_numbers(COMPARE_CLOSE(1e-10, 2e-7), "means", 5, s.offset, mean);
        expect_numbers(COMPARE_CLOSE(0, 4e-7), "1 / deviations", 5, s.factor, standard);
        ls_scaling_release(&s);
        s = fit(FIVE, LS_SCALE_MINMAX, all[i]);
        expect_numbers(COMPARE_BITS, "least", 5, s.offset, least);
        expect_numbers(COMPARE_CLOSE(0, 1.2e-7), "1 / ranges", 5, s.factor, minmax);
        ls_scaling_release(&s);
    }
}

Test(scaling, digits_are_scaled_as_by_scikit_learn)
{
    static const int feature[] = {0, 2, 20, 36, 63};
    static const float mean[] = {0, 0.326541667f, 0.436916667f, 0.640625000f, 0.026416667f},
                       factor[] = {1, 3.355775979f, 2.609037772f, 2.693657407f, 7.936738806f};
    struct ls_scaling s = fit("digits", LS_SCALE_STANDARD, ls_ops_parallel(NULL));
    for (int i = 0; i < 5; i++) {
        expect_numbers(COMPARE_CLOSE(0, 3e-7), "mean", 1, &s.offset[feature[i]], &mean[i]);
        expect_numbers(COMPARE_CLOSE(0, 6e-7), "1 / deviation", 1, &s.factor[feature[i]], &factor[i]);
    }
    ls_scaling_release(&s);
}

/* Contract rule 3 for one feature, as the header of train/scaling.h says it. */
static void by_the_formula(ptrdiff_t n, ptrdiff_t K, const float *x, float *offset, float *factor)
{
    float lo = x[0], hi = x[0], leaf = 0.0f, leaf2 = 0.0f;
    for (ptrdiff_t i = 0; i < n; i++) {
        lo = fminf(lo, x[i * K]);
        hi = fmaxf(hi, x[i * K]);
    }
    struct ls_tree tree = {.count = 0}, first = {.count = 0}, second = {.count = 0};
    for (ptrdiff_t i = 0; i < n; i++) {
        leaf = fmaf(x[i * K], 1.0f, leaf);
        if (i % 32 == 31 || i + 1 == n) {
            ls_tree_push(&tree, leaf);
            leaf = 0.0f;
        }
    }
    const float r = 1.0f / (float)n, about = ls_tree_sum(&tree) * r, inverse = 1.0f / (hi - lo);
    leaf = 0.0f;
    for (ptrdiff_t i = 0; i < n; i++) {
        const float t = (x[i * K] - about) * inverse;
        leaf = fmaf(t, 1.0f, leaf);
        leaf2 = fmaf(t, t, leaf2);
        if (i % 32 == 31 || i + 1 == n) {
            ls_tree_push(&first, leaf);
            ls_tree_push(&second, leaf2);
            leaf = leaf2 = 0.0f;
        }
    }
    const float a = ls_tree_sum(&first) * r, q = ls_tree_sum(&second) * r;
    *offset = fmaf(hi - lo, a, about);
    *factor = 1.0f / ((hi - lo) * sqrtf(fmaf(-a, a, q)));
}

/* 4,133 samples: more than a pass, leaves that are no power of two, a short last one. */
Test(scaling, sums_are_those_of_the_contract, .timeout = 60)
{
    static const char spec[] = "synthetic:n=4133,shape=37,classes=3";
    enum { N = 4133, K = 37 };
    struct ls_data data;
    struct ls_error err = {.code = LS_OK};
    cr_assert_eq(ls_data_open(&data, spec, NULL, &err), LS_OK, "%s", err.text);
    static float x[N * K];
    for (int64_t i = 0; i < N; i++)
        ls_dataset_gather_raw(&data.train, i, x + i * K);
    ls_data_release(&data);
    float offset[K], factor[K];
    for (ptrdiff_t k = 0; k < K; k++)
        by_the_formula(N, K, x + k, &offset[k], &factor[k]);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        struct ls_scaling s = fit(spec, LS_SCALE_STANDARD, ops);
        expect_numbers(COMPARE_BITS, ops->name, K, s.offset, offset);
        expect_numbers(COMPARE_BITS, ops->name, K, s.factor, factor);
        ls_scaling_release(&s);
    }
    cr_assert_eq(ls_memory_balance(), 0);
}

/* A deviation whose square is no binary32, at both ends. */
Test(scaling, ranges_near_the_ends_of_binary32)
{
    struct ls_scaling s = fit("inline:1e-30,1e30=0;-1e-30,-1e30=0;1e-30,1e30=0;-1e-30,-1e30=0",
                              LS_SCALE_STANDARD, &ls_ops_serial);
    const float zeros[2] = {0, 0}, factors[2] = {1e30f, 1e-30f};
    expect_numbers(COMPARE_BITS, "offsets", 2, s.offset, zeros);
    expect_numbers(COMPARE_CLOSE(0, 3e-7), "factors", 2, s.factor, factors);
    ls_scaling_release(&s);
}

/* --- as users meet it --- */

Test(scaling, refusals_say_what_was_found, .timeout = LIMIT_S)
{
    static const struct {
        const char *words, *part;
        int status;
    } cases[] = {
        {"--scale standart", "standard", 2},
        {"--scale standard --normalise channel", "--normalise channel and --scale standard", 2},
        {"--scale minmax --net 'dense 1' --loss squared --data 'inline:3e38,1=1;-3e38,2=2'",
         "feature 0 (from 0) of \"inline:3e38,1=1;-3e38,2=2\" reach from -3e+38 to 3e+38", 3},
        {"--scale standard --net 'dense 1' --loss squared --data 'inline:1,1e-40=1;2,2e-40=2'", "feature 1",
         3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct ls_outcome *o = lockstep(1, "train --quiet --steps 1 %s", cases[i].words);
        check_status(o, cases[i].status, cases[i].words);
        has(o->err, cases[i].part, cases[i].words);
    }
    check_status(lockstep(1, "train --quiet --steps 1 --scale standard --normalise none"), 0, "none is none");
}

/* The same file, byte for byte: the scaling is in it. */
static void expect_same_file(const struct folder *folder, const char *name, const char *expected, size_t n)
{
    const struct place place = in_folder(folder, name);
    size_t found = 0;
    char *bytes = read_file(place.path, &found);
    cr_assert_eq(found, n, "%s: %zu bytes, expected %zu", name, found, n);
    cr_assert_eq(memcmp(bytes, expected, n), 0, "%s differs", name);
    free(bytes);
}

Test(scaling, the_same_model_file_however_a_run_is_spread, .timeout = LIMIT_S)
{
    static const char *const kinds[] = {"standard", "minmax"};
    for (int i = 0; i < 2; i++) {
        const struct folder folder = folder_create();
        static char words[200];
        snprintf(words, sizeof words, "train --scale %s --augment shift=1 --epochs 1 --quiet --save %s/",
                 kinds[i], folder.path);
        check_status(lockstep(1, "%sa --serial", words), 0, "serial");
        const struct place serial = in_folder(&folder, "a");
        size_t n = 0;
        char *bytes = read_file(serial.path, &n);
        check_status(lockstep(1, "%sb --threads 3", words), 0, "3 threads");
        expect_same_file(&folder, "b", bytes, n);
        check_status(lockstep_after(1, "LOCKSTEP_ISA=portable", "%sc", words), 0, "portable");
        expect_same_file(&folder, "c", bytes, n);
        for (int ranks = 3; LS_WITH_MPI && ranks <= 5; ranks += 2) {
            check_status(lockstep(ranks, "%sd", words), 0, "ranks");
            expect_same_file(&folder, "d", bytes, n);
        }
        free(bytes);
        folder_destroy(&folder);
    }
}

Test(scaling, a_model_is_used_as_it_was_scaled, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, "train --scale standard --epochs 2 --quiet --save %s/a", folder.path);
    check_status(o, 0, "train");
    char loss[32] = "", line[64];
    cr_assert_eq(sscanf(o->out, "%*d %*d %*s %31s", loss), 1, "%s", o->out);
    snprintf(line, sizeof line, "loss      %s\n", loss);
    has(lockstep(1, "eval %s/a", folder.path)->out, line, "eval");
    has(lockstep(1, "train --load %s/a --lr 0 --epochs 1 --quiet", folder.path)->out, loss, "--load");
    o = lockstep(1, "train --load %s/a --lr 0 --epochs 1 --quiet --scale none", folder.path);
    cr_assert(!strstr(o->out, loss), "--scale none is the user's word:\n%s", o->out);
    o = lockstep(1, "eval %s/a --data inline:1,2=3", folder.path);
    check_status(o, 3, "eval of other data");
    has(o->err, "64 numbers, a sample has 2 features", "eval of other data");
    const struct place place = in_folder(&folder, "a");
    size_t n = 0;
    char *bytes = read_file(place.path, &n), *word = memmem(bytes, n, "\"standard\"", 10);
    cr_assert_not_null(word);
    word[2] = 'd';
    write_file(place.path, bytes, n);
    free(bytes);
    o = lockstep(1, "eval %s/a", folder.path);
    check_status(o, 3, "an unknown scaling");
    has(o->err, "unknown scaling 'sdandard'", "an unknown scaling");
    folder_destroy(&folder);
}

/* As many features as a photograph of ImageNet has: 3 MB of metadata. */
Test(scaling, of_150528_features, .timeout = LIMIT_S)
{
    static const char data[] = "--data synthetic:n=40,shape=150528,classes=2";
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, "train %s --net 'dense 2' --scale standard --lr 1e-5 --epochs 1 --quiet --save %s/a",
                 data, folder.path);
    check_status(o, 0, "train");
    check_status(lockstep(1, "eval %s/a %s", folder.path, data), 0, "eval");
    o = lockstep(1, "info %s/a", folder.path);
    cr_assert_lt(strlen(o->out), 3000, "%zu characters of info", strlen(o->out));
    folder_destroy(&folder);
}

/* --- what it is for --- */

#define SLOPES                                                                                               \
    "train --net 'dense 1' --loss squared --init zeros --batch all --quiet "                                 \
    "--data 'inline:0,0=1;1,500=4.5;-1,200=-1.8;0.5,-1000=1.5;-0.5,900=0.4;1,-400=3.6;-1,-700=-2.7;"         \
    "0.3,1000=2.9'"

static double loss_of(const char *words)
{
    const struct ls_outcome *o = lockstep(1, SLOPES " %s", words);
    check_status(o, 0, words);
    double loss = -1;
    cr_assert_eq(sscanf(o->out, "%*d %*d %lf", &loss), 1, "%s", o->out);
    return loss;
}

/* y = 3 a + b / 1000 + 1, a of size 1 and b of size 1000.  The curvatures are 2 and 937,500, so no rate above
 * 2 / 937,500 is stable, and at that rate the slope of a needs a million steps. */
Test(scaling, a_problem_that_crawls_unscaled_and_does_not_scaled, .timeout = LIMIT_S)
{
    check_status(lockstep(1, SLOPES " --lr 2.2e-6 --steps 2000"), 4, "above the largest stable rate");
    cr_assert_gt(loss_of("--lr 2.1e-6 --steps 20000"), 5.0, "unscaled, 20,000 steps");
    cr_assert_lt(loss_of("--lr 0.3 --steps 100 --scale standard"), 1e-11, "standard, 100 steps");
    cr_assert_lt(loss_of("--lr 0.45 --steps 200 --scale minmax"), 1e-6, "minmax, 200 steps");
}
