/* What the columns of a delimited file are for. */
#ifndef LS_DATA_CSV_COLUMNS_H
#define LS_DATA_CSV_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/source.h"

enum ls_csv_role { LS_CSV_INPUT, LS_CSV_LABEL, LS_CSV_VALUE, LS_CSV_IGNORED };

struct ls_csv_column {
    char *name; /* owned; the first row's field, whether or not it is a header */
    enum ls_csv_role role;
    ptrdiff_t slot;            /* which input, or which target value */
    int64_t n_missing, n_seen; /* values of all samples */
    double sum;                /* of those seen, in the order of the file */
    float fill;
};

struct ls_csv_columns {
    ptrdiff_t n, room;
    struct ls_csv_column *column;
    int header;                          /* the first row is names */
    ptrdiff_t n_inputs, n_values, label; /* label: its column, or -1 */
    char how[200];
};

enum { LS_CSV_COLUMNS = 1000000 };

/* Takes the next field of the first row. */
enum ls_code ls_csv_columns_add(struct ls_csv_columns *columns, const char *text, struct ls_error *err);
void ls_csv_columns_release(struct ls_csv_columns *columns);

/* Gives each column its role, by the settings header=, label=, target= and ignore=. */
enum ls_code ls_csv_columns_assign(struct ls_csv_columns *columns, struct ls_source *source,
                                   struct ls_error *err);

/* Nothing stands there, or NA, N/A, NaN, null, None or ?, in any case. */
int ls_csv_is_missing(const char *text, size_t n);

/* "column 3 'petal'", into `text`. */
enum { LS_CSV_COLUMN_TEXT = 120 };
const char *ls_csv_column_text(const struct ls_csv_columns *columns, ptrdiff_t c,
                               char text[LS_CSV_COLUMN_TEXT]);

#endif
