/* Owns the order of one step: gather, forward, loss, backward, merge, reduction.  See step.h. */
#include <math.h>
#include <string.h>

#include "base/fault.h"
#include "train/step_parts.h"

void ls_step_take_times(struct ls_engine *engine, struct ls_lane *lane)
{
    engine->times.data_s += lane->data_s;
    engine->times.compute_s += lane->compute_s;
    lane->data_s = lane->compute_s = 0;
}

struct ls_targets ls_step_targets(const struct ls_engine *engine, const struct ls_lane *lane,
                                  const struct ls_dataset *data)
{
    if (ls_loss_takes_labels(&engine->loss, data))
        return (struct ls_targets){.labels = lane->labels};
    return (struct ls_targets){.values = lane->values};
}

const float *ls_step_forward_rows(const struct ls_engine *engine, struct ls_lane *lane,
                                  const float *parameters, const struct ls_dataset *data, ptrdiff_t B,
                                  const struct ls_pass *pass, double *since)
{
    const struct ls_augment *augment = pass ? &engine->augment : NULL;
    struct ls_gather rows;
    struct ls_input input = {NULL};
    if (!ls_dataset_rows(data, augment, B, lane->index, lane->stored, &rows) ||
        !ls_activations_gather(lane->act, &rows))
        input = ls_activations_input(lane->act, B, ls_dataset_fills_copies(data, augment));
    ls_dataset_gather_copies(data, augment, engine->ops, B, lane->index, input.x, input.copies, lane->labels,
                             lane->values);
    ls_step_charge(&lane->data_s, since);
    return ls_forward(engine->net, engine->ops, parameters, lane->act, B, pass);
}

void ls_step_spoil_loss(struct ls_lane *lane, const struct ls_dataset *data, ptrdiff_t rows)
{
    if (rows > 0 && ls_dataset_failed(data, NULL) != LS_OK)
        lane->sample_loss[0] = NAN;
}

void ls_step_meet(struct ls_engine *engine)
{
    const double patience_s = 30;
    ls_comm_meet(engine->comm, patience_s, "its numbers are not finite, those of others are");
}

enum ls_code ls_step_ask_about_samples(struct ls_engine *engine, const struct ls_dataset *data, float loss,
                                       struct ls_error *err)
{
    if (isfinite(loss))
        return LS_OK;
    ls_step_meet(engine); /* the loss should be the same on all ranks, and all come here or none */
    err->code = ls_dataset_failed(data, err);
    return ls_comm_agree(engine->comm, err);
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
    if (ls_step_is_watched(engine))
        ls_probe_keep_sums(engine->probe, sums[0], n);
    const double waited = ls_now_s() - since;
    engine->times.allreduce_s += waited;
    engine->times.compute_s -= waited; /* the pass around it counts it in */
    return sums[0];
}

/* New slots for the subtrees that make up some leaves of the batch of B; `begin` is the first of their rows.
 */
static int append_parts(struct ls_engine *engine, struct ls_range leaves, int64_t begin, int64_t B,
                        struct ls_gradient_part parts[LS_MAX_ROOTS])
{
    struct ls_roots *roots = &engine->gradients;
    const int64_t m = engine->microbatch;
    const int old = roots->n,
              added =
                  ls_roots_append_cut(roots, leaves, ls_step_is_watched(engine) ? engine->probe->leaf : -1);
    for (int p = 0; p < added; p++) {
        const struct ls_range own = ls_node_leaves(roots->nodes[old + p], roots->n_leaves);
        const int64_t part_end = own.end * m < B ? own.end * m : B;
        parts[p] = (struct ls_gradient_part){.begin = (ptrdiff_t)(own.begin * m - begin),
                                             .end = (ptrdiff_t)(part_end - begin),
                                             .flat = roots->slots[old + p]};
    }
    return added;
}

static void run_lane(const struct ls_engine *engine, struct ls_lane *lane, float *parameters,
                     const struct ls_dataset *data, const struct ls_sampler *sampler, int64_t position,
                     const struct ls_pass *pass, ptrdiff_t rows)
{
    double since = ls_now_s();
    ls_sampler_indices(sampler, position, rows, lane->index);
    const float *z = ls_step_forward_rows(engine, lane, parameters, data, rows, pass, &since);
    for (int i = 0; i < engine->net->n_layers; i++)
        if (ls_output_is_made(engine->net, i, lane->act->with_gradients))
            ls_fault_strike(LS_FAULT_ACTIVATION, lane->act->y[i], rows * engine->net->layers[i].out.count, 1);
    const struct ls_targets targets = ls_step_targets(engine, lane, data);
    engine->ops->loss(&engine->loss, rows, engine->net->out.count, lane->sample_loss,
                      ls_output_gradient(lane->act), z, &targets);
    ls_step_spoil_loss(lane, data, rows);
    for (int p = 0; p < pass->n_parts; p++)
        pass->parts[p].flat[engine->net->n_floats] = engine->ops->leaf_sum(
            pass->parts[p].end - pass->parts[p].begin, pass->m, lane->sample_loss + pass->parts[p].begin);
    ls_backward(engine->net, engine->ops, parameters, lane->act, rows, pass, 0);
    for (int p = 0; p < pass->n_parts; p++)
        ls_fault_strike(LS_FAULT_GRADIENT, pass->parts[p].flat, engine->net->n_floats,
                        ls_count_leaves(pass->parts[p].end - pass->parts[p].begin, pass->m));
    ls_step_charge(&lane->compute_s, &since);
}

void ls_engine_run_rows(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                        const struct ls_sampler *sampler, int64_t position, const struct ls_pass *pass,
                        ptrdiff_t rows)
{
    run_lane(engine, &engine->whole, parameters, data, sampler, position, pass, rows);
    ls_step_take_times(engine, &engine->whole);
}

/* Rows [begin, end) of the batch of B at position `first`: what a pass is about. */
struct pass_rows {
    struct ls_engine *engine;
    float *parameters;
    const struct ls_dataset *data;
    const struct ls_sampler *sampler;
    int64_t first, B, begin, end;
    struct ls_range leaves;
};

static struct ls_pass pass_of(const struct pass_rows *rows, int64_t begin, int n_parts,
                              const struct ls_gradient_part *parts)
{
    return (struct ls_pass){.seed = rows->engine->seed,
                            .step = rows->engine->step,
                            .first_row = rows->engine->row_offset + begin,
                            .global_batch = rows->B,
                            .m = (ptrdiff_t)rows->engine->microbatch,
                            .state = rows->parameters,
                            .n_parts = n_parts,
                            .parts = parts,
                            .context = rows->engine};
}

/* A pass in lanes. */
struct lanes_job {
    struct pass_rows rows;
    int64_t begin[LS_MOST_LANES], end[LS_MOST_LANES];
    struct ls_pass pass[LS_MOST_LANES];
    struct ls_gradient_part parts[LS_MOST_LANES][LS_MAX_ROOTS];
};

static void run_one_of_lanes(void *context, int i)
{
    const struct lanes_job *job = context;
    const struct pass_rows *rows = &job->rows;
    struct ls_engine *engine = rows->engine;
    struct ls_lane *lane =
        ls_lanes_at(&engine->lanes, i, &engine->whole, (ptrdiff_t)(job->begin[i] - rows->begin));
    run_lane(engine, lane, rows->parameters, rows->data, rows->sampler, rows->first + job->begin[i],
             &job->pass[i], (ptrdiff_t)(job->end[i] - job->begin[i]));
}

static void run_lanes(const struct pass_rows *rows)
{
    struct ls_engine *engine = rows->engine;
    const int64_t m = engine->microbatch;
    struct lanes_job job; /* mostly room for parts: not to be cleared */
    double since = ls_now_s();
    job.rows = *rows;
    for (int i = 0; i < engine->lanes.n; i++) {
        const struct ls_range own = ls_share_of(rows->leaves, i, engine->lanes.n);
        job.begin[i] = own.begin * m;
        job.end[i] = own.end * m < rows->end ? own.end * m : rows->end;
        const int n_parts = append_parts(engine, own, job.begin[i], rows->B, job.parts[i]);
        job.pass[i] = pass_of(rows, job.begin[i], n_parts, job.parts[i]);
    }
    engine->ops->each(engine->lanes.n, run_one_of_lanes, &job);
    const double data_s = engine->lanes.each[0].lane.data_s;
    engine->times.data_s += data_s;
    since += data_s; /* the rest is compute, waiting for other lanes included */
    ls_step_charge(&engine->times.compute_s, &since);
}

/* All threads share out each operation. */
static void run_together(const struct pass_rows *rows, int goes_early)
{
    struct ls_engine *engine = rows->engine;
    struct ls_gradient_part parts[LS_MAX_ROOTS];
    const int n_parts = append_parts(engine, rows->leaves, rows->begin, rows->B, parts);
    struct ls_pass pass = pass_of(rows, rows->begin, n_parts, parts);
    pass.sums = engine->sync.slots;
    pass.finish_sums = finish_sums;
    pass.layer_done = goes_early ? ls_step_send_layer : NULL;
    pass.tick = goes_early ? ls_step_see_to_pieces : NULL;
    pass.tick_flops = 1e9;
    engine->sync_leaves = engine->gradients.n_leaves;
    engine->sync_parts = pass.n_parts;
    ls_engine_run_rows(engine, rows->parameters, rows->data, rows->sampler, rows->first + rows->begin, &pass,
                       (ptrdiff_t)(rows->end - rows->begin));
    if (ls_step_is_watched(engine))
        ls_probe_keep_leaf(engine->probe, &engine->gradients, engine->gradients.n - n_parts, n_parts);
}

/* Forward, loss and backward for leaves [range.begin, range.end) of the batch, into new slots.  What a probe
 * keeps, and what strikes faults, counts on one lane; and buckets leave from one. */
static void gradient_pass(struct ls_engine *engine, float *parameters, const struct ls_dataset *data,
                          const struct ls_sampler *sampler, int64_t first, int64_t B, struct ls_range range,
                          int goes_early)
{
    const int64_t m = engine->microbatch;
    const struct pass_rows rows = {.engine = engine,
                                   .parameters = parameters,
                                   .data = data,
                                   .sampler = sampler,
                                   .first = first,
                                   .B = B,
                                   .begin = range.begin * m < B ? range.begin * m : B,
                                   .end = range.end * m < B ? range.end * m : B,
                                   .leaves = range};
    engine->in_lanes = !goes_early && !ls_step_is_watched(engine) && !LS_WITH_FAULTS &&
                       ls_lanes_pay(&engine->lanes, engine->net, engine->gradients.n_leaves, range,
                                    (ptrdiff_t)(rows.end - rows.begin));
    if (engine->in_lanes)
        run_lanes(&rows);
    else
        run_together(&rows, goes_early);
    double since = ls_now_s();
    ls_roots_merge(&engine->gradients, engine->ops);
    ls_step_charge(&engine->times.compute_s, &since);
}

enum ls_code ls_step_reduce(struct ls_engine *engine, struct ls_roots *roots, ptrdiff_t n,
                            struct ls_error *err)
{
    double since = ls_now_s();
    const enum ls_code code = ls_comm_allreduce(engine->comm, engine->allreduce, roots->n_leaves, n,
                                                roots->slots[0], roots->slots, roots->n, err);
    ls_step_charge(&engine->times.allreduce_s, &since);
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
    engine->buckets.n_started = engine->buckets.n_complete = 0;
    if (engine->net->sync_floats > 0) { /* also with no leaf: the others wait inside of it */
        gradient_pass(engine, parameters, data, sampler, first, B, mine,
                      ls_step_goes_in_buckets(engine) && is_early(mine));
    } else {
        const int one = ls_pass_end(mine.begin, mine.end, engine->pass_leaves) == mine.end;
        for (int64_t at = mine.begin; at < mine.end; at = ls_pass_end(at, mine.end, engine->pass_leaves))
            gradient_pass(engine, parameters, data, sampler, first, B,
                          (struct ls_range){at, ls_pass_end(at, mine.end, engine->pass_leaves)},
                          ls_step_goes_in_buckets(engine) && one && is_early(mine));
    }
    if (engine->sync_error.code != LS_OK) { /* which ranks agreed on */
        *err = engine->sync_error;
        return err->code;
    }
    const enum ls_code code = ls_step_reduce_gradients(engine, sum, err);
    return code == LS_OK ? ls_step_ask_about_samples(engine, data, (*sum)[engine->net->n_floats], err) : code;
}
