/* Owns looks at how a run goes, and the model it would fall back to. */
#include <string.h>

#include "base/timer.h"
#include "train/run.h"

const float *ls_run_shown(const struct ls_run *run)
{
    return run->average.flat ? run->average.flat : run->parameters;
}

void ls_run_remember_good(struct ls_run *run)
{
    memcpy(run->good, ls_run_shown(run), (size_t)run->net->n_floats * sizeof *run->good);
    run->good_step = run->step;
}

enum ls_code ls_run_look(struct ls_run *run, float train_loss, int evaluate, int *is_best,
                         struct ls_error *err)
{
    const int again = run->last_look == run->step; /* an epoch's end that was just looked at */
    if (evaluate && !again) {
        const enum ls_code code = ls_engine_evaluate(&run->engine, ls_run_shown(run),
                                                     ls_data_watched(run->data), &run->last_test, err);
        if (code != LS_OK)
            return code;
    }
    run->last_look = run->step;
    run->look_loss.count = 0;
    run->samples_since_look = 0;
    *is_best = again && run->stopping.best.step == run->step;
    if (again)
        return LS_OK;
    const struct ls_look seen = {.step = run->step,
                                 .epoch = run->epoch,
                                 .loss = evaluate ? run->last_test.loss : train_loss,
                                 .n_correct = evaluate ? run->last_test.n_correct : -1,
                                 .n_samples = evaluate ? run->last_test.n_samples : 0};
    ls_learning_rate_watch(&run->rate, seen.loss);
    const enum ls_stop_reason reason = ls_stopping_look(&run->stopping, &seen, is_best);
    if (run->stop == LS_STOP_NONE)
        run->stop = reason;
    if (*is_best && run->config->keep_best)
        ls_run_remember_good(run);
    return LS_OK;
}

enum ls_code ls_run_check(struct ls_run *run, struct ls_error *err)
{
    const double began = ls_now_s();
    const struct ls_step_times training = run->engine.times; /* looks are no part of it */
    struct ls_check_report report = {
        .step = run->step,
        .epoch = run->epoch,
        .loss = ls_tree_sum(&run->look_loss) * (1.0f / (float)run->samples_since_look),
        .evaluated = ls_data_watched(run->data)->n_samples > 0,
    };
    const enum ls_code code = ls_run_look(run, report.loss, report.evaluated, &report.is_best, err);
    report.test = run->last_test;
    if (code == LS_OK && run->observer && run->observer->on_check)
        run->observer->on_check(run->observer->context, &report);
    run->engine.times = training;
    run->paused_s += ls_now_s() - began;
    return code;
}
