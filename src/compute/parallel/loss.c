/* Losses, a row at a time in stretches of the 16 lanes of lanesum.  A last stretch is padded with what
 * changes no sum and no maximum, so a row of 10 logits is one pass over 16 lanes.  Logarithms are taken for
 * many rows at once. */
#include "compute/parallel/loss.h"

#include "base/elementary.h"
#include "compute/parallel/lanes.h"
#include "compute/parallel/team.h"

enum { ROWS_AT_ONCE = 64 };

struct losses {
    enum ls_loss kind;
    ptrdiff_t B, N;
    float *loss, *dz;
    const float *z;
    const struct ls_targets *targets;
};

/* The denominator s of one row and *shifted = z_label - M; probabilities go to dz. */
static float softmax_row(ptrdiff_t N, float *dz, const float *z, int32_t label, float *shifted)
{
    const float top = row_max(N, z);
    float e[LANES];
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        lanes_load(e, z + at, N - at, 0.0f);
        for (int l = 0; l < LANES; l++)
            e[l] = ls_exp(e[l] - top);
        if (dz && N > LANES)
            lanes_store(dz + at, e, N - at);
        row_sum_add(&sum, at, N, e);
    }
    const float s = row_sum_end(&sum);
    *shifted = z[label] - top;
    for (ptrdiff_t at = 0; dz && at < N; at += LANES) {
        if (N > LANES)
            lanes_load(e, dz + at, N - at, 0.0f);
        for (int l = 0; l < LANES; l++) {
            const float p = e[l] / s, less = p - 1.0f;
            e[l] = at + l == label ? less : p;
        }
        lanes_store(dz + at, e, N - at);
    }
    return s;
}

static void softmax_rows(const struct losses *p, struct range r)
{
    float s[ROWS_AT_ONCE], shifted[ROWS_AT_ONCE];
    for (ptrdiff_t b = r.begin; b < r.end; b += ROWS_AT_ONCE) {
        const ptrdiff_t rows = r.end - b < ROWS_AT_ONCE ? r.end - b : ROWS_AT_ONCE;
        for (ptrdiff_t i = 0; i < rows; i++)
            s[i] = softmax_row(p->N, p->dz ? p->dz + (b + i) * p->N : NULL, p->z + (b + i) * p->N,
                               p->targets->labels[b + i], &shifted[i]);
        for (ptrdiff_t i = 0; i < rows; i++)
            p->loss[b + i] = ls_log(s[i]) - shifted[i];
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
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < N; at += LANES) {
        float z[LANES], t[LANES];
        lanes_load(z, p->z + b * N + at, N - at, 0.0f);
        targets_load(t, p, b, at);
        for (int l = 0; l < LANES; l++) {
            const float d = z[l] - t[l];
            z[l] = d * d;
            t[l] = p->kind == LS_LOSS_HALF_SQUARED ? d : d + d;
        }
        row_sum_add(&sum, at, N, z);
        if (p->dz)
            lanes_store(p->dz + b * N + at, t, N - at);
    }
    const float total = row_sum_end(&sum);
    return p->kind == LS_LOSS_HALF_SQUARED ? total * 0.5f : total;
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

static int64_t loss_part(const void *job, int thread, int threads)
{
    const struct losses *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    if (p->kind == LS_LOSS_SOFTMAX)
        softmax_rows(p, r);
    else
        for (ptrdiff_t b = r.begin; b < r.end; b++)
            p->loss[b] = p->kind == LS_LOSS_BCE ? bce_row(p, b) : squared_row(p, b);
    return 0;
}

void LS_PER_ISA(ls_loss)(const struct ls_loss_rule *rule, ptrdiff_t B, ptrdiff_t N, float *loss, float *dz,
                         const float *z, const struct ls_targets *targets)
{
    const struct losses p = {rule->kind, B, N, loss, dz, z, targets};
    team_run((double)B * (20.0 + (double)N), loss_part, &p);
}
