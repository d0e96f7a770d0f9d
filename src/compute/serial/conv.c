/* The oracle's convolutions: the three formulas of compute/ops.h, one loop a sum. */
#include "compute/serial/serial.h"

#include "base/contract.h"

/* Element (y, x, c) of an image (H, W, C); outside of it, +0. */
static float at_or_zero(const float *image, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C, ptrdiff_t y, ptrdiff_t x,
                        ptrdiff_t c)
{
    return y < 0 || y >= H || x < 0 || x >= W ? 0.0f : image[(y * W + x) * C + c];
}

/* fold(bias; c, ky, kx: tap, w) of output j at (oy, ox) of one image. */
static float output(const struct ls_conv_shape *shape, const float *image, const float *w, float bias,
                    ptrdiff_t oy, ptrdiff_t ox, ptrdiff_t j)
{
    const struct ls_window *at = &shape->at;
    const ptrdiff_t N = shape->N, in_group = at->C / shape->G, first = j / (N / shape->G) * in_group;
    float z = bias;
    for (ptrdiff_t c = 0; c < in_group; c++)
        for (ptrdiff_t ky = 0; ky < at->KH; ky++)
            for (ptrdiff_t kx = 0; kx < at->KW; kx++) {
                const ptrdiff_t y = oy * at->SY + ky - at->PY, x = ox * at->SX + kx - at->PX;
                const float tap = at_or_zero(image, at->H, at->W, at->C, y, x, first + c);
                z = ls_fma(tap, w[((c * at->KH + ky) * at->KW + kx) * N + j], z);
            }
    return z;
}

void ls_serial_conv_forward(const struct ls_conv_shape *shape, float *y, const float *x, const float *w,
                            const float *bias, enum ls_activation act, const struct ls_maxpool *pool)
{
    const struct ls_window *at = &shape->at;
    const ptrdiff_t N = shape->N;
    float *to = y;
    for (ptrdiff_t b = 0; b < at->B; b++)
        for (ptrdiff_t oy = 0; oy < at->OH; oy++)
            for (ptrdiff_t ox = 0; ox < at->OW; ox++)
                for (ptrdiff_t j = 0; j < N; j++)
                    *to++ = output(shape, x + b * at->H * at->W * at->C, w, bias ? bias[j] : 0.0f, oy, ox, j);
    ls_serial_activation_forward(act, 0.0f, to - y, y, y);
    if (pool)
        ls_serial_maxpool_forward(&pool->at, pool->y, y);
}

/* fold(+0; j, ky, kx: dz, w) of input (y, x, c), given one image of dz. */
static float input_gradient(const struct ls_conv_shape *shape, const float *dz, const float *w, ptrdiff_t y,
                            ptrdiff_t x, ptrdiff_t c)
{
    const struct ls_window *at = &shape->at;
    const ptrdiff_t N = shape->N, in_group = at->C / shape->G, out_group = N / shape->G;
    const ptrdiff_t first = c / in_group * out_group, row = c % in_group;
    float sum = 0.0f;
    for (ptrdiff_t j = first; j < first + out_group; j++)
        for (ptrdiff_t ky = 0; ky < at->KH; ky++)
            for (ptrdiff_t kx = 0; kx < at->KW; kx++) {
                const ptrdiff_t oy = y + at->PY - ky, ox = x + at->PX - kx; /* times SY, SX */
                if (oy % at->SY != 0 || ox % at->SX != 0)
                    continue;
                sum = ls_fma(at_or_zero(dz, at->OH, at->OW, N, oy / at->SY, ox / at->SX, j),
                             w[((row * at->KH + ky) * at->KW + kx) * N + j], sum);
            }
    return sum;
}

void ls_serial_conv_input_gradient(const struct ls_conv_shape *shape, float *dx, const float *dz,
                                   const float *w, enum ls_activation act, const float *x)
{
    const struct ls_window *at = &shape->at;
    float *to = dx;
    for (ptrdiff_t b = 0; b < at->B; b++)
        for (ptrdiff_t row = 0; row < at->H; row++)
            for (ptrdiff_t column = 0; column < at->W; column++)
                for (ptrdiff_t c = 0; c < at->C; c++)
                    *to++ = input_gradient(shape, dz + b * at->OH * at->OW * shape->N, w, row, column, c);
    ls_serial_activation_backward(act, 0.0f, to - dx, dx, dx, x);
}

/* fold(+0; b in [first, end), oy, ox: tap, dz) of tap (ky, kx) of input c with output j. */
static float leaf_gradient(const struct ls_conv_shape *shape, ptrdiff_t first, ptrdiff_t end, const float *x,
                           const float *dz, ptrdiff_t c, ptrdiff_t ky, ptrdiff_t kx, ptrdiff_t j)
{
    const struct ls_window *at = &shape->at;
    float leaf = 0.0f;
    for (ptrdiff_t b = first; b < end; b++)
        for (ptrdiff_t oy = 0; oy < at->OH; oy++)
            for (ptrdiff_t ox = 0; ox < at->OW; ox++) {
                const float tap = at_or_zero(x + b * at->H * at->W * at->C, at->H, at->W, at->C,
                                             oy * at->SY + ky - at->PY, ox * at->SX + kx - at->PX, c);
                leaf = ls_fma(tap, dz[((b * at->OH + oy) * at->OW + ox) * shape->N + j], leaf);
            }
    return leaf;
}

static void bias_gradient(const struct ls_conv_shape *shape, ptrdiff_t m, float *db, const float *dz)
{
    const ptrdiff_t pixels = shape->at.OH * shape->at.OW, N = shape->N;
    for (ptrdiff_t j = 0; j < N; j++) {
        struct ls_tree tree = {.count = 0};
        for (ptrdiff_t first = 0; first < shape->at.B; first += m) {
            const ptrdiff_t end = ls_serial_leaf_end(first, m, shape->at.B);
            float leaf = 0.0f;
            for (ptrdiff_t i = first * pixels; i < end * pixels; i++)
                leaf = ls_fma(dz[i * N + j], 1.0f, leaf);
            ls_tree_push(&tree, leaf);
        }
        db[j] = ls_tree_sum(&tree);
    }
}

void ls_serial_conv_weight_gradient(const struct ls_conv_shape *shape, ptrdiff_t m, float *dw, float *db,
                                    const float *x, const float *dz, const struct ls_maxpool_gradient *pool)
{
    const struct ls_window *at = &shape->at;
    const ptrdiff_t N = shape->N, in_group = at->C / shape->G;
    if (pool)
        ls_serial_maxpool_backward(&pool->at, pool->dx, pool->dy, pool->act, pool->x);
    for (ptrdiff_t row = 0; row < in_group * at->KH * at->KW; row++)
        for (ptrdiff_t j = 0; j < N; j++) {
            const ptrdiff_t kx = row % at->KW, ky = row / at->KW % at->KH, c = row / at->KW / at->KH;
            const ptrdiff_t group = j / (N / shape->G);
            struct ls_tree tree = {.count = 0};
            for (ptrdiff_t first = 0; first < at->B; first += m)
                ls_tree_push(&tree, leaf_gradient(shape, first, ls_serial_leaf_end(first, m, at->B), x, dz,
                                                  group * in_group + c, ky, kx, j));
            dw[row * N + j] = ls_tree_sum(&tree);
        }
    if (db)
        bias_gradient(shape, m, db, dz);
}
