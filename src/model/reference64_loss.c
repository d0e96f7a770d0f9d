/* Owns the losses in binary64; one sample at a time. */
#include "model/reference64.h"

#include <math.h>

static double target(const struct ls_targets *targets, ptrdiff_t N, ptrdiff_t b, ptrdiff_t j)
{
    if (targets->values)
        return (double)targets->values[b * N + j];
    return N == 1 ? (double)targets->labels[b] : (double)(targets->labels[b] == j);
}

/* Cross-entropy from the smoothed distribution to softmax(z). */
static double softmax(double smoothing, ptrdiff_t N, const double *z, ptrdiff_t label)
{
    double sum = 0, top = z[0], cross = 0;
    for (ptrdiff_t j = 1; j < N; j++)
        top = fmax(top, z[j]);
    for (ptrdiff_t j = 0; j < N; j++)
        sum += exp(z[j] - top);
    for (ptrdiff_t j = 0; j < N; j++) {
        const double q = smoothing / (double)N + (j == label ? 1 - smoothing : 0);
        cross += q > 0 ? q * (log(sum) - (z[j] - top)) : 0;
    }
    return cross;
}

static double hinge(ptrdiff_t N, const double *z, ptrdiff_t label)
{
    if (N == 1)
        return fmax(0, 1 - (label ? z[0] : -z[0]));
    double sum = 0;
    for (ptrdiff_t j = 0; j < N; j++)
        sum += j == label ? 0 : fmax(0, 1 + z[j] - z[label]);
    return sum;
}

/* What an output adds to the losses that are sums over outputs. */
static double output_loss(const struct ls_loss_rule *rule, double z, double t)
{
    const double d = fabs(z - t), delta = (double)rule->delta;
    switch (rule->kind) {
    case LS_LOSS_HALF_SQUARED:
        return d * d / 2;
    case LS_LOSS_HUBER:
        return d <= delta ? d * d / 2 : delta * (d - delta / 2);
    case LS_LOSS_BCE:
        return fmax(z, 0) - z * t + log1p(exp(-fabs(z)));
    case LS_LOSS_SQUARED:
    case LS_LOSS_SOFTMAX:
    case LS_LOSS_HINGE:
        break;
    }
    return d * d;
}

double ls_reference64_sample_loss(const struct ls_loss_rule *rule, ptrdiff_t N, const double *z,
                                  const struct ls_targets *targets, ptrdiff_t b)
{
    const double weight = rule->class_weights ? (double)rule->class_weights[targets->labels[b]] : 1;
    if (rule->kind == LS_LOSS_SOFTMAX)
        return weight * softmax((double)rule->smoothing, N, z, targets->labels[b]);
    if (rule->kind == LS_LOSS_HINGE)
        return weight * hinge(N, z, targets->labels[b]);
    double sum = 0;
    for (ptrdiff_t j = 0; j < N; j++)
        sum += output_loss(rule, z[j], target(targets, N, b, j));
    return weight * sum;
}
