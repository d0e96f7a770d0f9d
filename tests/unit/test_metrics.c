/* Metrics: against scikit-learn's numbers, through the engine that evaluates; the same bits from every
 * implementation.  lockstep eval, which prints them, is in test_eval.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "train/step.h"

enum { LIMIT_S = 120, MOST_OUTPUTS = 10, MOST_OPS = 8 };
#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ls_error err;

static int list_ops(const struct ls_ops *ops[MOST_OPS])
{
    int n = 0;
    ops[n++] = &ls_ops_serial;
    for (const char *const *isa = ls_ops_isas(); *isa && n < MOST_OPS; isa++)
        ops[n++] = ls_ops_parallel(*isa);
    return n;
}

/* A net whose outputs are its inputs, to the bit, so that a case is a table of outputs. */
struct bench {
    struct ls_net net;
    float *parameters;
    struct ls_comm *comm;
};

static struct bench bench_of(const char *text, ptrdiff_t N)
{
    struct bench bench;
    cr_assert(ls_net_create(&bench.net, text, ls_shape_of(1, &N), &err) == LS_OK, "%s", err.text);
    cr_assert(ls_comm_create_solo(&bench.comm, &err) == LS_OK);
    bench.parameters = calloc((size_t)bench.net.n_floats, sizeof(float));
    return bench;
}

static struct bench bench_create(ptrdiff_t N)
{
    char text[40];
    snprintf(text, sizeof text, "dense %td nobias", N);
    struct bench bench = bench_of(text, N);
    for (ptrdiff_t j = 0; j < N; j++)
        bench.parameters[j * N + j] = 1.0f;
    return bench;
}

static void bench_destroy(struct bench *bench)
{
    ls_net_release(&bench->net);
    ls_comm_destroy(&bench->comm);
    free(bench->parameters);
}

static struct ls_evaluation evaluate(const struct bench *bench, const struct ls_ops *ops,
                                     struct ls_loss_rule loss, const struct ls_dataset *data,
                                     int64_t microbatch, struct ls_metrics *metrics)
{
    const struct ls_engine_plan plan = {
        .loss = loss, .microbatch = microbatch, .n_evaluated = data->n_samples, .n_values = data->n_values};
    struct ls_engine engine;
    struct ls_evaluation result;
    cr_assert(ls_engine_create(&engine, &bench->net, ops, bench->comm, &plan, &err) == LS_OK, "%s", err.text);
    engine.metrics = metrics;
    for (int twice = 0; twice < 2; twice++) /* the second starts from nothing, too */
        cr_assert(ls_engine_evaluate(&engine, bench->parameters, data, &result, &err) == LS_OK, "%s",
                  err.text);
    ls_engine_release(&engine);
    return result;
}

/* --- classes --- */

struct table {
    struct ls_dataset data;
    float *z, *t;
    int32_t *labels;
};

static void table_free(struct table *table)
{
    free(table->z);
    free(table->t);
    free(table->labels);
}

/* y = (i^2 + 3 i) mod 11 mod C;  z_j = ((i (7 + 5 j) + 31 j^2) mod 64) / 16, plus 1.5 at the label: with many
 * ties. */
static struct table class_table(int32_t n, int32_t C)
{
    struct table table = {.z = calloc((size_t)(n * C), sizeof(float)),
                          .labels = calloc((size_t)n, sizeof(int32_t))};
    for (int32_t i = 0; i < n; i++) {
        table.labels[i] = (i * i + 3 * i) % 11 % C;
        for (int32_t j = 0; j < C; j++)
            table.z[i * C + j] =
                (float)((i * (7 + 5 * j) + 31 * j * j) % 64) / 16.0f + (table.labels[i] == j ? 1.5f : 0.0f);
    }
    table.data = (struct ls_dataset){.name = "table",
                                     .n_samples = n,
                                     .n_dims = 1,
                                     .dims = {C},
                                     .n_features = C,
                                     .numbers = table.z,
                                     .labels = table.labels,
                                     .n_classes = C};
    return table;
}

/* By scikit-learn 1.2.1 with zero_division=0; top-k by its own rule, as sklearn breaks ties otherwise. */
struct class_case {
    int32_t n, C, k;
    int64_t n_correct, n_in_top;
    double precision, recall, f1;    /* macro */
    double precisions[MOST_OUTPUTS]; /* of each class */
    double recalls[MOST_OUTPUTS];
    double f1s[MOST_OUTPUTS];
    int64_t confusion[MOST_OUTPUTS * MOST_OUTPUTS];
};
static const struct class_case class_cases[] = {
    {100,
     7,
     5,
     52,
     99,
     0.3850654562728866,
     0.37087087087087084,
     0.37489581418152845,
     {0.7407407407407407, 0, 0.4444444444444444, 0.5294117647058824, 0.5263157894736842, 0,
      0.45454545454545453},
     {0.5405405405405406, 0, 0.4444444444444444, 0.5, 0.5555555555555556, 0, 0.5555555555555556},
     {0.625, 0, 0.4444444444444444, 0.5142857142857143, 0.5405405405405405, 0, 0.5},
     {20, 1, 6, 2, 4, 1, 3, 0,  0, 0, 0, 0, 0, 0, 2, 1, 8, 3, 3, 0, 1, 2, 4, 1, 9,
      1,  0, 1, 2, 1, 2, 2, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 5}},
    {301,
     10,
     5,
     145,
     260,
     0.3182767377060855,
     0.24171717171717172,
     0.2694583731255763,
     {0.782608695652174, 0, 0, 0, 0.6363636363636364, 0, 0.3783783783783784, 0.6666666666666666, 0, 0.71875},
     {0.4909090909090909, 0, 0, 0, 0.509090909090909, 0, 0.5185185185185185, 0.4727272727272727, 0,
      0.42592592592592593},
     {0.6033519553072626, 0, 0, 0, 0.5656565656565656, 0, 0.4375, 0.553191489361702, 0, 0.5348837209302325},
     {54, 7, 11, 8, 4, 1, 11, 5, 5, 4, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0,  0, 0, 0, 0, 0,
      0,  0, 0,  0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 5, 1,  3, 3, 28, 0, 5, 4, 4, 2,
      0,  0, 0,  0, 0, 0, 0,  0, 0, 0, 1, 2, 4, 1, 2, 0, 14, 1, 1, 1,  5, 2, 0, 7, 6,
      0,  3, 26, 4, 2, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 4, 0,  3, 7, 4,  0, 4, 3, 6, 23}},
    {40,
     3,
     2,
     28,
     37,
     0.5777777777777778,
     0.46206308610400687,
     0.5125,
     {0.7333333333333333, 1, 0},
     {0.6470588235294118, 0.7391304347826086, 0},
     {0.6875, 0.85, 0},
     {11, 0, 6, 4, 17, 2, 0, 0, 0}},
};

static int near(double found, double expected)
{
    return fabs(found - expected) <= 1e-15;
}

static void check_classes(const struct class_case *c, const struct ls_evaluation *result,
                          const struct ls_metrics *m)
{
    cr_assert(m->n_classes == c->C && m->n_outputs == 0 && m->top_k == c->k);
    cr_assert(result->n_correct == c->n_correct && result->rmse == -1.0f, "%lld correct",
              (long long)result->n_correct);
    cr_assert(m->n_in_top[0] == c->n_in_top, "%lld in the top", (long long)m->n_in_top[0]);
    const struct ls_class_scores macro = ls_metrics_macro(m);
    cr_assert(near(macro.precision, c->precision) && near(macro.recall, c->recall) && near(macro.f1, c->f1),
              "%.17g %.17g %.17g", macro.precision, macro.recall, macro.f1);
    for (int32_t k = 0; k < c->C; k++) {
        const struct ls_class_scores s = ls_metrics_of_class(m, k);
        cr_assert(near(s.precision, c->precisions[k]) && near(s.recall, c->recalls[k]) &&
                      near(s.f1, c->f1s[k]),
                  "class %d: %.17g %.17g %.17g", k, s.precision, s.recall, s.f1);
        cr_assert(s.recall_defined == (m->n_support[k] > 0) &&
                  s.precision_defined == (m->n_predicted[k] > 0));
    }
    for (int32_t i = 0; i < c->C * c->C; i++)
        cr_assert(m->confusion[i] == c->confusion[i], "confusion[%d]: %lld, expected %lld", i,
                  (long long)m->confusion[i], (long long)c->confusion[i]);
}

Test(metrics, classes_are_as_scikit_learn_counts_them, .timeout = LIMIT_S)
{
    const struct ls_ops *ops[MOST_OPS];
    const int n_ops = list_ops(ops);
    ls_ops_set_threads(2);
    for (size_t i = 0; i < COUNT(class_cases); i++) {
        const struct class_case *c = &class_cases[i];
        struct table table = class_table(c->n, c->C);
        struct bench bench = bench_create(c->C);
        const struct ls_loss_rule softmax = {.kind = LS_LOSS_SOFTMAX};
        for (int o = 0; o < n_ops; o++) {
            struct ls_metrics m;
            cr_assert(ls_metrics_create(&m, &softmax, c->C, &table.data, c->k, &err) == LS_OK);
            const struct ls_evaluation result = evaluate(&bench, ops[o], softmax, &table.data, 7, &m),
                                       bare = evaluate(&bench, ops[o], softmax, &table.data, 7, NULL);
            check_classes(c, &result, &m);
            cr_assert(memcmp(&result.loss, &bare.loss, sizeof(float)) == 0 &&
                      result.n_correct == bare.n_correct);
            ls_metrics_release(&m);
        }
        bench_destroy(&bench);
        table_free(&table);
    }
    cr_assert_eq(ls_memory_balance(), 0);
}

/* sklearn: precision_recall_fscore_support([0, 0, 1], [0, 1, 1], average="macro") knows two classes, not
 * three; precision 1 and 1/2, recall 1/2 and 1, F1 2/3 twice. */
Test(metrics, an_absent_class_is_not_averaged)
{
    const float z[] = {1, 0, 0, 0, 1, 0, 0, 1, 0};
    const int32_t labels[] = {0, 0, 1};
    const struct ls_dataset data = {.n_samples = 3, .n_classes = 3, .labels = labels};
    const struct ls_loss_rule hinge = {.kind = LS_LOSS_HINGE};
    struct ls_metrics m;
    cr_assert(ls_metrics_create(&m, &hinge, 3, &data, 0, &err) == LS_OK);
    ls_metrics_count(&m, hinge.kind, 3, 3, z, labels);
    const struct ls_class_scores macro = ls_metrics_macro(&m), absent = ls_metrics_of_class(&m, 2);
    cr_assert(macro.precision == 0.75 && macro.recall == 0.75 && near(macro.f1, 2.0 / 3));
    cr_assert(!absent.precision_defined && !absent.recall_defined && !absent.f1_defined && absent.f1 == 0.0);
    cr_assert(m.n_in_top[0] == 0, "top-k was not asked for");
    ls_metrics_release(&m);
}

Test(metrics, one_output_stands_for_two_classes)
{
    const float z[] = {-0.1f, 0.2f, 0.7f, 0.0f};
    const int32_t labels[] = {0, 0, 1, 1};
    const struct ls_dataset data = {.n_samples = 4, .n_classes = 2, .labels = labels};
    static const struct {
        enum ls_loss kind;
        int64_t confusion[4];
    } cases[] = {{LS_LOSS_BCE, {1, 1, 1, 1}},
                 {LS_LOSS_HINGE, {1, 1, 1, 1}},
                 {LS_LOSS_SQUARED, {2, 0, 1, 1}},
                 {LS_LOSS_HUBER, {2, 0, 1, 1}}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct ls_loss_rule rule = {.kind = cases[i].kind};
        struct ls_metrics m;
        cr_assert(ls_metrics_create(&m, &rule, 1, &data, 5, &err) == LS_OK);
        ls_metrics_count(&m, rule.kind, 4, 1, z, labels);
        cr_assert(m.n_classes == 2 && m.top_k == 0);
        cr_assert(memcmp(m.confusion, cases[i].confusion, sizeof cases[i].confusion) == 0, "case %zu", i);
        ls_metrics_release(&m);
    }
    const struct ls_dataset three = {.n_samples = 4, .n_classes = 3, .labels = labels};
    cr_assert(!ls_predicts_classes(1, &three) && ls_predicts_classes(3, &three));
}

/* An output counts above the label's if larger, or equal and of a lower index. */
Test(metrics, top_k_and_its_ties)
{
    const float z[] = {2, 3, 3, 1, 3}, broken[] = {0, NAN, 0};
    static const int first_k[] = {4, 1, 2, 5, 3}; /* from which k on the label is in */
    for (int32_t label = 0; label < 5; label++)
        for (int32_t k = 1; k <= 6; k++)
            cr_assert(ls_in_top_k(k, 5, z, label) == (k >= first_k[label]), "label %d, k %d", label, k);
    cr_assert(ls_in_top_k(1, 3, broken, 0) && !ls_in_top_k(3, 3, broken, 1));
    for (int32_t label = 0; label < 5; label++)
        cr_assert(ls_in_top_k(1, 5, z, label) == (ls_predicted_class(LS_LOSS_SOFTMAX, 5, z) == label));
}

/* Without a matrix the rest is counted all the same. */
Test(metrics, too_many_classes_for_a_matrix)
{
    enum { C = LS_CONFUSION_CLASSES + 1 };
    float *z = calloc(C, sizeof *z);
    const int32_t label = C - 1;
    const struct ls_dataset data = {.n_samples = 1, .n_classes = C, .labels = &label};
    const struct ls_loss_rule softmax = {.kind = LS_LOSS_SOFTMAX};
    struct ls_metrics m;
    cr_assert(ls_metrics_create(&m, &softmax, C, &data, 5, &err) == LS_OK);
    z[label] = 1.0f;
    ls_metrics_count(&m, softmax.kind, 1, C, z, &label);
    cr_assert(!m.confusion && m.n_right[label] == 1 && m.n_in_top[0] == 1);
    cr_assert(ls_metrics_macro(&m).f1 == 1.0);
    ls_metrics_release(&m);
    free(z);
}

/* --- numbers --- */

/* t = ((i (13 + 2 j) + 5 j) mod 97) / 32, less 1 in output 1, more 100 in output 2, where a mean that is not
 * taken first would cost the R2 its digits; z = t + ((29 i + 7 j) mod 41 - 20) / 64. */
static struct table number_table(int32_t n, int32_t N)
{
    struct table table = {.z = calloc((size_t)(n * N), sizeof(float)),
                          .t = calloc((size_t)(n * N), sizeof(float))};
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = 0; j < N; j++) {
            table.t[i * N + j] = (float)((i * (13 + 2 * j) + 5 * j) % 97) / 32.0f + (j == 1   ? -1.0f
                                                                                     : j == 2 ? 100.0f
                                                                                              : 0.0f);
            table.z[i * N + j] = table.t[i * N + j] + (float)((i * 29 + 7 * j) % 41 - 20) / 64.0f;
        }
    table.data = (struct ls_dataset){.name = "table",
                                     .n_samples = n,
                                     .n_dims = 1,
                                     .dims = {N},
                                     .n_features = N,
                                     .numbers = table.z,
                                     .values = table.t,
                                     .n_values = N};
    return table;
}

struct number_case {
    int32_t n, N;
    struct {
        double rmse, mae, r2;
    } mean, outputs[3];
};
static const struct number_case number_cases[] = {
    {1000,
     3,
     {0.18495934898489766, 0.16015625, 0.9553296776916117},
     {{0.18494417, 0.16010937, 0.95533862},
      {0.18497519, 0.16021875, 0.95529005},
      {0.18495869, 0.16014063, 0.95536037}}},
    {37,
     1,
     {0.18585639413231084, 0.16005067567567569, 0.954170302535865},
     {{0.18585639413231084, 0.16005067567567569, 0.954170302535865}}},
};

static int close_to(float found, double expected)
{
    return fabs((double)found - expected) <= 1e-6 * fabs(expected);
}

static void check_numbers(const struct number_case *c, const struct ls_evaluation *result,
                          const struct ls_metrics *m)
{
    const struct ls_number_scores mean = ls_metrics_of_outputs(m);
    cr_assert(m->n_outputs == c->N && m->n_classes == 0 && result->n_correct == -1);
    cr_assert(close_to(mean.rmse, c->mean.rmse) && close_to(mean.mae, c->mean.mae) &&
                  close_to(mean.r2, c->mean.r2),
              "%.9g %.9g %.9g", (double)mean.rmse, (double)mean.mae, (double)mean.r2);
    cr_assert(memcmp(&result->rmse, &mean.rmse, sizeof(float)) == 0, "training's RMSE is another");
    for (ptrdiff_t j = 0; j < c->N; j++) {
        const struct ls_number_scores one = ls_metrics_of_output(m, j);
        cr_assert(close_to(one.rmse, c->outputs[j].rmse) && close_to(one.mae, c->outputs[j].mae) &&
                      close_to(one.r2, c->outputs[j].r2),
                  "output %td: %.9g %.9g %.9g", j, (double)one.rmse, (double)one.mae, (double)one.r2);
    }
}

Test(metrics, numbers_are_those_of_scikit_learn, .timeout = LIMIT_S)
{
    const struct ls_ops *ops[MOST_OPS];
    const int n_ops = list_ops(ops);
    const struct ls_loss_rule huber = {.kind = LS_LOSS_HUBER, .delta = 0.1f};
    for (size_t i = 0; i < COUNT(number_cases); i++) {
        const struct number_case *c = &number_cases[i];
        struct table table = number_table(c->n, c->N);
        struct bench bench = bench_create(c->N);
        float first[4 * 3] = {0};
        for (int o = 0; o < n_ops; o++) {
            struct ls_metrics m;
            ls_ops_set_threads(1 + o % 3);
            cr_assert(ls_metrics_create(&m, &huber, c->N, &table.data, 5, &err) == LS_OK);
            const struct ls_evaluation result = evaluate(&bench, ops[o], huber, &table.data, 7, &m),
                                       bare = evaluate(&bench, ops[o], huber, &table.data, 7, NULL);
            check_numbers(c, &result, &m);
            cr_assert(memcmp(&result, &bare, sizeof bare) == 0, "metrics change the evaluation");
            if (o == 0)
                memcpy(first, m.squared, (size_t)(4 * c->N) * sizeof(float));
            cr_assert(memcmp(first, m.squared, (size_t)(4 * c->N) * sizeof(float)) == 0, "%s: other bits",
                      ops[o]->name);
            ls_metrics_release(&m);
        }
        bench_destroy(&bench);
        table_free(&table);
    }
    cr_assert_eq(ls_memory_balance(), 0);
}

/* Several passes of the engine, the last one short: each sum as the contract writes it. */
Test(metrics, sums_are_trees_over_leaves, .timeout = LIMIT_S)
{
    enum { N_ROWS = 10001, M = 3 };
    struct table table = number_table(N_ROWS, 1);
    struct bench bench = bench_create(1);
    const struct ls_loss_rule squared = {.kind = LS_LOSS_SQUARED};
    struct ls_metrics m;
    cr_assert(ls_metrics_create(&m, &squared, 1, &table.data, 0, &err) == LS_OK);
    evaluate(&bench, ls_ops_parallel(NULL), squared, &table.data, M, &m);
    float *v = calloc(N_ROWS, sizeof *v);
    for (int kind = 0; kind < 3; kind++) {
        for (int i = 0; i < N_ROWS; i++) {
            const float e = table.z[i] - table.t[i], d = table.t[i] - m.mean[0];
            v[i] = kind == 0 ? e * e : kind == 1 ? fabsf(e) : d * d;
        }
        const float sum = ls_ops_serial.leaf_sum(N_ROWS, M, v);
        const float *found = kind == 0 ? m.squared : kind == 1 ? m.absolute : m.spread;
        cr_assert(memcmp(found, &sum, sizeof sum) == 0, "sum %d: %a, expected %a", kind, (double)*found,
                  (double)sum);
    }
    const float mean = ls_ops_serial.leaf_sum(N_ROWS, M, table.t) * (1.0f / (float)N_ROWS);
    cr_assert(memcmp(m.mean, &mean, sizeof mean) == 0);
    ls_metrics_release(&m);
    free(v);
    bench_destroy(&bench);
    table_free(&table);
}

/* Batch norm makes training's passes as large as the batch; evaluation's, and their buffers, stay small. */
Test(metrics, batch_norm_is_evaluated_in_passes, .timeout = LIMIT_S)
{
    enum { N_ROWS = 10001, M = 3 };
    struct table table = number_table(N_ROWS, 1);
    struct bench bench = bench_create(1), norm = bench_of("batchnorm", 1);
    const struct ls_loss_rule squared = {.kind = LS_LOSS_SQUARED};
    struct ls_metrics m[2];
    for (int i = 0; i < 2; i++) {
        cr_assert(ls_metrics_create(&m[i], &squared, 1, &table.data, 0, &err) == LS_OK);
        evaluate(i ? &norm : &bench, ls_ops_parallel(NULL), squared, &table.data, M, &m[i]);
    }
    cr_assert(memcmp(m[0].mean, m[1].mean, sizeof(float)) == 0, "the targets' mean depends on the net");
    cr_assert(memcmp(m[0].spread, m[1].spread, sizeof(float)) == 0, "the targets' spread depends on the net");
    for (int i = 0; i < 2; i++)
        ls_metrics_release(&m[i]);
    bench_destroy(&norm);
    bench_destroy(&bench);
    table_free(&table);
    cr_assert_eq(ls_memory_balance(), 0);
}

/* sklearn's conventions: r2_score([1, 1, 1], [1, 1, 1]) == 1, r2_score([1, 1, 1], [1, 2, 1]) == 0; of one
 * sample it is not defined. */
Test(metrics, r2_of_equal_targets)
{
    float squared = 0.0f, absolute = 0.0f, mean = 1.0f, spread = 0.0f;
    struct ls_metrics m = {.n_samples = 3,
                           .n_outputs = 1,
                           .squared = &squared,
                           .absolute = &absolute,
                           .mean = &mean,
                           .spread = &spread};
    cr_assert(ls_metrics_of_output(&m, 0).r2 == 1.0f);
    squared = 1.0f;
    cr_assert(ls_metrics_of_output(&m, 0).r2 == 0.0f);
    m.n_samples = 1;
    cr_assert(isnan(ls_metrics_of_output(&m, 0).r2));
}
