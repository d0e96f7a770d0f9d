/* lockstep train: from options to a run.  The loop is train/trainer.c, what it shows train_report.c. */
#include "cli/cli.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/train_folds.h"
#include "cli/train_options.h"
#include "cli/train_report.h"
#include "cli/train_search.h"
#include "train/evaluate.h"
#include "train/signals.h"

/* Everything a run owns, so that one function frees it. */
struct job {
    struct ls_train_options options;
    struct ls_setup setup;
    struct ls_model_facts facts;
    struct ls_train_report report;
    struct ls_evaluation test;             /* of samples that no look was at */
    struct ls_configuration configuration; /* for checkpoints */
    struct ls_checkpoint_source source;    /* of a run that goes on */
    int64_t last;                          /* its newest file's step, whole or not (rank 0) */
    struct ls_checkpoint_folder folder;    /* rank 0's */
};

static enum ls_code cross_validate(const struct ls_train_options *o, struct ls_comm *comm,
                                   struct ls_error *err)
{
    err->code = ls_train_options_for_folds(o, err);
    const enum ls_code code = ls_comm_agree(comm, err);
    const struct ls_folds_options folds = {.setup = &o->setup,
                                           .epochs = ls_train_epochs(o->epochs, o->steps),
                                           .steps = o->steps,
                                           .hash_every = o->hash_every,
                                           .log = o->log,
                                           .quiet = o->quiet};
    return code == LS_OK ? ls_train_folds(&folds, comm, err) : code;
}

static int searching(const struct job *job)
{
    return job->options.setup.update.optimizer == LS_RANDOM_SEARCH;
}

static void set_epochs_and_steps(struct ls_train_config *config, int64_t epochs, int64_t steps)
{
    config->epochs = ls_train_epochs(epochs, steps);
    config->steps = steps;
}

/* A run that goes on may be longer or shorter than it was to be, unless its schedule stretches with it. */
static enum ls_code check_length(const struct job *job, struct ls_error *err)
{
    const struct ls_train_options *o = &job->options;
    const struct ls_train_config *now = &job->setup.config;
    struct ls_train_config old = *now;
    set_epochs_and_steps(&old, job->options.old_epochs, job->options.old_steps);
    const int64_t per_epoch =
        ls_updates_per_epoch(job->setup.data.train.n_samples, now->batch * now->accumulate, now->drop_last);
    const float rate = now->optimizer.learning_rate;
    const struct ls_learning_rate was =
        ls_learning_rate_start(&now->schedule, rate, per_epoch, old.epochs, old.steps);
    const struct ls_learning_rate is =
        ls_learning_rate_start(&now->schedule, rate, per_epoch, now->epochs, now->steps);
    const char *what = o->epochs != job->options.old_epochs ? "epochs" : "steps";
    if (was.total != is.total && ls_schedule_ends_with_run(&now->schedule))
        return ls_fail(err, LS_USAGE,
                       "--%s would change the result: the schedule is stretched over the run, which had %lld "
                       "updates when the checkpoint was written and now has %lld: leave it out, or give "
                       "--resume-with-changes",
                       what, (long long)was.total, (long long)is.total);
    return LS_OK;
}

/* How long it goes on, what it looks at, and when it stops. */
static enum ls_code set_length(struct job *job, struct ls_error *err)
{
    const struct ls_train_options *o = &job->options;
    struct ls_train_config *config = &job->setup.config;
    if (searching(job))
        return ls_search_check_init(&job->setup.init, o->setup.init, err);
    set_epochs_and_steps(config, o->epochs, o->steps);
    config->eval_every = o->eval_every;
    config->hash_every = o->hash_every;
    config->cross_check = o->faults.cross_check;
    const enum ls_code code = ls_stop_options_apply(&o->stop, &job->setup.data, config, err);
    return code == LS_OK ? ls_checkpoint_options_apply(&o->checkpoint, &config->checkpoint, err) : code;
}

/* What only the data, the net and the configuration tell of a run that goes on. */
static enum ls_code check_resumed(struct job *job, struct ls_error *err)
{
    const struct ls_checkpoint_source *source = &job->source;
    struct ls_train_config *config = &job->setup.config;
    job->source.with_changes = job->options.checkpoint.with_changes;
    config->resume = source;
    enum ls_code code = ls_resume_check_end(source, config, err);
    if (source->with_changes || code != LS_OK)
        return code;
    code = ls_resume_check_text(source, "net", "net", job->setup.net.text, err);
    if (code == LS_OK)
        code = ls_resume_check_data(source, job->configuration.data_hash, err);
    if (code == LS_OK)
        code = ls_resume_check_meaning(source, &job->facts, &config->loss, err);
    return code == LS_OK ? check_length(job, err) : code;
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

/* A name's end without slashes behind it, which a shell's completion puts there. */
static size_t length_of_name(const char *name)
{
    size_t length = strlen(name);
    while (length > 1 && name[length - 1] == '/')
        length--;
    return length;
}

/* Two names of one file, which may not exist yet. */
static int same_file(const char *a, const char *b)
{
    struct stat first, second;
    const size_t length = length_of_name(a);
    return (length == length_of_name(b) && strncmp(a, b, length) == 0) ||
           (stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
            first.st_ino == second.st_ino);
}

/* A folder has the checkpoints of one run: mixed with another's, the newest would be anybody's. */
static enum ls_code open_checkpoints(struct job *job, struct ls_error *err)
{
    const struct ls_train_options *o = &job->options;
    const char *folder = job->setup.config.checkpoint.folder;
    int64_t last = 0;
    if (!folder)
        return LS_OK;
    enum ls_code code = ls_checkpoint_folder_open(&job->folder, folder, err);
    if (code == LS_OK)
        code = ls_checkpoint_folder_last(folder, &last, err);
    const int own = job->source.file && same_file(folder, o->checkpoint.resume);
    if (code != LS_OK || last == 0 || (own && last == job->last))
        return code;
    if (own)
        return ls_fail(err, LS_FAILED, "another run has written checkpoints into '%s' just now: start again",
                       folder);
    return ls_fail(
        err, LS_USAGE,
        "--checkpoint: '%s' has checkpoints of another run (the newest of step %lld): give --resume "
        "'%s' to go on with it, or another folder",
        folder, (long long)last, folder);
}

/* Rank 0 makes sure that what it will write can be written, and goes where nothing else goes. */
static enum ls_code open_outputs(struct job *job, struct ls_error *err)
{
    if (ls_comm_rank(job->setup.session.comm) != 0)
        return LS_OK;
    const struct ls_train_options *o = &job->options;
    enum ls_code code = LS_OK;
    if (o->log && o->save && same_file(o->log, o->save))
        return ls_fail(err, LS_USAGE, "--log and --save both name '%s': give two files", o->log);
    if (o->log && o->setup.load && same_file(o->log, o->setup.load))
        return ls_fail(err, LS_USAGE, "--log would overwrite the model of --load, '%s'", o->setup.load);
    if (o->save)
        code = ls_model_can_save(o->save, err);
    if (code == LS_OK)
        code = open_checkpoints(job, err);
    if (code == LS_OK && o->log)
        code = ls_train_report_open_log(&job->report, o->log, &job->setup.net, err);
    return code;
}

static int show_progress(const struct job *job)
{
    const struct ls_train_options *o = &job->options;
    return !o->quiet && (o->progress == 1 ||
                         (o->progress == 2 && isatty(2) && ls_comm_size(job->setup.session.comm) == 1));
}

/* Beside what is in the facts. */
static enum ls_code compare_options(const struct job *job, struct ls_error *err)
{
    const struct ls_train_config *c = &job->setup.config;
    const int64_t numbers[] = {c->epochs,
                               c->steps,
                               c->eval_every,
                               c->hash_every,
                               c->cross_check,
                               c->keep_best,
                               (int64_t)(c->stop.seconds * 1e6),
                               c->checkpoint.folder != NULL,
                               c->checkpoint.every_steps};
    return ls_setup_compare(&job->setup, &job->options.setup, &job->facts,
                            (int)(sizeof numbers / sizeof numbers[0]), numbers, err);
}

static enum ls_code prepare(struct job *job, struct ls_comm *comm, struct ls_error *err)
{
    const struct ls_setup_options *options = &job->options.setup;
    err->code = searching(job) ? ls_train_options_for_search(&job->options, err) : LS_OK;
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = ls_setup_open(&job->setup, options, comm, err);
    if (code != LS_OK)
        return code;
    if (job->options.checkpoint.folder || options->resume)
        ls_configuration_add_data(&job->configuration, ls_data_hash(&job->setup.data));
    err->code = ls_setup_net(&job->setup, options, err);
    if (err->code == LS_OK)
        err->code = ls_setup_config(&job->setup, options, err);
    if (err->code == LS_OK)
        err->code = set_length(job, err);
    if (err->code == LS_OK) {
        ls_setup_facts(&job->setup, options, &job->facts);
        ls_stop_facts(&job->options.stop, &job->facts);
    }
    if (err->code == LS_OK && job->source.file)
        err->code = check_resumed(job, err);
    if (err->code == LS_OK)
        err->code = ls_setup_parameters(&job->setup, options, err);
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
    report->resumed = job->source.file ? &job->source : NULL;
    job->setup.config.checkpoint.facts = &job->facts;
    job->setup.config.checkpoint.metadata = job->configuration.metadata;
    job->setup.config.checkpoint.n_metadata = job->configuration.n;
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
    else {
        ls_signals_catch();
        code = ls_train(&job->setup.config, &job->setup.net, job->setup.session.ops, comm, &job->setup.data,
                        job->setup.parameters, first ? &observer : NULL, &result, err);
        ls_signals_release();
    }
    if (code == LS_OK)
        code = judge(job, err);
    if (code != LS_OK && code != LS_INTERRUPTED && (code != LS_NONFINITE || searching(job)))
        return code;
    /* What a signal ended is in the checkpoint; --save is for the model of a run. */
    const char *save =
        code == LS_INTERRUPTED && job->setup.config.checkpoint.folder ? NULL : job->options.save;
    struct ls_error ending = {.code = LS_OK};
    if (first) {
        collect_results(job, &result, &search);
        if (save)
            ending.code = ls_model_save(save, &job->setup.net, &job->setup.config.loss, job->setup.parameters,
                                        &job->facts, &ending);
        if (ending.code == LS_OK)
            ending.code = ls_train_report_end(report, code, err->text, &result, &ending);
        if (ending.code == LS_OK && save && !job->options.quiet)
            printf("saved the model of %s %lld to '%s'\n", searching(job) ? "trial" : "step",
                   (long long)(searching(job) ? search.best_trial : result.good_step), save);
    }
    if (ls_comm_agree(comm, &ending) != LS_OK)
        *err = ending;
    else
        err->code = code;
    return err->code;
}

/* --resume: the options once more, now over those of the checkpoint. */
static enum ls_code find_checkpoint(struct job *job, struct ls_comm *comm, int argc, char **argv,
                                    struct ls_error *err)
{
    const struct ls_checkpoint_options *o = &job->options.checkpoint;
    int64_t resumes = o->resume != NULL;
    enum ls_code code = ls_comm_sum_counts(comm, &resumes, 1, err);
    if (code != LS_OK || resumes == 0)
        return code;
    err->code = resumes == ls_comm_size(comm)
                    ? LS_OK
                    : ls_fail(err, LS_USAGE, "--resume is given to some ranks only: give it to all");
    if ((code = ls_comm_agree(comm, err)) != LS_OK)
        return code;
    const int may_begin = o->folder && same_file(o->folder, o->resume);
    code = ls_resume_choose(&job->source, o->resume, may_begin, &job->last, comm, err);
    if (code != LS_OK || !job->source.file)
        return code;
    err->code = ls_train_options_read(&job->options, &job->source, &job->configuration, argc, argv, &(int){0},
                                      0, err);
    return ls_comm_agree(comm, err);
}

enum ls_code ls_command_train(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct job job = {0};
    int help = 0;
    err->code = ls_train_options_read(&job.options, &job.source, &job.configuration, argc, argv, &help,
                                      ls_comm_rank(comm) == 0, err);
    enum ls_code code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    ls_comm_set_stall_timeout(comm, (double)job.options.faults.stall_timeout);
    code = ls_comm_compare_hashes(comm, ls_hash_bytes(&job.options.setup.folds, sizeof(int64_t)),
                                  "--folds (as hashes)", err);
    if (code != LS_OK || job.options.setup.folds > 0)
        return code == LS_OK ? cross_validate(&job.options, comm, err) : code;
    code = find_checkpoint(&job, comm, argc, argv, err);
    if (code == LS_OK)
        code = prepare(&job, comm, err);
    if (code == LS_OK)
        code = run(&job, err);
    ls_checkpoint_folder_close(&job.folder);
    ls_checkpoint_source_release(&job.source);
    ls_train_report_release(&job.report);
    ls_setup_release(&job.setup);
    return code;
}
