/* The oracle's pooling: window by window, tap by tap. */
#include "compute/serial/serial.h"

#include "base/contract.h"

/* Where tap (ky, kx) of output (b, oy, ox) lies in x, channel 0; -1 in the padding. */
static ptrdiff_t tap_at(const struct ls_window *w, ptrdiff_t b, ptrdiff_t oy, ptrdiff_t ox, ptrdiff_t ky,
                        ptrdiff_t kx)
{
    const ptrdiff_t y = oy * w->SY + ky - w->PY, x = ox * w->SX + kx - w->PX;
    if (y < 0 || y >= w->H || x < 0 || x >= w->W)
        return -1;
    return ((b * w->H + y) * w->W + x) * w->C;
}

/* Where in x the largest tap of channel c of a window lies. */
static ptrdiff_t chosen(const struct ls_window *w, const float *x, ptrdiff_t b, ptrdiff_t oy, ptrdiff_t ox,
                        ptrdiff_t c)
{
    ptrdiff_t top = -1;
    for (ptrdiff_t ky = 0; ky < w->KH; ky++)
        for (ptrdiff_t kx = 0; kx < w->KW; kx++) {
            const ptrdiff_t at = tap_at(w, b, oy, ox, ky, kx);
            if (at < 0)
                continue;
            const float v = x[at + c];
            if (top < 0 || v > x[top] || v != v)
                top = at + c;
        }
    return top;
}

void ls_serial_maxpool_forward(const struct ls_window *w, float *y, const float *x)
{
    for (ptrdiff_t b = 0; b < w->B; b++)
        for (ptrdiff_t oy = 0; oy < w->OH; oy++)
            for (ptrdiff_t ox = 0; ox < w->OW; ox++)
                for (ptrdiff_t c = 0; c < w->C; c++)
                    y[((b * w->OH + oy) * w->OW + ox) * w->C + c] = x[chosen(w, x, b, oy, ox, c)];
}

/* Windows come in order, so each dx is its fold. */
void ls_serial_maxpool_backward(const struct ls_window *w, float *dx, const float *dy, enum ls_activation act,
                                const float *x)
{
    for (ptrdiff_t i = 0; i < w->B * w->H * w->W * w->C; i++)
        dx[i] = 0.0f;
    for (ptrdiff_t b = 0; b < w->B; b++)
        for (ptrdiff_t oy = 0; oy < w->OH; oy++)
            for (ptrdiff_t ox = 0; ox < w->OW; ox++)
                for (ptrdiff_t c = 0; c < w->C; c++) {
                    const ptrdiff_t top = chosen(w, x, b, oy, ox, c);
                    dx[top] = ls_fma(dy[((b * w->OH + oy) * w->OW + ox) * w->C + c], 1.0f, dx[top]);
                }
    ls_serial_activation_backward(act, 0.0f, w->B * w->H * w->W * w->C, dx, dx, x);
}

void ls_serial_avgpool_forward(const struct ls_window *w, float *y, const float *x)
{
    const float r = 1.0f / (float)(w->KH * w->KW);
    for (ptrdiff_t b = 0; b < w->B; b++)
        for (ptrdiff_t oy = 0; oy < w->OH; oy++)
            for (ptrdiff_t ox = 0; ox < w->OW; ox++)
                for (ptrdiff_t c = 0; c < w->C; c++) {
                    float sum = 0.0f;
                    for (ptrdiff_t ky = 0; ky < w->KH; ky++)
                        for (ptrdiff_t kx = 0; kx < w->KW; kx++) {
                            const ptrdiff_t at = tap_at(w, b, oy, ox, ky, kx);
                            sum = ls_fma(at < 0 ? 0.0f : x[at + c], 1.0f, sum);
                        }
                    y[((b * w->OH + oy) * w->OW + ox) * w->C + c] = sum * r;
                }
}

void ls_serial_avgpool_backward(const struct ls_window *w, float *dx, const float *dy)
{
    const float r = 1.0f / (float)(w->KH * w->KW);
    const ptrdiff_t n = w->B * w->H * w->W * w->C;
    for (ptrdiff_t i = 0; i < n; i++)
        dx[i] = 0.0f;
    for (ptrdiff_t b = 0; b < w->B; b++)
        for (ptrdiff_t oy = 0; oy < w->OH; oy++)
            for (ptrdiff_t ox = 0; ox < w->OW; ox++)
                for (ptrdiff_t ky = 0; ky < w->KH; ky++)
                    for (ptrdiff_t kx = 0; kx < w->KW; kx++) {
                        const ptrdiff_t at = tap_at(w, b, oy, ox, ky, kx);
                        for (ptrdiff_t c = 0; at >= 0 && c < w->C; c++)
                            dx[at + c] =
                                ls_fma(dy[((b * w->OH + oy) * w->OW + ox) * w->C + c], 1.0f, dx[at + c]);
                    }
    for (ptrdiff_t i = 0; i < n; i++)
        dx[i] = dx[i] * r;
}
