/* The oracle's losses: one sample at a time. */
#include "compute/serial/serial.h"

#include <stddef.h>

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

static float softmax_row(ptrdiff_t N, float *dz, const float *z, int32_t label)
{
    float top = z[0];
    for (ptrdiff_t j = 1; j < N; j++)
        if (z[j] > top)
            top = z[j];
    struct row_sum sum = {.count = 0};
    for (ptrdiff_t j = 0; j < N; j++)
        row_sum_add(&sum, ls_exp(z[j] - top));
    const float s = row_sum_end(&sum);
    for (ptrdiff_t j = 0; dz && j < N; j++) {
        const float p = ls_exp(z[j] - top) / s;
        dz[j] = j == label ? p - 1.0f : p;
    }
    return ls_log(s) - (z[label] - top);
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

void ls_serial_loss(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                    const float *z, const struct ls_targets *targets)
{
    for (ptrdiff_t b = 0; b < B; b++) {
        float *dz_row = dz ? dz + b * N : NULL;
        const float *z_row = z + b * N;
        switch (rule->kind) {
        case LS_LOSS_SOFTMAX:
            loss[b] = softmax_row(N, dz_row, z_row, targets->labels[b]);
            break;
        case LS_LOSS_SQUARED:
        case LS_LOSS_HALF_SQUARED:
            loss[b] = squared_row(N, dz_row, z_row, targets, b, rule->kind == LS_LOSS_HALF_SQUARED);
            break;
        case LS_LOSS_BCE:
            loss[b] = bce_row(N, dz_row, z_row, targets, b);
            break;
        case LS_LOSS_HUBER:
        case LS_LOSS_HINGE:
            break;
        }
    }
}
