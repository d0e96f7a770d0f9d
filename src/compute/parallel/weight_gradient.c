/* Weight and bias gradients: dw = x^T dz and db, summed over samples by the tree over leaves (contract rule
 * 3).
 *
 * A tile of dw walks the leaves in order.  Each leaf's fold starts from +0 in registers and is then pushed
 * onto the tile's own stack, a binary counter: digit l, when set, holds the finished subtree of 2^l leaves.
 * So the tree costs a few additions a leaf in L1, no copy of the gradient and no second pass.  dz is packed,
 * whole leaves at a time; when more than one packing is needed the tiles take turns, each keeping its stack.
 *
 * For wide layers x is copied first, once for all columns where there is room for all samples, else for each
 * group of columns and chunk of leaves: a tile then reads one stream.  2048 x 1024 x 1024 runs at 68 % of the
 * FMA peak, 77 without the tree (one leaf), 41 without any copy. */
#include <stdbool.h>

#include "base/contract.h"
#include "compute/parallel/cut.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/narrow_gradient.h"
#include "compute/parallel/panel.h"
#include "compute/parallel/tile.h"

struct gradient {
    struct ls_dense_shape shape;
    ptrdiff_t m, leaves;
    float *dw, *db;
    const float *x, *dz;
};

enum {
    STACK_TILES = LS_SCRATCH_STACK / TILE_FLOATS,
    /* Columns whose dz is packed together: as many as fit, within these bounds.  With few, x is fetched too
     * often, with narrower chunks of leaves dz is packed too often: 1024 samples are best packed for 256
     * columns. */
    LEAST_GROUP = 4 * PANEL,
    MOST_GROUP = 1 << 14,
    /* x is copied where at least WORTH_COPYING panels use it, STRIPE tiles at a time, which is whole cache
       lines. */
    WORTH_COPYING = 4,
    STRIPE = 8,
    LEFT_STEP = 6, /* floats of a sample in the copy of a tile */
    MOVE = 8       /* as many are moved at once, the next sample's over those beyond LEFT_STEP */
};
_Static_assert((int)STACK_TILES >= (int)LS_TREE_LEVELS, "one tile's whole stack fits");

struct gradient_tile {
    ptrdiff_t begin, end;   /* leaves to walk now */
    ptrdiff_t leaves, m, B; /* of the whole batch */
    struct tile_left x;     /* at row `begin * m` of the batch */
    struct tile_right dz;   /* the same */
    float *low, *high;      /* stack, one tile a level: of levels < low_levels, of the others */
    int low_levels, copied; /* x has LEFT_STEP, dz is packed */
    float *dw;
    ptrdiff_t dw_row;
    int last;
};

static inline float *stack_level(const struct gradient_tile *t, int level)
{
    return level < t->low_levels ? t->low + level * TILE_FLOATS
                                 : t->high + (level - t->low_levels) * TILE_FLOATS;
}

/* The finished tile, from where the last leaf left it, to dw. */
LS_ALWAYS_INLINE void tile_to_dw(const int rows, const int vectors, const struct gradient_tile *t,
                                 const float *from)
{
    for (int r = 0; r < rows; r++) {
        vec row[PANEL_VECTORS];
        row_load(vectors, row, from + r * vectors * VEC, VEC);
        row_store(vectors, t->dw + r * t->dw_row, row, t->last);
    }
}

LS_ALWAYS_INLINE void gradient_tile(const int rows, const int vectors, const struct gradient_tile *t)
{
    struct tile_left x = t->x;
    struct tile_right dz = t->dz;
    float *to = NULL;
    for (ptrdiff_t leaf = t->begin; leaf < t->end; leaf++) {
        const ptrdiff_t left = t->B - leaf * t->m, samples = left < t->m ? left : t->m;
        tile acc;
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            LS_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vec_zero();
        if (t->copied && rows <= LEFT_STEP) /* strides that the compiler knows */
            tile_fold(rows, vectors, acc, samples, (struct tile_left){x.p, 1, LEFT_STEP},
                      (struct tile_right){dz.p, vectors * VEC, VEC});
        else if (dz.last == VEC)
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
                tile_add(rows, vectors, acc, stack_level(t, level));
        to = stack_level(t, final && level > 0 ? level - 1 : level); /* the last one's own is free again */
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            row_store(vectors, to + r * vectors * VEC, acc[r], VEC);
    }
    /* Not from registers: two places to go to had the compiler move all of them with each leaf. */
    if (t->end == t->leaves)
        tile_to_dw(rows, vectors, t, to);
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
    const int width = whole_vectors(columns), n_panels = panels_of(columns);
    const ptrdiff_t m = g->m < g->shape.B ? g->m : g->shape.B, room = ls_panel_floats / width / m;
    struct walk walk = {.chunk = g->leaves, .turn = tiles, .low = LS_TREE_LEVELS};
    if (ls_panel_floats / width >= g->shape.B)
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
    int copied; /* x of the turn's tiles, all samples: not chunk by chunk */
};

/* Rows of tile i. */
static struct range tile_range(const struct part *p, ptrdiff_t i)
{
    return range_part(p->rows.end - p->rows.begin, 1, i, p->n_tiles);
}

/* Floats from one tile's copy to the next: an odd number of lines, so that all cache sets are used. */
static ptrdiff_t copy_floats(ptrdiff_t samples)
{
    return ((samples * LEFT_STEP + MOVE + LINE - 1) / LINE | 1) * LINE;
}

/* Copies of x to `first`, the columns of tiles [tiles.begin, tiles.end), samples b:
 * tile after tile, a sample's numbers side by side.  Of x itself, a tile's numbers of neighbouring samples
 * may all lie in one cache set, each in a line and a page of its own. */
static void copy_stripe(const struct gradient *g, const struct part *p, struct range tiles, struct range b,
                        float *first)
{
    const ptrdiff_t n = tiles.end - tiles.begin, K = g->shape.K, step = copy_floats(b.end - b.begin);
    ptrdiff_t from[STRIPE];
    for (ptrdiff_t i = 0; i < n; i++)
        from[i] = p->rows.begin + tile_range(p, tiles.begin + i).begin;
    for (ptrdiff_t s = b.begin; s < b.end; s++, first += LEFT_STEP) {
        const float *x = g->x + s * K;
        const ptrdiff_t left = (g->shape.B - s) * K; /* of x: rows of few inputs end it before the last one */
        float *to = first;
        for (ptrdiff_t i = 0; i < n; i++, to += step)
            if (from[i] + MOVE > left)
                memcpy(to, x + from[i], (size_t)(left - from[i]) * sizeof *to);
            else
                memcpy(to, x + from[i], MOVE * sizeof *to);
    }
}

/* All tiles of a turn, all samples. */
static void copy_turn(const struct gradient *g, const struct part *p, struct range tiles)
{
    for (ptrdiff_t i = tiles.begin; i < tiles.end; i += STRIPE) {
        const ptrdiff_t end = i + STRIPE < tiles.end ? i + STRIPE : tiles.end;
        copy_stripe(g, p, (struct range){i, end}, (struct range){0, g->shape.B},
                    scratch_of_thread()->left + (i - tiles.begin) * copy_floats(g->shape.B));
    }
}

/* Tile i of rows, all panels, samples b, whose leaves t holds; `place` is its place in the turn, `copy` where
 * its columns of x were copied to, or NULL. */
static void gradient_row(const struct gradient *g, const struct part *p, struct gradient_tile *t, ptrdiff_t i,
                         struct range b, ptrdiff_t place, const float *copy)
{
    const ptrdiff_t K = g->shape.K, N = g->shape.N, samples = b.end - b.begin;
    const struct range k = range_part(p->rows.end - p->rows.begin, 1, i, p->n_tiles);
    const int n_panels = panels_of(p->columns);
    t->copied = copy != NULL;
    t->x = copy ? (struct tile_left){copy, 1, LEFT_STEP}
                : (struct tile_left){g->x + b.begin * K + p->rows.begin + k.begin, 1, K};
    t->high = t->low + (p->walk.low + place * p->walk.high * n_panels) * TILE_FLOATS;
    for (int panel = 0; panel < n_panels; panel++, t->high += p->walk.high * TILE_FLOATS) {
        const struct range part = range_part(p->columns, VEC, panel, n_panels);
        const int columns = (int)(part.end - part.begin), width = whole_vectors(columns);
        t->last = columns - width + VEC;
        t->dz = p->walk.chunk
                    ? (struct tile_right){scratch_of_thread()->panels + part.begin * samples, width, VEC}
                    : (struct tile_right){g->dz + b.begin * N + p->at + part.begin, N, t->last};
        t->dw = g->dw + (p->rows.begin + k.begin) * N + p->at + part.begin;
        gradient_tiles[tile_index(k.end - k.begin, width / VEC)](t);
    }
}

static void pack_dz(const struct gradient *g, const struct part *p, struct range b)
{
    const int n_panels = panels_of(p->columns);
    for (int i = 0; i < n_panels; i++) {
        const struct range panel = range_part(p->columns, VEC, i, n_panels);
        panel_pack(scratch_of_thread()->panels + panel.begin * (b.end - b.begin), b.end - b.begin,
                   g->dz + b.begin * g->shape.N + p->at + panel.begin, g->shape.N,
                   (int)(panel.end - panel.begin));
    }
}

/* Whether x is worth copying for so many columns. */
static int worth_copying(const struct part *p, int columns)
{
    const ptrdiff_t highest = (p->rows.end - p->rows.begin + p->n_tiles - 1) / p->n_tiles;
    return p->walk.chunk && panels_of(columns) >= WORTH_COPYING && highest <= LEFT_STEP;
}

/* Tiles whose columns of x are copied together for a chunk; 0: they are read where they lie. */
static ptrdiff_t stripe_of(const struct part *p, ptrdiff_t samples)
{
    const ptrdiff_t room = LS_SCRATCH_IMAGE / copy_floats(samples);
    if (!worth_copying(p, p->columns))
        return 0;
    return room < STRIPE ? room : STRIPE;
}

/* Tiles of rows [tiles.begin, tiles.end) over all leaves. */
static void gradient_turn(const struct gradient *g, const struct part *p, struct range tiles)
{
    struct gradient_tile t = {.leaves = g->leaves,
                              .m = g->m,
                              .B = g->shape.B,
                              .dw_row = g->shape.N,
                              .low = scratch_of_thread()->stack,
                              .low_levels = p->walk.low};
    for (t.begin = 0; t.begin < g->leaves; t.begin = t.end) {
        t.end = p->walk.chunk && t.begin + p->walk.chunk < g->leaves ? t.begin + p->walk.chunk : g->leaves;
        const struct range b = {t.begin * g->m, t.end < g->leaves ? t.end * g->m : g->shape.B};
        const ptrdiff_t samples = b.end - b.begin, stripe = p->copied ? 0 : stripe_of(p, samples);
        if (p->walk.chunk)
            pack_dz(g, p, b);
        for (ptrdiff_t i = tiles.begin; i < tiles.end; i++) {
            const ptrdiff_t place = i - tiles.begin;
            const float *copy = NULL;
            if (stripe && place % stripe == 0)
                copy_stripe(g, p, (struct range){i, i + stripe < tiles.end ? i + stripe : tiles.end}, b,
                            scratch_of_thread()->image);
            if (p->copied)
                copy = scratch_of_thread()->left + place * copy_floats(g->shape.B) + b.begin * LEFT_STEP;
            else if (stripe)
                copy = scratch_of_thread()->image + place % stripe * copy_floats(samples);
            gradient_row(g, p, &t, i, b, place, copy);
        }
    }
}

/* A rectangle of dw.  Turns are the outer loop, so that their columns of x stay in a cache for all groups of
 * columns. */
static void gradient_rectangle(const struct gradient *g, struct rectangle mine)
{
    const ptrdiff_t fit = ls_panel_floats / g->shape.B / PANEL * PANEL;
    const int group = fit < LEAST_GROUP ? LEAST_GROUP : fit < MOST_GROUP ? (int)fit : MOST_GROUP;
    const int widest = next_columns(mine.columns.begin, mine.columns.end, group);
    if (mine.rows.begin == mine.rows.end || widest == 0)
        return;
    const struct range first = range_part(widest, VEC, 0, panels_of(widest));
    const ptrdiff_t tiles =
        tiles_of(mine.rows.end - mine.rows.begin, whole_vectors((int)(first.end - first.begin)) / VEC);
    struct part part = {mine.rows, tiles, 0, 0, walk_of(g, tiles, widest), 0};
    const ptrdiff_t room = LS_SCRATCH_LEFT / copy_floats(g->shape.B);
    part.copied =
        room >= STRIPE && mine.columns.end - mine.columns.begin > group && worth_copying(&part, widest);
    if (part.copied && part.walk.turn > room)
        part.walk.turn = room;
    const ptrdiff_t turns = (tiles + part.walk.turn - 1) / part.walk.turn;
    for (ptrdiff_t turn = 0; turn < turns; turn++) {
        const struct range own = range_part(tiles, 1, turn, turns);
        if (part.copied)
            copy_turn(g, &part, own);
        for (part.at = mine.columns.begin; part.at < mine.columns.end; part.at += group) {
            part.columns = next_columns(part.at, mine.columns.end, group);
            gradient_turn(g, &part, own);
        }
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
    struct gradient own = *(const struct gradient *)job;
    const struct gradient *g = &own;
    const struct rectangle mine = rectangle_of(thread, threads, g->shape.K, g->shape.N, CUT_BETWEEN_ROWS);
    own.x = copy_of_thread(own.x, own.shape.x, thread);
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
#ifndef LS_MUTANT_FLOAT_REDUCTION /* which is to reach every bias */
    if (LS_PER_ISA(ls_gradient_is_narrow)(shape)) {
        LS_PER_ISA(ls_narrow_gradient)(shape, m, dw, db, x, dz);
        return;
    }
#endif
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
