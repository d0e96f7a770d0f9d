/* Owns the smoothing and the judgement of a curve. */
#include "train/lr_curve.h"

#include <math.h>

#include "base/elementary.h"
#include "base/memory.h"

enum ls_code ls_lr_curve_create(struct ls_lr_curve *curve, int64_t capacity, double smoothing, double rise,
                                struct ls_error *err)
{
    *curve = (struct ls_lr_curve){
        .capacity = capacity, .smoothing = smoothing, .rise = rise, .weight = 1.0, .best = (double)INFINITY};
    curve->points = ls_alloc((size_t)capacity, sizeof *curve->points, "points of the curve", err);
    return curve->points ? LS_OK : LS_FAILED;
}

void ls_lr_curve_release(struct ls_lr_curve *curve)
{
    ls_free(curve->points);
    *curve = (struct ls_lr_curve){0};
}

/* The average of a few losses is a loss or two: what is judged begins behind them. */
static int64_t first_judged(const struct ls_lr_curve *curve)
{
    return curve->capacity / 20;
}

void ls_lr_curve_add(struct ls_lr_curve *curve, float rate, float loss)
{
    if (curve->n == curve->capacity)
        return;
    const double keep = curve->smoothing;
    curve->average = keep * curve->average + (1.0 - keep) * (double)loss;
    curve->weight = curve->weight * keep;
    const double smoothed = curve->average / (1.0 - curve->weight);
    curve->points[curve->n++] = (struct ls_lr_point){.rate = rate, .loss = loss, .smoothed = smoothed};
    if (curve->n <= first_judged(curve))
        return;
    curve->rose = smoothed > curve->rise * curve->best;
    if (smoothed < curve->best)
        curve->best = smoothed;
}

/* The smoothed loss falls fastest there: a difference over a few points, which noise moves less than one over
 * two.  Points are equally far apart in the logarithm of the rate. */
static void find_steepest(const struct ls_lr_curve *curve, struct ls_lr_suggestion *s)
{
    const struct ls_lr_point *p = curve->points;
    const int64_t reach = 1 + curve->capacity / 50;
    double most = 0;
    s->steepest = s->least;
    for (int64_t i = s->first; i <= s->least; i++) {
        const int64_t a = i - reach < s->first ? s->first : i - reach,
                      b = i + reach > s->least ? s->least : i + reach;
        const double slope = b > a ? (p[b].smoothed - p[a].smoothed) / (double)(b - a) : 0.0;
        if (slope < most) {
            most = slope;
            s->steepest = i;
        }
    }
    const double ln10 = 2.302585092994046;
    const double decades = ((double)ls_log(p[curve->n - 1].rate) - (double)ls_log(p[0].rate)) / ln10;
    s->slope = most * (double)(curve->n - 1) / decades;
}

/* The deviation that smoothed loss i has from the batches alone: that of one loss, from the differences of
 * neighbours, which a slow fall does not enlarge, times what an average over i + 1 of them leaves of it. */
static double noise_of(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *s, int64_t at)
{
    const struct ls_lr_point *p = curve->points;
    double squares = 0;
    for (int64_t i = s->first; i < s->least; i++) {
        const double step = (double)p[i + 1].loss - (double)p[i].loss;
        squares += step * step;
    }
    const double variance = s->least > s->first ? squares / (2.0 * (double)(s->least - s->first)) : 0.0;
    const double keep = curve->smoothing;
    double gone = 1.0; /* keep^(at + 1) */
    for (int64_t i = 0; i <= at; i++)
        gone *= keep;
    return sqrt(variance * (1.0 - keep) / (1.0 + keep) * (1.0 + gone) / (1.0 - gone));
}

struct ls_lr_suggestion ls_lr_curve_suggest(const struct ls_lr_curve *curve)
{
    enum { FEWEST = 4 };
    const double worth = 0.05; /* a smaller fall is no more than noise */
    struct ls_lr_suggestion s = {.verdict = LS_LR_TOO_SHORT};
    s.first = first_judged(curve);
    if (curve->n < s.first + FEWEST)
        return s;
    double highest = 0;
    int64_t at_highest = s.first;
    const struct ls_lr_point *p = curve->points;
    s.least = s.first;
    for (int64_t i = s.first; i < curve->n; i++)
        if (p[i].smoothed < p[s.least].smoothed)
            s.least = i;
    for (int64_t i = s.first; i <= s.least; i++)
        if (p[i].smoothed > highest) {
            highest = p[i].smoothed;
            at_highest = i;
        }
    s.fall = highest > 0 ? 1.0 - p[s.least].smoothed / highest : 0.0;
    find_steepest(curve, &s);
    if (p[s.least].smoothed > curve->rise * (double)p[0].loss)
        s.verdict = LS_LR_ONLY_RISES; /* it fell from where it had leapt to */
    else if (s.fall >= worth && highest - p[s.least].smoothed < 4.0 * noise_of(curve, &s, at_highest))
        s.verdict = LS_LR_NOISY;
    else if (s.fall >= worth)
        s.verdict = s.least == curve->n - 1 ? LS_LR_STILL_FALLING : LS_LR_FOUND;
    else
        s.verdict =
            p[curve->n - 1].smoothed > p[s.least].smoothed * (1.0 + worth) ? LS_LR_ONLY_RISES : LS_LR_FLAT;
    return s;
}
