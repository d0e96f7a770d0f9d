/* Layer normalisation and softmax: a row at a time in stretches of the 16 lanes of lanesum, rows dealt to
 * threads. */
#include "compute/parallel/rows.h"

#include "base/contract.h"
#include "base/elementary.h"
#include "compute/parallel/lanes.h"
#include "compute/parallel/team.h"

struct rows {
    ptrdiff_t B, K;
    float *to, *statistics;
    const float *x, *dy, *gamma, *beta, *given; /* given: statistics of each row */
    float epsilon;
};

static void layernorm_row(const struct rows *p, ptrdiff_t b)
{
    const ptrdiff_t K = p->K;
    const float r = 1.0f / (float)K, *x = p->x + b * K;
    float v[LANES], gamma[LANES], beta[LANES];
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        lanes_load(v, x + at, K - at, 0.0f);
        row_sum_add(&sum, at, K, v);
    }
    const float mean = row_sum_end(&sum) * r;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        lanes_load(v, x + at, K - at, 0.0f);
        for (int l = 0; l < LANES; l++) {
            const float d = v[l] - mean;
            v[l] = d * d;
        }
        row_sum_add(&sum, at, K, v);
    }
    const float inverse = 1.0f / __builtin_sqrtf(row_sum_end(&sum) * r + p->epsilon);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        lanes_load(v, x + at, K - at, 0.0f);
        lanes_load(gamma, p->gamma + at, K - at, 0.0f);
        lanes_load(beta, p->beta + at, K - at, 0.0f);
        for (int l = 0; l < LANES; l++)
            v[l] = ls_fma((v[l] - mean) * inverse, gamma[l], beta[l]);
        lanes_store(p->to + b * K + at, v, K - at);
    }
    p->statistics[2 * b] = mean;
    p->statistics[2 * b + 1] = inverse;
}

static int64_t layernorm_part(const void *job, int thread, int threads)
{
    const struct rows *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        layernorm_row(p, b);
    return 0;
}

void LS_PER_ISA(ls_layernorm_forward)(ptrdiff_t B, ptrdiff_t K, float *y, float *statistics, const float *x,
                                      const float *gamma, const float *beta, float epsilon)
{
    const struct rows p = {.B = B,
                           .K = K,
                           .to = y,
                           .statistics = statistics,
                           .x = x,
                           .gamma = gamma,
                           .beta = beta,
                           .epsilon = epsilon};
    team_run((double)B * (20.0 + (double)K * 0.3), layernorm_part, &p);
}

/* h and g of the stretch at `at` of row b. */
LS_ALWAYS_INLINE void gradient_terms(const struct rows *p, ptrdiff_t b, ptrdiff_t at, float h[LANES],
                                     float g[LANES])
{
    const ptrdiff_t K = p->K;
    const float mean = p->given[2 * b], inverse = p->given[2 * b + 1];
    float gamma[LANES];
    lanes_load(h, p->x + b * K + at, K - at, 0.0f);
    lanes_load(g, p->dy + b * K + at, K - at, 0.0f);
    lanes_load(gamma, p->gamma + at, K - at, 0.0f);
    for (int l = 0; l < LANES; l++) {
        h[l] = (h[l] - mean) * inverse;
        g[l] = g[l] * gamma[l];
    }
}

static void layernorm_gradient_row(const struct rows *p, ptrdiff_t b)
{
    const ptrdiff_t K = p->K;
    const float r = 1.0f / (float)K, inverse = p->given[2 * b + 1];
    float h[LANES], g[LANES];
    struct row_sum plain, weighted;
    row_sum_start(&plain);
    row_sum_start(&weighted);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        gradient_terms(p, b, at, h, g);
        row_sum_add(&plain, at, K, g);
        for (int l = 0; l < LANES; l++)
            h[l] = g[l] * h[l];
        row_sum_add(&weighted, at, K, h);
    }
    const float s = row_sum_end(&plain) * r, t = row_sum_end(&weighted) * r;
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        gradient_terms(p, b, at, h, g);
        for (int l = 0; l < LANES; l++)
            g[l] = inverse * ls_fma(-h[l], t, g[l] - s);
        lanes_store(p->to + b * K + at, g, K - at);
    }
}

static int64_t layernorm_gradient_part(const void *job, int thread, int threads)
{
    const struct rows *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        layernorm_gradient_row(p, b);
    return 0;
}

void LS_PER_ISA(ls_layernorm_input_gradient)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dz,
                                             const float *x, const float *statistics, const float *gamma)
{
    const struct rows p = {.B = B, .K = K, .to = dx, .x = x, .dy = dz, .gamma = gamma, .given = statistics};
    team_run((double)B * (20.0 + (double)K * 0.4), layernorm_gradient_part, &p);
}

static void softmax_row(ptrdiff_t K, float *y, const float *x)
{
    const float top = row_max(K, x);
    float e[LANES];
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        lanes_load(e, x + at, K - at, 0.0f);
        for (int l = 0; l < LANES; l++)
            e[l] = ls_exp(e[l] - top);
        lanes_store(y + at, e, K - at);
        row_sum_add(&sum, at, K, e);
    }
    const float s = row_sum_end(&sum);
    for (ptrdiff_t k = 0; k < K; k++)
        y[k] = y[k] / s;
}

static int64_t softmax_part(const void *job, int thread, int threads)
{
    const struct rows *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        softmax_row(p->K, p->to + b * p->K, p->x + b * p->K);
    return 0;
}

void LS_PER_ISA(ls_softmax_forward)(ptrdiff_t B, ptrdiff_t K, float *y, const float *x)
{
    const struct rows p = {.B = B, .K = K, .to = y, .x = x};
    team_run((double)B * (20.0 + (double)K), softmax_part, &p);
}

static void softmax_gradient_row(ptrdiff_t K, float *dx, const float *dy, const float *y)
{
    float v[LANES], w[LANES];
    struct row_sum sum;
    row_sum_start(&sum);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        lanes_load(v, dy + at, K - at, 0.0f);
        lanes_load(w, y + at, K - at, 0.0f);
        for (int l = 0; l < LANES; l++)
            v[l] = v[l] * w[l];
        row_sum_add(&sum, at, K, v);
    }
    const float s = row_sum_end(&sum);
    for (ptrdiff_t k = 0; k < K; k++)
        dx[k] = y[k] * (dy[k] - s);
}

static int64_t softmax_gradient_part(const void *job, int thread, int threads)
{
    const struct rows *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        softmax_gradient_row(p->K, p->to + b * p->K, p->dy + b * p->K, p->x + b * p->K);
    return 0;
}

void LS_PER_ISA(ls_softmax_backward)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dy, const float *y)
{
    const struct rows p = {.B = B, .K = K, .to = dx, .x = y, .dy = dy};
    team_run((double)B * (20.0 + (double)K * 0.3), softmax_gradient_part, &p);
}
