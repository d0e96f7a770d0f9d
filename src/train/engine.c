/* Owns what an engine is made of: how much of it there is, and when it is released.  See step.h. */
#include "base/memory.h"
#include "train/step.h"

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

static int slots_of(const struct ls_engine *engine, int64_t n_samples, int64_t pass_leaves, int shares)
{
    const int64_t leaves = ls_count_leaves(n_samples, engine->microbatch);
    return ls_roots_needed(leaves,
                           ls_leaves_of_rank(leaves, ls_comm_size(engine->comm), ls_comm_rank(engine->comm)),
                           pass_leaves, shares);
}

/* The most slots that any of the plan's batches needs.  A smaller one may need more than a larger one: the
 * number depends on where the ranks' ranges begin and end in the tree. */
static int slots_for(const struct ls_engine *engine, const struct ls_engine_plan *plan)
{
    const int shares = engine->lanes.n > 0 ? engine->lanes.n : 1;
    int most = 1;
    for (int i = 0; i < LS_ENGINE_SIZES; i++) {
        const int needed = slots_of(engine, plan->batch[i], engine->pass_leaves, shares);
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
        code = ls_roots_create(&engine->losses, slots_of(engine, plan->n_evaluated, engine->eval_leaves, 1),
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
    if (code == LS_OK)
        code = ls_activations_create_each(&engine->act, engine->ops, err);
    if (code != LS_OK)
        return code;
    struct ls_lane *whole = &engine->whole;
    whole->act = &engine->act;
    whole->sample_loss = ls_alloc(rows, sizeof *whole->sample_loss, "losses", err);
    whole->index = ls_alloc(rows, sizeof *whole->index, "indices", err);
    whole->stored = ls_alloc(rows, sizeof *whole->stored, "indices", err);
    whole->labels = ls_alloc(rows, sizeof *whole->labels, "labels", err);
    whole->values = ls_alloc(rows, (size_t)plan->n_values * sizeof *whole->values, "targets", err);
    if (!whole->sample_loss || !whole->index || !whole->stored || !whole->labels || !whole->values)
        return LS_FAILED;
    return plan->with_gradients
               ? ls_lanes_create(&engine->lanes, engine->net, engine->ops, whole, plan->n_values, err)
               : LS_OK;
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
            code = ls_comm_flights_create(comm, ls_buckets_longest(&engine->buckets, net->n_floats + 1), err);
    }
    if (code == LS_OK && plan->shard_granule > 0 && ls_comm_size(comm) > 1)
        code = ls_shards_create(&engine->shards, net, &engine->buckets, comm, plan->shard_granule, err);
    if (plan->with_gradients) {
        /* After a failure only to tell the others of it: the passes may not be planned. */
        const int n_slots = code == LS_OK ? slots_for(engine, plan) : 0;
        err->code = code;
        code = ls_comm_vectors_create(comm, n_slots, net->n_floats + LS_SLOT_EXTRA, &engine->vectors, err);
    }
    return code == LS_OK ? create_roots(engine, plan, err) : code;
}

void ls_engine_release(struct ls_engine *engine)
{
    if (!engine || !engine->net)
        return;
    ls_lanes_release(&engine->lanes);
    ls_activations_release(&engine->act);
    ls_roots_release(&engine->gradients);
    ls_comm_vectors_destroy(engine->comm, &engine->vectors);
    ls_buckets_release(&engine->buckets);
    ls_shards_release(&engine->shards);
    ls_roots_release(&engine->losses);
    ls_roots_release(&engine->sync);
    ls_free(engine->whole.sample_loss);
    ls_free(engine->whole.index);
    ls_free(engine->whole.stored);
    ls_free(engine->whole.labels);
    ls_free(engine->whole.values);
    *engine = (struct ls_engine){0};
}
