/* Owns the order of a run.  ls_train at the end is the prose; the rest are its sentences. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "train/divergence.h"
#include "train/replica.h"
#include "train/requests.h"
#include "train/run.h"
#include "train/update.h"

static enum ls_code set_up_state(struct ls_run *run, struct ls_error *err)
{
    const struct ls_train_config *config = run->config;
    const ptrdiff_t n_floats = run->net->n_floats;
    enum ls_code code = ls_update_create(run, err);
    if (code == LS_OK && config->ema > 0.0f)
        code = ls_average_create(&run->average, n_floats, config->ema, run->parameters, err);
    if (code == LS_OK) {
        run->good = ls_alloc((size_t)n_floats, sizeof *run->good, "copy of the parameters", err);
        code = run->good ? LS_OK : LS_FAILED;
    }
    return code;
}

/* Slices of cache lines; of blocks where a norm is a sum over these. */
static ptrdiff_t shard_granule(const struct ls_train_config *config)
{
    const ptrdiff_t line = 16;
    const int with_norm = config->optimizer.clip_norm > 0.0f || config->stop.gradient_tolerance > 0.0f;
    return !config->shard_optimizer ? 0 : with_norm ? LS_LANESUM_BLOCK : line;
}

static enum ls_code set_up(struct ls_run *run, struct ls_error *err)
{
    const struct ls_train_config *config = run->config;
    const int64_t n = run->data->train.n_samples, update = ls_samples_per_update(config);
    const int tested = config->eval_every > 0 || config->check_every > 0;
    const struct ls_engine_plan plan = {
        .loss = config->loss,
        .allreduce = config->allreduce,
        .bucket_bytes = config->bucket_bytes,
        .microbatch = config->microbatch,
        .batch = {config->batch, n % config->batch},
        .n_evaluated = tested ? ls_data_watched(run->data)->n_samples : 0,
        .seed = config->seed,
        .n_values = run->data->train.n_values,
        .augment = config->augment,
        .shard_granule = shard_granule(config),
        .with_probe = config->cross_check > 0,
        .with_gradients = 1,
    };
    enum ls_code code = ls_engine_create(&run->engine, run->net, run->ops, run->comm, &plan, err);
    if (code == LS_OK)
        code = ls_accumulator_create(&run->accumulator, config->batch, update / config->batch, run->net, err);
    if (code == LS_OK)
        code =
            ls_cross_check_create(&run->cross_check, config->cross_check, config->batch, &run->engine, err);
    if (code == LS_OK)
        code = set_up_state(run, err);
    if (code != LS_OK)
        return code;
    if (config->shuffle == LS_SHUFFLE_BLOCKS)
        ls_sampler_init_blocks(&run->sampler, n, config->shuffle_block, config->seed);
    else
        ls_sampler_init(&run->sampler, n, config->shuffle, config->seed);
    run->rate = ls_learning_rate_start(&config->schedule, config->optimizer.learning_rate,
                                       ls_updates_per_epoch(n, update, config->drop_last), config->epochs,
                                       config->steps);
    run->engine.request = ls_requests_of;
    run->engine.asked = run;
    run->engine.prefetch = ls_prefetch_create(&run->data->train);
    run->stopping.rule = config->stop;
    run->began_s = run->checkpoint_s = ls_now_s();
    ls_run_remember_good(run);
    if (config->resume && config->resume->file)
        code = ls_run_restore(run, err);
    if (code == LS_OK && config->checkpoint.folder && ls_comm_rank(run->comm) == 0)
        code = ls_checkpoint_writer_create(&run->writer, run, err);
    return code;
}

/* Every rank has read the checkpoint by itself. */
static enum ls_code compare_resumed(struct ls_run *run, struct ls_error *err)
{
    struct ls_hash hash;
    if (!run->in_epoch || ls_comm_size(run->comm) == 1)
        return LS_OK;
    return ls_run_compare(run, &hash, err);
}

static void tear_down(struct ls_run *run)
{
    ls_prefetch_destroy(&run->engine.prefetch);
    ls_checkpoint_writer_destroy(&run->writer);
    ls_engine_release(&run->engine);
    ls_accumulator_release(&run->accumulator);
    ls_cross_check_release(&run->cross_check);
    ls_update_release(run);
    ls_average_release(&run->average);
    ls_free(run->good);
}

/* The run went to infinity: says where, what to do, and brings the last good parameters back. */
static enum ls_code diverged(struct ls_run *run, float loss, const float *sum, struct ls_error *err)
{
    char where[256], advice[160], loss_text[LS_FLOAT_TEXT];
    const double rate = (double)ls_learning_rate_at(&run->rate, run->step - 1);
    ls_describe_overflow(run->net, run->parameters, sum, where, sizeof where);
    if (run->step == 1 && !run->updated)
        snprintf(advice, sizeof advice,
                 "no update was made yet: the first weights or the inputs are too large, or not numbers");
    else
        snprintf(advice, sizeof advice,
                 "the learning rate %g is probably too high: try --lr %.3g, or scale the inputs (--scale "
                 "standard)",
                 rate, rate / 10);
    return ls_fail(err, LS_NONFINITE,
                   "training went non-finite at step %lld (epoch %lld): the loss is %s, %s; %s. The model of "
                   "step %lld is kept",
                   (long long)run->step, (long long)run->epoch, ls_text_of_float(loss, loss_text), where,
                   advice, (long long)run->good_step);
}

/* Replicas must hold the same bits; the same hash on all ranks is the proof.  *hash is that of what is shown.
 */
enum ls_code ls_run_compare(struct ls_run *run, struct ls_hash *hash, struct ls_error *err)
{
    char what[64];
    struct ls_hash held;
    snprintf(what, sizeof what, "parameters after step %lld", (long long)run->step);
    err->code = ls_net_hash(run->net, run->parameters, &held, err);
    *hash = held;
    if (err->code == LS_OK && run->average.flat)
        err->code = ls_net_hash(run->net, run->average.flat, hash, err);
    const enum ls_code code = ls_comm_agree(run->comm, err);
    return code != LS_OK ? code : ls_replica_compare(run->comm, run->net, run->parameters, held, what, err);
}

/* Whether all ranks' parameters are compared after the update at hand. */
static int is_compared(const struct ls_run *run)
{
    return ls_run_due(run->step, run->config->hash_every) || ls_cross_check_is_due(&run->cross_check);
}

/* Whether parameters are not finite; ranks of which some only see that are told *differ. */
static int is_spoilt(struct ls_run *run, int *differ)
{
    const uint64_t found = ls_net_find_nonfinite(run->net, run->parameters, &(ptrdiff_t){0}) != NULL;
    uint64_t most[] = {found, !found};
    ls_comm_take_largest(run->comm, most, 2);
    *differ = most[0] && most[1];
    return most[0] != 0;
}

/* Loss, gradients or parameters are not finite.  They should be so on all ranks: if one only has seen a
 * message that changed on its way, it must not act alone. */
static enum ls_code not_finite(struct ls_run *run, float loss, const float *sum, struct ls_error *err)
{
    struct ls_hash hash;
    /* Those who see nothing wrong compare too; but updates of slices come before that, and are collective. */
    const int compares = is_compared(run);
    if (!compares || run->engine.shards.n > 0)
        ls_step_meet(&run->engine);
    enum ls_code code = compares ? ls_run_compare(run, &hash, err) : LS_OK;
    int differ = 0;
    if (code == LS_OK && !is_spoilt(run, &differ))
        sum = ls_update_whole_sum(run, sum); /* no update was made by it: that would show in parameters */
    if (differ)
        code = ls_run_compare(run, &hash, err);
    return code != LS_OK ? code : diverged(run, loss, sum, err);
}

/* What follows an update: comparisons, looks, the observer. */
static enum ls_code after_update(struct ls_run *run, struct ls_step_report *report, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    report->hashed = ls_run_due(run->step, run->config->hash_every);
    if (is_compared(run))
        code = ls_run_compare(run, &report->hash, err);
    if (code == LS_OK && run->observer && run->observer->on_step) {
        const double seconds = ls_now_s() - run->epoch_began_s - run->paused_s;
        report->samples_per_s = (double)run->samples_timed / seconds;
        run->observer->on_step(run->observer->context, report, ls_run_shown(run));
    }
    if (code == LS_OK && ls_run_due(run->step, run->config->check_every))
        code = ls_run_check(run, err);
    if (run->stop == LS_STOP_NONE && run->observer && run->observer->stop &&
        run->observer->stop(run->observer->context))
        run->stop = LS_STOP_ASKED;
    return code == LS_OK ? ls_requests_heed(run, err) : code;
}

/* An update by the B samples at run->position of the epoch. */
static enum ls_code one_step(struct ls_run *run, int64_t B, struct ls_error *err)
{
    const float *sum = NULL;
    const int64_t first = run->position;
    run->engine.step = (uint64_t)run->step;
    ls_fault_step(run->step + 1, ls_comm_rank(run->comm));
    ls_cross_check_begin(&run->cross_check, run->step + 1, B);
    ls_update_expect(run, B);
    enum ls_code code = ls_accumulate(&run->accumulator, &run->engine, run->parameters, &run->data->train,
                                      &run->sampler, first, B, &sum, err);
    if (code == LS_OK)
        code = ls_cross_check_end(&run->cross_check, run->parameters, &run->data->train, &run->sampler, first,
                                  err);
    if (code != LS_OK)
        return code;
    run->step++;
    run->position += ls_samples_per_update(run->config);
    run->samples_in_epoch += B;
    run->samples_timed += B;
    run->samples_since_look += B;
    const float loss_sum = sum[run->net->n_floats];
    const float loss = loss_sum * (1.0f / (float)B);
    if (!isfinite(loss) || !ls_averages_are_finite(run->net, run->parameters))
        return not_finite(run, loss, sum, err);
    const int64_t telling = 16; /* samples: the loss of fewer may be anything */
    if (run->step == 1 && B >= telling)
        run->first_loss = loss;
    ls_tree_push(&run->epoch_loss, loss_sum);
    ls_tree_push(&run->look_loss, loss_sum);
    struct ls_step_report report = {.step = run->step,
                                    .epoch = run->epoch,
                                    .step_in_epoch = first / ls_samples_per_update(run->config) + 1,
                                    .steps_per_epoch = run->rate.per_epoch,
                                    .loss = loss};
    if (ls_update_make(run, B, sum, &report))
        return not_finite(run, loss, sum, err);
    ls_fault_strike(LS_FAULT_WEIGHT, run->parameters, run->net->n_floats, 1);
    return after_update(run, &report, err);
}

static void begin_epoch(struct ls_run *run)
{
    run->epoch++;
    run->position = 0;
    run->in_epoch = 1;
    run->epoch_loss.count = 0;
    run->samples_in_epoch = 0;
}

/* From its beginning, or from where a checkpoint was in it. */
static enum ls_code train_epoch(struct ls_run *run, struct ls_error *err)
{
    const int64_t n = run->data->train.n_samples, whole = ls_samples_per_update(run->config);
    run->paused_s = 0;
    run->samples_timed = 0;
    run->engine.times = (struct ls_step_times){0};
    run->epoch_began_s = ls_now_s();
    ls_sampler_set_epoch(&run->sampler, (uint64_t)run->epoch - 1);
    run->engine.augment.epoch = (uint64_t)run->epoch - 1;
    enum ls_code code = LS_OK;
    while (code == LS_OK && !ls_run_epoch_is_over(run) && !ls_run_finished(run))
        code = one_step(run, n - run->position < whole ? n - run->position : whole, err);
    return code;
}

static enum ls_code mean_shares(struct ls_run *run, struct ls_epoch_report *report, struct ls_error *err)
{
    const struct ls_step_times *t = &run->engine.times;
    const double share = report->seconds > 0 ? 1.0 / report->seconds : 0.0;
    struct ls_spread spread = {0};
    enum ls_code code = ls_comm_spread(run->comm, (t->compute_s + t->update_s) * share, &spread, err);
    report->compute_share = spread.mean;
    if (code == LS_OK)
        code = ls_comm_spread(run->comm, t->allreduce_s * share, &spread, err);
    report->allreduce_share = spread.mean;
    if (code == LS_OK)
        code = ls_comm_spread(run->comm, t->data_s * share, &spread, err);
    report->data_share = spread.mean;
    return code;
}

static enum ls_code finish_epoch(struct ls_run *run, struct ls_epoch_report *report, struct ls_error *err)
{
    const int last = ls_run_finished(run) || run->epoch == run->config->epochs;
    const int64_t n_watched = ls_data_watched(run->data)->n_samples;
    const int test = n_watched > 0 && run->config->eval_every > 0;
    /* With --eval-every 0 the looks are those of --check-every: at the test data, not to be mixed with these.
     */
    const int looks = test || n_watched == 0 || run->config->check_every == 0;
    *report = (struct ls_epoch_report){
        .epoch = run->epoch,
        .step = run->step,
        .n_samples = run->samples_in_epoch,
        .first_loss = run->first_loss,
        .seconds = ls_now_s() - run->epoch_began_s - run->paused_s,
        .loss = ls_tree_sum(&run->epoch_loss) * (1.0f / (float)run->samples_in_epoch),
        .evaluated = test && (last || ls_run_due(run->epoch, run->config->eval_every)),
    };
    report->samples_per_s = (double)run->samples_timed / report->seconds;
    enum ls_code code = mean_shares(run, report, err);
    if (code == LS_OK && (report->evaluated || (looks && !test)))
        code = ls_run_look(run, report->loss, report->evaluated, &report->is_best, err);
    report->test = run->last_test;
    if (code == LS_OK)
        code = ls_run_compare(run, &report->hash, err);
    if (code == LS_OK && !run->config->keep_best)
        ls_run_remember_good(run);
    run->in_epoch = 0;
    return code;
}

/* Only some ranks observe, and any of them may fail to write: all ranks learn of it. */
static enum ls_code tell_observers(struct ls_run *run, const struct ls_epoch_report *report,
                                   struct ls_error *err)
{
    err->code = LS_OK;
    if (run->observer && run->observer->on_epoch)
        err->code = run->observer->on_epoch(run->observer->context, report, ls_run_shown(run), err);
    return ls_comm_agree(run->comm, err);
}

static void train_epochs(void *context)
{
    struct ls_run *run = context;
    struct ls_epoch_report *last = &run->last_epoch;
    while (run->code == LS_OK &&
           (run->in_epoch || (run->epoch < run->config->epochs && !ls_run_finished(run)))) {
        if (!run->in_epoch)
            begin_epoch(run);
        run->code = train_epoch(run, run->err);
        if (run->code == LS_OK && run->stop == LS_STOP_SIGNAL)
            run->code = ls_requests_interrupted(run, run->err);
        if (run->code == LS_OK)
            run->code = finish_epoch(run, last, run->err);
        if (run->code == LS_OK)
            run->code = tell_observers(run, last, run->err);
    }
}

/* The last checkpoint may still be under way.  That it failed counts where nothing worse happened. */
static enum ls_code finish_writing(struct ls_run *run)
{
    struct ls_error written = {.code = LS_OK};
    const int agreed = run->code == LS_OK || run->code == LS_NONFINITE;
    if (!run->config->checkpoint.folder || !agreed)
        return run->code;
    written.code = ls_checkpoint_writer_wait(run->writer, &written);
    if (ls_comm_agree(run->comm, &written) == LS_OK || run->code != LS_OK)
        return run->code;
    *run->err = written;
    return written.code;
}

/* Which parameters the caller gets, and what ended the run. */
static void hand_over(struct ls_run *run)
{
    struct ls_train_result *result = run->result;
    const int looked = run->stopping.best.step > 0;
    const int ended_well = run->code == LS_OK || run->code == LS_INTERRUPTED;
    if (ended_well && !(run->config->keep_best && looked))
        ls_run_remember_good(run);
    if (ended_well || run->code == LS_NONFINITE)
        memcpy(run->parameters, run->good, (size_t)run->net->n_floats * sizeof *run->good);
    result->steps = run->step;
    result->epochs = run->epoch;
    result->good_step = run->good_step;
    result->last = run->last_epoch;
    result->best = run->stopping.best;
    result->stopped = !ended_well ? LS_STOP_NONE : run->stop == LS_STOP_NONE ? LS_STOP_EPOCHS : run->stop;
}

enum ls_code ls_train(const struct ls_train_config *config, const struct ls_net *net,
                      const struct ls_ops *ops, struct ls_comm *comm, const struct ls_data *data,
                      float *parameters, const struct ls_observer *observer, struct ls_train_result *result,
                      struct ls_error *err)
{
    struct ls_run run = {.config = config,
                         .net = net,
                         .ops = ops,
                         .comm = comm,
                         .data = data,
                         .observer = observer,
                         .parameters = parameters,
                         .stop = LS_STOP_NONE,
                         .result = result,
                         .err = err};
    *result = (struct ls_train_result){.stopped = LS_STOP_NONE};
    err->code = set_up(&run, err);
    run.code = ls_comm_agree(comm, err);
    if (run.code == LS_OK)
        run.code = compare_resumed(&run, err);
    if (run.code == LS_OK) {
        ops->with_team(train_epochs, &run);
        run.code = finish_writing(&run);
        hand_over(&run);
    }
    tear_down(&run);
    return run.code;
}
