/* Owns the look of a training run. */
#include "cli/train_report.h"

#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "cli/train_banner.h"
#include "cli/train_log.h"

static void log_failed(struct ls_train_report *report, enum ls_code code, const struct ls_error *err)
{
    if (code != LS_OK && report->failure.code == LS_OK)
        report->failure = *err;
}

static void log_loss(struct ls_train_report *report, const struct ls_loss_rule *loss)
{
    struct ls_error err = {.code = LS_OK};
    ls_runlog_text(report->log, "loss", ls_loss_names[loss->kind]);
    if (loss->smoothing != 0.0f)
        ls_runlog_float(report->log, "label_smoothing", loss->smoothing);
    if (loss->kind == LS_LOSS_HUBER)
        ls_runlog_float(report->log, "huber_delta", loss->delta);
    char *weights = loss->class_weights ? ls_loss_weights_text(loss, &err) : NULL;
    if (weights)
        ls_runlog_text(report->log, "class_weights", weights);
    log_failed(report, err.code, &err);
    ls_free(weights);
}

static void log_start(struct ls_train_report *report)
{
    struct ls_error err = {.code = LS_OK};
    struct ls_runlog *log = report->log;
    ls_runlog_begin(log, "start");
    ls_runlog_text(log, "version", LS_VERSION);
    ls_runlog_integer(log, "contract_version", LS_CONTRACT_VERSION);
    ls_runlog_text(log, "net", report->net->text);
    log_loss(report, &report->config->loss);
    for (int i = 0; i < report->facts->n; i++)
        ls_runlog_text(log, report->facts->fact[i].key, report->facts->fact[i].text);
    ls_runlog_integer(log, "parameters", report->net->n_parameters);
    ls_runlog_integer(log, "ranks", ls_comm_size(report->session->comm));
    ls_runlog_integer(log, "threads", report->session->threads);
    ls_runlog_text(log, "isa", report->session->ops->name);
    ls_runlog_text(log, "host", ls_comm_host(report->session->comm));
    ls_runlog_text(log, "mpi", ls_comm_library(report->session->comm));
    log_failed(report, ls_runlog_end(log, &err), &err);
}

enum ls_code ls_train_report_open_log(struct ls_train_report *report, const char *path,
                                      const struct ls_net *net, struct ls_error *err)
{
    report->tensor_names =
        ls_alloc((size_t)net->n_tensors, sizeof *report->tensor_names, "tensor names", err);
    report->tensor_hashes =
        ls_alloc((size_t)net->n_tensors, sizeof *report->tensor_hashes, "tensor hashes", err);
    if (!report->tensor_names || !report->tensor_hashes)
        return LS_FAILED;
    for (int t = 0; t < net->n_tensors; t++)
        report->tensor_names[t] = net->tensors[t].name;
    return ls_runlog_open(&report->log, path, err);
}

void ls_train_report_release(struct ls_train_report *report)
{
    ls_runlog_close(&report->log,
                    NULL); /* a failed run's; a finished one's was closed, and checked, before */
    ls_free(report->tensor_names);
    ls_free(report->tensor_hashes);
}

void ls_train_report_start(struct ls_train_report *report)
{
    if (!report->quiet)
        ls_train_banner(report);
    if (report->resumed)
        ls_train_log_continue(report);
    if (report->log && !report->log_continues)
        log_start(report);
    if (report->resumed && !report->quiet)
        printf("resumed after step %lld, in epoch %lld, from '%s'\n\n", (long long)report->resumed->step,
               (long long)report->resumed->epoch, report->resumed->path.text);
    fflush(stdout);
}

static void log_tensors(struct ls_train_report *report, const float *parameters)
{
    for (int t = 0; t < report->net->n_tensors; t++)
        report->tensor_hashes[t] = ls_parameter_hash(&report->net->tensors[t], parameters);
    ls_runlog_hashes(report->log, "tensors", report->tensor_names, report->tensor_hashes,
                     report->net->n_tensors);
}

static void show_live(struct ls_train_report *report, const struct ls_step_report *step)
{
    const double now = ls_now_s();
    if (now - report->last_progress_s < 0.1 && step->step_in_epoch != step->steps_per_epoch)
        return;
    report->last_progress_s = now;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    const int done = (int)(step->step_in_epoch * WIDTH / step->steps_per_epoch);
    memset(bar, ' ', WIDTH);
    memset(bar, '=', (size_t)done);
    bar[WIDTH] = '\0';
    const double left_s =
        (double)(step->steps_per_epoch - step->step_in_epoch) *
        ((double)(report->config->batch * report->config->accumulate) / step->samples_per_s);
    fprintf(stderr, "\repoch %lld [%s] step %lld/%lld  loss %-9.5g %9.0f samples/s  %.1f s left \033[K",
            (long long)step->epoch, bar, (long long)step->step_in_epoch, (long long)step->steps_per_epoch,
            (double)step->loss, step->samples_per_s, left_s);
    fflush(stderr);
}

static void clear_live(const struct ls_train_report *report)
{
    if (report->progress) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
}

void ls_train_report_step(void *context, const struct ls_step_report *step, const float *parameters)
{
    struct ls_train_report *report = context;
    if (report->progress)
        show_live(report, step);
    if (!report->log || !step->hashed)
        return;
    struct ls_error err = {.code = LS_OK};
    ls_runlog_begin(report->log, "step");
    ls_runlog_integer(report->log, "step", step->step);
    ls_runlog_integer(report->log, "epoch", step->epoch);
    ls_runlog_float(report->log, "loss", step->loss);
    ls_runlog_hash(report->log, "hash", step->hash);
    log_tensors(report, parameters);
    log_failed(report, ls_runlog_end(report->log, &err), &err);
}

/* The log's keys of what looks are at: "test_loss", or "validation_loss". */
struct keys {
    char loss[24], correct[24], accuracy[24], rmse[24];
};

static struct keys keys_of(const struct ls_train_report *report)
{
    struct keys keys;
    const char *part = report->data->validation.n_samples > 0 ? "validation" : "test";
    snprintf(keys.loss, sizeof keys.loss, "%s_loss", part);
    snprintf(keys.correct, sizeof keys.correct, "%s_correct", part);
    snprintf(keys.accuracy, sizeof keys.accuracy, "%s_accuracy", part);
    snprintf(keys.rmse, sizeof keys.rmse, "%s_rmse", part);
    return keys;
}

static void log_evaluation(struct ls_runlog *log, const struct keys *keys, const struct ls_evaluation *seen)
{
    ls_runlog_float(log, keys->loss, seen->loss);
    if (seen->n_correct >= 0) {
        ls_runlog_integer(log, keys->correct, seen->n_correct);
        ls_runlog_double(log, keys->accuracy, (double)seen->n_correct / (double)seen->n_samples);
    }
    if (seen->rmse >= 0.0f)
        ls_runlog_float(log, keys->rmse, seen->rmse);
}

static void log_epoch(struct ls_train_report *report, const struct ls_epoch_report *epoch,
                      const float *parameters)
{
    struct ls_error err = {.code = LS_OK};
    struct ls_runlog *log = report->log;
    ls_runlog_begin(log, "epoch");
    ls_runlog_integer(log, "epoch", epoch->epoch);
    ls_runlog_integer(log, "step", epoch->step);
    ls_runlog_float(log, "loss", epoch->loss);
    const struct keys keys = keys_of(report);
    if (epoch->evaluated)
        log_evaluation(log, &keys, &epoch->test);
    if (epoch->is_best)
        ls_runlog_integer(log, "best", 1);
    ls_runlog_double(log, "seconds", epoch->seconds);
    ls_runlog_double(log, "samples_per_s", epoch->samples_per_s);
    ls_runlog_double(log, "compute_share", epoch->compute_share);
    ls_runlog_double(log, "allreduce_share", epoch->allreduce_share);
    ls_runlog_double(log, "data_share", epoch->data_share);
    ls_runlog_hash(log, "hash", epoch->hash);
    log_tensors(report, parameters);
    log_failed(report, ls_runlog_end(log, &err), &err);
}

static const char *loss_text(int evaluated, const struct ls_evaluation *test, char text[LS_FLOAT_TEXT])
{
    return evaluated ? ls_text_of_float(test->loss, text) : "-";
}

static const char *accuracy_text(int evaluated, const struct ls_evaluation *test, char text[32])
{
    if (evaluated && test->n_correct < 0 && test->rmse > 0.0f)
        snprintf(text, 32, "%.5g", (double)test->rmse);
    if (!evaluated || test->n_correct < 0)
        return evaluated && test->rmse > 0.0f ? text : "-";
    snprintf(text, 32, "%.2f %%", 100.0 * (double)test->n_correct / (double)test->n_samples);
    return text;
}

static void print_row(const struct ls_epoch_report *epoch)
{
    char loss[LS_FLOAT_TEXT], test_loss[LS_FLOAT_TEXT], accuracy[32], rate[32], hash[LS_HASH_TEXT];
    ls_hash_text(epoch->hash, hash);
    printf("%5lld %8lld  %-13s %-13s %8s %12s %4.0f/%.0f/%-3.0f %s\n", (long long)epoch->epoch,
           (long long)epoch->step, ls_text_of_float(epoch->loss, loss),
           loss_text(epoch->evaluated, &epoch->test, test_loss),
           accuracy_text(epoch->evaluated, &epoch->test, accuracy),
           ls_text_grouped((int64_t)epoch->samples_per_s, rate), 100 * epoch->compute_share,
           100 * epoch->allreduce_share, 100 * epoch->data_share, hash);
    fflush(stdout);
}

/* Whether the column of the accuracy has the test data's RMSE instead. */
static int measures_rmse(const struct ls_train_report *report)
{
    const struct ls_dataset *train = &report->data->train;
    return !ls_predicts_classes(report->net->out.count, train) &&
           ls_compares_numbers(&report->config->loss, train);
}

static void print_head(struct ls_train_report *report)
{
    if (!report->table_began)
        printf("                                                             compute/allreduce/data\n"
               "epoch     step  loss          %s   %s    samples/s   %% of time hash of "
               "the weights\n",
               report->data->validation.n_samples > 0 ? "valid. loss" : "test loss  ",
               measures_rmse(report) ? "    RMSE" : "accuracy");
    report->table_began = 1;
}

static void log_check(struct ls_train_report *report, const struct ls_check_report *check)
{
    struct ls_error err = {.code = LS_OK};
    struct ls_runlog *log = report->log;
    ls_runlog_begin(log, "check");
    ls_runlog_integer(log, "step", check->step);
    ls_runlog_integer(log, "epoch", check->epoch);
    ls_runlog_float(log, "loss", check->loss);
    if (check->evaluated) {
        const struct keys keys = keys_of(report);
        ls_runlog_float(log, keys.loss, check->test.loss);
        if (check->test.n_correct >= 0)
            ls_runlog_integer(log, keys.correct, check->test.n_correct);
    }
    if (check->is_best)
        ls_runlog_integer(log, "best", 1);
    log_failed(report, ls_runlog_end(log, &err), &err);
}

void ls_train_report_check(void *context, const struct ls_check_report *check)
{
    struct ls_train_report *report = context;
    char loss[LS_FLOAT_TEXT], test_loss[LS_FLOAT_TEXT], accuracy[32];
    if (report->log)
        log_check(report, check);
    if (report->quiet)
        return;
    clear_live(report);
    print_head(report);
    printf("%5lld %8lld  %-13s %-13s %8s  look%s\n", (long long)check->epoch, (long long)check->step,
           ls_text_of_float(check->loss, loss), loss_text(check->evaluated, &check->test, test_loss),
           accuracy_text(check->evaluated, &check->test, accuracy),
           check->is_best ? ", the best so far" : "");
    fflush(stdout);
}

/* A loss that has blown up and is still finite, which is how too high a rate ends when a relu or a bounded
 * activation dies: said once. */
static void warn_of_blow_up(struct ls_train_report *report, const struct ls_epoch_report *epoch)
{
    const float rate = report->config->optimizer.learning_rate;
    if (report->warned || !(epoch->first_loss > 0.0f && epoch->loss > 4.0f * epoch->first_loss))
        return;
    report->warned = 1;
    fprintf(stderr,
            "warning: the mean loss of epoch %lld, %.4g, is %.3g times that of the first update: the "
            "learning rate %.3g is "
            "probably too high; try --lr %.3g, or lockstep lrfind\n",
            (long long)epoch->epoch, (double)epoch->loss, (double)(epoch->loss / epoch->first_loss),
            (double)rate, (double)rate / 10);
}

enum ls_code ls_train_report_epoch(void *context, const struct ls_epoch_report *epoch,
                                   const float *parameters, struct ls_error *err)
{
    struct ls_train_report *report = context;
    if (report->log)
        log_epoch(report, epoch, parameters);
    clear_live(report);
    if (!report->quiet) {
        print_head(report);
        print_row(epoch);
    }
    warn_of_blow_up(report, epoch);
    if (report->failure.code != LS_OK)
        *err = report->failure;
    return report->failure.code;
}

/* Silent when a run of given length ended as given and keeps its last model. */
static void print_end(const struct ls_train_report *report, const struct ls_train_result *result)
{
    char loss[LS_FLOAT_TEXT], accuracy[32];
    const struct ls_look *best = &result->best;
    const struct ls_evaluation test = {.n_correct = best->n_correct, .n_samples = best->n_samples};
    if (result->stopped > LS_STOP_STEPS && result->stopped < LS_STOP_NONE)
        printf("stopped at step %lld: %s\n", (long long)result->steps, ls_stop_describe(result->stopped));
    if (best->step > 0 && (report->config->keep_best || report->config->stop.patience > 0))
        printf("best look: step %lld (epoch %lld), loss %s, accuracy %s%s\n", (long long)best->step,
               (long long)best->epoch, ls_text_of_float(best->loss, loss), accuracy_text(1, &test, accuracy),
               report->config->keep_best ? "; that model is kept" : "");
}

void ls_train_report_test(struct ls_train_report *report, const struct ls_evaluation *test)
{
    static const struct keys keys = {"test_loss", "test_correct", "test_accuracy", "test_rmse"};
    struct ls_error err = {.code = LS_OK};
    report->test = test;
    if (!report->log)
        return;
    ls_runlog_begin(report->log, "test");
    ls_runlog_integer(report->log, "samples", test->n_samples);
    log_evaluation(report->log, &keys, test);
    log_failed(report, ls_runlog_end(report->log, &err), &err);
}

static void print_test(const struct ls_evaluation *test)
{
    char loss[LS_FLOAT_TEXT], accuracy[32], n[32];
    printf("test samples, once, with the model that is kept: loss %s, %s %s, %s samples\n",
           ls_text_of_float(test->loss, loss), test->n_correct >= 0 ? "accuracy" : "RMSE",
           accuracy_text(1, test, accuracy), ls_text_grouped(test->n_samples, n));
}

enum ls_code ls_train_report_end(struct ls_train_report *report, enum ls_code outcome, const char *message,
                                 const struct ls_train_result *result, struct ls_error *err)
{
    clear_live(report);
    const int here = !report->resumed || result->last.step >= report->resumed->step; /* not before it */
    if (report->quiet && result->last.epoch > 0 && here)
        print_row(&result->last);
    if (!report->quiet)
        print_end(report, result);
    if (report->test)
        print_test(report->test);
    if (!report->log)
        return LS_OK;
    ls_runlog_begin(report->log, "end");
    ls_runlog_text(report->log, "outcome",
                   outcome == LS_OK            ? "finished"
                   : outcome == LS_INTERRUPTED ? "interrupted"
                                               : "non-finite");
    if (outcome != LS_OK)
        ls_runlog_text(report->log, "message", message);
    ls_runlog_integer(report->log, "steps", result->steps);
    ls_runlog_integer(report->log, "epochs", result->epochs);
    ls_runlog_text(report->log, "stopped_by", ls_stop_names[result->stopped]);
    ls_runlog_integer(report->log, "kept_step", result->good_step);
    if (result->best.step > 0) {
        ls_runlog_integer(report->log, "best_step", result->best.step);
        ls_runlog_integer(report->log, "best_epoch", result->best.epoch);
        ls_runlog_float(report->log, "best_loss", result->best.loss);
    }
    const enum ls_code code = ls_runlog_end(report->log, err);
    return code == LS_OK ? ls_runlog_close(&report->log, err) : code;
}
