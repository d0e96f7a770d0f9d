/* Delimited text as rows of fields. */
#ifndef LS_DATA_CSV_ROWS_H
#define LS_DATA_CSV_ROWS_H

#include <csv.h>

#include "data/lines.h"

struct ls_csv_rows {
    struct ls_lines lines;
    struct csv_parser parser;
    const char *rest; /* of the line that was read last: what is not yet parsed */
    size_t n_rest;
    int64_t line;       /* of the file, where the row that was read last begins */
    ptrdiff_t n_fields; /* of that row */
    int64_t offset;     /* where the row that was read last begins; -1: inside a line */
    int64_t line_before;
    /* Who takes the fields of a row, and their first failure. */
    enum ls_code (*take)(void *context, ptrdiff_t column, const char *text, size_t n, struct ls_error *err);
    void *context;
    struct ls_error *err;
    enum ls_code code;
    int row_ended;
};

/* Opens a file.  Rows end with LF, CR LF or CR; a field in "double quotes" may hold delimiters, line ends and
 * doubled quotes; blanks around a field do not count; empty lines are passed over. */
enum ls_code ls_csv_rows_open(struct ls_csv_rows *rows, const char *path, char delimiter,
                              struct ls_error *err);
void ls_csv_rows_release(struct ls_csv_rows *rows);

/* Reads the next row and gives its fields, NUL-terminated, to `take`, in order, until that fails; *got is 0
 * when there is none. */
enum ls_code ls_csv_rows_next(struct ls_csv_rows *rows,
                              enum ls_code (*take)(void *context, ptrdiff_t column, const char *text,
                                                   size_t n, struct ls_error *err),
                              void *context, int *got, struct ls_error *err);

/* The next row is the one that begins at `offset`, behind line `line`. */
enum ls_code ls_csv_rows_seek(struct ls_csv_rows *rows, int64_t offset, int64_t line, struct ls_error *err);

#endif
