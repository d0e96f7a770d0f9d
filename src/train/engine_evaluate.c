/* Owns the order of an evaluation.  See step.h. */
#include <string.h>

#include "train/step_parts.h"

/* The loss sums of one pass into new slots; returns how many of its samples are right. */
static int64_t evaluate_pass(struct ls_engine *engine, const float *parameters, const struct ls_dataset *data,
                             struct ls_range pass)
{
    double since = ls_now_s();
    struct ls_lane *lane = &engine->whole;
    const int64_t m = engine->microbatch;
    const int64_t begin = pass.begin * m,
                  end = pass.end * m < data->n_samples ? pass.end * m : data->n_samples;
    const ptrdiff_t rows = (ptrdiff_t)(end - begin), N = engine->net->out.count;
    for (ptrdiff_t i = 0; i < rows; i++)
        lane->index[i] = begin + i;
    const float *z = ls_step_forward_rows(engine, lane, parameters, data, rows, NULL, &since);
    const struct ls_targets targets = ls_step_targets(engine, lane, data);
    engine->ops->loss(&engine->loss, rows, N, lane->sample_loss, NULL, z, &targets);
    ls_step_spoil_loss(lane, data, rows);
    struct ls_roots *roots = &engine->losses;
    const int old = roots->n, added = ls_roots_append(roots, pass);
    for (int p = 0; p < added; p++) {
        const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
        const int64_t part_end = leaves.end * m < end ? leaves.end * m : end;
        const ptrdiff_t first = (ptrdiff_t)(leaves.begin * m - begin),
                        count = (ptrdiff_t)(part_end - leaves.begin * m);
        float *losses = lane->sample_loss + first, *sums = roots->slots[old + p];
        sums[0] = engine->ops->leaf_sum(count, (ptrdiff_t)m, losses);
        if (roots->n_floats > 1)
            ls_sum_errors(engine->ops, count, (ptrdiff_t)m, N, z + first * N, lane->values + first * N,
                          engine->metrics != NULL, losses, sums + 1);
    }
    ls_roots_merge(roots, engine->ops);
    const int classes = ls_predicts_classes(N, data);
    if (classes && engine->metrics)
        ls_metrics_count(engine->metrics, engine->loss.kind, rows, N, z, lane->labels);
    int64_t correct = 0;
    for (ptrdiff_t i = 0; classes && i < rows; i++)
        correct += ls_predicted_class(engine->loss.kind, N, z + i * N) == lane->labels[i];
    ls_step_charge(&lane->compute_s, &since);
    ls_step_take_times(engine, lane);
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
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->eval_leaves)) {
        const struct ls_range pass = {at, ls_pass_end(at, mine.end, engine->eval_leaves)};
        const int old = roots->n, added = ls_roots_append(roots, pass);
        for (int p = 0; p < added; p++) {
            const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
            const int64_t end = leaves.end * m < data->n_samples ? leaves.end * m : data->n_samples;
            const ptrdiff_t rows = (ptrdiff_t)(end - leaves.begin * m);
            for (ptrdiff_t i = 0; i < rows; i++)
                engine->whole.index[i] = leaves.begin * m + i;
            ls_dataset_gather(data, engine->ops, rows, engine->whole.index, NULL, NULL, engine->whole.values);
            ls_sum_spread(engine->ops, rows, (ptrdiff_t)m, N, engine->whole.values, engine->metrics->mean,
                          engine->whole.sample_loss, roots->slots[old + p]);
        }
        ls_roots_merge(roots, engine->ops);
    }
    const enum ls_code code = ls_step_reduce(engine, roots, N, err);
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
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->eval_leaves))
        correct += evaluate_pass(engine, parameters, data,
                                 (struct ls_range){at, ls_pass_end(at, mine.end, engine->eval_leaves)});
    enum ls_code code = ls_step_reduce(engine, &engine->losses, engine->losses.n_floats, err);
    if (code == LS_OK)
        code = ls_step_ask_about_samples(engine, data, engine->losses.slots[0][0], err);
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
