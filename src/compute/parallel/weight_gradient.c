/* Weight and bias gradients: dw = x^T dz and db, summed over samples by the tree over leaves (contract rule
 * 3).
 *
 * A tile of dw walks the leaves in order.  Each leaf's fold starts from +0 in registers and is then pushed
 * onto the tile's own stack, a binary counter: digit l, when set, holds the finished subtree of 2^l leaves.
 * So the tree costs a few additions a leaf in L1, no copy of the gradient and no second pass.  dz is packed,
 * whole leaves at a time; when more than one packing is needed the tiles take turns, each keeping its stack.
 */
#include <stdbool.h>

#include "base/contract.h"
#include "compute/parallel/cut.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/panel.h"
#include "compute/parallel/tile.h"

struct gradient {
    struct ls_dense_shape shape;
    ptrdiff_t m, leaves;
    float *dw, *db;
    const float *x, *dz;
};

struct gradient_tile {
    ptrdiff_t begin, end;   /* leaves to walk now */
    ptrdiff_t leaves, m, B; /* of the whole batch */
    struct tile_left x;     /* at row `begin * m` of the batch */
    struct tile_right dz;   /* the same */
    float *stack;           /* one tile a level */
    float *dw;
    ptrdiff_t dw_row;
    int last;
};

/* acc = stack[level] + acc, where a level is a tile of TILE_ROWS x PANEL floats. */
LS_ALWAYS_INLINE void stack_add(const int rows, const int vectors, tile acc, const float *level)
{
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[r][v] = vec_load(level + (r * vectors + v) * VEC) + acc[r][v];
}

LS_ALWAYS_INLINE void gradient_tile(const int rows, const int vectors, const struct gradient_tile *t)
{
    struct tile_left x = t->x;
    struct tile_right dz = t->dz;
    for (ptrdiff_t leaf = t->begin; leaf < t->end; leaf++) {
        const ptrdiff_t left = t->B - leaf * t->m, samples = left < t->m ? left : t->m;
        tile acc;
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            LS_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vec_zero();
        if (dz.last == VEC)
            tile_fold(rows, vectors, acc, samples, (struct tile_left){x.p, 1, x.step},
                      (struct tile_right){dz.p, dz.step, VEC});
        else
            tile_fold(rows, vectors, acc, samples, (struct tile_left){x.p, 1, x.step}, dz);
        x.p += samples * x.step;
        dz.p += samples * dz.step;
        /* Digits of `leaf` that are set hold finished subtrees to the left of this leaf: the lowest ones are
         * carried into it; the last leaf takes all, whatever gaps lie between. */
        float *level = t->stack;
        const bool final = leaf + 1 == t->leaves;
        for (ptrdiff_t digits = leaf; digits && (final || digits & 1);
             digits >>= 1, level += TILE_ROWS * PANEL)
            if (digits & 1)
                stack_add(rows, vectors, acc, level);
        if (!final) {
            LS_UNROLL
            for (int r = 0; r < rows; r++)
                row_store(vectors, level + r * vectors * VEC, acc[r], VEC);
        } else {
            LS_UNROLL
            for (int r = 0; r < rows; r++)
                row_store(vectors, t->dw + r * t->dw_row, acc[r], t->last);
        }
    }
}

#define DEFINE(R, V)                                                                                         \
    static void gradient_##R##x##V(const struct gradient_tile *t)                                            \
    {                                                                                                        \
        gradient_tile(R, V, t);                                                                              \
    }
#define ENTRY(R, V) gradient_##R##x##V,
LS_EACH_TILE(DEFINE)
static void (*const gradient_tiles[])(const struct gradient_tile *) = {LS_EACH_TILE(ENTRY)};

enum { TILE_FLOATS = TILE_ROWS * PANEL, STACK_TILES = LS_SCRATCH_STACK / TILE_FLOATS };
_Static_assert((int)STACK_TILES >= (int)LS_TREE_LEVELS, "one tile's stack fits");

/* Tiles [first, end) of the panel at column `at`, over all leaves, `chunk` of them in the packed panel at
 * once. */
static void gradient_group(const struct gradient *g, struct range rows, struct range tiles, ptrdiff_t n_tiles,
                           ptrdiff_t at, int columns, ptrdiff_t chunk, ptrdiff_t levels)
{
    const int vectors = (columns + VEC - 1) / VEC;
    const ptrdiff_t K = g->shape.K, N = g->shape.N;
    struct gradient_tile t = {.leaves = g->leaves,
                              .m = g->m,
                              .B = g->shape.B,
                              .x = {.row = 1, .step = K},
                              .dz = {.p = ls_scratch.panel, .step = vectors * VEC, .last = VEC},
                              .dw_row = N,
                              .last = columns - (vectors - 1) * VEC};
    const bool packed = chunk > 0;
    for (ptrdiff_t leaf = 0; leaf < g->leaves; leaf = t.end) {
        t.begin = leaf;
        t.end = packed && leaf + chunk < g->leaves ? leaf + chunk : g->leaves;
        const ptrdiff_t sample = t.begin * g->m, past = t.end < g->leaves ? t.end * g->m : g->shape.B;
        if (packed)
            panel_pack(ls_scratch.panel, past - sample, g->dz + sample * N + at, N, columns);
        else
            t.dz = (struct tile_right){g->dz + sample * N + at, N, t.last};
        for (ptrdiff_t i = tiles.begin; i < tiles.end; i++) {
            const struct range part = range_part(rows.end - rows.begin, 1, i, n_tiles);
            const ptrdiff_t k = rows.begin + part.begin;
            t.x.p = g->x + sample * K + k;
            t.dw = g->dw + k * N + at;
            t.stack = ls_scratch.stack + (i - tiles.begin) * levels * TILE_FLOATS;
            gradient_tiles[tile_index(part.end - part.begin, vectors)](&t);
        }
    }
}

static void gradient_panel(const struct gradient *g, struct range rows, ptrdiff_t at, int columns)
{
    const int width = (columns + VEC - 1) / VEC * VEC;
    const ptrdiff_t n_tiles = tiles_of(rows.end - rows.begin), capacity = LS_SCRATCH_PANEL / width;
    const ptrdiff_t B = g->shape.B, m = g->m < B ? g->m : B;
    ptrdiff_t chunk = n_tiles > 1 || columns < width ? capacity / m : 0, levels = 0, group = n_tiles;
    if (chunk > 0 && chunk < g->leaves) {
        for (levels = 1; g->leaves >> levels; levels++)
            ;
        group = STACK_TILES / levels;
    }
    for (ptrdiff_t i = 0; i < n_tiles; i += group)
        gradient_group(g, rows, (struct range){i, i + group < n_tiles ? i + group : n_tiles}, n_tiles, at,
                       columns, chunk, levels);
}

/* db of columns [at, at + columns), columns <= BIAS_VECTORS vectors: enough independent sums to hide the
 * latency of one. */
enum { BIAS_VECTORS = 4 };

static void bias_columns(const struct gradient *g, ptrdiff_t at, int columns)
{
    const int vectors = (columns + VEC - 1) / VEC, last = columns - (vectors - 1) * VEC;
    vec stack[LS_TREE_LEVELS][BIAS_VECTORS];
    const float *dz = g->dz + at;
    for (ptrdiff_t leaf = 0; leaf < g->leaves; leaf++) {
        vec acc[BIAS_VECTORS] = {vec_zero()};
        const ptrdiff_t left = g->shape.B - leaf * g->m, samples = left < g->m ? left : g->m;
        if (columns == BIAS_VECTORS * VEC)
            for (ptrdiff_t b = 0; b < samples; b++, dz += g->shape.N)
                LS_UNROLL
        for (int v = 0; v < BIAS_VECTORS; v++)
            acc[v] = acc[v] + vec_load(dz + v * VEC);
        else for (ptrdiff_t b = 0; b < samples; b++, dz += g->shape.N)
            LS_UNROLL for (int v = 0; v < BIAS_VECTORS; v++) if (v < vectors) acc[v] =
                acc[v] + vec_load_first(dz + v * VEC, v < vectors - 1 ? VEC : last);
        const bool final = leaf + 1 == g->leaves;
        int level = 0;
        for (ptrdiff_t digits = leaf; digits && (final || digits & 1); digits >>= 1, level++)
            if (digits & 1)
                for (int v = 0; v < vectors; v++)
                    acc[v] = stack[level][v] + acc[v];
        for (int v = 0; v < vectors; v++) {
            if (final)
                vec_store_first(g->db + at + v * VEC, acc[v], v < vectors - 1 ? VEC : last);
            else
                stack[level][v] = acc[v];
        }
    }
}

static int64_t gradient_part(const void *job, int thread, int threads)
{
    const struct gradient *g = job;
    const struct rectangle mine = rectangle_of(thread, threads, g->shape.K, g->shape.N);
    for (ptrdiff_t at = mine.columns.begin; at < mine.columns.end; at += PANEL)
        gradient_panel(g, mine.rows, at, panel_columns(at, mine.columns.end));
    if (g->db) {
        /* The columns of db are dealt to all threads on their own. */
        const struct range mine_db = range_part(g->shape.N, VEC, threads - 1 - thread, threads);
        for (ptrdiff_t at = mine_db.begin; at < mine_db.end; at += BIAS_VECTORS * VEC)
            bias_columns(
                g, at, mine_db.end - at < BIAS_VECTORS * VEC ? (int)(mine_db.end - at) : BIAS_VECTORS * VEC);
    }
    return 0;
}

void LS_PER_ISA(ls_dense_weight_gradient)(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                          const float *x, const float *dz)
{
    if (shape.B == 0) {
        memset(dw, 0, (size_t)shape.K * (size_t)shape.N * sizeof *dw);
        if (db)
            memset(db, 0, (size_t)shape.N * sizeof *db);
        return;
    }
    const struct gradient g = {shape, m, (shape.B - 1) / m + 1, dw, db, x, dz};
    team_run((double)shape.B * (double)shape.K * (double)shape.N / 25.0, gradient_part, &g);
#ifdef LS_MUTANT_FLOAT_REDUCTION
    for (ptrdiff_t j = 0; db && j < shape.N; j++) {
        float sum = 0.0f;
#    pragma omp parallel for default(none) firstprivate(shape, j, dz) num_threads(ls_ops_threads()) reduction(+ : sum)
        for (ptrdiff_t b = 0; b < shape.B; b++)
            sum = sum + dz[b * shape.N + j];
        db[j] = sum;
    }
#endif
}
