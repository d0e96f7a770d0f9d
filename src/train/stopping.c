/* Owns the comparison of looks. */
#include "train/stopping.h"

const char *const ls_stop_names[] = {"epochs",   "steps", "loss",  "accuracy", "patience",
                                     "gradient", "time",  "asked", "signal",   "none"};

const char *ls_stop_describe(enum ls_stop_reason reason)
{
    static const char *const sentences[] = {
        "all epochs are done",
        "all steps are done",
        "the loss is as low as asked",
        "the accuracy is as high as asked",
        "it got no better for as long as --patience allows",
        "the gradient's norm is within --gradient-tolerance",
        "the time of --max-time is over",
        "that was enough",
        "a signal came",
        "it failed",
    };
    return sentences[reason];
}

/* A NaN is never better, whatever the accuracy is. */
static int better(const struct ls_stopping *stopping, const struct ls_look *look)
{
    const struct ls_look *best = &stopping->best;
    if (look->loss != look->loss)
        return 0;
    if (best->step == 0)
        return 1;
    if (stopping->rule.by_accuracy)
        return look->n_correct > best->n_correct;
    return look->loss < best->loss;
}

enum ls_stop_reason ls_stopping_look(struct ls_stopping *stopping, const struct ls_look *look, int *is_best)
{
    const struct ls_stop_rule *rule = &stopping->rule;
    *is_best = better(stopping, look);
    stopping->waited++;
    if (*is_best) {
        stopping->best = *look;
        stopping->waited = 0;
    }
    if (rule->has_loss && look->loss <= rule->loss)
        return LS_STOP_LOSS;
    if (rule->has_accuracy && look->n_correct >= 0 &&
        (float)((double)look->n_correct / (double)look->n_samples) >= rule->accuracy)
        return LS_STOP_ACCURACY;
    if (rule->patience > 0 && stopping->waited >= rule->patience)
        return LS_STOP_PATIENCE;
    return LS_STOP_NONE;
}
