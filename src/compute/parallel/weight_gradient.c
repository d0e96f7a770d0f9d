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

enum { TILE_FLOATS = TILE_ROWS * PANEL, STACK_TILES = LS_SCRATCH_STACK / TILE_FLOATS };
_Static_assert((int)STACK_TILES >= (int)LS_TREE_LEVELS, "one tile's whole stack fits");

struct gradient_tile {
    ptrdiff_t begin, end;   /* leaves to walk now */
    ptrdiff_t leaves, m, B; /* of the whole batch */
    struct tile_left x;     /* at row `begin * m` of the batch */
    struct tile_right dz;   /* the same */
    float *low, *high;      /* stack, one tile a level: of levels < low_levels, of the others */
    int low_levels;
    float *dw;
    ptrdiff_t dw_row;
    int last;
};

static inline float *stack_level(const struct gradient_tile *t, int level)
{
    return level < t->low_levels ? t->low + level * TILE_FLOATS
                                 : t->high + (level - t->low_levels) * TILE_FLOATS;
}

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
        const bool final = leaf + 1 == t->leaves;
        int level = 0;
        for (ptrdiff_t digits = leaf; digits && (final || digits & 1); digits >>= 1, level++)
            if (digits & 1)
                stack_add(rows, vectors, acc, stack_level(t, level));
        float *to = stack_level(t, level);
        if (!final) {
            LS_UNROLL
            for (int r = 0; r < rows; r++)
                row_store(vectors, to + r * vectors * VEC, acc[r], VEC);
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

/* Rows [b.begin, b.end) of x, columns k .. k + height - 1, as a tile reads them; copied when several panels
 * read rows of a bad stride. */
static struct tile_left gradient_left(const struct gradient *g, ptrdiff_t k, ptrdiff_t height, struct range b,
                                      int n_panels)
{
    enum { WIDTH = (TILE_ROWS + VEC - 1) / VEC * VEC };
    const ptrdiff_t K = g->shape.K, samples = b.end - b.begin;
    const float *x = g->x + b.begin * K + k;
    if (n_panels == 1 || !stride_is_bad(K) || samples * WIDTH > LS_SCRATCH_LEFT)
        return (struct tile_left){x, 1, K};
    for (ptrdiff_t i = 0; i < samples; i++)
        for (int v = 0; v < WIDTH && v < height; v += VEC)
            vec_store(ls_scratch.left + i * WIDTH + v,
                      vec_load_first(x + i * K + v, height - v < VEC ? (int)(height - v) : VEC));
    return (struct tile_left){ls_scratch.left, 1, WIDTH};
}

/* How a group of columns is walked.  `chunk` leaves are packed at once: all, or a power of two, or 0 for
 * none.  Within an aligned chunk of 2^low leaves the lowest `low` levels of the stack begin and end empty, so
 * tiles share them; the `high` levels above are each tile's own while `turn` tiles of rows take turns. */
struct walk {
    ptrdiff_t chunk, turn;
    int low, high;
};

static struct walk walk_of(const struct gradient *g, ptrdiff_t tiles, int columns)
{
    const int width = whole_vectors(columns), n_panels = (columns + PANEL - 1) / PANEL;
    const ptrdiff_t m = g->m < g->shape.B ? g->m : g->shape.B, room = LS_SCRATCH_PANELS / width / m;
    struct walk walk = {.chunk = g->leaves, .turn = tiles, .low = LS_TREE_LEVELS};
    if (room >= g->leaves)
        return walk;
    if (room == 0) {
        walk.chunk = 0;
        return walk;
    }
    for (walk.low = 0; room >> (walk.low + 1); walk.low++)
        ;
    walk.chunk = (ptrdiff_t)1 << walk.low;
    while (g->leaves >> (walk.low + walk.high))
        walk.high++;
    walk.turn = (STACK_TILES - walk.low) / (walk.high * n_panels);
    if (walk.turn == 0)
        walk = (struct walk){.chunk = 0, .turn = tiles, .low = LS_TREE_LEVELS};
    return walk;
}

/* Tiles [tiles.begin, tiles.end) of n_tiles, for all leaves, of the columns at .. at + columns - 1. */
static void gradient_turn(const struct gradient *g, const struct walk *walk, struct range rows,
                          struct range tiles, ptrdiff_t n_tiles, ptrdiff_t at, int columns)
{
    const ptrdiff_t N = g->shape.N;
    const int n_panels = (columns + PANEL - 1) / PANEL;
    struct gradient_tile t = {
        .leaves = g->leaves, .m = g->m, .B = g->shape.B, .dw_row = N, .low_levels = walk->low};
    t.low = ls_scratch.stack;
    for (t.begin = 0; t.begin < g->leaves; t.begin = t.end) {
        t.end = walk->chunk && t.begin + walk->chunk < g->leaves ? t.begin + walk->chunk : g->leaves;
        const struct range b = {t.begin * g->m, t.end < g->leaves ? t.end * g->m : g->shape.B};
        for (int from = 0; walk->chunk && from < columns; from += PANEL)
            panel_pack(ls_scratch.panels + from * (b.end - b.begin), b.end - b.begin,
                       g->dz + b.begin * N + at + from, N, next_columns(from, columns, PANEL));
        for (ptrdiff_t i = tiles.begin; i < tiles.end; i++) {
            const struct range part = range_part(rows.end - rows.begin, 1, i, n_tiles);
            const ptrdiff_t k = rows.begin + part.begin, height = part.end - part.begin;
            t.x = gradient_left(g, k, height, b, n_panels);
            for (int n = 0; n < n_panels; n++) {
                const int from = n * PANEL, some = next_columns(from, columns, PANEL),
                          width = whole_vectors(some);
                t.last = some - width + VEC;
                t.dz = walk->chunk
                           ? (struct tile_right){ls_scratch.panels + from * (b.end - b.begin), width, VEC}
                           : (struct tile_right){g->dz + b.begin * N + at + from, N, t.last};
                t.dw = g->dw + k * N + at + from;
                t.high = t.low + (walk->low + ((i - tiles.begin) * n_panels + n) * walk->high) * TILE_FLOATS;
                gradient_tiles[tile_index(height, width / VEC)](&t);
            }
        }
    }
}

static void gradient_group(const struct gradient *g, struct range rows, ptrdiff_t at, int columns)
{
    const ptrdiff_t tiles = tiles_of(rows.end - rows.begin);
    const struct walk walk = walk_of(g, tiles, columns);
    for (ptrdiff_t i = 0; i < tiles; i += walk.turn)
        gradient_turn(g, &walk, rows, (struct range){i, i + walk.turn < tiles ? i + walk.turn : tiles}, tiles,
                      at, columns);
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
    for (ptrdiff_t at = mine.columns.begin; at < mine.columns.end; at += GROUP)
        gradient_group(g, mine.rows, at, next_columns(at, mine.columns.end, GROUP));
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
