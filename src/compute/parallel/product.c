/* Forward and input-gradient products: C = fold over depth of A times B, then an activation or its
 * derivative.
 *
 * Forward reads B = w as it lies; the input gradient reads it transposed, while packing.  The columns of a
 * thread go in groups and the depth in blocks, such that the packed panels of a group and block fill half of
 * L2; all tiles of rows run over them.  A partial fold waits in C, which does not change its bits.  Without
 * this order a product of 2048 columns read A from memory once a panel, at all of its bandwidth.  Rows of A
 * are copied for a group that is wide: their own stride may put them all into one cache set, and a stride
 * that the compiler knows saves registers. */
#include "compute/bell.h"
#include "compute/parallel/cut.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/finish.h"
#include "compute/parallel/gather.h"
#include "compute/parallel/panel.h"
#include "compute/parallel/tile.h"

struct product {
    ptrdiff_t rows, columns, depth;
    float *c;       /* (rows, columns) */
    const float *a; /* (rows, depth) */
    struct ls_copies a_copies;
    const struct ls_gather *gather; /* how threads fill a, each what it reads; NULL: a is there */
    float *x;                       /* of a thread that does: a */
    const float *b;                 /* (depth, columns), or (columns, depth) when transposed */
    int b_transposed;
    const float *bias;          /* (columns) or NULL: where each fold starts */
    const float *y;             /* (rows, columns): for the derivatives */
    enum finish finish;         /* done in registers */
    enum ls_activation after;   /* done on finished rows in L1: tanh and sigmoid */
    struct ls_bell *tiles_done; /* of each thread, for a relay; NULL: no relay */
};

/* Depths of a block: a tile's rows of as many, side by side, are 12 to 24 KiB and stay in L1 or L2 while the
 * panels stream past.  They are copied where at least WORTH_COPYING panels use them. */
enum { DEPTH = 512, WORTH_COPYING = 4, LEFT_STEP = DEPTH + LINE };
/* One panel of a narrow matrix is read where it lies by up to so many tiles: packing it took a fifth of a
 * step of 784-128-10 with 64 samples.  With 512 columns packing is worth it. */
enum { FEW_TILES = 16, NARROW = 256 };
_Static_assert((int)MOST_ROWS *(int)LEFT_STEP <= (int)LS_SCRATCH_IMAGE, "a tile's rows fit");

struct product_tile {
    ptrdiff_t depth, c_row;
    int copied; /* a has LEFT_STEP, b is packed */
    struct tile_left a;
    struct tile_right b;
    struct tile_result c;
    /* To be fetched on the way: columns `next_left` of the next tile's rows, from `next` on; and whether
     * there is a next panel, whose results these rows are. */
    const float *next;
    ptrdiff_t next_rows, next_row;
    struct range next_left;
    int next_panel;
};

/* Row r of what comes next, rows of the left matrix into L2.  Between two pieces of the fold: all at once,
 * the fetches wait for each other, and the fold for them. */
LS_ALWAYS_INLINE void fetch_next(const int vectors, const struct product_tile *t, ptrdiff_t r)
{
    if (t->next_panel)
        LS_UNROLL
    for (int v = 0; v < vectors; v += LINE / VEC) {
        __builtin_prefetch(t->c.to + r * t->c_row + (vectors + v) * VEC, 1);
        if (t->c.finish > FINISH_RELU)
            __builtin_prefetch(t->c.y + r * t->c_row + (vectors + v) * VEC);
    }
    if (r < t->next_rows)
        for (ptrdiff_t k = t->next_left.begin; k < t->next_left.end; k += LINE)
            __builtin_prefetch(t->next + r * t->next_row + k, 0, 2);
}

LS_ALWAYS_INLINE void product_tile(const int rows, const int vectors, const struct product_tile *t)
{
    tile acc;
    ptrdiff_t places[MOST_ROWS];
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        places[r] = r * t->c_row;
    tile_start(rows, vectors, acc, &t->c, places);
    if (t->copied) { /* strides that the compiler knows */
        const ptrdiff_t piece = (t->depth + rows - 1) / rows;
        const float *left = t->a.p, *right = t->b.p;
        for (ptrdiff_t r = 0, to_do = t->depth; r < rows; r++, to_do -= piece) {
            tile_fold(rows, vectors, acc, piece < to_do ? piece : to_do,
                      (struct tile_left){left, LEFT_STEP, 1}, (struct tile_right){right, vectors * VEC, VEC});
            left += piece;
            right += piece * vectors * VEC;
            fetch_next(vectors, t, r);
        }
    } else { /* nothing is fetched beyond the block: in a relay that is the next thread's, and may be dirty */
        const ptrdiff_t most = t->depth > AHEAD ? t->depth - AHEAD : 0;
        tile_fold_rows(rows, vectors, AHEAD, acc, most, t->a.p, t->a.row,
                       (struct tile_right){t->b.p, t->b.step, VEC});
        tile_fold_rows(rows, vectors, 0, acc, t->depth - most, t->a.p + most, t->a.row,
                       (struct tile_right){t->b.p + most * t->b.step, t->b.step, VEC});
    }
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

/* A block of the product: these columns of B, depths k, packed or where they lie. */
struct block {
    ptrdiff_t at;
    int columns, panels, packed;
    struct range k;
    int gathers;         /* the first to read these depths */
    unsigned first_tile; /* of a relay: tiles before it */
};

static void pack(const struct product *p, const struct block *b)
{
    const ptrdiff_t depth = b->k.end - b->k.begin;
    for (int i = 0; i < b->panels; i++) {
        const struct range part = range_part(b->columns, VEC, i, b->panels);
        const int columns = (int)(part.end - part.begin), width = whole_vectors(columns);
        const ptrdiff_t at = b->at + part.begin;
        float *panel = scratch_of_thread()->panels + part.begin * depth;
        if (p->b_transposed)
            panel_pack_transposed(panel, width, depth, p->b + at * p->depth + b->k.begin, p->depth, columns);
        else
            panel_pack(panel, depth, p->b + b->k.begin * p->columns + at, p->columns, columns);
    }
}

/* A tile's rows side by side, at a stride that spreads over all cache sets. */
static void copy_left(const float *from, ptrdiff_t step, ptrdiff_t rows, ptrdiff_t depth)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        float *to = scratch_of_thread()->image + r * LEFT_STEP;
        ptrdiff_t k = 0;
        for (; k + VEC <= depth; k += VEC)
            vec_store(to + k, vec_load(from + r * step + k));
        if (k < depth)
            vec_store(to + k, vec_load_first(from + r * step + k, (int)(depth - k)));
    }
}

/* The same for all rows, where the fold is too short to be cut. */
static void fetch_at_once(const struct product_tile *t, ptrdiff_t height, int width)
{
    for (ptrdiff_t r = 0; t->next_panel && r < height; r++)
        for (int at = width; at < 2 * width; at += LINE) {
            __builtin_prefetch(t->c.to + r * t->c_row + at, 1);
            if (t->c.finish > FINISH_RELU)
                __builtin_prefetch(t->c.y + r * t->c_row + at);
        }
    for (ptrdiff_t r = 0; r < t->next_rows; r++)
        for (ptrdiff_t k = t->next_left.begin; k < t->next_left.end; k += LINE)
            __builtin_prefetch(t->next + r * t->next_row + k, 0, 2);
}

/* Rows [row, row + height) of a block; the next tile's rows are fetched into L2 on the way. */
static void product_rows(const struct product *p, const struct block *b, ptrdiff_t row, ptrdiff_t height,
                         ptrdiff_t next_height)
{
    const int last_block = b->k.end == p->depth;
    const ptrdiff_t depth = b->k.end - b->k.begin;
    struct product_tile t = {.depth = depth,
                             .c_row = p->columns,
                             .a = {p->a + row * p->depth + b->k.begin, p->depth, 1},
                             .c = {.resume = b->k.begin > 0, .finish = last_block ? p->finish : FINISH_NONE}};
    t.next = t.a.p + height * p->depth;
    t.next_row = p->depth;
    t.next_rows = next_height < height ? next_height : height;
    t.copied = b->packed && b->panels >= WORTH_COPYING;
    if (t.copied) {
        copy_left(t.a.p, p->depth, height, depth);
        t.a = (struct tile_left){scratch_of_thread()->image, LEFT_STEP, 1};
    }
    for (int i = 0; i < b->panels; i++) {
        const struct range part = range_part(b->columns, VEC, i, b->panels);
        const int columns = (int)(part.end - part.begin), width = whole_vectors(columns);
        const ptrdiff_t at = b->at + part.begin;
        t.b = b->packed ? (struct tile_right){scratch_of_thread()->panels + part.begin * depth, width, VEC}
                        : (struct tile_right){p->b + b->k.begin * p->columns + at, p->columns, VEC};
        t.c.last = columns - width + VEC;
        t.c.bias = p->bias ? p->bias + at : NULL;
        t.c.to = p->c + row * p->columns + at;
        t.c.y = p->y ? p->y + row * p->columns + at : NULL;
        t.next_panel = i + 1 < b->panels;
        t.next_left = range_part(depth, LINE, i, b->panels);
        if (!t.copied)
            fetch_at_once(&t, height, width);
        product_tiles[tile_index(height, width / VEC)](&t);
        if (last_block && p->after != LS_ACT_NONE)
            for (ptrdiff_t r = 0; r < height; r++)
                activate(p->after, 0.0f, columns, t.c.to + r * p->columns, t.c.to + r * p->columns);
    }
}

/* Tiles of `rows` rows. */
static ptrdiff_t tiles_of_block(const struct block *b, ptrdiff_t rows)
{
    const struct range widest = range_part(b->columns, VEC, 0, b->panels);
    return tiles_of(rows, whole_vectors((int)(widest.end - widest.begin)) / VEC);
}

/* Each tile begins when `before` counts one more, and `after` then counts it; NULL: there is none to wait
 * for, nobody waits. */
static void product_block(const struct product *p, const struct block *b, struct range rows,
                          struct ls_bell *before, struct ls_bell *after)
{
    const ptrdiff_t n = rows.end - rows.begin, tiles = tiles_of_block(b, n);
    struct block own = *b;
    own.packed = p->b_transposed || b->columns % VEC != 0 ||
                 (tiles > 1 && (tiles > FEW_TILES || b->panels > 1 || p->columns > NARROW));
    if (own.packed)
        pack(p, &own);
    for (ptrdiff_t i = 0; i < tiles; i++) {
        const struct range part = range_part(n, 1, i, tiles),
                           next = i + 1 < tiles ? range_part(n, 1, i + 1, tiles) : (struct range){0, 0};
        const struct range tile_rows = {rows.begin + part.begin, rows.begin + part.end};
        if (own.gathers)
            LS_PER_ISA(ls_gather_rectangle)(p->gather, p->x, tile_rows, own.k);
        if (before)
            ls_bell_await(before, own.first_tile + (unsigned)i + 1);
        product_rows(p, &own, tile_rows.begin, part.end - part.begin, next.end - next.begin);
        if (after)
            ls_bell_ring(after);
    }
}

/* A relay: threads share out the depth, and each goes on, tile by tile, where the one before it stopped.  Of
 * the weights a thread reads the rows whose gradients it sums and which it updates, all in its own cache, and
 * of A their columns; what travels between cores is partial folds, far smaller.  Cut between columns, half of
 * a thread's weights come out of the other core's cache, and what two cores have read must be claimed again
 * by the update: a step of 784-128-10 with 64 samples takes two threads 16 % longer.
 *
 * It pays where a thread's weights stay in its cache from one step to the next, and there are many more tiles
 * than threads, as the last thread waits until all others have done one. */
enum { MOST_IN_RELAY = 8, LEAST_DEPTH = 96, LEAST_TILES = 10 };

/* Of the weights, those that a thread sums the gradients of and updates. */
static struct rectangle weights_of(const struct product *p, int thread, int threads)
{
    return rectangle_of(thread, threads, p->depth, p->columns, CUT_BETWEEN_ROWS);
}

static int is_relay(const struct product *p, int threads)
{
    const struct block first = {.columns = PANEL, .panels = 1};
    const struct range last = weights_of(p, threads - 1, threads).rows,
                       columns =
                           weights_of(p, 0, threads).columns; /* all: whole rows are what is shared out */
    const ptrdiff_t longest = p->depth - last.begin + 1, tiles = tiles_of_block(&first, p->rows);
    return threads > 1 && threads <= MOST_IN_RELAY && columns.end == p->columns && last.end == p->depth &&
           last.begin >= (threads - 1) * LEAST_DEPTH && p->columns >= PANEL && p->depth >= 2 * p->rows &&
           longest * p->columns <= ls_panel_floats &&
           tiles * (p->columns / PANEL) >= (threads - 1) * LEAST_TILES;
}

static int64_t relay_part(const struct product *p, int thread, int threads)
{
    struct ls_bell *before = thread > 0 ? &p->tiles_done[thread - 1] : NULL,
                   *after = thread + 1 < threads ? &p->tiles_done[thread] : NULL;
    struct block b = {.panels = 1, .k = weights_of(p, thread, threads).rows};
    for (b.at = 0; b.at < p->columns; b.at += b.columns) {
        b.columns = next_columns(b.at, p->columns, PANEL);
        product_block(p, &b, (struct range){0, p->rows}, before, after);
        b.first_tile += (unsigned)tiles_of_block(&b, p->rows);
    }
    return 0;
}

/* Of the product.  Of few columns a vector less is not worth reading all rows of A in two threads. */
static struct rectangle part_of(const struct product *p, int thread, int threads)
{
    return rectangle_of(thread, threads, p->rows, p->columns,
                        p->columns < 2 * VEC ? CUT_BETWEEN_ROWS : CUT_BETWEEN_COLUMNS);
}

static int64_t product_part(const void *job, int thread, int threads)
{
    struct product own = *(const struct product *)job;
    const struct product *p = &own;
    const struct rectangle mine = part_of(p, thread, threads);
    own.a = copy_of_thread(own.a, own.a_copies, thread);
    own.x = p->gather ? p->gather->x + (own.a - p->gather->x) : NULL;
    if (p->tiles_done && is_relay(p, threads))
        return relay_part(p, thread, threads);
    const ptrdiff_t blocks = (p->depth + DEPTH - 1) / DEPTH, fit = ls_panel_floats / DEPTH / PANEL * PANEL;
    const int most = fit > PANEL ? (int)fit : PANEL;
    if (mine.rows.begin == mine.rows.end)
        return 0;
    struct block b;
    for (b.at = mine.columns.begin; b.at < mine.columns.end; b.at += b.columns) {
        b.columns = next_columns(b.at, mine.columns.end, most);
        b.panels = panels_of(b.columns);
        for (ptrdiff_t block = 0; block < blocks; block++) {
            b.k = range_part(p->depth, VEC, block, blocks);
            b.gathers = p->gather && b.at == mine.columns.begin;
            product_block(p, &b, mine.rows, NULL, NULL);
        }
    }
    return 0;
}

/* Nanoseconds of a product, guessed from 50 flops each. */
static double product_ns(const struct product *p)
{
    return (double)p->rows * (double)p->columns * (double)p->depth / 25.0;
}

static struct product forward_of(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                                 const float *bias, enum ls_activation act)
{
    return (struct product){.rows = shape.B,
                            .columns = shape.N,
                            .depth = shape.K,
                            .c = y,
                            .a = x,
                            .a_copies = shape.x,
                            .b = w,
                            .bias = bias,
                            .finish = finish_forward(act),
                            .after = finish_after(act)};
}

/* A thread's copy costs its conversion once more for each of the others.  It pays where threads share out
 * columns, so that each reads all of x, and have enough of them to do; and while a copy leaves most of L2 to
 * the weights.  A step of 784-128-10 with 64 samples takes two threads 5 % less. */
int LS_PER_ISA(ls_dense_input_copies)(struct ls_dense_shape shape)
{
    const int threads = ls_ops_threads(), least_columns = 32;
    return threads > 1 && shape.N >= threads * least_columns && shape.B * shape.K <= ls_panel_floats ? threads
                                                                                                     : 1;
}

static void run_forward(struct product *p)
{
    struct ls_bell tiles_done[MOST_IN_RELAY];
    if (is_relay(p, ls_ops_threads())) {
        p->tiles_done = tiles_done;
        for (int t = 0; t < MOST_IN_RELAY; t++)
            tiles_done[t] = (struct ls_bell)LS_BELL_INITIALIZER;
    }
    team_run(product_ns(p), product_part, p);
}

void LS_PER_ISA(ls_dense_forward)(struct ls_dense_shape shape, float *y, const float *x, const float *w,
                                  const float *bias, enum ls_activation act)
{
    struct product p = forward_of(shape, y, x, w, bias, act);
    run_forward(&p);
}

/* Whether threads can fill x on the way: each of them reads all columns of its rows, or all rows of its copy,
 * and so nothing that another would fill.  Not in a relay: a thread would fill its columns of each row, and
 * the cache line that it shares with the next one's goes to and fro (a step of 784-128-10 took 7 % longer).
 */
static int is_filled_on_the_way(const struct product *p, int threads)
{
    const struct rectangle first = part_of(p, 0, threads), last = part_of(p, threads - 1, threads);
    if (is_relay(p, threads))
        return 0;
    if (p->a_copies.n > 1)
        return p->a_copies.n == threads && last.rows.begin == 0 && last.rows.end == p->rows &&
               last.columns.begin < last.columns.end;
    return first.columns.end == p->columns;
}

void LS_PER_ISA(ls_dense_forward_gathered)(struct ls_dense_shape shape, float *y, const struct ls_gather *x,
                                           const float *w, const float *bias, enum ls_activation act)
{
    struct product p = forward_of(shape, y, x->x, w, bias, act);
    const int threads = team_threads(product_ns(&p)) == 1 ? 1 : ls_team_threads();
    if (threads > 0 && is_filled_on_the_way(&p, threads))
        p.gather = x;
    else
        LS_PER_ISA(ls_gather)(x);
    run_forward(&p);
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
