/* Owns measuring a feature scaling.  See scaling.h for the formulas. */
#include "train/scaling.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "train/roots.h"

enum { LEAF = LS_DEFAULT_MICROBATCH, MOST_LEAVES = 128 };
#define PASS_BYTES ((size_t)16 << 20)

struct fit {
    const struct ls_dataset *train;
    const struct ls_ops *ops;
    struct ls_comm *comm;
    int64_t n_leaves, pass_leaves;
    struct ls_range mine;
    float *x;                            /* a pass: (rows, K) */
    int64_t *index;                      /* (rows) */
    float *lo, *range, *about, *inverse; /* (K) */
    float *zeros;                        /* (K) */
    uint64_t *ordered;                   /* (2 K) */
    struct ls_roots roots;               /* slots of 2 K */
};

static void release(struct fit *fit)
{
    ls_free(fit->x);
    ls_free(fit->index);
    ls_free(fit->lo);
    ls_free(fit->ordered);
    ls_roots_release(&fit->roots);
}

static enum ls_code create(struct fit *fit, struct ls_error *err)
{
    const size_t K = (size_t)fit->train->n_features;
    fit->n_leaves = ls_count_leaves(fit->train->n_samples, LEAF);
    fit->mine = ls_leaves_of_rank(fit->n_leaves, ls_comm_size(fit->comm), ls_comm_rank(fit->comm));
    fit->pass_leaves = 1;
    while (fit->pass_leaves < MOST_LEAVES &&
           (size_t)fit->pass_leaves * 2 * LEAF * sizeof(float) <= PASS_BYTES / K)
        fit->pass_leaves *= 2;
    const size_t rows = (size_t)fit->pass_leaves * LEAF;
    fit->x = ls_alloc(rows, K * sizeof(float), "samples to scale by", err);
    fit->index = ls_alloc(rows, sizeof *fit->index, "samples to scale by", err);
    fit->lo = ls_alloc(5 * K, sizeof(float), "ranges of features", err);
    fit->ordered = ls_alloc(2 * K, sizeof *fit->ordered, "ranges of features", err);
    if (!fit->x || !fit->index || !fit->lo || !fit->ordered)
        return LS_FAILED;
    fit->range = fit->lo + K;
    fit->about = fit->range + K;
    fit->inverse = fit->about + K;
    fit->zeros = fit->inverse + K;
    return ls_roots_create(&fit->roots, ls_roots_needed(fit->n_leaves, fit->mine, fit->pass_leaves, 1),
                           (ptrdiff_t)(2 * K), err);
}

/* Reads the samples of some leaves; returns how many. */
static ptrdiff_t read_leaves(struct fit *fit, struct ls_range leaves)
{
    const int64_t n = fit->train->n_samples, begin = leaves.begin * LEAF;
    const int64_t end = leaves.end * LEAF < n ? leaves.end * LEAF : n;
    for (int64_t i = begin; i < end; i++)
        fit->index[i - begin] = i;
    ls_dataset_gather(fit->train, fit->ops, (ptrdiff_t)(end - begin), fit->index, fit->x, NULL, NULL);
    return (ptrdiff_t)(end - begin);
}

/* A NaN stays. */
static void widen(ptrdiff_t rows, ptrdiff_t K, const float *x, float *restrict lo, float *restrict hi)
{
    for (ptrdiff_t b = 0; b < rows; b++)
        for (ptrdiff_t k = 0; k < K; k++) {
            const float v = x[b * K + k];
            lo[k] = v < lo[k] || v != v ? v : lo[k];
            hi[k] = v > hi[k] || v != v ? v : hi[k];
        }
}

/* One pass over this rank's samples, then the tree over all: with `second`, sums of t and, behind them, of
 * t * t; else sums of x, and the extremes besides.  The sums are in slot 0. */
static enum ls_code pass(struct fit *fit, int second, float *hi, struct ls_error *err)
{
    const ptrdiff_t K = fit->train->n_features;
    struct ls_roots *roots = &fit->roots;
    roots->n_floats = second ? 2 * K : K;
    ls_roots_start(roots, fit->n_leaves);
    for (int64_t at = fit->mine.begin; at < fit->mine.end;) {
        const int64_t end = ls_pass_end(at, fit->mine.end, fit->pass_leaves);
        const int old = roots->n, added = ls_roots_append(roots, (struct ls_range){at, end});
        for (int p = 0; p < added; p++) {
            const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], fit->n_leaves);
            const struct ls_channels shape = {.B = read_leaves(fit, leaves), .P = 1, .C = K};
            float *sums = roots->slots[old + p];
            if (second)
                fit->ops->scale_rows(shape.B, K, fit->x, fit->about, fit->inverse);
            else
                widen(shape.B, K, fit->x, fit->lo, hi);
            fit->ops->channel_sum(&shape, LEAF, sums, fit->x);
            if (second)
                fit->ops->channel_square_sum(&shape, LEAF, sums + K, fit->x, fit->zeros);
        }
        ls_roots_merge(roots, fit->ops);
        at = end;
    }
    return ls_comm_allreduce(fit->comm, LS_ALLREDUCE_TREE, fit->n_leaves, roots->n_floats, roots->slots[0],
                             roots->slots, roots->n, err);
}

/* Integers in the order of the floats; a NaN is above all. */
static uint64_t to_ordered(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return UINT32_MAX;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static float from_ordered(uint64_t ordered)
{
    const uint32_t order = (uint32_t)ordered, bits = order >> 31 ? order & 0x7fffffffu : ~order;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The extremes over all ranks.  Zeros lose their sign, which would depend on what was met first. */
static void agree_on_extremes(struct fit *fit, float *hi)
{
    const ptrdiff_t K = fit->train->n_features;
    for (ptrdiff_t k = 0; k < K; k++) {
        fit->ordered[k] = to_ordered(-fit->lo[k]);
        fit->ordered[K + k] = to_ordered(hi[k]);
    }
    ls_comm_take_largest(fit->comm, fit->ordered, (int)(2 * K));
    for (ptrdiff_t k = 0; k < K; k++) {
        fit->lo[k] = 0.0f - from_ordered(fit->ordered[k]);
        hi[k] = from_ordered(fit->ordered[K + k]) + 0.0f;
    }
}

static enum ls_code unusable(const struct fit *fit, ptrdiff_t k, float lo, float hi, struct ls_error *err)
{
    char least[LS_FLOAT_TEXT], largest[LS_FLOAT_TEXT];
    return ls_fail(
        err, LS_FAILED,
        "--scale: the values of feature %td (from 0) of \"%s\" reach from %s to %s, which no factor "
        "in binary32 can scale: change the data, or --scale none",
        k, fit->train->name, ls_text_of_float(lo, least), ls_text_of_float(hi, largest));
}

/* What the first pass gives: range, its inverse, the value to measure from; offset and factor for minmax. */
static enum ls_code measure_ranges(struct fit *fit, struct ls_scaling *scaling, struct ls_error *err)
{
    const ptrdiff_t K = fit->train->n_features;
    float *hi = fit->range;
    for (ptrdiff_t k = 0; k < K; k++) {
        fit->lo[k] = INFINITY;
        hi[k] = -INFINITY;
    }
    enum ls_code code = pass(fit, 0, hi, err);
    if (code == LS_OK)
        agree_on_extremes(fit, hi);
    const float r = 1.0f / (float)fit->train->n_samples;
    for (ptrdiff_t k = 0; code == LS_OK && k < K; k++) {
        const float top = hi[k], range = top - fit->lo[k];
        fit->range[k] = range;
        fit->inverse[k] = range == 0.0f ? 1.0f : 1.0f / range;
        fit->about[k] = range == 0.0f ? fit->lo[k] : fit->roots.slots[0][k] * r;
        scaling->offset[k] = fit->lo[k];
        scaling->factor[k] = fit->inverse[k];
        const int standard = scaling->kind == LS_SCALE_STANDARD;
        if (!isfinite(range) || !isfinite(fit->inverse[k]) || (standard && !isfinite(fit->about[k])))
            code = unusable(fit, k, fit->lo[k], top, err);
    }
    return code;
}

static enum ls_code measure_deviations(struct fit *fit, struct ls_scaling *scaling, struct ls_error *err)
{
    const ptrdiff_t K = fit->train->n_features;
    const float r = 1.0f / (float)fit->train->n_samples;
    enum ls_code code = pass(fit, 1, NULL, err);
    const float *sums = fit->roots.slots[0];
    for (ptrdiff_t k = 0; code == LS_OK && k < K; k++) {
        const float range = fit->range[k], a = sums[k] * r, q = sums[K + k] * r;
        if (range == 0.0f)
            continue; /* as measure_ranges left it */
        const float variance = ls_fma(-a, a, q);
        scaling->offset[k] = ls_fma(range, a, fit->about[k]);
        scaling->factor[k] = 1.0f / (range * sqrtf(variance));
        if (!isfinite(scaling->offset[k]) || !isfinite(scaling->factor[k]))
            code = unusable(fit, k, fit->lo[k], fit->lo[k] + range, err);
    }
    return code;
}

enum ls_code ls_scaling_fit(struct ls_scaling *scaling, enum ls_scaling_kind kind,
                            const struct ls_dataset *train, const struct ls_ops *ops, struct ls_comm *comm,
                            struct ls_error *err)
{
    assert(!train->scaling && train->normalise.n_channels == 0); /* it is the data that are measured */
    struct fit fit = {.train = train, .ops = ops, .comm = comm};
    err->code = ls_scaling_create(scaling, kind, train->n_features, err);
    if (err->code == LS_OK)
        err->code = create(&fit, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = measure_ranges(&fit, scaling, err);
    if (code == LS_OK && kind == LS_SCALE_STANDARD)
        code = measure_deviations(&fit, scaling, err);
    release(&fit);
    if (code == LS_OK) {
        err->code = ls_scaling_describe(scaling, err);
        code = ls_comm_agree(comm, err);
    }
    if (code != LS_OK)
        ls_scaling_release(scaling);
    return code;
}
