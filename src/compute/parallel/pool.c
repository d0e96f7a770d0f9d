/* Pooling, windows by rows: a thread owns rows of what is written, so windows that reach over two threads'
 * rows are looked at by both.
 *
 * The backward pass of the maximum keeps no index: the chosen tap is found again from x by the comparisons of
 * the forward pass, which costs less than reading it from memory.  Sums that start from +0 are never -0, so
 * adding a +0 for what did not choose a tap, or lies in the padding, changes nothing and may be done or left
 * out.  For the same reason a ReLU's derivative may be applied to what a window sends, by the tap it chose.
 */
#include "compute/parallel/pool.h"

#include <stdbool.h>

#include "compute/parallel/elementwise.h"
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

LS_ALWAYS_INLINE vec some_load(const float *p, int n)
{
    return n == VEC ? vec_load(p) : vec_load_first(p, n);
}

LS_ALWAYS_INLINE void some_store(float *p, vec v, int n)
{
    if (n == VEC)
        vec_store(p, v);
    else
        vec_store_first(p, v, n);
}

LS_ALWAYS_INLINE int some_of(ptrdiff_t left)
{
    return left < VEC ? (int)left : VEC;
}

#if defined(__AVX512F__)
typedef __mmask16 vec_mask;
LS_ALWAYS_INLINE vec_mask wins(vec v, vec top)
{
    return _mm512_cmp_ps_mask(v, top, _CMP_GT_OQ) | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
}
LS_ALWAYS_INLINE vec choose(vec_mask mask, vec a, vec b)
{
    return _mm512_mask_mov_ps(b, mask, a);
}
LS_ALWAYS_INLINE vec_mask chose(vec_bits index, int tap)
{
    return _mm512_cmpeq_epi32_mask((__m512i)index, _mm512_set1_epi32(tap));
}
LS_ALWAYS_INLINE vec_bits choose_index(vec_mask mask, int tap, vec_bits index)
{
    return (vec_bits)_mm512_mask_mov_epi32((__m512i)index, mask, _mm512_set1_epi32(tap));
}
#else
typedef vec_bits vec_mask;
LS_ALWAYS_INLINE vec_mask wins(vec v, vec top)
{
    return (vec_mask)(v > top) | (vec_mask)(v != v);
}
LS_ALWAYS_INLINE vec choose(vec_mask mask, vec a, vec b)
{
    return (vec)((mask & (vec_bits)a) | (~mask & (vec_bits)b));
}
LS_ALWAYS_INLINE vec_mask chose(vec_bits index, int tap)
{
    return (vec_mask)(index == tap);
}
LS_ALWAYS_INLINE vec_bits choose_index(vec_mask mask, int tap, vec_bits index)
{
    return (mask & tap) | (~mask & index);
}
#endif

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

static int64_t max_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    const struct ls_window copy = *p->at,
                           *w = &copy; /* a copy, which no store of a vector can be feared to hit */
    const struct range r = range_part(w->B * w->OH, 1, thread, threads);
    for (ptrdiff_t row = r.begin; row < r.end; row++) {
        const ptrdiff_t b = row / w->OH, oy = row % w->OH;
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

/* What dy of one window does to dx: of its rows x columns taps, those of rows [from, to) get dy where they
 * were chosen.  `alone`: no other window has these taps, so they are written, not added to.  `relu`: only
 * where the largest is positive. */
LS_ALWAYS_INLINE void send_back(const ptrdiff_t rows, const ptrdiff_t columns, const bool alone,
                                const bool relu, const struct ls_window *w, struct range mine, float *dx,
                                const float *x, const float *dy)
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
                some_store(to, alone ? sent : some_load(to, n) + sent, n);
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
                send_back(3, 3, false, p->relu, w, (struct range){0, 3}, dx + at, x + at, dy);
            else
                send_back(t.rows, t.columns, false, p->relu, w, mine, dx + at, x + at, dy);
        }
    }
    if (cleared < rows.end)
        memset(dx + cleared * down, 0, (size_t)((rows.end - cleared) * down) * sizeof *dx);
}

/* The same for 2 x 2 windows side by side: each tap is written once, and what no window has is cleared. */
static void max_rows_2x2(const struct pool *p, ptrdiff_t b, struct range rows)
{
    const struct ls_window copy = *p->at, *w = &copy;
    const ptrdiff_t down = w->W * w->C, used = w->OW * 2 * w->C;
    const float *x = p->x + b * w->H * down;
    float *dx = p->to + b * w->H * down;
    for (ptrdiff_t oy = rows.begin / 2; oy < w->OH && oy * 2 < rows.end; oy++) {
        const struct range mine = {rows.begin > oy * 2, least(rows.end - oy * 2, 2)};
        for (ptrdiff_t ox = 0; ox < w->OW; ox++) {
            const ptrdiff_t at = oy * 2 * down + ox * 2 * w->C;
            const float *dy = p->dy + ((b * w->OH + oy) * w->OW + ox) * w->C;
            if (mine.begin == 0 && mine.end == 2)
                send_back(2, 2, true, p->relu, w, (struct range){0, 2}, dx + at, x + at, dy);
            else
                send_back(2, 2, true, p->relu, w, mine, dx + at, x + at, dy);
        }
    }
    for (ptrdiff_t y = rows.begin; y < rows.end; y++) {
        const ptrdiff_t from = y < w->OH * 2 ? used : 0;
        memset(dx + y * down + from, 0, (size_t)(down - from) * sizeof *dx);
    }
}

/* Calls body for each sample's rows of this thread. */
LS_ALWAYS_INLINE void each_sample(const struct pool *p, int thread, int threads,
                                  void (*body)(const struct pool *p, ptrdiff_t b, struct range rows))
{
    const ptrdiff_t H = p->at->H;
    const struct range r = range_part(p->at->B * H, 1, thread, threads);
    for (ptrdiff_t row = r.begin; row < r.end;) {
        const ptrdiff_t b = row / H, end = least(r.end, (b + 1) * H);
        body(p, b, (struct range){row - b * H, end - b * H});
        row = end;
    }
}

static int64_t max_gradient_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    const struct ls_window *w = p->at;
    if (w->KH == 2 && w->KW == 2 && w->SY == 2 && w->SX == 2 && w->PY == 0 && w->PX == 0)
        each_sample(p, thread, threads, max_rows_2x2);
    else
        each_sample(p, thread, threads, max_rows);
    return 0;
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

/* Each dx gathers from the windows that have it. */
static int64_t average_gradient_part(const void *job, int thread, int threads)
{
    const struct pool *p = job;
    const struct ls_window copy = *p->at, *w = &copy;
    const struct range rows = range_part(w->B * w->H, 1, thread, threads);
    const vec r = vec_all(1.0f / (float)(w->KH * w->KW));
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        ptrdiff_t oy0, oy1, ox0 = 0, ox1 = 0;
        outputs_of(row % w->H, w->SY, w->PY, w->KH, w->OH, &oy0, &oy1);
        const float *dy = p->dy + row / w->H * w->OH * w->OW * w->C;
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
