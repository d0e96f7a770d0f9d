/* What a convolution reads its left operand from: a padded copy, in a thread's scratch, of a piece of some
 * images.
 *
 * Both directions are one walk.  On each axis there are positions p; the copy's cell p * stride + direction *
 * t holds what tap t of position p is multiplied with.  Forward, a position is an output.  For the input
 * gradient, inputs fall into `phases` by (y + PY) mod SY, each with every SY-th tap, ascending taps at
 * descending outputs: position p of phase f is input p * SY + f - PY, and its tap t, ky = f + t * SY, meets
 * output p - t.
 *
 * Products keep the channels of a pixel together, as the source does: rows are copied as they are.  A weight
 * gradient, and a product with few columns, go along the pixels of one channel after the other, and have a
 * plane a channel, for which rows are transposed; VEC floats behind the last plane can be read.  Depthwise, a
 * "channel" is a vector of channels and a cell holds one vector. */
#ifndef LS_COMPUTE_PARALLEL_CONV_FRAME_H
#define LS_COMPUTE_PARALLEL_CONV_FRAME_H

#include "compute/parallel/cut.h"
#include "compute/parallel/panel.h"
#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

struct axis {
    ptrdiff_t from, to; /* extents of source and destination */
    ptrdiff_t taps, phases;
    struct range positions;
    ptrdiff_t stride, direction; /* in cells */
    ptrdiff_t every, shift;      /* cell i is source i * every + shift */
    ptrdiff_t shift_to;          /* position p of phase f is destination p * phases + f - shift_to */
};

/* A window as wide as its stride or less leaves gaps; one of a single tap does not copy them. */
static inline struct axis axis_forward(ptrdiff_t from, ptrdiff_t to, ptrdiff_t taps, ptrdiff_t stride,
                                       ptrdiff_t padding)
{
    const ptrdiff_t every = taps == 1 ? stride : 1;
    return (struct axis){from, to, taps, 1, {0, to}, stride / every, 1, every, -padding, 0};
}

static inline struct axis axis_backward(ptrdiff_t from, ptrdiff_t to, ptrdiff_t taps, ptrdiff_t stride,
                                        ptrdiff_t padding)
{
    const struct range positions = {padding / stride, (to - 1 + padding) / stride + 1};
    return (struct axis){from, to, taps, stride, positions, 1, -1, 1, 0, padding};
}

/* Taps of a phase; the first phase has most. */
static inline ptrdiff_t axis_taps(const struct axis *a, ptrdiff_t phase)
{
    return (a->taps - phase + a->phases - 1) / a->phases;
}

static inline ptrdiff_t axis_length(const struct axis *a)
{
    return a->positions.end - a->positions.begin;
}

/* Cells that n neighbouring positions touch, and the first one of position p. */
static inline ptrdiff_t axis_cells(const struct axis *a, ptrdiff_t n)
{
    return (n - 1) * a->stride + axis_taps(a, 0);
}

static inline ptrdiff_t axis_first_cell(const struct axis *a, ptrdiff_t p)
{
    return p * a->stride - (a->direction < 0 ? axis_taps(a, 0) - 1 : 0);
}

/* floor(a / b) of any a, b > 0. */
static inline ptrdiff_t floor_of(ptrdiff_t a, ptrdiff_t b)
{
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

static inline struct range range_common(struct range a, struct range b)
{
    const ptrdiff_t begin = a.begin > b.begin ? a.begin : b.begin, end = a.end < b.end ? a.end : b.end;
    return (struct range){begin, end > begin ? end : begin};
}

/* Of positions p, those whose place in `phase` lies within the destination. */
static inline struct range axis_inside(const struct axis *a, struct range p, ptrdiff_t phase)
{
    const struct range inside = {-floor_of(phase - a->shift_to, a->phases),
                                 floor_of(a->to - 1 + a->shift_to - phase, a->phases) + 1};
    return range_common(p, inside);
}

/* Of n cells from `cell`, those that lie within the source; counted from `cell`. */
static inline struct range axis_filled(const struct axis *a, ptrdiff_t cell, ptrdiff_t n)
{
    const ptrdiff_t begin = -floor_of(a->shift, a->every) - cell,
                    end = floor_of(a->from - 1 - a->shift, a->every) + 1 - cell;
    return range_common((struct range){0, n}, (struct range){begin, end < n ? end : n});
}

enum frame_order { PIXELS, PLANES, VECTORS };

struct walk {
    struct axis y, x;
    enum frame_order order;
    const float *from; /* source images, from_channels wide */
    ptrdiff_t from_channels;
    ptrdiff_t unit;        /* floats of a cell: 1 of PLANES, VEC of VECTORS, of PIXELS the channels */
    ptrdiff_t most_pixels; /* of a piece, <= LS_SCRATCH_TABLE */
};

/* A piece: whole images, or some rows of one, or some columns of one row. */
struct piece {
    ptrdiff_t b, images;
    struct range y, x;
};

/* The copy of a piece: cell (image, i, j) of channel c is at c * plane + ((image * height + i) * width + j) *
 * unit. */
struct frame {
    ptrdiff_t images, height, width, plane;
};

static inline ptrdiff_t frame_cells(const struct frame *f)
{
    return f->images * f->height * f->width;
}

static inline struct frame frame_of(const struct walk *w, ptrdiff_t images, ptrdiff_t rows, ptrdiff_t columns)
{
    struct frame f = {images, axis_cells(&w->y, rows), axis_cells(&w->x, columns), 1};
    /* An odd number of lines, so that channels spread over all cache sets. */
    if (w->order != PIXELS)
        f.plane = (((frame_cells(&f) * w->unit + LINE - 1) / LINE) | 1) * LINE;
    return f;
}

/* The largest pieces that fit: `channels` at a time.  channels == 0 says that nothing does. */
struct fit {
    ptrdiff_t channels, images, rows, columns;
};

static inline int fits(const struct walk *w, struct fit f)
{
    const struct frame frame = frame_of(w, f.images, f.rows, f.columns);
    return f.images * f.rows * f.columns <= w->most_pixels &&
           f.channels <= (LS_SCRATCH_IMAGE - VEC) / (w->order == PIXELS ? frame_cells(&frame) : frame.plane);
}

/* `channels` are as many as other limits allow; a piece of several images has no more than `most` pixels. */
static inline struct fit fit_of(const struct walk *w, ptrdiff_t channels, ptrdiff_t most)
{
    enum { FEW_ROWS = 4 };
    const ptrdiff_t rows = axis_length(&w->y);
    struct fit f = {channels, 1, rows < FEW_ROWS ? rows : FEW_ROWS, axis_length(&w->x)};
    while (f.channels > 1 && !fits(w, f))
        f.channels = (f.channels + 1) / 2;
    for (f.rows = rows; f.rows > 1 && !fits(w, f);)
        f.rows -= 1 + f.rows / 64;
    while (f.columns > 1 && !fits(w, f))
        f.columns -= 1 + f.columns / 64;
    if (!fits(w, f))
        return (struct fit){0};
    const ptrdiff_t bands = (rows + f.rows - 1) / f.rows;
    f.rows = (rows + bands - 1) / bands;
    while (f.rows == rows && f.columns == axis_length(&w->x) && (f.images + 1) * f.rows * f.columns <= most &&
           fits(w, (struct fit){f.channels, f.images + 1, f.rows, f.columns}))
        f.images++;
    return f;
}

/* The piece at `row` of all images' rows of positions, column of positions `column`, before row `end`. */
static inline struct piece piece_at(const struct walk *w, struct fit f, ptrdiff_t row, ptrdiff_t column,
                                    ptrdiff_t end)
{
    const ptrdiff_t Q = axis_length(&w->y), R = axis_length(&w->x), b = row / Q, y = row % Q;
    const ptrdiff_t whole = y == 0 && f.rows == Q ? (end - row) / Q : 0;
    ptrdiff_t rows = f.rows < Q - y ? f.rows : Q - y;
    rows = rows < end - row ? rows : end - row;
    const ptrdiff_t columns = f.columns < R - column ? f.columns : R - column;
    const ptrdiff_t y0 = w->y.positions.begin + y, x0 = w->x.positions.begin + column;
    return (struct piece){b,
                          whole < 1          ? 1
                          : whole < f.images ? whole
                                             : f.images,
                          {y0, y0 + rows},
                          {x0, x0 + columns}};
}

/* block_transpose of only n < BLOCK pixels. */
static inline void block_transpose_first(float *to, ptrdiff_t plane, const float *from, ptrdiff_t step,
                                         ptrdiff_t n)
{
    float rows[BLOCK * BLOCK] = {0}, columns[BLOCK * BLOCK];
    for (ptrdiff_t i = 0; i < n; i++)
        memcpy(rows + i * BLOCK, from + i * step, BLOCK * sizeof *rows);
    block_transpose(columns, BLOCK, rows, BLOCK);
    for (ptrdiff_t j = 0; j < BLOCK; j++, to += plane) {
        const float *column = columns + j * BLOCK;
        if (n & 4)
            memcpy(to, column, 4 * sizeof *to);
        if (n & 2)
            memcpy(to + (n & 4), column + (n & 4), 2 * sizeof *to);
        if (n & 1)
            to[n - 1] = column[n - 1];
    }
}

/* to[j * plane + i] = from[i * step + j], i < n pixels, j < channels. */
static inline void pixels_transpose(float *to, ptrdiff_t plane, const float *from, ptrdiff_t step,
                                    ptrdiff_t n, ptrdiff_t channels)
{
    const ptrdiff_t whole = channels / BLOCK * BLOCK;
    for (ptrdiff_t j = 0; n < BLOCK && j < whole; j += BLOCK)
        block_transpose_first(to + j * plane, plane, from + j, step, n);
    for (ptrdiff_t i = 0; n >= BLOCK && i < n; i += BLOCK) {
        const ptrdiff_t at = i < n - BLOCK ? i : n - BLOCK; /* the last block may overlap the one before */
        for (ptrdiff_t j = 0; j < whole; j += BLOCK)
            block_transpose(to + j * plane + at, plane, from + at * step + j, step);
    }
    for (ptrdiff_t j = whole; j < channels; j++)
        for (ptrdiff_t i = 0; i < n; i++)
            to[j * plane + i] = from[i * step + j];
}

/* What frame_fill copies: channels [channel, channel + channels); depthwise the `lanes` channels from
 * `channel`.  Without `zeros` the frame already has those around such a piece. */
struct fill {
    ptrdiff_t channel, channels;
    int lanes, zeros;
};

/* The cells of one row outside of `filled`. */
static inline void row_zeros(const struct walk *w, float *to, ptrdiff_t plane, ptrdiff_t n,
                             struct range filled, ptrdiff_t channels)
{
    const ptrdiff_t planes = w->order == PIXELS ? 1 : channels;
    for (ptrdiff_t c = 0; c < planes; c++, to += plane) {
        for (ptrdiff_t i = 0; i < filled.begin * w->unit; i++)
            to[i] = 0.0f;
        for (ptrdiff_t i = filled.end * w->unit; i < n * w->unit; i++)
            to[i] = 0.0f;
    }
}

static inline void row_copy(const struct walk *w, float *to, ptrdiff_t plane, const float *from, ptrdiff_t n,
                            const struct fill *fill)
{
    const ptrdiff_t step = w->from_channels * w->x.every;
    if (w->order == PLANES)
        pixels_transpose(to, plane, from, step, n, fill->channels);
    else if (w->order == PIXELS && step == w->unit)
        memcpy(to, from, (size_t)(n * step) * sizeof *to);
    else if (w->order == PIXELS)
        for (ptrdiff_t i = 0; i < n; i++)
            memcpy(to + i * w->unit, from + i * step, (size_t)fill->channels * sizeof *to);
    else if (fill->lanes == VEC)
        for (ptrdiff_t i = 0; i < n; i++)
            vec_store(to + i * VEC, vec_load(from + i * step));
    else
        for (ptrdiff_t i = 0; i < n; i++)
            vec_store(to + i * VEC, vec_load_first(from + i * step, fill->lanes));
}

/* Copies a piece into the scratch. */
static inline void frame_fill(struct ls_scratch *scratch, const struct walk *w, struct frame f,
                              struct piece p, struct fill fill)
{
    const ptrdiff_t y0 = axis_first_cell(&w->y, p.y.begin), x0 = axis_first_cell(&w->x, p.x.begin);
    const struct range y = axis_filled(&w->y, y0, f.height), x = axis_filled(&w->x, x0, f.width);
    const ptrdiff_t source_x = (x0 + x.begin) * w->x.every + w->x.shift;
    for (ptrdiff_t image = 0; fill.channels > 0 && image < p.images; image++)
        for (ptrdiff_t i = 0; i < f.height; i++) {
            float *to = scratch->image + (image * f.height + i) * f.width * w->unit;
            const ptrdiff_t source_y = (y0 + i) * w->y.every + w->y.shift;
            const int outside = i < y.begin || i >= y.end || x.begin == x.end;
            if (fill.zeros)
                row_zeros(w, to, f.plane, f.width, outside ? (struct range){0, 0} : x, fill.channels);
            if (outside)
                continue;
            const ptrdiff_t pixel = ((p.b + image) * w->y.from + source_y) * w->x.from + source_x;
            row_copy(w, to + x.begin * w->unit, f.plane, w->from + pixel * w->from_channels + fill.channel,
                     x.end - x.begin, &fill);
        }
}

static inline int same_piece(const struct piece *a, const struct piece *b)
{
    return a->images == b->images && a->y.begin == b->y.begin && a->y.end == b->y.end &&
           a->x.begin == b->x.begin && a->x.end == b->x.end;
}

/* How many of the piece's positions have a place in phase (fy, fx). */
static inline ptrdiff_t count_pixels(const struct walk *w, const struct piece *p, ptrdiff_t fy, ptrdiff_t fx)
{
    const struct range y = axis_inside(&w->y, p->y, fy), x = axis_inside(&w->x, p->x, fx);
    return p->images * (y.end - y.begin) * (x.end - x.begin);
}

/* Writes to scratch->pixels, from entry n on, the offsets in a plane of tap 0 of the piece's positions of
 * phase (fy, fx), and to scratch->places those of their destinations, `to_channels` wide, from destination
 * image p.b. */
static inline void find_pixels(struct ls_scratch *scratch, const struct walk *w, struct frame f,
                               struct piece p, ptrdiff_t fy, ptrdiff_t fx, ptrdiff_t to_channels, ptrdiff_t n)
{
    const struct range y = axis_inside(&w->y, p.y, fy), x = axis_inside(&w->x, p.x, fx);
    const ptrdiff_t y0 = axis_first_cell(&w->y, p.y.begin), x0 = axis_first_cell(&w->x, p.x.begin);
    for (ptrdiff_t image = 0; image < p.images; image++)
        for (ptrdiff_t i = y.begin; i < y.end; i++)
            for (ptrdiff_t j = x.begin; j < x.end; j++, n++) {
                const ptrdiff_t row = image * f.height + i * w->y.stride - y0;
                const ptrdiff_t to_y = i * w->y.phases + fy - w->y.shift_to,
                                to_x = j * w->x.phases + fx - w->x.shift_to;
                scratch->pixels[n] = (int32_t)((row * f.width + j * w->x.stride - x0) * w->unit);
                scratch->places[n] = ((image * w->y.to + to_y) * w->x.to + to_x) * to_channels;
            }
}

#endif
