/* First weights: where numbers lie, their mean and deviation, biases, and what is keyed by what. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/net.h"

enum { IN = 160, OUT = 100, N = IN * OUT };

static struct ls_error err;

/* A net of one matrix of N weights and OUT biases. */
static float *first_weights(struct ls_net *net, const char *how, float bias, uint64_t seed)
{
    struct ls_init init;
    cr_assert_eq(ls_net_create(net, "dense 100", ls_shape_of(1, (const ptrdiff_t[]){IN}), &err), LS_OK, "%s",
                 err.text);
    cr_assert_eq(ls_init_parse(&init, how, &err), LS_OK, "%s", err.text);
    init.bias = bias;
    float *w = malloc((size_t)net->n_floats * sizeof *w);
    cr_assert(w && net->tensors[0].count == N && net->tensors[1].count == OUT);
    ls_net_initialise(net, &init, seed, w);
    return w;
}

struct moments {
    double mean, deviation, least, most;
};

static struct moments moments_of(const float *v, ptrdiff_t n)
{
    struct moments m = {.least = (double)v[0], .most = (double)v[0]};
    for (ptrdiff_t i = 0; i < n; i++)
        m.mean += (double)v[i] / (double)n;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double x = (double)v[i];
        m.deviation += (x - m.mean) * (x - m.mean) / (double)n;
        m.least = x < m.least ? x : m.least;
        m.most = x > m.most ? x : m.most;
    }
    m.deviation = sqrt(m.deviation);
    return m;
}

/* 16000 numbers: the mean is off by sigma / 126 at one deviation, sigma by at most sigma / 126 or so. */
Test(init, numbers_have_their_mean_deviation_and_bounds)
{
    static const struct {
        const char *how;
        double deviation, bound, reaches; /* reaches: some number is beyond */
    } cases[] = {
        {"normal=0.3", 0.3, 0.3 * 6, 0.3 * 3},
        /* 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.8796^2 */
        {"truncated-normal=0.3", 0.3 * 0.87962566, 0.3 * 2, 0.3 * 1.98},
        {"uniform=0.3", 0.3 / 1.7320508, 0.3, 0.3 * 0.998},
        {"he-uniform", 0.11180340, 0.19364917, 0.193},
        {"he-normal", 0.11180340, 0.11180340 * 6, 0.11180340 * 3},
        {"xavier-uniform", 0.08770580, 0.15191091, 0.1515},
        {"xavier-normal", 0.08770580, 0.08770580 * 6, 0.08770580 * 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct ls_net net;
            float *w = first_weights(&net, cases[i].how, 0.25f, seed);
            const struct moments m = moments_of(w + net.tensors[0].offset, N),
                                 b = moments_of(w + net.tensors[1].offset, OUT);
            const double sigma = cases[i].deviation, allowed = 4 * sigma / sqrt(N);
            cr_assert(fabs(m.mean) < allowed, "%s: mean %g", cases[i].how, m.mean);
            cr_assert(fabs(m.deviation - sigma) < allowed, "%s: deviation %g, not %g", cases[i].how,
                      m.deviation, sigma);
            cr_assert(m.most <= cases[i].bound * (1 + 1e-6) && m.least >= -cases[i].bound * (1 + 1e-6) &&
                          m.most > cases[i].reaches && m.least < -cases[i].reaches,
                      "%s: from %g to %g, bound %g", cases[i].how, m.least, m.most, cases[i].bound);
            cr_assert(b.least == 0.25 && b.most == 0.25, "%s: biases from %g to %g", cases[i].how, b.least,
                      b.most);
            free(w);
            ls_net_release(&net);
        }
}

/* Quantiles, so that the shape is that of the name: P(|Z| < 0.6745) is a half. */
Test(init, half_of_the_numbers_lie_where_half_must)
{
    static const struct {
        const char *how;
        double half;
    } cases[] = {{"normal=2", 2 * 0.67448975}, {"truncated-normal=2", 2 * 0.63963}, {"uniform=2", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ls_net net;
        float *w = first_weights(&net, cases[i].how, 0, 9);
        int within = 0;
        for (int k = 0; k < N; k++)
            within += fabs((double)w[net.tensors[0].offset + k]) < cases[i].half;
        cr_assert(abs(within - N / 2) < 4 * (int)sqrt(N / 4.0), "%s: %d of %d within %g", cases[i].how,
                  within, N, cases[i].half);
        free(w);
        ls_net_release(&net);
    }
}

Test(init, constants)
{
    static const struct {
        const char *how;
        float weight, bias;
    } cases[] = {{"zeros", 0, 0.5f},
                 {"constant=-3", -3, -3},
                 {"normal=0", 0, 0.5f},
                 {"uniform=0", 0, 0.5f},
                 {"truncated-normal=0", 0, 0.5f}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ls_net net;
        float *w = first_weights(&net, cases[i].how, 0.5f, 1);
        const struct moments m = moments_of(w + net.tensors[0].offset, N),
                             b = moments_of(w + net.tensors[1].offset, OUT);
        cr_assert(m.least == (double)cases[i].weight && m.most == (double)cases[i].weight &&
                      b.least == (double)cases[i].bias && b.most == (double)cases[i].bias,
                  "%s: weights %g to %g, biases %g to %g", cases[i].how, m.least, m.most, b.least, b.most);
        free(w);
        ls_net_release(&net);
    }
}

/* --init-bias is no business of gamma and beta of a norm. */
Test(init, norms_start_as_norms_do)
{
    struct ls_net net;
    struct ls_init init = {.kind = LS_INIT_ZEROS, .bias = 0.5f};
    cr_assert_eq(
        ls_net_create(&net, "dense 6, batchnorm, layernorm", ls_shape_of(1, (const ptrdiff_t[]){4}), &err),
        LS_OK, "%s", err.text);
    float *w = malloc((size_t)net.n_floats * sizeof *w);
    ls_net_initialise(&net, &init, 1, w);
    int ones = 0, zeros = 0, halves = 0;
    for (int t = 0; t < net.n_tensors; t++)
        for (ptrdiff_t i = 0; i < net.tensors[t].count; i++) {
            const float x = w[net.tensors[t].offset + i];
            ones += x == 1.0f;
            zeros += x == 0.0f;
            halves += x == 0.5f;
        }
    /* two gammas and a running variance; 24 weights, two betas and a running mean; the dense layer's biases
     */
    cr_assert(ones == 18 && zeros == 42 && halves == 6, "%d ones, %d zeros, %d halves", ones, zeros, halves);
    free(w);
    ls_net_release(&net);
}

Test(init, what_is_no_initialisation)
{
    static const struct {
        const char *how, *part;
    } cases[] = {
        {"he", "did you mean 'he-uniform'"},
        {"", "unknown initialisation ''"},
        {"normal", "unknown initialisation 'normal': did you mean 'normal=S'?"},
        {"no", "unknown initialisation 'no'"},
        {"norma=1", "unknown initialisation 'norma=1'"},
        {"normal=", "'' is no finite number"},
        {"normal=x", "'x' is no finite number"},
        {"normal=-1", "'-1' must not be negative"},
        {"uniform=-0.1", "'-0.1' must not be negative"},
        {"truncated-normal=nan", "'nan' is no finite number"},
        {"uniform=inf", "'inf' is no finite number"},
        {"zeros=1", "unknown initialisation 'zeros=1'"},
        {"=1", "unknown initialisation '=1'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ls_init init;
        err.text[0] = '\0';
        cr_assert_eq(ls_init_parse(&init, cases[i].how, &err), LS_USAGE, "'%s' is accepted", cases[i].how);
        cr_assert(strstr(err.text, cases[i].part), "'%s': %s", cases[i].how, err.text);
    }
}
