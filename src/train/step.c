/* Owns the order of one step: gather, forward, loss, backward, merge, allreduce.  See step.h. */
#include "train/step.h"

#include <math.h>
#include <string.h>

#include "base/fault.h"
#include "base/memory.h"
#include "base/timer.h"

/* The largest power of two of leaves whose rows and bytes stay within limits; at least one. */
static int64_t pass_leaves_for(int64_t microbatch, int64_t most_rows, size_t bytes_a_row)
{
    int64_t leaves = 1;
    while (leaves * 2 * microbatch <= most_rows &&
           (size_t)(leaves * 2 * microbatch) * bytes_a_row <= LS_PASS_BYTES)
        leaves *= 2;
    return leaves;
}

/* The rows of rank 0, which has the most, when passes are cut at pass_leaves. */
static int64_t most_rows(int64_t n_samples, int64_t microbatch, int n_ranks, int64_t pass_leaves)
{
    const int64_t leaves = ls_count_leaves(n_samples, microbatch);
    const struct ls_range mine = ls_leaves_of_rank(leaves, n_ranks, 0);
    const int64_t rows = (mine.end < pass_leaves ? mine.end : pass_leaves) * microbatch;
    return rows < n_samples ? rows : n_samples;
}

/* What decides how much memory a pass takes. */
struct passes {
    int64_t train_leaves, eval_leaves;
    ptrdiff_t rows;
};

static enum ls_code plan_passes(const struct ls_net *net, const struct ls_engine_plan *plan, int n_ranks,
                                struct passes *passes, struct ls_error *err)
{
    struct ls_activation_bytes one;
    const enum ls_code code = ls_activations_bytes(net, 1, plan->with_gradients, &one, err);
    if (code != LS_OK)
        return code;
    const size_t bytes_a_row = one.outputs + one.gradients;
    passes->train_leaves = net->sync_floats > 0
                               ? (int64_t)1 << 40 /* all that a rank has */
                               : pass_leaves_for(plan->microbatch, LS_PASS_ROWS, bytes_a_row);
    int64_t rows = 0;
    for (int i = 0; i < LS_ENGINE_SIZES; i++) {
        const int64_t some = most_rows(plan->batch[i], plan->microbatch, n_ranks, passes->train_leaves);
        rows = some > rows ? some : rows;
    }
    /* Evaluation takes passes as large as training's, and no fewer than are worth the barriers. */
    const int64_t eval_rows =
        plan->with_gradients ? (rows > LS_EVAL_ROWS ? rows : LS_EVAL_ROWS) : LS_PASS_ROWS;
    passes->eval_leaves = pass_leaves_for(plan->microbatch, eval_rows, bytes_a_row);
    const int64_t evaluated = most_rows(plan->n_evaluated, plan->microbatch, n_ranks, passes->eval_leaves);
    passes->rows = (ptrdiff_t)(rows > evaluated ? rows : evaluated);
    return LS_OK;
}

enum ls_code ls_engine_rows(const struct ls_net *net, const struct ls_engine_plan *plan, int n_ranks,
                            ptrdiff_t *rows, struct ls_error *err)
{
    struct passes passes = {0};
    const enum ls_code code = plan_passes(net, plan, n_ranks, &passes, err);
    *rows = passes.rows;
    return code;
}

static int slots_of(const struct ls_engine *engine, int64_t n_samples, int64_t pass_leaves)
{
    const int64_t leaves = ls_count_leaves(n_samples, engine->microbatch);
    return ls_roots_needed(leaves,
                           ls_leaves_of_rank(leaves, ls_comm_size(engine->comm), ls_comm_rank(engine->comm)),
                           pass_leaves);
}

/* The most slots that any of the plan's batches needs.  A smaller one may need more than a larger one: the
 * number depends on where the ranks' ranges begin and end in the tree. */
static int slots_for(const struct ls_engine *engine, const struct ls_engine_plan *plan)
{
    int most = 1;
    for (int i = 0; i < LS_ENGINE_SIZES; i++) {
        const int needed = slots_of(engine, plan->batch[i], engine->pass_leaves);
        most = needed > most ? needed : most;
    }
    /* A leaf that is cut out of a subtree leaves one more at each of the subtree's levels. */
    int64_t leaves = ls_count_leaves(plan->batch[0], engine->microbatch);
    for (; plan->with_probe && leaves > 1; leaves = (leaves + 1) / 2)
        most++;
    return most;
}

static enum ls_code create_roots(struct ls_engine *engine, const struct ls_engine_plan *plan,
                                 struct ls_error *err)
{
    const struct ls_net *net = engine->net;
    const int n_slots = slots_for(engine, plan);
    enum ls_code code = LS_OK;
    if (plan->with_gradients)
        code = ls_roots_create_in(&engine->gradients, n_slots, net->n_floats + LS_SLOT_EXTRA,
                                  engine->vectors.at, err);
    if (code == LS_OK && plan->with_gradients && net->sync_floats > 0)
        code = ls_roots_create(&engine->sync, n_slots, net->sync_floats, err);
    if (code == LS_OK)
        code = ls_roots_create(&engine->losses, slots_of(engine, plan->n_evaluated, engine->eval_leaves),
                               1 + 3 * plan->n_values, err);
    return code;
}

/* All but what sums are in. */
static enum ls_code create_buffers(struct ls_engine *engine, const struct ls_engine_plan *plan,
                                   struct ls_error *err)
{
    struct passes passes;
    enum ls_code code = plan_passes(engine->net, plan, ls_comm_size(engine->comm), &passes, err);
    if (code != LS_OK)
        return code;
    engine->pass_leaves = passes.train_leaves;
    engine->eval_leaves = passes.eval_leaves;
    engine->rows = passes.rows;
    const size_t rows = (size_t)passes.rows;
    code = ls_activations_create(&engine->act, engine->net, passes.rows, plan->with_gradients, err);
    if (code != LS_OK)
        return code;
    engine->sample_loss = ls_alloc(rows, sizeof *engine->sample_loss, "losses", err);
    engine->index = ls_alloc(rows, sizeof *engine->index, "indices", err);
    engine->labels = ls_alloc(rows, sizeof *engine->labels, "labels", err);
    engine->values = ls_alloc(rows, (size_t)plan->n_values * sizeof *engine->values, "targets", err);
    return engine->sample_loss && engine->index && engine->labels && engine->values ? LS_OK : LS_FAILED;
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
                                 .seed = plan->seed,
                                 .augment = plan->augment};
    enum ls_code code = create_buffers(engine, plan, err);
    if (code == LS_OK && plan->bucket_bytes > 0 && plan->allreduce == LS_ALLREDUCE_TREE &&
        ls_comm_travels(comm)) {
        code = ls_buckets_create(&engine->buckets, net, plan->bucket_bytes, err);
        if (code == LS_OK && engine->buckets.n > 0)
            code = ls_comm_flights_create(comm, err);
    }
    if (plan->with_gradients) {
        err->code = code;
        code = ls_comm_vectors_create(comm, slots_for(engine, plan), net->n_floats + LS_SLOT_EXTRA,
                                      &engine->vectors, err);
    }
    return code == LS_OK ? create_roots(engine, plan, err) : code;
}

void ls_engine_release(struct ls_engine *engine)
{
    if (!engine || !engine->net)
        return;
    ls_activations_release(&engine->act);
    ls_roots_release(&engine->gradients);
    ls_comm_vectors_destroy(engine->comm, &engine->vectors);
    ls_buckets_release(&engine->buckets);
    ls_roots_release(&engine->losses);
    ls_roots_release(&engine->sync);
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

/* Brings the samples in engine->index[0..B) in and runs the net on them; pass is NULL outside training. */
static const float *forward_rows(struct ls_engine *engine, const float *parameters,
                                 const struct ls_dataset *data, ptrdiff_t B, const struct ls_pass *pass,
                                 double *since)
{
    ls_dataset_gather_augmented(data, pass ? &engine->augment : NULL, engine->ops, B, engine->index,
                                engine->act.x, engine->labels, engine->values);
    charge(&engine->times.data_s, since);
    return ls_forward(engine->net, engine->ops, parameters, &engine->act, B, pass);
}

/* A sample that could not be read makes the loss, which all ranks share, not a number: then all of them ask
 * one another, and the rank that knows why tells. */
static void spoil_loss(struct ls_engine *engine, const struct ls_dataset *data, ptrdiff_t rows)
{
    if (rows > 0 && ls_dataset_failed(data, NULL) != LS_OK)
        engine->sample_loss[0] = NAN;
}

static enum ls_code ask_about_samples(struct ls_engine *engine, const struct ls_dataset *data, float loss,
                                      struct ls_error *err)
{
    if (isfinite(loss))
        return LS_OK;
    err->code = ls_dataset_failed(data, err);
    return ls_comm_agree(engine->comm, err);
}

/* Whether the batch at hand is one that the probe keeps something of. */
static int watched(const struct ls_engine *engine)
{
    return ls_probe_watches(engine->probe, engine->row_offset);
}

/* struct ls_pass's finish_sums: the tree over the parts of all ranks. */
static const float *finish_sums(void *context, ptrdiff_t n)
{
    struct ls_engine *engine = context;
    double since = ls_now_s();
    struct ls_roots *sync = &engine->sync;
    float **sums = sync->slots;
#ifdef LS_MUTANT_LOCAL_BATCHNORM /* each rank's statistics for its own rows */
    for (int p = 1; p < engine->sync_parts; p++)
        engine->ops->tree_add(n, sums[0], sums[p]);
    return sums[0];
#endif
    /* A part that was cut for the probe joins its siblings; there are none otherwise. */
    ls_roots_start(sync, engine->sync_leaves);
    sync->n_floats = n;
    sync->n = engine->sync_parts;
    memcpy(sync->nodes, engine->gradients.nodes, (size_t)sync->n * sizeof *sync->nodes);
    ls_roots_merge(sync, engine->ops);
    if (ls_comm_allreduce(engine->comm, engine->allreduce, engine->sync_leaves, n, sums[0], sums, sync->n,
                          &engine->sync_error) != LS_OK)
        engine->sync_error.code = LS_FAILED;
    if (watched(engine))
        ls_probe_keep_sums(engine->probe, sums[0], n);
    const double waited = ls_now_s() - since;
    engine->times.allreduce_s += waited;
    engine->times.compute_s -= waited; /* the pass around it counts it in */
    return sums[0];
}

/* New slots for the subtrees that make up a pass, which begins at row `begin` of the batch of B. */
static int append_parts(struct ls_engine *engine, struct ls_range pass, int64_t begin, int64_t B,
                        struct ls_gradient_part parts[LS_MAX_ROOTS])
{
    struct ls_roots *roots = &engine->gradients;
    const int64_t m = engine->microbatch;
    const int old = roots->n,
              added = ls_roots_append_cut(roots, pass, watched(engine) ? engine->probe->leaf : -1);
    for (int p = 0; p < added; p++) {
        const struct ls_range leaves = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
        const int64_t part_end = leaves.end * m < B ? leaves.end * m : B;
        parts[p] = (struct ls_gradient_part){.begin = (ptrdiff_t)(leaves.begin * m - begin),
                                             .end = (ptrdiff_t)(part_end - begin),
                                             .flat = roots->slots[old + p]};
    }
    return added;
}

void ls_engine_run_rows(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                        const struct ls_sampler *sampler, int64_t position, const struct ls_pass *pass,
                        ptrdiff_t rows)
{
    double since = ls_now_s();
    ls_sampler_indices(sampler, position, rows, engine->index);
    const float *z = forward_rows(engine, parameters, data, rows, pass, &since);
    for (int i = 0; i < engine->net->n_layers; i++)
        if (!engine->net->layers[i].skip)
            ls_fault_strike(LS_FAULT_ACTIVATION, engine->act.y[i], rows * engine->net->layers[i].out.count,
                            1);
    const struct ls_targets targets = targets_of(engine, data);
    engine->ops->loss(&engine->loss, rows, engine->net->out.count, engine->sample_loss,
                      ls_output_gradient(&engine->act), z, &targets);
    spoil_loss(engine, data, rows);
    for (int p = 0; p < pass->n_parts; p++)
        pass->parts[p].flat[engine->net->n_floats] = engine->ops->leaf_sum(
            pass->parts[p].end - pass->parts[p].begin, pass->m, engine->sample_loss + pass->parts[p].begin);
    ls_backward(engine->net, engine->ops, parameters, &engine->act, rows, pass, 0);
    for (int p = 0; p < pass->n_parts; p++)
        ls_fault_strike(LS_FAULT_GRADIENT, pass->parts[p].flat, engine->net->n_floats,
                        ls_count_leaves(pass->parts[p].end - pass->parts[p].begin, pass->m));
    charge(&engine->times.compute_s, &since);
}

enum { REQUEST_UNIT = 3 };

/* Whether every rank has leaves, and so a root for what it asks for. */
static int with_all(const struct ls_engine *engine)
{
    const int size = ls_comm_size(engine->comm);
    const struct ls_range last = ls_leaves_of_rank(engine->gradients.n_leaves, size, size - 1);
    return last.begin < last.end;
}

/* Whether the batch at hand goes in buckets; the same on all ranks. */
static int in_buckets(const struct ls_engine *engine)
{
    return engine->buckets.n > 0 && !watched(engine);
}

/* Up to the n-th; in the middle of a pass, whose other sums somebody may wait for, only those that need not
 * wait. */
static void start_buckets(struct ls_engine *engine, int n, int may_wait)
{
    struct ls_buckets *buckets = &engine->buckets;
    struct ls_roots *roots = &engine->gradients;
    for (; buckets->n_started < n && (may_wait || ls_comm_can_start(engine->comm)); buckets->n_started++)
        ls_comm_start(engine->comm, &engine->vectors, roots->n_leaves,
                      ls_buckets_range(buckets, buckets->n_started, engine->net->n_floats + 1), roots->slots,
                      roots->n);
}

/* struct ls_pass's layer_done, when the pass is all that this rank has. */
static void send_layer(void *context, int layer)
{
    struct ls_engine *engine = context;
    const double since = ls_now_s();
    ls_comm_progress(engine->comm);
    start_buckets(engine, ls_buckets_complete(&engine->buckets, engine->net, layer), 0);
    const double took = ls_now_s() - since;
    engine->times.allreduce_s += took;
    engine->times.compute_s -= took; /* the pass around it counts it in */
}

/* Forward, loss and backward for leaves [range.begin, range.end) of the batch, into new slots. */
static void gradient_pass(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                          const struct ls_sampler *sampler, int64_t first, int64_t B, struct ls_range range,
                          int goes_early)
{
    const int64_t m = engine->microbatch;
    const int64_t begin = range.begin * m < B ? range.begin * m : B;
    const int64_t end = range.end * m < B ? range.end * m : B;
    const ptrdiff_t rows = (ptrdiff_t)(end - begin);
    struct ls_gradient_part parts[LS_MAX_ROOTS];
    const struct ls_pass pass = {.seed = engine->seed,
                                 .step = engine->step,
                                 .first_row = engine->row_offset + begin,
                                 .global_batch = B,
                                 .m = (ptrdiff_t)m,
                                 .state = parameters,
                                 .n_parts = append_parts(engine, range, begin, B, parts),
                                 .parts = parts,
                                 .sums = engine->sync.slots,
                                 .finish_sums = finish_sums,
                                 .layer_done = goes_early ? send_layer : NULL,
                                 .context = engine};
    engine->sync_leaves = engine->gradients.n_leaves;
    engine->sync_parts = pass.n_parts;
    ls_engine_run_rows(engine, parameters, data, sampler, first + begin, &pass, rows);
    double since = ls_now_s();
    struct ls_roots *roots = &engine->gradients;
    if (watched(engine))
        ls_probe_keep_leaf(engine->probe, roots, roots->n - pass.n_parts, pass.n_parts);
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

/* The same of gradients, n floats of each slot. */
static enum ls_code reduce_slots(struct ls_engine *engine, ptrdiff_t n, const float **sum,
                                 struct ls_error *err)
{
    double since = ls_now_s();
    struct ls_roots *roots = &engine->gradients;
    const int check = watched(engine) && engine->allreduce != LS_ALLREDUCE_MPI;
    if (check)
        ls_probe_keep_roots(engine->probe, roots, n);
    enum ls_code code = ls_comm_allreduce_vectors(engine->comm, engine->allreduce, &engine->vectors,
                                                  roots->n_leaves, n, roots->slots, roots->n, sum, err);
    if (check && code == LS_OK)
        code = ls_probe_check_sum(engine->probe, engine->comm, engine->net, engine->step + 1, n, *sum, err);
    charge(&engine->times.allreduce_s, &since);
    return code;
}

static int64_t read_request(float sum)
{
    const int whole = sum >= 0.0f && sum < 0x1p24f && sum == (float)(int64_t)sum;
    return whole && (int64_t)sum % REQUEST_UNIT == 0 ? (int64_t)sum / REQUEST_UNIT : -1;
}

/* Gradients and loss, and behind them the sum of the ranks' requests, so that to ask for something takes no
 * message of its own: whole numbers below 2^24 add exactly in any order.  They travel as multiples of 3,
 * which no 0 becomes when one of its bits flips.  A rank without leaves has no root for its request; then
 * there is a message for them. */
static enum ls_code reduce_gradients(struct ls_engine *engine, const float **sum, struct ls_error *err)
{
    struct ls_roots *roots = &engine->gradients;
    const ptrdiff_t at = engine->net->n_floats + 1;
    const int all = with_all(engine);
    const int64_t request = engine->request ? engine->request(engine->asked) : 0;
    enum ls_code code = LS_OK;
    for (int i = 0; i < roots->n; i++)
        roots->slots[i][at] = i == 0 ? (float)(REQUEST_UNIT * request) : 0.0f;
    if (in_buckets(engine)) {
        double since = ls_now_s();
        start_buckets(engine, engine->buckets.n, 1);
        if (all) /* by itself, at last: the first bucket, which ends before it, left long ago */
            ls_comm_start(engine->comm, &engine->vectors, roots->n_leaves, (struct ls_range){at, at + 1},
                          roots->slots, roots->n);
        ls_comm_finish(engine->comm, &engine->vectors, roots->slots, roots->n, sum);
        charge(&engine->times.allreduce_s, &since);
    } else {
        code = reduce_slots(engine, at + all, sum, err);
    }
    engine->requested = all ? read_request((*sum)[at]) : request;
    if (code == LS_OK && !all)
        code = ls_comm_sum_counts(engine->comm, &engine->requested, 1, err);
    return code;
}

/* Whether buckets of a pass may leave before it is over: there are sums in it, and what strikes faults, which
 * it does behind a pass, is not built in. */
static int is_early(struct ls_range leaves)
{
    return leaves.begin < leaves.end && !LS_WITH_FAULTS;
}

enum ls_code ls_engine_gradient(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                                const struct ls_sampler *sampler, int64_t first, int64_t B, const float **sum,
                                struct ls_error *err)
{
    const int64_t n_leaves = ls_count_leaves(B, engine->microbatch);
    const struct ls_range mine =
        ls_leaves_of_rank(n_leaves, ls_comm_size(engine->comm), ls_comm_rank(engine->comm));
    const int64_t m = engine->microbatch;
    ls_prefetch_step(engine->prefetch, sampler, first, B, mine.begin * m,
                     mine.end * m < B ? mine.end * m : B);
    ls_roots_start(&engine->gradients, n_leaves);
    engine->sync_error.code = LS_OK;
    engine->buckets.n_started = 0;
    if (engine->net->sync_floats > 0) { /* also with no leaf: the others wait inside of it */
        gradient_pass(engine, parameters, data, sampler, first, B, mine,
                      in_buckets(engine) && is_early(mine));
    } else {
        const int one = ls_pass_end(mine.begin, mine.end, engine->pass_leaves) == mine.end;
        for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->pass_leaves))
            gradient_pass(engine, parameters, data, sampler, first, B,
                          (struct ls_range){at, ls_pass_end(at, mine.end, engine->pass_leaves)},
                          in_buckets(engine) && one && is_early(mine));
    }
    if (engine->sync_error.code != LS_OK) { /* which ranks agreed on */
        *err = engine->sync_error;
        return err->code;
    }
    const enum ls_code code = reduce_gradients(engine, sum, err);
    return code == LS_OK ? ask_about_samples(engine, data, (*sum)[engine->net->n_floats], err) : code;
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
    const float *z = forward_rows(engine, parameters, data, rows, NULL, &since);
    const struct ls_targets targets = targets_of(engine, data);
    engine->ops->loss(&engine->loss, rows, N, engine->sample_loss, NULL, z, &targets);
    spoil_loss(engine, data, rows);
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
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->eval_leaves)) {
        const struct ls_range pass = {at, ls_pass_end(at, mine.end, engine->eval_leaves)};
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
    for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->eval_leaves))
        correct += evaluate_pass(engine, parameters, data,
                                 (struct ls_range){at, ls_pass_end(at, mine.end, engine->eval_leaves)});
    enum ls_code code = reduce(engine, &engine->losses, engine->losses.n_floats, err);
    if (code == LS_OK)
        code = ask_about_samples(engine, data, engine->losses.slots[0][0], err);
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
