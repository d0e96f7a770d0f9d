/* Weight and bias gradients: dw = x^T dz and db, summed over samples by the tree over leaves (contract rule
 * 3).
 *
 * A tile of dw walks the leaves in order.  Each leaf's fold starts from +0 in registers and is then pushed
 * onto the tile's own stack, a binary counter: digit l, when set, holds the finished subtree of 2^l leaves.
 * So the tree costs a few additions a leaf in L1, no copy of the gradient and no second pass.  dz is packed,
 * whole leaves at a time; when more than one packing is needed the tiles take turns, each keeping its stack.
 *
 * x is read where it lies.  Copies of it for strides that fall into one cache set, made before or during the
 * tiles, with and without prefetch, were no faster: the misses of a tile hide behind its arithmetic, those of
 * a copy do not. */
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
    while ((g->leaves - 1) >> (walk.low + walk.high))
        walk.high++;
    walk.turn = (STACK_TILES - walk.low) / (walk.high * n_panels);
    if (walk.turn == 0)
        walk = (struct walk){.chunk = 0, .turn = tiles, .low = LS_TREE_LEVELS};
    return walk;
}

/* Part of the work of a thread: a rectangle of dw, cut into n_tiles of rows, and how to walk it. */
struct part {
    struct range rows;
    ptrdiff_t n_tiles, at; /* first column */
    int columns;
    struct walk walk;
};

/* Tile i of rows, all panels, samples b, whose leaves t holds; `place` is its place in the turn. */
static void gradient_row(const struct gradient *g, const struct part *p, struct gradient_tile *t, ptrdiff_t i,
                         struct range b, ptrdiff_t place)
{
    const ptrdiff_t K = g->shape.K, N = g->shape.N;
    const struct range k = range_part(p->rows.end - p->rows.begin, 1, i, p->n_tiles);
    const int n_panels = (p->columns + PANEL - 1) / PANEL;
    t->x = (struct tile_left){g->x + b.begin * K + p->rows.begin + k.begin, 1, K};
    t->high = t->low + (p->walk.low + place * p->walk.high * n_panels) * TILE_FLOATS;
    for (int from = 0; from < p->columns; from += PANEL, t->high += p->walk.high * TILE_FLOATS) {
        const int some = next_columns(from, p->columns, PANEL), width = whole_vectors(some);
        t->last = some - width + VEC;
        t->dz = p->walk.chunk ? (struct tile_right){ls_scratch.panels + from * (b.end - b.begin), width, VEC}
                              : (struct tile_right){g->dz + b.begin * N + p->at + from, N, t->last};
        t->dw = g->dw + (p->rows.begin + k.begin) * N + p->at + from;
        gradient_tiles[tile_index(k.end - k.begin, width / VEC)](t);
    }
}

/* Tiles of rows [tiles.begin, tiles.end) over all leaves. */
static void gradient_turn(const struct gradient *g, const struct part *p, struct range tiles)
{
    const ptrdiff_t N = g->shape.N;
    struct gradient_tile t = {.leaves = g->leaves,
                              .m = g->m,
                              .B = g->shape.B,
                              .dw_row = N,
                              .low = ls_scratch.stack,
                              .low_levels = p->walk.low};
    for (t.begin = 0; t.begin < g->leaves; t.begin = t.end) {
        t.end = p->walk.chunk && t.begin + p->walk.chunk < g->leaves ? t.begin + p->walk.chunk : g->leaves;
        const struct range b = {t.begin * g->m, t.end < g->leaves ? t.end * g->m : g->shape.B};
        for (int from = 0; p->walk.chunk && from < p->columns; from += PANEL)
            panel_pack(ls_scratch.panels + from * (b.end - b.begin), b.end - b.begin,
                       g->dz + b.begin * N + p->at + from, N, next_columns(from, p->columns, PANEL));
        for (ptrdiff_t i = tiles.begin; i < tiles.end; i++)
            gradient_row(g, p, &t, i, b, i - tiles.begin);
    }
}

/* A rectangle of dw.  Turns are the outer loop, so that their columns of x stay in a cache for all groups of
 * columns. */
static void gradient_rectangle(const struct gradient *g, struct rectangle mine)
{
    const ptrdiff_t tiles = tiles_of(mine.rows.end - mine.rows.begin);
    const int widest = next_columns(mine.columns.begin, mine.columns.end, GROUP);
    if (tiles == 0 || widest == 0)
        return;
    struct part part = {mine.rows, tiles, 0, 0, walk_of(g, tiles, widest)};
    const ptrdiff_t turns = (tiles + part.walk.turn - 1) / part.walk.turn;
    for (ptrdiff_t turn = 0; turn < turns; turn++)
        for (part.at = mine.columns.begin; part.at < mine.columns.end; part.at += GROUP) {
            part.columns = next_columns(part.at, mine.columns.end, GROUP);
            gradient_turn(g, &part, range_part(tiles, 1, turn, turns));
        }
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
        for (ptrdiff_t b = 0; b < samples; b++, dz += g->shape.N) {
            LS_UNROLL
            for (int v = 0; v < BIAS_VECTORS; v++)
                if (v < vectors - 1)
                    acc[v] = acc[v] + vec_load(dz + v * VEC);
                else if (v == vectors - 1)
                    acc[v] = acc[v] + vec_load_first(dz + v * VEC, last);
        }
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
    gradient_rectangle(g, mine);
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
