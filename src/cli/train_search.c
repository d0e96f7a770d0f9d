/* Owns the look of a random search. */
#include "cli/train_search.h"

#include "base/text.h"
#include "base/timer.h"

enum ls_code ls_search_check_init(const struct ls_init *init, const char *text, struct ls_error *err)
{
    if (init->kind == LS_INIT_ZEROS || init->kind == LS_INIT_CONSTANT)
        return ls_fail(
            err, LS_USAGE,
            "--init %.60s gives every trial of --optimizer random-search the same weights: give one that "
            "draws, such as he-uniform or normal=0.5",
            text);
    return LS_OK;
}

static enum ls_code tell_trial(void *context, int64_t trial, const struct ls_evaluation *train, int is_best,
                               struct ls_error *err)
{
    const struct ls_train_report *report = context;
    char loss[LS_FLOAT_TEXT];
    if (is_best && !report->quiet) {
        printf("trial %8lld  loss %-13s", (long long)trial, ls_text_of_float(train->loss, loss));
        if (train->n_correct >= 0)
            printf(" accuracy %6.2f %%", 100.0 * (double)train->n_correct / (double)train->n_samples);
        printf("  the best so far\n");
        fflush(stdout);
    }
    if (!report->log)
        return LS_OK;
    ls_runlog_begin(report->log, "trial");
    ls_runlog_integer(report->log, "trial", trial);
    ls_runlog_float(report->log, "loss", train->loss);
    if (is_best)
        ls_runlog_integer(report->log, "best", 1);
    return ls_runlog_end(report->log, err);
}

static enum ls_code log_best(struct ls_train_report *report, int64_t trials,
                             const struct ls_search_result *search, struct ls_error *err)
{
    if (!report->log)
        return LS_OK;
    ls_runlog_begin(report->log, "search");
    ls_runlog_integer(report->log, "trials", trials);
    ls_runlog_integer(report->log, "best_trial", search->best_trial);
    ls_runlog_float(report->log, "loss", search->train.loss);
    return ls_runlog_end(report->log, err);
}

/* As an epoch's line. */
static struct ls_epoch_report row_of(const struct ls_search_result *search, int64_t trials, double seconds)
{
    const double n = (double)trials * (double)search->train.n_samples,
                 share = seconds > 0 ? 1.0 / seconds : 0.0;
    return (struct ls_epoch_report){.epoch = trials,
                                    .n_samples = search->train.n_samples,
                                    .loss = search->train.loss,
                                    .evaluated = search->test.n_samples > 0,
                                    .is_best = 1,
                                    .test = search->test,
                                    .seconds = seconds,
                                    .samples_per_s = n * share,
                                    .compute_share = search->times.compute_s * share,
                                    .allreduce_share = search->times.allreduce_s * share,
                                    .data_share = search->times.data_s * share};
}

enum ls_code ls_train_search(struct ls_setup *setup, int64_t trials, struct ls_train_report *report,
                             struct ls_search_result *search, struct ls_train_result *result,
                             struct ls_error *err)
{
    struct ls_comm *comm = setup->session.comm;
    const struct ls_train_config *c = &setup->config;
    const struct ls_search_config config = {.loss = c->loss,
                                            .allreduce = c->allreduce,
                                            .microbatch = c->microbatch,
                                            .trials = trials,
                                            .seed = c->seed,
                                            .init = setup->init};
    const struct ls_search_observer observer = {.context = report, .on_trial = tell_trial};
    const double began = ls_now_s();
    *result = (struct ls_train_result){.epochs = trials};
    enum ls_code code = ls_random_search(&config, &setup->net, setup->session.ops, comm, &setup->data,
                                         setup->parameters, report ? &observer : NULL, search, err);
    if (code != LS_OK)
        return code;
    struct ls_epoch_report *row = &result->last;
    *row = row_of(search, trials, ls_now_s() - began);
    err->code = ls_net_hash(&setup->net, setup->parameters, &row->hash, err);
    if ((code = ls_comm_agree(comm, err)) == LS_OK)
        code = ls_comm_compare_hashes(comm, row->hash, "the best trial's parameters", err);
    if (code != LS_OK)
        return code;
    if (report && (err->code = log_best(report, trials, search, err)) == LS_OK)
        err->code = ls_train_report_epoch(report, row, setup->parameters, err);
    return ls_comm_agree(comm, err);
}
