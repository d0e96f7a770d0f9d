/* Optimizers: their operations bit for bit against the oracle, their first two steps by hand, clipping, and
 * what is skipped.  Ten steps of each against PyTorch are in test_fixtures.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/philox.h"
#include "implementations.h"
#include "optim/average.h"
#include "optim/optimizer.h"

static struct ls_error err;
static char message[300];

/* --- operations --- */

static int has_velocity(const struct ls_update *rule)
{
    return rule->kind == LS_UPDATE_ADAM || (rule->momentum != 0.0f && rule->kind != LS_UPDATE_ADAGRAD);
}

/* Of velocities, weights and gradients: around the subnormals, and around what a shortcut past them may not
 * lose sight of. */
static float *small_values(ptrdiff_t n, uint64_t which)
{
    static const float some[] = {
        0.0f,       -0.0f,        0x1p-149f,    -0x1p-149f, 0x5p-149f,   0x1.fffffcp-127f, 0x1p-126f,
        -0x1p-127f, 0x1.23p-130f, -0x1.8p-148f, 0x1p-100f,  0x1.8p-101f, -0x1p-120f,       0x1p-41f,
        0x1p-40f,   0x1p-39f,     -0.25f,       1.0f,       0x1p-125f,   -0x1.555556p-140f};
    float *v = malloc((size_t)n * sizeof *v);
    for (ptrdiff_t i = 0; i < n; i++) {
        const struct ls_bits128 bits = ls_random(which, LS_PURPOSE_SYNTHETIC, 0, (uint64_t)i);
        v[i] = bits.word[0] & 1 ? some[(bits.word[0] >> 1) % COUNT(some)]
                                : ldexpf((float)(int32_t)bits.word[1], -150 - (int)(bits.word[2] % 8));
        if (bits.word[3] % 3 == 0)
            v[i] = 0.0f;
    }
    return v;
}

enum { SMALL = 3 };

static void check_update(const struct ls_update *rule, ptrdiff_t rows, ptrdiff_t columns, int special)
{
    const ptrdiff_t n = rows * columns;
    float *w = special == SMALL ? small_values(n, 1) : values(n, special),
          *v = special == SMALL ? small_values(n, 2) : values(n, special),
          *s = special == SMALL ? small_values(n, 3) : values(n, special),
          *sum = special == SMALL ? small_values(n, 4) : values(n, special);
    for (ptrdiff_t i = 0; i < n; i++) {
        s[i] = fabsf(s[i]);
        if (special == SMALL && i % 3)
            w[i] = 0.125f * (float)(i % 7 - 3);
    }
    float *new_w = copy_of(n, w), *new_v = copy_of(n, v), *new_s = copy_of(n, s);
    const int square = rule->kind >= LS_UPDATE_ADAGRAD;
    const int64_t not_finite = ls_ops_serial.update(
        rule, rows, columns, new_w, has_velocity(rule) ? new_v : NULL, square ? new_s : NULL, sum);
    char shape[160];
    snprintf(shape, sizeof shape, "kind %d, %td x %td momentum %g decay %g keep %g nesterov %d special %d",
             (int)rule->kind, rows, columns, (double)rule->momentum, (double)rule->weight_decay,
             (double)rule->keep, rule->nesterov, special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found_w = copy_of(n, w), *found_v = has_velocity(rule) ? copy_of(n, v) : NULL,
              *found_s = square ? copy_of(n, s) : NULL;
        const int64_t found = ops->update(rule, rows, columns, found_w, found_v, found_s, sum);
        cr_assert_eq(found != 0, not_finite != 0, "%s, %d threads, %s: %td not finite, expected %td",
                     ops->name, threads, shape, (ptrdiff_t)found, (ptrdiff_t)not_finite);
        expect_same("w", ops, threads, shape, n, found_w, new_w);
        if (found_v)
            expect_same("velocity", ops, threads, shape, n, found_v, new_v);
        if (found_s)
            expect_same("square", ops, threads, shape, n, found_s, new_s);
        free(found_w);
        free(found_v);
        free(found_s);
    }
    float *all[] = {w, v, s, sum, new_w, new_v, new_s};
    for (size_t i = 0; i < COUNT(all); i++)
        free(all[i]);
}

/* bits of `flags`: momentum, decay, nesterov, clipped, decoupled. */
static struct ls_update rule_of(enum ls_update_kind kind, int flags)
{
    return (struct ls_update){.kind = kind,
                              .nesterov = flags >> 2 & 1,
                              .gradient_scale = 1.0f / 60.0f,
                              .clip_factor = flags & 8 ? 0.37f : 1.0f,
                              .clip_value = flags & 8 ? 0.003f : 0.0f,
                              .weight_decay = flags & 2 ? 1e-2f : 0.0f,
                              .keep = flags & 16 ? 0.99f : 1.0f,
                              .rate = 0.1f,
                              .momentum = flags & 1 ? 0.9f : 0.0f,
                              .beta1 = 0.9f,
                              .beta2 = 0.99f,
                              .epsilon = 1e-8f,
                              .correction1 = 1.7f,
                              .correction2 = 3.1f};
}

static const ptrdiff_t counts[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 100, 12001};
static const ptrdiff_t shapes[][2] = {{7, 100}, {300, 128}, {601, 33}, {1000, 10}, {3, 16384}};

static void check_kind(enum ls_update_kind kind)
{
    for (int flags = 0; flags < 32; flags++) {
        const struct ls_update rule = rule_of(kind, flags);
        for (size_t i = 0; i < COUNT(counts); i++)
            check_update(&rule, 1, counts[i], (flags + (int)i) % 3);
        check_update(&rule, shapes[flags % 5][0], shapes[flags % 5][1], flags % 2 * 2);
    }
}

Test(optim, subnormals_in_the_state_are_the_oracle_s, .timeout = 120)
{
    static const float kept[] = {0.9f, 1.0f, 0.5f, 0.0f, 0x1p-20f, 0.99f};
    for (int kind = LS_UPDATE_SGD; kind <= LS_UPDATE_ADAM; kind++)
        for (int flags = 0; flags < 32; flags++)
            for (size_t i = 0; i < COUNT(kept); i++) {
                struct ls_update rule = rule_of((enum ls_update_kind)kind, flags);
                rule.gradient_scale = i % 2 ? 1.0f : 1.0f / 60.0f;
                rule.momentum = flags & 1 ? kept[i] : 0.0f;
                rule.beta1 = kept[i];
                rule.beta2 = kept[COUNT(kept) - 1 - i];
                if (i == 4)
                    rule.epsilon = 0x1p-60f;
                if (i == 5)
                    rule.rate = 0x1p20f;
                check_update(&rule, 1, 4099, SMALL);
            }
}

Test(optim, sgd_is_the_oracle_s, .timeout = 120)
{
    check_kind(LS_UPDATE_SGD);
}
Test(optim, lars_is_the_oracle_s, .timeout = 120)
{
    check_kind(LS_UPDATE_LARS);
}
Test(optim, adagrad_is_the_oracle_s, .timeout = 120)
{
    check_kind(LS_UPDATE_ADAGRAD);
}
Test(optim, rmsprop_is_the_oracle_s, .timeout = 120)
{
    check_kind(LS_UPDATE_RMSPROP);
}
Test(optim, adam_is_the_oracle_s, .timeout = 120)
{
    check_kind(LS_UPDATE_ADAM);
}

Test(optim, adam_s_direction_is_the_oracle_s, .timeout = 120)
{
    for (int flags = 0; flags < 16; flags++)
        for (size_t i = 0; i < COUNT(counts) + COUNT(shapes); i++) {
            const struct ls_update rule = rule_of(LS_UPDATE_ADAM, flags);
            const ptrdiff_t rows = i < COUNT(counts) ? 1 : shapes[i - COUNT(counts)][0],
                            columns = i < COUNT(counts) ? counts[i] : shapes[i - COUNT(counts)][1],
                            n = rows * columns;
            float *w = values(n, (int)i % 3), *v = values(n, 0), *s = values(n, 0),
                  *sum = values(n, (int)i % 3);
            for (ptrdiff_t e = 0; e < n; e++)
                s[e] = fabsf(s[e]);
            float *direction = copy_of(n, w), *new_v = copy_of(n, v), *new_s = copy_of(n, s);
            ls_ops_serial.adam_direction(&rule, rows, columns, direction, w, new_v, new_s, sum);
            FOR_EACH_IMPLEMENTATION(ops, threads)
            {
                float *found = copy_of(n, sum), *found_v = copy_of(n, v), *found_s = copy_of(n, s);
                ops->adam_direction(&rule, rows, columns, found, w, found_v, found_s, sum);
                expect_same("direction", ops, threads, "", n, found, direction);
                expect_same("velocity", ops, threads, "", n, found_v, new_v);
                expect_same("square", ops, threads, "", n, found_s, new_s);
                free(found);
                free(found_v);
                free(found_s);
            }
            float *all[] = {w, v, s, sum, direction, new_v, new_s};
            for (size_t e = 0; e < COUNT(all); e++)
                free(all[e]);
        }
}

Test(optim, sums_of_squares_are_the_oracle_s_and_lanesum_s, .timeout = 60)
{
    static const ptrdiff_t lengths[] = {0,    1,    7,    15,   16,    17,    33,    4095,   4096,
                                        4097, 8192, 8193, 9000, 16384, 20481, 65536, 100001, 300000};
    for (size_t i = 0; i < COUNT(lengths); i++)
        for (int special = 0; special < 2; special++) {
            const ptrdiff_t n = lengths[i];
            const float factor = special ? 3.0f : 1.0f / 60.0f;
            float *v = values(n, 0), *squares = copy_of(n, v);
            if (special && n > 0)
                v[random_bits() % (uint32_t)n] = n % 2 ? INFINITY : NAN;
            for (ptrdiff_t e = 0; e < n; e++)
                squares[e] = (v[e] * factor) * (v[e] * factor);
            const float expected = ls_ops_serial.square_sum(n, v, factor), plain = ls_lanesum(squares, n);
            expect_same("square_sum", &ls_ops_serial, 1, "against lanesum", 1, &expected, &plain);
            const ptrdiff_t n_blocks = (n + LS_LANESUM_BLOCK - 1) / LS_LANESUM_BLOCK;
            float *blocks = unset(n_blocks);
            ls_ops_serial.square_blocks(n, v, factor, blocks);
            for (ptrdiff_t b = 0; b < n_blocks; b++) {
                const ptrdiff_t at = b * LS_LANESUM_BLOCK, left = n - at;
                const float sum =
                    ls_lanesum_block(squares + at, left < LS_LANESUM_BLOCK ? left : LS_LANESUM_BLOCK);
                expect_same("square_blocks", &ls_ops_serial, 1, "against lanesum", 1, &blocks[b], &sum);
            }
            FOR_EACH_IMPLEMENTATION(ops, threads)
            {
                const float found = ops->square_sum(n, v, factor);
                snprintf(message, sizeof message, "n %td", n);
                char shape[32];
                memcpy(shape, message, sizeof shape);
                expect_same("square_sum", ops, threads, shape, 1, &found, &expected);
                float *found_blocks = unset(n_blocks);
                ops->square_blocks(n, v, factor, found_blocks);
                expect_same("square_blocks", ops, threads, shape, n_blocks, found_blocks, blocks);
                free(found_blocks);
            }
            FREE(v, squares, blocks);
        }
}

/* A single parameter that is not finite is noticed wherever it is. */
Test(optim, an_update_finds_each_non_finite)
{
    enum { N = 100 };
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        for (int kind = LS_UPDATE_SGD; kind <= LS_UPDATE_ADAM; kind++) {
            const struct ls_update rule = rule_of((enum ls_update_kind)kind, 1);
            float v[N] = {0}, s[N] = {0}, sum[N] = {0};
            for (int at = 0; at < N; at++) {
                float w[N] = {0};
                w[at] = at % 3 == 0 ? NAN : at % 3 == 1 ? INFINITY : -INFINITY;
                cr_assert(ops->update(&rule, 1, N, w, v, s, sum) != 0, "%s kind %d: w[%d]", ops->name, kind,
                          at);
            }
            float w[N] = {0};
            w[3] = 0x1.fffffep127f;
            cr_assert(ops->update(&rule, 1, N, w, v, s, sum) == 0, "%s kind %d", ops->name, kind);
        }
    }
}

/* --- optimizers --- */

enum { FLOATS = 64 };

/* A matrix of two rows, a bias, a norm's gamma, running averages; each at a 16-float boundary. */
static const struct ls_parameter tensors[] = {
    {.name = "0.weight", .n_dims = 2, .dims = {2, 2}, .count = 4, .offset = 0},
    {.name = "0.bias", .n_dims = 1, .dims = {2}, .count = 2, .offset = 16, .is_bias = 1},
    {.name = "1.weight", .n_dims = 1, .dims = {2}, .count = 2, .offset = 32, .is_norm = 1},
    {.name = "1.running_mean", .n_dims = 1, .dims = {2}, .count = 2, .offset = 48, .is_state = 1},
};
static const int places[] = {0, 1, 2, 3, 16, 17, 32, 33, 48, 49};
static const float first_w[] = {0.5f, -0.25f, 1.0f, 2.0f, 0.1f, -0.2f, 1.0f, 0.9f, 5.0f, 6.0f};
/* Sums over a batch of 4, of the two steps. */
static const float sums[2][10] = {{0.4f, -1.2f, 2.0f, 0.8f, -0.4f, 0.2f, 0.6f, -0.1f, 7.0f, 8.0f},
                                  {0.1f, 0.9f, 1.0f, -0.6f, 0.4f, 0.3f, -0.6f, 0.2f, 7.0f, 8.0f}};

struct reference {
    double w[10], v[10], s[10];
};

static double norm_of(const double *x, int from, int to)
{
    double square = 0;
    for (int i = from; i < to; i++)
        square += x[i] * x[i];
    return sqrt(square);
}

/* The papers' formulas once more, in binary64, an element at a time. */
static void reference_step(const struct ls_optimizer_rule *r, int t, double lr, struct reference *x)
{
    static const int ends[] = {0, 4, 6, 8};
    double g[8], step[8];
    for (int i = 0; i < 8; i++)
        g[i] = (double)sums[t - 1][i] / 4;
    const double size = norm_of(g, 0, 8);
    for (int i = 0; i < 8; i++) {
        if (r->clip_norm > 0.0f && size > (double)r->clip_norm)
            g[i] *= (double)r->clip_norm / size;
        if (r->clip_value > 0.0f)
            g[i] = fmax(-(double)r->clip_value, fmin((double)r->clip_value, g[i]));
    }
    const double mu = (double)r->momentum, eps = (double)r->epsilon, b1 = (double)r->beta1,
                 b2 = (double)r->beta2;
    for (int tensor = 0; tensor < 3; tensor++) {
        const int from = ends[tensor], to = ends[tensor + 1];
        const double decay = tensor > 0 && r->decay_skips_vectors ? 0 : (double)r->weight_decay;
        const double of_w = norm_of(x->w, from, to), of_g = norm_of(g, from, to);
        for (int i = from; i < to; i++) {
            if (r->decoupled)
                x->w[i] *= 1 - lr * decay;
            else if (r->kind != LS_LAMB)
                g[i] += decay * x->w[i];
            if (r->kind == LS_RMSPROP)
                x->s[i] = (double)r->alpha * x->s[i] + (1 - (double)r->alpha) * g[i] * g[i];
            else
                x->s[i] =
                    r->kind == LS_ADAGRAD ? x->s[i] + g[i] * g[i] : b2 * x->s[i] + (1 - b2) * g[i] * g[i];
            switch (r->kind) {
            case LS_SGD:
                x->v[i] = mu * x->v[i] + g[i];
                step[i] = lr * (r->nesterov ? g[i] + mu * x->v[i] : x->v[i]);
                break;
            case LS_ADAGRAD:
                step[i] = lr * g[i] / (sqrt(x->s[i]) + eps);
                break;
            case LS_RMSPROP:
                x->v[i] = mu * x->v[i] + g[i] / (sqrt(x->s[i]) + eps);
                step[i] = lr * x->v[i];
                break;
            case LS_LARS:
                x->v[i] = mu * x->v[i] + lr * g[i] *
                                             (tensor > 0 && r->trust_skips_vectors
                                                  ? 1
                                                  : (double)r->trust * of_w / (of_g + decay * of_w));
                step[i] = x->v[i];
                break;
            case LS_ADAM:
            case LS_ADAMW:
            case LS_LAMB:
                x->v[i] = b1 * x->v[i] + (1 - b1) * g[i];
                step[i] = x->v[i] / (1 - pow(b1, t)) / (sqrt(x->s[i] / (1 - pow(b2, t))) + eps);
                step[i] = r->kind == LS_LAMB ? step[i] + decay * x->w[i] : lr * step[i];
                break;
            }
        }
        const double ratio = tensor > 0 && r->trust_skips_vectors ? 1 : of_w / norm_of(step, from, to);
        for (int i = from; i < to; i++)
            x->w[i] -= r->kind == LS_LAMB ? lr * ratio * step[i] : step[i];
    }
}

static void spread(const float *from, float *flat)
{
    for (int i = 0; i < 10; i++)
        flat[places[i]] = from[i];
}

static void check_two_steps(const struct ls_optimizer_rule *rule)
{
    const float rates[2] = {0.1f, 0.05f};
    struct reference expected = {{0}, {0}, {0}};
    float bits[FLOATS] = {0};
    for (int i = 0; i < 10; i++)
        expected.w[i] = (double)first_w[i];
    for (int t = 1; t <= 2; t++)
        reference_step(rule, t, (double)rates[t - 1], &expected);
    const struct ls_ops *all[] = {&ls_ops_serial, ls_ops_parallel(NULL), ls_ops_parallel("portable")};
    for (size_t o = 0; o < COUNT(all); o++) {
        struct ls_optimizer optimizer;
        struct ls_optimizer_report report;
        float w[FLOATS] = {0}, sum[FLOATS] = {0};
        spread(first_w, w);
        cr_assert(ls_optimizer_create(&optimizer, rule, tensors, 4, FLOATS, &err) == LS_OK, "%s", err.text);
        for (int t = 0; t < 2; t++) {
            spread(sums[t], sum);
            cr_assert(ls_optimizer_step(&optimizer, all[o], 4, rates[t], w, sum, &report) == 0);
        }
        for (int i = 0; i < 10; i++)
            cr_assert(fabs((double)w[places[i]] - expected.w[i]) <= 1e-6 * (1 + fabs(expected.w[i])),
                      "%s with %s: w[%d] = %.9g, expected %.9g", ls_optimizer_names[rule->kind], all[o]->name,
                      i, (double)w[places[i]], expected.w[i]);
        if (o == 0)
            memcpy(bits, w, sizeof w);
        cr_assert(memcmp(bits, w, sizeof w) == 0, "%s: not the oracle's bits", all[o]->name);
        ls_optimizer_release(&optimizer);
    }
    cr_assert(ls_memory_balance() == 0);
}

/* Also: running averages are left alone, and take no part in a norm. */
Test(optim, two_steps_by_hand)
{
    for (int kind = LS_SGD; kind <= LS_LAMB; kind++)
        for (int variant = 0; variant < 32; variant++) {
            struct ls_optimizer_rule rule = ls_optimizer_defaults((enum ls_optimizer_kind)kind);
            if (variant & 1)
                rule.weight_decay = 0.3f;
            rule.decay_skips_vectors = variant >> 1 & 1;
            if (variant & 4 && kind <= LS_ADAMW)
                rule.decoupled = 1;
            if (variant & 8)
                rule.momentum = 0.7f;
            rule.nesterov = variant & 8 && variant & 1;
            if (variant & 16)
                rule.clip_norm = 0.2f;
            if (variant & 16 && kind != LS_LARS)
                rule.clip_value = 0.1f;
            if (variant & 2)
                rule.trust_skips_vectors = !rule.trust_skips_vectors;
            check_two_steps(&rule);
        }
}

Test(optim, the_gradient_norm_is_reported_and_clips_as_pytorch_does)
{
    struct ls_optimizer_rule rule = {.clip_norm = 0.5f};
    struct ls_optimizer optimizer;
    struct ls_optimizer_report report;
    for (int factor = 1; factor <= 4; factor += 3) { /* below the limit, and above it */
        float w[FLOATS] = {0}, sum[FLOATS] = {0};
        sum[0] = 0.3f * (float)factor;
        sum[17] = -0.4f * (float)factor;
        sum[48] = 1000.0f; /* no gradient: it belongs to a state */
        cr_assert(ls_optimizer_create(&optimizer, &rule, tensors, 4, FLOATS, &err) == LS_OK);
        ls_optimizer_step(&optimizer, &ls_ops_serial, 2, 1.0f, w, sum, &report);
        const float norm = 0.25f * (float)factor, kept = factor == 1 ? 1.0f : 0.5f / (norm + 1e-6f);
        cr_assert(report.has_norm && fabsf(report.gradient_norm - norm) < 1e-6f);
        cr_assert(fabsf(w[0] + sum[0] / 2 * kept) < 1e-6f && fabsf(w[17] + sum[17] / 2 * kept) < 1e-6f);
        cr_assert(w[48] == 0.0f);
        ls_optimizer_release(&optimizer);
    }
    rule = (struct ls_optimizer_rule){.report_gradient_norm = 1};
    cr_assert(ls_optimizer_create(&optimizer, &rule, tensors, 4, FLOATS, &err) == LS_OK);
    float w[FLOATS] = {0}, sum[FLOATS] = {[1] = NAN};
    cr_assert(ls_optimizer_step(&optimizer, &ls_ops_serial, 2, 1.0f, w, sum, &report) != 0);
    cr_assert(report.gradient_norm != report.gradient_norm && report.not_finite != 0);
    ls_optimizer_release(&optimizer);
}

/* A tensor whose norm is 0 takes the plain rate: it could never leave 0 otherwise. */
Test(optim, a_norm_of_zero_leaves_the_rate_alone)
{
    for (int kind = LS_LARS; kind <= LS_LAMB; kind++) {
        struct ls_optimizer_rule rule = ls_optimizer_defaults((enum ls_optimizer_kind)kind);
        struct ls_optimizer optimizer;
        float w[FLOATS] = {0}, sum[FLOATS] = {2.0f, -2.0f, 2.0f, 2.0f};
        cr_assert(ls_optimizer_create(&optimizer, &rule, tensors, 4, FLOATS, &err) == LS_OK);
        ls_optimizer_step(&optimizer, &ls_ops_serial, 2, 0.5f, w, sum, NULL);
        cr_assert(fabsf(w[0] + 0.5f) < 1e-6f && fabsf(w[1] - 0.5f) < 1e-6f, "%g %g", (double)w[0],
                  (double)w[1]);
        ls_optimizer_release(&optimizer);
    }
}

Test(optim, a_resumed_run_has_the_corrections_of_one_that_never_stopped)
{
    const struct ls_optimizer_rule rule = ls_optimizer_defaults(LS_ADAM);
    struct ls_optimizer one, two;
    float w[FLOATS] = {0}, sum[FLOATS] = {0};
    cr_assert(ls_optimizer_create(&one, &rule, tensors, 4, FLOATS, &err) == LS_OK);
    cr_assert(ls_optimizer_create(&two, &rule, tensors, 4, FLOATS, &err) == LS_OK);
    for (int t = 1; t <= 30000; t++) {
        ls_optimizer_step(&one, &ls_ops_serial, 1, 0.1f, w, sum, NULL);
        if (t > 20 && t % 1000 != 0)
            continue;
        ls_optimizer_resume(&two, t);
        cr_assert(two.updates == t && memcmp(one.memory, two.memory, sizeof one.memory) == 0, "after %d", t);
        for (int k = 0; k < 2; k++) {
            const double exact = 1 - pow((double)(k ? rule.beta2 : rule.beta1), t);
            cr_assert(fabs((double)one.memory[k] / exact - 1) < 5e-5, "1 - beta%d^%d = %.9g, not %.9g", k + 1,
                      t, (double)one.memory[k], exact);
        }
    }
    ls_optimizer_release(&one);
    ls_optimizer_release(&two);
}

Test(optim, states_are_named)
{
    const char *const names[][2] = {[LS_SGD] = {"velocity", NULL},
                                    [LS_ADAGRAD] = {"second_moment", NULL},
                                    [LS_RMSPROP] = {"velocity", "second_moment"},
                                    [LS_ADAM] = {"first_moment", "second_moment"},
                                    [LS_ADAMW] = {"first_moment", "second_moment"},
                                    [LS_LARS] = {"velocity", NULL},
                                    [LS_LAMB] = {"first_moment", "second_moment"}};
    for (int kind = LS_SGD; kind <= LS_LAMB; kind++) {
        struct ls_optimizer_rule rule = ls_optimizer_defaults((enum ls_optimizer_kind)kind);
        struct ls_optimizer optimizer;
        rule.momentum = 0.9f;
        cr_assert(ls_optimizer_create(&optimizer, &rule, tensors, 4, FLOATS, &err) == LS_OK);
        cr_assert(optimizer.n_states == 1 + (names[kind][1] != NULL));
        for (int i = 0; i < optimizer.n_states; i++)
            cr_assert_str_eq(optimizer.states[i].name, names[kind][i]);
        ls_optimizer_release(&optimizer);
    }
}

Test(optim, an_average_follows_the_weights)
{
    if (!ls_ops_serial.blend)
        cr_skip_test("no operation `blend` in this build");
    struct ls_average average;
    float w[3] = {1.0f, -2.0f, 0.0f};
    cr_assert(ls_average_create(&average, 3, 0.75f, w, &err) == LS_OK);
    const float next[3] = {3.0f, -2.0f, 1.0f}, expected[3] = {1.5f, -2.0f, 0.25f};
    ls_average_follow(&average, &ls_ops_serial, next);
    cr_assert(compare_floats(COMPARE_BITS, "average", 3, average.flat, expected, message, sizeof message),
              "%s", message);
    ls_average_release(&average);
}
