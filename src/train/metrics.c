/* Owns the arithmetic of metrics.  Who feeds it which rows is step.c's affair. */
#include "train/metrics.h"

#include <math.h>

#include "base/contract.h"
#include "base/memory.h"

int ls_predicts_classes(ptrdiff_t N, const struct ls_dataset *data)
{
    return data->n_classes > 0 && (N > 1 || data->n_classes <= 2);
}

int ls_compares_numbers(const struct ls_loss_rule *rule, const struct ls_dataset *data)
{
    return !ls_loss_takes_labels(rule, data) && data->values &&
           (rule->kind == LS_LOSS_SQUARED || rule->kind == LS_LOSS_HALF_SQUARED ||
            rule->kind == LS_LOSS_HUBER);
}

static enum ls_code create_counts(struct ls_metrics *metrics, struct ls_error *err)
{
    const size_t C = (size_t)metrics->n_classes, matrix = C <= LS_CONFUSION_CLASSES ? C * C : 0;
    metrics->n_counts = (int)(3 * C + 1 + matrix);
    metrics->counts = ls_alloc((size_t)metrics->n_counts, sizeof *metrics->counts, "counts", err);
    if (!metrics->counts)
        return LS_FAILED;
    metrics->n_support = metrics->counts;
    metrics->n_predicted = metrics->counts + C;
    metrics->n_right = metrics->counts + 2 * C;
    metrics->n_in_top = metrics->counts + 3 * C;
    metrics->confusion = matrix ? metrics->counts + 3 * C + 1 : NULL;
    return LS_OK;
}

static enum ls_code create_sums(struct ls_metrics *metrics, struct ls_error *err)
{
    const ptrdiff_t N = metrics->n_outputs;
    metrics->squared = ls_alloc((size_t)N, 4 * sizeof *metrics->squared, "sums", err);
    if (!metrics->squared)
        return LS_FAILED;
    metrics->absolute = metrics->squared + N;
    metrics->mean = metrics->squared + 2 * N;
    metrics->spread = metrics->squared + 3 * N;
    return LS_OK;
}

enum ls_code ls_metrics_create(struct ls_metrics *metrics, const struct ls_loss_rule *rule, ptrdiff_t N,
                               const struct ls_dataset *data, int32_t top_k, struct ls_error *err)
{
    *metrics = (struct ls_metrics){.n_samples = data->n_samples};
    enum ls_code code = LS_OK;
    if (ls_predicts_classes(N, data)) {
        metrics->n_classes = N > 1 ? (int32_t)N : 2;
        metrics->top_k = N > 1 ? top_k : 0;
        code = create_counts(metrics, err);
    }
    if (code == LS_OK && ls_compares_numbers(rule, data)) {
        metrics->n_outputs = N;
        code = create_sums(metrics, err);
    }
    return code;
}

void ls_metrics_release(struct ls_metrics *metrics)
{
    if (!metrics)
        return;
    ls_free(metrics->counts);
    ls_free(metrics->squared);
    *metrics = (struct ls_metrics){0};
}

int32_t ls_predicted_class(enum ls_loss loss, ptrdiff_t N, const float *z)
{
    const int above_zero = loss == LS_LOSS_BCE || loss == LS_LOSS_SOFTMAX || loss == LS_LOSS_HINGE;
    if (N == 1)
        return z[0] > (above_zero ? 0.0f : 0.5f);
    ptrdiff_t best = 0;
    for (ptrdiff_t j = 1; j < N; j++)
        if (z[j] > z[best])
            best = j;
    return (int32_t)best;
}

int ls_in_top_k(int32_t k, ptrdiff_t N, const float *z, int32_t label)
{
    ptrdiff_t n_before = 0;
    for (ptrdiff_t j = 0; j < N; j++)
        n_before += z[j] > z[label] || (z[j] == z[label] && j < label);
    return n_before < k && !isnan(z[label]);
}

void ls_metrics_count(struct ls_metrics *metrics, enum ls_loss loss, ptrdiff_t B, ptrdiff_t N, const float *z,
                      const int32_t *labels)
{
    for (ptrdiff_t b = 0; b < B; b++) {
        const int32_t label = labels[b], predicted = ls_predicted_class(loss, N, z + b * N);
        metrics->n_support[label]++;
        metrics->n_predicted[predicted]++;
        metrics->n_right[label] += predicted == label;
        if (metrics->top_k > 0)
            metrics->n_in_top[0] += ls_in_top_k(metrics->top_k, N, z + b * N, label);
        if (metrics->confusion)
            metrics->confusion[(ptrdiff_t)label * metrics->n_classes + predicted]++;
    }
}

void ls_sum_errors(const struct ls_ops *ops, ptrdiff_t B, ptrdiff_t m, ptrdiff_t N, const float *z,
                   const float *t, int all, float *column, float *to)
{
    for (ptrdiff_t j = 0; j < N; j++) {
        for (ptrdiff_t b = 0; b < B; b++) {
            const float error = z[b * N + j] - t[b * N + j];
            column[b] = error * error;
        }
        to[j] = ops->leaf_sum(B, m, column);
        if (!all)
            continue;
        for (ptrdiff_t b = 0; b < B; b++)
            column[b] = __builtin_fabsf(z[b * N + j] - t[b * N + j]);
        to[N + j] = ops->leaf_sum(B, m, column);
        for (ptrdiff_t b = 0; b < B; b++)
            column[b] = t[b * N + j];
        to[2 * N + j] = ops->leaf_sum(B, m, column);
    }
}

void ls_sum_spread(const struct ls_ops *ops, ptrdiff_t B, ptrdiff_t m, ptrdiff_t N, const float *t,
                   const float *mean, float *column, float *to)
{
    for (ptrdiff_t j = 0; j < N; j++) {
        for (ptrdiff_t b = 0; b < B; b++) {
            const float distance = t[b * N + j] - mean[j];
            column[b] = distance * distance;
        }
        to[j] = ops->leaf_sum(B, m, column);
    }
}

float ls_root_mean_square(ptrdiff_t N, const float *squared, int64_t n_samples)
{
    const float r = 1.0f / (float)n_samples;
    float sum = 0.0f;
    for (ptrdiff_t j = 0; j < N; j++)
        sum = sum + __builtin_sqrtf(squared[j] * r);
    return sum * (1.0f / (float)N);
}

static double ratio(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

struct ls_class_scores ls_metrics_of_class(const struct ls_metrics *metrics, int32_t c)
{
    const int64_t right = metrics->n_right[c], predicted = metrics->n_predicted[c],
                  support = metrics->n_support[c];
    return (struct ls_class_scores){
        .precision = ratio(right, predicted),
        .recall = ratio(right, support),
        .f1 = ratio(2 * right, predicted + support),
        .precision_defined = predicted > 0,
        .recall_defined = support > 0,
        .f1_defined = predicted + support > 0,
    };
}

struct ls_class_scores ls_metrics_macro(const struct ls_metrics *metrics)
{
    struct ls_class_scores sum = {.precision_defined = 1, .recall_defined = 1, .f1_defined = 1};
    int64_t n_present = 0;
    for (int32_t c = 0; c < metrics->n_classes; c++) {
        const struct ls_class_scores one = ls_metrics_of_class(metrics, c);
        sum.precision += one.precision; /* 0 when the class is absent */
        sum.recall += one.recall;
        sum.f1 += one.f1;
        n_present += one.f1_defined;
    }
    const double n = n_present > 0 ? (double)n_present : 1.0;
    sum.precision /= n;
    sum.recall /= n;
    sum.f1 /= n;
    return sum;
}

static float r_squared(int64_t n_samples, float squared, float spread)
{
    if (n_samples < 2)
        return NAN;
    if (spread == 0.0f)
        return squared == 0.0f ? 1.0f : 0.0f;
    return 1.0f - squared / spread;
}

struct ls_number_scores ls_metrics_of_output(const struct ls_metrics *metrics, ptrdiff_t j)
{
    return (struct ls_number_scores){
        .rmse = ls_root_mean_square(1, metrics->squared + j, metrics->n_samples),
        .mae = metrics->absolute[j] * (1.0f / (float)metrics->n_samples),
        .r2 = r_squared(metrics->n_samples, metrics->squared[j], metrics->spread[j]),
    };
}

struct ls_number_scores ls_metrics_of_outputs(const struct ls_metrics *metrics)
{
    struct ls_number_scores sum = {0};
    for (ptrdiff_t j = 0; j < metrics->n_outputs; j++) {
        const struct ls_number_scores one = ls_metrics_of_output(metrics, j);
        sum.rmse = sum.rmse + one.rmse;
        sum.mae = sum.mae + one.mae;
        sum.r2 = sum.r2 + one.r2;
    }
    const float r = 1.0f / (float)metrics->n_outputs;
    return (struct ls_number_scores){sum.rmse * r, sum.mae * r, sum.r2 * r};
}
