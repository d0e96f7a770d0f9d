/* Owns how bytes become rows and fields: libcsv, strict, fed one line at a time so that messages know where
 * they are. */
#include "data/csv_rows.h"

#include <string.h>

/* A field with an open quote would swallow the rest of a file. */
enum { LONGEST_FIELD = 1 << 20, FIELD_GROWTH = 4096 };

static void *bounded_realloc(void *block, size_t n)
{
    return n > LONGEST_FIELD ? NULL : realloc(block, n);
}

static enum ls_code start_parser(struct ls_csv_rows *rows, char delimiter, struct ls_error *err)
{
    if (csv_init(&rows->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0)
        return ls_fail(err, LS_FAILED, "out of memory to read \"%s\"", rows->lines.path);
    csv_set_delim(&rows->parser, (unsigned char)delimiter);
    csv_set_realloc_func(&rows->parser, bounded_realloc);
    csv_set_blk_size(&rows->parser, FIELD_GROWTH);
    return LS_OK;
}

enum ls_code ls_csv_rows_open(struct ls_csv_rows *rows, const char *path, char delimiter,
                              struct ls_error *err)
{
    *rows = (struct ls_csv_rows){.offset = -1};
    enum ls_code code = ls_lines_open(&rows->lines, path, err);
    if (code == LS_OK)
        code = start_parser(rows, delimiter, err);
    return code;
}

void ls_csv_rows_release(struct ls_csv_rows *rows)
{
    csv_free(&rows->parser);
    ls_lines_release(&rows->lines);
}

enum ls_code ls_csv_rows_seek(struct ls_csv_rows *rows, int64_t offset, int64_t line, struct ls_error *err)
{
    const char delimiter = (char)csv_get_delim(&rows->parser);
    csv_free(&rows->parser);
    enum ls_code code = start_parser(rows, delimiter, err);
    rows->n_rest = 0;
    if (code == LS_OK)
        code = ls_lines_seek(&rows->lines, offset, line, err);
    return code;
}

static void on_field(void *text, size_t n, void *context)
{
    struct ls_csv_rows *rows = context;
    const ptrdiff_t column = rows->n_fields++;
    if (rows->code == LS_OK)
        rows->code = rows->take(rows->context, column, text, n, rows->err);
}

static void on_row(int end, void *context)
{
    (void)end;
    ((struct ls_csv_rows *)context)->row_ended = 1;
}

static enum ls_code parse_error(struct ls_csv_rows *rows, struct ls_error *err)
{
    const char *path = rows->lines.path;
    const long long line = (long long)rows->lines.line, column = (long long)rows->n_fields + 1;
    switch (csv_error(&rows->parser)) {
    case CSV_EPARSE:
        return ls_fail(err, LS_FAILED,
                       "\"%s\":%lld: column %lld: a stray \" in a field; a field with quotes inside is "
                       "written \"like \"\"this\"\"\"",
                       path, line, column);
    case CSV_ENOMEM:
        return ls_fail(
            err, LS_FAILED,
            "\"%s\":%lld: column %lld: the field that begins in line %lld is longer than %d bytes, "
            "or memory is out; is a quote open?",
            path, line, column, (long long)rows->line, LONGEST_FIELD);
    default:
        return ls_fail(err, LS_FAILED, "\"%s\":%lld: column %lld: %s", path, line, column,
                       csv_strerror(csv_error(&rows->parser)));
    }
}

/* Parses up to the next end of a line: at most one row ends there. */
static enum ls_code feed(struct ls_csv_rows *rows, struct ls_error *err)
{
    const char *end = memchr(rows->rest, '\r', rows->n_rest);
    const size_t n = end ? (size_t)(end - rows->rest) + 1 : rows->n_rest;
    if (csv_parse(&rows->parser, rows->rest, n, on_field, on_row, rows) != n)
        return parse_error(rows, err);
    rows->rest += n;
    rows->n_rest -= n;
    return rows->code;
}

/* Blanks that stand between fields make a row of empty ones. */
static int is_blank(const char *text, size_t n, char delimiter)
{
    size_t i = 0;
    while (i < n && (text[i] == '\n' || text[i] == '\r' || (text[i] == ' ' && delimiter != ' ')))
        i++;
    return i == n;
}

/* The file is at its end; a row that has begun was ended by its last line, unless a quote is open. */
static enum ls_code finish(struct ls_csv_rows *rows, struct ls_error *err)
{
    if (csv_fini(&rows->parser, on_field, on_row, rows) == 0)
        return LS_OK;
    return ls_fail(
        err, LS_FAILED, "\"%s\":%lld: column %lld: a quote that is never closed; the file ends in line %lld",
        rows->lines.path, (long long)rows->line, (long long)rows->n_fields + 1, (long long)rows->lines.line);
}

/* Makes sure that something is left to parse, or *ended.  Where a row begins is noted when none has. */
static enum ls_code have_text(struct ls_csv_rows *rows, int *begun, int *ended, struct ls_error *err)
{
    do {
        const int in_line = rows->n_rest > 0;
        const int64_t offset = rows->lines.offset, line = rows->lines.line;
        if (!in_line) {
            const enum ls_code code = ls_lines_next(&rows->lines, &rows->rest, &rows->n_rest, err);
            *ended = code == LS_OK && rows->n_rest == 0;
            if (code != LS_OK || *ended)
                return code;
        }
        if (*begun)
            return LS_OK;
        rows->line = rows->lines.line;
        rows->offset = in_line ? -1 : offset;
        rows->line_before = line;
        *begun = !is_blank(rows->rest, rows->n_rest, (char)csv_get_delim(&rows->parser));
        rows->n_rest = *begun ? rows->n_rest : 0;
    } while (!*begun);
    return LS_OK;
}

enum ls_code ls_csv_rows_next(struct ls_csv_rows *rows,
                              enum ls_code (*take)(void *context, ptrdiff_t column, const char *text,
                                                   size_t n, struct ls_error *err),
                              void *context, int *got, struct ls_error *err)
{
    int begun = 0, ended = 0;
    rows->take = take;
    rows->context = context;
    rows->err = err;
    rows->code = LS_OK;
    rows->n_fields = 0;
    rows->row_ended = 0;
    enum ls_code code = LS_OK;
    while (code == LS_OK && !rows->row_ended && !ended) {
        code = have_text(rows, &begun, &ended, err);
        if (code == LS_OK)
            code = ended ? finish(rows, err) : feed(rows, err);
    }
    *got = code == LS_OK && rows->row_ended;
    return code;
}
