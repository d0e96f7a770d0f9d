/* Forward and input-gradient products: C = fold over depth of A times B, then an activation or its
 * derivative.
 *
 * Forward reads B = w as it lies; the input gradient reads it transposed, while packing.  A panel is packed
 * when at least two tiles of rows use it, or when its width is not whole vectors; depth is cut where the
 * scratch is full, and a partial fold waits in C, which does not change its bits.  Rows of A are read where
 * they are: copying them when their stride is bad for the caches cost more than it brought. */
#include "compute/parallel/cut.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/finish.h"
#include "compute/parallel/panel.h"
#include "compute/parallel/tile.h"

struct product {
    ptrdiff_t rows, columns, depth;
    float *c;       /* (rows, columns) */
    const float *a; /* (rows, depth) */
    const float *b; /* (depth, columns), or (columns, depth) when transposed */
    int b_transposed;
    const float *bias;        /* (columns) or NULL: where each fold starts */
    const float *y;           /* (rows, columns): for the derivatives */
    enum finish finish;       /* done in registers */
    enum ls_activation after; /* done on finished rows in L1: tanh and sigmoid */
};

struct product_tile {
    ptrdiff_t depth, c_row;
    struct tile_left a;
    struct tile_right b;
    struct tile_result c;
};

LS_ALWAYS_INLINE void product_tile(const int rows, const int vectors, const struct product_tile *t)
{
    tile acc;
    ptrdiff_t places[TILE_ROWS];
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        places[r] = r * t->c_row;
    tile_start(rows, vectors, acc, &t->c, places);
    tile_fold(rows, vectors, acc, t->depth, (struct tile_left){t->a.p, t->a.row, 1},
              (struct tile_right){t->b.p, t->b.step, VEC});
    tile_end(rows, vectors, acc, &t->c, places);
}

#define DEFINE(R, V)                                                                                         \
    static void product_##R##x##V(const struct product_tile *t)                                              \
    {                                                                                                        \
        product_tile(R, V, t);                                                                               \
    }
#define ENTRY(R, V) product_##R##x##V,
LS_EACH_TILE(DEFINE)
static void (*const product_tiles[])(const struct product_tile *) = {LS_EACH_TILE(ENTRY)};

/* The panel of B at column `at`, depths k: packed, or B itself when only one tile would use that. */
static struct tile_right product_right(const struct product *p, ptrdiff_t at, int columns, struct range k,
                                       ptrdiff_t tiles)
{
    float *panel = ls_scratch.panels;
    const int width = whole_vectors(columns);
    const ptrdiff_t depth = k.end - k.begin;
    if (p->b_transposed)
        panel_pack_transposed(panel, width, depth, p->b + at * p->depth + k.begin, p->depth, columns);
    else if (tiles > 1 || columns != width)
        panel_pack(panel, depth, p->b + k.begin * p->columns + at, p->columns, columns);
    else
        return (struct tile_right){p->b + k.begin * p->columns + at, p->columns, VEC};
    return (struct tile_right){panel, width, VEC};
}

/* Columns [at, at + columns), one panel, of these rows, depths k. */
static void product_panel(const struct product *p, struct range rows, ptrdiff_t at, int columns,
                          struct range k)
{
    const ptrdiff_t tiles = tiles_of(rows.end - rows.begin);
    const int vectors = whole_vectors(columns) / VEC, last_block = k.end == p->depth;
    struct product_tile t = {.depth = k.end - k.begin,
                             .c_row = p->columns,
                             .a = {.row = p->depth, .step = 1},
                             .b = product_right(p, at, columns, k, tiles),
                             .c = {.last = columns - (vectors - 1) * VEC,
                                   .resume = k.begin > 0,
                                   .bias = p->bias ? p->bias + at : NULL,
                                   .finish = last_block ? p->finish : FINISH_NONE}};
    for (ptrdiff_t i = 0; i < tiles; i++) {
        const struct range part = range_part(rows.end - rows.begin, 1, i, tiles);
        const ptrdiff_t row = rows.begin + part.begin, height = part.end - part.begin;
        t.c.to = p->c + row * p->columns + at;
        t.c.y = p->y ? p->y + row * p->columns + at : NULL;
        t.a.p = p->a + row * p->depth + k.begin;
        product_tiles[tile_index(height, vectors)](&t);
        if (last_block && p->after != LS_ACT_NONE)
            for (ptrdiff_t r = 0; r < height; r++)
                activate(p->after, 0.0f, columns, t.c.to + r * p->columns, t.c.to + r * p->columns);
    }
}

static int64_t product_part(const void *job, int thread, int threads)
{
    const struct product *p = job;
    const struct rectangle mine = rectangle_of(thread, threads, p->rows, p->columns, CUT_BETWEEN_COLUMNS);
    if (mine.rows.begin == mine.rows.end)
        return 0;
    for (ptrdiff_t at = mine.columns.begin; at < mine.columns.end; at += PANEL) {
        const int columns = next_columns(at, mine.columns.end, PANEL);
        const ptrdiff_t capacity = LS_SCRATCH_PANELS / PANEL, blocks = (p->depth + capacity - 1) / capacity;
        for (ptrdiff_t block = 0; block < blocks; block++)
            product_panel(p, mine.rows, at, columns, range_part(p->depth, VEC, block, blocks));
    }
    return 0;
}

/* Nanoseconds of a product, guessed from 50 flops each. */
static double product_ns(const struct product *p)
{
    return (double)p->rows * (double)p->columns * (double)p->depth / 25.0;
}

void LS_PER_ISA(ls_dense_forward)(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                                  const float *bias, enum ls_activation act)
{
    const struct product p = {.rows = shape.B,
                              .columns = shape.N,
                              .depth = shape.K,
                              .c = y,
                              .a = x,
                              .b = w,
                              .bias = bias,
                              .finish = finish_forward(act),
                              .after = finish_after(act)};
    team_run(product_ns(&p), product_part, &p);
}

void LS_PER_ISA(ls_dense_input_gradient)(struct ls_dense_shape shape, float *dx, const float *dz,
                                         const float *w, enum ls_activation act, const float *x)
{
    const struct product p = {.rows = shape.B,
                              .columns = shape.K,
                              .depth = shape.N,
                              .c = dx,
                              .a = dz,
                              .b = w,
                              .b_transposed = 1,
                              .y = x,
                              .finish = finish_gradient(act),
                              .after = LS_ACT_NONE};
    team_run(product_ns(&p), product_part, &p);
}
