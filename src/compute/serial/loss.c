/* The oracle's losses: one sample at a time. */
#include "compute/serial/serial.h"

#include <stddef.h>

#include "base/contract.h"
#include "base/elementary.h"
#include "compute/serial/row_sum.h"

/* What output j of sample b should be: a given value, or a label as a one-hot row (as a number when N == 1).
 */
static float target(const struct ls_targets *targets, ptrdiff_t N, ptrdiff_t b, ptrdiff_t j)
{
    if (targets->values)
        return targets->values[b * N + j];
    if (N == 1)
        return (float)targets->labels[b];
    return targets->labels[b] == j ? 1.0f : 0.0f;
}

/* With smoothing a, `a / N` of the target goes to each class and the rest to the label. */
static float softmax_row(ptrdiff_t N, float *dz, const float *z, int32_t label, float a)
{
    float top = z[0];
    for (ptrdiff_t j = 1; j < N; j++)
        if (z[j] > top)
            top = z[j];
    struct row_sum sum = {.count = 0}, shifted = {.count = 0};
    for (ptrdiff_t j = 0; j < N; j++) {
        row_sum_add(&sum, ls_exp(z[j] - top));
        row_sum_add(&shifted, z[j] - top);
    }
    const float s = row_sum_end(&sum), share = a / (float)N;
    for (ptrdiff_t j = 0; dz && j < N; j++) {
        const float p = ls_exp(z[j] - top) / s;
        if (a == 0.0f)
            dz[j] = j == label ? p - 1.0f : p;
        else
            dz[j] = p - (j == label ? (1.0f - a) + share : share);
    }
    if (a == 0.0f)
        return ls_log(s) - (z[label] - top);
    return ls_log(s) - ls_fma(1.0f - a, z[label] - top, share * row_sum_end(&shifted));
}

static float squared_row(ptrdiff_t N, float *dz, const float *z, const struct ls_targets *targets,
                         ptrdiff_t b, int half)
{
    struct row_sum sum = {.count = 0};
    for (ptrdiff_t j = 0; j < N; j++) {
        const float d = z[j] - target(targets, N, b, j);
        row_sum_add(&sum, d * d);
        if (dz)
            dz[j] = half ? d : d + d;
    }
    const float total = row_sum_end(&sum);
    return half ? total * 0.5f : total;
}

static float bce_row(ptrdiff_t N, float *dz, const float *z, const struct ls_targets *targets, ptrdiff_t b)
{
    struct row_sum sum = {.count = 0};
    for (ptrdiff_t j = 0; j < N; j++) {
        const float t = target(targets, N, b, j);
        const float positive = z[j] <= 0.0f ? 0.0f : z[j];
        const float magnitude = z[j] < 0.0f ? -z[j] : z[j];
        row_sum_add(&sum, ls_fma(-z[j], t, positive) + ls_log1p(ls_exp(-magnitude)));
        if (dz)
            dz[j] = ls_sigmoid(z[j]) - t;
    }
    return row_sum_end(&sum);
}

static float huber_row(ptrdiff_t N, float *dz, const float *z, const struct ls_targets *targets, ptrdiff_t b,
                       float delta)
{
    struct row_sum sum = {.count = 0};
    for (ptrdiff_t j = 0; j < N; j++) {
        const float d = z[j] - target(targets, N, b, j);
        const float size = d < 0.0f ? -d : d;
        row_sum_add(&sum, size <= delta ? (0.5f * d) * d : delta * (size - 0.5f * delta));
        if (dz)
            dz[j] = d > delta ? delta : d < -delta ? -delta : d;
    }
    return row_sum_end(&sum);
}

static float hinge_row(ptrdiff_t N, float *dz, const float *z, int32_t label)
{
    struct row_sum sum = {.count = 0};
    ptrdiff_t n_margins = 0;
    for (ptrdiff_t j = 0; j < N; j++) {
        const float margin = (z[j] - z[label]) + 1.0f;
        const float term = j == label || margin <= 0.0f ? 0.0f : margin;
        row_sum_add(&sum, term);
        n_margins += term > 0.0f;
        if (dz)
            dz[j] = term > 0.0f ? 1.0f : 0.0f;
    }
    if (dz)
        dz[label] = -(float)n_margins;
    return row_sum_end(&sum);
}

static float hinge_of_one_output(float *dz, float z, int32_t label)
{
    const float t = label ? 1.0f : -1.0f;
    const float margin = ls_fma(-t, z, 1.0f);
    const float loss = margin <= 0.0f ? 0.0f : margin;
    if (dz)
        *dz = loss > 0.0f ? -t : 0.0f;
    return loss;
}

static float loss_row(const struct ls_loss_rule *rule, ptrdiff_t N, float *dz, const float *z,
                      const struct ls_targets *targets, ptrdiff_t b)
{
    switch (rule->kind) {
    case LS_LOSS_SOFTMAX:
        return softmax_row(N, dz, z, targets->labels[b], rule->smoothing);
    case LS_LOSS_SQUARED:
    case LS_LOSS_HALF_SQUARED:
        return squared_row(N, dz, z, targets, b, rule->kind == LS_LOSS_HALF_SQUARED);
    case LS_LOSS_BCE:
        return bce_row(N, dz, z, targets, b);
    case LS_LOSS_HUBER:
        return huber_row(N, dz, z, targets, b, rule->delta);
    case LS_LOSS_HINGE:
        break;
    }
    return N == 1 ? hinge_of_one_output(dz, z[0], targets->labels[b])
                  : hinge_row(N, dz, z, targets->labels[b]);
}

void ls_serial_loss(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                    const float *z, const struct ls_targets *targets)
{
    for (ptrdiff_t b = 0; b < B; b++) {
        float *dz_row = dz ? dz + b * N : NULL;
        loss[b] = loss_row(rule, N, dz_row, z + b * N, targets, b);
        if (!rule->class_weights)
            continue;
        const float weight = rule->class_weights[targets->labels[b]];
        loss[b] = loss[b] * weight;
        for (ptrdiff_t j = 0; dz && j < N; j++)
            dz_row[j] = dz_row[j] * weight;
    }
}
