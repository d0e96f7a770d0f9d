/* Owns cross-validation: a training for each fold, and what they say together.
 *
 * While it trains a run sees nothing of its fold: no looks, and a plateau schedule watches the training loss.
 */
#include "cli/train_folds.h"

#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/text.h"
#include "cli/train_report.h"
#include "train/evaluate.h"

/* One number of each fold, summed up as they come: in binary64, in the folds' order. */
struct column {
    double sum, squares;
    int64_t n;
};

static void add(struct column *column, double value)
{
    column->sum += value;
    column->squares += value * value;
    column->n++;
}

static double mean_of(const struct column *column)
{
    return column->sum / (double)column->n;
}

/* The sample's: n - 1 in the denominator. */
static double deviation_of(const struct column *column)
{
    const double mean = mean_of(column);
    const double spread = column->squares - mean * column->sum;
    return spread > 0 ? sqrt(spread / (double)(column->n - 1)) : 0;
}

struct folds {
    const struct ls_folds_options *options;
    struct ls_setup setup;
    struct ls_model_facts facts;
    struct ls_train_report report;
    struct column loss, accuracy, rmse;
};

struct fold {
    int64_t number; /* from 1 */
    struct ls_train_result trained;
    struct ls_evaluation test;
    struct ls_hash hash;
};

/* Local: the configuration and first weights of a training, once the data are this fold's. */
static enum ls_code set_up(struct folds *folds, struct ls_error *err)
{
    const struct ls_folds_options *o = folds->options;
    struct ls_setup *setup = &folds->setup;
    ls_loss_rule_release(&setup->config.loss);
    ls_free(setup->parameters);
    setup->parameters = NULL;
    enum ls_code code = setup->net.n_layers > 0 ? LS_OK : ls_setup_net(setup, o->setup, err);
    if (code == LS_OK)
        code = ls_setup_config(setup, o->setup, err);
    setup->config.epochs = o->epochs;
    setup->config.steps = o->steps;
    setup->config.hash_every = o->hash_every;
    if (code == LS_OK)
        code = ls_setup_parameters(setup, o->setup, err);
    folds->facts = (struct ls_model_facts){.n = 0};
    if (code == LS_OK)
        ls_setup_facts(setup, o->setup, &folds->facts);
    return code;
}

static enum ls_code prepare(struct folds *folds, int64_t k, struct ls_error *err)
{
    const struct ls_folds_options *o = folds->options;
    struct ls_comm *comm = folds->setup.session.comm;
    enum ls_code code = ls_setup_fold(&folds->setup, o->setup, k, err);
    if (code != LS_OK)
        return code;
    err->code = set_up(folds, err);
    code = ls_comm_agree(comm, err);
    const int64_t numbers[] = {o->epochs, o->steps, o->hash_every, k};
    if (code == LS_OK)
        code = ls_setup_compare(&folds->setup, o->setup, &folds->facts, 4, numbers, err);
    return code;
}

static enum ls_code start(struct folds *folds, struct ls_error *err)
{
    struct ls_setup *setup = &folds->setup;
    struct ls_comm *comm = setup->session.comm;
    struct ls_train_report *report = &folds->report;
    *report = (struct ls_train_report){.session = &setup->session,
                                       .config = &setup->config,
                                       .net = &setup->net,
                                       .data = &setup->data,
                                       .facts = &folds->facts,
                                       .init_text = folds->options->setup->init,
                                       .quiet = folds->options->quiet};
    const int first = ls_comm_rank(comm) == 0;
    err->code = first && folds->options->log
                    ? ls_train_report_open_log(report, folds->options->log, &setup->net, err)
                    : LS_OK;
    const enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK)
        return code;
    if (first)
        ls_train_report_start(report);
    return ls_session_warn(&setup->session, ls_count_leaves(setup->config.batch, setup->config.microbatch),
                           err);
}

/* Trains without a sight of the fold, then evaluates on it. */
static enum ls_code train(struct folds *folds, struct fold *fold, struct ls_error *err)
{
    struct ls_setup *s = &folds->setup;
    struct ls_comm *comm = s->session.comm;
    struct ls_data seen = s->data;
    seen.test = (struct ls_dataset){.n_samples = 0};
    enum ls_code code =
        ls_train(&s->config, &s->net, s->session.ops, comm, &seen, s->parameters, NULL, &fold->trained, err);
    if (code == LS_OK)
        code = ls_evaluate_once(&s->net, s->session.ops, comm, &s->config.loss, s->config.microbatch,
                                s->parameters, &s->data.test, NULL, &fold->test, err);
    if (code == LS_OK) {
        err->code = ls_net_hash(&s->net, s->parameters, &fold->hash, err);
        code = ls_comm_agree(comm, err);
    }
    if (code == LS_OK)
        return code;
    struct ls_error inner = *err;
    return ls_fail(err, code, "fold %lld: %.1100s", (long long)fold->number, inner.text);
}

static void print_row(const struct folds *folds, const struct fold *fold)
{
    const struct ls_data *data = &folds->setup.data;
    char loss[LS_FLOAT_TEXT], test_loss[LS_FLOAT_TEXT], accuracy[32] = "-", hash[LS_HASH_TEXT];
    if (fold->test.n_correct >= 0)
        snprintf(accuracy, sizeof accuracy, "%.2f %%",
                 100.0 * (double)fold->test.n_correct / (double)fold->test.n_samples);
    else if (fold->test.rmse >= 0.0f)
        snprintf(accuracy, sizeof accuracy, "%.5g", (double)fold->test.rmse);
    ls_hash_text(fold->hash, hash);
    if (fold->number == 1 && !folds->options->quiet)
        printf(" fold  training      test    steps  loss          test loss     %s hash of the weights\n",
               fold->test.n_correct >= 0 ? "accuracy" : "    RMSE");
    printf("%5lld %9lld %9lld %8lld  %-13s %-13s %8s %s\n", (long long)fold->number,
           (long long)data->train.n_samples, (long long)data->test.n_samples, (long long)fold->trained.steps,
           ls_text_of_float(fold->trained.last.loss, loss), ls_text_of_float(fold->test.loss, test_loss),
           accuracy, hash);
    fflush(stdout);
}

static enum ls_code log_row(struct folds *folds, const struct fold *fold, struct ls_error *err)
{
    struct ls_runlog *log = folds->report.log;
    if (!log)
        return LS_OK;
    ls_runlog_begin(log, "fold");
    ls_runlog_integer(log, "fold", fold->number);
    ls_runlog_integer(log, "train_samples", folds->setup.data.train.n_samples);
    ls_runlog_integer(log, "test_samples", fold->test.n_samples);
    ls_runlog_integer(log, "steps", fold->trained.steps);
    ls_runlog_float(log, "loss", fold->trained.last.loss);
    ls_runlog_float(log, "test_loss", fold->test.loss);
    if (fold->test.n_correct >= 0)
        ls_runlog_integer(log, "test_correct", fold->test.n_correct);
    if (fold->test.rmse >= 0.0f)
        ls_runlog_float(log, "test_rmse", fold->test.rmse);
    ls_runlog_hash(log, "hash", fold->hash);
    return ls_runlog_end(log, err);
}

static enum ls_code tell(struct folds *folds, const struct fold *fold, struct ls_error *err)
{
    add(&folds->loss, (double)fold->test.loss);
    if (fold->test.n_correct >= 0)
        add(&folds->accuracy, (double)fold->test.n_correct / (double)fold->test.n_samples);
    if (fold->test.rmse >= 0.0f)
        add(&folds->rmse, (double)fold->test.rmse);
    err->code = LS_OK;
    if (ls_comm_rank(folds->setup.session.comm) == 0) {
        print_row(folds, fold);
        err->code = log_row(folds, fold, err);
    }
    return ls_comm_agree(folds->setup.session.comm, err);
}

static void log_column(struct ls_runlog *log, const char *mean, const char *deviation,
                       const struct column *column)
{
    if (column->n == 0)
        return;
    ls_runlog_double(log, mean, mean_of(column));
    ls_runlog_double(log, deviation, deviation_of(column));
}

/* Rank 0 only. */
static enum ls_code sum_up(struct folds *folds, struct ls_error *err)
{
    printf("mean of %lld folds +- standard deviation: test loss %.6g +- %.3g", (long long)folds->loss.n,
           mean_of(&folds->loss), deviation_of(&folds->loss));
    if (folds->accuracy.n > 0)
        printf(", accuracy %.2f %% +- %.2f %%", 100 * mean_of(&folds->accuracy),
               100 * deviation_of(&folds->accuracy));
    if (folds->rmse.n > 0)
        printf(", RMSE %.5g +- %.3g", mean_of(&folds->rmse), deviation_of(&folds->rmse));
    printf("\n");
    struct ls_runlog *log = folds->report.log;
    if (!log)
        return LS_OK;
    ls_runlog_begin(log, "folds");
    ls_runlog_integer(log, "folds", folds->loss.n);
    log_column(log, "mean_test_loss", "deviation_test_loss", &folds->loss);
    log_column(log, "mean_test_accuracy", "deviation_test_accuracy", &folds->accuracy);
    log_column(log, "mean_test_rmse", "deviation_test_rmse", &folds->rmse);
    const enum ls_code code = ls_runlog_end(log, err);
    return code == LS_OK ? ls_runlog_close(&folds->report.log, err) : code;
}

static enum ls_code run_all(struct folds *folds, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    const int64_t n = folds->options->setup->folds;
    for (int64_t k = 0; code == LS_OK && k < n; k++) {
        struct fold fold = {.number = k + 1};
        code = prepare(folds, k, err);
        if (code == LS_OK && k == 0)
            code = start(folds, err);
        if (code == LS_OK)
            code = train(folds, &fold, err);
        if (code == LS_OK)
            code = tell(folds, &fold, err);
    }
    if (code != LS_OK)
        return code;
    err->code = ls_comm_rank(folds->setup.session.comm) == 0 ? sum_up(folds, err) : LS_OK;
    return ls_comm_agree(folds->setup.session.comm, err);
}

enum ls_code ls_train_folds(const struct ls_folds_options *options, struct ls_comm *comm,
                            struct ls_error *err)
{
    struct folds folds = {.options = options};
    enum ls_code code = ls_setup_open(&folds.setup, options->setup, comm, err);
    if (code == LS_OK)
        code = run_all(&folds, err);
    ls_train_report_release(&folds.report);
    ls_setup_release(&folds.setup);
    return code;
}
