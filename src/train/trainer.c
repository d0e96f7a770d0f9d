/* Owns the order of a run.  ls_train at the end is the prose; the rest are its sentences. */
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"

/* Everything that changes while training, besides the parameters. */
struct run {
    const struct ls_train_config *config;
    const struct ls_net *net;
    const struct ls_ops *ops;
    struct ls_comm *comm;
    const struct ls_data *data;
    const struct ls_observer *observer;
    float *parameters;
    float *good; /* parameters at the last epoch's end */
    int64_t good_step;
    struct ls_engine engine;
    struct ls_sampler sampler;
    struct ls_optimizer optimizer;
    struct ls_learning_rate rate;
    struct ls_tree epoch_loss;
    int64_t step, epoch, samples_in_epoch;
    double epoch_began_s;
    struct ls_train_result *result;
    struct ls_error *err;
    enum ls_code code; /* agreed: LS_OK while the run goes on */
};

static void remember_good(struct run *run)
{
    memcpy(run->good, run->parameters, (size_t)run->net->n_floats * sizeof *run->good);
    run->good_step = run->step;
}

static enum ls_code set_up(struct run *run, struct ls_error *err)
{
    const struct ls_train_config *config = run->config;
    const int64_t tested = config->eval_every > 0 ? run->data->test.n_samples : 0;
    const struct ls_engine_plan plan = {
        .loss = config->loss,
        .allreduce = config->allreduce,
        .microbatch = config->microbatch,
        .batch = {config->batch, run->data->train.n_samples % config->batch},
        .n_evaluated = tested,
        .seed = config->seed,
        .n_values = run->data->train.n_values,
        .augment = config->augment,
        .with_gradients = 1,
    };
    enum ls_code code = ls_engine_create(&run->engine, run->net, run->ops, run->comm, &plan, err);
    if (code == LS_OK)
        code = ls_optimizer_create(&run->optimizer, &config->optimizer, run->net->tensors,
                                   run->net->n_tensors, run->net->n_floats, err);
    if (code == LS_OK) {
        run->good = ls_alloc((size_t)run->net->n_floats, sizeof *run->good, "copy of the parameters", err);
        code = run->good ? LS_OK : LS_FAILED;
    }
    if (code != LS_OK)
        return code;
    ls_sampler_init(&run->sampler, run->data->train.n_samples, config->shuffle, config->seed);
    run->rate = ls_learning_rate_start(
        &config->schedule, config->optimizer.learning_rate,
        ls_updates_per_epoch(run->data->train.n_samples, config->batch, config->drop_last), config->epochs,
        config->steps);
    remember_good(run);
    return LS_OK;
}

static void tear_down(struct run *run)
{
    ls_engine_release(&run->engine);
    ls_optimizer_release(&run->optimizer);
    ls_free(run->good);
}

/* The element of the flat gradient that is largest: where it blows up when only the loss has overflowed. */
static const struct ls_parameter *find_largest(const struct ls_net *net, const float *flat,
                                               ptrdiff_t *element)
{
    const struct ls_parameter *largest = NULL;
    float most = -1.0f;
    for (int t = 0; t < net->n_tensors; t++)
        for (ptrdiff_t i = 0; i < net->tensors[t].count; i++) {
            const float size = __builtin_fabsf(flat[net->tensors[t].offset + i]);
            if (size > most) {
                most = size;
                largest = &net->tensors[t];
                *element = i;
            }
        }
    return largest;
}

/* "first in parameter '0.weight' [3,7]" */
static void describe_overflow(const struct run *run, const float *sum, char *text, size_t size)
{
    ptrdiff_t element = 0;
    char where[128] = "", index[60];
    const char *what = "first in parameter ";
    const struct ls_parameter *tensor = ls_net_find_nonfinite(run->net, run->parameters, &element);
    if (!tensor) {
        what = "first in the gradient of ";
        tensor = ls_net_find_nonfinite(run->net, sum, &element);
    }
    if (!tensor) {
        what = "the gradients are still finite, the largest is that of ";
        tensor = find_largest(run->net, sum, &element);
    }
    if (tensor) {
        ls_parameter_index(tensor, element, index, sizeof index);
        snprintf(where, sizeof where, "'%s' %s", tensor->name, index);
    }
    snprintf(text, size, "%s%s", tensor ? what : "the net has no parameters", where);
}

/* The run went to infinity: says where, what to do, and brings the last good parameters back. */
static enum ls_code diverged(struct run *run, float loss, const float *sum, struct ls_error *err)
{
    char where[256], advice[160], loss_text[LS_FLOAT_TEXT];
    const double rate = (double)run->config->optimizer.learning_rate;
    describe_overflow(run, sum, where, sizeof where);
    if (run->step == 1 && !isfinite(loss))
        snprintf(advice, sizeof advice,
                 "no update was made yet: the first weights or the inputs are too large, or not numbers");
    else
        snprintf(
            advice, sizeof advice,
            "the learning rate %g is probably too high: try --lr %.3g, or check that the inputs are scaled",
            rate, rate / 10);
    memcpy(run->parameters, run->good, (size_t)run->net->n_floats * sizeof *run->good);
    return ls_fail(err, LS_NONFINITE,
                   "training went non-finite at step %lld (epoch %lld): the loss is %s, %s; %s. The model of "
                   "step %lld is kept",
                   (long long)run->step, (long long)run->epoch, ls_text_of_float(loss, loss_text), where,
                   advice, (long long)run->good_step);
}

/* Replicas must hold the same bits; the same hash on all ranks is the proof. */
static enum ls_code compare_replicas(struct run *run, struct ls_hash *hash, struct ls_error *err)
{
    char what[64];
    snprintf(what, sizeof what, "parameters after step %lld", (long long)run->step);
    err->code = ls_net_hash(run->net, run->parameters, hash, err);
    const enum ls_code code = ls_comm_agree(run->comm, err);
    return code != LS_OK ? code : ls_comm_compare_hashes(run->comm, *hash, what, err);
}

static int due(int64_t count, int64_t every)
{
    return every > 0 && count % every == 0;
}

static enum ls_code one_step(struct run *run, int64_t first, int64_t B, struct ls_error *err)
{
    float *sum = NULL;
    run->engine.step = (uint64_t)run->step;
    enum ls_code code = ls_engine_gradient(&run->engine, run->parameters, &run->data->train, &run->sampler,
                                           first, B, &sum, err);
    if (code != LS_OK)
        return code;
    run->step++;
    run->samples_in_epoch += B;
    const float loss_sum = sum[run->net->n_floats];
    const float loss = loss_sum * (1.0f / (float)B);
    if (!isfinite(loss))
        return diverged(run, loss, sum, err);
    ls_tree_push(&run->epoch_loss, loss_sum);

    const double began = ls_now_s();
    const int64_t not_finite =
        ls_optimizer_step(&run->optimizer, run->ops, B, ls_learning_rate_at(&run->rate, run->step - 1),
                          run->parameters, sum, NULL);
    run->engine.times.update_s += ls_now_s() - began;
    if (not_finite)
        return diverged(run, loss, sum, err);
#ifdef LS_MUTANT_STALE_REPLICA
    if (run->step == 2 && ls_comm_rank(run->comm) == 1)
        run->parameters[0] += 1.0f; /* a faulty core */
#endif

    struct ls_step_report report = {.step = run->step,
                                    .epoch = run->epoch,
                                    .step_in_epoch = first / run->config->batch + 1,
                                    .steps_per_epoch = run->rate.per_epoch,
                                    .loss = loss,
                                    .hashed = due(run->step, run->config->hash_every)};
    if (report.hashed)
        code = compare_replicas(run, &report.hash, err);
    if (code == LS_OK && run->observer && run->observer->on_step) {
        report.samples_per_s = (double)run->samples_in_epoch / (ls_now_s() - run->epoch_began_s);
        run->observer->on_step(run->observer->context, &report, run->parameters);
    }
    return code;
}

static int finished(const struct run *run)
{
    return run->config->steps >= 0 && run->step >= run->config->steps;
}

static enum ls_code train_epoch(struct run *run, struct ls_error *err)
{
    const int64_t n = run->data->train.n_samples, batch = run->config->batch;
    run->epoch_loss.count = 0;
    run->samples_in_epoch = 0;
    run->engine.times = (struct ls_step_times){0};
    run->epoch_began_s = ls_now_s();
    ls_sampler_set_epoch(&run->sampler, (uint64_t)run->epoch - 1);
    run->engine.augment.epoch = (uint64_t)run->epoch - 1;
    enum ls_code code = LS_OK;
    for (int64_t first = 0; code == LS_OK && first < n && !finished(run); first += batch) {
        const int64_t B = n - first < batch ? n - first : batch;
        if (B < batch && run->config->drop_last)
            break;
        code = one_step(run, first, B, err);
    }
    return code;
}

static enum ls_code mean_shares(struct run *run, struct ls_epoch_report *report, struct ls_error *err)
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

static enum ls_code finish_epoch(struct run *run, struct ls_epoch_report *report, struct ls_error *err)
{
    const int last = finished(run) || run->epoch == run->config->epochs;
    *report = (struct ls_epoch_report){
        .epoch = run->epoch,
        .step = run->step,
        .n_samples = run->samples_in_epoch,
        .seconds = ls_now_s() - run->epoch_began_s,
        .loss = ls_tree_sum(&run->epoch_loss) * (1.0f / (float)run->samples_in_epoch),
        .evaluated = run->data->test.n_samples > 0 && run->config->eval_every > 0 &&
                     (last || due(run->epoch, run->config->eval_every)),
    };
    report->samples_per_s = (double)report->n_samples / report->seconds;
    enum ls_code code = mean_shares(run, report, err);
    if (code == LS_OK && report->evaluated)
        code = ls_engine_evaluate(&run->engine, run->parameters, &run->data->test, &report->test, err);
    if (code == LS_OK)
        code = compare_replicas(run, &report->hash, err);
    const int never = run->data->test.n_samples == 0 || run->config->eval_every == 0;
    if (code == LS_OK && (report->evaluated || never))
        ls_learning_rate_watch(&run->rate, never ? report->loss : report->test.loss);
    if (code == LS_OK)
        remember_good(run);
    return code;
}

/* Only some ranks observe, and any of them may fail to write: all ranks learn of it. */
static enum ls_code tell_observers(struct run *run, const struct ls_epoch_report *report,
                                   struct ls_error *err)
{
    err->code = LS_OK;
    if (run->observer && run->observer->on_epoch)
        err->code = run->observer->on_epoch(run->observer->context, report, run->parameters, err);
    return ls_comm_agree(run->comm, err);
}

static void train_epochs(void *context)
{
    struct run *run = context;
    struct ls_epoch_report *last = &run->result->last;
    while (run->code == LS_OK && run->epoch < run->config->epochs && !finished(run)) {
        run->epoch++;
        run->code = train_epoch(run, run->err);
        if (run->code == LS_OK)
            run->code = finish_epoch(run, last, run->err);
        if (run->code == LS_OK)
            run->code = tell_observers(run, last, run->err);
    }
}

enum ls_code ls_train(const struct ls_train_config *config, const struct ls_net *net,
                      const struct ls_ops *ops, struct ls_comm *comm, const struct ls_data *data,
                      float *parameters, const struct ls_observer *observer, struct ls_train_result *result,
                      struct ls_error *err)
{
    struct run run = {.config = config,
                      .net = net,
                      .ops = ops,
                      .comm = comm,
                      .data = data,
                      .observer = observer,
                      .parameters = parameters,
                      .result = result,
                      .err = err};
    *result = (struct ls_train_result){0};
    err->code = set_up(&run, err);
    run.code = ls_comm_agree(comm, err);
    ops->with_team(train_epochs, &run);
    result->steps = run.step;
    result->epochs = run.epoch;
    result->good_step = run.good_step;
    tear_down(&run);
    return run.code;
}
