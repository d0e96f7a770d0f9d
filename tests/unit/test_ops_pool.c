/* Pooling against the serial oracle, bit for bit, and the oracle against windows worked out by hand. */
#include <stdio.h>

#include "implementations.h"

static struct ls_window window(ptrdiff_t B, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C, ptrdiff_t taps,
                               ptrdiff_t stride, ptrdiff_t padding)
{
    struct ls_window w = {.B = B, .H = H, .W = W, .C = C, .KH = taps, .KW = taps, .SY = stride, .SX = stride};
    w.PY = w.PX = padding;
    w.OH = (H + 2 * padding - taps) / stride + 1;
    w.OW = (W + 2 * padding - taps) / stride + 1;
    return w;
}

static void check_pool(const struct ls_window *w, int special)
{
    static const enum ls_activation acts[] = {LS_ACT_NONE, LS_ACT_RELU, LS_ACT_TANH};
    const ptrdiff_t n = w->B * w->H * w->W * w->C, out = w->B * w->OH * w->OW * w->C;
    float *x = values(n, special), *dy = values(out, special == 3 ? 2 : special);
    float *y = unset(out), *dx = unset(n), *mean = unset(out), *dmean = unset(n);
    ls_ops_serial.maxpool_forward(w, y, x);
    ls_ops_serial.avgpool_forward(w, mean, x);
    ls_ops_serial.avgpool_backward(w, dmean, dy);
    char shape[160];
    snprintf(shape, sizeof shape,
             "B %td image %td x %td x %td taps %td x %td stride %td, %td padding %td, %td special %d", w->B,
             w->H, w->W, w->C, w->KH, w->KW, w->SY, w->SX, w->PY, w->PX, special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(out), *back = unset(n);
        ops->maxpool_forward(w, found, x);
        expect_same("max", ops, threads, shape, out, found, y);
        for (size_t i = 0; i < COUNT(acts); i++) {
            ls_ops_serial.maxpool_backward(w, dx, dy, acts[i], x);
            ops->maxpool_backward(w, back, dy, acts[i], x);
            expect_same("max dx", ops, threads, shape, n, back, dx);
        }
        ops->avgpool_forward(w, found, x);
        expect_same("average", ops, threads, shape, out, found, mean);
        FREE(back);
        back = unset(n);
        ops->avgpool_backward(w, back, dy);
        expect_same("average dx", ops, threads, shape, n, back, dmean);
        FREE(found, back);
    }
    FREE(x, dy, y, dx, mean, dmean);
}

Test(ops_pool, two_by_two, .timeout = 120)
{
    static const ptrdiff_t widths[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64};
    for (size_t i = 0; i < COUNT(widths); i++)
        for (ptrdiff_t size = 2; size < 8; size++)
            for (int special = 0; special < 4; special++) {
                struct ls_window w = window(3, size, 9 - size, widths[i], 2, 2, 0);
                check_pool(&w, special);
            }
}

Test(ops_pool, any_window, .timeout = 120)
{
    for (int i = 0; i < 400; i++) {
        struct ls_window w = {.B = random_bits() % 4, .C = 1 + random_bits() % 20};
        w.KH = 1 + random_bits() % 4;
        w.KW = 1 + random_bits() % 4;
        w.SY = 1 + random_bits() % 4;
        w.SX = 1 + random_bits() % 4;
        w.PY = random_bits() % w.KH;
        w.PX = random_bits() % w.KW;
        w.H = w.KH + random_bits() % 7;
        w.W = w.KW + random_bits() % 7;
        w.OH = (w.H + 2 * w.PY - w.KH) / w.SY + 1;
        w.OW = (w.W + 2 * w.PX - w.KW) / w.SX + 1;
        check_pool(&w, i % 4);
    }
}

Test(ops_pool, usual_windows, .timeout = 120)
{
    const struct ls_window all[] = {window(2, 14, 14, 32, 3, 2, 1), window(2, 8, 8, 64, 8, 8, 0),
                                    window(3, 9, 9, 20, 3, 3, 0), window(5, 12, 12, 48, 3, 1, 1)};
    for (size_t i = 0; i < COUNT(all); i++)
        for (int special = 0; special < 4; special++)
            check_pool(&all[i], special);
}

/* 3 x 3 windows by 2 with padding on a 4 x 4 image of one channel. */
Test(ops_pool, by_hand)
{
    const struct ls_window w = window(1, 4, 4, 1, 3, 2, 1);
    const float x[16] = {1, 5, 5, 2, 5, 4, NAN, 1, 0, 3, 2, 9, 7, 7, -1, 8}, dy[4] = {1, 2, 4, 8};
    float y[4], dx[16];
    cr_assert(w.OH == 2 && w.OW == 2);
    /* Windows begin at -1 and 1: rows and columns 0..1, and 1..3. */
    const float top[4] = {5, NAN, 7, NAN};
    /* Of the first window the first 5 is chosen, of the third the first 7; the others end in the NaN. */
    const float back[16] = {0, 1, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 4, 0, 0, 0};
    ls_ops_serial.maxpool_forward(&w, y, x);
    ls_ops_serial.maxpool_backward(&w, dx, dy, LS_ACT_NONE, x);
    expect_same("top", &ls_ops_serial, 1, "by hand", 4, y, top);
    expect_same("dx", &ls_ops_serial, 1, "by hand", 16, dx, back);
    const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, r = 1.0f / 9.0f;
    const float counts[4] = {4 * r, 6 * r, 6 * r, 9 * r};
    ls_ops_serial.avgpool_forward(&w, y, ones);
    expect_same("average", &ls_ops_serial, 1, "by hand", 4, y, counts);
    const float shares[16] = {1 * r, 3 * r,  2 * r, 2 * r, 5 * r, 15 * r, 10 * r, 10 * r,
                              4 * r, 12 * r, 8 * r, 8 * r, 4 * r, 12 * r, 8 * r,  8 * r};
    ls_ops_serial.avgpool_backward(&w, dx, dy);
    expect_same("shares", &ls_ops_serial, 1, "by hand", 16, dx, shares);
}
