/* Owns samples written on the command line: "0 0=0;0 1=1;1 0=1;1 1=0" is XOR, "1=3" is one sample x = 1 with
 * target 3.
 *
 * Targets are always values.  When each is one whole number 0..65535, written with digits only, they are
 * labels too. */
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/readers.h"

/* Where reading stands, and what it has filled. */
struct reader {
    const char *text, *at;
    float *inputs, *targets;
    int32_t *labels;
    ptrdiff_t n_inputs, n_targets; /* numbers so far, over all samples */
    int all_labels;                /* every target so far could be a label */
};

static size_t position(const struct reader *reader)
{
    return (size_t)(reader->at - reader->text) + 1;
}

static void skip_separators(struct reader *reader)
{
    reader->at += strspn(reader->at, " \t\n,");
}

/* The number at reader->at.  *is_label: only digits, and 0..65535. */
static enum ls_code read_number(struct reader *reader, float *number, int *is_label, struct ls_error *err)
{
    char word[64] = "";
    const size_t length = strcspn(reader->at, " \t\n,;=");
    memcpy(word, reader->at, length < sizeof word ? length : sizeof word - 1);
    if (length >= sizeof word || !ls_text_to_float(word, number))
        return ls_fail(err, LS_USAGE, "inline data: character %zu: \"%s\" is not a finite number",
                       position(reader), word);
    *is_label = strspn(word, "0123456789") == length && *number <= (float)LS_MAX_LABEL;
    reader->at += length;
    return LS_OK;
}

/* The numbers of one sample on one side of '='; *n counts them. */
static enum ls_code read_numbers(struct reader *reader, int is_target, ptrdiff_t *n, struct ls_error *err)
{
    *n = 0;
    skip_separators(reader);
    while (!strchr("=;", *reader->at)) { /* finds the end of the text too */
        int is_label = 0;
        float number = 0.0f;
        const enum ls_code code = read_number(reader, &number, &is_label, err);
        if (code != LS_OK)
            return code;
        if (is_target) {
            reader->all_labels &= is_label;
            reader->labels[reader->n_targets] = is_label ? (int32_t)number : 0;
            reader->targets[reader->n_targets++] = number;
        } else {
            reader->inputs[reader->n_inputs++] = number;
        }
        ++*n;
        skip_separators(reader);
    }
    return LS_OK;
}

/* One side of sample `sample`, whose count of numbers must be that of the first sample. */
static enum ls_code read_side(struct reader *reader, int is_target, int64_t sample, ptrdiff_t *width,
                              struct ls_error *err)
{
    const char *side = is_target ? "target" : "input";
    ptrdiff_t n;
    const enum ls_code code = read_numbers(reader, is_target, &n, err);
    if (code != LS_OK)
        return code;
    if (n == 0)
        return ls_fail(err, LS_USAGE,
                       "inline data: character %zu: sample %lld has no %s; write inline:X..=Y..;X..=Y..",
                       position(reader), (long long)sample, side);
    if (sample > 0 && n != *width)
        return ls_fail(err, LS_USAGE,
                       "inline data: character %zu: sample %lld has %td %s numbers, the first has %td",
                       position(reader), (long long)sample, n, side, *width);
    *width = n;
    return LS_OK;
}

static enum ls_code read_samples(struct reader *reader, struct ls_dataset *dataset, struct ls_error *err)
{
    ptrdiff_t n_features = 0;
    do {
        enum ls_code code = read_side(reader, 0, dataset->n_samples, &n_features, err);
        if (code != LS_OK)
            return code;
        if (*reader->at != '=')
            return ls_fail(err, LS_USAGE,
                           "inline data: character %zu: sample %lld has no '=' between inputs and target",
                           position(reader), (long long)dataset->n_samples);
        reader->at++;
        code = read_side(reader, 1, dataset->n_samples, &dataset->n_values, err);
        if (code != LS_OK)
            return code;
        if (*reader->at == '=')
            return ls_fail(err, LS_USAGE,
                           "inline data: character %zu: a second '=' in sample %lld; ';' ends a sample",
                           position(reader), (long long)dataset->n_samples);
        dataset->n_samples++;
    } while (*reader->at++ == ';');
    ls_dataset_set_shape(dataset, 1, &n_features);
    return LS_OK;
}

enum ls_code ls_read_inline(struct ls_dataset *dataset, const char *samples, struct ls_error *err)
{
    const size_t most = strlen(samples) / 2 + 1; /* a number and what ends it are two characters at least */
    struct reader reader = {.text = samples, .at = samples, .all_labels = 1};
    dataset->owned[0] = reader.inputs = ls_alloc(most, sizeof *reader.inputs, "inline data", err);
    dataset->owned[1] = reader.targets = ls_alloc(most, sizeof *reader.targets, "inline data", err);
    dataset->owned[2] = reader.labels = ls_alloc(most, sizeof *reader.labels, "inline data", err);
    if (!reader.inputs || !reader.targets || !reader.labels)
        return LS_FAILED;
    const enum ls_code code = read_samples(&reader, dataset, err);
    if (code != LS_OK)
        return code;
    dataset->numbers = reader.inputs;
    dataset->values = reader.targets;
    if (!reader.all_labels || dataset->n_values != 1)
        return LS_OK;
    dataset->labels = reader.labels;
    for (int64_t i = 0; i < dataset->n_samples; i++)
        dataset->n_classes =
            reader.labels[i] >= dataset->n_classes ? reader.labels[i] + 1 : dataset->n_classes;
    return LS_OK;
}
