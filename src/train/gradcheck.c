/* Owns the comparison; the two gradients come from model/execute.c and model/reference64.c. */
#include "train/gradcheck.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/timer.h"
#include "model/reference64.h"

/* Both sides' buffers. */
struct bench {
    const struct ls_gradcheck_case *check;
    struct ls_activations act;
    float *sample_loss, *gradient;
    double *parameters, *x, *scratch;
};

static enum ls_code set_up(struct bench *bench, struct ls_error *err)
{
    const struct ls_gradcheck_case *check = bench->check;
    const struct ls_net *net = check->net;
    const size_t n_inputs = (size_t)(check->B * net->in.count);
    enum ls_code code = ls_activations_create(&bench->act, net, check->B, 1, err);
    if (code != LS_OK)
        return code;
    bench->sample_loss = ls_alloc((size_t)check->B, sizeof(float), "losses", err);
    bench->gradient = ls_alloc((size_t)net->n_floats, sizeof(float), "gradient", err);
    bench->parameters = ls_alloc((size_t)net->n_floats, sizeof(double), "parameters", err);
    bench->x = ls_alloc(n_inputs, sizeof(double), "inputs", err);
    bench->scratch = ls_alloc((size_t)ls_reference64_scratch(net), sizeof(double), "scratch", err);
    if (!bench->sample_loss || !bench->gradient || !bench->parameters || !bench->x || !bench->scratch)
        return LS_FAILED;
    for (ptrdiff_t i = 0; i < net->n_floats; i++)
        bench->parameters[i] = (double)check->parameters[i];
    for (size_t i = 0; i < n_inputs; i++)
        bench->x[i] = (double)check->x[i];
    memcpy(bench->act.x, check->x, n_inputs * sizeof(float));
    return LS_OK;
}

static void tear_down(struct bench *bench)
{
    ls_activations_release(&bench->act);
    ls_free(bench->sample_loss);
    ls_free(bench->gradient);
    ls_free(bench->parameters);
    ls_free(bench->x);
    ls_free(bench->scratch);
}

/* Fills bench->gradient with summed gradients and returns those of the input. */
static const float *analytic(struct bench *bench)
{
    const struct ls_gradcheck_case *check = bench->check;
    const struct ls_gradient_part all = {.begin = 0, .end = check->B, .flat = bench->gradient};
    const struct ls_pass pass = ls_pass_alone(&bench->act, check->B, check->microbatch, &all);
    const float *z = ls_forward(check->net, check->ops, check->parameters, &bench->act, check->B, &pass);
    check->ops->loss(&check->loss, check->B, check->net->out.count, bench->sample_loss,
                     ls_output_gradient(&bench->act), z, &check->targets);
    return ls_backward(check->net, check->ops, check->parameters, &bench->act, check->B, &pass, 1);
}

static double loss64(const struct bench *bench)
{
    const struct ls_gradcheck_case *check = bench->check;
    return ls_reference64_loss(check->net, &check->loss, check->B, bench->x, bench->parameters,
                               &check->targets, bench->scratch);
}

static double central_difference(const struct bench *bench, double *element)
{
    const double here = *element, h = bench->check->h;
    *element = here + h;
    const double above = loss64(bench);
    *element = here - h;
    const double below = loss64(bench);
    *element = here;
    return (above - below) / (2 * h);
}

static double relative_error(double a, double n, double scale)
{
    if (!isfinite(a) || !isfinite(n))
        return INFINITY;
    const double size = fmax(fmax(fabs(a), fabs(n)), scale / 100);
    return size > 0 ? fabs(a - n) / size : 0;
}

/* Compares n elements: `sums` holds analytic gradients of the summed loss, `variables` what the loss depends
 * on. */
static enum ls_code compare(const struct bench *bench, struct ls_gradcheck_result *result, const float *sums,
                            double *variables, ptrdiff_t n, struct ls_error *err)
{
    const ptrdiff_t most = bench->check->most_elements;
    const ptrdiff_t checked = most > 0 && most < n ? most : n;
    double *numerical = ls_alloc((size_t)checked, sizeof *numerical, "numerical gradient", err);
    if (!numerical)
        return LS_FAILED;
    const double began = ls_now_s();
    double largest = 0;
    for (ptrdiff_t i = 0; i < checked; i++) {
        numerical[i] = central_difference(bench, &variables[i * n / checked]);
        largest = fmax(largest, fabs(numerical[i]));
    }
    result->numerical_s = ls_now_s() - began;
    result->n_elements = n;
    result->n_checked = checked;
    result->worst = -1;
    for (ptrdiff_t i = 0; i < checked; i++) {
        const ptrdiff_t at = i * n / checked;
        const double a = (double)sums[at] / (double)bench->check->B;
        const double error = relative_error(a, numerical[i], largest);
        if (error > result->worst) {
            result->worst = error;
            result->worst_at = at;
            result->analytic = a;
            result->numerical = numerical[i];
        }
    }
    ls_free(numerical);
    return LS_OK;
}

enum ls_code ls_gradcheck(const struct ls_gradcheck_case *check, struct ls_gradcheck_report *report,
                          struct ls_error *err)
{
    const struct ls_net *net = check->net;
    struct bench bench = {.check = check};
    *report = (struct ls_gradcheck_report){.n = net->n_tensors + 1};
    report->results = ls_alloc((size_t)report->n, sizeof *report->results, "results", err);
    enum ls_code code = report->results ? set_up(&bench, err) : LS_FAILED;
    const float *dx = NULL;
    if (code == LS_OK) {
        const double began = ls_now_s();
        dx = analytic(&bench);
        report->analytic_s = ls_now_s() - began;
    }
    for (int t = 0; code == LS_OK && t < net->n_tensors; t++) {
        const struct ls_parameter *tensor = &net->tensors[t];
        snprintf(report->results[t].name, sizeof report->results[t].name, "%s", tensor->name);
        code = compare(&bench, &report->results[t], bench.gradient + tensor->offset,
                       bench.parameters + tensor->offset, tensor->count, err);
    }
    if (code == LS_OK) {
        struct ls_gradcheck_result *input = &report->results[net->n_tensors];
        snprintf(input->name, sizeof input->name, "input");
        code = compare(&bench, input, dx, bench.x, check->B * net->in.count, err);
    }
    tear_down(&bench);
    if (code != LS_OK)
        ls_gradcheck_release(report);
    return code;
}

void ls_gradcheck_release(struct ls_gradcheck_report *report)
{
    ls_free(report->results);
    *report = (struct ls_gradcheck_report){0};
}
