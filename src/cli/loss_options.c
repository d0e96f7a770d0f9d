/* Owns which options of a loss go together. */
#include "cli/loss_options.h"

#include <string.h>

#include "base/text.h"

const char ls_loss_help[] =
    "softmax cross-entropy on logits; squared: the sum over outputs of (z - t)^2; half-squared: half of "
    "that; "
    "bce: binary cross-entropy on logits, huber: half squared near the target and linear beyond, both summed "
    "over outputs; hinge: margins, the sum over the other classes of max(0, 1 + z - z of the label). All are "
    "means over the batch";
const char ls_label_smoothing_help[] =
    "of --loss softmax: the share of each target that is spread evenly over all classes";
const char ls_huber_delta_help[] =
    "of --loss huber: how far from the target the squared error becomes a linear one";
const char ls_class_weights_help[] = "what the loss of a sample is multiplied by: one number a class, "
                                     "separated by commas; balanced: samples / "
                                     "(classes x samples of the class), of the training data";

static enum ls_code check_pairs(const struct ls_loss_rule *rule, const struct ls_loss_options *options,
                                struct ls_error *err)
{
    char number[LS_FLOAT_TEXT];
    if (options->smoothing > 0.0f && rule->kind != LS_LOSS_SOFTMAX)
        return ls_fail(err, LS_USAGE, "--label-smoothing %s goes with --loss softmax only, found --loss %s",
                       ls_text_of_float(options->smoothing, number), ls_loss_names[rule->kind]);
    if (options->delta > 0.0f && rule->kind != LS_LOSS_HUBER)
        return ls_fail(err, LS_USAGE, "--huber-delta %s goes with --loss huber only, found --loss %s",
                       ls_text_of_float(options->delta, number), ls_loss_names[rule->kind]);
    return LS_OK;
}

static enum ls_code make_weights(struct ls_loss_rule *rule, const char *text, const struct ls_dataset *train,
                                 struct ls_error *err)
{
    if (train->n_classes == 0)
        return ls_fail(err, LS_USAGE,
                       "--class-weights needs class labels, '%s' has %td target values a sample", train->name,
                       train->n_values);
    if (strcmp(text, "balanced") == 0)
        return ls_loss_balance_weights(rule, train, err);
    struct ls_error inner = {.code = LS_OK};
    if (ls_loss_read_weights(rule, text, &inner) != LS_OK)
        return ls_fail(err, inner.code, "--class-weights: %.900s; or balanced", inner.text);
    if (rule->n_classes != train->n_classes)
        return ls_fail(err, LS_USAGE,
                       "--class-weights: found %d weights, the data has %d classes: give one a class, or "
                       "balanced",
                       rule->n_classes, train->n_classes);
    return LS_OK;
}

enum ls_code ls_loss_options_rule(struct ls_loss_rule *rule, const struct ls_loss_options *options,
                                  const struct ls_dataset *train, struct ls_error *err)
{
    *rule = (struct ls_loss_rule){
        .kind = options->loss >= 0     ? (enum ls_loss)options->loss
                : train->n_classes > 0 ? LS_LOSS_SOFTMAX
                                       : LS_LOSS_SQUARED,
        .smoothing = options->smoothing,
    };
    if (rule->kind == LS_LOSS_HUBER)
        rule->delta = options->delta > 0.0f ? options->delta : LS_DEFAULT_HUBER_DELTA;
    const enum ls_code code = check_pairs(rule, options, err);
    return code == LS_OK && options->class_weights ? make_weights(rule, options->class_weights, train, err)
                                                   : code;
}
