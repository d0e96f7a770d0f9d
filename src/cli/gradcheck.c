/* lockstep gradcheck: is backpropagation right? */
#include "cli/cli.h"
#include "cli/loss_options.h"
#include "cli/session.h"

#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "model/examples.h"
#include "train/gradcheck.h"
#include "train/model_file.h"
#include "train/step.h"

struct gradcheck_options {
    struct ls_session_options session;
    const char *data, *net, *init, *load;
    struct ls_loss_options loss;
    uint64_t seed;
    int64_t samples, elements, microbatch;
    float h, tolerance;
};

static enum ls_code parse(struct gradcheck_options *o, int argc, char **argv, int *help, struct ls_error *err)
{
    *o = (struct gradcheck_options){.data = "digits",
                                    .net = "dense 32, tanh, dense 10",
                                    .init = "xavier-uniform",
                                    .loss = LS_LOSS_NOT_GIVEN,
                                    .seed = 1,
                                    .samples = 40,
                                    .elements = 200,
                                    .microbatch = LS_DEFAULT_MICROBATCH,
                                    .h = 1e-5f,
                                    .tolerance = 1e-3f};
    const struct ls_option options[] = {
        {"data", "SPEC", LS_OPTION_TEXT, &o->data, "the data, as 'lockstep train --help' describes it",
         "digits", 0, 0, NULL, NULL},
        {"net", "LAYERS", LS_OPTION_TEXT, &o->net, "the net to check", "dense 32, tanh, dense 10", 0, 0, NULL,
         NULL},
        LS_LOSS_OPTIONS(&o->loss),
        {"init", "NAME", LS_OPTION_TEXT, &o->init, "the weights to check at, as for train", "xavier-uniform",
         0, 0, NULL, NULL},
        {"seed", "N", LS_OPTION_SEED, &o->seed, "of the weights", "1", 0, 0, NULL, NULL},
        {"load", "FILE", LS_OPTION_TEXT, &o->load,
         "check at this model's weights instead; its net must be --net", "none", 0, 0, NULL, NULL},
        {"samples", "N", LS_OPTION_INT, &o->samples, "training samples in the batch, from the first", "40", 1,
         1e6, NULL, NULL},
        {"microbatch", "N", LS_OPTION_INT, &o->microbatch, "samples in a leaf", "32", 1, 1 << 20, NULL, NULL},
        {"elements", "N", LS_OPTION_INT, &o->elements, "elements of each tensor to check, evenly spread",
         "200", 1, 1e9, NULL, "all"},
        {"step", "X", LS_OPTION_FLOAT, &o->h, "h of the central difference, in binary64", "1e-5", 1e-12, 1,
         NULL, NULL},
        {"tolerance", "X", LS_OPTION_FLOAT, &o->tolerance, "largest relative error that passes", "1e-3", 0, 1,
         NULL, NULL},
        LS_SESSION_OPTIONS(&o->session),
    };
    const struct ls_command_line line = {
        .command = "gradcheck",
        .synopsis = "lockstep gradcheck [OPTION ...]",
        .summary = "Compares the analytic gradient (backpropagation, binary32) of every parameter tensor and "
                   "of the input with "
                   "numerical ones (central differences, binary64). Relative error is |a - n| / max(|a|, "
                   "|n|, largest |n| of "
                   "the tensor / 100); of a bias or a norm also largest |n| of the layer / 10.",
        .notes = "exit status: 0 all within tolerance; 1 some tensor is not; 2 usage; 3 a file, the data or "
                 "memory failed.\n"
                 "A relu whose input is within the step of 0 has no derivative there and may be reported;\n"
                 "so may a maxpool of which two numbers are as close as that, as the pixels of an image "
                 "often are.\n"
                 "Layers run as in the first step of training: batchnorm on the batch, dropout drops.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    int n_words = 0;
    return ls_options_parse(&line, argc, argv, NULL, &n_words, stdout, help, err);
}

struct gradcheck_job {
    struct gradcheck_options options;
    struct ls_session session;
    struct ls_data data;
    struct ls_net net;
    struct ls_loss_rule loss;
    float *parameters, *x, *values;
    int32_t *labels;
    int64_t *index;
};

static enum ls_code make_net(struct gradcheck_job *job, struct ls_error *err)
{
    const struct ls_dataset *train = &job->data.train;
    char *text =
        ls_net_text(job->options.net, train->n_classes > 0 ? train->n_classes : train->n_values, err);
    const enum ls_code code =
        text ? ls_net_create(&job->net, text, ls_shape_of(train->n_dims, train->dims), err) : LS_USAGE;
    ls_free(text);
    return code;
}

static enum ls_code prepare(struct gradcheck_job *job, struct ls_error *err)
{
    const struct gradcheck_options *o = &job->options;
    const struct ls_dataset *train = &job->data.train;
    struct ls_init init;
    enum ls_code code = ls_data_open(&job->data, o->data, NULL, err);
    if (code == LS_OK)
        code = ls_data_check(&job->data, LS_CHECK_AUTO, 0, 1, err);
    if (code == LS_OK)
        code = ls_init_parse(&init, o->init, err);
    if (code == LS_OK)
        code = make_net(job, err);
    if (code != LS_OK)
        return code;
    code = ls_loss_options_rule(&job->loss, &o->loss, train, err);
    if (code == LS_OK)
        code = ls_check_fit(&job->net, job->loss.kind, train, err);
    if (code != LS_OK)
        return code;
    if (job->options.samples > train->n_samples)
        job->options.samples = train->n_samples;
    const size_t B = (size_t)job->options.samples;
    job->parameters = ls_alloc((size_t)job->net.n_floats, sizeof(float), "parameters", err);
    job->x = ls_alloc(B * (size_t)train->n_features, sizeof(float), "inputs", err);
    job->values = ls_alloc(B * (size_t)train->n_values, sizeof(float), "targets", err);
    job->labels = ls_alloc(B, sizeof *job->labels, "labels", err);
    job->index = ls_alloc(B, sizeof *job->index, "indices", err);
    if (!job->parameters || !job->x || !job->values || !job->labels || !job->index)
        return LS_FAILED;
    for (size_t i = 0; i < B; i++)
        job->index[i] = (int64_t)i;
    ls_dataset_gather(train, job->session.ops, (ptrdiff_t)B, job->index, job->x, job->labels, job->values);
    if (o->load)
        return ls_model_load_parameters(o->load, &job->net, job->parameters, err);
    ls_net_initialise(&job->net, &init, o->seed, job->parameters);
    return LS_OK;
}

/* The element as an index into the tensor as PyTorch shapes it, or (sample, feature) of the input. */
static void format_index(const struct gradcheck_job *job, int t, ptrdiff_t at, char *text, size_t size)
{
    const struct ls_parameter *tensor = t < job->net.n_tensors ? &job->net.tensors[t] : NULL;
    if (!tensor)
        snprintf(text, size, "[%td,%td]", at / job->net.in.count, at % job->net.in.count);
    else
        ls_parameter_index(tensor, at, text, size);
}

static enum ls_code print_report(const struct gradcheck_job *job, const struct ls_gradcheck_report *report,
                                 struct ls_error *err)
{
    const double tolerance = (double)job->options.tolerance;
    double numerical_s = 0;
    int failed = 0;
    printf("net       %s, loss %s, %lld samples, %s\n\n", job->net.text, ls_loss_names[job->loss.kind],
           (long long)job->options.samples, job->session.ops->name);
    int width = 12;
    for (int t = 0; t < report->n; t++)
        width = (int)strlen(report->results[t].name) > width ? (int)strlen(report->results[t].name) : width;
    printf("%-*s  checked      worst relative error  at           analytic        numerical\n", width,
           "tensor");
    for (int t = 0; t < report->n; t++) {
        const struct ls_gradcheck_result *r = &report->results[t];
        char index[64], checked[64];
        const int bad = !(r->worst <= tolerance);
        if (r->is_state) {
            printf("%-*s  no gradient: a running average\n", width, r->name);
            continue;
        }
        format_index(job, t, r->worst_at, index, sizeof index);
        snprintf(checked, sizeof checked, "%td/%td", r->n_checked, r->n_elements);
        printf("%-*s  %-11s  %-20.3g  %-11s  %-14.8g  %-14.8g  %s\n", width, r->name, checked, r->worst,
               index, r->analytic, r->numerical, bad ? "TOO LARGE" : "ok");
        failed += bad;
        numerical_s += r->numerical_s;
    }
    printf("\ncost      analytic %.3g ms for all tensors; numerical %.3g ms for the elements checked\n",
           report->analytic_s * 1e3, numerical_s * 1e3);
    if (!failed)
        return LS_OK;
    printf("%d of %d tensors are above the tolerance %g\n", failed, report->n, tolerance);
    return ls_fail(err, LS_DIFFERENT, "the gradient of %d tensors is above the tolerance", failed);
}

enum ls_code ls_command_gradcheck(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct gradcheck_job job = {0};
    int help = 0;
    enum ls_code code = parse(&job.options, argc, argv, &help, err);
    if (code != LS_OK || help)
        return code;
    code = ls_session_start(&job.session, &job.options.session, comm, err);
    if (code == LS_OK)
        code = prepare(&job, err);
    if (code == LS_OK) {
        const struct ls_gradcheck_case check = {
            .net = &job.net,
            .ops = job.session.ops,
            .loss = job.loss,
            .parameters = job.parameters,
            .B = (ptrdiff_t)job.options.samples,
            .x = job.x,
            .targets = ls_loss_takes_labels(&job.loss, &job.data.train)
                           ? (struct ls_targets){.labels = job.labels}
                           : (struct ls_targets){.values = job.values},
            .microbatch = (ptrdiff_t)job.options.microbatch,
            .h = (double)job.options.h,
            .most_elements = job.options.elements < 0 ? 0 : (ptrdiff_t)job.options.elements,
        };
        struct ls_gradcheck_report report;
        code = ls_gradcheck(&check, &report, err);
        if (code == LS_OK)
            code = print_report(&job, &report, err);
        ls_gradcheck_release(&report);
    }
    ls_free(job.parameters);
    ls_free(job.x);
    ls_free(job.values);
    ls_free(job.labels);
    ls_free(job.index);
    ls_loss_rule_release(&job.loss);
    ls_net_release(&job.net);
    ls_data_release(&job.data);
    return code;
}
