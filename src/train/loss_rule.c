/* Owns the texts of losses and the class weights' memory.  See loss_rule.h. */
#include "train/loss_rule.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

const char *const ls_loss_names[] = {"softmax", "squared", "half-squared", "bce", "huber", "hinge", NULL};
const char *const ls_loss_titles[] = {"softmax cross-entropy",
                                      "squared error",
                                      "half squared error",
                                      "binary cross-entropy on logits",
                                      "Huber's",
                                      "hinge",
                                      NULL};

void ls_loss_rule_release(struct ls_loss_rule *rule)
{
    if (!rule)
        return;
    ls_free((float *)(uintptr_t)rule->class_weights); /* const for those who only read */
    *rule = (struct ls_loss_rule){.kind = rule->kind};
}

int ls_loss_takes_labels(const struct ls_loss_rule *rule, const struct ls_dataset *data)
{
    const int only_labels =
        rule->kind == LS_LOSS_SOFTMAX || rule->kind == LS_LOSS_HINGE || rule->class_weights;
    return data->n_classes > 0 && (only_labels || !data->values);
}

enum ls_code ls_loss_check_weights(const struct ls_loss_rule *rule, const struct ls_dataset *data,
                                   struct ls_error *err)
{
    if (!rule->class_weights)
        return LS_OK;
    if (data->n_classes == 0)
        return ls_fail(err, LS_USAGE,
                       "class weights need class labels, '%s' has %td target values a sample: leave "
                       "--class-weights out",
                       data->name, data->n_values);
    if (data->n_classes > rule->n_classes)
        return ls_fail(err, LS_USAGE, "there are %d class weights, '%s' has %d classes: give one a class",
                       rule->n_classes, data->name, data->n_classes);
    return LS_OK;
}

static float *create_weights(struct ls_loss_rule *rule, int32_t n, struct ls_error *err)
{
    float *weights = ls_alloc((size_t)n, sizeof *weights, "class weights", err);
    rule->class_weights = weights;
    rule->n_classes = weights ? n : 0;
    return weights;
}

static int32_t count_words(const char *text)
{
    int32_t n = 1;
    for (; *text; text++)
        n += *text == ',';
    return n;
}

enum ls_code ls_loss_read_weights(struct ls_loss_rule *rule, const char *text, struct ls_error *err)
{
    const int32_t n = count_words(text);
    float *weights = create_weights(rule, n, err);
    if (!weights)
        return LS_FAILED;
    int32_t n_above = 0;
    for (int32_t c = 0; c < n; c++) {
        char word[64];
        const size_t length = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)(length < 60 ? length : 60), text);
        if (!ls_text_to_float(word, &weights[c]) || weights[c] < 0.0f)
            return ls_fail(err, LS_USAGE,
                           "'%s' is no weight of class %d: give finite numbers of at least 0, one a class, "
                           "separated by commas",
                           word, c);
        n_above += weights[c] > 0.0f;
        text += length + 1;
    }
    return n_above > 0 ? LS_OK : ls_fail(err, LS_USAGE, "all class weights are 0: nothing would be learnt");
}

char *ls_loss_weights_text(const struct ls_loss_rule *rule, struct ls_error *err)
{
    char *text = ls_alloc((size_t)rule->n_classes, LS_FLOAT_TEXT + 1, "class weights as text", err);
    char *at = text;
    for (int32_t c = 0; text && c < rule->n_classes; c++) {
        char number[LS_FLOAT_TEXT];
        at += sprintf(at, "%s%s", c ? "," : "", ls_text_of_float(rule->class_weights[c], number));
    }
    return text;
}

enum ls_code ls_loss_balance_weights(struct ls_loss_rule *rule, const struct ls_dataset *data,
                                     struct ls_error *err)
{
    const int32_t classes = data->n_classes;
    float *weights = create_weights(rule, classes, err);
    int64_t *counts = ls_alloc((size_t)classes, sizeof *counts, "samples of each class", err);
    enum ls_code code = weights && counts ? LS_OK : LS_FAILED;
    if (code == LS_OK)
        ls_dataset_count_classes(data, counts);
    for (int32_t c = 0; code == LS_OK && c < classes; c++) {
        if (counts[c] == 0)
            code = ls_fail(err, LS_USAGE,
                           "--class-weights balanced: class %d of %d has no sample in '%s': give the weights "
                           "as numbers",
                           c, classes, data->name);
        else
            weights[c] = (float)((double)data->n_samples / ((double)classes * (double)counts[c]));
    }
    ls_free(counts);
    return code;
}

struct ls_hash ls_loss_rule_hash(const struct ls_loss_rule *rule)
{
    char text[120], weights[LS_HASH_TEXT];
    ls_hash_text(ls_hash_bytes(rule->class_weights, (size_t)rule->n_classes * sizeof(float)), weights);
    const int n = snprintf(text, sizeof text, "%d %a %a %d %s", (int)rule->kind, (double)rule->smoothing,
                           (double)rule->delta, rule->n_classes, weights);
    return ls_hash_bytes(text, (size_t)n);
}
