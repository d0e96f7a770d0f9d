/* Images as data sets store them, moved and normalised on their way into a batch.  Work is cut by samples.
 *
 * Rows of an image are short, and a vector loop over one spends its time in the remainder.  So bytes are
 * moved first, into a block that stays in L1, and become numbers a block at a time. */
#include "compute/parallel/images.h"

#include <string.h>

#include "compute/parallel/pixels.h"
#include "compute/parallel/team.h"

enum { BLOCK_BYTES = 16 * 1024 };
_Static_assert(BLOCK_BYTES <= LS_SCRATCH_PANELS * sizeof(float), "a block lies in the scratch");

struct images {
    const struct ls_image_view *view;
    ptrdiff_t B;
    float *x;
    const uint8_t *pixels;
    const int64_t *index;
    float divisor;
};

static struct ls_move move_of(const struct ls_image_view *view, int64_t index)
{
    return view->move ? view->move(view->context, index) : (struct ls_move){0, 0, 0};
}

/* Channel c's values of n pixels. */
static void convert(const struct images *g, ptrdiff_t c, ptrdiff_t n, float *restrict to,
                    const uint8_t *restrict from)
{
    const struct pixel_unit unit = pixel_unit_of(g->divisor);
    if (!g->view->mean) {
        scale_row(n, to, from, unit);
        return;
    }
    const float mean = g->view->mean[c], inverse = g->view->inverse[c];
    for (ptrdiff_t k = 0; k < n; k++)
        to[k] = (pixel_quotient(from[k], unit) - mean) * inverse;
}

/* to[k] = from[k], or with `flip` from[n - 1 - k]: eight bytes at a time, the last eight overlapping those
 * before them.  A call of memcpy would cost more than a row. */
LS_ALWAYS_INLINE void copy_bytes(ptrdiff_t n, uint8_t *restrict to, const uint8_t *restrict from,
                                 const int flip)
{
    if (n < 8) {
        for (ptrdiff_t k = 0; k < n; k++)
            to[k] = from[flip ? n - 1 - k : k];
        return;
    }
    for (ptrdiff_t k = 0;; k = k + 16 <= n ? k + 8 : n - 8) {
        uint64_t word;
        memcpy(&word, from + (flip ? n - 8 - k : k), sizeof word);
        word = flip ? __builtin_bswap64(word) : word;
        memcpy(to + k, &word, sizeof word);
        if (k == n - 8)
            return;
    }
}

/* The columns of 0..W that a move fills from the image; it leaves the others 0. */
static struct range filled_columns(ptrdiff_t W, struct ls_move move)
{
    const ptrdiff_t by = move.flip ? move.dx : -(ptrdiff_t)move.dx;
    const ptrdiff_t begin = by < 0 ? 0 : by < W ? by : W, end = by > 0 ? W : W + by;
    return (struct range){begin, end > begin ? end : begin};
}

/* Rows of n bytes; rows of `to` lie `width` apart, those of `from` W. */
LS_ALWAYS_INLINE void copy_rows(ptrdiff_t rows, ptrdiff_t n, uint8_t *restrict to, ptrdiff_t width,
                                const uint8_t *restrict from, ptrdiff_t W, const int flip)
{
    for (ptrdiff_t row = 0; row < rows; row++)
        copy_bytes(n, to + row * width, from + row * W, flip);
}

/* Rows i.. and columns j.. of the moved channel `from`, as many as `block`, which is zero, has. */
static void move_block(const struct ls_image_view *view, uint8_t *block, const uint8_t *from,
                       struct ls_move move, struct range i, struct range j)
{
    const ptrdiff_t H = view->H, W = view->W, width = j.end - j.begin;
    const struct range filled = filled_columns(W, move);
    const struct range columns = {filled.begin > j.begin ? filled.begin : j.begin,
                                  filled.end < j.end ? filled.end : j.end};
    const ptrdiff_t top = -(ptrdiff_t)move.dy, bottom = H - move.dy; /* rows that come from the image */
    const struct range rows = {top > i.begin ? top : i.begin, bottom < i.end ? bottom : i.end};
    const ptrdiff_t n = columns.end - columns.begin, n_rows = rows.end - rows.begin;
    if (n <= 0 || n_rows <= 0)
        return;
    block += (rows.begin - i.begin) * width + columns.begin - j.begin;
    from += (rows.begin + move.dy) * W + move.dx + (move.flip ? W - columns.end : columns.begin);
    if (move.flip)
        copy_rows(n_rows, n, block, width, from, W, 1);
    else
        copy_rows(n_rows, n, block, width, from, W, 0);
}

/* One channel: blocks of whole rows, or of parts of one row when a row is longer than a block. */
static void gather_plane(const struct images *g, ptrdiff_t c, float *to, const uint8_t *from,
                         struct ls_move move)
{
    const ptrdiff_t H = g->view->H, W = g->view->W;
    const ptrdiff_t rows = W < BLOCK_BYTES ? BLOCK_BYTES / W : 1, columns = W < BLOCK_BYTES ? W : BLOCK_BYTES;
    uint8_t *block = (uint8_t *)scratch_of_thread()->panels;
    for (ptrdiff_t i = 0; i < H; i += rows)
        for (ptrdiff_t j = 0; j < W; j += columns) {
            const struct range in_rows = {i, H - i < rows ? H : i + rows};
            const struct range in_columns = {j, W - j < columns ? W : j + columns};
            const ptrdiff_t n = (in_rows.end - i) * (in_columns.end - j);
            memset(block, 0, (size_t)n);
            move_block(g->view, block, from, move, in_rows, in_columns);
            convert(g, c, n, to + i * W + j, block);
        }
}

static int64_t gather_part(const void *job, int thread, int threads)
{
    const struct images *g = job;
    const struct range r = range_part(g->B, 1, thread, threads);
    const ptrdiff_t C = g->view->C, n = g->view->H * g->view->W;
    for (ptrdiff_t b = r.begin; b < r.end; b++) {
        if (b + 1 < r.end) /* samples lie anywhere: nothing else would fetch the next one in time */
            for (ptrdiff_t k = 0; k < C * n; k += 64)
                __builtin_prefetch(g->pixels + g->index[b + 1] * C * n + k);
        const struct ls_move move = move_of(g->view, g->index[b]);
        for (ptrdiff_t c = 0; c < C; c++) {
            const uint8_t *from = g->pixels + (g->index[b] * C + c) * n;
            float *to = g->x + (b * C + c) * n;
            if (move.dy || move.dx || move.flip)
                gather_plane(g, c, to, from, move);
            else
                convert(g, c, n, to, from);
        }
    }
    return 0;
}

void LS_PER_ISA(ls_gather_images)(const struct ls_image_view *view, ptrdiff_t B, float *x,
                                  const uint8_t *pixels, const int64_t *index, float divisor)
{
    const struct images g = {view, B, x, pixels, index, divisor};
    team_run((double)(B * view->C * view->H * view->W) * 0.3, gather_part, &g);
}

static void fill_zero(float *x, ptrdiff_t n)
{
    if (n > 0)
        memset(x, 0, (size_t)n * sizeof *x);
}

/* Row `to` from row `from`, which may be the same. */
static void shift_row(ptrdiff_t W, float *to, const float *from, ptrdiff_t dx)
{
    const struct range filled = filled_columns(W, (struct ls_move){.dx = (int32_t)dx});
    memmove(to + filled.begin, from + filled.begin + (filled.begin < filled.end ? dx : 0),
            (size_t)(filled.end - filled.begin) * sizeof *to);
    fill_zero(to, filled.begin);
    fill_zero(to + filled.end, W - filled.end);
}

static void reverse_row(ptrdiff_t W, float *row)
{
    for (ptrdiff_t j = 0; j < W / 2; j++) {
        const float left = row[j];
        row[j] = row[W - 1 - j];
        row[W - 1 - j] = left;
    }
}

/* Rows in the order in which each is read before it is written. */
static void move_plane(ptrdiff_t H, ptrdiff_t W, float *plane, struct ls_move move)
{
    for (ptrdiff_t step = 0; step < H; step++) {
        const ptrdiff_t to = move.dy >= 0 ? step : H - 1 - step, from = to + move.dy;
        if (from >= 0 && from < H)
            shift_row(W, plane + to * W, plane + from * W, move.dx);
        else
            fill_zero(plane + to * W, W);
        if (move.flip)
            reverse_row(W, plane + to * W);
    }
}

static int64_t view_part(const void *job, int thread, int threads)
{
    const struct images *g = job;
    const struct range r = range_part(g->B, 1, thread, threads);
    const ptrdiff_t C = g->view->C, H = g->view->H, W = g->view->W;
    for (ptrdiff_t b = r.begin; b < r.end; b++) {
        const struct ls_move move = move_of(g->view, g->index[b]);
        for (ptrdiff_t c = 0; c < C; c++) {
            float *plane = g->x + (b * C + c) * H * W;
            if (move.dy || move.dx || move.flip)
                move_plane(H, W, plane, move);
            if (!g->view->mean)
                continue;
            const float mean = g->view->mean[c], inverse = g->view->inverse[c];
            for (ptrdiff_t k = 0; k < H * W; k++)
                plane[k] = (plane[k] - mean) * inverse;
        }
    }
    return 0;
}

void LS_PER_ISA(ls_view_images)(const struct ls_image_view *view, ptrdiff_t B, float *x, const int64_t *index)
{
    const struct images g = {view, B, x, NULL, index, 0.0f};
    team_run((double)(B * view->C * view->H * view->W) * 0.3, view_part, &g);
}
