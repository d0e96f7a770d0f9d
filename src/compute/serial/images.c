/* The oracle's images as data sets store them: moved and normalised. */
#include "compute/serial/serial.h"

static struct ls_move move_of(const struct ls_image_view *view, int64_t index)
{
    return view->move ? view->move(view->context, index) : (struct ls_move){0, 0, 0};
}

static float normalised(const struct ls_image_view *view, ptrdiff_t c, float v)
{
    return view->mean ? (v - view->mean[c]) * view->inverse[c] : v;
}

static int inside(const struct ls_image_view *view, ptrdiff_t y, ptrdiff_t x)
{
    return y >= 0 && y < view->H && x >= 0 && x < view->W;
}

void ls_serial_gather_images(const struct ls_image_view *view, ptrdiff_t B, float *x, const uint8_t *pixels,
                             const int64_t *index, float divisor)
{
    const ptrdiff_t C = view->C, H = view->H, W = view->W;
    for (ptrdiff_t b = 0; b < B; b++) {
        const struct ls_move move = move_of(view, index[b]);
        for (ptrdiff_t c = 0; c < C; c++)
            for (ptrdiff_t i = 0; i < H; i++)
                for (ptrdiff_t j = 0; j < W; j++) {
                    const ptrdiff_t from_i = i + move.dy, from_j = (move.flip ? W - 1 - j : j) + move.dx;
                    const uint8_t p = inside(view, from_i, from_j)
                                          ? pixels[((index[b] * C + c) * H + from_i) * W + from_j]
                                          : 0;
                    x[((b * C + c) * H + i) * W + j] = normalised(view, c, (float)p / divisor);
                }
    }
}

static void flip_plane(const struct ls_image_view *view, float *plane)
{
    for (ptrdiff_t i = 0; i < view->H; i++)
        for (ptrdiff_t j = 0; j < view->W / 2; j++) {
            float *left = &plane[i * view->W + j], *right = &plane[i * view->W + view->W - 1 - j];
            const float kept = *left;
            *left = *right;
            *right = kept;
        }
}

/* Pixel k from pixel k + offset, from the end that is read before it is written. */
static void shift_plane(const struct ls_image_view *view, float *plane, ptrdiff_t dy, ptrdiff_t dx)
{
    const ptrdiff_t W = view->W, n = view->H * W, offset = dy * W + dx;
    for (ptrdiff_t step = 0; step < n; step++) {
        const ptrdiff_t k = offset >= 0 ? step : n - 1 - step;
        plane[k] = inside(view, k / W + dy, k % W + dx) ? plane[k + offset] : 0.0f;
    }
}

void ls_serial_view_images(const struct ls_image_view *view, ptrdiff_t B, float *x, const int64_t *index)
{
    const ptrdiff_t n = view->H * view->W;
    for (ptrdiff_t b = 0; b < B; b++) {
        const struct ls_move move = move_of(view, index[b]);
        for (ptrdiff_t c = 0; c < view->C; c++) {
            float *plane = x + (b * view->C + c) * n;
            if (move.flip)
                flip_plane(view, plane);
            shift_plane(view, plane, move.dy, move.flip ? -move.dx : move.dx);
            for (ptrdiff_t k = 0; k < n; k++)
                plane[k] = normalised(view, c, plane[k]);
        }
    }
}
