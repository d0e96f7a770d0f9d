/* Convolutions: the oracle against loops that go over the taps in another way, then every parallel
 * implementation against the oracle, bit for bit.  Buffers are exactly as large as an operation may touch. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "implementations.h"

#define PICK(a) ((a)[random_bits() % COUNT(a)])

/* Special values are rare enough to leave most results finite. */
enum { RARITY = 32 };

static void expect_bits(const char *what, const char *by, const char *shape, ptrdiff_t n, const float *found,
                        const float *expected)
{
    char message[400];
    cr_assert(compare_floats(COMPARE_BITS_OR_NAN, what, (size_t)n, found, expected, message, sizeof message),
              "%s, %s: %s", by, shape, message);
}

/* A maxpool behind a convolution: its window, and what the oracle's own operation makes of the convolution's
 * y and of dy. */
struct behind {
    struct ls_window at;
    ptrdiff_t n;
    float *y, *dy, *dz, *dw, *db;
};

/* Everything a shape needs, and the oracle's results. */
struct conv {
    struct ls_conv_shape s;
    ptrdiff_t m, nx, ny, nw;
    enum ls_activation act;
    char text[200];
    float *x, *w, *bias, *dz, *y, *dx, *dw, *db;
    const float *some_bias;
    struct behind pool;
};

static struct ls_conv_shape conv_shape(ptrdiff_t B, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C, ptrdiff_t N,
                                       ptrdiff_t G, ptrdiff_t KH, ptrdiff_t KW, ptrdiff_t SY, ptrdiff_t SX,
                                       ptrdiff_t PY, ptrdiff_t PX)
{
    const ptrdiff_t OH = (H + 2 * PY - KH) / SY + 1, OW = (W + 2 * PX - KW) / SX + 1;
    return (struct ls_conv_shape){{B, H, W, C, KH, KW, SY, SX, PY, PX, OH, OW}, N, G};
}

/* Taps and stride of 2 are the usual, whatever fits is allowed. */
static void axis_behind(ptrdiff_t size, ptrdiff_t *taps, ptrdiff_t *stride, ptrdiff_t *padding,
                        ptrdiff_t *out)
{
    const int usual = random_bits() % 2 && size > 1;
    *taps = usual ? 2 : (ptrdiff_t)(random_bits() % 3) + 1;
    *taps = *taps < size ? *taps : size;
    *stride = usual ? 2 : (ptrdiff_t)(random_bits() % 2) + 1;
    *padding = usual ? 0 : (ptrdiff_t)(random_bits() % 2) * (*taps / 2);
    *out = (size + 2 * *padding - *taps) / *stride + 1;
}

static void pool_init(struct conv *c)
{
    const struct ls_window *at = &c->s.at;
    struct behind *pool = &c->pool;
    struct ls_window *w = &pool->at;
    *w = (struct ls_window){.B = at->B, .H = at->OH, .W = at->OW, .C = c->s.N};
    axis_behind(w->H, &w->KH, &w->SY, &w->PY, &w->OH);
    axis_behind(w->W, &w->KW, &w->SX, &w->PX, &w->OW);
    pool->n = w->B * w->OH * w->OW * w->C;
    pool->y = unset(pool->n);
    pool->dy = values_with(pool->n, 0, RARITY);
    pool->dz = unset(c->ny);
    pool->dw = unset(c->nw);
    pool->db = unset(c->s.N);
    ls_ops_serial.maxpool_forward(w, pool->y, c->y);
    ls_ops_serial.maxpool_backward(w, pool->dz, pool->dy, c->act, c->y);
    ls_ops_serial.conv_weight_gradient(&c->s, c->m, pool->dw, pool->db, c->x, pool->dz, NULL);
}

static struct conv conv_init(struct ls_conv_shape s, ptrdiff_t m, enum ls_activation act, int special)
{
    const struct ls_window *at = &s.at;
    struct conv c = {.s = s, .m = m, .act = act};
    c.nx = at->B * at->H * at->W * at->C;
    c.ny = at->B * at->OH * at->OW * s.N;
    c.nw = at->C / s.G * at->KH * at->KW * s.N;
    c.x = values_with(c.nx, special, RARITY);
    c.w = values_with(c.nw, special, RARITY);
    c.bias = values_with(s.N, special, RARITY);
    c.dz = values_with(c.ny, special, RARITY);
    c.y = unset(c.ny);
    c.dx = unset(c.nx);
    c.dw = unset(c.nw);
    c.db = unset(s.N);
    c.some_bias = m % 2 ? c.bias : NULL;
    snprintf(c.text, sizeof c.text,
             "B %td image %tdx%tdx%td N %td G %td window %tdx%td stride %td,%td pad %td,%td m %td act %d "
             "special %d",
             at->B, at->H, at->W, at->C, s.N, s.G, at->KH, at->KW, at->SY, at->SX, at->PY, at->PX, m,
             (int)act, special);
    ls_ops_serial.conv_forward(&s, c.y, c.x, c.w, c.some_bias, act, NULL);
    ls_ops_serial.conv_input_gradient(&s, c.dx, c.dz, c.w, act, act == LS_ACT_NONE ? NULL : c.x);
    ls_ops_serial.conv_weight_gradient(&s, m, c.dw, c.db, c.x, c.dz, NULL);
    pool_init(&c);
    return c;
}

static void conv_release(struct conv *c)
{
    float *all[] = {c->x,  c->w,      c->bias,    c->dz,      c->y,       c->dx,     c->dw,
                    c->db, c->pool.y, c->pool.dy, c->pool.dz, c->pool.dw, c->pool.db};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static float within(const float *v, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C, ptrdiff_t b, ptrdiff_t y,
                    ptrdiff_t x, ptrdiff_t c)
{
    return y >= 0 && y < H && x >= 0 && x < W ? v[((b * H + y) * W + x) * C + c] : 0.0f;
}

/* All outputs take one tap after the other. */
static void naive_forward(const struct conv *c, float *y)
{
    const struct ls_window a = c->s.at;
    const ptrdiff_t N = c->s.N, IG = a.C / c->s.G, OG = N / c->s.G;
    for (ptrdiff_t i = 0; i < c->ny; i++)
        y[i] = c->some_bias ? c->some_bias[i % N] : 0.0f;
    for (ptrdiff_t row = 0; row < IG * a.KH * a.KW; row++)
        for (ptrdiff_t i = 0; i < c->ny; i++) {
            const ptrdiff_t j = i % N, ox = i / N % a.OW, oy = i / N / a.OW % a.OH, b = i / N / a.OW / a.OH;
            const ptrdiff_t iy = oy * a.SY - a.PY + row / a.KW % a.KH, ix = ox * a.SX - a.PX + row % a.KW;
            const float tap = within(c->x, a.H, a.W, a.C, b, iy, ix, j / OG * IG + row / a.KW / a.KH);
            y[i] = fmaf(tap, c->w[row * N + j], y[i]);
        }
    ls_ops_serial.activation_forward(c->act, 0, c->ny, y, y);
}

/* Each dz, and the zeros around them, goes where its taps are. */
static void naive_input_gradient(const struct conv *c, float *dx)
{
    const struct ls_window a = c->s.at;
    const ptrdiff_t N = c->s.N, IG = a.C / c->s.G, OG = N / c->s.G;
    for (ptrdiff_t i = 0; i < c->nx; i++)
        dx[i] = 0.0f;
    for (ptrdiff_t j = 0; j < N; j++)
        for (ptrdiff_t ky = 0; ky < a.KH; ky++)
            for (ptrdiff_t kx = 0; kx < a.KW; kx++)
                for (ptrdiff_t b = 0; b < a.B; b++)
                    for (ptrdiff_t oy = -a.KH - a.PY; oy < a.OH + a.KH + a.PY + a.H; oy++)
                        for (ptrdiff_t ox = -a.KW - a.PX; ox < a.OW + a.KW + a.PX + a.W; ox++) {
                            const ptrdiff_t y = oy * a.SY + ky - a.PY, x = ox * a.SX + kx - a.PX;
                            if (y < 0 || y >= a.H || x < 0 || x >= a.W)
                                continue;
                            const float dz = within(c->dz, a.OH, a.OW, N, b, oy, ox, j);
                            for (ptrdiff_t k = 0; k < IG; k++) {
                                float *to = &dx[((b * a.H + y) * a.W + x) * a.C + j / OG * IG + k];
                                *to = fmaf(dz, c->w[((k * a.KH + ky) * a.KW + kx) * N + j], *to);
                            }
                        }
    ls_ops_serial.activation_backward(c->act, 0, c->nx, dx, dx, c->x);
}

/* Leaf by leaf into a table of leaves, then the tree level by level. */
static void naive_weight_gradient(const struct conv *c, float *dw, float *db)
{
    const struct ls_window a = c->s.at;
    const ptrdiff_t N = c->s.N, IG = a.C / c->s.G, OG = N / c->s.G, n = c->nw + N;
    ptrdiff_t leaves = (a.B + c->m - 1) / c->m;
    float *leaf = calloc((size_t)(leaves * n + n), sizeof *leaf);
    cr_assert(leaf);
    for (ptrdiff_t i = 0; i < c->ny; i++) {
        const ptrdiff_t j = i % N, ox = i / N % a.OW, oy = i / N / a.OW % a.OH, b = i / N / a.OW / a.OH;
        float *to = leaf + b / c->m * n;
        for (ptrdiff_t row = 0; row < IG * a.KH * a.KW; row++) {
            const ptrdiff_t iy = oy * a.SY - a.PY + row / a.KW % a.KH, ix = ox * a.SX - a.PX + row % a.KW;
            const float tap = within(c->x, a.H, a.W, a.C, b, iy, ix, j / OG * IG + row / a.KW / a.KH);
            to[row * N + j] = fmaf(tap, c->dz[i], to[row * N + j]);
        }
        to[c->nw + j] += c->dz[i];
    }
    for (; leaves > 1; leaves = (leaves + 1) / 2)
        for (ptrdiff_t l = 0; l < leaves; l += 2)
            for (ptrdiff_t i = 0; i < n; i++)
                leaf[l / 2 * n + i] =
                    l + 1 < leaves ? leaf[l * n + i] + leaf[(l + 1) * n + i] : leaf[l * n + i];
    memcpy(dw, leaf, (size_t)c->nw * sizeof *dw);
    memcpy(db, leaf + c->nw, (size_t)N * sizeof *db);
    free(leaf);
}

static void check_oracle(const struct conv *c)
{
    float *y = unset(c->ny), *dx = unset(c->nx), *dw = unset(c->nw), *db = unset(c->s.N);
    naive_forward(c, y);
    expect_bits("y", "serial", c->text, c->ny, c->y, y);
    naive_input_gradient(c, dx);
    expect_bits("dx", "serial", c->text, c->nx, c->dx, dx);
    naive_weight_gradient(c, dw, db);
    expect_bits("dw", "serial", c->text, c->nw, c->dw, dw);
    expect_bits("db", "serial", c->text, c->s.N, c->db, db);
    free(y);
    free(dx);
    free(dw);
    free(db);
}

/* With the maxpool behind, both ways. */
static void check_pool(const struct conv *c, const struct ls_ops *ops, const char *by)
{
    const struct behind *b = &c->pool;
    float *y = unset(c->ny), *dz = unset(c->ny), *dw = unset(c->nw), *db = unset(c->s.N), *top = unset(b->n);
    const struct ls_maxpool pool = {b->at, top};
    const struct ls_maxpool_gradient back = {b->at, dz, b->dy, c->act, c->y};
    char text[300];
    snprintf(text, sizeof text, "%s, pool %tdx%td stride %td,%td pad %td,%td", c->text, b->at.KH, b->at.KW,
             b->at.SY, b->at.SX, b->at.PY, b->at.PX);
    ops->conv_forward(&c->s, y, c->x, c->w, c->some_bias, c->act, &pool);
    expect_bits("y before the pool", by, text, c->ny, y, c->y);
    expect_bits("the pool's y", by, text, b->n, top, b->y);
    ops->conv_weight_gradient(&c->s, c->m, dw, db, c->x, dz, &back);
    expect_bits("the pool's dx", by, text, c->ny, dz, b->dz);
    expect_bits("dw after the pool", by, text, c->nw, dw, b->dw);
    expect_bits("db after the pool", by, text, c->s.N, db, b->db);
    float *all[] = {y, dz, dw, db, top};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

static void check_implementation(const struct conv *c, const struct ls_ops *ops, int threads)
{
    char by[60];
    snprintf(by, sizeof by, "%s, %d threads", ops->name, threads);
    float *y = unset(c->ny), *dx = unset(c->nx), *dw = unset(c->nw), *db = unset(c->s.N);
    ops->conv_forward(&c->s, y, c->x, c->w, c->some_bias, c->act, NULL);
    expect_bits("y", by, c->text, c->ny, y, c->y);
    ops->conv_input_gradient(&c->s, dx, c->dz, c->w, c->act, c->act == LS_ACT_NONE ? NULL : c->x);
    expect_bits("dx", by, c->text, c->nx, dx, c->dx);
    ops->conv_weight_gradient(&c->s, c->m, dw, db, c->x, c->dz, NULL);
    expect_bits("dw", by, c->text, c->nw, dw, c->dw);
    expect_bits("db", by, c->text, c->s.N, db, c->db);
    memset(dw, 0xff, (size_t)c->nw * sizeof *dw);
    ops->conv_weight_gradient(&c->s, c->m, dw, NULL, c->x, c->dz, NULL);
    expect_bits("dw without db", by, c->text, c->nw, dw, c->dw);
    free(y);
    free(dx);
    free(dw);
    free(db);
    check_pool(c, ops, by);
}

/* `portable` has its fma from libm: for large shapes it would take most of the time, and is left out. */
static void check(struct ls_conv_shape s, ptrdiff_t m, enum ls_activation act, int special, int large)
{
    struct conv c = conv_init(s, m, act, special);
    if (!large) {
        check_oracle(&c);
        check_pool(&c, &ls_ops_serial, "serial");
    }
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        if (!large || strcmp(ops->name, "portable") != 0)
            check_implementation(&c, ops, threads);
    }
    conv_release(&c);
}

static ptrdiff_t up_to(ptrdiff_t n)
{
    return (ptrdiff_t)(random_bits() % (uint32_t)n) + 1;
}

/* A shape of any kind: groups, depthwise, strides that differ, padding up to the window's size less one. */
static struct ls_conv_shape any_shape(void)
{
    static const ptrdiff_t channels[] = {1, 2, 3, 6, 16, 17, 32, 33}, windows[] = {1, 2, 3, 3, 5};
    const ptrdiff_t KH = PICK(windows), KW = random_bits() % 4 ? KH : PICK(windows);
    const ptrdiff_t PY = up_to(KH) - 1, PX = up_to(KW) - 1;
    const ptrdiff_t H = up_to(9) + (KH > 2 * PY ? KH - 2 * PY - 1 : 0);
    const ptrdiff_t W = up_to(11) + (KW > 2 * PX ? KW - 2 * PX - 1 : 0);
    ptrdiff_t C = PICK(channels), N = PICK(channels), G = 1;
    const uint32_t kind = random_bits() % 8;
    if (kind == 0) /* depthwise, sometimes with several outputs a channel */
        G = C, N = C * (random_bits() % 3 ? 1 : 2);
    if (kind == 1)
        G = up_to(3), C = G * up_to(5), N = G * up_to(20);
    return conv_shape(up_to(5), H, W, C, N, G, KH, KW, up_to(3), up_to(3), PY, PX);
}

Test(ops_conv, awkward_shapes, .timeout = 120)
{
    static const ptrdiff_t leaves[] = {1, 2, 3, 32};
    for (int i = 0; i < 160; i++) {
        const struct ls_conv_shape s = any_shape();
        check(s, PICK(leaves), (enum ls_activation)(random_bits() % 4), i % 3, 0);
    }
}

Test(ops_conv, every_channel_count, .timeout = 120)
{
    for (ptrdiff_t n = 1; n <= 35; n++) {
        check(conv_shape(2, 4, 5, n, 3, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_RELU, 0, 0);
        check(conv_shape(2, 4, 5, 3, n, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_RELU, 0, 0);
        check(conv_shape(2, 4, 5, n, n, n, 3, 3, 1, 1, 1, 1), 1, LS_ACT_RELU, 0, 0);
        check(conv_shape(1, 3, n, 2, 3, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_TANH, 0, 0);
    }
}

/* Too few columns for a vector: one way, both, in groups, and where the fold has to be cut. */
Test(ops_conv, few_channels, .timeout = 120)
{
    check(conv_shape(3, 28, 28, 1, 6, 1, 5, 5, 1, 1, 2, 2), 2, LS_ACT_TANH, 0, 1); /* LeNet-5's */
    check(conv_shape(3, 14, 14, 6, 16, 1, 5, 5, 1, 1, 0, 0), 32, LS_ACT_TANH, 2, 1);
    for (ptrdiff_t n = 1; n <= 9; n++) {
        check(conv_shape(2, 7, 32 + n, 2, n, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_SIGMOID, 1, 1);
        check(conv_shape(2, 7, 32, n, n, 1, 2, 4, 2, 1, 0, 1), 1, LS_ACT_RELU, 0, 1);
        check(conv_shape(1, 1, 7 + n, 2, n, 1, 1, 3, 1, 1, 0, 1), 1, LS_ACT_TANH, 0,
              1); /* one vector of pixels */
        check(conv_shape(1, 4, 17, 3 * n, 3 * n, 3, 3, 3, 1, 1, 1, 1), 1, LS_ACT_TANH, 0, 1);
    }
    check(conv_shape(1, 5, 20, 600, 5, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_TANH, 0, 1);
    check(conv_shape(1, 5, 20, 5, 600, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_TANH, 0, 1);
}

/* More channels, outputs, rows, columns, taps, leaves than fit in a thread's scratch at once. */
Test(ops_conv, beyond_the_scratch, .timeout = 120)
{
    check(conv_shape(2, 4, 4, 600, 40, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_TANH, 0, 1);   /* depth */
    check(conv_shape(2, 3, 3, 40, 600, 1, 3, 3, 2, 2, 1, 1), 1, LS_ACT_RELU, 0, 1);   /* panels */
    check(conv_shape(1, 5, 5, 2100, 17, 1, 1, 1, 2, 2, 0, 0), 1, LS_ACT_NONE, 0, 1);  /* C = 2048 and more */
    check(conv_shape(1, 90, 100, 20, 16, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_RELU, 0, 1); /* bands of rows */
    check(conv_shape(2, 2, 30000, 1, 3, 1, 1, 9, 1, 1, 0, 4), 1, LS_ACT_RELU, 0, 1);  /* parts of a row */
    check(conv_shape(2, 3, 9000, 5, 3, 1, 3, 5, 1, 2, 1, 4), 1, LS_ACT_RELU, 0, 1);
    check(conv_shape(1, 4, 9000, 16, 16, 16, 3, 3, 1, 1, 1, 1), 1, LS_ACT_RELU, 0, 1); /* depthwise */
    check(conv_shape(1, 100, 90, 2, 3, 1, 90, 80, 5, 5, 0, 0), 1, LS_ACT_RELU, 0, 1);  /* taps */
    check(conv_shape(1, 600, 3, 1, 2, 1, 600, 3, 1, 1, 0, 1), 1, LS_ACT_RELU, 0, 1);
    check(conv_shape(1, 300, 300, 1, 2, 1, 290, 290, 9, 40, 0, 0), 1, LS_ACT_RELU, 0, 1);
    check(conv_shape(150, 3, 3, 8, 33, 1, 3, 3, 1, 1, 1, 1), 1, LS_ACT_NONE, 0, 1); /* leaves */
    check(conv_shape(70, 4, 4, 20, 20, 1, 3, 3, 1, 1, 1, 1), 3, LS_ACT_NONE, 0, 1);
    check(conv_shape(40, 2, 2, 70, 70, 1, 3, 3, 1, 1, 1, 1), 7, LS_ACT_NONE, 0, 1);
    check(conv_shape(3, 5, 5, 64, 128, 2, 3, 3, 1, 1, 1, 1), 32, LS_ACT_SIGMOID, 2, 1); /* wide groups */
    check(conv_shape(3, 11, 9, 3, 5, 1, 2, 2, 5, 4, 0, 1), 2, LS_ACT_RELU, 0, 1); /* strides beyond taps */
}

Test(ops_conv, without_samples)
{
    const struct ls_conv_shape s = conv_shape(0, 3, 3, 2, 5, 1, 3, 3, 1, 1, 1, 1);
    const struct ls_maxpool pool = {.at = {0, 3, 3, 5, 2, 2, 2, 2, 0, 0, 1, 1}};
    const struct ls_maxpool_gradient back = {.at = pool.at};
    float dw[90], db[5], zero[90] = {0};
    for (const char *const *isa = ls_ops_isas(); *isa; isa++) {
        const struct ls_ops *ops = ls_ops_parallel(*isa);
        memset(dw, 0xff, sizeof dw);
        memset(db, 0xff, sizeof db);
        ops->conv_forward(&s, NULL, NULL, zero, NULL, LS_ACT_RELU, &pool);
        ops->conv_input_gradient(&s, NULL, NULL, zero, LS_ACT_NONE, NULL);
        ops->conv_weight_gradient(&s, 32, dw, db, NULL, NULL, &back);
        expect_bits("dw", ops->name, "B 0", 90, dw, zero);
        expect_bits("db", ops->name, "B 0", 5, db, zero);
    }
}

/* A tap in the padding is +0 times its weight: an infinite weight there makes NaN, and -0 becomes +0. */
Test(ops_conv, padding_is_multiplied)
{
    const struct ls_conv_shape s = conv_shape(1, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1);
    const float x = -0.0f, minus = -0.0f, w[9] = {[0] = INFINITY, [4] = 1.0f}, ones[9] = {[4] = 1.0f};
    float found, dw[9];
    for (const char *const *isa = ls_ops_isas(); *isa; isa++) {
        const struct ls_ops *ops = ls_ops_parallel(*isa);
        ops->conv_forward(&s, &found, &x, w, NULL, LS_ACT_NONE, NULL);
        cr_assert(isnan(found), "%s", ops->name);
        ops->conv_forward(&s, &found, &x, ones, &minus, LS_ACT_NONE, NULL);
        cr_assert(found == 0 && !signbit(found), "%s", ops->name);
        ops->conv_input_gradient(&s, &found, &x, w, LS_ACT_NONE, NULL);
        cr_assert(isnan(found), "%s", ops->name);
        const float dz = INFINITY;
        ops->conv_weight_gradient(&s, 1, dw, NULL, &x, &dz, NULL);
        for (int i = 0; i < 9; i++)
            cr_assert(isnan(dw[i]), "%s", ops->name);
    }
}
