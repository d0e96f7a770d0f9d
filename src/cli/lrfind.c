/* lockstep lrfind: the learning-rate range test.  Training is ls_train's, under a schedule; the curve is
 * train/lr_curve.c's, what is shown of it lrfind_report.c's. */
#include "cli/cli.h"

#include <string.h>

#include "base/contract.h"
#include "base/elementary.h"
#include "cli/lrfind_report.h"
#include "cli/setup.h"
#include "cli/train_report.h"

struct lrfind_options {
    struct ls_setup_options setup;
    float from, to, smoothing;
    int64_t steps;
    const char *csv;
    int quiet;
};

struct job {
    struct lrfind_options options;
    struct ls_setup setup;
    struct ls_model_facts facts;
    struct ls_lr_curve curve;
    struct ls_savefile csv; /* rank 0's */
};

static enum ls_code parse(struct lrfind_options *o, int argc, char **argv, int *help, struct ls_error *err,
                          int print)
{
    *o = (struct lrfind_options){
        .setup = ls_setup_options_none, .from = 1e-6f, .to = 10, .smoothing = 0.9f, .steps = 100};
    const struct ls_option options[] = {
        {"from", "X", LS_OPTION_FLOAT, &o->from, "the first learning rate", "1e-6", 1e-30, 1e30, NULL, NULL},
        {"to", "X", LS_OPTION_FLOAT, &o->to, "the last one, if the loss does not rise before", "10", 1e-30,
         1e30, NULL, NULL},
        {"steps", "N", LS_OPTION_INT, &o->steps, "updates on the way, each at a rate of its own", "100", 10,
         1e6, NULL, NULL},
        {"smoothing", "X", LS_OPTION_FLOAT, &o->smoothing,
         "how much of itself the average of losses keeps at each update", "0.9", 0, 0.999, NULL, NULL},
        {"csv", "FILE", LS_OPTION_TEXT, &o->csv,
         "write every update there as step,learning_rate,loss,smoothed; -: to standard output, in place of "
         "the "
         "table",
         "not written", 0, 0, NULL, NULL},
        {"quiet", NULL, LS_OPTION_FLAG, &o->quiet, "print only the suggestion", NULL, 0, 0, NULL, NULL},
        LS_DATA_AND_NET_OPTIONS(&o->setup),
        {"load", "FILE", LS_OPTION_TEXT, &o->setup.load,
         "start from this model's weights, and its net unless --net is given", "none", 0, 0, NULL, NULL},
        LS_OPTIMIZER_KIND_OPTION(&o->setup.update, ls_optimizer_names),
        LS_OPTIMIZER_NUMBER_OPTIONS(&o->setup.update),
        LS_START_OPTIONS(&o->setup),
        LS_SESSION_OPTIONS(&o->setup.session),
    };
    const struct ls_command_line line = {
        .command = "lrfind",
        .synopsis = "lockstep lrfind [OPTION ...]   or   mpirun -n RANKS lockstep lrfind [OPTION ...]",
        .summary =
            "A learning-rate range test (Smith 2017): trains a model that is then thrown away while the "
            "learning rate grows exponentially, prints the loss over the rate, and suggests a rate. Give "
            "it the options that training will have.",
        .notes = "it stops when the smoothed loss is 4 times its least, or not finite.\n"
                 "exit status: 0 done, also when the curve shows nothing, which a warning says; 2 usage; 3 a "
                 "file, the data,\n"
                 "memory or the network failed; 4 the loss is not finite before any update.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    int n_words = 0;
    const char *words[1];
    return ls_options_parse(&line, argc, argv, words, &n_words, print ? stdout : NULL, help, err);
}

/* rate(t) = from factor^t, which is `to` at t = steps - 1 but for rounding. */
static enum ls_code set_range(struct job *job, struct ls_error *err)
{
    const struct lrfind_options *o = &job->options;
    struct ls_train_config *config = &job->setup.config;
    if (!(o->from < o->to))
        return ls_fail(err, LS_USAGE, "--from %g is not below --to %g", (double)o->from, (double)o->to);
    config->optimizer.learning_rate = o->from;
    config->schedule = (struct ls_schedule){
        .kind = LS_SCHEDULE_EXPONENTIAL,
        .every = {.length = 1, .in_updates = 1},
        .factor = ls_exp((ls_log(o->to) - ls_log(o->from)) / (float)(o->steps - 1)),
    };
    config->epochs = INT64_MAX;
    config->steps = o->steps;
    return LS_OK;
}

static int csv_is_stdout(const struct lrfind_options *o)
{
    return o->csv && strcmp(o->csv, "-") == 0;
}

static enum ls_code prepare_local(struct job *job, struct ls_error *err)
{
    const struct ls_setup_options *options = &job->options.setup;
    enum ls_code code = ls_setup_net(&job->setup, options, err);
    if (code == LS_OK)
        code = ls_setup_config(&job->setup, options, err);
    if (code == LS_OK)
        code = set_range(job, err);
    if (code == LS_OK)
        code = ls_setup_parameters(&job->setup, options, err);
    if (code != LS_OK)
        return code;
    ls_setup_facts(&job->setup, options, &job->facts);
    const double rise = 4.0;
    return ls_lr_curve_create(&job->curve, job->options.steps, (double)job->options.smoothing, rise, err);
}

static enum ls_code prepare(struct job *job, struct ls_comm *comm, struct ls_error *err)
{
    const struct lrfind_options *o = &job->options;
    enum ls_code code = ls_setup_open(&job->setup, &o->setup, comm, err);
    if (code != LS_OK)
        return code;
    err->code = prepare_local(job, err);
    if ((code = ls_comm_agree(comm, err)) != LS_OK)
        return code;
    const int64_t numbers[] = {o->steps, (int64_t)((double)o->smoothing * 0x1p40)};
    code = ls_setup_compare(&job->setup, &o->setup, &job->facts, 2, numbers, err);
    if (code != LS_OK)
        return code;
    err->code = LS_OK;
    if (ls_comm_rank(comm) == 0 && o->csv && !csv_is_stdout(o))
        err->code = ls_savefile_open(&job->csv, o->csv, err);
    return ls_comm_agree(comm, err);
}

static void add_step(void *context, const struct ls_step_report *step, const float *parameters)
{
    (void)parameters;
    ls_lr_curve_add(context, step->learning_rate, step->loss);
}

static int has_risen(void *context)
{
    return ((const struct ls_lr_curve *)context)->rose;
}

static void print_start(struct job *job)
{
    const struct lrfind_options *o = &job->options;
    if (o->quiet || csv_is_stdout(o))
        return;
    struct ls_train_report report = {.session = &job->setup.session,
                                     .config = &job->setup.config,
                                     .net = &job->setup.net,
                                     .data = &job->setup.data,
                                     .facts = &job->facts,
                                     .init_text = o->setup.load ? "loaded" : o->setup.init};
    ls_train_report_start(&report);
}

/* On all ranks, which stop after the same update because they see the same losses. */
static enum ls_code run(struct job *job, enum ls_lr_ending *ending, struct ls_error *err)
{
    struct ls_setup *setup = &job->setup;
    enum ls_code code =
        ls_session_warn(&setup->session, ls_count_leaves(setup->config.batch, setup->config.microbatch), err);
    if (code != LS_OK)
        return code;
    const struct ls_observer observer = {.context = &job->curve, .on_step = add_step, .stop = has_risen};
    struct ls_train_result result;
    code = ls_train(&setup->config, &setup->net, setup->session.ops, setup->session.comm, &setup->data,
                    setup->parameters, &observer, &result, err);
    *ending = job->curve.rose ? LS_LR_ROSE : LS_LR_REACHED_END;
    if (code != LS_NONFINITE || job->curve.n == 0)
        return code;
    *ending = LS_LR_NOT_FINITE; /* the end of the curve, no failure */
    *err = (struct ls_error){.code = LS_OK};
    return LS_OK;
}

static enum ls_code show(struct job *job, enum ls_lr_ending ending, struct ls_error *err)
{
    const struct lrfind_options *o = &job->options;
    if (ls_comm_rank(job->setup.session.comm) != 0)
        return LS_OK;
    const struct ls_lr_suggestion suggestion = ls_lr_curve_suggest(&job->curve);
    if (csv_is_stdout(o))
        ls_lr_print_csv(&job->curve);
    else if (!o->quiet)
        ls_lr_print_table(&job->curve, &suggestion, ending);
    if (job->csv.temporary && ls_lr_save_csv(&job->curve, &job->csv, err) != LS_OK)
        return LS_FAILED;
    ls_lr_print_suggestion(&job->curve, &suggestion, csv_is_stdout(o) ? stderr : stdout);
    return LS_OK;
}

enum ls_code ls_command_lrfind(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct job job = {0};
    enum ls_lr_ending ending = LS_LR_REACHED_END;
    int help = 0;
    enum ls_code code = parse(&job.options, argc, argv, &help, err, ls_comm_rank(comm) == 0);
    err->code = code;
    code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    code = prepare(&job, comm, err);
    if (code == LS_OK && ls_comm_rank(comm) == 0)
        print_start(&job);
    if (code == LS_OK)
        code = run(&job, &ending, err);
    if (code == LS_OK) {
        err->code = show(&job, ending, err);
        code = ls_comm_agree(comm, err);
    }
    ls_savefile_release(&job.csv);
    ls_lr_curve_release(&job.curve);
    ls_setup_release(&job.setup);
    return code;
}
