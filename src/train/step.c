/* Owns the order of one step: gather, forward, loss, backward, merge, allreduce.  See step.h. */
#include "train/step.h"

#include <string.h>

#include "base/memory.h"
#include "base/timer.h"

static int64_t pass_leaves_for(int64_t microbatch)
{
    int64_t leaves = 1;
    while (leaves * 2 * microbatch <= LS_PASS_ROWS)
        leaves *= 2;
    return leaves;
}

/* The most slots that any of the plan's counts of samples needs.  A smaller count may need more than a larger
 * one: the number depends on where the ranks' ranges begin and end in the tree. */
static int slots_for(const struct ls_engine *engine, const struct ls_engine_plan *plan)
{
    const int rank = ls_comm_rank(engine->comm), size = ls_comm_size(engine->comm);
    int most = 1;
    for (int i = 0; i < LS_ENGINE_SIZES; i++) {
        const int64_t leaves = ls_count_leaves(plan->n_samples[i], engine->microbatch);
        const int needed =
            ls_roots_needed(leaves, ls_leaves_of_rank(leaves, size, rank), engine->pass_leaves);
        most = needed > most ? needed : most;
    }
    return most;
}

static int64_t largest(const int64_t n_samples[LS_ENGINE_SIZES])
{
    int64_t most = 0;
    for (int i = 0; i < LS_ENGINE_SIZES; i++)
        most = n_samples[i] > most ? n_samples[i] : most;
    return most;
}

enum ls_code ls_engine_create(struct ls_engine *engine, const struct ls_net *net, const struct ls_ops *ops,
                              struct ls_comm *comm, const struct ls_engine_plan *plan, struct ls_error *err)
{
    *engine = (struct ls_engine){.net = net,
                                 .ops = ops,
                                 .comm = comm,
                                 .loss = plan->loss,
                                 .allreduce = plan->allreduce,
                                 .microbatch = plan->microbatch,
                                 .pass_leaves = pass_leaves_for(plan->microbatch)};
    const int64_t most_samples = largest(plan->n_samples);
    const int64_t most_leaves = ls_count_leaves(most_samples, plan->microbatch);
    const struct ls_range mine = ls_leaves_of_rank(most_leaves, ls_comm_size(comm), 0);
    const int64_t pass = mine.end < engine->pass_leaves ? mine.end : engine->pass_leaves;
    const int64_t pass_rows = pass * plan->microbatch;
    const int64_t rows = pass_rows < most_samples ? pass_rows : most_samples;
    enum ls_code code = ls_activations_create(&engine->act, net, (ptrdiff_t)rows, plan->with_gradients, err);
    const int n_slots = slots_for(engine, plan);
    if (code == LS_OK && plan->with_gradients)
        code = ls_roots_create(&engine->gradients, n_slots, net->n_floats + LS_SLOT_EXTRA, err);
    if (code == LS_OK)
        code = ls_roots_create(&engine->losses, n_slots, 1 + 3 * plan->n_values, err);
    if (code != LS_OK)
        goto fail;
    engine->sample_loss = ls_alloc((size_t)rows, sizeof *engine->sample_loss, "losses", err);
    engine->index = ls_alloc((size_t)rows, sizeof *engine->index, "indices", err);
    engine->labels = ls_alloc((size_t)rows, sizeof *engine->labels, "labels", err);
    engine->values = ls_alloc((size_t)rows, (size_t)plan->n_values * sizeof *engine->values, "targets", err);
    if (engine->sample_loss && engine->index && engine->labels && engine->values)
        return LS_OK;
fail:
    ls_engine_release(engine);
    return LS_FAILED;
}

void ls_engine_release(struct ls_engine *engine)
{
    if (!engine || !engine->net)
        return;
    ls_activations_release(&engine->act, engine->net);
    ls_roots_release(&engine->gradients);
    ls_roots_release(&engine->losses);
    ls_free(engine->sample_loss);
    ls_free(engine->index);
    ls_free(engine->labels);
    ls_free(engine->values);
    *engine = (struct ls_engine){0};
}

/* Adds the time since *since to *total and moves *since on. */
static void charge(double *total, double *since)
{
    const double now = ls_now_s();
    *total += now - *since;
    *since = now;
}

static struct ls_targets targets_of(const struct ls_engine *engine, const struct ls_dataset *data)
{
    if (ls_loss_takes_labels(&engine->loss, data))
        return (struct ls_targets){.labels = engine->labels};
    return (struct ls_targets){.values = engine->values};
}

/* Brings the samples in engine->index[0..B) in and runs the net on them. */
static const float *forward_rows(struct ls_engine *engine, const float *parameters,
                                 const struct ls_dataset *data, ptrdiff_t B, double *since)
{
    ls_dataset_gather(data, engine->ops, B, engine->index, engine->act.x, engine->labels, engine->values);
    charge(&engine->times.data_s, since);
    return ls_forward(engine->net, engine->ops, parameters, &engine->act, B);
}

/* Forward, loss and backward for leaves [pass.begin, pass.end) of the batch, into new slots. */
static void gradient_pass(struct ls_engine *engine, const float *parameters, const struct ls_dataset *data,
                          const struct ls_sampler *sampler, int64_t first, int64_t B, struct ls_range pass)
{
    double since = ls_now_s();
    const int64_t m = engine->microbatch;
    const int64_t begin = pass.begin * m, end = pass.end * m < B ? pass.end * m : B;
    const ptrdiff_t rows = (ptrdiff_t)(end - begin);
    ls_sampler_indices(sampler, first + begin, rows, engine->index);
    const float *z = forward_rows(engine, parameters, data, rows, &since);
    const struct ls_targets targets = targets_of(engine, data);
    engine->ops->loss(&engine->loss, rows, engine->net->out.count, engine->sample_loss,
                      ls_output_gradient(&engine->act), z, &targets);

    struct ls_roots *roots = &engine->gradients;
    const int old = roots->n, added = ls_roots_append(roots, pass);
    struct ls_gradient_part parts[LS_MAX_ROOTS];
    for (int p = 0; p < added; p++) {
        const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
        const int64_t part_end = leaves.end * m < B ? leaves.end * m : B;
        parts[p] = (struct ls_gradient_part){.begin = (ptrdiff_t)(leaves.begin * m - begin),
                                             .end = (ptrdiff_t)(part_end - begin),
                                             .flat = roots->slots[old + p]};
        parts[p].flat[engine->net->n_floats] = engine->ops->leaf_sum(
            parts[p].end - parts[p].begin, (ptrdiff_t)m, engine->sample_loss + parts[p].begin);
    }
    ls_backward(engine->net, engine->ops, parameters, &engine->act, rows, (ptrdiff_t)m, parts, added, 0);
    ls_roots_merge(roots, engine->ops);
    charge(&engine->times.compute_s, &since);
}

/* Finishes the tree over all ranks; the result is in slot 0. */
static enum ls_code reduce(struct ls_engine *engine, struct ls_roots *roots, ptrdiff_t n,
                           struct ls_error *err)
{
    double since = ls_now_s();
    const enum ls_code code = ls_comm_allreduce(engine->comm, engine->allreduce, roots->n_leaves, n,
                                                roots->slots[0], roots->slots, roots->n, err);
    charge(&engine->times.allreduce_s, &since);
    return code;
}

enum ls_code ls_engine_gradient(struct ls_engine *engine, const float *parameters,
                                const struct ls_dataset *data, const struct ls_sampler *sampler,
                                int64_t first, int64_t B, const float **sum, struct ls_error *err)
{
    const int64_t n_leaves = ls_count_leaves(B, engine->microbatch);
    const struct ls_range mine =
        ls_leaves_of_rank(n_leaves, ls_comm_size(engine->comm), ls_comm_rank(engine->comm));
    ls_roots_start(&engine->gradients, n_leaves);
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->pass_leaves))
        gradient_pass(engine, parameters, data, sampler, first, B,
                      (struct ls_range){at, ls_pass_end(at, mine.end, engine->pass_leaves)});
    const enum ls_code code = reduce(engine, &engine->gradients, engine->net->n_floats + 1, err);
    *sum = engine->gradients.slots[0];
    return code;
}

/* The loss sums of one pass into new slots; returns how many of its samples are right. */
static int64_t evaluate_pass(struct ls_engine *engine, const float *parameters, const struct ls_dataset *data,
                             struct ls_range pass)
{
    double since = ls_now_s();
    const int64_t m = engine->microbatch;
    const int64_t begin = pass.begin * m,
                  end = pass.end * m < data->n_samples ? pass.end * m : data->n_samples;
    const ptrdiff_t rows = (ptrdiff_t)(end - begin), N = engine->net->out.count;
    for (ptrdiff_t i = 0; i < rows; i++)
        engine->index[i] = begin + i;
    const float *z = forward_rows(engine, parameters, data, rows, &since);
    const struct ls_targets targets = targets_of(engine, data);
    engine->ops->loss(&engine->loss, rows, N, engine->sample_loss, NULL, z, &targets);
    struct ls_roots *roots = &engine->losses;
    const int old = roots->n, added = ls_roots_append(roots, pass);
    for (int p = 0; p < added; p++) {
        const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
        const int64_t part_end = leaves.end * m < end ? leaves.end * m : end;
        const ptrdiff_t first = (ptrdiff_t)(leaves.begin * m - begin),
                        count = (ptrdiff_t)(part_end - leaves.begin * m);
        float *losses = engine->sample_loss + first, *sums = roots->slots[old + p];
        sums[0] = engine->ops->leaf_sum(count, (ptrdiff_t)m, losses);
        if (roots->n_floats > 1)
            ls_sum_errors(engine->ops, count, (ptrdiff_t)m, N, z + first * N, engine->values + first * N,
                          engine->metrics != NULL, losses, sums + 1);
    }
    ls_roots_merge(roots, engine->ops);
    const int classes = ls_predicts_classes(N, data);
    if (classes && engine->metrics)
        ls_metrics_count(engine->metrics, engine->loss.kind, rows, N, z, engine->labels);
    int64_t correct = 0;
    for (ptrdiff_t i = 0; classes && i < rows; i++)
        correct += ls_predicted_class(engine->loss.kind, N, z + i * N) == engine->labels[i];
    charge(&engine->times.compute_s, &since);
    return correct;
}

/* The second pass of metrics: sums of squared distances of the targets from their mean. */
static enum ls_code measure_spread(struct ls_engine *engine, const struct ls_dataset *data,
                                   struct ls_range mine, struct ls_error *err)
{
    struct ls_roots *roots = &engine->losses;
    const int64_t m = engine->microbatch;
    const ptrdiff_t N = engine->net->out.count;
    roots->n_floats = N;
    ls_roots_start(roots, roots->n_leaves);
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->pass_leaves)) {
        const struct ls_range pass = {at, ls_pass_end(at, mine.end, engine->pass_leaves)};
        const int old = roots->n, added = ls_roots_append(roots, pass);
        for (int p = 0; p < added; p++) {
            const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
            const int64_t end = leaves.end * m < data->n_samples ? leaves.end * m : data->n_samples;
            const ptrdiff_t rows = (ptrdiff_t)(end - leaves.begin * m);
            for (ptrdiff_t i = 0; i < rows; i++)
                engine->index[i] = leaves.begin * m + i;
            ls_dataset_gather(data, engine->ops, rows, engine->index, NULL, NULL, engine->values);
            ls_sum_spread(engine->ops, rows, (ptrdiff_t)m, N, engine->values, engine->metrics->mean,
                          engine->sample_loss, roots->slots[old + p]);
        }
        ls_roots_merge(roots, engine->ops);
    }
    const enum ls_code code = reduce(engine, roots, N, err);
    memcpy(engine->metrics->spread, roots->slots[0], (size_t)N * sizeof(float));
    return code;
}

/* From the sums behind the loss to metrics of numbers. */
static enum ls_code measure_numbers(struct ls_engine *engine, const struct ls_dataset *data,
                                    struct ls_range mine, struct ls_error *err)
{
    struct ls_metrics *metrics = engine->metrics;
    const ptrdiff_t N = metrics->n_outputs;
    const float *sums = engine->losses.slots[0] + 1, r = 1.0f / (float)data->n_samples;
    memcpy(metrics->squared, sums, (size_t)N * sizeof(float));
    memcpy(metrics->absolute, sums + N, (size_t)N * sizeof(float));
    for (ptrdiff_t j = 0; j < N; j++)
        metrics->mean[j] = sums[2 * N + j] * r;
    return measure_spread(engine, data, mine, err);
}

enum ls_code ls_engine_evaluate(struct ls_engine *engine, const float *parameters,
                                const struct ls_dataset *data, struct ls_evaluation *result,
                                struct ls_error *err)
{
    const int64_t n_leaves = ls_count_leaves(data->n_samples, engine->microbatch);
    const struct ls_range mine =
        ls_leaves_of_rank(n_leaves, ls_comm_size(engine->comm), ls_comm_rank(engine->comm));
    struct ls_metrics *metrics = engine->metrics;
    const ptrdiff_t N = engine->net->out.count;
    const int numbers = ls_compares_numbers(&engine->loss, data);
    engine->losses.n_floats = 1 + (numbers ? (metrics ? 3 : 1) * N : 0);
    ls_roots_start(&engine->losses, n_leaves);
    if (metrics && metrics->n_counts > 0)
        memset(metrics->counts, 0, (size_t)metrics->n_counts * sizeof *metrics->counts);
    int64_t correct = 0;
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->pass_leaves))
        correct += evaluate_pass(engine, parameters, data,
                                 (struct ls_range){at, ls_pass_end(at, mine.end, engine->pass_leaves)});
    enum ls_code code = reduce(engine, &engine->losses, engine->losses.n_floats, err);
    if (code == LS_OK)
        code = ls_comm_sum_counts(engine->comm, &correct, 1, err);
    const float *sums = engine->losses.slots[0];
    *result = (struct ls_evaluation){
        .loss = sums[0] * (1.0f / (float)data->n_samples),
        .n_samples = data->n_samples,
        .n_correct = ls_predicts_classes(N, data) ? correct : -1,
        .rmse = numbers ? ls_root_mean_square(N, sums + 1, data->n_samples) : -1.0f,
    };
    if (code == LS_OK && metrics && metrics->n_counts > 0)
        code = ls_comm_sum_counts(engine->comm, metrics->counts, metrics->n_counts, err);
    if (code == LS_OK && metrics && numbers)
        code = measure_numbers(engine, data, mine, err);
    return code;
}
