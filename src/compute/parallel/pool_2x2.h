/* The maximum over 2 x 2 windows side by side without padding, what most nets have: each tap is in one
 * window, so a thread owns whole windows, reads each pixel once and writes it once.
 *
 * Whether a tap is the chosen one stays a mask from the comparison to the store. */
#ifndef LS_COMPUTE_PARALLEL_POOL_2X2_H
#define LS_COMPUTE_PARALLEL_POOL_2X2_H

#include <stdbool.h>

#include "compute/parallel/choice.h"

/* The taps of one window, c channels at once: a b above, c d below. */
struct window_2x2 {
    vec top;
    vec_mask b, c, d; /* that tap won over those before it */
};

LS_ALWAYS_INLINE struct window_2x2 window_2x2(const float *above, const float *below, ptrdiff_t C, int n)
{
    struct window_2x2 w = {.top = some_load(above, n)};
    vec v = some_load(above + C, n);
    w.b = wins(v, w.top);
    w.top = choose(w.b, v, w.top);
    v = some_load(below, n);
    w.c = wins(v, w.top);
    w.top = choose(w.c, v, w.top);
    v = some_load(below + C, n);
    w.d = wins(v, w.top);
    w.top = choose(w.d, v, w.top);
    return w;
}

/* dx of one window, which gets +0 where a tap is not the chosen one. */
LS_ALWAYS_INLINE void send_back_2x2(const bool relu, ptrdiff_t C, float *dx_above, float *dx_below,
                                    const float *above, const float *below, const float *dy, int n)
{
    const struct window_2x2 w = window_2x2(above, below, C, n);
    const vec sum = vec_zero() + some_load(dy, n); /* a fold from +0 makes -0 +0 */
    const vec d = relu ? vec_if_positive(w.top, sum) : sum;
    some_store(dx_above, choose(w.b | w.c | w.d, vec_zero(), d), n);
    some_store(dx_above + C, choose(w.b & ~(w.c | w.d), d, vec_zero()), n);
    some_store(dx_below, choose(w.c & ~w.d, d, vec_zero()), n);
    some_store(dx_below + C, choose(w.d, d, vec_zero()), n);
}

/* One row of windows. */
LS_ALWAYS_INLINE void row_2x2(ptrdiff_t windows, ptrdiff_t C, float *y, const float *above,
                              const float *below)
{
    for (ptrdiff_t i = 0; i < windows; i++) {
        ptrdiff_t c = 0;
        for (; c + VEC <= C; c += VEC)
            vec_store(y + c, window_2x2(above + c, below + c, C, VEC).top);
        if (c < C)
            vec_store_first(y + c, window_2x2(above + c, below + c, C, (int)(C - c)).top, (int)(C - c));
        y += C;
        above += 2 * C;
        below += 2 * C;
    }
}

LS_ALWAYS_INLINE void row_back_2x2(const bool relu, ptrdiff_t windows, ptrdiff_t C, float *dx, const float *x,
                                   ptrdiff_t down, const float *dy)
{
    for (ptrdiff_t i = 0; i < windows; i++) {
        ptrdiff_t c = 0;
        for (; c + VEC <= C; c += VEC)
            send_back_2x2(relu, C, dx + c, dx + down + c, x + c, x + down + c, dy + c, VEC);
        if (c < C)
            send_back_2x2(relu, C, dx + c, dx + down + c, x + c, x + down + c, dy + c, (int)(C - c));
        dx += 2 * C;
        x += 2 * C;
        dy += C;
    }
}

#endif
