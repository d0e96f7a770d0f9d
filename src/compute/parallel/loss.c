/* Losses, a row at a time in stretches of the 16 lanes of lanesum.  A last stretch is padded with what
 * changes no sum and no maximum, so a row of 10 numbers is one pass over 16 lanes.  Logarithms are taken for
 * many rows at once, and so is all of the softmax of rows that have one stretch. */
#include "compute/parallel/loss.h"

#include "base/elementary.h"
#include "compute/parallel/lanes.h"
#include "compute/parallel/team.h"

enum { ROWS_AT_ONCE = 64 };

struct losses {
    const struct ls_loss_rule *rule;
    ptrdiff_t B, N;
    float *loss, *dz;
    const float *z;
    const struct ls_targets *targets;
};

/* lanesum(z_j - top), which only smoothing needs: a pass of its own keeps the usual one as it is. */
static float shifted_sum(ptrdiff_t N, const float *z, float top)
{
    float shifted[LANES];
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        lanes_load(shifted, z + at, N - at, 0.0f);
        for (int l = 0; l < LANES; l++)
            shifted[l] = shifted[l] - top;
        row_sum_add(&sum, at, N, shifted);
    }
    return row_sum_end(&sum);
}

/* The denominator s of one row, N > LANES; *expected = z_label - M, or with smoothing a what stands in its
 * place; the gradient goes to dz.  `smooth` is a constant where this is inlined. */
LS_ALWAYS_INLINE float softmax_row(ptrdiff_t N, float *dz, const float *z, int32_t label, float *expected,
                                   int smooth, float a)
{
    const float share = smooth ? a / (float)N : 0.0f, whole = smooth ? (1.0f - a) + share : 1.0f;
    const float top = row_max(N, z);
    float e[LANES];
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        lanes_load(e, z + at, N - at, 0.0f);
        for (int l = 0; l < LANES; l++)
            e[l] = ls_exp(e[l] - top);
        if (dz)
            lanes_store(dz + at, e, N - at);
        row_sum_add(&sum, at, N, e);
    }
    const float s = row_sum_end(&sum);
    *expected = z[label] - top;
    if (smooth)
        *expected = ls_fma(1.0f - a, *expected, share * shifted_sum(N, z, top));
    for (ptrdiff_t at = 0; dz && at < N; at += LANES) {
        lanes_load(e, dz + at, N - at, 0.0f);
        for (int l = 0; l < LANES; l++) {
            const float p = e[l] / s, at_label = p - whole, elsewhere = smooth ? p - share : p;
            e[l] = at + l == label ? at_label : elsewhere;
        }
        lanes_store(dz + at, e, N - at);
    }
    return s;
}

/* term[0] = tree(term[0] ... term[15]), lane by lane. */
LS_ALWAYS_INLINE void rows_tree(float term[LANES][LANES])
{
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++)
            for (int i = 0; i < LANES; i++)
                term[j][i] = term[2 * j][i] + term[2 * j + 1][i];
}

/* The same of up to LANES short rows, N <= LANES, from sample b on: lanes are samples here, so that neither a
 * maximum nor a tree goes across a vector, in which a row of 10 spends most of its time. */
LS_ALWAYS_INLINE void short_softmax_rows(const struct losses *p, ptrdiff_t b, ptrdiff_t rows, float *s,
                                         float *expected, int smooth, float a)
{
    const ptrdiff_t N = p->N;
    const float share = smooth ? a / (float)N : 0.0f, whole = smooth ? (1.0f - a) + share : 1.0f;
    const float *z = p->z + b * N;
    const int32_t *label = p->targets->labels + b;
    float e[LANES][LANES], term[LANES][LANES], top[LANES], of_label[LANES];
    for (ptrdiff_t j = 0; j < N; j++)
        for (ptrdiff_t i = 0; i < LANES; i++)
            e[j][i] = i < rows ? z[i * N + j] : 0.0f;
    memcpy(top, e[0], sizeof top);
    for (ptrdiff_t j = 1; j < N; j++)
        for (int i = 0; i < LANES; i++)
            top[i] = e[j][i] > top[i] ? e[j][i] : top[i];
    for (ptrdiff_t i = 0; i < rows; i++)
        of_label[i] = z[i * N + label[i]];
    for (ptrdiff_t i = 0; i < rows; i++)
        expected[i] = of_label[i] - top[i];
    if (smooth) {
        for (ptrdiff_t j = 0; j < LANES; j++)
            for (int i = 0; i < LANES; i++)
                term[j][i] = j < N ? 0.0f + (e[j][i] - top[i]) : 0.0f; /* folds begin with +0 */
        rows_tree(term);
        for (ptrdiff_t i = 0; i < rows; i++)
            expected[i] = ls_fma(1.0f - a, expected[i], share * term[0][i]);
    }
    for (ptrdiff_t j = 0; j < N; j++)
        for (int i = 0; i < LANES; i++)
            e[j][i] = ls_exp(e[j][i] - top[i]);
    for (ptrdiff_t j = 0; j < LANES; j++)
        for (int i = 0; i < LANES; i++)
            term[j][i] = j < N ? e[j][i] : 0.0f;
    rows_tree(term);
    memcpy(s, term[0], (size_t)rows * sizeof *s);
    for (ptrdiff_t j = 0; p->dz && j < N; j++) {
        for (int i = 0; i < LANES; i++) {
            const float q = e[j][i] / term[0][i];
            e[j][i] = smooth ? q - share : q;
            term[1][i] = q - whole;
        }
        for (ptrdiff_t i = 0; i < rows; i++)
            p->dz[(b + i) * N + j] = label[i] == j ? term[1][i] : e[j][i];
    }
}

LS_ALWAYS_INLINE void softmax_rows(const struct losses *p, struct range r, int smooth)
{
    const float a = p->rule->smoothing;
    float s[ROWS_AT_ONCE], expected[ROWS_AT_ONCE];
    for (ptrdiff_t b = r.begin; b < r.end; b += ROWS_AT_ONCE) {
        const ptrdiff_t rows = r.end - b < ROWS_AT_ONCE ? r.end - b : ROWS_AT_ONCE;
        for (ptrdiff_t i = 0; i < rows && p->N <= LANES; i += LANES)
            short_softmax_rows(p, b + i, rows - i < LANES ? rows - i : LANES, s + i, expected + i, smooth, a);
        for (ptrdiff_t i = 0; i < rows && p->N > LANES; i++)
            s[i] = softmax_row(p->N, p->dz ? p->dz + (b + i) * p->N : NULL, p->z + (b + i) * p->N,
                               p->targets->labels[b + i], &expected[i], smooth, a);
        for (ptrdiff_t i = 0; i < rows; i++)
            p->loss[b + i] = ls_log(s[i]) - expected[i];
    }
}

/* What outputs at .. at + 15 of sample b should be. */
LS_ALWAYS_INLINE void targets_load(float to[LANES], const struct losses *p, ptrdiff_t b, ptrdiff_t at)
{
    if (p->targets->values) {
        lanes_load(to, p->targets->values + b * p->N + at, p->N - at, 0.0f);
        return;
    }
    const ptrdiff_t label = p->targets->labels[b];
    for (int l = 0; l < LANES; l++)
        to[l] = at + l == label ? 1.0f : 0.0f;
    if (p->N == 1)
        to[0] = (float)label;
}

static float squared_row(const struct losses *p, ptrdiff_t b)
{
    const ptrdiff_t N = p->N;
    const int half = p->rule->kind == LS_LOSS_HALF_SQUARED;
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        float z[LANES], t[LANES];
        lanes_load(z, p->z + b * N + at, N - at, 0.0f);
        targets_load(t, p, b, at);
        for (int l = 0; l < LANES; l++) {
            const float d = z[l] - t[l];
            z[l] = d * d;
            t[l] = half ? d : d + d;
        }
        row_sum_add(&sum, at, N, z);
        if (p->dz)
            lanes_store(p->dz + b * N + at, t, N - at);
    }
    const float total = row_sum_end(&sum);
    return half ? total * 0.5f : total;
}

static float bce_row(const struct losses *p, ptrdiff_t b)
{
    const ptrdiff_t N = p->N;
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        float z[LANES], t[LANES], term[LANES];
        lanes_load(z, p->z + b * N + at, N - at, 0.0f);
        targets_load(t, p, b, at);
        for (int l = 0; l < LANES; l++) {
            const float positive = z[l] <= 0.0f ? 0.0f : z[l];
            const float magnitude = z[l] < 0.0f ? -z[l] : z[l];
            term[l] = ls_fma(-z[l], t[l], positive) + ls_log1p(ls_exp(-magnitude));
        }
        row_sum_add(&sum, at, N, term);
        if (!p->dz)
            continue;
        for (int l = 0; l < LANES; l++)
            t[l] = ls_sigmoid(z[l]) - t[l];
        lanes_store(p->dz + b * N + at, t, N - at);
    }
    return row_sum_end(&sum);
}

static float huber_row(const struct losses *p, ptrdiff_t b)
{
    const ptrdiff_t N = p->N;
    const float delta = p->rule->delta, half_delta = 0.5f * delta;
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        float z[LANES], t[LANES];
        lanes_load(z, p->z + b * N + at, N - at, 0.0f);
        targets_load(t, p, b, at);
        for (int l = 0; l < LANES; l++) {
            const float d = z[l] - t[l], size = d < 0.0f ? -d : d;
            const float near = (0.5f * d) * d, far = delta * (size - half_delta);
            z[l] = size <= delta ? near : far;
            const float below = d < -delta ? -delta : d;
            t[l] = d > delta ? delta : below;
        }
        row_sum_add(&sum, at, N, z);
        if (p->dz)
            lanes_store(p->dz + b * N + at, t, N - at);
    }
    return row_sum_end(&sum);
}

static float hinge_row(const struct losses *p, ptrdiff_t b)
{
    const ptrdiff_t N = p->N, label = p->targets->labels[b];
    const float of_label = p->z[b * N + label];
    ptrdiff_t n_margins = 0;
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        float z[LANES], above[LANES];
        lanes_load(z, p->z + b * N + at, N - at, -__builtin_inff());
        int n_here = 0;
        for (int l = 0; l < LANES; l++) {
            const float margin = (z[l] - of_label) + 1.0f;
            const int none = (at + l == label) | (l >= N - at) | (margin <= 0.0f);
            z[l] = none ? 0.0f : margin;
            above[l] = z[l] > 0.0f ? 1.0f : 0.0f;
            n_here += z[l] > 0.0f;
        }
        n_margins += n_here;
        row_sum_add(&sum, at, N, z);
        if (p->dz)
            lanes_store(p->dz + b * N + at, above, N - at);
    }
    if (p->dz)
        p->dz[b * N + label] = -(float)n_margins;
    return row_sum_end(&sum);
}

static float hinge_of_one_output(const struct losses *p, ptrdiff_t b)
{
    const float t = p->targets->labels[b] ? 1.0f : -1.0f;
    const float margin = ls_fma(-t, p->z[b], 1.0f);
    const float loss = margin <= 0.0f ? 0.0f : margin;
    if (p->dz)
        p->dz[b] = loss > 0.0f ? -t : 0.0f;
    return loss;
}

static float loss_row(const struct losses *p, ptrdiff_t b)
{
    switch (p->rule->kind) {
    case LS_LOSS_BCE:
        return bce_row(p, b);
    case LS_LOSS_HUBER:
        return huber_row(p, b);
    case LS_LOSS_HINGE:
        return p->N == 1 ? hinge_of_one_output(p, b) : hinge_row(p, b);
    default:
        return squared_row(p, b);
    }
}

static void weigh_rows(const struct losses *p, struct range r)
{
    for (ptrdiff_t b = r.begin; b < r.end; b++) {
        const float weight = p->rule->class_weights[p->targets->labels[b]];
        p->loss[b] = p->loss[b] * weight;
        for (ptrdiff_t j = b * p->N; p->dz && j < (b + 1) * p->N; j++)
            p->dz[j] = p->dz[j] * weight;
    }
}

static int64_t loss_part(const void *job, int thread, int threads)
{
    const struct losses *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    if (p->rule->kind == LS_LOSS_SOFTMAX && p->rule->smoothing != 0.0f)
        softmax_rows(p, r, 1);
    else if (p->rule->kind == LS_LOSS_SOFTMAX)
        softmax_rows(p, r, 0);
    else
        for (ptrdiff_t b = r.begin; b < r.end; b++)
            p->loss[b] = loss_row(p, b);
    if (p->rule->class_weights)
        weigh_rows(p, r);
    return 0;
}

void LS_PER_ISA(ls_loss)(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                         const float *z, const struct ls_targets *targets)
{
    const struct losses p = {rule, B, N, loss, dz, z, targets};
    const int is_short = rule->kind == LS_LOSS_SOFTMAX && N <= LANES;
    const double row_ns = is_short ? 4.0 + 2.0 * (double)N : 80.0 + (double)N;
    team_run((double)B * row_ns, loss_part, &p);
}
