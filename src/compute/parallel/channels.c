/* Sums over the rows of a matrix, column by column, through the tree over leaves: what batch normalisation
 * learns of its channels, and the weight gradients of both normalisations.
 *
 * A few vectors of columns, or a few leaves of one vector where a row has no more, are folded side by side:
 * independent sums that hide the latency of one.  The tree is a stack of such vectors, a binary counter as in
 * weight_gradient.c.
 *
 * A channel has one number as its result, so cutting by results alone leaves threads without work.  Leaves
 * are cut as well: into chunks of 2^k leaves, which are subtrees, so that what a thread finds of its chunks
 * are nodes of the one tree.  The caller finishes it. */
#include "compute/parallel/channels.h"

#include <stdbool.h>

#include "base/contract.h"
#include "compute/parallel/cut.h"
#include "compute/parallel/team.h"

enum sums { SUM, SQUARES, PRODUCTS, ROW_PRODUCTS, N_SUMS };

struct columns {
    enum sums kind;
    ptrdiff_t rows, C;           /* of the matrices */
    ptrdiff_t leaf_rows, leaves; /* rows in a leaf; the last one may have fewer */
    ptrdiff_t chunk, chunks;     /* leaves in a chunk, a power of two; their number */
    const float *x, *dz;         /* dz of products only */
    const float *mean, *inverse; /* a column; of ROW_PRODUCTS the statistics of rows, as pairs in `mean` */
    float *sums[2];              /* (chunks, C) each; the second of products only */
};

enum { SIDE = 4 }; /* sums side by side */

/* acc[o][l * vectors + v] = the fold of leaf `leaf + l`, vector v from column `at`, sum o.  `some` columns
 * are in the last vector unless that is `whole`. */
LS_ALWAYS_INLINE void fold(const enum sums kind, const int leaves, const int vectors, const bool whole,
                           const struct columns *p, ptrdiff_t leaf, ptrdiff_t at, int some, vec acc[2][SIDE])
{
    const ptrdiff_t first = leaf * p->leaf_rows, step = p->leaf_rows * p->C;
    const ptrdiff_t rows = p->rows - first < p->leaf_rows ? p->rows - first : p->leaf_rows;
    const float *x = p->x + first * p->C + at, *dz = kind >= PRODUCTS ? p->dz + first * p->C + at : NULL;
    vec mean[SIDE], inverse[SIDE], sum[2][SIDE];
    LS_UNROLL
    for (int v = 0; v < vectors; v++) {
        if (kind == SQUARES || kind == PRODUCTS)
            mean[v] = vec_load_first(p->mean + at + v * VEC, whole ? VEC : some);
        if (kind == PRODUCTS)
            inverse[v] = vec_load_first(p->inverse + at + v * VEC, whole ? VEC : some);
    }
    LS_UNROLL
    for (int i = 0; i < leaves * vectors; i++)
        sum[0][i] = sum[1][i] = vec_zero();
    for (ptrdiff_t row = 0; row < rows; row++) {
        LS_UNROLL
        for (int i = 0; i < leaves * vectors; i++) {
            const int l = i / vectors, v = i % vectors;
            const ptrdiff_t from = row * p->C + l * step + v * VEC;
            const vec value = whole ? vec_load(x + from) : vec_load_first(x + from, some);
            if (kind == SUM) {
                sum[0][i] = sum[0][i] + value;
                continue;
            }
            if (kind == SQUARES) {
                const vec d = value - mean[v];
                sum[0][i] = vec_fma(d, d, sum[0][i]);
                continue;
            }
            const float *of_row = p->mean + 2 * (first + row + l * p->leaf_rows);
            const vec h = kind == PRODUCTS ? (value - mean[v]) * inverse[v]
                                           : (value - vec_all(of_row[0])) * vec_all(of_row[1]);
            const vec d = whole ? vec_load(dz + from) : vec_load_first(dz + from, some);
            sum[0][i] = vec_fma(d, h, sum[0][i]);
            sum[1][i] = sum[1][i] + d;
        }
    }
    LS_UNROLL
    for (int i = 0; i < leaves * vectors; i++) {
        acc[0][i] = sum[0][i];
        acc[1][i] = sum[1][i];
    }
}

typedef void fold_shape(const struct columns *p, ptrdiff_t leaf, ptrdiff_t at, int some, vec acc[2][SIDE]);
#define DEFINE(KIND, LEAVES, VECTORS, WHOLE, NAME)                                                           \
    static void NAME(const struct columns *p, ptrdiff_t leaf, ptrdiff_t at, int some, vec acc[2][SIDE])      \
    {                                                                                                        \
        fold(KIND, LEAVES, VECTORS, WHOLE, p, leaf, at, some, acc);                                          \
    }
#define DEFINE_ALL(KIND)                                                                                     \
    DEFINE(KIND, 1, 1, false, KIND##_1x1_part)                                                               \
    DEFINE(KIND, 2, 1, false, KIND##_2x1_part)                                                               \
    DEFINE(KIND, 4, 1, false, KIND##_4x1_part)                                                               \
    DEFINE(KIND, 1, 1, true, KIND##_1x1)                                                                     \
    DEFINE(KIND, 2, 1, true, KIND##_2x1)                                                                     \
    DEFINE(KIND, 4, 1, true, KIND##_4x1)                                                                     \
    DEFINE(KIND, 1, 2, true, KIND##_1x2)                                                                     \
    DEFINE(KIND, 2, 2, true, KIND##_2x2)                                                                     \
    DEFINE(KIND, 1, 4, true, KIND##_1x4)
DEFINE_ALL(SUM)
DEFINE_ALL(SQUARES)
DEFINE_ALL(PRODUCTS)
DEFINE_ALL(ROW_PRODUCTS)

/* 1, 2 and 4 leaves of part of a vector, and of 1, 2 and 4 vectors, as far as they go side by side. */
#define SHAPES(KIND)                                                                                         \
    {                                                                                                        \
        {KIND##_1x1_part, KIND##_2x1_part, KIND##_4x1_part}, {KIND##_1x1, KIND##_2x1, KIND##_4x1},           \
            {KIND##_1x2, KIND##_2x2, NULL},                                                                  \
        {                                                                                                    \
            KIND##_1x4, NULL, NULL                                                                           \
        }                                                                                                    \
    }
enum { PART_SHAPE, ONE_SHAPE, TWO_SHAPE, FOUR_SHAPE, N_SHAPES };
static fold_shape *const folds[N_SUMS][N_SHAPES][3] = {SHAPES(SUM), SHAPES(SQUARES), SHAPES(PRODUCTS),
                                                       SHAPES(ROW_PRODUCTS)};

/* A group of columns and, of a thread, their stack. */
struct group {
    ptrdiff_t at;
    int shape, vectors, some;
    vec stack[LS_TREE_LEVELS][2][SIDE];
};

/* Leaf `leaf` of the group, its sums in columns `from` of acc, joins its chunk's tree. */
static void push(const struct columns *p, struct group *g, ptrdiff_t leaf, vec acc[2][SIDE], int from)
{
    const int n_sums = p->kind >= PRODUCTS ? 2 : 1;
    const bool final = leaf + 1 == p->leaves || (leaf + 1) % p->chunk == 0;
    for (int o = 0; o < n_sums; o++) {
        int level = 0;
        for (ptrdiff_t digits = leaf % p->chunk; digits && (final || digits & 1); digits >>= 1, level++)
            for (int v = 0; v < g->vectors && digits & 1; v++)
                acc[o][from + v] = g->stack[level][o][v] + acc[o][from + v];
        float *to = p->sums[o] + leaf / p->chunk * p->C + g->at;
        for (int v = 0; v < g->vectors; v++)
            if (final)
                vec_store_first(to + v * VEC, acc[o][from + v], g->some);
            else
                g->stack[level][o][v] = acc[o][from + v];
    }
}

static void fold_group(const struct columns *p, struct group *g, struct range chunks)
{
    const ptrdiff_t end = chunks.end == p->chunks ? p->leaves : chunks.end * p->chunk;
    const ptrdiff_t full = p->rows / p->leaf_rows, end_full = end < full ? end : full;
    vec acc[2][SIDE];
    for (ptrdiff_t leaf = chunks.begin * p->chunk; leaf < end;) {
        int doublings = 0; /* leaves side by side have as many rows each */
        while (g->vectors << (doublings + 1) <= SIDE && leaf + (2 << doublings) <= end_full)
            doublings++;
        folds[p->kind][g->shape][doublings](p, leaf, g->at, g->some, acc);
        for (int l = 0; l < 1 << doublings; l++)
            push(p, g, leaf++, acc, l * g->vectors);
    }
}

static int64_t columns_part(const void *job, int thread, int threads)
{
    const struct columns *p = job;
    const struct rectangle mine = rectangle_of(thread, threads, p->chunks, p->C, CUT_BETWEEN_ROWS);
    struct group g;
    for (g.at = mine.columns.begin; g.at < mine.columns.end; g.at += g.vectors * VEC) {
        const ptrdiff_t left = mine.columns.end - g.at;
        g.shape = left >= 4 * VEC   ? FOUR_SHAPE
                  : left >= 2 * VEC ? TWO_SHAPE
                  : left >= VEC     ? ONE_SHAPE
                                    : PART_SHAPE;
        g.vectors = g.shape == FOUR_SHAPE ? 4 : g.shape == TWO_SHAPE ? 2 : 1;
        g.some = left < VEC ? (int)left : VEC;
        fold_group(p, &g, mine.rows);
    }
    return 0;
}

/* roots[0] = tree of `n` rows of C, level by level. */
static void finish_tree(ptrdiff_t n, ptrdiff_t C, float *roots)
{
    for (; n > 1; n = (n + 1) / 2)
        for (ptrdiff_t i = 0; i < (n + 1) / 2; i++) {
            float *to = roots + i * C;
            const float *left = roots + 2 * i * C, *right = left + C;
            if (2 * i + 1 < n)
                for (ptrdiff_t c = 0; c < C; c++)
                    to[c] = left[c] + right[c];
            else
                memmove(to, left, (size_t)C * sizeof *to);
        }
}

/* Chunks enough for threads to share, as few as that allows, and no more than the scratch has room for. */
static void choose_chunks(struct columns *p, int n_sums)
{
    const ptrdiff_t wanted = 8 * (ptrdiff_t)ls_ops_threads(), room = LS_SCRATCH_STACK / n_sums / p->C;
    p->chunk = 1;
    while (p->chunk < p->leaves && ((p->leaves - 1) / p->chunk + 1 > wanted ||
                                    (p->leaves - 1) / p->chunk + 1 > room || ls_ops_threads() == 1))
        p->chunk *= 2;
    p->chunks = (p->leaves - 1) / p->chunk + 1;
}

/* The sums of p, whose matrices have B * P rows, to first and second. */
static void sum_columns(struct columns *p, ptrdiff_t B, ptrdiff_t P, ptrdiff_t m, float *first, float *second)
{
    const int n_sums = p->kind >= PRODUCTS ? 2 : 1;
    const size_t bytes = (size_t)p->C * sizeof *first;
    float *const to[2] = {first, second};
    for (int o = 0; o < n_sums && B * P == 0; o++)
        memset(to[o], 0, bytes);
    if (B * P == 0)
        return;
    p->rows = B * P;
    p->leaf_rows = (m < B ? m : B) * P;
    p->leaves = (B - 1) / m + 1;
    choose_chunks(p, n_sums);
    for (int o = 0; o < n_sums; o++)
        p->sums[o] = p->chunks == 1 ? to[o] : scratch_of_thread()->stack + o * p->chunks * p->C;
    team_run((double)p->rows * (double)p->C * (p->kind >= PRODUCTS ? 0.2 : 0.1), columns_part, p);
    for (int o = 0; o < n_sums && p->chunks > 1; o++) {
        finish_tree(p->chunks, p->C, p->sums[o]);
        memcpy(to[o], p->sums[o], bytes);
    }
}

void LS_PER_ISA(ls_channel_sum)(const struct ls_channels *shape, ptrdiff_t m, float *sum, const float *x)
{
    struct columns p = {.kind = SUM, .C = shape->C, .x = x};
    sum_columns(&p, shape->B, shape->P, m, sum, NULL);
}

void LS_PER_ISA(ls_channel_square_sum)(const struct ls_channels *shape, ptrdiff_t m, float *sum,
                                       const float *x, const float *mean)
{
    struct columns p = {.kind = SQUARES, .C = shape->C, .x = x, .mean = mean};
    sum_columns(&p, shape->B, shape->P, m, sum, NULL);
}

void LS_PER_ISA(ls_batchnorm_sums)(const struct ls_channels *shape, ptrdiff_t m, float *dgamma, float *dbeta,
                                   const float *dz, const float *x, const float *mean, const float *inverse)
{
    struct columns p = {.kind = PRODUCTS, .C = shape->C, .x = x, .dz = dz, .mean = mean, .inverse = inverse};
    sum_columns(&p, shape->B, shape->P, m, dgamma, dbeta);
}

void LS_PER_ISA(ls_layernorm_weight_gradient)(ptrdiff_t B, ptrdiff_t K, ptrdiff_t m, float *dgamma,
                                              float *dbeta, const float *dz, const float *x,
                                              const float *statistics)
{
    struct columns p = {.kind = ROW_PRODUCTS, .C = K, .x = x, .dz = dz, .mean = statistics};
    sum_columns(&p, B, 1, m, dgamma, dbeta);
}
