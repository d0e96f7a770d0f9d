/* Weight and bias gradients of convolutions, summed over pixels within a leaf and by the tree over leaves.
 *
 * A row of dw is one tap of one channel, and reads a padded copy of x (conv_frame.h) shifted by that tap; db
 * is one row more, of a channel of ones.  Pieces of the leaf's images come one after the other; between two
 * of them a tile of a leaf's unfinished sums waits in dw, finished subtrees on the tile's own stack. */
#include "base/contract.h"
#include "compute/parallel/conv.h"
#include "compute/parallel/conv_gradient.h"
#include "compute/parallel/conv_gradient_tile.h"
#include "compute/parallel/dense.h"

enum { STACK_TILES = LS_SCRATCH_STACK / TILE_FLOATS };
_Static_assert((int)STACK_TILES >= (int)LS_TREE_LEVELS, "one tile's whole stack fits");

/* What a thread works on: some rows of dw, taps of channels [channels.begin, channels.end) of one group, and
 * columns from `at`; a piece of images. */
struct part {
    struct ls_scratch *scratch; /* this thread's */
    ptrdiff_t group, at;
    int columns, packed, tile; /* rows of a tile, at most; sliding, groups of them */
    struct range rows, channels;
    struct fit fit;
    struct piece piece;
    struct frame frame;
    ptrdiff_t pixels;
};

/* Row `row` of dw: where it reads, and where its columns from the part's column `from` are. */
static void find_row(const struct conv_gradient *g, const struct part *p, ptrdiff_t row, ptrdiff_t from,
                     const float **left, float **to)
{
    const ptrdiff_t window = g->KH * g->KW, c = row / window, ky = row % window / g->KW, kx = row % g->KW;
    *left = p->scratch->image + (c - p->channels.begin) * p->frame.plane +
            (ky * p->frame.width + kx) * g->walk.unit;
    *to = (c < g->depth ? g->dw + row * g->N : g->db) + p->at + from;
}

/* Where dz and its columns [from, from + columns) are for the part's piece. */
static struct tile_right find_dz(const struct conv_gradient *g, const struct part *p, ptrdiff_t from,
                                 int columns)
{
    const int width = whole_vectors(columns);
    if (p->packed)
        return (struct tile_right){p->scratch->panels + from * p->pixels, width, VEC};
    const ptrdiff_t pixel = (p->piece.b * g->walk.y.to + p->piece.y.begin) * g->walk.x.to + p->piece.x.begin;
    return (struct tile_right){g->dz + pixel * g->N + p->at + from, g->N, columns - width + VEC};
}

/* The tile of rows `rows` of the part's rows and columns [from, from + columns) of its columns. */
static void run_tile(const struct conv_gradient *g, const struct part *p, struct gradient_tile *t,
                     struct range rows, ptrdiff_t from, int columns)
{
    const int vectors = whole_vectors(columns) / VEC;
    const ptrdiff_t height = rows.end - rows.begin;
    for (ptrdiff_t r = 0; r < height; r++) {
        const float *left;
        find_row(g, p, p->rows.begin + rows.begin + r, from, &left, &t->to[r]);
        if (r % g->slide == 0)
            t->left[r / g->slide] = left;
    }
    t->last = columns - (vectors - 1) * VEC;
    t->dz = find_dz(g, p, from, columns);
#ifdef LS_SLIDING_TILES
    if (g->slide > 1) {
        gradient_slides[vectors - 1][height % SLIDE][height / SLIDE](t);
        return;
    }
#endif
    (g->walk.order == PLANES ? gradient_tiles : depthwise_tiles)[tile_index(height, vectors)](t);
}

/* All tiles of columns `of` of a part, over one piece.  `t` says where in the leaves it is. */
static void gradient_piece(const struct conv_gradient *g, struct part *p, struct gradient_tile *t,
                           struct range of)
{
    const ptrdiff_t height = p->rows.end - p->rows.begin, units = (height + g->slide - 1) / g->slide,
                    tiles = (units + p->tile - 1) / p->tile;
    t->depth = p->pixels;
    t->run = p->piece.x.end - p->piece.x.begin;
    t->pixels = p->scratch->pixels;
    for (ptrdiff_t from = of.begin; p->packed && from < of.end; from += g->panel) {
        const int columns = next_columns(from, of.end, g->panel);
        p->packed = 0;
        const struct tile_right dz = find_dz(g, p, from, columns);
        p->packed = 1;
        panel_pack(p->scratch->panels + from * p->pixels, p->pixels, dz.p, dz.step, columns);
    }
    for (ptrdiff_t from = of.begin; from < of.end; from += g->panel)
        for (ptrdiff_t i = 0; i < tiles; i++) {
            struct range rows = range_part(units, 1, i, tiles);
            rows.begin *= g->slide;
            rows.end = rows.end * g->slide < height ? rows.end * g->slide : height;
            t->stack = p->scratch->stack + (from / g->panel * tiles + i) * g->levels * TILE_FLOATS;
            run_tile(g, p, t, rows, from, next_columns(from, of.end, g->panel));
        }
}

/* Makes the frame of the part's piece, depthwise for the channels of columns `of`.  Its table, zeros and ones
 * are there when the piece before was `same`. */
static void gradient_frame(const struct conv_gradient *g, struct part *p, struct range of, int same)
{
    const ptrdiff_t end = p->channels.end < g->depth ? p->channels.end : g->depth;
    const ptrdiff_t channel =
        g->walk.order == VECTORS ? p->at + of.begin : p->group * g->depth + p->channels.begin;
    frame_fill(p->scratch, &g->walk, p->frame, p->piece,
               (struct fill){channel, end - p->channels.begin, (int)(of.end - of.begin), !same});
    if (same)
        return;
    p->pixels = count_pixels(&g->walk, &p->piece, 0, 0);
    find_pixels(p->scratch, &g->walk, p->frame, p->piece, 0, 0, 0, 0);
    float *ones = p->scratch->image + (end - p->channels.begin) * p->frame.plane;
    for (ptrdiff_t i = 0; end < p->channels.end && i < p->frame.plane; i++)
        ones[i] = 1.0f;
}

/* The next piece: its frame and tiles, depthwise for one vector of channels after the other. */
static void gradient_next(const struct conv_gradient *g, struct part *p, struct piece next,
                          struct gradient_tile *t)
{
    const int same = same_piece(&p->piece, &next), step = g->walk.order == VECTORS ? VEC : p->columns;
    make_images(g, next.b + next.images);
    p->piece = next;
    p->frame = frame_of(&g->walk, next.images, next.y.end - next.y.begin, next.x.end - next.x.begin);
    for (int from = 0; from < p->columns; from += step) {
        const struct range of = {from, from + next_columns(from, p->columns, step)};
        gradient_frame(g, p, of, same || from > 0);
        gradient_piece(g, p, t, of);
    }
}

/* A part over its leaves. */
static void gradient_leaves(const struct conv_gradient *g, struct part *p)
{
    const ptrdiff_t Q = axis_length(&g->walk.y), R = axis_length(&g->walk.x);
    struct gradient_tile t = {0};
    p->piece = (struct piece){0};
    for (ptrdiff_t leaf = g->leaves.begin; leaf < g->leaves.end; leaf++) {
        const ptrdiff_t end = ((leaf + 1) * g->m < g->B ? (leaf + 1) * g->m : g->B) * Q;
        t.leaf = leaf - g->leaves.begin;
        t.resume = false;
        t.final = leaf + 1 == g->leaves.end;
        for (ptrdiff_t row = leaf * g->m * Q; row < end;) {
            for (ptrdiff_t column = 0; column < R;) {
                const struct piece next = piece_at(&g->walk, p->fit, row, column, end);
                column += next.x.end - next.x.begin;
                t.push = column == R && row + next.images * (next.y.end - next.y.begin) == end;
                gradient_next(g, p, next, &t);
                t.resume = true;
            }
            row += p->piece.images * (p->piece.y.end - p->piece.y.begin);
        }
    }
}

/* The fold of one row and column of one leaf. */
static float leaf_plainly(const struct conv_gradient *g, ptrdiff_t leaf, ptrdiff_t row, ptrdiff_t column)
{
    const ptrdiff_t window = g->KH * g->KW, c = row / window, ky = row % window / g->KW, kx = row % g->KW;
    const ptrdiff_t channel = g->walk.order == VECTORS ? column : column / g->columns * g->depth + c;
    const struct axis *y = &g->walk.y, *x = &g->walk.x;
    float sum = 0.0f;
    for (ptrdiff_t b = leaf * g->m; b < g->B && b - leaf * g->m < g->m; b++)
        for (ptrdiff_t oy = 0; oy < y->to; oy++)
            for (ptrdiff_t ox = 0; ox < x->to; ox++) {
                const ptrdiff_t at_y = (oy * y->stride + ky) * y->every + y->shift,
                                at_x = (ox * x->stride + kx) * x->every + x->shift;
                const int inside = at_y >= 0 && at_y < y->from && at_x >= 0 && at_x < x->from;
                const float tap =
                    c == g->depth ? 1.0f
                    : inside
                        ? g->walk
                              .from[((b * y->from + at_y) * x->from + at_x) * g->walk.from_channels + channel]
                        : 0.0f;
                sum = ls_fma(tap, g->dz[((b * y->to + oy) * x->to + ox) * g->N + column], sum);
            }
    return sum;
}

/* One number after the other, for windows that are larger than the scratch. */
static void gradient_plainly(const struct conv_gradient *g, struct rectangle mine)
{
    for (ptrdiff_t row = mine.rows.begin; row < mine.rows.end; row++)
        for (ptrdiff_t column = mine.columns.begin; column < mine.columns.end; column++) {
            struct ls_tree tree = {.count = 0};
            for (ptrdiff_t leaf = g->leaves.begin; leaf < g->leaves.end; leaf++)
                ls_tree_push(&tree, leaf_plainly(g, leaf, row, column));
            const float sum = ls_tree_sum(&tree);
            if (row < g->depth * g->KH * g->KW)
                g->dw[row * g->N + column] = sum;
            else
                g->db[column] = sum;
        }
}

/* A rectangle of one group: columns in groups, rows in turns whose stacks and channels fit. */
static void gradient_group(const struct conv_gradient *g, ptrdiff_t group, struct rectangle mine)
{
    enum { MOST_PIXELS = 1024, WORTH_PACKING = 4, BENIGN = 128 };
    const ptrdiff_t window = g->KH * g->KW, room = STACK_TILES / (g->levels > 0 ? g->levels : 1);
    const int most = g->walk.order == VECTORS ? LS_SCRATCH_STACK : GROUP / CONV_PANEL;
    const int widest = (room < most ? (int)room : most) * g->panel;
    struct part p = {.scratch = scratch_of_thread(), .group = group};
    for (p.at = mine.columns.begin; p.at < mine.columns.end; p.at += p.columns) {
        p.columns = next_columns(p.at, mine.columns.end, widest);
        p.tile = tile_height(g, whole_vectors(p.columns < g->panel ? p.columns : g->panel) / VEC);
        const ptrdiff_t panels = (p.columns + g->panel - 1) / g->panel,
                        rows = room / panels * p.tile * g->slide;
        struct walk walk = g->walk;
        walk.most_pixels = LS_SCRATCH_TABLE;
        if (walk.order == PLANES && walk.most_pixels > CONV_PANELS / whole_vectors(p.columns))
            walk.most_pixels = CONV_PANELS / whole_vectors(p.columns);
        const ptrdiff_t height =
            mine.rows.end - mine.rows.begin < rows ? mine.rows.end - mine.rows.begin : rows;
        p.fit = fit_of(&walk, (height + window - 2) / window + 1, MOST_PIXELS);
        if (p.fit.channels == 0) {
            make_images(g, g->leaves.end * g->m < g->B ? g->leaves.end * g->m : g->B);
            gradient_plainly(g, (struct rectangle){mine.rows, {p.at, p.at + p.columns}});
            continue;
        }
        for (p.rows = mine.rows; p.rows.begin < mine.rows.end; p.rows.begin = p.rows.end) {
            p.channels.begin = p.rows.begin / window;
            p.rows.end = p.rows.begin + rows < mine.rows.end ? p.rows.begin + rows : mine.rows.end;
            if (p.rows.end > (p.channels.begin + p.fit.channels) * window)
                p.rows.end = (p.channels.begin + p.fit.channels) * window;
            p.channels.end = (p.rows.end - 1) / window + 1;
            p.packed = walk.order == PLANES &&
                       p.rows.end - p.rows.begin > (WORTH_PACKING - 1) * p.tile * g->slide &&
                       (g->N % VEC != 0 || g->N > BENIGN);
            gradient_leaves(g, &p);
        }
    }
}

void LS_PER_ISA(ls_conv_gradient_in)(const struct conv_gradient *g, struct rectangle mine)
{
    for (ptrdiff_t group = 0; group < g->groups && mine.rows.begin < mine.rows.end; group++) {
        const struct range columns =
            range_common(mine.columns, (struct range){group * g->columns, (group + 1) * g->columns});
        if (columns.begin < columns.end)
            gradient_group(g, group, (struct rectangle){mine.rows, columns});
    }
}

static int slide_of(const struct conv_gradient *g)
{
#ifdef LS_SLIDING_TILES
    if (g->walk.order == PLANES && g->KW == SLIDE && g->walk.x.stride == 1 && g->columns > HALF)
        return SLIDE;
#endif
    (void)g;
    return 1;
}

static void gradient_run(const struct ls_conv_shape *s, struct conv_gradient *g)
{
    const int depthwise = conv_is_depthwise(s);
    g->walk.order = depthwise ? VECTORS : PLANES;
    g->walk.unit = depthwise ? VEC : 1;
    g->panel = depthwise ? VEC : CONV_PANEL;
    g->groups = depthwise ? 1 : s->G;
    g->columns = s->N / g->groups;
    g->depth = s->at.C / s->G;
    g->slide = slide_of(g);
    g->leaves = (struct range){0, (g->B - 1) / g->m + 1};
    g->levels = levels_of(g->leaves.end);
    LS_PER_ISA(ls_conv_gradient_shared)(g, conv_ns(s));
}

void LS_PER_ISA(ls_conv_weight_gradient)(const struct ls_conv_shape *s, ptrdiff_t m, float *dw, float *db,
                                         const float *x, const float *dz,
                                         const struct ls_maxpool_gradient *pool)
{
    const struct ls_window *at = &s->at;
    const ptrdiff_t leaf = m < at->B ? m : at->B;
    const int dense = (conv_is_dense(s) && at->H * at->W == 1) || at->B == 0;
    if (pool && (dense || (pool->act != LS_ACT_NONE && pool->act != LS_ACT_RELU))) {
        make_all(pool);
        pool = NULL;
    }
    if (dense) {
        LS_PER_ISA(ls_dense_weight_gradient)
        ((struct ls_dense_shape){.B = at->B * at->H * at->W, .K = at->C / s->G * at->KH * at->KW, .N = s->N},
         leaf * at->H * at->W, dw, db, x, dz);
        return;
    }
    struct conv_gradient g = {.walk = {.y = axis_forward(at->H, at->OH, at->KH, at->SY, at->PY),
                                       .x = axis_forward(at->W, at->OW, at->KW, at->SX, at->PX),
                                       .from = x,
                                       .from_channels = at->C},
                              .B = at->B,
                              .m = leaf,
                              .KH = at->KH,
                              .KW = at->KW,
                              .N = s->N,
                              .dw = dw,
                              .db = db,
                              .dz = dz,
                              .pool = pool};
    gradient_run(s, &g);
}
