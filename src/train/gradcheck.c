/* Owns the comparison; the two gradients come from model/execute.c and model/reference64.c. */
#include "train/gradcheck.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/timer.h"
#include "model/reference64.h"

/* What the loss depends on, and its gradient: a tensor or the input. */
struct variable {
    struct ls_gradcheck_result *result;
    int first_layer; /* what it goes into */
    int is_vector;   /* a bias, or a norm's gamma or beta */
    double *values;
    ptrdiff_t n;
    const float *sums; /* (n) analytic gradients of the summed loss */
    double *numerical; /* (result->n_checked) */
    double largest;    /* of them */
};

/* Both sides' buffers. */
struct bench {
    const struct ls_gradcheck_case *check;
    struct ls_activations act;
    struct ls_reference64 reference;
    struct variable *variables; /* (net->n_tensors + 1), the input at the end */
    float *sample_loss, *gradient;
    double *parameters, *x;
};

static enum ls_code set_up(struct bench *bench, struct ls_error *err)
{
    const struct ls_gradcheck_case *check = bench->check;
    const struct ls_net *net = check->net;
    const size_t n_inputs = (size_t)(check->B * net->in.count);
    enum ls_code code = ls_activations_create(&bench->act, net, check->B, 1, err);
    if (code == LS_OK)
        code = ls_reference64_create(&bench->reference, net, check->B, err);
    if (code != LS_OK)
        return code;
    bench->variables = ls_alloc((size_t)net->n_tensors + 1, sizeof *bench->variables, "tensors", err);
    bench->sample_loss = ls_alloc((size_t)check->B, sizeof(float), "losses", err);
    bench->gradient = ls_alloc((size_t)net->n_floats, sizeof(float), "gradient", err);
    bench->parameters = ls_alloc((size_t)net->n_floats, sizeof(double), "parameters", err);
    bench->x = ls_alloc(n_inputs, sizeof(double), "inputs", err);
    if (!bench->variables || !bench->sample_loss || !bench->gradient || !bench->parameters || !bench->x)
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
    ls_reference64_release(&bench->reference);
    for (int i = 0; bench->variables && i <= bench->check->net->n_tensors; i++)
        ls_free(bench->variables[i].numerical);
    ls_free(bench->variables);
    ls_free(bench->sample_loss);
    ls_free(bench->gradient);
    ls_free(bench->parameters);
    ls_free(bench->x);
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

/* The variables in the order of the report. */
static void list_variables(struct bench *bench, struct ls_gradcheck_result *results, const float *dx)
{
    const struct ls_net *net = bench->check->net;
    for (int i = 0; i < net->n_layers; i++)
        for (int t = net->layers[i].first_tensor; t < net->layers[i].first_tensor + net->layers[i].n_tensors;
             t++) {
            const struct ls_parameter *tensor = &net->tensors[t];
            snprintf(results[t].name, sizeof results[t].name, "%s", tensor->name);
            results[t].is_state = tensor->is_state;
            bench->variables[t] = (struct variable){.result = &results[t],
                                                    .first_layer = i,
                                                    .is_vector = tensor->is_bias || tensor->is_norm,
                                                    .values = bench->parameters + tensor->offset,
                                                    .n = tensor->count,
                                                    .sums = bench->gradient + tensor->offset};
        }
    struct ls_gradcheck_result *input = &results[net->n_tensors];
    snprintf(input->name, sizeof input->name, "input");
    bench->variables[net->n_tensors] = (struct variable){
        .result = input, .values = bench->x, .n = bench->check->B * net->in.count, .sums = dx};
}

static double loss64(const struct bench *bench, int first_layer)
{
    const struct ls_gradcheck_case *check = bench->check;
    return ls_reference64_loss(&bench->reference, first_layer, &check->loss, bench->x, bench->parameters,
                               &check->targets);
}

static double central_difference(const struct bench *bench, const struct variable *variable, double *element)
{
    const double here = *element, h = bench->check->h;
    *element = here + h;
    const double above = loss64(bench, variable->first_layer);
    *element = here - h;
    const double below = loss64(bench, variable->first_layer);
    *element = here;
    return (above - below) / (2 * h);
}

/* Which element is the i-th checked. */
static ptrdiff_t checked_element(const struct variable *variable, ptrdiff_t i)
{
    return i * variable->n / variable->result->n_checked;
}

static enum ls_code differentiate(const struct bench *bench, struct variable *variable, struct ls_error *err)
{
    const ptrdiff_t most = bench->check->most_elements, n = variable->n;
    struct ls_gradcheck_result *result = variable->result;
    result->n_elements = n;
    if (result->is_state)
        return LS_OK;
    result->n_checked = most > 0 && most < n ? most : n;
    variable->numerical =
        ls_alloc((size_t)result->n_checked, sizeof *variable->numerical, "numerical gradient", err);
    if (!variable->numerical)
        return LS_FAILED;
    const double began = ls_now_s();
    loss64(bench, 0); /* the layers before this one as they are: the variable before has moved some */
    for (ptrdiff_t i = 0; i < result->n_checked; i++) {
        double *element = &variable->values[checked_element(variable, i)];
        variable->numerical[i] = central_difference(bench, variable, element);
        variable->largest = fmax(variable->largest, fabs(variable->numerical[i]));
    }
    result->numerical_s = ls_now_s() - began;
    return LS_OK;
}

static double relative_error(double a, double n, double least)
{
    if (!isfinite(a) || !isfinite(n))
        return INFINITY;
    const double size = fmax(fmax(fabs(a), fabs(n)), least);
    return size > 0 ? fabs(a - n) / size : 0;
}

static void compare(const struct bench *bench, const struct variable *variable, double largest_in_layer)
{
    const double own = variable->largest / 100, layers = variable->is_vector ? largest_in_layer / 10 : 0;
    struct ls_gradcheck_result *result = variable->result;
    if (result->is_state)
        return;
    result->worst = -1;
    for (ptrdiff_t i = 0; i < result->n_checked; i++) {
        const ptrdiff_t at = checked_element(variable, i);
        const double a = (double)variable->sums[at] / (double)bench->check->B;
        const double error = relative_error(a, variable->numerical[i], fmax(own, layers));
        if (error > result->worst) {
            result->worst = error;
            result->worst_at = at;
            result->analytic = a;
            result->numerical = variable->numerical[i];
        }
    }
}

/* The largest numerical gradient of a layer's tensors, which `variables` begins with. */
static double largest_of(const struct variable *variables, int n)
{
    double largest = 0;
    for (int t = 0; t < n; t++)
        largest = fmax(largest, variables[t].largest);
    return largest;
}

static void compare_all(const struct bench *bench)
{
    const struct ls_net *net = bench->check->net;
    for (int i = 0; i < net->n_layers; i++) {
        const struct variable *mine = bench->variables + net->layers[i].first_tensor;
        for (int t = 0; t < net->layers[i].n_tensors; t++)
            compare(bench, &mine[t], largest_of(mine, net->layers[i].n_tensors));
    }
    const struct variable *input = &bench->variables[net->n_tensors];
    compare(bench, input, 0);
}

enum ls_code ls_gradcheck(const struct ls_gradcheck_case *check, struct ls_gradcheck_report *report,
                          struct ls_error *err)
{
    struct bench bench = {.check = check};
    *report = (struct ls_gradcheck_report){.n = check->net->n_tensors + 1};
    report->results = ls_alloc((size_t)report->n, sizeof *report->results, "results", err);
    enum ls_code code = report->results ? set_up(&bench, err) : LS_FAILED;
    if (code == LS_OK) {
        const double began = ls_now_s();
        const float *dx = analytic(&bench);
        report->analytic_s = ls_now_s() - began;
        list_variables(&bench, report->results, dx);
    }
    for (int i = 0; code == LS_OK && i < report->n; i++)
        code = differentiate(&bench, &bench.variables[i], err);
    if (code == LS_OK)
        compare_all(&bench);
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
