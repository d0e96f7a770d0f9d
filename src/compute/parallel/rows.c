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
    void (*row)(const struct rows *p, ptrdiff_t b);
};

static int64_t rows_part(const void *job, int thread, int threads)
{
    const struct rows *p = job;
    const struct range r = range_part(p->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        p->row(p, b);
    return 0;
}

/* e^x of each element; the compiler makes vector code of the loop. */
LS_ALWAYS_INLINE vec vec_exp(vec x)
{
    float e[VEC];
    vec_store(e, x);
    for (int l = 0; l < VEC; l++)
        e[l] = ls_exp(e[l]);
    return vec_load(e);
}

/* What is summed over a row: values x, squares of x - mean; g, and g h; exponentials of x - mean, which are
 * also stored; products of x and dy. */
enum terms { VALUES, SQUARES, GRADIENTS, EXPONENTIALS, PRODUCTS };

struct row {
    ptrdiff_t K;
    const float *x, *dy, *gamma;
    float *to;
    float mean, inverse; /* the mean, or what else is subtracted */
};

/* The terms of the stretch at `at`, with +0 beyond the row's end. */
LS_ALWAYS_INLINE void terms_at(const enum terms kind, const struct row *r, ptrdiff_t at, struct lanes *first,
                               struct lanes *second)
{
    const ptrdiff_t left = r->K - at;
    const struct lanes x = lanes_get(r->x + at, left);
    struct lanes dy, gamma;
    if (kind == GRADIENTS || kind == PRODUCTS)
        dy = lanes_get(r->dy + at, left);
    if (kind == GRADIENTS)
        gamma = lanes_get(r->gamma + at, left);
    LS_UNROLL
    for (int i = 0; i < LANE_VECTORS; i++) {
        const vec d = kind == VALUES || kind == PRODUCTS ? x.v[i] : x.v[i] - vec_all(r->mean);
        first->v[i] = kind == VALUES         ? d
                      : kind == SQUARES      ? d * d
                      : kind == EXPONENTIALS ? vec_exp(d)
                      : kind == PRODUCTS     ? dy.v[i] * d
                                             : dy.v[i] * gamma.v[i];
        if (kind == GRADIENTS)
            second->v[i] = first->v[i] * (d * vec_all(r->inverse));
    }
    if (kind == EXPONENTIALS)
        lanes_put(r->to + at, *first, left);
    *first = lanes_first_or(*first, left, 0.0f);
    if (kind == GRADIENTS)
        *second = lanes_first_or(*second, left, 0.0f);
}

LS_ALWAYS_INLINE float tree_of(struct lanes sum)
{
    float lane[LANES];
    lanes_put(lane, sum, LANES);
    return lanes_tree(lane);
}

/* sums[0], and sums[1] of GRADIENTS, by contract rule 4. */
LS_ALWAYS_INLINE void sum_row(const enum terms kind, const struct row *r, float sums[2])
{
    struct ls_tree first = {.count = 0}, second = {.count = 0};
    for (ptrdiff_t block = 0; block < r->K; block += LS_LANESUM_BLOCK) {
        const ptrdiff_t end = r->K - block < LS_LANESUM_BLOCK ? r->K : block + LS_LANESUM_BLOCK;
        struct lanes a, b, term, other;
        for (int i = 0; i < LANE_VECTORS; i++)
            a.v[i] = b.v[i] = vec_zero();
        for (ptrdiff_t at = block; at < end; at += LANES) {
            terms_at(kind, r, at, &term, &other);
            LS_UNROLL
            for (int i = 0; i < LANE_VECTORS; i++) {
                a.v[i] = a.v[i] + term.v[i];
                if (kind == GRADIENTS)
                    b.v[i] = b.v[i] + other.v[i];
            }
        }
        sums[0] = tree_of(a);
        if (kind == GRADIENTS)
            sums[1] = tree_of(b);
        if (r->K <= LS_LANESUM_BLOCK)
            return;
        ls_tree_push(&first, sums[0]);
        if (kind == GRADIENTS)
            ls_tree_push(&second, sums[1]);
    }
    sums[0] = ls_tree_sum(&first);
    if (kind == GRADIENTS)
        sums[1] = ls_tree_sum(&second);
}

static void layernorm_row(const struct rows *p, ptrdiff_t b)
{
    const ptrdiff_t K = p->K;
    const float scale = 1.0f / (float)K;
    struct row r = {.K = K, .x = p->x + b * K};
    float sum[2];
    sum_row(VALUES, &r, sum);
    r.mean = sum[0] * scale;
    sum_row(SQUARES, &r, sum);
    r.inverse = 1.0f / __builtin_sqrtf(sum[0] * scale + p->epsilon);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        struct lanes x = lanes_get(r.x + at, K - at);
        const struct lanes gamma = lanes_get(p->gamma + at, K - at), beta = lanes_get(p->beta + at, K - at);
        LS_UNROLL
        for (int i = 0; i < LANE_VECTORS; i++)
            x.v[i] = vec_fma((x.v[i] - vec_all(r.mean)) * vec_all(r.inverse), gamma.v[i], beta.v[i]);
        lanes_put(p->to + b * K + at, x, K - at);
    }
    p->statistics[2 * b] = r.mean;
    p->statistics[2 * b + 1] = r.inverse;
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
                           .epsilon = epsilon,
                           .row = layernorm_row};
    team_run((double)B * (20.0 + (double)K * 0.3), rows_part, &p);
}

static void layernorm_gradient_row(const struct rows *p, ptrdiff_t b)
{
    const ptrdiff_t K = p->K;
    const struct row r = {.K = K,
                          .x = p->x + b * K,
                          .dy = p->dy + b * K,
                          .gamma = p->gamma,
                          .mean = p->given[2 * b],
                          .inverse = p->given[2 * b + 1]};
    const float scale = 1.0f / (float)K;
    float sum[2];
    sum_row(GRADIENTS, &r, sum);
    const vec s = vec_all(sum[0] * scale), t = vec_all(sum[1] * scale), inverse = vec_all(r.inverse);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        const struct lanes x = lanes_get(r.x + at, K - at), gamma = lanes_get(r.gamma + at, K - at);
        struct lanes dy = lanes_get(r.dy + at, K - at);
        LS_UNROLL
        for (int i = 0; i < LANE_VECTORS; i++) {
            const vec h = (x.v[i] - vec_all(r.mean)) * inverse, g = dy.v[i] * gamma.v[i];
            dy.v[i] = inverse * vec_fma(-h, t, g - s);
        }
        lanes_put(p->to + b * K + at, dy, K - at);
    }
}

void LS_PER_ISA(ls_layernorm_input_gradient)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dz,
                                             const float *x, const float *statistics, const float *gamma)
{
    const struct rows p = {.B = B,
                           .K = K,
                           .to = dx,
                           .x = x,
                           .dy = dz,
                           .gamma = gamma,
                           .given = statistics,
                           .row = layernorm_gradient_row};
    team_run((double)B * (20.0 + (double)K * 0.4), rows_part, &p);
}

/* The largest of a row; which one a NaN makes of it does not matter, see row_max. */
static float largest(ptrdiff_t K, const float *x)
{
    struct lanes top = lanes_first_or(lanes_get(x, K), K, -__builtin_inff());
    for (ptrdiff_t at = LANES; at < K; at += LANES) {
        const struct lanes next = lanes_first_or(lanes_get(x + at, K - at), K - at, -__builtin_inff());
        LS_UNROLL
        for (int i = 0; i < LANE_VECTORS; i++) {
            const vec_bits more = (vec_bits)(next.v[i] > top.v[i]);
            top.v[i] = (vec)((more & (vec_bits)next.v[i]) | (~more & (vec_bits)top.v[i]));
        }
    }
    float lane[LANES];
    lanes_put(lane, top, LANES);
    LS_UNROLL
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; l++)
            lane[l] = lane[l + width] > lane[l] ? lane[l + width] : lane[l];
    return lane[0];
}

static void softmax_row(const struct rows *p, ptrdiff_t b)
{
    const ptrdiff_t K = p->K;
    const struct row r = {.K = K, .x = p->x + b * K, .to = p->to + b * K, .mean = largest(K, p->x + b * K)};
    float sum[2];
    sum_row(EXPONENTIALS, &r, sum);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        struct lanes e = lanes_get(r.to + at, K - at);
        LS_UNROLL
        for (int i = 0; i < LANE_VECTORS; i++)
            e.v[i] = e.v[i] / vec_all(sum[0]);
        lanes_put(r.to + at, e, K - at);
    }
}

void LS_PER_ISA(ls_softmax_forward)(ptrdiff_t B, ptrdiff_t K, float *y, const float *x)
{
    const struct rows p = {.B = B, .K = K, .to = y, .x = x, .row = softmax_row};
    team_run((double)B * (20.0 + (double)K), rows_part, &p);
}

static void softmax_gradient_row(const struct rows *p, ptrdiff_t b)
{
    const ptrdiff_t K = p->K;
    const struct row r = {.K = K, .x = p->x + b * K, .dy = p->dy + b * K};
    float sum[2];
    sum_row(PRODUCTS, &r, sum);
    for (ptrdiff_t at = 0; at < K; at += LANES) {
        const struct lanes y = lanes_get(r.x + at, K - at);
        struct lanes dy = lanes_get(r.dy + at, K - at);
        LS_UNROLL
        for (int i = 0; i < LANE_VECTORS; i++)
            dy.v[i] = y.v[i] * (dy.v[i] - vec_all(sum[0]));
        lanes_put(p->to + b * K + at, dy, K - at);
    }
}

void LS_PER_ISA(ls_softmax_backward)(ptrdiff_t B, ptrdiff_t K, float *dx, const float *dy, const float *y)
{
    const struct rows p = {.B = B, .K = K, .to = dx, .x = y, .dy = dy, .row = softmax_gradient_row};
    team_run((double)B * (20.0 + (double)K * 0.3), rows_part, &p);
}
