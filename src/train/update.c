/* Owns which elements are updated when.  See update.h. */
#include "train/update.h"

#include <math.h>

#include "base/timer.h"
#include "train/divergence.h"
#include "train/run.h"

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

int64_t ls_update_make(struct ls_run *run, int64_t B, const float *sum, struct ls_step_report *report)
{
    const double began = ls_now_s();
    struct ls_optimizer_report showed = {.not_finite = run->early.not_finite};
    report->learning_rate = ls_learning_rate_at(&run->rate, run->step - 1);
    if (!run->early.begun)
        ls_optimizer_step(&run->optimizer, run->ops, B, report->learning_rate, run->parameters, sum, &showed);
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
