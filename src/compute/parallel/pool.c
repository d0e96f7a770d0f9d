/* Pooling, windows by rows: a thread owns rows of what is written, so windows that reach over two threads'
 * rows are looked at by both; except for windows of 2 x 2 side by side (pool_2x2.h), of which it owns whole
 * ones, and behind a convolution, where it has whole images.
 *
 * The backward pass of the maximum keeps no index: the chosen tap is found again from x by the comparisons of
 * the forward pass, which costs less than reading it from memory.  Sums that start from +0 are never -0, so
 * adding a +0 for what did not choose a tap, or lies in the padding, changes nothing and may be done or left
 * out.  For the same reason a ReLU's derivative may be applied to what a window sends, by the tap it chose.
 */
#include "compute/parallel/pool.h"

#include "compute/parallel/pool_2x2.h"
#include "compute/parallel/team.h"

struct pool {
    const struct ls_window *at;
    float *to;
    const float *x, *dy;
    bool relu; /* a ReLU made x: backward, its derivative is applied */
};

/* Taps of one window that lie inside the image. */
struct taps {
    ptrdiff_t y, x, rows, columns;
};

LS_ALWAYS_INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* first and count of the taps at `out * stride - padding ...` that are in 0 .. size. */
LS_ALWAYS_INLINE void clip(ptrdiff_t out, ptrdiff_t stride, ptrdiff_t padding, ptrdiff_t taps, ptrdiff_t size,
                           ptrdiff_t *first, ptrdiff_t *count)
{
    const ptrdiff_t from = out * stride - padding, end = least(from + taps, size);
    *first = from < 0 ? 0 : from;
    *count = end > *first ? end - *first : 0;
}

LS_ALWAYS_INLINE struct taps taps_of(const struct ls_window *w, ptrdiff_t oy, ptrdiff_t ox)
{
    struct taps t;
    clip(oy, w->SY, w->PY, w->KH, w->H, &t.y, &t.rows);
    clip(ox, w->SX, w->PX, w->KW, w->W, &t.x, &t.columns);
    return t;
}

/* The outputs whose windows have position `at`: [*first, *end) in one direction. */
LS_ALWAYS_INLINE void outputs_of(ptrdiff_t at, ptrdiff_t stride, ptrdiff_t padding, ptrdiff_t taps,
                                 ptrdiff_t outputs, ptrdiff_t *first, ptrdiff_t *end)
{
    const ptrdiff_t past = at + padding - taps + 1;
    *first = past <= 0 ? 0 : (past + stride - 1) / stride;
    *end = least((at + padding) / stride + 1, outputs);
}

/* y = the largest of rows x columns taps from x on, which begins at the first. */
LS_ALWAYS_INLINE void largest(const ptrdiff_t rows, const ptrdiff_t columns, const struct ls_window *w,
                              float *y, const float *x)
{
    const ptrdiff_t down = w->W * w->C;
    for (ptrdiff_t c = 0; c < w->C; c += VEC) {
        const int n = some_of(w->C - c);
        vec top = some_load(x + c, n);
        for (ptrdiff_t ky = 0; ky < rows; ky++)
            for (ptrdiff_t kx = 0; kx < columns; kx++) {
                const vec v = some_load(x + ky * down + kx * w->C + c, n);
                top = choose(wins(v, top), v, top);
            }
        some_store(y + c, top, n);
    }
}

/* 2 x 2 windows of which each tap is in one. */
LS_ALWAYS_INLINE bool side_by_side(const struct ls_window *w)
{
    return w->KH == 2 && w->KW == 2 && w->SY == 2 && w->SX == 2 && w->PY == 0 && w->PX == 0;
}

static int64_t max_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    const struct ls_window copy = *p->at,
                           *w = &copy; /* a copy, which no store of a vector can be feared to hit */
    const struct range r = range_part(w->B * w->OH, 1, thread, threads);
    for (ptrdiff_t row = r.begin; row < r.end; row++) {
        const ptrdiff_t b = row / w->OH, oy = row % w->OH, down = w->W * w->C;
        if (side_by_side(w)) {
            const float *x = p->x + (b * w->H + 2 * oy) * down;
            row_2x2(w->OW, w->C, p->to + row * w->OW * w->C, x, x + down);
            continue;
        }
        for (ptrdiff_t ox = 0; ox < w->OW; ox++) {
            const struct taps t = taps_of(w, oy, ox);
            const float *x = p->x + ((b * w->H + t.y) * w->W + t.x) * w->C;
            float *y = p->to + (row * w->OW + ox) * w->C;
            if (t.rows == 2 && t.columns == 2)
                largest(2, 2, w, y, x);
            else if (t.rows == 3 && t.columns == 3)
                largest(3, 3, w, y, x);
            else
                largest(t.rows, t.columns, w, y, x);
        }
    }
    return 0;
}

void LS_PER_ISA(ls_maxpool_forward)(const struct ls_window *window, float *y, const float *x)
{
    const struct pool p = {window, y, x, NULL, false};
    const ptrdiff_t n = window->B * window->OH * window->OW * window->C;
    team_run((double)n * (0.1 + 0.05 * (double)(window->KH * window->KW)), max_part, &p);
}

void LS_PER_ISA(ls_maxpool_images)(const struct ls_maxpool *pool, const float *x, struct range images)
{
    const struct ls_window *w = &pool->at;
    struct ls_window some = *w;
    some.B = images.end - images.begin;
    max_part(&(struct pool){.at = &some,
                            .to = pool->y + images.begin * w->OH * w->OW * w->C,
                            .x = x + images.begin * w->H * w->W * w->C},
             0, 1);
}

/* What dy of one window adds to dx: of its rows x columns taps, those of rows [mine.begin, mine.end) get dy
 * where they were chosen.  `relu`: only where the largest is positive. */
LS_ALWAYS_INLINE void send_back(const ptrdiff_t rows, const ptrdiff_t columns, const bool relu,
                                const struct ls_window *w, struct range mine, float *dx, const float *x,
                                const float *dy)
{
    const ptrdiff_t down = w->W * w->C;
    for (ptrdiff_t c = 0; c < w->C; c += VEC) {
        const int n = some_of(w->C - c);
        vec top = some_load(x + c, n);
        vec_bits index = {0};
        for (ptrdiff_t ky = 0; ky < rows; ky++)
            for (ptrdiff_t kx = 0; kx < columns; kx++) {
                const vec v = some_load(x + ky * down + kx * w->C + c, n);
                const vec_mask won = wins(v, top);
                top = choose(won, v, top);
                index = choose_index(won, (int)(ky * columns + kx), index);
            }
        const vec sum = vec_zero() + some_load(dy + c, n); /* a fold from +0 makes -0 +0 */
        const vec d = relu ? vec_if_positive(top, sum) : sum;
        for (ptrdiff_t ky = mine.begin; ky < mine.end; ky++)
            for (ptrdiff_t kx = 0; kx < columns; kx++) {
                float *to = dx + ky * down + kx * w->C + c;
                const vec sent = choose(chose(index, (int)(ky * columns + kx)), d, vec_zero());
                some_store(to, some_load(to, n) + sent, n);
            }
    }
}

/* dx of rows [rows.begin, rows.end) of sample b.  Rows are cleared just before the first window with taps in
 * them. */
static void max_rows(const struct pool *p, ptrdiff_t b, struct range rows)
{
    const struct ls_window copy = *p->at, *w = &copy;
    const ptrdiff_t down = w->W * w->C;
    const float *x = p->x + b * w->H * down;
    float *dx = p->to + b * w->H * down;
    ptrdiff_t first, end, unused, cleared = rows.begin;
    outputs_of(rows.begin, w->SY, w->PY, w->KH, w->OH, &first, &unused);
    outputs_of(rows.end - 1, w->SY, w->PY, w->KH, w->OH, &unused, &end);
    for (ptrdiff_t oy = first; oy < end; oy++) {
        for (ptrdiff_t ox = 0; ox < w->OW; ox++) {
            const struct taps t = taps_of(w, oy, ox);
            const ptrdiff_t last = least(t.y + t.rows, rows.end), at = t.y * down + t.x * w->C;
            if (cleared < last) {
                memset(dx + cleared * down, 0, (size_t)((last - cleared) * down) * sizeof *dx);
                cleared = last;
            }
            const struct range mine = {rows.begin > t.y ? rows.begin - t.y : 0, last - t.y};
            const float *dy = p->dy + ((b * w->OH + oy) * w->OW + ox) * w->C;
            if (t.rows == 3 && t.columns == 3 && mine.begin == 0 && mine.end == 3)
                send_back(3, 3, p->relu, w, (struct range){0, 3}, dx + at, x + at, dy);
            else
                send_back(t.rows, t.columns, p->relu, w, mine, dx + at, x + at, dy);
        }
    }
    if (cleared < rows.end)
        memset(dx + cleared * down, 0, (size_t)((rows.end - cleared) * down) * sizeof *dx);
}

/* 2 x 2 windows side by side: a thread has rows of them, and with a sample's last the rows below. */
static void max_windows_2x2(const struct pool *p, int thread, int threads)
{
    const struct ls_window copy = *p->at, *w = &copy;
    const ptrdiff_t down = w->W * w->C, used = 2 * w->OW * w->C;
    const struct range r = range_part(w->B * w->OH, 1, thread, threads);
    for (ptrdiff_t row = r.begin; row < r.end; row++) {
        const ptrdiff_t oy = row % w->OH, y = row / w->OH * w->H + 2 * oy;
        float *dx = p->to + y * down;
        const float *x = p->x + y * down, *dy = p->dy + row * w->OW * w->C;
        if (p->relu)
            row_back_2x2(true, w->OW, w->C, dx, x, down, dy);
        else
            row_back_2x2(false, w->OW, w->C, dx, x, down, dy);
        const ptrdiff_t rows = oy == w->OH - 1 ? w->H - 2 * oy : 2;
        for (ptrdiff_t i = 0; i < rows; i++) { /* what no window has */
            const ptrdiff_t from = i < 2 ? used : 0;
            if (from < down)
                memset(dx + i * down + from, 0, (size_t)(down - from) * sizeof *dx);
        }
    }
}

/* Each sample's rows of this thread. */
static void max_samples(const struct pool *p, int thread, int threads)
{
    const ptrdiff_t H = p->at->H;
    const struct range r = range_part(p->at->B * H, 1, thread, threads);
    for (ptrdiff_t row = r.begin; row < r.end;) {
        const ptrdiff_t b = row / H, end = least(r.end, (b + 1) * H);
        max_rows(p, b, (struct range){row - b * H, end - b * H});
        row = end;
    }
}

static int64_t max_gradient_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    if (side_by_side(p->at))
        max_windows_2x2(p, thread, threads);
    else
        max_samples(p, thread, threads);
    return 0;
}

void LS_PER_ISA(ls_maxpool_gradient_images)(const struct ls_maxpool_gradient *pool, struct range images)
{
    const struct ls_maxpool_gradient some = ls_maxpool_gradient_of(pool, images.begin, images.end);
    max_gradient_part(
        &(struct pool){
            .at = &some.at, .to = some.dx, .x = some.x, .dy = some.dy, .relu = some.act == LS_ACT_RELU},
        0, 1);
}

void LS_PER_ISA(ls_maxpool_backward)(const struct ls_window *window, float *dx, const float *dy,
                                     enum ls_activation act, const float *x)
{
    const struct pool p = {window, dx, x, dy, act == LS_ACT_RELU};
    const ptrdiff_t n = window->B * window->OH * window->OW * window->C;
    team_run((double)n * (0.1 + 0.15 * (double)(window->KH * window->KW)), max_gradient_part, &p);
    if (act != LS_ACT_NONE && act != LS_ACT_RELU)
        LS_PER_ISA(ls_activation_backward)
    (act, 0.0f, window->B * window->H * window->W * window->C, dx, dx, x);
}

static int64_t average_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    const struct ls_window copy = *p->at, *w = &copy;
    const struct range rows = range_part(w->B * w->OH, 1, thread, threads);
    const vec r = vec_all(1.0f / (float)(w->KH * w->KW));
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        const ptrdiff_t b = row / w->OH, oy = row % w->OH;
        for (ptrdiff_t ox = 0; ox < w->OW; ox++) {
            const struct taps t = taps_of(w, oy, ox);
            const float *x = p->x + ((b * w->H + t.y) * w->W + t.x) * w->C;
            float *y = p->to + (row * w->OW + ox) * w->C;
            for (ptrdiff_t c = 0; c < w->C; c += VEC) {
                const int n = some_of(w->C - c);
                vec sum = vec_zero();
                for (ptrdiff_t ky = 0; ky < t.rows; ky++)
                    for (ptrdiff_t kx = 0; kx < t.columns; kx++)
                        sum = sum + some_load(x + (ky * w->W + kx) * w->C + c, n);
                some_store(y + c, sum * r, n);
            }
        }
    }
    return 0;
}

void LS_PER_ISA(ls_avgpool_forward)(const struct ls_window *window, float *y, const float *x)
{
    const struct pool p = {window, y, x, NULL, false};
    const ptrdiff_t n = window->B * window->OH * window->OW * window->C;
    team_run((double)n * (0.1 + 0.05 * (double)(window->KH * window->KW)), average_part, &p);
}

/* Whether each tap lies in one window, or, behind the last one, in none. */
static bool windows_apart(const struct ls_window *w)
{
    return w->SY == w->KH && w->SX == w->KW && w->PY == 0 && w->PX == 0;
}

/* One row of dx from the row of windows that has it; dy NULL: none has. */
static void average_gradient_apart(const struct ls_window *w, vec r, float *dx, const float *dy)
{
    const ptrdiff_t windows = dy ? w->OW : 0, in_windows = windows * w->KW;
    for (ptrdiff_t ox = 0; ox < windows; ox++)
        for (ptrdiff_t c = 0; c < w->C; c += VEC) {
            const int n = some_of(w->C - c);
            const vec d = (vec_zero() + some_load(dy + ox * w->C + c, n)) * r; /* the fold from +0 */
            for (ptrdiff_t kx = 0; kx < w->KW; kx++)
                some_store(dx + (ox * w->KW + kx) * w->C + c, d, n);
        }
    memset(dx + in_windows * w->C, 0, (size_t)((w->W - in_windows) * w->C) * sizeof *dx);
}

/* Each dx gathers from the windows that have it. */
static int64_t average_gradient_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    const struct ls_window copy = *p->at, *w = &copy;
    const struct range rows = range_part(w->B * w->H, 1, thread, threads);
    const vec r = vec_all(1.0f / (float)(w->KH * w->KW));
    const bool apart = windows_apart(w);
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        ptrdiff_t oy0, oy1, ox0 = 0, ox1 = 0;
        outputs_of(row % w->H, w->SY, w->PY, w->KH, w->OH, &oy0, &oy1);
        const float *dy = p->dy + row / w->H * w->OH * w->OW * w->C;
        if (apart) {
            average_gradient_apart(w, r, p->to + row * w->W * w->C,
                                   oy0 < oy1 ? dy + oy0 * w->OW * w->C : NULL);
            continue;
        }
        for (ptrdiff_t x = 0; x < w->W; x++) {
            while (ox0 * w->SX - w->PX + w->KW <= x)
                ox0++;
            while (ox1 < w->OW && ox1 * w->SX - w->PX <= x)
                ox1++;
            for (ptrdiff_t c = 0; c < w->C; c += VEC) {
                const int n = some_of(w->C - c);
                vec sum = vec_zero();
                for (ptrdiff_t oy = oy0; oy < oy1; oy++)
                    for (ptrdiff_t ox = ox0; ox < ox1; ox++)
                        sum = sum + some_load(dy + (oy * w->OW + ox) * w->C + c, n);
                some_store(p->to + (row * w->W + x) * w->C + c, sum * r, n);
            }
        }
    }
    return 0;
}

void LS_PER_ISA(ls_avgpool_backward)(const struct ls_window *window, float *dx, const float *dy)
{
    const struct pool p = {window, dx, NULL, dy, false};
    const ptrdiff_t n = window->B * window->H * window->W * window->C;
    team_run((double)n * 0.4, average_gradient_part, &p);
}
