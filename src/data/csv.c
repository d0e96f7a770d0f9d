/* Owns delimited text as samples: csv:FILE and tsv:FILE.
 *
 * Two passes.  The first counts samples, finds the labels, refuses what is no number, and adds up what a mean
 * takes; the second, which may begin anywhere, gives the numbers.  Everything else is decided by columns
 * (csv_columns.c), rows (csv_rows.c) and labels (labels.c). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/csv_columns.h"
#include "data/csv_rows.h"
#include "data/formats.h"
#include "data/readers.h"
#include "formats/quote.h"
#include "layers/layer.h"

enum missing_rule { MISSING_REFUSE, MISSING_MEAN, MISSING_NUMBER };

struct csv {
    struct ls_csv_rows rows;
    struct ls_csv_columns columns;
    struct ls_labels labels;
    struct ls_line_marks marks;
    enum missing_rule missing;
    float fill;                        /* of MISSING_NUMBER */
    const struct ls_features *trained; /* while it is opened; NULL: this is the training data */
    int keep_missing;
    int counting; /* the first pass */
    /* Where the row that is being read goes; NULL: nowhere. */
    float *inputs, *values;
    int32_t *label;
};

static enum ls_code field_error(const struct csv *csv, ptrdiff_t c, const char *text, const char *what,
                                struct ls_error *err)
{
    char column[LS_CSV_COLUMN_TEXT];
    return ls_fail(err, LS_FAILED, "\"%s\":%lld: %s: found '%.80s': %s", csv->rows.lines.path,
                   (long long)csv->rows.lines.line, ls_csv_column_text(&csv->columns, c, column),
                   ls_quote(text).text, what);
}

static enum ls_code take_missing(struct csv *csv, ptrdiff_t c, const char *text, float *number,
                                 struct ls_error *err)
{
    struct ls_csv_column *column = &csv->columns.column[c];
    if (column->role == LS_CSV_VALUE)
        return field_error(csv, c, text, "the number to predict is missing, and no rule can fill it", err);
    if (csv->missing == MISSING_REFUSE && !csv->keep_missing)
        return field_error(csv, c, text,
                           "the value is missing; missing=mean or missing=0 (any number) fills such values, "
                           "ignore= leaves the column out",
                           err);
    column->n_missing += csv->counting;
    *number = csv->keep_missing ? NAN : column->fill;
    return LS_OK;
}

static enum ls_code take_number(struct csv *csv, ptrdiff_t c, const char *text, size_t n, float *number,
                                struct ls_error *err)
{
    struct ls_csv_column *column = &csv->columns.column[c];
    const enum ls_decimal kind = ls_decimal_to_float(text, n, number);
    if (kind == LS_DECIMAL_OK) {
        if (csv->counting) {
            column->n_seen++;
            column->sum += (double)*number;
        }
        return LS_OK;
    }
    if (ls_csv_is_missing(text, n))
        return take_missing(csv, c, text, number, err);
    return field_error(csv, c, text,
                       kind == LS_DECIMAL_HUGE
                           ? "a finite binary32 number is needed, at most 3.4e38"
                           : "a number is needed; ignore= leaves the column out, label= says which column is "
                             "the label, delimiter= what stands between fields",
                       err);
}

static enum ls_code unknown_label(const struct csv *csv, ptrdiff_t c, const char *text, struct ls_error *err)
{
    char what[500], list[400];
    snprintf(what, sizeof what, "an unknown class; known are %s",
             ls_class_names_list(&csv->labels.names, list, sizeof list));
    return field_error(csv, c, text, what, err);
}

/* A label that is new in the first pass. */
static enum ls_code add_label(struct csv *csv, ptrdiff_t c, const char *text, size_t n, const char *label,
                              enum ls_label_kind kind, struct ls_error *err)
{
    struct ls_error inner = {.code = LS_OK};
    char what[200];
    if (ls_csv_is_missing(text, n))
        return field_error(csv, c, text, "the label is missing", err);
    if (csv->labels.closed)
        return unknown_label(csv, c, text, err);
    if (kind == LS_LABEL_FRACTION)
        return field_error(csv, c, text,
                           "no label: a text or a whole number is needed; numbers to predict are asked for "
                           "by target=COLUMN",
                           err);
    if (ls_labels_add(&csv->labels, label, &inner) == LS_OK)
        return LS_OK;
    snprintf(what, sizeof what, "%.120s; numbers to predict are asked for by target=COLUMN", inner.text);
    return field_error(csv, c, text, what, err);
}

static enum ls_code take_label(struct csv *csv, ptrdiff_t c, const char *text, size_t n, struct ls_error *err)
{
    char label[LS_LABEL_TEXT];
    const enum ls_label_kind kind = ls_label_normalise(text, n, label);
    if (kind == LS_LABEL_UNFIT)
        return field_error(csv, c, text, "no label: at most 127 bytes without control characters are", err);
    const int32_t class = ls_labels_find(&csv->labels, label);
    if (class < 0 || (!csv->labels.closed && ls_csv_is_missing(text, n)))
        return add_label(csv, c, text, n, label, kind, err);
    if (csv->label)
        *csv->label = class;
    return LS_OK;
}

static enum ls_code take_field(void *context, ptrdiff_t c, const char *text, size_t n, struct ls_error *err)
{
    struct csv *csv = context;
    if (c >= csv->columns.n) /* check_width says so */
        return LS_OK;
    const struct ls_csv_column *column = &csv->columns.column[c];
    if (column->role == LS_CSV_IGNORED)
        return LS_OK;
    if (memchr(text, '\0', n))
        return field_error(csv, c, text, "a NUL byte behind it; this is no text file", err);
    if (column->role == LS_CSV_LABEL)
        return take_label(csv, c, text, n, err);
    float number = 0.0f;
    const enum ls_code code = take_number(csv, c, text, n, &number, err);
    float *to = column->role == LS_CSV_VALUE ? csv->values : csv->inputs;
    if (to)
        to[column->slot] = number;
    return code;
}

static enum ls_code check_width(const struct csv *csv, struct ls_error *err)
{
    if (csv->rows.n_fields == csv->columns.n)
        return LS_OK;
    return ls_fail(err, LS_FAILED, "\"%s\":%lld: the row has %td field%s, the first row has %td",
                   csv->rows.lines.path, (long long)csv->rows.line, csv->rows.n_fields,
                   csv->rows.n_fields == 1 ? "" : "s", csv->columns.n);
}

/* A row of the wrong width is a better message than what its fields look like. */
static enum ls_code next_row(struct csv *csv, int *got, struct ls_error *err)
{
    const enum ls_code code = ls_csv_rows_next(&csv->rows, take_field, csv, got, err);
    return (*got || csv->rows.row_ended) && csv->rows.n_fields != csv->columns.n ? check_width(csv, err)
                                                                                 : code;
}

static enum ls_code take_name(void *context, ptrdiff_t c, const char *text, size_t n, struct ls_error *err)
{
    struct csv *csv = context;
    (void)c;
    if (memchr(text, '\0', n))
        return ls_fail(err, LS_FAILED, "\"%s\":1: a NUL byte; this is no text file", csv->rows.lines.path);
    return ls_csv_columns_add(&csv->columns, text, err);
}

/* The first row says how many columns there are, and maybe their names. */
static enum ls_code read_first_row(struct csv *csv, struct ls_source *source, struct ls_error *err)
{
    int got = 0;
    enum ls_code code = ls_csv_rows_next(&csv->rows, take_name, csv, &got, err);
    if (code == LS_OK && !got)
        code = ls_fail(err, LS_FAILED, "\"%s\" has no rows", source->files[0]);
    if (code == LS_OK)
        code = ls_csv_columns_assign(&csv->columns, source, err);
    if (code == LS_OK && !csv->columns.header)
        code = ls_csv_rows_seek(&csv->rows, csv->rows.offset, csv->rows.line_before, err);
    return code;
}

static enum ls_code count(struct csv *csv, struct ls_stream_facts *facts, struct ls_error *err)
{
    csv->counting = 1;
    for (int got = 1; got;) {
        const enum ls_code code = next_row(csv, &got, err);
        if (code != LS_OK)
            return code;
        if (got && csv->rows.offset < 0) /* could not be found again */
            return ls_fail(err, LS_FAILED,
                           "\"%s\":%lld: a line ends with CR alone; LF or CR LF are needed: tr '\\r' '\\n'",
                           csv->rows.lines.path, (long long)csv->rows.line);
        if (got)
            ls_line_marks_note(&csv->marks, facts->n_samples, csv->rows.offset, csv->rows.line_before);
        facts->n_samples += got;
    }
    csv->counting = 0;
    if (facts->n_samples == 0)
        return ls_fail(err, LS_FAILED, "\"%s\" has a header, but no samples (header=no if it is one)",
                       csv->rows.lines.path);
    return LS_OK;
}

/* What the values of an input are on average: in training, if that has been. */
static enum ls_code find_mean(const struct csv *csv, ptrdiff_t c, float *mean, struct ls_error *err)
{
    const struct ls_csv_column *column = &csv->columns.column[c];
    const struct ls_features *trained = csv->trained;
    char text[LS_CSV_COLUMN_TEXT];
    if (trained && trained->n_means == 0)
        return ls_fail(
            err, LS_FAILED,
            "\"%s\": missing=mean: neither the model nor the training data say what the mean of %s "
            "was in training; missing=0 (any number) fills such values",
            csv->rows.lines.path, ls_csv_column_text(&csv->columns, c, text));
    if (trained && trained->n_means != csv->columns.n_inputs)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": missing=mean: the training data had %td input columns, the file has %td",
                       csv->rows.lines.path, trained->n_means, csv->columns.n_inputs);
    if (!trained && column->n_seen == 0)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": %s has no value at all, so no mean fills it; ignore= leaves it out",
                       csv->rows.lines.path, ls_csv_column_text(&csv->columns, c, text));
    *mean = trained ? trained->means[column->slot] : (float)(column->sum / (double)column->n_seen);
    return LS_OK;
}

static enum ls_code decide_fills(struct csv *csv, struct ls_stream_facts *facts, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    for (ptrdiff_t c = 0; c < csv->columns.n && code == LS_OK; c++) {
        struct ls_csv_column *column = &csv->columns.column[c];
        if (column->role != LS_CSV_INPUT || column->n_missing == 0)
            continue;
        facts->n_missing += column->n_missing;
        column->fill = csv->fill;
        if (csv->missing == MISSING_MEAN)
            code = find_mean(csv, c, &column->fill, err);
    }
    return code;
}

/* For data that come later.  A column without any value is all filled. */
static enum ls_code keep_means(struct ls_stream_facts *facts, const struct csv *csv, struct ls_error *err)
{
    const struct ls_features *trained = csv->trained;
    const ptrdiff_t n = csv->columns.n_inputs;
    float *means = facts->inputs.means = ls_alloc((size_t)n, sizeof *means, "means of columns", err);
    if (!means)
        return LS_FAILED;
    facts->inputs.n_means = n;
    for (ptrdiff_t c = 0; c < csv->columns.n; c++) {
        const struct ls_csv_column *column = &csv->columns.column[c];
        if (column->role == LS_CSV_INPUT)
            means[column->slot] = trained && trained->n_means == n ? trained->means[column->slot]
                                  : column->n_seen > 0 ? (float)(column->sum / (double)column->n_seen)
                                                       : column->fill;
    }
    return LS_OK;
}

static enum ls_code read_missing(struct csv *csv, struct ls_source *source, struct ls_error *err)
{
    const char *value = ls_source_setting(source, "missing");
    if (!value || strcmp(value, "refuse") == 0)
        csv->missing = MISSING_REFUSE;
    else if (strcmp(value, "mean") == 0)
        csv->missing = MISSING_MEAN;
    else if (ls_text_to_float(value, &csv->fill))
        csv->missing = MISSING_NUMBER;
    else
        return ls_fail(err, LS_USAGE, "data \"%s\": missing=%.40s: allowed are refuse, mean and a number",
                       source->files[0], value);
    return LS_OK;
}

static enum ls_code read_delimiter(struct ls_source *source, char usual, char *delimiter,
                                   struct ls_error *err)
{
    static const struct {
        const char *name;
        char character;
    } known[] = {{"comma", ','}, {"tab", '\t'}, {"semicolon", ';'}, {"space", ' '}, {"pipe", '|'}};
    const char *value = ls_source_setting(source, "delimiter");
    *delimiter = usual;
    if (!value)
        return LS_OK;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(value, known[i].name) == 0) {
            *delimiter = known[i].character;
            return LS_OK;
        }
    *delimiter = *value;
    if (strlen(value) == 1 && !strchr("\"\r\n.+-0123456789", *value))
        return LS_OK;
    return ls_fail(err, LS_USAGE,
                   "data \"%s\": delimiter=%.40s: allowed are comma, tab, semicolon, space, pipe, or one "
                   "character that is no part of a number",
                   source->files[0], value);
}

static enum ls_code set_shape(struct ls_stream_facts *facts, const struct csv *csv, struct ls_source *source,
                              struct ls_error *err)
{
    const char *value = ls_source_setting(source, "shape");
    struct ls_shape shape = ls_shape_of(1, &csv->columns.n_inputs);
    _Static_assert((int)LS_SHAPE_DIMS <= (int)LS_MAX_DIMS, "a shape is a sample's");
    if (value && !ls_shape_parse(value, &shape))
        return ls_fail(err, LS_USAGE, "data \"%s\": shape=%.40s is no shape such as 28x28", source->files[0],
                       value);
    if (shape.count != csv->columns.n_inputs)
        return ls_fail(err, LS_USAGE,
                       "data \"%s\": shape=%.40s takes %td inputs, the file has %td columns of them",
                       source->files[0], value, shape.count, csv->columns.n_inputs);
    facts->n_dims = shape.n_dims;
    memcpy(facts->dims, shape.dims, (size_t)shape.n_dims * sizeof *shape.dims);
    facts->n_features = shape.count;
    return LS_OK;
}

/* A model stores the names, as JSON. */
static enum ls_code name_inputs(struct ls_stream_facts *facts, const struct csv *csv, struct ls_error *err)
{
    struct ls_class_names *names = &facts->inputs.names;
    char text[LS_CSV_COLUMN_TEXT];
    if (!csv->columns.header)
        return LS_OK;
    names->name = ls_alloc((size_t)csv->columns.n_inputs, sizeof *names->name, "names of columns", err);
    for (ptrdiff_t c = 0; names->name && c < csv->columns.n; c++) {
        const struct ls_csv_column *column = &csv->columns.column[c];
        if (column->role != LS_CSV_INPUT)
            continue;
        if (!ls_name_is_utf8(column->name))
            return ls_fail(
                err, LS_FAILED,
                "\"%s\":1: %s: the name is not UTF-8: iconv -f LATIN1 -t UTF-8 makes it, if the text "
                "is Latin-1",
                csv->rows.lines.path, ls_csv_column_text(&csv->columns, c, text));
        char *name = ls_copy_text(column->name, err);
        if (!name)
            return LS_FAILED;
        names->name[names->n++] = name;
    }
    return names->name ? LS_OK : LS_FAILED;
}

static void say_how(struct ls_stream_facts *facts, const struct csv *csv)
{
    snprintf(facts->how, sizeof facts->how, "%s%s%s", csv->columns.header ? "a header" : "no header",
             *csv->columns.how ? "; " : "", csv->columns.how);
}

static enum ls_code csv_read(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                             struct ls_error *err)
{
    struct csv *csv = stream->state;
    for (ptrdiff_t i = 0; i < n; i++) {
        int got = 0;
        csv->inputs = rows->numbers ? rows->numbers + i * csv->columns.n_inputs : NULL;
        csv->values = rows->values ? rows->values + i * csv->columns.n_values : NULL;
        csv->label = rows->labels ? rows->labels + i : NULL;
        const enum ls_code code = next_row(csv, &got, err);
        csv->inputs = csv->values = NULL;
        csv->label = NULL;
        if (code != LS_OK)
            return code;
        if (!got)
            return ls_fail(err, LS_FAILED, "\"%s\" was changed while it was read: it ends after %lld samples",
                           csv->rows.lines.path, (long long)(stream->next + i));
    }
    return LS_OK;
}

static enum ls_code csv_seek(struct ls_stream *stream, int64_t first, struct ls_error *err)
{
    struct csv *csv = stream->state;
    const struct ls_line_mark mark = ls_line_marks_find(&csv->marks, first);
    enum ls_code code = ls_csv_rows_seek(&csv->rows, mark.offset, mark.line, err);
    for (int64_t sample = mark.sample; code == LS_OK && sample < first; sample++) {
        int got = 0;
        code = next_row(csv, &got, err);
    }
    return code;
}

static void csv_close(struct ls_stream *stream)
{
    struct csv *csv = stream->state;
    ls_csv_rows_release(&csv->rows);
    ls_csv_columns_release(&csv->columns);
    ls_labels_release(&csv->labels);
    ls_free(csv);
}

static enum ls_code open_settings(struct csv *csv, struct ls_source *source, char delimiter,
                                  const struct ls_stream_request *request, struct ls_error *err)
{
    csv->keep_missing = request->keep_missing;
    csv->trained = request->trained;
    enum ls_code code = read_delimiter(source, delimiter, &delimiter, err);
    if (code == LS_OK)
        code = read_missing(csv, source, err);
    if (code == LS_OK)
        code = ls_labels_of_setting(&csv->labels, source, request, err);
    return code == LS_OK ? ls_csv_rows_open(&csv->rows, source->files[0], delimiter, err) : code;
}

static enum ls_code find_facts(struct ls_stream *stream, struct csv *csv, struct ls_source *source,
                               struct ls_error *err)
{
    struct ls_stream_facts *facts = &stream->facts;
    enum ls_code code = read_first_row(csv, source, err);
    if (code == LS_OK)
        code = set_shape(facts, csv, source, err);
    if (code == LS_OK)
        code = count(csv, facts, err);
    if (code == LS_OK)
        code = decide_fills(csv, facts, err);
    if (code != LS_OK)
        return code;
    facts->divisor = 1.0f;
    facts->n_values = csv->columns.n_values;
    say_how(facts, csv);
    if (csv->columns.label >= 0) {
        ls_labels_close(&csv->labels);
        facts->n_classes = csv->labels.names.n;
        code = ls_labels_names(&csv->labels, &facts->classes, err);
    }
    if (code == LS_OK)
        code = name_inputs(facts, csv, err);
    if (code == LS_OK)
        code = keep_means(facts, csv, err);
    csv->trained = NULL;
    return code == LS_OK ? csv_seek(stream, 0, err) : code;
}

static enum ls_code open_delimited(struct ls_stream *stream, struct ls_source *source, char delimiter,
                                   const struct ls_stream_request *request, struct ls_error *err)
{
    static const struct ls_stream_ops ops = {csv_read, csv_seek, csv_close};
    static const char *const known[] = {"header",  "label",     "target", "ignore", "classes",
                                        "missing", "delimiter", "shape",  NULL};
    for (int i = 0; known[i]; i++)
        ls_source_setting(source, known[i]);
    enum ls_code code = ls_source_check(source, known, 1, 1, err);
    struct csv *csv = code == LS_OK ? ls_alloc(1, sizeof *csv, source->files[0], err) : NULL;
    if (!csv)
        return code == LS_OK ? LS_FAILED : code;
    stream->state = csv;
    stream->ops = &ops;
    code = open_settings(csv, source, delimiter, request, err);
    return code == LS_OK ? find_facts(stream, csv, source, err) : code;
}

static enum ls_code open_csv(struct ls_stream *stream, struct ls_source *source,
                             const struct ls_stream_request *request, struct ls_error *err)
{
    return open_delimited(stream, source, ',', request, err);
}

static enum ls_code open_tsv(struct ls_stream *stream, struct ls_source *source,
                             const struct ls_stream_request *request, struct ls_error *err)
{
    return open_delimited(stream, source, '\t', request, err);
}

static const char *const csv_endings[] = {".csv", ".csv.gz", NULL};
static const char *const tsv_endings[] = {".tsv", ".tsv.gz", ".tab", NULL};

const struct ls_format ls_format_csv = {
    .name = "csv",
    .endings = csv_endings,
    .usage = "csv:FILE[,label=COLUMN|none][,target=COLUMN+..][,ignore=COLUMN+..][,header=yes|no|auto]"
             "[,classes=A|B|..][,missing=refuse|mean|X][,delimiter=C][,shape=28x28]",
    .open = open_csv};

const struct ls_format ls_format_tsv = {.name = "tsv",
                                        .endings = tsv_endings,
                                        .usage = "tsv:FILE, the same with tabs between fields",
                                        .open = open_tsv};
