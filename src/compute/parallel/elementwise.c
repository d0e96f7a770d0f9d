/* Everything that is one independent formula an element: activations, the tree's additions, the update, the
 * gathers.
 *
 * The loops are plain C over the scalar formulas; the compiler makes vectors of them, and as no element
 * depends on another and -ffp-contract=off is on, vectors and scalar remainders give the same bits. */
#include "compute/parallel/elementwise.h"

#include "base/contract.h"
#include "compute/parallel/cut.h"
#include "compute/parallel/team.h"

struct activation {
    enum ls_activation act;
    float slope;
    ptrdiff_t n;
    float *to;
    const float *from, *y;
};

static double activation_ns(enum ls_activation act, ptrdiff_t n)
{
    return (double)n * (act <= LS_ACT_RELU || act == LS_ACT_LEAKYRELU ? 0.2 : 1.0);
}

static int64_t forward_part(const void *job, int thread, int threads)
{
    const struct activation *a = job;
    const struct range r = range_part(a->n, LINE, thread, threads);
    activate(a->act, a->slope, r.end - r.begin, a->to + r.begin, a->from + r.begin);
    return 0;
}

void LS_PER_ISA(ls_activation_forward)(enum ls_activation act, float slope, ptrdiff_t n, float *y,
                                       const float *z)
{
    const struct activation a = {act, slope, n, y, z, NULL};
    team_run(activation_ns(act, n), forward_part, &a);
}

static int64_t backward_part(const void *job, int thread, int threads)
{
    const struct activation *a = job;
    const struct range r = range_part(a->n, LINE, thread, threads);
    float *dz = a->to;
    const float *dy = a->from, *y = a->y;
    switch (a->act) {
    case LS_ACT_NONE:
        if (dz != dy)
            memcpy(dz + r.begin, dy + r.begin, (size_t)(r.end - r.begin) * sizeof *dz);
        break;
    case LS_ACT_RELU:
        for (ptrdiff_t i = r.begin; i < r.end; i++) {
            const float pass = dy[i];
            dz[i] = y[i] <= 0.0f ? 0.0f : pass;
        }
        break;
    case LS_ACT_TANH:
        for (ptrdiff_t i = r.begin; i < r.end; i++)
            dz[i] = dy[i] * ls_fma(-y[i], y[i], 1.0f);
        break;
    case LS_ACT_SIGMOID:
        for (ptrdiff_t i = r.begin; i < r.end; i++)
            dz[i] = dy[i] * ls_fma(-y[i], y[i], y[i]);
        break;
    case LS_ACT_LEAKYRELU:
        for (ptrdiff_t i = r.begin; i < r.end; i++) {
            const float pass = dy[i], less = a->slope * pass;
            dz[i] = y[i] <= 0.0f ? less : pass;
        }
        break;
    case LS_ACT_GELU:
        for (ptrdiff_t i = r.begin; i < r.end; i++) {
            const float z = y[i], density = ls_exp(-0.5f * z * z) * 0.3989422804f;
            dz[i] = dy[i] * ls_fma(z, density, ls_fma(0.5f, ls_erf(z * 0.70710678118f), 0.5f));
        }
        break;
    case LS_ACT_SOFTPLUS:
        for (ptrdiff_t i = r.begin; i < r.end; i++)
            dz[i] = dy[i] * ls_sigmoid(y[i]);
        break;
    }
    return 0;
}

void LS_PER_ISA(ls_activation_backward)(enum ls_activation act, float slope, ptrdiff_t n, float *dz,
                                        const float *dy, const float *y)
{
    const struct activation a = {act, slope, n, dz, dy, y};
    team_run(activation_ns(act > LS_ACT_LEAKYRELU ? act : LS_ACT_RELU, n), backward_part, &a);
}

/* to = from op other, for the sums and products of whole buffers. */
struct pairs {
    ptrdiff_t n;
    float *to;
    const float *a, *b;
    float factor;
    enum ls_activation act;
};

/* A stretch at a time, so that its activation finds it in L1. */
static int64_t add_part(const void *job, int thread, int threads)
{
    enum { STRETCH = 2048 };
    const struct pairs *p = job;
    const struct range r = range_part(p->n, LINE, thread, threads);
    for (ptrdiff_t at = r.begin; at < r.end; at += STRETCH) {
        const ptrdiff_t n = r.end - at < STRETCH ? r.end - at : STRETCH;
        float *y = p->to + at;
        const float *a = p->a + at, *b = p->b + at;
        for (ptrdiff_t i = 0; i < n; i++) {
            const float sum = a[i] + b[i];
            y[i] = sum;
        }
        if (p->act != LS_ACT_NONE)
            activate(p->act, 0.0f, n, y, y);
    }
    return 0;
}

void LS_PER_ISA(ls_add)(enum ls_activation act, ptrdiff_t n, float *y, const float *a, const float *b)
{
    const struct pairs p = {n, y, a, b, 0.0f, act};
    team_run((double)n * (act > LS_ACT_RELU ? 1.0 : 0.2), add_part, &p);
}

static int64_t blend_part(const void *job, int thread, int threads)
{
    const struct pairs *p = job;
    const struct range r = range_part(p->n, LINE, thread, threads);
    float *restrict average = p->to;
    const float *restrict x = p->a;
    const float weight = p->factor;
    for (ptrdiff_t i = r.begin; i < r.end; i++)
        average[i] = ls_fma(weight, x[i] - average[i], average[i]);
    return 0;
}

void LS_PER_ISA(ls_blend)(ptrdiff_t n, float *average, const float *x, float weight)
{
    const struct pairs p = {.n = n, .to = average, .a = x, .factor = weight};
    team_run((double)n * 0.2, blend_part, &p);
}

static int64_t scale_part(const void *job, int thread, int threads)
{
    const struct pairs *p = job;
    const struct range r = range_part(p->n, LINE, thread, threads);
    float *y = p->to;
    const float *x = p->a, factor = p->factor;
    for (ptrdiff_t i = r.begin; i < r.end; i++)
        y[i] = x[i] * factor;
    return 0;
}

void LS_PER_ISA(ls_scale)(ptrdiff_t n, float *y, const float *x, float factor)
{
    const struct pairs p = {.n = n, .to = y, .a = x, .factor = factor};
    team_run((double)n * 0.2, scale_part, &p);
}

struct addition {
    ptrdiff_t n;
    float *left;
    const float *right;
};

static int64_t tree_add_part(const void *job, int thread, int threads)
{
    const struct addition *a = job;
    const struct range r = range_part(a->n, LINE, thread, threads);
    float *restrict left = a->left;
    const float *restrict right = a->right;
    for (ptrdiff_t i = r.begin; i < r.end; i++)
        left[i] = left[i] + right[i];
    return 0;
}

void LS_PER_ISA(ls_tree_add)(ptrdiff_t n, float *left, const float *right)
{
    const struct addition a = {n, left, right};
    team_run((double)n * 0.2, tree_add_part, &a);
}

/* One leaf's fold is a chain of dependent additions, so FLOCK leaves are folded side by side. */
float LS_PER_ISA(ls_leaf_sum)(ptrdiff_t B, ptrdiff_t m, const float *v)
{
    enum { FLOCK = 8 };
    struct ls_tree tree = {.count = 0};
    ptrdiff_t b = 0;
    for (; (B - b) / m >= FLOCK; b += FLOCK * m) {
        float sum[FLOCK] = {0};
        for (ptrdiff_t i = 0; i < m; i++)
            for (int leaf = 0; leaf < FLOCK; leaf++)
                sum[leaf] = sum[leaf] + v[b + leaf * m + i];
        for (int leaf = 0; leaf < FLOCK; leaf++)
            ls_tree_push(&tree, sum[leaf]);
    }
    while (b < B) {
        const ptrdiff_t end = B - b < m ? B : b + m;
        float sum = 0.0f;
        for (; b < end; b++)
            sum = sum + v[b];
        ls_tree_push(&tree, sum);
    }
    return ls_tree_sum(&tree);
}

struct update {
    const struct ls_sgd *rule;
    ptrdiff_t rows, columns;
    float *w, *velocity;
    const float *sum;
};

/* The whole update of one range in one pass; flags are constants, so each combination is a loop of its own.
 */
LS_ALWAYS_INLINE int64_t update_range(const struct update *u, struct range r, const int decay,
                                      const int momentum, const int nesterov)
{
    const float scale = u->rule->gradient_scale, wd = u->rule->weight_decay, mu = u->rule->momentum,
                step = -u->rule->learning_rate;
    float *restrict w = u->w, *restrict v = u->velocity;
    const float *restrict sum = u->sum;
    int64_t not_finite = 0;
    for (ptrdiff_t at = r.begin; at < r.end;) {
        const ptrdiff_t end = r.end - at < 1 << 20 ? r.end : at + (1 << 20);
        int32_t count = 0; /* of a stretch it cannot overflow on: as wide as a float */
        for (; at < end; at++) {
            float g = sum[at] * scale;
            if (decay)
                g = ls_fma(wd, w[at], g);
            if (momentum) {
                v[at] = ls_fma(mu, v[at], g);
                g = nesterov ? ls_fma(mu, v[at], g) : v[at];
            }
            w[at] = ls_fma(step, g, w[at]);
            count += (ls_bits(w[at]) & 0x7f800000u) == 0x7f800000u;
        }
        not_finite += count;
    }
    return not_finite;
}

LS_ALWAYS_INLINE int64_t update_rectangle(const struct update *u, struct rectangle mine, const int decay,
                                          const int momentum, const int nesterov)
{
    const struct range rows = mine.rows, columns = mine.columns;
    if (columns.end - columns.begin == u->columns)
        return update_range(u, (struct range){rows.begin * u->columns, rows.end * u->columns}, decay,
                            momentum, nesterov);
    int64_t not_finite = 0;
    for (ptrdiff_t row = rows.begin; row < rows.end; row++)
        not_finite +=
            update_range(u, (struct range){row * u->columns + columns.begin, row * u->columns + columns.end},
                         decay, momentum, nesterov);
    return not_finite;
}

/* Cut as the weight gradient is: each core finds the sums, the weights and the velocity in its own cache. */
static int64_t update_part(const void *job, int thread, int threads)
{
    const struct update *u = job;
    const struct rectangle mine = rectangle_of(thread, threads, u->rows, u->columns, CUT_BETWEEN_ROWS);
    const int momentum = u->rule->momentum != 0.0f, nesterov = u->rule->nesterov;
    if (u->rule->weight_decay != 0.0f) {
        if (!momentum)
            return update_rectangle(u, mine, 1, 0, 0);
        return nesterov ? update_rectangle(u, mine, 1, 1, 1) : update_rectangle(u, mine, 1, 1, 0);
    }
    if (!momentum)
        return update_rectangle(u, mine, 0, 0, 0);
    return nesterov ? update_rectangle(u, mine, 0, 1, 1) : update_rectangle(u, mine, 0, 1, 0);
}

int64_t LS_PER_ISA(ls_sgd)(const struct ls_sgd *rule, ptrdiff_t rows, ptrdiff_t columns, float *w,
                           float *velocity, const float *sum)
{
    const struct update u = {rule, rows, columns, w, velocity, sum};
    return team_run((double)(rows * columns) * 0.3, update_part, &u);
}

struct gather {
    ptrdiff_t B, K;
    float *x;
    const uint8_t *pixels;
    const int64_t *index;
    float divisor;
    void (*row)(const void *context, int64_t index, float *x);
    const void *context;
};

/* to[k] = from[k] / divisor, rounded once.  With a hardware fma the quotient comes from a multiplication and
 * one correction, three times as fast as dividing; tests/unit/test_ops.c proves it equal for every pixel and
 * divisor. */
static void scale_row(ptrdiff_t K, float *restrict to, const uint8_t *restrict from, float divisor)
{
#if defined(__FMA__) || defined(__aarch64__)
    const float inverse = 1.0f / divisor;
    for (ptrdiff_t k = 0; k < K; k++) {
        const float p = (float)from[k], quotient = p * inverse;
        to[k] = ls_fma(ls_fma(-quotient, divisor, p), inverse, quotient);
    }
#else
    for (ptrdiff_t k = 0; k < K; k++)
        to[k] = (float)from[k] / divisor;
#endif
}

static int64_t gather_u8_part(const void *job, int thread, int threads)
{
    const struct gather *g = job;
    const struct range r = range_part(g->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++) {
        if (b + 1 < r.end) /* rows lie anywhere: nothing else would fetch the next one in time */
            for (ptrdiff_t k = 0; k < g->K; k += 64)
                __builtin_prefetch(g->pixels + g->index[b + 1] * g->K + k);
        scale_row(g->K, g->x + b * g->K, g->pixels + g->index[b] * g->K, g->divisor);
    }
    return 0;
}

void LS_PER_ISA(ls_gather_u8)(ptrdiff_t B, ptrdiff_t K, float *x, const uint8_t *pixels, const int64_t *index,
                              float divisor)
{
    const struct gather g = {B, K, x, pixels, index, divisor, NULL, NULL};
    team_run((double)B * (double)K * 0.2, gather_u8_part, &g);
}

static int64_t gather_rows_part(const void *job, int thread, int threads)
{
    const struct gather *g = job;
    const struct range r = range_part(g->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        g->row(g->context, g->index[b], g->x + b * g->K);
    return 0;
}

void LS_PER_ISA(ls_gather_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const int64_t *index,
                                void (*row)(const void *context, int64_t index, float *x),
                                const void *context)
{
    const struct gather g = {B, K, x, NULL, index, 0.0f, row, context};
    team_run((double)B * (double)K, gather_rows_part, &g);
}
