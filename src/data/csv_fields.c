/* Owns what a field of delimited text means, by the role of its column: a number, a label, a value that is
 * missing, or an error that says where it stands. */
#include "data/csv_fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/quote.h"

static enum ls_code field_error(const struct ls_csv_fields *fields, ptrdiff_t c, const char *text,
                                const char *what, struct ls_error *err)
{
    char column[LS_CSV_COLUMN_TEXT];
    return ls_fail(err, LS_FAILED, "\"%s\":%lld: %s: found '%.80s': %s", fields->lines->path,
                   (long long)fields->lines->line, ls_csv_column_text(&fields->columns, c, column),
                   ls_quote(text).text, what);
}

static enum ls_code take_missing(struct ls_csv_fields *fields, ptrdiff_t c, const char *text, float *number,
                                 struct ls_error *err)
{
    struct ls_csv_column *column = &fields->columns.column[c];
    if (column->role == LS_CSV_VALUE)
        return field_error(fields, c, text, "the number to predict is missing, and no rule can fill it", err);
    if (fields->missing == LS_CSV_MISSING_REFUSE && !fields->keep_missing)
        return field_error(fields, c, text,
                           "the value is missing; missing=mean or missing=0 (any number) fills such values, "
                           "ignore= leaves the column out",
                           err);
    column->n_missing += fields->counting;
    *number = fields->keep_missing ? NAN : column->fill;
    return LS_OK;
}

static enum ls_code take_number(struct ls_csv_fields *fields, ptrdiff_t c, const char *text, size_t n,
                                float *number, struct ls_error *err)
{
    struct ls_csv_column *column = &fields->columns.column[c];
    const enum ls_decimal kind = ls_decimal_to_float(text, n, number);
    if (kind == LS_DECIMAL_OK) {
        if (fields->counting) {
            column->n_seen++;
            column->sum += (double)*number;
        }
        return LS_OK;
    }
    if (ls_csv_is_missing(text, n))
        return take_missing(fields, c, text, number, err);
    return field_error(fields, c, text,
                       kind == LS_DECIMAL_HUGE
                           ? "a finite binary32 number is needed, at most 3.4e38"
                           : "a number is needed; ignore= leaves the column out, label= says which column is "
                             "the label, delimiter= what stands between fields",
                       err);
}

static enum ls_code unknown_label(const struct ls_csv_fields *fields, ptrdiff_t c, const char *text,
                                  struct ls_error *err)
{
    char what[500], list[400];
    snprintf(what, sizeof what, "an unknown class; known are %s",
             ls_class_names_list(&fields->labels.names, list, sizeof list));
    return field_error(fields, c, text, what, err);
}

/* A label that is new in the first pass. */
static enum ls_code add_label(struct ls_csv_fields *fields, ptrdiff_t c, const char *text, size_t n,
                              const char *label, enum ls_label_kind kind, struct ls_error *err)
{
    struct ls_error inner = {.code = LS_OK};
    char what[200];
    if (ls_csv_is_missing(text, n))
        return field_error(fields, c, text, "the label is missing", err);
    if (fields->labels.closed)
        return unknown_label(fields, c, text, err);
    if (kind == LS_LABEL_FRACTION)
        return field_error(fields, c, text,
                           "no label: a text or a whole number is needed; numbers to predict are asked for "
                           "by target=COLUMN",
                           err);
    if (ls_labels_add(&fields->labels, label, &inner) == LS_OK)
        return LS_OK;
    snprintf(what, sizeof what, "%.120s; numbers to predict are asked for by target=COLUMN", inner.text);
    return field_error(fields, c, text, what, err);
}

static enum ls_code take_label(struct ls_csv_fields *fields, ptrdiff_t c, const char *text, size_t n,
                               struct ls_error *err)
{
    char label[LS_LABEL_TEXT];
    const enum ls_label_kind kind = ls_label_normalise(text, n, label);
    if (kind == LS_LABEL_UNFIT)
        return field_error(fields, c, text, "no label: at most 127 bytes without control characters are",
                           err);
    const int32_t class = ls_labels_find(&fields->labels, label);
    if (class < 0 || (!fields->labels.closed && ls_csv_is_missing(text, n)))
        return add_label(fields, c, text, n, label, kind, err);
    if (fields->label)
        *fields->label = class;
    return LS_OK;
}

enum ls_code ls_csv_fields_take(void *context, ptrdiff_t c, const char *text, size_t n, struct ls_error *err)
{
    struct ls_csv_fields *fields = context;
    if (c >= fields->columns.n) /* check_width says so */
        return LS_OK;
    const struct ls_csv_column *column = &fields->columns.column[c];
    if (column->role == LS_CSV_IGNORED)
        return LS_OK;
    if (memchr(text, '\0', n))
        return field_error(fields, c, text, "a NUL byte behind it; this is no text file", err);
    if (column->role == LS_CSV_LABEL)
        return take_label(fields, c, text, n, err);
    float number = 0.0f;
    const enum ls_code code = take_number(fields, c, text, n, &number, err);
    float *to = column->role == LS_CSV_VALUE ? fields->values : fields->inputs;
    if (to)
        to[column->slot] = number;
    return code;
}

/* What the values of an input are on average: in training, if that has been. */
static enum ls_code find_mean(const struct ls_csv_fields *fields, ptrdiff_t c, float *mean,
                              struct ls_error *err)
{
    const struct ls_csv_column *column = &fields->columns.column[c];
    const struct ls_features *trained = fields->trained;
    char text[LS_CSV_COLUMN_TEXT];
    if (trained && trained->n_means == 0)
        return ls_fail(
            err, LS_FAILED,
            "\"%s\": missing=mean: neither the model nor the training data say what the mean of %s "
            "was in training; missing=0 (any number) fills such values",
            fields->lines->path, ls_csv_column_text(&fields->columns, c, text));
    if (trained && trained->n_means != fields->columns.n_inputs)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": missing=mean: the training data had %td input columns, the file has %td",
                       fields->lines->path, trained->n_means, fields->columns.n_inputs);
    if (!trained && column->n_seen == 0)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": %s has no value at all, so no mean fills it; ignore= leaves it out",
                       fields->lines->path, ls_csv_column_text(&fields->columns, c, text));
    *mean = trained ? trained->means[column->slot] : (float)(column->sum / (double)column->n_seen);
    return LS_OK;
}

static enum ls_code decide_fills(struct ls_csv_fields *fields, struct ls_stream_facts *facts,
                                 struct ls_error *err)
{
    enum ls_code code = LS_OK;
    for (ptrdiff_t c = 0; c < fields->columns.n && code == LS_OK; c++) {
        struct ls_csv_column *column = &fields->columns.column[c];
        if (column->role != LS_CSV_INPUT || column->n_missing == 0)
            continue;
        facts->n_missing += column->n_missing;
        column->fill = fields->fill;
        if (fields->missing == LS_CSV_MISSING_MEAN)
            code = find_mean(fields, c, &column->fill, err);
    }
    return code;
}

/* For data that come later.  A column without any value is all filled. */
static enum ls_code keep_means(struct ls_stream_facts *facts, const struct ls_csv_fields *fields,
                               struct ls_error *err)
{
    const struct ls_features *trained = fields->trained;
    const ptrdiff_t n = fields->columns.n_inputs;
    float *means = facts->inputs.means = ls_alloc((size_t)n, sizeof *means, "means of columns", err);
    if (!means)
        return LS_FAILED;
    facts->inputs.n_means = n;
    for (ptrdiff_t c = 0; c < fields->columns.n; c++) {
        const struct ls_csv_column *column = &fields->columns.column[c];
        if (column->role == LS_CSV_INPUT)
            means[column->slot] = trained && trained->n_means == n ? trained->means[column->slot]
                                  : column->n_seen > 0 ? (float)(column->sum / (double)column->n_seen)
                                                       : column->fill;
    }
    return LS_OK;
}

static enum ls_code read_missing(struct ls_csv_fields *fields, struct ls_source *source, struct ls_error *err)
{
    const char *value = ls_source_setting(source, "missing");
    if (!value || strcmp(value, "refuse") == 0)
        fields->missing = LS_CSV_MISSING_REFUSE;
    else if (strcmp(value, "mean") == 0)
        fields->missing = LS_CSV_MISSING_MEAN;
    else if (ls_text_to_float(value, &fields->fill))
        fields->missing = LS_CSV_MISSING_NUMBER;
    else
        return ls_fail(err, LS_USAGE, "data \"%s\": missing=%.40s: allowed are refuse, mean and a number",
                       source->files[0], value);
    return LS_OK;
}

/* A model stores the names, as JSON. */
static enum ls_code name_inputs(struct ls_stream_facts *facts, const struct ls_csv_fields *fields,
                                struct ls_error *err)
{
    struct ls_class_names *names = &facts->inputs.names;
    char text[LS_CSV_COLUMN_TEXT];
    if (!fields->columns.header)
        return LS_OK;
    names->name = ls_alloc((size_t)fields->columns.n_inputs, sizeof *names->name, "names of columns", err);
    for (ptrdiff_t c = 0; names->name && c < fields->columns.n; c++) {
        const struct ls_csv_column *column = &fields->columns.column[c];
        if (column->role != LS_CSV_INPUT)
            continue;
        if (!ls_name_is_utf8(column->name))
            return ls_fail(
                err, LS_FAILED,
                "\"%s\":1: %s: the name is not UTF-8: iconv -f LATIN1 -t UTF-8 makes it, if the text "
                "is Latin-1",
                fields->lines->path, ls_csv_column_text(&fields->columns, c, text));
        char *name = ls_copy_text(column->name, err);
        if (!name)
            return LS_FAILED;
        names->name[names->n++] = name;
    }
    return names->name ? LS_OK : LS_FAILED;
}

enum ls_code ls_csv_fields_open(struct ls_csv_fields *fields, const struct ls_lines *lines,
                                struct ls_source *source, const struct ls_stream_request *request,
                                struct ls_error *err)
{
    fields->lines = lines;
    fields->keep_missing = request->keep_missing;
    fields->trained = request->trained;
    const enum ls_code code = read_missing(fields, source, err);
    return code == LS_OK ? ls_labels_of_setting(&fields->labels, source, request, err) : code;
}

void ls_csv_fields_release(struct ls_csv_fields *fields)
{
    ls_csv_columns_release(&fields->columns);
    ls_labels_release(&fields->labels);
}

/* The classes that were found. */
static enum ls_code close_labels(struct ls_csv_fields *fields, struct ls_stream_facts *facts,
                                 struct ls_error *err)
{
    if (fields->columns.label < 0)
        return LS_OK;
    ls_labels_close(&fields->labels);
    facts->n_classes = fields->labels.names.n;
    return ls_labels_names(&fields->labels, &facts->classes, err);
}

enum ls_code ls_csv_fields_describe(struct ls_csv_fields *fields, struct ls_stream_facts *facts,
                                    struct ls_error *err)
{
    facts->divisor = 1.0f;
    facts->n_values = fields->columns.n_values;
    fields->counting = 0;
    enum ls_code code = decide_fills(fields, facts, err);
    if (code == LS_OK)
        code = close_labels(fields, facts, err);
    if (code == LS_OK)
        code = name_inputs(facts, fields, err);
    if (code == LS_OK)
        code = keep_means(facts, fields, err);
    fields->trained = NULL;
    return code;
}
