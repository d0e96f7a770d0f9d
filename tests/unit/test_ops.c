/* Every parallel implementation against the serial oracle, bit for bit: each ISA of this machine, 1 to 3
 * threads, awkward shapes, ordinary and special values.  Buffers are exactly as large as the operation may
 * touch, so that a build with SAN=address sees any step beyond. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bells.h"
#include "compute/parallel/team.h"
#include "implementations.h"

static const ptrdiff_t sizes[] = {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 60, 64, 100};
static const ptrdiff_t leaves[] = {1, 2, 3, 16, 32, 33, 1000};

static struct ls_dense_shape dense_of(ptrdiff_t B, ptrdiff_t K, ptrdiff_t N)
{
    return (struct ls_dense_shape){.B = B, .K = K, .N = N};
}

/* The same matrix n times, with numbers between that nobody may use. */
static float *copied(const float *x, ptrdiff_t n_floats, struct ls_copies copies)
{
    float *all = unset(copies.n * copies.step);
    for (int copy = 0; copy < copies.n; copy++)
        for (ptrdiff_t i = 0; i < copies.step; i++)
            all[copy * copies.step + i] = i < n_floats ? x[i] : NAN;
    return all;
}

static void forget(ptrdiff_t n, float *x)
{
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = NAN;
}

/* A product that gathers x, inside of a standing team. */
struct gathered {
    const struct ls_ops *ops;
    struct ls_dense_shape shape;
    float *y;
    const struct ls_gather *x;
    const float *w, *bias;
    enum ls_activation act;
    int apart; /* the gather by itself, then the product */
};

static void run_gathered(void *context)
{
    const struct gathered *g = context;
    if (g->apart) {
        g->ops->gather(g->x);
        g->ops->dense_forward(g->shape, g->y, g->x->x, g->w, g->bias, g->act);
    } else {
        g->ops->dense_forward_gathered(g->shape, g->y, g->x, g->w, g->bias, g->act);
    }
}

/* Of samples that lie in memory as `rows` has them: y, and x in all of its copies, are as expected. */
static void check_gathered(const struct ls_ops *ops, int threads, const char *text, struct ls_dense_shape s,
                           struct ls_gather rows, const float *w, const float *bias, enum ls_activation act,
                           const float *x, const float *y)
{
    const ptrdiff_t nx = s.B * s.K, ny = s.B * s.N;
    const int copies = s.x.n > 1 ? s.x.n : 1;
    float *found_y = unset(ny), *xs = unset(copies > 1 ? copies * s.x.step : nx);
    rows.x = xs;
    rows.copies = s.x;
    struct gathered job = {ops, s, found_y, &rows, w, bias, act, 0};
    ops->with_team(run_gathered, &job);
    expect_same("y, gathered", ops, threads, text, ny, found_y, y);
    for (int copy = 0; copy < copies; copy++)
        expect_same("x, gathered", ops, threads, text, nx, xs + copy * s.x.step, x);
    FREE(found_y, xs);
}

/* Where samples lie that make x in the opposite order. */
static float *backwards(ptrdiff_t B, ptrdiff_t K, const float *x, int64_t *index)
{
    float *stored = unset(B * K);
    for (ptrdiff_t b = 0; b < B; b++) {
        index[b] = B - 1 - b;
        memcpy(stored + index[b] * K, x + b * K, (size_t)K * sizeof *x);
    }
    return stored;
}

static void check_dense(struct ls_dense_shape s, ptrdiff_t m, enum ls_activation act, int special)
{
    const ptrdiff_t nx = s.B * s.K, ny = s.B * s.N, nw = s.K * s.N;
    float *x = values(nx, special), *w = values(nw, special), *bias = values(s.N, special),
          *dz = values(ny, special);
    float *y = unset(ny), *dx = unset(nx), *dw = unset(nw), *db = unset(s.N);
    const float *some_bias = m % 2 ? bias : NULL;
    ls_ops_serial.dense_forward(s, y, x, w, some_bias, act);
    ls_ops_serial.dense_input_gradient(s, dx, dz, w, act, act == LS_ACT_NONE ? NULL : x);
    ls_ops_serial.dense_weight_gradient(s, m, dw, db, x, dz);
    char shape[120];
    snprintf(shape, sizeof shape, "B %td K %td N %td m %td activation %d special %d", s.B, s.K, s.N, m,
             (int)act, special);
    float *found_y = unset(ny), *found_dx = unset(nx), *found_dw = unset(nw), *found_db = unset(s.N);
    struct ls_dense_shape many = s;
    many.x = (struct ls_copies){1 + (int)((s.B + s.N) % 4), nx + 5};
    float *xs = copied(x, nx, many.x);
    int64_t *index = exactly((size_t)s.B * sizeof *index);
    float *stored = backwards(s.B, s.K, x, index);
    const struct ls_gather rows = {.B = s.B, .K = s.K, .numbers = stored, .index = index};
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        ops->dense_forward(s, found_y, x, w, some_bias, act);
        expect_same("y", ops, threads, shape, ny, found_y, y);
        ops->dense_input_gradient(s, found_dx, dz, w, act, act == LS_ACT_NONE ? NULL : x);
        expect_same("dx", ops, threads, shape, nx, found_dx, dx);
        ops->dense_weight_gradient(s, m, found_dw, found_db, x, dz);
        expect_same("dw", ops, threads, shape, nw, found_dw, dw);
        expect_same("db", ops, threads, shape, s.N, found_db, db);
        memset(found_dw, 0xff, (size_t)nw * sizeof *found_dw);
        ops->dense_weight_gradient(s, m, found_dw, NULL, x, dz);
        expect_same("dw without db", ops, threads, shape, nw, found_dw, dw);
        forget(ny, found_y);
        forget(nx, found_dx);
        forget(nw, found_dw);
        ops->dense_forward(many, found_y, xs, w, some_bias, act);
        expect_same("y of copies", ops, threads, shape, ny, found_y, y);
        ops->dense_weight_gradient(many, m, found_dw, found_db, xs, dz);
        expect_same("dw of copies", ops, threads, shape, nw, found_dw, dw);
        if ((s.B + s.K + s.N) % 4 == 0) /* standing up takes longer than such products */
            check_gathered(ops, threads, shape, m % 2 ? s : many, rows, w, some_bias, act, x, y);
        forget(ny, found_y);
        forget(nw, found_dw);
    }
    free(index);
    float *all[] = {x, xs, stored, w, bias, dz, y, dx, dw, db, found_y, found_dx, found_dw, found_db};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

Test(ops, dense_awkward_shapes, .timeout = 120)
{
    for (int i = 0; i < 400; i++) {
        const ptrdiff_t B = sizes[random_bits() % COUNT(sizes)], K = sizes[random_bits() % COUNT(sizes)],
                        N = sizes[random_bits() % COUNT(sizes)];
        check_dense(dense_of(B, K, N), leaves[random_bits() % COUNT(leaves)],
                    (enum ls_activation)(random_bits() % 4), i % 3);
    }
}

Test(ops, dense_every_size_in_each_dimension, .timeout = 120)
{
    for (ptrdiff_t n = 1; n <= 70; n++) {
        check_dense(dense_of(n, 13, 19), 5, LS_ACT_RELU, 0);
        check_dense(dense_of(13, n, 19), 4, LS_ACT_TANH, 0);
        check_dense(dense_of(13, 19, n), 3, LS_ACT_SIGMOID, 0);
    }
}

/* More depth or samples than a packed panel holds, strides of 4 KiB, a leaf larger than a panel, many leaves.
 */
Test(ops, dense_beyond_one_panel, .timeout = 120)
{
    check_dense(dense_of(15, 2100, 20), 4, LS_ACT_RELU, 0);
    check_dense(dense_of(15, 20, 2100), 7, LS_ACT_RELU, 0);
    check_dense(dense_of(5000, 30, 17), 32, LS_ACT_NONE, 0);
    check_dense(dense_of(2500, 13, 40), 1, LS_ACT_NONE, 0);
    check_dense(dense_of(6000, 13, 21), 5999, LS_ACT_NONE, 0);
    check_dense(dense_of(33, 1024, 70), 16, LS_ACT_RELU, 0);
    check_dense(dense_of(33, 70, 1024), 16, LS_ACT_RELU, 0);
    check_dense(dense_of(100, 512, 130), 16, LS_ACT_TANH, 0);
}

/* Few outputs and enough work for a team: leaves are shared out in subtrees, or inputs where samples are few
 * or leaves do not go evenly over threads; a last leaf and a last vector that are short; more outputs than
 * that.
 */
Test(ops, dense_layers_with_few_outputs, .timeout = 240)
{
    static const ptrdiff_t few[][4] = {{256, 784, 10, 32}, {250, 333, 10, 32}, {999, 130, 7, 16},
                                       {160, 301, 12, 32}, {1000, 97, 1, 9},   {64, 784, 10, 32},
                                       {65, 500, 12, 64},  {3000, 70, 3, 5},   {256, 784, 13, 32}};
    for (size_t i = 0; i < COUNT(few); i++)
        for (int special = 0; special < 3; special++)
            check_dense(dense_of(few[i][0], few[i][1], few[i][2]), few[i][3], LS_ACT_NONE, special);
}

/* Wide layers: copied rows of x, several groups of columns and blocks of depth, leaves packed in chunks; with
 * room for more and for fewer of them than this machine's L2 has.  528 and 8 are the strides of those copies.
 */
Test(ops, wide_dense_layers_however_large_the_cache, .timeout = 240)
{
    static const ptrdiff_t wide[][3] = {{70, 530, 300}, {1100, 40, 300}, {300, 8, 530},
                                        {40, 528, 520}, {29, 1030, 261}, {130, 100, 1100}};
    cr_assert(ls_ops_parallel(NULL) != NULL);
    const ptrdiff_t found = ls_panel_floats;
    for (size_t i = 0; i < COUNT(wide); i++)
        for (int room = 0; room < 3; room++) {
            ls_panel_floats = room == 0 ? found : room == 1 ? 40 * 1024 : 1024;
            check_dense(dense_of(wide[i][0], wide[i][1], wide[i][2]), i % 2 ? 32 : 7, LS_ACT_RELU, room);
        }
    ls_panel_floats = found;
}

/* How often threads passed a tile on in this product; outside of a standing team nothing else rings. */
static long tiles_passed_on(const struct ls_ops *ops, struct ls_dense_shape s)
{
    float *x = values(s.B * s.K, 0), *w = values(s.K * s.N, 0), *y = unset(s.B * s.N);
    const long before = bells_rung();
    ops->dense_forward(s, y, x, w, NULL, LS_ACT_NONE);
    FREE(x, w, y);
    return bells_rung() - before;
}

static void expect_a_relay(int is_one, struct ls_dense_shape s)
{
    for (const char *const *isa = ls_ops_isas(); *isa; isa++)
        for (int threads = 2; threads <= 3; threads++) {
            ls_ops_set_threads(threads);
            const long passed_on = tiles_passed_on(ls_ops_parallel(*isa), s);
            cr_assert(ls_ops_threads() == 1 || (passed_on > 0) == is_one,
                      "%s, %d threads, B %td K %td N %td: %ld tiles were passed on", *isa, threads, s.B, s.K,
                      s.N, passed_on);
        }
}

/* Threads share out the depth: two and three of them; last panels, vectors and tiles that are short; partial
 * folds from which an activation must stay away; and the same with less room, where they do not.  The first
 * three shapes are relays for any ISA, the others for some. */
Test(ops, dense_layers_that_are_a_relay, .timeout = 240)
{
    static const ptrdiff_t relays[][3] = {{64, 784, 128}, {128, 786, 128}, {130, 288, 64},
                                          {61, 301, 70},  {33, 500, 257},  {70, 301, 135}};
    cr_assert(ls_ops_parallel(NULL) != NULL);
    const ptrdiff_t found = ls_panel_floats;
    for (size_t i = 0; i < COUNT(relays); i++)
        for (int special = 0; special < 3; special++) {
            const struct ls_dense_shape s = dense_of(relays[i][0], relays[i][1], relays[i][2]);
            const int room = special < 2;
            ls_panel_floats = room ? LS_SCRATCH_PANELS : 4 * 1024;
            check_dense(s, i % 2 ? 32 : 7, (enum ls_activation)((i + (size_t)special) % 4), special);
            if (i < 3 || !room)
                expect_a_relay(room, s);
        }
    ls_panel_floats = found;
}

/* Bytes, of which each thread makes numbers where it multiplies them; the team meets once less for it where
 * each thread has all columns of its rows. */
static void check_dense_of_bytes(ptrdiff_t B, ptrdiff_t K, ptrdiff_t N)
{
    uint8_t *pixels = exactly((size_t)(B * K));
    int64_t *index = exactly((size_t)B * sizeof *index);
    float *x = unset(B * K), *w = values(K * N, 0), *y = unset(B * N), *found = unset(B * N);
    for (ptrdiff_t i = 0; i < B * K; i++)
        pixels[i] = (uint8_t)random_bits();
    for (ptrdiff_t b = 0; b < B; b++)
        index[b] = (int64_t)(random_bits() % (uint32_t)B);
    struct ls_gather rows = {.B = B, .K = K, .x = x, .pixels = pixels, .divisor = 255.0f, .index = index};
    const struct ls_dense_shape s = dense_of(B, K, N);
    ls_ops_serial.dense_forward_gathered(s, y, &rows, w, NULL, LS_ACT_RELU);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        check_gathered(ops, threads, "of bytes", s, rows, w, NULL, LS_ACT_RELU, x, y);
        long rung[2];
        struct gathered job = {ops, s, found, &rows, w, NULL, LS_ACT_RELU, 0};
        for (job.apart = 0; job.apart < 2; job.apart++) {
            const long before = bells_rung();
            ops->with_team(run_gathered, &job);
            rung[job.apart] = bells_rung() - before;
        }
        cr_assert(ls_ops_threads() == 1 || N > 3 || rung[0] < rung[1],
                  "%s, %d threads, B %td K %td N %td: %ld bells, apart %ld", ops->name, threads, B, K, N,
                  rung[0], rung[1]);
    }
    free(pixels);
    free(index);
    FREE(x, w, y, found);
}

Test(ops, dense_layers_that_gather_bytes, .timeout = 120)
{
    check_dense_of_bytes(256, 784, 10);
    check_dense_of_bytes(100, 1301, 3);
    check_dense_of_bytes(64, 784, 128);
    check_dense_of_bytes(61, 530, 257);
}

/* Fewer inputs than a move of the copies takes: x ends within one before its last row. */
Test(ops, dense_layers_with_few_inputs)
{
    for (ptrdiff_t K = 1; K <= 9; K++)
        for (ptrdiff_t B = 1; B <= 10; B++)
            check_dense(dense_of(B, K, 230), 4, LS_ACT_NONE, 0);
}

Test(ops, dense_without_samples)
{
    const struct ls_dense_shape s = dense_of(0, 3, 5);
    float dw[15], db[5], zero[15] = {0};
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        memset(dw, 0xff, sizeof dw);
        memset(db, 0xff, sizeof db);
        ops->dense_forward(s, NULL, NULL, zero, NULL, LS_ACT_RELU);
        ops->dense_input_gradient(s, NULL, NULL, zero, LS_ACT_NONE, NULL);
        ops->dense_weight_gradient(s, 32, dw, db, NULL, NULL);
        expect_same("dw", ops, threads, "B 0", 15, dw, zero);
        expect_same("db", ops, threads, "B 0", 5, db, zero);
    }
}

/* fold starts from +0 with an fma: a product alone would keep the sign of -0. */
Test(ops, sums_of_negative_zeros_are_positive)
{
    const struct ls_dense_shape s = dense_of(1, 1, 1);
    const float minus = -0.0f, one = 1.0f, plus = 0.0f;
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float found = NAN, bias = NAN;
        ops->dense_forward(s, &found, &minus, &one, NULL, LS_ACT_NONE);
        expect_same("y", ops, threads, "-0", 1, &found, &plus);
        ops->dense_input_gradient(s, &found, &minus, &one, LS_ACT_NONE, NULL);
        expect_same("dx", ops, threads, "-0", 1, &found, &plus);
        ops->dense_weight_gradient(s, 1, &found, &bias, &one, &minus);
        expect_same("dw", ops, threads, "-0", 1, &found, &plus);
        expect_same("db", ops, threads, "-0", 1, &bias, &plus);
    }
}

static void check_activation(enum ls_activation act, ptrdiff_t n, int special)
{
    float *z = values(n, special), *dy = values(n, special), *y = unset(n), *dz = unset(n),
          *of_sum = unset(n);
    ls_ops_serial.activation_forward(act, 0.01f, n, y, z);
    ls_ops_serial.activation_backward(act, 0.01f, n, dz, dy, z);
    ls_ops_serial.add(LS_ACT_NONE, n, of_sum, dy, y);
    ls_ops_serial.activation_backward(act, 0.0f, n, of_sum, of_sum, z);
    char shape[60];
    snprintf(shape, sizeof shape, "activation %d n %td", (int)act, n);
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
        ops->add_backward(act, n, found, dy, y, z);
        expect_same("dz of a sum", ops, threads, shape, n, found, of_sum);
        memcpy(in_place, dy, (size_t)n * sizeof *dy);
        ops->add_backward(act, n, in_place, in_place, y, z);
        expect_same("dz of a sum in place", ops, threads, shape, n, in_place, of_sum);
        free(found);
        free(in_place);
    }
    free(z);
    free(dy);
    FREE(y, dz, of_sum);
}

Test(ops, activations, .timeout = 60)
{
    for (int act = LS_ACT_NONE; act <= LS_ACT_SIGMOID; act++) {
        check_activation((enum ls_activation)act, 0, 0);
        for (size_t i = 0; i < COUNT(sizes); i++)
            check_activation((enum ls_activation)act, sizes[i], 1);
        check_activation((enum ls_activation)act, 100001, 1);
    }
}

Test(ops, leaf_sum)
{
    static const ptrdiff_t counts[] = {0, 1, 2, 3, 31, 32, 33, 64, 100, 1000, 4099};
    for (size_t i = 0; i < COUNT(counts); i++)
        for (size_t j = 0; j < COUNT(leaves); j++) {
            float *v = values(counts[i], 0);
            const float expected = ls_ops_serial.leaf_sum(counts[i], leaves[j], v);
            FOR_EACH_IMPLEMENTATION(ops, threads)
            {
                const float found = ops->leaf_sum(counts[i], leaves[j], v);
                expect_same("sum", ops, threads, "leaf_sum", 1, &found, &expected);
            }
            free(v);
        }
}

Test(ops, tree_add)
{
    static const ptrdiff_t counts[] = {0, 1, 15, 17, 100, 50001};
    for (size_t i = 0; i < COUNT(counts); i++) {
        float *left = values(counts[i], 1), *right = values(counts[i], 1),
              *expected = copy_of(counts[i], left);
        ls_ops_serial.tree_add(counts[i], expected, right);
        FOR_EACH_IMPLEMENTATION(ops, threads)
        {
            float *found = copy_of(counts[i], left);
            ops->tree_add(counts[i], found, right);
            expect_same("left", ops, threads, "tree_add", counts[i], found, expected);
            free(found);
        }
        free(left);
        free(right);
        free(expected);
    }
}

/* All pixel values by all divisors that the interface allows: the corrected multiplication is the division.
 */
Test(ops, gathered_bytes_are_exact_for_every_pixel_and_divisor)
{
    uint8_t pixels[256];
    for (int i = 0; i < 256; i++)
        pixels[i] = (uint8_t)i;
    const int64_t index = 0;
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        for (int divisor = 1; divisor <= 255; divisor++) {
            float found[256], expected[256];
            for (int i = 0; i < 256; i++)
                expected[i] = (float)i / (float)divisor;
            ops->gather(&(struct ls_gather){
                .B = 1, .K = 256, .x = found, .pixels = pixels, .divisor = (float)divisor, .index = &index});
            expect_same("x", ops, threads, "gather of bytes", 256, found, expected);
        }
    }
}

static void ramp(const void *context, int64_t index, float *x)
{
    const ptrdiff_t K = *(const ptrdiff_t *)context;
    for (ptrdiff_t k = 0; k < K; k++)
        x[k] = (float)(index * 1000 + k);
}

static void check_gather(ptrdiff_t B, ptrdiff_t K)
{
    enum { ROWS = 9 };
    uint8_t *pixels = exactly((size_t)(ROWS * K));
    for (ptrdiff_t i = 0; i < ROWS * K; i++)
        pixels[i] = (uint8_t)random_bits();
    int64_t *index = exactly((size_t)B * sizeof *index);
    for (ptrdiff_t b = 0; b < B; b++)
        index[b] = (int64_t)(random_bits() % ROWS);
    float *bytes = unset(B * K), *rows = unset(B * K);
    struct ls_gather of_bytes = {
        .B = B, .K = K, .x = bytes, .pixels = pixels, .divisor = 255.0f, .index = index};
    ls_ops_serial.gather(&of_bytes);
    ls_ops_serial.gather_rows(B, K, rows, index, ramp, &K);
    float *numbers = unset(ROWS * K);
    for (int64_t row = 0; row < ROWS; row++)
        ramp(&K, row, numbers + row * K);
    struct ls_gather of_numbers = {.B = B, .K = K, .numbers = numbers, .index = index};
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(B * K);
        of_bytes.x = of_numbers.x = found;
        of_bytes.copies = of_numbers.copies = (struct ls_copies){0};
        ops->gather(&of_bytes);
        expect_same("x", ops, threads, "gather of bytes", B * K, found, bytes);
        ops->gather(&of_numbers);
        expect_same("x", ops, threads, "gather of numbers", B * K, found, rows);
        for (int n = 2; n <= 4; n++) { /* fewer copies than threads, as many, and more */
            const struct ls_copies copies = {n, B * K + 3};
            float *all = unset(n * copies.step);
            of_bytes.x = of_numbers.x = all;
            of_bytes.copies = of_numbers.copies = copies;
            ops->gather(&of_bytes);
            for (int copy = 0; copy < n; copy++)
                expect_same("copy", ops, threads, "gather of bytes", B * K, all + copy * copies.step, bytes);
            ops->gather(&of_numbers);
            for (int copy = 0; copy < n; copy++)
                expect_same("copy", ops, threads, "gather of numbers", B * K, all + copy * copies.step, rows);
            free(all);
        }
        ops->gather_rows(B, K, found, index, ramp, &K);
        expect_same("x", ops, threads, "gather_rows", B * K, found, rows);
        free(found);
    }
    free(pixels);
    free(numbers);
    free(index);
    free(bytes);
    free(rows);
}

Test(ops, gathers)
{
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t j = 0; j < COUNT(sizes); j++)
            check_gather(sizes[i], sizes[j]);
    check_gather(64, 784);
}

Test(ops, names_and_threads)
{
    cr_assert_null(ls_ops_parallel("mmx"));
    cr_assert_eq(ls_ops_parallel(NULL), ls_ops_parallel(ls_ops_isas()[0]));
    cr_assert_not_null(ls_ops_parallel("portable"));
    for (const char *const *isa = ls_ops_isas(); *isa; isa++)
        cr_assert_str_eq(ls_ops_parallel(*isa)->name, *isa);
    ls_ops_set_threads(2);
#ifdef _OPENMP
    cr_assert_eq(ls_ops_threads(), 2);
#else
    cr_assert_eq(ls_ops_threads(), 1);
#endif
}
