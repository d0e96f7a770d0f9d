/* Softmax, dropout, transposes and the operations on whole buffers against the serial oracle, bit for bit. */
#include <stdio.h>

#include "base/philox.h"
#include "implementations.h"

static const ptrdiff_t widths[] = {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 100, 4095, 4096, 4097, 9000};

static void check_softmax(ptrdiff_t B, ptrdiff_t K, int special)
{
    const ptrdiff_t n = B * K;
    float *x = values(n, special), *dy = values(n, special), *y = unset(n), *dx = unset(n);
    ls_ops_serial.softmax_forward(B, K, y, x);
    ls_ops_serial.softmax_backward(B, K, dx, dy, y);
    char shape[80];
    snprintf(shape, sizeof shape, "softmax B %td K %td special %d", B, K, special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(n), *in_place = copy_of(n, x);
        ops->softmax_forward(B, K, found, x);
        expect_same("y", ops, threads, shape, n, found, y);
        ops->softmax_forward(B, K, in_place, in_place);
        expect_same("y in place", ops, threads, shape, n, in_place, y);
        ops->softmax_backward(B, K, found, dy, y);
        expect_same("dx", ops, threads, shape, n, found, dx);
        memcpy(in_place, dy, (size_t)n * sizeof *dy);
        ops->softmax_backward(B, K, in_place, in_place, y);
        expect_same("dx in place", ops, threads, shape, n, in_place, dx);
        FREE(found, in_place);
    }
    FREE(x, dy, y, dx);
}

Test(ops_rows, softmax, .timeout = 120)
{
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int special = 0; special < 4; special++) {
            check_softmax(3, widths[i], special);
            if (widths[i] < 50)
                check_softmax(131, widths[i], special);
        }
    check_softmax(0, 10, 0);
}

static void check_dropout(const struct ls_dropout *drop, ptrdiff_t B, ptrdiff_t K, int special)
{
    const ptrdiff_t n = B * K;
    float *x = values(n, special), *y = unset(n);
    ls_ops_serial.dropout(drop, B, K, y, x);
    char shape[100];
    snprintf(shape, sizeof shape, "dropout B %td K %td from row %lld threshold %u", B, K,
             (long long)drop->first_row, (unsigned)drop->threshold);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(n), *in_place = copy_of(n, x);
        ops->dropout(drop, B, K, found, x);
        expect_same("y", ops, threads, shape, n, found, y);
        ops->dropout(drop, B, K, in_place, in_place);
        expect_same("y in place", ops, threads, shape, n, in_place, y);
        FREE(found, in_place);
    }
    FREE(x, y);
}

Test(ops_rows, dropout, .timeout = 120)
{
    struct ls_dropout drop = {.seed = 0x123456789abcdef0u, .stream = 0x00fedcba98765432u, .scale = 2.0f};
    /* Rows far into a batch, so that a block's number needs more than 32 bits, and the carry into them. */
    static const int64_t rows[] = {
        0, 1, 3, 1000001, (int64_t)1 << 40, ((int64_t)1 << 32) - 5, ((int64_t)1 << 34) - 7};
    static const uint32_t thresholds[] = {0x80000000u, 0, 0x19999999u, UINT32_MAX};
    for (size_t i = 0; i < COUNT(widths); i++)
        for (size_t j = 0; j < COUNT(rows); j++) {
            drop.first_row = rows[j];
            drop.threshold = thresholds[(i + j) % COUNT(thresholds)];
            check_dropout(&drop, widths[i] > 100 ? 3 : 37, widths[i], (int)(i % 3));
        }
    check_dropout(&drop, 0, 10, 0);
    drop = (struct ls_dropout){.seed = 7, .threshold = 0x40000000u, .scale = 4.0f / 3.0f};
    check_dropout(&drop, 200, 333, 0);
}

/* Rows cut in two calls drop the same units as one call, and about as many as asked for. */
Test(ops_rows, dropout_depends_on_the_row_alone)
{
    enum { B = 40, K = 1001 };
    struct ls_dropout drop = {.seed = 5, .stream = 3, .threshold = 0x40000000u, .scale = 4.0f / 3.0f};
    static float x[B * K], whole[B * K], parts[B * K];
    ptrdiff_t n_dropped = 0;
    for (int i = 0; i < B * K; i++)
        x[i] = 1.0f;
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        drop.first_row = 0;
        ops->dropout(&drop, B, K, whole, x);
        ops->dropout(&drop, 13, K, parts, x);
        drop.first_row = 13;
        ops->dropout(&drop, B - 13, K, parts + 13 * K, x + 13 * K);
        expect_same("y", ops, threads, "in two calls", B * K, parts, whole);
    }
    for (int i = 0; i < B * K; i++)
        n_dropped += whole[i] == 0.0f;
    cr_assert(n_dropped > B * K / 4 - 350 && n_dropped < B * K / 4 + 350, "%td of %d dropped", n_dropped,
              B * K);
    const uint32_t word = ls_random(5, LS_PURPOSE_DROPOUT, 3, (13 * K + 5) / 4).word[(13 * K + 5) % 4];
    cr_assert((word < 0x40000000u) == (whole[13 * K + 5] == 0.0f));
}

static void check_transpose(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t columns)
{
    const ptrdiff_t n = B * rows * columns;
    float *from = values(n, 2), *to = unset(n);
    ls_ops_serial.transpose(B, rows, columns, to, from);
    char shape[80];
    snprintf(shape, sizeof shape, "transpose B %td %td x %td", B, rows, columns);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(n);
        ops->transpose(B, rows, columns, found, from);
        expect_same("to", ops, threads, shape, n, found, to);
        FREE(found);
    }
    FREE(from, to);
}

Test(ops_rows, transposes, .timeout = 120)
{
    static const ptrdiff_t some[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49, 100};
    for (size_t i = 0; i < COUNT(some); i++)
        for (size_t j = 0; j < COUNT(some); j++)
            check_transpose(1 + (ptrdiff_t)(i + j) % 4, some[i], some[j]);
    check_transpose(0, 3, 5);
    check_transpose(40, 3, 1024);
    check_transpose(2, 1024, 64);
}

static void check_buffers(ptrdiff_t n, int special)
{
    float *a = values(n, special), *b = values(n, special), *sum = unset(n), *mixed = copy_of(n, a),
          *scaled = unset(n);
    char shape[60];
    snprintf(shape, sizeof shape, "n %td special %d", n, special);
    ls_ops_serial.blend(n, mixed, b, 0.01f);
    ls_ops_serial.scale(n, scaled, a, 0.3f);
    for (int act = LS_ACT_NONE; act <= LS_ACT_SIGMOID; act++) {
        ls_ops_serial.add((enum ls_activation)act, n, sum, a, b);
        FOR_EACH_IMPLEMENTATION(ops, threads)
        {
            float *found = unset(n), *left = copy_of(n, a), *right = copy_of(n, b);
            ops->add((enum ls_activation)act, n, found, a, b);
            expect_same("sum", ops, threads, shape, n, found, sum);
            ops->add((enum ls_activation)act, n, left, left, b);
            expect_same("sum in place", ops, threads, shape, n, left, sum);
            ops->add((enum ls_activation)act, n, right, a, right);
            expect_same("sum in the other place", ops, threads, shape, n, right, sum);
            memcpy(left, a, (size_t)n * sizeof *a);
            ops->blend(n, left, b, 0.01f);
            expect_same("average", ops, threads, shape, n, left, mixed);
            ops->scale(n, found, a, 0.3f);
            expect_same("scaled", ops, threads, shape, n, found, scaled);
            memcpy(left, a, (size_t)n * sizeof *a);
            ops->scale(n, left, left, 0.3f);
            expect_same("scaled in place", ops, threads, shape, n, left, scaled);
            FREE(found, left, right);
        }
    }
    FREE(a, b, sum, mixed, scaled);
}

Test(ops_rows, whole_buffers, .timeout = 60)
{
    check_buffers(0, 0);
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int special = 0; special < 4; special++)
            check_buffers(widths[i], special);
    check_buffers(50001, 1);
}

static void check_scale_rows(ptrdiff_t B, ptrdiff_t K, int special)
{
    float *x = values(B * K, special), *offset = values(K, special), *factor = values(K, special);
    float *expected = copy_of(B * K, x);
    char shape[60];
    snprintf(shape, sizeof shape, "B %td K %td special %d", B, K, special);
    ls_ops_serial.scale_rows(B, K, expected, offset, factor);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = copy_of(B * K, x);
        ops->scale_rows(B, K, found, offset, factor);
        expect_same("x", ops, threads, shape, B * K, found, expected);
        FREE(found);
    }
    FREE(x, offset, factor, expected);
}

Test(ops_rows, scale_rows, .timeout = 60)
{
    float x[6] = {1, 2, 3, -1, 0.5f, 7};
    const float offset[3] = {1, 0.5f, -1}, factor[3] = {2, 4, 0.25f},
                expected[6] = {0, 6, 1, -4, 0, 2}; /* by hand */
    ls_ops_serial.scale_rows(2, 3, x, offset, factor);
    expect_same("x", &ls_ops_serial, 1, "by hand", 6, x, expected);
    for (size_t i = 0; i < COUNT(widths); i++)
        for (int special = 0; special < 3; special++) {
            check_scale_rows(widths[i] > 100 ? 3 : 37, widths[i], special);
            check_scale_rows(1, widths[i], special);
        }
    check_scale_rows(0, 5, 0);
    check_scale_rows(70000, 1, 1);
    check_scale_rows(300, 333, 1); /* more than one thread's, cut within rows */
}

static void check_activation(enum ls_activation act, ptrdiff_t n, int special)
{
    float *z = values(n, special), *dy = values(n, special), *y = unset(n), *dz = unset(n);
    for (ptrdiff_t i = 0; i < n; i += 3)
        z[i] *= 12.0f;
    ls_ops_serial.activation_forward(act, 0.01f, n, y, z);
    ls_ops_serial.activation_backward(act, 0.01f, n, dz, dy, z);
    char shape[80];
    snprintf(shape, sizeof shape, "activation %d n %td special %d", (int)act, n, special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(n), *in_place = copy_of(n, z);
        ops->activation_forward(act, 0.01f, n, found, z);
        expect_same("y", ops, threads, shape, n, found, y);
        ops->activation_forward(act, 0.01f, n, in_place, in_place);
        expect_same("y in place", ops, threads, shape, n, in_place, y);
        ops->activation_backward(act, 0.01f, n, found, dy, z);
        expect_same("dz", ops, threads, shape, n, found, dz);
        memcpy(in_place, dy, (size_t)n * sizeof *dy);
        ops->activation_backward(act, 0.01f, n, in_place, in_place, z);
        expect_same("dz in place", ops, threads, shape, n, in_place, dz);
        FREE(found, in_place);
    }
    FREE(z, dy, y, dz);
}

Test(ops_rows, activations_known_from_their_input, .timeout = 60)
{
    for (int act = LS_ACT_LEAKYRELU; act <= LS_ACT_SOFTPLUS; act++) {
        for (size_t i = 0; i < COUNT(widths); i++)
            check_activation((enum ls_activation)act, widths[i], (int)(i % 4));
        check_activation((enum ls_activation)act, 0, 0);
        check_activation((enum ls_activation)act, 50001, 1);
    }
}

/* The formulas in binary64, and their slopes. */
static double exact(enum ls_activation act, double z)
{
    if (act == LS_ACT_GELU)
        return z * 0.5 * erfc(-z / sqrt(2));
    if (act == LS_ACT_SOFTPLUS)
        return z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
    return z > 0 ? z : (double)0.01f * z;
}

Test(ops_rows, activations_are_right)
{
    for (int act = LS_ACT_LEAKYRELU; act <= LS_ACT_SOFTPLUS; act++)
        for (float z = -6.013f; z < 6.0f; z += 0.05f) {
            const float one = 1.0f;
            float y, dz;
            ls_ops_serial.activation_forward((enum ls_activation)act, 0.01f, 1, &y, &z);
            ls_ops_serial.activation_backward((enum ls_activation)act, 0.01f, 1, &dz, &one, &z);
            const double at = (double)z, wanted = exact((enum ls_activation)act, at);
            const double slope =
                (exact((enum ls_activation)act, at + 1e-6) - exact((enum ls_activation)act, at - 1e-6)) /
                2e-6;
            cr_assert(fabs((double)y - wanted) < 3e-7 * (1 + fabs(wanted)), "%d(%g) = %g, not %g", act, at,
                      (double)y, wanted);
            cr_assert(fabs((double)dz - slope) < 1e-6, "%d'(%g) = %g, not %g", act, at, (double)dz, slope);
        }
}
