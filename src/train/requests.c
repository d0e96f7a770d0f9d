/* Owns the numbers by which ranks ask, and the clocks and flags behind them.  See requests.h. */
#include "train/requests.h"

#include "base/timer.h"
#include "train/run.h"
#include "train/signals.h"

/* What a rank may ask all ranks for: the end as often as there are ranks, the rest once. */
enum { ASK_END = 1, ASK_CHECKPOINT = 1 << 18, ASK_TIME_IS_OVER = 1 << 19, ASK_WRITE_FAILED = 1 << 20 };

/* Rank 0's clock decides, so that all ranks do the same after the same update. */
int64_t ls_requests_of(const void *context)
{
    const struct ls_run *run = context;
    const struct ls_train_config *config = run->config;
    const double now = ls_now_s();
    int64_t asked = ls_signals_caught() ? ASK_END : 0;
    if (ls_comm_rank(run->comm) != 0)
        return asked;
    if (config->stop.seconds > 0 && now - run->began_s >= config->stop.seconds)
        asked += ASK_TIME_IS_OVER;
    if (run->writer && config->checkpoint.every_s > 0 &&
        now - run->checkpoint_s >= config->checkpoint.every_s)
        asked += ASK_CHECKPOINT;
    if (ls_checkpoint_writer_failed(run->writer))
        asked += ASK_WRITE_FAILED;
    return asked;
}

enum ls_code ls_requests_heed(struct ls_run *run, struct ls_error *err)
{
    const struct ls_checkpoint_rule *rule = &run->config->checkpoint;
    const int64_t asked = run->engine.requested;
    if (asked < 0)
        ls_comm_disagree(run->comm,
                         "what the ranks ask of one another arrived as no number that any can ask");
    const int ends = (asked & (ASK_CHECKPOINT - 1)) != 0;
    if (asked & ASK_TIME_IS_OVER && run->stop == LS_STOP_NONE)
        run->stop = LS_STOP_TIME;
    const int last = ls_run_finished(run) || (run->epoch == run->config->epochs && ls_run_epoch_is_over(run));
    enum ls_code code = LS_OK;
    if (rule->folder && (ends || last || asked & (ASK_CHECKPOINT | ASK_WRITE_FAILED) ||
                         ls_run_due(run->step, rule->every_steps)))
        code = ls_run_checkpoint(run, ends, err);
    if (ends)
        run->stop = LS_STOP_SIGNAL;
    return code;
}

enum ls_code ls_requests_interrupted(const struct ls_run *run, struct ls_error *err)
{
    const char *folder = run->config->checkpoint.folder;
    if (folder)
        return ls_fail(err, LS_INTERRUPTED,
                       "a signal ended training after step %lld (epoch %lld), which is in '%s': go on with "
                       "'lockstep train --resume %s'",
                       (long long)run->step, (long long)run->epoch,
                       ls_checkpoint_path(folder, run->step).text, folder);
    return ls_fail(err, LS_INTERRUPTED,
                   "a signal ended training after step %lld (epoch %lld); with --checkpoint it could go on",
                   (long long)run->step, (long long)run->epoch);
}
