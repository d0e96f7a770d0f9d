/* Owns delimited text as samples: csv:FILE and tsv:FILE.
 *
 * Two passes.  The first counts samples, finds the labels, refuses what is no number, and adds up what a mean
 * takes; the second, which may begin anywhere, gives the numbers.  What bytes make a row is in csv_rows.c,
 * what columns are for in csv_columns.c, what a field means in csv_fields.c. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "data/csv_fields.h"
#include "data/csv_rows.h"
#include "data/formats.h"
#include "layers/layer.h"

struct csv {
    struct ls_csv_rows rows;
    struct ls_csv_fields fields;
    struct ls_line_marks marks;
};

static enum ls_code check_width(const struct csv *csv, struct ls_error *err)
{
    if (csv->rows.n_fields == csv->fields.columns.n)
        return LS_OK;
    return ls_fail(err, LS_FAILED, "\"%s\":%lld: the row has %td field%s, the first row has %td",
                   csv->rows.lines.path, (long long)csv->rows.line, csv->rows.n_fields,
                   csv->rows.n_fields == 1 ? "" : "s", csv->fields.columns.n);
}

/* A row of the wrong width is a better message than what its fields look like. */
static enum ls_code next_row(struct csv *csv, int *got, struct ls_error *err)
{
    const enum ls_code code = ls_csv_rows_next(&csv->rows, ls_csv_fields_take, &csv->fields, got, err);
    return (*got || csv->rows.row_ended) && csv->rows.n_fields != csv->fields.columns.n
               ? check_width(csv, err)
               : code;
}

static enum ls_code take_name(void *context, ptrdiff_t c, const char *text, size_t n, struct ls_error *err)
{
    struct csv *csv = context;
    (void)c;
    if (memchr(text, '\0', n))
        return ls_fail(err, LS_FAILED, "\"%s\":1: a NUL byte; this is no text file", csv->rows.lines.path);
    return ls_csv_columns_add(&csv->fields.columns, text, err);
}

/* The first row says how many columns there are, and maybe their names. */
static enum ls_code read_first_row(struct csv *csv, struct ls_source *source, struct ls_error *err)
{
    int got = 0;
    enum ls_code code = ls_csv_rows_next(&csv->rows, take_name, csv, &got, err);
    if (code == LS_OK && !got)
        code = ls_fail(err, LS_FAILED, "\"%s\" has no rows", source->files[0]);
    if (code == LS_OK)
        code = ls_csv_columns_assign(&csv->fields.columns, source, err);
    if (code == LS_OK && !csv->fields.columns.header)
        code = ls_csv_rows_seek(&csv->rows, csv->rows.offset, csv->rows.line_before, err);
    return code;
}

static enum ls_code count(struct csv *csv, struct ls_stream_facts *facts, struct ls_error *err)
{
    csv->fields.counting = 1;
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
    if (facts->n_samples == 0)
        return ls_fail(err, LS_FAILED, "\"%s\" has a header, but no samples (header=no if it is one)",
                       csv->rows.lines.path);
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
    struct ls_shape shape = ls_shape_of(1, &csv->fields.columns.n_inputs);
    _Static_assert((int)LS_SHAPE_DIMS <= (int)LS_MAX_DIMS, "a shape is a sample's");
    if (value && !ls_shape_parse(value, &shape))
        return ls_fail(err, LS_USAGE, "data \"%s\": shape=%.40s is no shape such as 28x28", source->files[0],
                       value);
    if (shape.count != csv->fields.columns.n_inputs)
        return ls_fail(err, LS_USAGE,
                       "data \"%s\": shape=%.40s takes %td inputs, the file has %td columns of them",
                       source->files[0], value, shape.count, csv->fields.columns.n_inputs);
    facts->n_dims = shape.n_dims;
    memcpy(facts->dims, shape.dims, (size_t)shape.n_dims * sizeof *shape.dims);
    facts->n_features = shape.count;
    return LS_OK;
}

static void say_how(struct ls_stream_facts *facts, const struct csv *csv)
{
    snprintf(facts->how, sizeof facts->how, "%s%s%s", csv->fields.columns.header ? "a header" : "no header",
             *csv->fields.columns.how ? "; " : "", csv->fields.columns.how);
}

static enum ls_code csv_read(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                             struct ls_error *err)
{
    struct csv *csv = stream->state;
    for (ptrdiff_t i = 0; i < n; i++) {
        int got = 0;
        csv->fields.inputs = rows->numbers ? rows->numbers + i * csv->fields.columns.n_inputs : NULL;
        csv->fields.values = rows->values ? rows->values + i * csv->fields.columns.n_values : NULL;
        csv->fields.label = rows->labels ? rows->labels + i : NULL;
        const enum ls_code code = next_row(csv, &got, err);
        csv->fields.inputs = csv->fields.values = NULL;
        csv->fields.label = NULL;
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
    ls_csv_fields_release(&csv->fields);
    ls_free(csv);
}

static enum ls_code open_settings(struct csv *csv, struct ls_source *source, char delimiter,
                                  const struct ls_stream_request *request, struct ls_error *err)
{
    enum ls_code code = read_delimiter(source, delimiter, &delimiter, err);
    if (code == LS_OK)
        code = ls_csv_fields_open(&csv->fields, &csv->rows.lines, source, request, err);
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
        code = ls_csv_fields_describe(&csv->fields, facts, err);
    if (code != LS_OK)
        return code;
    say_how(facts, csv);
    return csv_seek(stream, 0, err);
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
