/* Owns the text of --stop-at, and what can be asked of which data. */
#include "cli/stop_options.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

const char *const ls_monitors[] = {"loss", "accuracy", NULL};
const char *const ls_keeps[] = {"last", "best", NULL};

static enum ls_code bad_target(const char *text, struct ls_error *err)
{
    return ls_fail(
        err, LS_USAGE,
        "--stop-at '%.60s': allowed are loss=X, with X a number, and accuracy=X, with X from 0 to 1 or "
        "from 0%% to 100%%, or both with a comma between",
        text);
}

static enum ls_code parse_target(const char *target, const char *whole, struct ls_stop_rule *rule,
                                 struct ls_error *err)
{
    char number[32];
    float value = 0;
    const int loss = strncmp(target, "loss=", 5) == 0;
    if (!loss && strncmp(target, "accuracy=", 9) != 0)
        return bad_target(whole, err);
    if (loss ? rule->has_loss : rule->has_accuracy)
        return ls_fail(err, LS_USAGE, "--stop-at '%.60s': %s is given twice", whole,
                       loss ? "loss" : "accuracy");
    const char *text = target + (loss ? 5 : 9);
    size_t length = strlen(text);
    const int percent = !loss && length > 0 && text[length - 1] == '%';
    length -= (size_t)percent;
    if (length + sizeof "e-2" > sizeof number)
        return bad_target(whole, err);
    /* As a power of ten, so that 55% is the binary32 that 11 of 20 is. */
    snprintf(number, sizeof number, "%.*s%s", (int)length, text, percent ? "e-2" : "");
    if (!ls_text_to_float(number, &value))
        return bad_target(whole, err);
    if (loss) {
        rule->has_loss = 1;
        rule->loss = value;
        return LS_OK;
    }
    rule->has_accuracy = 1;
    rule->accuracy = value;
    return rule->accuracy >= 0 && rule->accuracy <= 1 ? LS_OK : bad_target(whole, err);
}

static enum ls_code parse_stop_at(const char *text, struct ls_stop_rule *rule, struct ls_error *err)
{
    char copy[100];
    if (strlen(text) >= sizeof copy)
        return bad_target(text, err);
    snprintf(copy, sizeof copy, "%s", text);
    enum ls_code code = LS_OK;
    for (char *target = copy, *next; target && code == LS_OK; target = next) {
        next = strchr(target, ',');
        if (next)
            *next++ = '\0';
        code = parse_target(target, text, rule, err);
    }
    return code;
}

enum ls_code ls_stop_options_apply(const struct ls_stop_options *options, const struct ls_data *data,
                                   struct ls_train_config *config, struct ls_error *err)
{
    struct ls_stop_rule *rule = &config->stop;
    *rule = (struct ls_stop_rule){.patience = options->patience,
                                  .by_accuracy = options->monitor,
                                  .gradient_tolerance = options->gradient_tolerance,
                                  .seconds = (double)options->max_time};
    config->check_every = options->check_every;
    config->keep_best = options->keep.choice;
    if (options->stop_at && parse_stop_at(options->stop_at, rule, err) != LS_OK)
        return err->code = LS_USAGE;
    const int tested = ls_data_watched(data)->n_samples > 0;
    if ((rule->has_accuracy || rule->by_accuracy) && (!tested || data->train.n_classes == 0))
        return ls_fail(err, LS_USAGE, "%s needs test data with classes, '%.100s' has %s",
                       rule->by_accuracy ? "--monitor accuracy" : "--stop-at accuracy", data->train.name,
                       tested ? "no classes" : "no test samples: give --test-data, or look at the loss");
    if (tested && config->eval_every == 0 && config->check_every == 0 &&
        (rule->has_loss || rule->has_accuracy || rule->patience > 0 || config->keep_best))
        return ls_fail(
            err, LS_USAGE,
            "--eval-every 0 never looks at the test data, which --stop-at, --patience and --keep best "
            "need: leave it out, or give --check-every");
    return LS_OK;
}

void ls_stop_facts(const struct ls_stop_options *options, struct ls_model_facts *facts)
{
    char number[LS_FLOAT_TEXT];
    if (options->stop_at)
        ls_model_facts_add(facts, "stop_at", "%s", options->stop_at);
    if (options->patience > 0)
        ls_model_facts_add(facts, "patience", "%lld", (long long)options->patience);
    if (options->check_every > 0)
        ls_model_facts_add(facts, "check_every", "%lld", (long long)options->check_every);
    if (options->patience > 0 || options->keep.choice)
        ls_model_facts_add(facts, "monitor", "%s", ls_monitors[options->monitor]);
    if (options->gradient_tolerance > 0)
        ls_model_facts_add(facts, "gradient_tolerance", "%s",
                           ls_text_of_float(options->gradient_tolerance, number));
}

void ls_stop_result_facts(const struct ls_train_config *config, const struct ls_train_result *result,
                          struct ls_model_facts *facts)
{
    char number[LS_FLOAT_TEXT];
    /* Silent when a run of given length ended as given: --epochs 2 and as many --steps are the same model. */
    const int early = result->stopped > LS_STOP_STEPS || result->good_step != result->steps;
    if (early)
        ls_model_facts_add(facts, "stopped_by", "%s", ls_stop_names[result->stopped]);
    if (early && result->stopped != LS_STOP_NONE)
        ls_model_facts_add(facts, "stopped_at_step", "%lld", (long long)result->steps);
    if (!config->keep_best || result->best.step == 0)
        return;
    ls_model_facts_add(facts, "kept", "best");
    ls_model_facts_add(facts, "best_epoch", "%lld", (long long)result->best.epoch);
    ls_model_facts_add(facts, "best_loss", "%s", ls_text_of_float(result->best.loss, number));
    if (result->best.n_correct >= 0)
        ls_model_facts_add(facts, "best_correct", "%lld of %lld", (long long)result->best.n_correct,
                           (long long)result->best.n_samples);
}
