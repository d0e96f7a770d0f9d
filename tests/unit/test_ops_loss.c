/* The losses: every parallel implementation against the oracle, bit for bit; the oracle against values worked
 * out by hand, and its gradients against differences of its own losses. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "implementations.h"

/* Values in [-scale, scale); special ones stay as they are. */
static float *scaled(ptrdiff_t n, float scale, int special)
{
    float *v = values(n, special);
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = fabsf(v[i]) <= 1.0f ? scale * v[i] : v[i];
    return v;
}

/* --- the same bits --- */

struct batch {
    ptrdiff_t B, N;
    int with_values, special;
};

static int needs_labels(const struct ls_loss_rule *rule)
{
    return rule->kind == LS_LOSS_SOFTMAX || rule->kind == LS_LOSS_HINGE || rule->class_weights;
}

static int32_t *draw_labels(ptrdiff_t B, ptrdiff_t N)
{
    int32_t *labels = malloc((size_t)B * sizeof *labels);
    for (ptrdiff_t b = 0; b < B; b++)
        labels[b] = (int32_t)(random_bits() % (N > 1 ? (uint32_t)N : 2));
    return labels;
}

static void check(const struct ls_loss_rule *rule, struct batch s)
{
    const ptrdiff_t n = s.B * s.N;
    float *z = scaled(n, 20.0f, s.special), *t = values(n, 0), *loss = unset(s.B), *dz = unset(n);
    int32_t *labels = draw_labels(s.B, s.N);
    if (rule->kind == LS_LOSS_SOFTMAX && s.N == 1)
        memset(labels, 0, (size_t)s.B * sizeof *labels);
    const struct ls_targets targets = {s.with_values ? NULL : labels, s.with_values ? t : NULL};
    ls_ops_serial.loss(rule, s.B, s.N, loss, dz, z, &targets);
    char shape[160];
    snprintf(shape, sizeof shape, "loss %d smoothing %g delta %g%s B %td N %td %s special %d",
             (int)rule->kind, (double)rule->smoothing, (double)rule->delta,
             rule->class_weights ? " weighted" : "", s.B, s.N, s.with_values ? "values" : "labels",
             s.special);
    FOR_EACH_IMPLEMENTATION(ops, threads)
    {
        float *found = unset(s.B), *found_dz = unset(n), *only = unset(s.B);
        ops->loss(rule, s.B, s.N, found, found_dz, z, &targets);
        expect_same("loss", ops, threads, shape, s.B, found, loss);
        expect_same("dz", ops, threads, shape, n, found_dz, dz);
        ops->loss(rule, s.B, s.N, only, NULL, z, &targets);
        expect_same("loss without dz", ops, threads, shape, s.B, only, loss);
        free(found);
        free(found_dz);
        free(only);
    }
    free(z);
    free(t);
    free(loss);
    free(dz);
    free(labels);
}

static void check_shapes(const struct ls_loss_rule *rule, ptrdiff_t widest)
{
    static const ptrdiff_t widths[] = {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 31, 33, 100, 4095, 4096, 4097, 9000};
    for (size_t i = 0; i < COUNT(widths) && widths[i] <= widest; i++)
        for (int special = 0; special < 3; special++)
            for (int with_values = 0; with_values < (needs_labels(rule) ? 1 : 2); with_values++) {
                check(rule, (struct batch){3, widths[i], with_values, special});
                if (widths[i] < 50)
                    check(rule, (struct batch){131, widths[i], with_values, special});
            }
}

Test(ops_loss, plain, .timeout = 120)
{
    for (int kind = LS_LOSS_SOFTMAX; kind <= LS_LOSS_BCE; kind++)
        check_shapes(&(struct ls_loss_rule){.kind = (enum ls_loss)kind}, 9000);
}

Test(ops_loss, smoothing, .timeout = 120)
{
    static const float smoothings[] = {0.1f, 0.9f, 0x1p-149f};
    for (size_t i = 0; i < COUNT(smoothings); i++)
        check_shapes(&(struct ls_loss_rule){.kind = LS_LOSS_SOFTMAX, .smoothing = smoothings[i]},
                     i ? 33 : 9000);
}

Test(ops_loss, huber, .timeout = 120)
{
    static const float deltas[] = {1.0f, 0.3f, 19.0f, 1e-30f, 1e30f};
    for (size_t i = 0; i < COUNT(deltas); i++)
        check_shapes(&(struct ls_loss_rule){.kind = LS_LOSS_HUBER, .delta = deltas[i]}, i ? 33 : 9000);
}

Test(ops_loss, hinge, .timeout = 120)
{
    check_shapes(&(struct ls_loss_rule){.kind = LS_LOSS_HINGE}, 9000);
}

Test(ops_loss, class_weights, .timeout = 120)
{
    enum { MOST = 9000 };
    float *weights = unset(MOST);
    for (int i = 0; i < MOST; i++)
        weights[i] = i % 7 == 3 ? 0.0f : 0.3f + 0.01f * (float)(i % 100);
    for (int kind = LS_LOSS_SOFTMAX; kind <= LS_LOSS_HINGE; kind++)
        check_shapes(&(struct ls_loss_rule){.kind = (enum ls_loss)kind,
                                            .smoothing = kind == LS_LOSS_SOFTMAX ? 0.1f : 0.0f,
                                            .delta = 1.0f,
                                            .class_weights = weights,
                                            .n_classes = MOST},
                     100);
    free(weights);
}

/* A weight of 1, a smoothing of 0 and a delta that nothing reaches are as if they were not there. */
Test(ops_loss, what_changes_nothing_changes_no_bit)
{
    enum { B = 40, N = 19 };
    float ones[N], plain[B], loss[B], plain_dz[B * N], dz[B * N];
    for (int j = 0; j < N; j++)
        ones[j] = 1.0f;
    float *z = scaled(B * N, 20.0f, 2);
    int32_t *labels = draw_labels(B, N);
    const struct ls_targets targets = {.labels = labels};
    for (int kind = LS_LOSS_SOFTMAX; kind <= LS_LOSS_HINGE; kind++) {
        const struct ls_loss_rule bare = {.kind = (enum ls_loss)kind, .delta = 1.0f};
        struct ls_loss_rule weighted = bare;
        weighted.class_weights = ones;
        weighted.n_classes = N;
        ls_ops_serial.loss(&bare, B, N, plain, plain_dz, z, &targets);
        ls_ops_serial.loss(&weighted, B, N, loss, dz, z, &targets);
        expect_same("loss", &ls_ops_serial, 1, "weights of 1", B, loss, plain);
        expect_same("dz", &ls_ops_serial, 1, "weights of 1", B * N, dz, plain_dz);
    }
    const struct ls_loss_rule half = {.kind = LS_LOSS_HALF_SQUARED},
                              huber = {.kind = LS_LOSS_HUBER, .delta = INFINITY};
    ls_ops_serial.loss(&half, B, N, plain, plain_dz, z, &targets);
    ls_ops_serial.loss(&huber, B, N, loss, dz, z, &targets);
    expect_same("dz", &ls_ops_serial, 1, "huber without an end", B * N, dz, plain_dz);
    free(z);
    free(labels);
}

Test(ops_loss, without_samples)
{
    const struct ls_targets targets = {.labels = NULL};
    for (int kind = LS_LOSS_SOFTMAX; kind <= LS_LOSS_HINGE; kind++) {
        const struct ls_loss_rule rule = {.kind = (enum ls_loss)kind, .delta = 1.0f};
        ls_ops_serial.loss(&rule, 0, 3, NULL, NULL, NULL, &targets);
        FOR_EACH_IMPLEMENTATION(ops, threads)
        ops->loss(&rule, 0, 3, NULL, NULL, NULL, &targets);
    }
}

/* --- the right values --- */

struct by_hand {
    struct ls_loss_rule rule;
    int N;
    float z[4];
    int32_t label;
    const float *values; /* instead of the label */
    double loss, dz[4];
};

static const float no_weight[] = {2.0f, 0.5f, 0.0f};
static const float three_values[] = {0.0f, 1.0f, -1.0f};

/* Logarithms of powers of two make whole softmax probabilities: z = ln 2 * (2, 1, 1) has 1/2, 1/4, 1/4. */
#define LN2 0.69314718f
static const struct by_hand cases[] = {
    {{.kind = LS_LOSS_SOFTMAX}, 3, {2 * LN2, LN2, LN2}, 1, NULL, 1.38629436, {0.5, -0.75, 0.25}},
    /* targets 0.1, 0.8, 0.1: 0.2 ln 2 + 0.8 * 2 ln 2 more or less */
    {{.kind = LS_LOSS_SOFTMAX, .smoothing = 0.3f},
     3,
     {2 * LN2, LN2, LN2},
     1,
     NULL,
     (0.1 * 1 + 0.9 * 2) * 0.69314718,
     {0.4, -0.55, 0.15}},
    {{.kind = LS_LOSS_SOFTMAX, .class_weights = no_weight, .n_classes = 3},
     3,
     {2 * LN2, LN2, LN2},
     1,
     NULL,
     0.69314718,
     {0.25, -0.375, 0.125}},
    {{.kind = LS_LOSS_SOFTMAX, .class_weights = no_weight, .n_classes = 3},
     3,
     {2 * LN2, LN2, LN2},
     2,
     NULL,
     0,
     {0, 0, 0}},
    /* d = 0.5, -3, 1: 0.125 + 2.5 + 0.5 */
    {{.kind = LS_LOSS_HUBER, .delta = 1.0f}, 3, {0.5f, -2.0f, 0.0f}, 0, three_values, 3.125, {0.5, -1, 1}},
    /* 0.25 (0.5 - 0.125) + 0.25 (3 - 0.125) + 0.25 (1 - 0.125) */
    {{.kind = LS_LOSS_HUBER, .delta = 0.25f},
     3,
     {0.5f, -2.0f, 0.0f},
     0,
     three_values,
     1.03125,
     {0.25, -0.25, 0.25}},
    /* a one-hot label: d = 0.5, -3, 0 */
    {{.kind = LS_LOSS_HUBER, .delta = 1.0f}, 3, {0.5f, -2.0f, 0.0f}, 1, NULL, 2.625, {0.5, -1, 0}},
    /* margins 1 + z_j - z_0: -0.5, 1.75, 0 */
    {{.kind = LS_LOSS_HINGE}, 4, {2.0f, 0.5f, 2.75f, 1.0f}, 0, NULL, 1.75, {-1, 0, 1, 0}},
    {{.kind = LS_LOSS_HINGE}, 4, {2.0f, 0.5f, 2.75f, 1.0f}, 3, NULL, 2 + 0.5 + 2.75, {1, 1, 1, -3}},
    {{.kind = LS_LOSS_HINGE}, 2, {3.0f, -3.0f}, 0, NULL, 0, {0, 0}},
    {{.kind = LS_LOSS_HINGE, .class_weights = no_weight, .n_classes = 3},
     3,
     {0.0f, 0.0f, 0.0f},
     0,
     NULL,
     4,
     {-4, 2, 2}},
    /* one output: t z = -0.25 and 0.25 */
    {{.kind = LS_LOSS_HINGE}, 1, {-0.25f}, 1, NULL, 1.25, {-1}},
    {{.kind = LS_LOSS_HINGE}, 1, {-0.25f}, 0, NULL, 0.75, {1}},
    {{.kind = LS_LOSS_HINGE}, 1, {-1.0f}, 0, NULL, 0, {0}},
    {{.kind = LS_LOSS_BCE, .class_weights = no_weight, .n_classes = 2},
     1,
     {0.0f},
     1,
     NULL,
     0.5 * 0.69314718,
     {-0.25}},
    {{.kind = LS_LOSS_SQUARED, .class_weights = no_weight, .n_classes = 2},
     2,
     {3.0f, 1.0f},
     0,
     NULL,
     10,
     {8, 4}},
};

Test(ops_loss, values_by_hand)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct by_hand *c = &cases[i];
        const struct ls_targets targets = {.labels = c->values ? NULL : &c->label, .values = c->values};
        float loss = NAN, dz[4];
        ls_ops_serial.loss(&c->rule, 1, c->N, &loss, dz, c->z, &targets);
        cr_assert(fabs((double)loss - c->loss) < 1e-6, "case %zu: loss %.9g, expected %.9g", i, (double)loss,
                  c->loss);
        for (int j = 0; j < c->N; j++)
            cr_assert(fabs((double)dz[j] - c->dz[j]) < 1e-6, "case %zu: dz[%d] %.9g, expected %.9g", i, j,
                      (double)dz[j], c->dz[j]);
    }
}

/* --- dz is the derivative of the loss --- */

/* Central differences in binary32 with a step of 2^-6: losses of a few outputs near 1 carry 2^-23, so the
 * quotient is good to about 1e-4; bends of huber and hinge are kept away from. */
static void check_derivative(const struct ls_loss_rule *rule, ptrdiff_t N, int with_values)
{
    const float h = 0x1p-6f;
    float z[20], t[20], dz[20], unused[20];
    for (ptrdiff_t j = 0; j < N; j++) {
        z[j] = 0.31f * (float)((j * 7) % 9) - 1.1f;
        t[j] = 0.13f * (float)((j * 5) % 8);
    }
    for (int32_t label = 0; label < (N > 1 ? N : 2); label++) {
        const struct ls_targets targets = {.labels = with_values ? NULL : &label,
                                           .values = with_values ? t : NULL};
        float loss = NAN;
        ls_ops_serial.loss(rule, 1, N, &loss, dz, z, &targets);
        for (ptrdiff_t j = 0; j < N; j++) {
            const float here = z[j];
            float above = NAN, below = NAN;
            z[j] = here + h;
            ls_ops_serial.loss(rule, 1, N, &above, unused, z, &targets);
            z[j] = here - h;
            ls_ops_serial.loss(rule, 1, N, &below, NULL, z, &targets);
            z[j] = here;
            const double numerical = ((double)above - (double)below) / (2 * (double)h);
            cr_assert(fabs(numerical - (double)dz[j]) < 1e-3,
                      "loss %d, N %td, label %d: dz[%td] %.6g, numerical %.6g", (int)rule->kind, N, label, j,
                      (double)dz[j], numerical);
        }
    }
}

Test(ops_loss, gradients_are_derivatives)
{
    static const float weights[] = {0.5f, 2.0f, 1.0f, 0.0f, 1.5f};
    for (int kind = LS_LOSS_SOFTMAX; kind <= LS_LOSS_HINGE; kind++)
        for (int weighted = 0; weighted < 2; weighted++)
            for (ptrdiff_t N = kind == LS_LOSS_SOFTMAX ? 2 : 1; N <= 5; N += N == 1 ? 1 : 3) {
                const struct ls_loss_rule rule = {.kind = (enum ls_loss)kind,
                                                  .smoothing = kind == LS_LOSS_SOFTMAX ? 0.2f : 0.0f,
                                                  .delta = 0.77f,
                                                  .class_weights = weighted ? weights : NULL,
                                                  .n_classes = COUNT(weights)};
                check_derivative(&rule, N, 0);
                if (!needs_labels(&rule))
                    check_derivative(&rule, N, 1);
            }
}
