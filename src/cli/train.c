/* lockstep train: from options to a run.  The loop is train/trainer.c, what it shows train_report.c. */
#include "cli/cli.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/fault_options.h"
#include "cli/setup.h"
#include "cli/stop_options.h"
#include "cli/train_report.h"
#include "cli/train_search.h"
#include "train/evaluate.h"

struct train_options {
    struct ls_setup_options setup;
    const char *save, *log;
    int64_t epochs, steps, eval_every, hash_every;
    struct ls_stop_options stop;
    struct ls_fault_options faults;
    int quiet, progress;
};

static const char *const progress_choices[] = {"off", "on", "auto", NULL};

/* Everything a run owns, so that one function frees it. */
struct job {
    struct train_options options;
    struct ls_setup setup;
    struct ls_model_facts facts;
    struct ls_train_report report;
    struct ls_evaluation test; /* of samples that no look was at */
};

static enum ls_code parse(struct train_options *o, int argc, char **argv, int *help, struct ls_error *err,
                          int print)
{
    *o = (struct train_options){.setup = ls_setup_options_none,
                                .epochs = -1,
                                .steps = -1,
                                .eval_every = 1,
                                .faults = LS_FAULT_OPTIONS_DEFAULT,
                                .progress = 2};
    const double most = 1e9, big = 1e15;
    const struct ls_option options[] = {
        LS_DATA_AND_NET_OPTIONS(&o->setup),
        {"epochs", "N", LS_OPTION_INT, &o->epochs, "passes over the training data",
         "20, or no limit with --steps", 0, most, NULL, NULL},
        {"steps", "N", LS_OPTION_INT, &o->steps,
         "stop after so many updates; with --epochs, schedules still fill those", "no limit", 0, big, NULL,
         NULL},
        LS_OPTIMIZER_OPTIONS(&o->setup.update),
        LS_START_OPTIONS(&o->setup),
        LS_STOP_OPTIONS(&o->stop),
        LS_SESSION_OPTIONS(&o->setup.session),
        LS_ALLREDUCE_OPTION(&o->setup),
        {"eval-every", "N", LS_OPTION_INT, &o->eval_every,
         "epochs between evaluations of the validation or test data; 0: never", "1", 0, most, NULL, NULL},
        {"hash-every", "N", LS_OPTION_INT, &o->hash_every,
         "steps between comparisons of all ranks' weights, each logged; they are always compared at an "
         "epoch's end",
         "0", 0, most, NULL, NULL},
        LS_FAULT_OPTIONS(&o->faults),
        {"save", "FILE", LS_OPTION_TEXT, &o->save, "write the model there at the end, as safetensors",
         "not saved", 0, 0, NULL, NULL},
        {"load", "FILE", LS_OPTION_TEXT, &o->setup.load,
         "start from this model's weights, and its net unless --net is given", "none", 0, 0, NULL, NULL},
        {"log", "FILE", LS_OPTION_TEXT, &o->log,
         "write one JSON object a line there: the run, each epoch, the end", "none", 0, 0, NULL, NULL},
        {"quiet", NULL, LS_OPTION_FLAG, &o->quiet, "print only the last epoch's line", NULL, 0, 0, NULL,
         NULL},
        {"progress", "on|off|auto", LS_OPTION_CHOICE, &o->progress,
         "a live line on stderr; auto: when that is a terminal and no mpirun is in between", "auto", 0, 0,
         progress_choices, NULL},
    };
    const struct ls_command_line line = {
        .command = "train",
        .synopsis = "lockstep train [OPTION ...]   or   mpirun -n RANKS lockstep train [OPTION ...]",
        .summary = "Trains a net by gradient descent. The result depends on the options that say "
                   "what to train; it "
                   "does not depend on ranks, threads, SIMD width or --serial, to the last bit.",
        .notes = "batch gradient descent is --batch all, stochastic gradient descent is --batch 1.\n"
                 "LOCKSTEP_ISA=portable|avx2|avx512 in the environment forces a SIMD width, LOCKSTEP_DATA "
                 "names a folder with\n"
                 "data sets.\n"
                 "exit status: 0 done; 2 usage; 3 a file, the data, memory or the network failed; 4 training "
                 "went non-finite\n"
                 "(--save then gets the last epoch's model); 5 replicas disagree.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    int n_words = 0;
    const char *words[1];
    return ls_options_parse(&line, argc, argv, words, &n_words, print ? stdout : NULL, help, err);
}

static int searching(const struct job *job)
{
    return job->options.setup.update.optimizer == LS_RANDOM_SEARCH;
}

/* Random search has no updates, batches or looks: what speaks of them is refused by name. */
static enum ls_code refuse_for_search(const struct train_options *o, struct ls_error *err)
{
    const struct ls_setup_options *s = &o->setup;
    const struct {
        const char *name;
        int given;
    } refused[] = {
        {"epochs", o->epochs >= 0},
        {"steps", o->steps >= 0},
        {"batch", s->batch != 0},
        {"accumulate", s->accumulate != 1},
        {"shuffle", s->shuffle != LS_SHUFFLE_ON},
        {"shuffle-block", s->shuffle_block != 0},
        {"drop-last", s->drop_last},
        {"augment", s->input.augment != NULL},
        {"eval-every", o->eval_every != 1},
        {"hash-every", o->hash_every != 0},
        {"stop-at", o->stop.stop_at != NULL},
        {"patience", o->stop.patience > 0},
        {"monitor", o->stop.monitor},
        {"check-every", o->stop.check_every > 0},
        {"gradient-tolerance", o->stop.gradient_tolerance > 0},
        {"max-time", o->stop.max_time > 0},
        {"keep", o->stop.keep},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (refused[i].given)
            return ls_fail(
                err, LS_USAGE,
                "--%s means nothing to --optimizer random-search, which makes no updates: give --trials",
                refused[i].name);
    return LS_OK;
}

/* How long it goes on, what it looks at, and when it stops. */
static enum ls_code set_length(struct job *job, struct ls_error *err)
{
    const struct train_options *o = &job->options;
    struct ls_train_config *config = &job->setup.config;
    if (searching(job))
        return ls_search_check_init(&job->setup.init, o->setup.init, err);
    const int64_t default_epochs = o->steps >= 0 ? INT64_MAX : 20;
    config->epochs = o->epochs >= 0 ? o->epochs : default_epochs;
    config->steps = o->steps;
    config->eval_every = o->eval_every;
    config->hash_every = o->hash_every;
    return ls_stop_options_apply(&o->stop, &job->setup.data, config, err);
}

static void add_evaluation(struct ls_model_facts *facts, const char *part, const struct ls_evaluation *seen)
{
    char number[LS_FLOAT_TEXT], key[32];
    snprintf(key, sizeof key, "%s_loss", part);
    ls_model_facts_add(facts, key, "%s", ls_text_of_float(seen->loss, number));
    snprintf(key, sizeof key, "%s_correct", part);
    if (seen->n_correct >= 0)
        ls_model_facts_add(facts, key, "%lld of %lld", (long long)seen->n_correct,
                           (long long)seen->n_samples);
}

static void collect_results(struct job *job, const struct ls_train_result *result,
                            const struct ls_search_result *search)
{
    struct ls_model_facts *facts = &job->facts;
    char number[LS_FLOAT_TEXT];
    if (searching(job)) {
        ls_model_facts_add(facts, "best_trial", "%lld", (long long)search->best_trial);
    } else {
        ls_model_facts_add(facts, "steps", "%lld", (long long)result->good_step);
        ls_stop_result_facts(&job->setup.config, result, facts);
    }
    if (job->report.test)
        add_evaluation(facts, "test", job->report.test);
    if (job->setup.config.keep_best && result->good_step != result->steps)
        return; /* what follows is of the last step */
    if (result->last.epoch > 0)
        ls_model_facts_add(facts, "train_loss", "%s", ls_text_of_float(result->last.loss, number));
    if (result->last.evaluated)
        add_evaluation(facts, job->setup.data.validation.n_samples > 0 ? "validation" : "test",
                       &result->last.test);
}

/* Two names of one file, as far as it exists. */
static int same_file(const char *a, const char *b)
{
    struct stat first, second;
    return strcmp(a, b) == 0 || (stat(a, &first) == 0 && stat(b, &second) == 0 &&
                                 first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

/* Rank 0 makes sure that what it will write can be written, and goes where nothing else goes. */
static enum ls_code open_outputs(struct job *job, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    if (ls_comm_rank(job->setup.session.comm) != 0)
        return code;
    const struct train_options *o = &job->options;
    if (o->log && o->save && same_file(o->log, o->save))
        return ls_fail(err, LS_USAGE, "--log and --save both name '%s': give two files", o->log);
    if (o->log && o->setup.load && same_file(o->log, o->setup.load))
        return ls_fail(err, LS_USAGE, "--log would overwrite the model of --load, '%s'", o->setup.load);
    if (job->options.save)
        code = ls_model_can_save(job->options.save, err);
    if (code == LS_OK && job->options.log)
        code = ls_train_report_open_log(&job->report, job->options.log, &job->setup.net, err);
    return code;
}

static int show_progress(const struct job *job)
{
    const struct train_options *o = &job->options;
    return !o->quiet && (o->progress == 1 ||
                         (o->progress == 2 && isatty(2) && ls_comm_size(job->setup.session.comm) == 1));
}

/* Beside what is in the facts. */
static enum ls_code compare_options(const struct job *job, struct ls_error *err)
{
    const struct ls_train_config *c = &job->setup.config;
    const int64_t numbers[] = {c->epochs,     c->steps,     c->eval_every,
                               c->hash_every, c->keep_best, (int64_t)(c->stop.seconds * 1e6)};
    return ls_setup_compare(&job->setup, &job->options.setup, &job->facts,
                            (int)(sizeof numbers / sizeof numbers[0]), numbers, err);
}

static enum ls_code prepare(struct job *job, struct ls_comm *comm, struct ls_error *err)
{
    const struct ls_setup_options *options = &job->options.setup;
    err->code = searching(job) ? refuse_for_search(&job->options, err) : LS_OK;
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = ls_setup_open(&job->setup, options, comm, err);
    if (code != LS_OK)
        return code;
    err->code = ls_setup_net(&job->setup, options, err);
    if (err->code == LS_OK)
        err->code = ls_setup_config(&job->setup, options, err);
    if (err->code == LS_OK)
        err->code = set_length(job, err);
    if (err->code == LS_OK)
        err->code = ls_setup_parameters(&job->setup, options, err);
    if (err->code == LS_OK) {
        ls_setup_facts(&job->setup, options, &job->facts);
        ls_stop_facts(&job->options.stop, &job->facts);
    }
    if ((code = ls_comm_agree(comm, err)) == LS_OK)
        code = compare_options(job, err);
    if (code != LS_OK)
        return code;
    err->code = open_outputs(job, err); /* last: a run that cannot start leaves no empty log */
    return ls_comm_agree(comm, err);
}

/* Looks at the test samples, once, when looks until now were at validation samples. */
static enum ls_code judge(struct job *job, struct ls_error *err)
{
    const struct ls_setup *s = &job->setup;
    if (s->data.validation.n_samples == 0 || s->data.test.n_samples == 0)
        return LS_OK;
    const enum ls_code code =
        ls_evaluate_once(&s->net, s->session.ops, s->session.comm, &s->config.loss, s->config.microbatch,
                         s->parameters, &s->data.test, NULL, &job->test, err);
    if (code == LS_OK)
        ls_train_report_test(&job->report, &job->test);
    return code;
}

/* Trains, then writes the model: also after divergence, when the parameters are those of the last good epoch.
 */
static enum ls_code run(struct job *job, struct ls_error *err)
{
    struct ls_comm *comm = job->setup.session.comm;
    const int first = ls_comm_rank(comm) == 0;
    struct ls_train_report *report = &job->report;
    report->session = &job->setup.session;
    report->config = &job->setup.config;
    report->net = &job->setup.net;
    report->data = &job->setup.data;
    report->facts = &job->facts;
    report->init_text = job->options.setup.init;
    report->trials = searching(job) ? ls_trials(&job->options.setup.update) : 0;
    report->quiet = job->options.quiet;
    report->progress = show_progress(job);
    if (first)
        ls_train_report_start(report);
    enum ls_code code = ls_session_warn(
        &job->setup.session,
        ls_count_leaves(searching(job) ? job->setup.data.train.n_samples : job->setup.config.batch,
                        job->setup.config.microbatch),
        err);
    if (code != LS_OK)
        return code;
    const struct ls_observer observer = {.context = report,
                                         .on_step = ls_train_report_step,
                                         .on_check = ls_train_report_check,
                                         .on_epoch = ls_train_report_epoch};
    struct ls_train_result result;
    struct ls_search_result search = {.best_trial = -1};
    if (searching(job))
        code = ls_train_search(&job->setup, ls_trials(&job->options.setup.update), first ? report : NULL,
                               &search, &result, err);
    else
        code = ls_train(&job->setup.config, &job->setup.net, job->setup.session.ops, comm, &job->setup.data,
                        job->setup.parameters, first ? &observer : NULL, &result, err);
    if (code == LS_OK && !searching(job))
        code = judge(job, err);
    if (code != LS_OK && (code != LS_NONFINITE || searching(job)))
        return code;
    struct ls_error ending = {.code = LS_OK};
    if (first) {
        collect_results(job, &result, &search);
        if (job->options.save)
            ending.code = ls_model_save(job->options.save, &job->setup.net, &job->setup.config.loss,
                                        job->setup.parameters, &job->facts, &ending);
        if (ending.code == LS_OK)
            ending.code = ls_train_report_end(report, code, err->text, &result, &ending);
        if (ending.code == LS_OK && job->options.save && !job->options.quiet)
            printf("saved the model of %s %lld to '%s'\n", searching(job) ? "trial" : "step",
                   (long long)(searching(job) ? search.best_trial : result.good_step), job->options.save);
    }
    if (ls_comm_agree(comm, &ending) != LS_OK)
        *err = ending;
    else
        err->code = code;
    return err->code;
}

enum ls_code ls_command_train(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct job job = {0};
    int help = 0;
    enum ls_code code = parse(&job.options, argc, argv, &help, err, ls_comm_rank(comm) == 0);
    err->code = code;
    code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    ls_comm_set_stall_timeout(comm, (double)job.options.faults.stall_timeout);
    code = prepare(&job, comm, err);
    if (code == LS_OK)
        code = run(&job, err);
    ls_train_report_release(&job.report);
    ls_setup_release(&job.setup);
    return code;
}
