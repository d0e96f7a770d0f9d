/* Everything that is one independent formula an element: activations, the tree's additions.
 *
 * The loops are plain C over the scalar formulas; the compiler makes vectors of them, and as no element
 * depends on another and -ffp-contract=off is on, vectors and scalar remainders give the same bits. */
#include "compute/parallel/elementwise.h"

#include "base/contract.h"
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

static void backward_range(const struct activation *a, struct range r)
{
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
}

static int64_t backward_part(const void *job, int thread, int threads)
{
    const struct activation *a = job;
    backward_range(a, range_part(a->n, LINE, thread, threads));
    return 0;
}

void LS_PER_ISA(ls_activation_backward)(enum ls_activation act, float slope, ptrdiff_t n, float *dz,
                                        const float *dy, const float *y)
{
    const struct activation a = {act, slope, n, dz, dy, y};
    team_run(activation_ns(act > LS_ACT_LEAKYRELU ? act : LS_ACT_RELU, n), backward_part, &a);
}

/* to from a and b, one formula for a whole buffer. */
struct pairs {
    ptrdiff_t n;
    float *to;
    const float *a, *b;
    float factor;
    enum ls_activation act;
    const float *y; /* of a derivative */
};

/* A stretch at a time, so that its activation finds it in L1. */
enum { STRETCH = 2048 };

static int64_t add_part(const void *job, int thread, int threads)
{
    const struct pairs *p = job;
    const struct range r = range_part(p->n, LINE, thread, threads);
    for (ptrdiff_t at = r.begin; at < r.end; at += STRETCH) {
        const ptrdiff_t n = r.end - at < STRETCH ? r.end - at : STRETCH;
        float *y = p->to + at;
        const float *a = p->a + at, *b = p->b + at;
        if (p->act == LS_ACT_RELU) {
            for (ptrdiff_t i = 0; i < n; i++) {
                const float sum = a[i] + b[i];
                y[i] = sum <= 0.0f ? 0.0f : sum;
            }
            continue;
        }
        for (ptrdiff_t i = 0; i < n; i++)
            y[i] = a[i] + b[i];
        if (p->act != LS_ACT_NONE)
            activate(p->act, 0.0f, n, y, y);
    }
    return 0;
}

void LS_PER_ISA(ls_add)(enum ls_activation act, ptrdiff_t n, float *y, const float *a, const float *b)
{
    const struct pairs p = {.n = n, .to = y, .a = a, .b = b, .act = act};
    team_run((double)n * (act > LS_ACT_RELU ? 1.0 : 0.2), add_part, &p);
}

static int64_t add_backward_part(const void *job, int thread, int threads)
{
    const struct pairs *p = job;
    const struct range r = range_part(p->n, LINE, thread, threads);
    const struct activation back = {p->act, 0.0f, p->n, p->to, p->to, p->y};
    for (ptrdiff_t at = r.begin; at < r.end; at += STRETCH) {
        const ptrdiff_t end = r.end - at < STRETCH ? r.end : at + STRETCH;
        if (p->act == LS_ACT_RELU) {
            for (ptrdiff_t i = at; i < end; i++) {
                const float sum = p->a[i] + p->b[i];
                p->to[i] = p->y[i] <= 0.0f ? 0.0f : sum;
            }
            continue;
        }
        for (ptrdiff_t i = at; i < end; i++)
            p->to[i] = p->a[i] + p->b[i];
        backward_range(&back, (struct range){at, end});
    }
    return 0;
}

void LS_PER_ISA(ls_add_backward)(enum ls_activation act, ptrdiff_t n, float *dz, const float *a,
                                 const float *b, const float *y)
{
    const struct pairs p = {.n = n, .to = dz, .a = a, .b = b, .act = act, .y = y};
    team_run((double)n * 0.3, add_backward_part, &p);
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

/* Work is cut by elements, not by rows: few rows may be long and many rows short. */
struct scaling {
    ptrdiff_t B, K;
    float *x;
    const float *offset, *factor;
};

static int64_t scale_rows_part(const void *job, int thread, int threads)
{
    const struct scaling *s = job;
    const ptrdiff_t K = s->K;
    const struct range r = range_part(s->B * K, LINE, thread, threads);
    for (ptrdiff_t i = r.begin; i < r.end;) {
        const ptrdiff_t first = i % K, n = r.end - i < K - first ? r.end - i : K - first;
        float *restrict x = s->x + i;
        const float *restrict offset = s->offset + first, *restrict factor = s->factor + first;
        for (ptrdiff_t k = 0; k < n; k++)
            x[k] = (x[k] - offset[k]) * factor[k];
        i += n;
    }
    return 0;
}

void LS_PER_ISA(ls_scale_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const float *offset, const float *factor)
{
    const struct scaling s = {B, K, x, offset, factor};
    team_run((double)B * (double)K * 0.2, scale_rows_part, &s);
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
    team_run((double)n * 0.5, tree_add_part, &a);
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
