/* The gradient check: it passes on right operations, and on wrong ones it points at the tensor.
 *
 * A check that cannot fail proves nothing, so most of this file breaks one operation at a time and names the
 * tensors that must and must not be reported. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "launch.h"
#include "train/gradcheck.h"

enum { B = 37, K = 11, MOST_WIDE = 64, LIMIT_S = 60 };

static const double tolerance = 1e-4; /* a tenth of the command's default */
static struct ls_error err;
static struct ls_gradcheck_report report;

/* A net with parameters and a batch, all from a formula: nothing near a kink of relu. */
struct problem {
    struct ls_net net;
    struct ls_loss_rule loss;
    float *parameters;
    float x[B * K], values[B * MOST_WIDE];
    int32_t labels[B];
    int with_values;
};

static float wave(ptrdiff_t i)
{
    return (float)sin(0.7 * (double)i + 0.3);
}

static struct problem *problem_create(const char *net, struct ls_loss_rule loss, int with_values)
{
    const ptrdiff_t in = K;
    const struct ls_init init = {.kind = LS_INIT_XAVIER};
    struct problem *p = calloc(1, sizeof *p);
    cr_assert(ls_net_create(&p->net, net, ls_shape_of(1, &in), &err) == LS_OK, "%s", err.text);
    cr_assert(p->net.out.count <= MOST_WIDE);
    p->loss = loss;
    p->with_values = with_values;
    p->parameters = calloc((size_t)p->net.n_floats, sizeof(float));
    ls_net_initialise(&p->net, &init, 3, p->parameters);
    for (int t = 0; t < p->net.n_tensors; t++) /* biases that are not zero */
        for (ptrdiff_t i = 0; p->net.tensors[t].is_bias && i < p->net.tensors[t].count; i++)
            p->parameters[p->net.tensors[t].offset + i] = 0.2f * wave(i + t);
    for (ptrdiff_t i = 0; i < B * K; i++)
        p->x[i] = wave(i);
    for (ptrdiff_t i = 0; i < B * MOST_WIDE; i++)
        p->values[i] = 0.5f + 0.5f * wave(3 * i);
    for (ptrdiff_t b = 0; b < B; b++)
        p->labels[b] = (int32_t)(7 * b % (p->net.out.count > 1 ? p->net.out.count : 2));
    return p;
}

static void problem_destroy(struct problem *p)
{
    ls_net_release(&p->net);
    free(p->parameters);
    free(p);
}

static void check(const struct problem *p, const struct ls_ops *ops)
{
    const struct ls_gradcheck_case one = {
        .net = &p->net,
        .ops = ops,
        .loss = p->loss,
        .parameters = p->parameters,
        .B = B,
        .x = p->x,
        .targets = {.labels = p->with_values ? NULL : p->labels, .values = p->with_values ? p->values : NULL},
        .microbatch = 8,
        .h = 1e-5,
    };
    cr_assert(ls_gradcheck(&one, &report, &err) == LS_OK, "%s", err.text);
    cr_assert(report.n == p->net.n_tensors + 1 && strcmp(report.results[report.n - 1].name, "input") == 0);
}

static double worst(const char *tensor)
{
    for (int i = 0; i < report.n; i++)
        if (strcmp(report.results[i].name, tensor) == 0)
            return report.results[i].worst;
    cr_assert_fail("no result for '%s'", tensor);
    return NAN;
}

/* --- right operations --- */

static void passes_with(const char *net, struct ls_loss_rule loss, int with_values, const struct ls_ops *ops)
{
    struct problem *p = problem_create(net, loss, with_values);
    check(p, ops);
    for (int i = 0; i < report.n; i++) {
        const struct ls_gradcheck_result *r = &report.results[i];
        cr_assert(r->n_checked == r->n_elements && r->worst >= 0 && r->worst < tolerance,
                  "'%s', loss %d, %s: '%s' is off by %g at %td: %.9g, numerical %.9g", net, (int)loss.kind,
                  ops->name, r->name, r->worst, r->worst_at, r->analytic, r->numerical);
    }
    ls_gradcheck_release(&report);
    problem_destroy(p);
}

static void passes(const char *net, enum ls_loss loss, int with_values, const struct ls_ops *ops)
{
    passes_with(net, (struct ls_loss_rule){.kind = loss}, with_values, ops);
}

static void all_pass(const struct ls_ops *ops)
{
    static const float weights[] = {0.5f, 2.0f, 0.0f, 1.25f, 3.0f};
    const struct ls_loss_rule smooth = {.kind = LS_LOSS_SOFTMAX, .smoothing = 0.1f},
                              huber = {.kind = LS_LOSS_HUBER, .delta = 0.5f},
                              weighted = {.kind = LS_LOSS_SOFTMAX, .class_weights = weights, .n_classes = 5},
                              both = {.kind = LS_LOSS_SOFTMAX,
                                      .smoothing = 0.3f,
                                      .class_weights = weights,
                                      .n_classes = 5},
                              weighted_hinge = {
                                  .kind = LS_LOSS_HINGE, .class_weights = weights, .n_classes = 5};
    passes_with("dense 6, tanh, dense 5", smooth, 0, ops);
    passes_with("dense 6, tanh, dense 4", huber, 1, ops);
    passes_with("dense 6, tanh, dense 4", huber, 0, ops);
    passes_with("dense 5", weighted, 0, ops);
    passes_with("dense 6, sigmoid, dense 5", both, 0, ops);
    passes_with("dense 6, tanh, dense 5", weighted_hinge, 0, ops);
    passes("dense 7, tanh, dense 6", LS_LOSS_HINGE, 0, ops);
    passes("dense 7, tanh, dense 1", LS_LOSS_HINGE, 0, ops);
    passes("dense 5", LS_LOSS_SOFTMAX, 0, ops);
    passes("dense 16, tanh, dense 9, sigmoid, dense 4", LS_LOSS_SOFTMAX, 0, ops);
    passes("dense 17, relu, dense 3 nobias", LS_LOSS_SQUARED, 1, ops);
    passes("dense 6, tanh, dense 4", LS_LOSS_SQUARED, 0, ops);
    passes("tanh, dense 7 nobias, sigmoid", LS_LOSS_HALF_SQUARED, 1, ops);
    passes("dense 9, sigmoid, dense 1", LS_LOSS_BCE, 0, ops);
    passes("dense 9, tanh, dense 12", LS_LOSS_BCE, 1, ops);
}

Test(gradcheck, passes_with_the_oracle, .timeout = LIMIT_S)
{
    all_pass(&ls_ops_serial);
}

Test(gradcheck, passes_with_every_isa, .timeout = LIMIT_S)
{
    ls_ops_set_threads(2);
    for (const char *const *isa = ls_ops_isas(); *isa; isa++)
        all_pass(ls_ops_parallel(*isa));
}

/* --- one wrong operation --- */

/* With the textbook's error: the derivative 1 - z^2 taken of something else than the output. */
static void wrong_tanh(enum ls_activation act, float slope, ptrdiff_t n, float *dz, const float *dy,
                       const float *y)
{
    if (act != LS_ACT_TANH) {
        ls_ops_serial.activation_backward(act, slope, n, dz, dy, y);
        return;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        dz[i] = dy[i] * (1.0f - y[i]);
}

static void wrong_input_gradient(struct ls_dense_shape shape, float *dx, const float *dz, const float *w,
                                 enum ls_activation act, const float *x)
{
    ls_ops_serial.dense_input_gradient(shape, dx, dz, w, LS_ACT_NONE, NULL);
    wrong_tanh(act, 0.0f, shape.B * shape.K, dx, dx, x);
}

/* dw laid out as (N,K), what a (out, in) convention would give. */
static void transposed_weight_gradient(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db,
                                       const float *x, const float *dz)
{
    float *right = calloc((size_t)(shape.K * shape.N), sizeof *right);
    ls_ops_serial.dense_weight_gradient(shape, m, right, db, x, dz);
    for (ptrdiff_t k = 0; k < shape.K; k++)
        for (ptrdiff_t j = 0; j < shape.N; j++)
            dw[j * shape.K + k] = right[k * shape.N + j];
    free(right);
}

static void no_bias_gradient(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db, const float *x,
                             const float *dz)
{
    ls_ops_serial.dense_weight_gradient(shape, m, dw, db, x, dz);
    if (db)
        memset(db, 0, (size_t)shape.N * sizeof *db);
}

/* The leaves but the last: what a wrong remainder does. */
static void last_leaf_lost(struct ls_dense_shape shape, ptrdiff_t m, float *dw, float *db, const float *x,
                           const float *dz)
{
    shape.B = shape.B / m * m;
    ls_ops_serial.dense_weight_gradient(shape, m, dw, db, x, dz);
}

/* The 2 of the squared error forgotten. */
static void half_the_loss_gradient(const struct ls_loss_rule *rule, ptrdiff_t rows, ptrdiff_t N, float *loss,
                                   float *dz, const float *z, const struct ls_targets *targets)
{
    ls_ops_serial.loss(rule, rows, N, loss, dz, z, targets);
    for (ptrdiff_t i = 0; dz && i < rows * N; i++)
        dz[i] *= 0.5f;
}

static void not_finite(const struct ls_loss_rule *rule, ptrdiff_t rows, ptrdiff_t N, float *loss, float *dz,
                       const float *z, const struct ls_targets *targets)
{
    ls_ops_serial.loss(rule, rows, N, loss, dz, z, targets);
    dz[0] = NAN;
}

static const char *const net = "dense 8, tanh, dense 5";

/* Every tensor of `wrong` is above the tolerance, all others are below. */
static void reports(const char *what, const struct ls_ops *ops, enum ls_loss loss, const char *const wrong[])
{
    struct problem *p = problem_create(net, (struct ls_loss_rule){.kind = loss}, 0);
    check(p, ops);
    int n_wrong = 0;
    for (int i = 0; wrong[i]; i++, n_wrong++)
        cr_assert(worst(wrong[i]) > 100 * tolerance, "%s: '%s' is off by only %g", what, wrong[i],
                  worst(wrong[i]));
    for (int i = 0; i < report.n; i++)
        n_wrong -= !(report.results[i].worst < tolerance);
    cr_assert(n_wrong == 0, "%s: %d tensors more than expected are reported", what, -n_wrong);
    ls_gradcheck_release(&report);
    problem_destroy(p);
}

#define TENSORS(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(gradcheck, a_broken_tanh_is_reported_below_it, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.dense_input_gradient = wrong_input_gradient;
    ops.activation_backward = wrong_tanh;
    reports("tanh", &ops, LS_LOSS_SOFTMAX, TENSORS("0.weight", "0.bias", "input"));
}

Test(gradcheck, a_transposed_gradient_is_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.dense_weight_gradient = transposed_weight_gradient;
    reports("transposed", &ops, LS_LOSS_SOFTMAX, TENSORS("0.weight", "2.weight"));
}

Test(gradcheck, a_missing_bias_gradient_is_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.dense_weight_gradient = no_bias_gradient;
    reports("no bias", &ops, LS_LOSS_SOFTMAX, TENSORS("0.bias", "2.bias"));
}

Test(gradcheck, a_lost_leaf_is_reported, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.dense_weight_gradient = last_leaf_lost;
    reports("last leaf", &ops, LS_LOSS_SOFTMAX, TENSORS("0.weight", "0.bias", "2.weight", "2.bias"));
}

Test(gradcheck, a_wrong_loss_gradient_is_reported_everywhere, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.loss = half_the_loss_gradient;
    reports("loss", &ops, LS_LOSS_SQUARED, TENSORS("0.weight", "0.bias", "2.weight", "2.bias", "input"));
}

Test(gradcheck, a_nan_is_not_within_any_tolerance, .timeout = LIMIT_S)
{
    struct ls_ops ops = ls_ops_serial;
    ops.loss = not_finite;
    struct problem *p = problem_create(net, (struct ls_loss_rule){.kind = LS_LOSS_SOFTMAX}, 0);
    check(p, &ops);
    cr_assert(worst("2.bias") == INFINITY && worst("input") == INFINITY, "%g %g", worst("2.bias"),
              worst("input"));
    ls_gradcheck_release(&report);
    problem_destroy(p);
}

/* --- the command --- */

static struct ls_outcome outcome;

#define GRADCHECK(...)                                                                                       \
    ls_launch(&outcome, LIMIT_S, NULL, LS_ARGV(LS_BUILD "/lockstep", "gradcheck", __VA_ARGS__))

Test(gradcheck, the_command_prints_every_tensor_and_succeeds, .timeout = LIMIT_S + 20)
{
    static const char *const expected[] = {"0.weight ", "0.bias ",   "2.weight ", "2.bias ",
                                           "input ",    "200/2048",  "32/32",     "worst",
                                           "analytic",  "numerical", "cost ",     "numerical "};
    GRADCHECK("--net", "dense 32, tanh, dense 10");
    cr_assert(outcome.status == 0 && !*outcome.err, "status %d\n%s%s", outcome.status, outcome.out,
              outcome.err);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        cr_assert(strstr(outcome.out, expected[i]), "no '%s' in\n%s", expected[i], outcome.out);
    cr_assert(!strstr(outcome.out, "TOO LARGE"), "%s", outcome.out);
}

Test(gradcheck, the_command_fails_above_the_tolerance, .timeout = LIMIT_S + 20)
{
    GRADCHECK("--tolerance", "1e-12", "--elements", "20");
    cr_assert(outcome.status == 1 && !*outcome.err, "status %d\n%s%s", outcome.status, outcome.out,
              outcome.err);
    cr_assert(strstr(outcome.out, "TOO LARGE") &&
                  strstr(outcome.out, "5 of 5 tensors are above the tolerance 1e-12"),
              "%s", outcome.out);
}

Test(gradcheck, the_command_knows_every_loss_and_layer, .timeout = LIMIT_S + 20)
{
    static const char *const nets[] = {"dense 12, relu, dense 10", "dense 9, sigmoid, dense 10 nobias",
                                       "dense 10, tanh"};
    static const char *const losses[] = {"softmax", "squared", "half-squared", "bce", "huber", "hinge"};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 6; j++) {
            GRADCHECK("--net", nets[i], "--loss", losses[j], "--elements", "15", "--samples", "9",
                      "--microbatch", "4", j % 2 ? "--serial" : "--threads=1");
            cr_assert(outcome.status == 0, "%s, %s: status %d\n%s%s", nets[i], losses[j], outcome.status,
                      outcome.out, outcome.err);
        }
}
