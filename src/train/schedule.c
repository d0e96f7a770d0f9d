/* Owns the formulas of schedules.  Their text is schedule_text.c's. */
#include "train/schedule.h"

#include "base/contract.h"
#include "base/elementary.h"

int64_t ls_updates_per_epoch(int64_t n_samples, int64_t batch, int drop_last)
{
    return n_samples / batch + (!drop_last && n_samples % batch != 0);
}

float ls_scaled_rate(float rate, int64_t batch, int64_t reference)
{
    return rate * ((float)batch / (float)reference);
}

/* A product of binary64s, rounded to the nearest whole number: exact enough that "0.3" of 10 epochs is 3. */
static int64_t updates_of(struct ls_span span, int64_t per_epoch)
{
    const double updates = (double)span.length * (span.in_updates ? 1.0 : (double)per_epoch) + 0.5;
    return updates < 0x1p62 ? (int64_t)updates : INT64_MAX;
}

struct ls_learning_rate ls_learning_rate_start(const struct ls_schedule *schedule, float base,
                                               int64_t updates_per_epoch, int64_t epochs, int64_t steps)
{
    struct ls_learning_rate rate = {.schedule = *schedule,
                                    .base = base,
                                    .per_epoch = updates_per_epoch,
                                    .plateau_rate = base,
                                    .best = __builtin_inff()};
    const int endless = updates_per_epoch > 0 && epochs > INT64_MAX / updates_per_epoch;
    rate.total = !endless ? epochs * updates_per_epoch : steps >= 0 ? steps : INT64_MAX;
    return rate;
}

int ls_schedule_ends_with_run(const struct ls_schedule *schedule)
{
    return schedule->kind == LS_SCHEDULE_POLYNOMIAL || schedule->kind == LS_SCHEDULE_COSINE ||
           schedule->kind == LS_SCHEDULE_ONECYCLE;
}

/* factor^n by squaring: the sequence depends on n alone. */
static float power(float factor, int64_t n)
{
    float result = 1.0f;
    for (; n > 0; n /= 2) {
        if (n % 2)
            result = result * factor;
        factor = factor * factor;
    }
    return result;
}

static float real_power(float y, float exponent)
{
    const int64_t whole = exponent <= 64.0f ? (int64_t)exponent : -1;
    if ((float)whole == exponent)
        return power(y, whole);
    return y > 0.0f ? ls_exp(exponent * ls_log(y)) : 0.0f;
}

/* From `from` at x = 0 to `to` at x = 1. */
static float along_cosine(float from, float to, float x)
{
    return ls_fma((from - to) * 0.5f, 1.0f + ls_cospi(x), to);
}

static float along_line(float from, float to, float x)
{
    return ls_fma(from - to, 1.0f - x, to);
}

static int64_t milestones_reached(const struct ls_learning_rate *rate, int64_t t)
{
    int64_t reached = 0;
    for (int i = 0; i < rate->schedule.n_milestones; i++)
        reached += t >= updates_of(rate->schedule.at[i], rate->per_epoch);
    return reached;
}

/* Both phases end one update early, as PyTorch's: the last update of `length` has the last rate. */
static float one_cycle(const struct ls_learning_rate *rate, int64_t t, int64_t length)
{
    const struct ls_schedule *s = &rate->schedule;
    const float start = rate->base * s->start, end = start * s->end, at = (float)t;
    const float last = (float)(length - 1), up = ls_fma(s->peak_at, (float)length, -1.0f);
    const float peak = up > 0.0f ? up : 0.0f;
    if (at < peak) {
        const float x = at / peak;
        return s->linear ? along_line(start, rate->base, x) : along_cosine(start, rate->base, x);
    }
    const float x = last > peak ? (at - peak) / (last - peak) : 0.0f;
    const float held = x < 1.0f ? x : 1.0f;
    return s->linear ? along_line(rate->base, end, held) : along_cosine(rate->base, end, held);
}

static float scheduled(const struct ls_learning_rate *rate, int64_t t, int64_t warmup)
{
    const struct ls_schedule *s = &rate->schedule;
    const int64_t after = t > warmup ? t - warmup : 0,
                  length = rate->total > warmup ? rate->total - warmup : 1;
    const float x = after < length ? (float)after / (float)length : 1.0f;
    int64_t every;
    switch (s->kind) {
    case LS_SCHEDULE_CONSTANT:
        break;
    case LS_SCHEDULE_STEP:
    case LS_SCHEDULE_EXPONENTIAL:
        every = updates_of(s->every, rate->per_epoch);
        return rate->base * power(s->factor, t / (every > 0 ? every : 1));
    case LS_SCHEDULE_MULTISTEP:
        return rate->base * power(s->factor, milestones_reached(rate, t));
    case LS_SCHEDULE_POLYNOMIAL:
        return ls_fma(rate->base - s->end, real_power(1.0f - x, s->power), s->end);
    case LS_SCHEDULE_COSINE:
        return along_cosine(rate->base, s->least, x);
    case LS_SCHEDULE_ONECYCLE:
        return one_cycle(rate, after, length);
    case LS_SCHEDULE_PLATEAU:
        return rate->plateau_rate;
    }
    return rate->base;
}

float ls_learning_rate_at(const struct ls_learning_rate *rate, int64_t t)
{
    const int64_t warmup = updates_of(rate->schedule.warmup, rate->per_epoch);
    const float full = scheduled(rate, t, warmup);
    return t < warmup ? full * ((float)(t + 1) / (float)warmup) : full;
}

void ls_learning_rate_watch(struct ls_learning_rate *rate, float loss)
{
    const struct ls_schedule *s = &rate->schedule;
    if (s->kind != LS_SCHEDULE_PLATEAU)
        return;
    if (loss < rate->best * (1.0f - s->threshold)) {
        rate->best = loss;
        rate->waited = 0;
        return;
    }
    if (++rate->waited <= s->patience)
        return;
    rate->waited = 0;
    const float lower = rate->plateau_rate * s->factor;
    if (lower > s->least)
        rate->plateau_rate = lower;
    else if (rate->plateau_rate > s->least)
        rate->plateau_rate = s->least;
}
