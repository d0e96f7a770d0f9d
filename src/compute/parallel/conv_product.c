/* Forward and input-gradient convolutions: each result is a fold over taps of a padded copy of its images
 * (conv_frame.h) with packed weights.
 *
 * Weights are packed once a thread when they fit, and pieces of images come and go; when they do not, columns
 * are taken in groups, and source channels, the outermost of the fold, in chunks between which a partial
 * fold waits in the result.  Where there are too few columns to be lanes, pixels are (conv_few_columns.h).
 * There is never more of an image in memory twice than one thread's piece. */
#include "compute/parallel/conv_product.h"
#include "compute/parallel/conv.h"
#include "compute/parallel/conv_few_columns.h"
#include "compute/parallel/conv_frame.h"
#include "compute/parallel/conv_product_part.h"
#include "compute/parallel/conv_product_tile.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/pool.h"

#ifdef LS_SLIDING_TILES
/* All tiles of n pixels in runs of `run` neighbours; 0 when those are too short, taps come in no threes, or
 * are so few that starting a tile is what takes the time. */
static int product_slide(const struct conv_product *p, struct product_tile *t, int vectors, ptrdiff_t fx,
                         ptrdiff_t n, ptrdiff_t run)
{
    enum { FEWEST_TAPS = 27 };
    const ptrdiff_t least = slides[vectors - 1].least, most = slides[vectors - 1].most;
    if (p->walk.order != PIXELS || p->walk.x.stride != 1 || axis_taps(&p->walk.x, fx) != SLIDE ||
        run < least || t->depth < FEWEST_TAPS || t->columns <= HALF)
        return 0;
    const ptrdiff_t parts = (run + most - 1) / most;
    for (ptrdiff_t at = 0; at < n; at += run)
        for (ptrdiff_t i = 0; i < parts; i++) {
            const struct range part = range_part(run, 1, i, parts);
            const ptrdiff_t height = part.end - part.begin;
            slides[vectors - 1].bodies[height - least][p->walk.x.direction < 0](t);
            t->pixels += height;
            t->places += height;
        }
    return 1;
}
#endif

/* n pixels in runs of `run` neighbours. */
static void product_few(const struct product_tile *t, ptrdiff_t n, ptrdiff_t run)
{
    if (n > 0)
        few_columns(&(struct few_columns){.depth = t->depth,
                                          .runs = n / run,
                                          .run = run,
                                          .taps = t->taps,
                                          .panel = t->panel,
                                          .from = t->from,
                                          .pixels = t->pixels,
                                          .places = t->places,
                                          .result = t->result,
                                          .columns = t->columns});
}

/* Whether lanes are pixels: few columns, whose pixels are neighbours, and rows of them so long that it takes
 * fewer multiplications of vectors: of a tap one a column and vector of pixels, instead of one a pixel. */
static int lanes_are_pixels(const struct conv_product *p)
{
    const ptrdiff_t pixels = axis_length(&p->walk.x);
    return (pixels + VEC - 1) / VEC * p->columns < pixels && p->walk.order == PIXELS &&
           p->columns <= FEW_COLUMNS && p->walk.x.stride == 1 && p->walk.x.phases == 1 &&
           p->walk.y.phases == 1;
}

/* So many columns of pixels that are finished; as one stretch where nothing lies between them: few columns by
 * themselves are no work for vectors. */
static void activate_pixels(enum ls_activation act, float *to, const ptrdiff_t *places, struct range pixels,
                            ptrdiff_t columns)
{
    for (ptrdiff_t i = pixels.begin, next; i < pixels.end; i = next) {
        ptrdiff_t n = columns;
        for (next = i + 1; next < pixels.end && places[next] == places[i] + n; next++)
            n += columns;
        activate(act, 0.0f, n, to + places[i], to + places[i]);
    }
}

/* All tiles of a phase of a piece, columns `of` of the part. */
static void product_phase(const struct conv_product *p, const struct part *part, ptrdiff_t fy, ptrdiff_t fx,
                          struct range pixels, struct range of)
{
    const ptrdiff_t depth = part->depth.end - part->depth.begin, before = taps_before(p, fy, fx) * depth;
    const int last_chunk = part->depth.end == p->depth;
    struct product_tile t = {
        .depth = axis_taps(&p->walk.y, fy) * axis_taps(&p->walk.x, fx) * depth,
        .taps = part->scratch->taps + before,
        .from = part->scratch->image,
        .step = p->walk.unit,
        .result = {.resume = part->depth.begin > 0, .finish = last_chunk ? p->finish : FINISH_NONE},
    };
    const ptrdiff_t image = part->piece.b * p->walk.y.to * p->walk.x.to * p->to_channels + part->at;
    for (ptrdiff_t from = of.begin; from < of.end; from += p->panel) {
        t.columns = next_columns(from, of.end, p->panel);
        const int width = whole_vectors(t.columns), vectors = width / VEC;
        t.panel = part->scratch->panels + from * depth * p->KH * p->KW + before * width;
        t.result.last = t.columns - width + VEC;
        t.result.to = p->to + image + from;
        t.result.y = p->y ? p->y + image + from : NULL;
        t.result.bias = p->bias ? p->bias + part->at + from : NULL;
        t.pixels = part->scratch->pixels + pixels.begin;
        t.places = part->scratch->places + pixels.begin;
        const struct range run = axis_inside(&p->walk.x, part->piece.x, fx);
        if (p->walk.order == PLANES) {
            product_few(&t, pixels.end - pixels.begin, run.end - run.begin);
            continue;
        }
#ifdef LS_SLIDING_TILES
        if (product_slide(p, &t, vectors, fx, pixels.end - pixels.begin, run.end - run.begin))
            continue;
#endif
        const int height = conv_rows(vectors);
        t.tiles = (pixels.end - pixels.begin) / height;
        const ptrdiff_t more = (pixels.end - pixels.begin) % height;
        void (*const *tiles)(const struct product_tile *) =
            p->walk.order == PIXELS ? product_tiles : depthwise_tiles;
        if (t.tiles > 0)
            tiles[tile_index(height, vectors)](&t);
        t.pixels += t.tiles * height;
        t.places += t.tiles * height;
        t.tiles = 1;
        if (more > 0)
            tiles[tile_index(more, vectors)](&t);
    }
    if (last_chunk && p->after != LS_ACT_NONE)
        activate_pixels(p->after, p->to + image + of.begin, part->scratch->places, pixels, of.end - of.begin);
}

/* Fills the frame and runs all phases; depthwise for one vector of channels after the other. */
static void product_piece(const struct conv_product *p, struct part *part)
{
    const struct piece known = part->piece;
    part->piece = part->next;
    part->frame = frame_of(&p->walk, part->piece.images, part->piece.y.end - part->piece.y.begin,
                           part->piece.x.end - part->piece.x.begin);
    const int same = same_piece(&known, &part->piece), depthwise = p->walk.order == VECTORS;
    if (!same)
        product_tables(p, part);
    const int step = depthwise ? VEC : part->columns;
    for (int from = 0; from < part->columns; from += step) {
        const struct range of = {from, from + next_columns(from, part->columns, step)};
        const ptrdiff_t channel = depthwise ? part->at + from : part->group * p->depth + part->depth.begin;
        frame_fill(part->scratch, &p->walk, part->frame, part->piece,
                   (struct fill){channel, part->depth.end - part->depth.begin, (int)(of.end - of.begin),
                                 !same && from == 0});
        struct range pixels = {0, 0};
        for (ptrdiff_t fy = 0; fy < p->walk.y.phases; fy++)
            for (ptrdiff_t fx = 0; fx < p->walk.x.phases; fx++) {
                pixels.begin = pixels.end;
                pixels.end += count_pixels(&p->walk, &part->piece, fy, fx);
                product_phase(p, part, fy, fx, pixels, of);
            }
    }
}

/* Images that lie in `rows`, whole. */
static struct range whole_images(const struct conv_product *p, struct range rows)
{
    const ptrdiff_t Q = axis_length(&p->walk.y), begin = (rows.begin + Q - 1) / Q, end = rows.end / Q;
    return (struct range){begin, end > begin ? end : begin};
}

/* The maxpool behind of the images that are finished, of which all columns are in the part. */
static void product_pool(const struct conv_product *p, struct part *part, ptrdiff_t end)
{
    if (!p->pool || part->columns != p->to_channels || part->depth.end != p->depth || end <= part->pooled.end)
        return;
    LS_PER_ISA(ls_maxpool_images)(p->pool, p->to, (struct range){part->pooled.end, end});
    part->pooled.end = end;
}

/* Columns and chunk of a part, over all pieces of `rows`, rows of positions of all images. */
static void product_rows(const struct conv_product *p, struct part *part, struct range rows)
{
    part->piece = (struct piece){0};
    part->pooled.begin = part->pooled.end = whole_images(p, rows).begin;
    for (ptrdiff_t row = rows.begin; row < rows.end;) {
        for (ptrdiff_t column = 0; column < axis_length(&p->walk.x);) {
            part->next = piece_at(&p->walk, part->fit, row, column, rows.end);
            product_piece(p, part);
            column += part->piece.x.end - part->piece.x.begin;
        }
        row += part->piece.images * (part->piece.y.end - part->piece.y.begin);
        product_pool(p, part, row / axis_length(&p->walk.y));
    }
}

/* Source channels whose weights for GROUP columns, or at least for one panel, and whose taps, fit.  Each
 * group of columns fills the frame anew, each chunk of channels only sees the results again: wide groups of
 * few channels are better than the other way round (512 to 512 channels at 4x4: 8 % faster). */
static ptrdiff_t most_channels(const struct conv_product *p)
{
    const ptrdiff_t taps = p->KH * p->KW, widest = (p->columns + VEC - 1) / VEC * VEC;
    const ptrdiff_t group = CONV_PANELS / taps / (widest < GROUP ? widest : GROUP),
                    panels =
                        group > 0 ? group : CONV_PANELS / taps / (widest < CONV_PANEL ? widest : CONV_PANEL),
                    table = LS_SCRATCH_TABLE / taps, most = panels < table ? panels : table;
    return most < p->depth ? most : p->depth;
}

static struct fit product_fit(const struct conv_product *p)
{
    enum { MOST_PIXELS = 256 };
    const ptrdiff_t channels = most_channels(p);
    return channels == 0 ? (struct fit){0} : fit_of(&p->walk, channels, MOST_PIXELS);
}

/* Columns [columns.begin, columns.end) of one group.  Returns how many images have been pooled. */
static ptrdiff_t product_group(const struct conv_product *p, ptrdiff_t group, struct range columns,
                               struct range rows, struct fit fit)
{
    const ptrdiff_t chunks = (p->depth + fit.channels - 1) / fit.channels;
    const ptrdiff_t fits = CONV_PANELS / (fit.channels * p->KH * p->KW),
                    room = fits < CONV_PANEL ? fits / VEC * VEC : fits / CONV_PANEL * CONV_PANEL;
    struct part part = {.scratch = scratch_of_thread(), .group = group, .fit = fit};
    for (part.at = columns.begin; part.at < columns.end; part.at += part.columns) {
        part.columns = next_columns(part.at, columns.end, room < 4 * GROUP ? (int)room : 4 * GROUP);
        for (ptrdiff_t chunk = 0; chunk < chunks; chunk++) {
            part.depth = range_part(p->depth, 1, chunk, chunks);
            pack_weights(p, &part);
            product_rows(p, &part, rows);
        }
    }
    return part.pooled.end - part.pooled.begin;
}

static struct rectangle product_rectangle(const struct conv_product *p, int thread, int threads)
{
    return rectangle_of(thread, threads, p->B * axis_length(&p->walk.y), p->to_channels, CUT_BETWEEN_ROWS);
}

static void pool_between(const struct conv_product *p, ptrdiff_t begin, ptrdiff_t end)
{
    struct ls_window w = p->pool->at;
    const ptrdiff_t out = begin * w.OH * w.OW * w.C, in = begin * w.H * w.W * w.C;
    if (begin >= end)
        return;
    w.B = end - begin;
    LS_PER_ISA(ls_maxpool_forward)(&w, p->pool->y + out, p->to + in);
}

/* The images that lie in two threads' rows; or all, when no thread has pooled its own. */
static void pool_rest(const struct conv_product *p, int threads, int64_t n_pooled)
{
    ptrdiff_t next = 0;
    for (int t = 0; t < threads && n_pooled > 0; t++) {
        const struct range whole = whole_images(p, product_rectangle(p, t, threads).rows);
        pool_between(p, next, whole.begin);
        next = whole.end > next ? whole.end : next;
    }
    pool_between(p, next, p->B);
}

/* Returns how many images have been pooled: all that are whole, and all threads do, or none does. */
static int64_t product_part(const void *job, int thread, int threads)
{
    struct conv_product own = *(const struct conv_product *)job;
    const struct conv_product *p = &own;
    const struct rectangle mine = product_rectangle(p, thread, threads);
    if (thread == 0)
        *p->threads = threads;
    if (lanes_are_pixels(p))
        own.walk.order = PLANES;
    struct fit fit = product_fit(p);
    if (own.walk.order == PLANES && fit.channels < p->depth) {
        own.walk.order = PIXELS;
        fit = product_fit(p);
    }
    if (fit.channels == 0) {
        product_plainly(p, mine);
        return 0;
    }
    if (own.walk.order == PIXELS)
        own.walk.unit = fit.channels;
    int64_t n_pooled = 0;
    for (ptrdiff_t g = 0; g < p->groups && mine.rows.begin < mine.rows.end; g++) {
        const struct range columns =
            range_common(mine.columns, (struct range){g * p->columns, (g + 1) * p->columns});
        if (columns.begin < columns.end)
            n_pooled += product_group(p, g, columns, mine.rows, fit);
    }
    return n_pooled;
}

static void product_run(const struct ls_conv_shape *s, struct conv_product *p)
{
    const int depthwise = conv_is_depthwise(s);
    p->B = s->at.B;
    p->KH = s->at.KH;
    p->KW = s->at.KW;
    p->N = s->N;
    p->walk.order = depthwise ? VECTORS : PIXELS;
    p->walk.unit = depthwise ? VEC : 1; /* PIXELS: product_part finds how many channels */
    p->walk.most_pixels = LS_SCRATCH_TABLE / p->walk.y.phases / p->walk.x.phases;
    p->panel = depthwise ? VEC : CONV_PANEL;
    p->groups = depthwise ? 1 : s->G;
    p->columns = depthwise ? s->N : p->to_channels / s->G;
    p->depth = depthwise ? 1 : p->walk.from_channels / s->G;
    if (p->B == 0)
        return;
    int threads = 1;
    p->threads = &threads;
    const int64_t n_pooled = team_run(conv_ns(s), product_part, p);
    if (p->pool)
        pool_rest(p, threads, n_pooled);
}

void LS_PER_ISA(ls_conv_forward)(const struct ls_conv_shape *s, float *y, const float *x, const float *w,
                                 const float *bias, enum ls_activation act, const struct ls_maxpool *pool)
{
    const struct ls_window *at = &s->at;
    if (conv_is_dense(s)) {
        LS_PER_ISA(ls_dense_forward)
        ((struct ls_dense_shape){.B = at->B * at->H * at->W, .K = at->C, .N = s->N}, y, x, w, bias, act);
        if (pool)
            LS_PER_ISA(ls_maxpool_forward)(&pool->at, pool->y, y);
        return;
    }
    struct conv_product p = {.walk = {.y = axis_forward(at->H, at->OH, at->KH, at->SY, at->PY),
                                      .x = axis_forward(at->W, at->OW, at->KW, at->SX, at->PX),
                                      .from = x,
                                      .from_channels = at->C},
                             .to_channels = s->N,
                             .to = y,
                             .w = w,
                             .bias = bias,
                             .finish = finish_forward(act),
                             .after = finish_after(act),
                             .pool = pool};
    product_run(s, &p);
}

void LS_PER_ISA(ls_conv_input_gradient)(const struct ls_conv_shape *s, float *dx, const float *dz,
                                        const float *w, enum ls_activation act, const float *x)
{
    const struct ls_window *at = &s->at;
    if (conv_is_dense(s)) {
        LS_PER_ISA(ls_dense_input_gradient)
        ((struct ls_dense_shape){.B = at->B * at->H * at->W, .K = at->C, .N = s->N}, dx, dz, w, act, x);
        return;
    }
    struct conv_product p = {.walk = {.y = axis_backward(at->OH, at->H, at->KH, at->SY, at->PY),
                                      .x = axis_backward(at->OW, at->W, at->KW, at->SX, at->PX),
                                      .from = dz,
                                      .from_channels = s->N},
                             .to_channels = at->C,
                             .to = dx,
                             .w = w,
                             .transposed = 1,
                             .y = x,
                             .finish = finish_gradient(act),
                             .after = LS_ACT_NONE};
    product_run(s, &p);
}
