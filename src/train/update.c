/* Owns which elements are updated when.  See update.h. */
#include "train/update.h"

#include <math.h>
#include <string.h>

#include "base/elementary.h"
#include "base/memory.h"
#include "base/timer.h"
#include "train/divergence.h"
#include "train/run.h"

enum ls_code ls_update_create(struct ls_run *run, struct ls_error *err)
{
    const struct ls_net *net = run->net;
    const struct ls_shards *shards = &run->engine.shards;
    struct ls_optimizer_rule rule = run->config->optimizer;
    rule.report_gradient_norm = run->config->stop.gradient_tolerance > 0.0f;
    if (shards->n > 0 && !ls_optimizer_takes_slices(&rule))
        return ls_fail(err, LS_USAGE, "%s updates whole tensors, not slices", ls_optimizer_names[rule.kind]);
    const enum ls_code code = ls_optimizer_create_for(&run->optimizer, &rule, net->tensors, net->n_tensors,
                                                      net->n_floats, shards->mine, shards->n, err);
    if (code != LS_OK || shards->n == 0 || !ls_optimizer_needs_norm(&rule))
        return code;
    const size_t n = (size_t)ls_optimizer_blocks(&run->optimizer);
    run->squares = ls_alloc(n, sizeof *run->squares, "squares of the gradient", err);
    run->square_bits = ls_alloc(n, sizeof *run->square_bits, "squares of the gradient", err);
    return run->squares && run->square_bits ? LS_OK : LS_FAILED;
}

void ls_update_release(struct ls_run *run)
{
    ls_optimizer_release(&run->optimizer);
    ls_free(run->squares);
    ls_free(run->square_bits);
}

/* engine.bucket_in.  Waiting is all that this rank would do otherwise; to update within backward, too, would
 * only hold up the buckets to come. */
static void update_bucket(void *context, struct ls_range range, const float *sum)
{
    struct ls_run *run = context;
    struct ls_early *early = &run->early;
    const double began = ls_now_s();
    if (!early->begun) {
        if (!isfinite(sum[run->net->n_floats] * (1.0f / (float)early->B)) ||
            !ls_averages_are_finite(run->net, run->parameters)) {
            run->engine.bucket_in = NULL;
            return;
        }
        ls_optimizer_begin(&run->optimizer, early->B, ls_learning_rate_at(&run->rate, run->step), 0.0f);
        early->begun = 1;
    }
    early->not_finite += ls_optimizer_part(&run->optimizer, run->ops, range, run->parameters, sum);
    run->engine.times.update_s += ls_now_s() - began;
}

void ls_update_expect(struct ls_run *run, int64_t B)
{
    const int whole = B > run->config->batch || ls_cross_check_is_due(&run->cross_check) ||
                      ls_optimizer_needs_norm(&run->optimizer.rule);
    run->early = (struct ls_early){.B = B};
    run->engine.bucket_context = run;
    run->engine.bucket_in = whole ? NULL : update_bucket;
}

/* The norm of a gradient that is in slices: each block's sum of squares is known to one rank.  The largest of
 * that and of the others' zeros has its bits. */
static float norm_of_slices(struct ls_run *run, int64_t B, const float *sum)
{
    const struct ls_shards *shards = &run->engine.shards;
    const ptrdiff_t n = ls_optimizer_blocks(&run->optimizer);
    memset(run->squares, 0, (size_t)n * sizeof *run->squares);
    for (int i = 0; i < shards->n; i++)
        ls_optimizer_square_blocks(&run->optimizer, run->ops, B, shards->mine[i], sum, run->squares);
    for (ptrdiff_t i = 0; i < n; i++)
        run->square_bits[i] = ls_bits(run->squares[i]);
    ls_comm_take_largest(run->comm, run->square_bits, (int)n);
    for (ptrdiff_t i = 0; i < n; i++)
        run->squares[i] = ls_float((uint32_t)run->square_bits[i]);
    return ls_optimizer_norm_of_blocks(&run->optimizer, run->squares);
}

static void update_slices(struct ls_run *run, int64_t B, float rate, const float *sum,
                          struct ls_optimizer_report *showed)
{
    const struct ls_shards *shards = &run->engine.shards;
    showed->has_norm = ls_optimizer_needs_norm(&run->optimizer.rule);
    if (showed->has_norm)
        showed->gradient_norm = norm_of_slices(run, B, sum);
    ls_optimizer_begin(&run->optimizer, B, rate, showed->gradient_norm);
    for (int i = 0; i < shards->n; i++)
        showed->not_finite +=
            ls_optimizer_part(&run->optimizer, run->ops, shards->mine[i], run->parameters, sum);
}

/* Everybody's slices to all, and what they found in them. */
static void share_slices(struct ls_run *run, struct ls_optimizer_report *showed)
{
    const double began = ls_now_s();
    ls_shards_share(&run->engine.shards, run->comm, &run->engine.vectors, run->parameters);
    ls_comm_sum_counts(run->comm, &showed->not_finite, 1, run->err);
    const double took = ls_now_s() - began;
    run->engine.times.allreduce_s += took;
    run->engine.times.update_s -= took; /* the update around it counts it in */
}

int64_t ls_update_make(struct ls_run *run, int64_t B, const float *sum, struct ls_step_report *report)
{
    const double began = ls_now_s();
    struct ls_optimizer_report showed = {.not_finite = run->early.not_finite};
    report->learning_rate = ls_learning_rate_at(&run->rate, run->step - 1);
    const int in_slices = run->engine.shards.n > 0;
    if (!run->early.begun && in_slices)
        update_slices(run, B, report->learning_rate, sum, &showed);
    else if (!run->early.begun)
        ls_optimizer_step(&run->optimizer, run->ops, B, report->learning_rate, run->parameters, sum, &showed);
    if (in_slices)
        share_slices(run, &showed);
    run->updated = 1;
    if (run->average.flat)
        ls_average_follow(&run->average, run->ops, run->parameters);
    report->has_norm = showed.has_norm;
    report->gradient_norm = showed.gradient_norm;
    const float tolerance = run->config->stop.gradient_tolerance;
    if (tolerance > 0.0f && showed.gradient_norm <= tolerance)
        run->stop = LS_STOP_GRADIENT;
    run->engine.times.update_s += ls_now_s() - began;
    return showed.not_finite;
}

const float *ls_update_whole_sum(struct ls_run *run, const float *sum)
{
    struct ls_engine *engine = &run->engine;
    if (engine->shards.n == 0)
        return sum;
    float *whole = engine->gradients.slots[0]; /* no pass needs it now */
    ls_shards_copy(&engine->shards, whole, sum);
    ls_shards_share(&engine->shards, run->comm, &engine->vectors, whole);
    return whole;
}
