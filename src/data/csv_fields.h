/* What the fields of a delimited file mean. */
#ifndef LS_DATA_CSV_FIELDS_H
#define LS_DATA_CSV_FIELDS_H

#include "data/csv_columns.h"
#include "data/lines.h"
#include "data/stream.h"

enum ls_csv_missing { LS_CSV_MISSING_REFUSE, LS_CSV_MISSING_MEAN, LS_CSV_MISSING_NUMBER };

struct ls_csv_fields {
    const struct ls_lines *lines; /* where the field that is taken stands */
    struct ls_csv_columns columns;
    struct ls_labels labels;
    enum ls_csv_missing missing;
    float fill;                        /* of LS_CSV_MISSING_NUMBER */
    const struct ls_features *trained; /* while it is opened; NULL: this is the training data */
    int keep_missing;
    int counting; /* the first pass: labels are collected, means added up */
    /* Where the row that is being read goes; NULL: nowhere. */
    float *inputs, *values;
    int32_t *label;
};

/* Reads the settings missing= and classes=.  *fields was all zero; released also after failure. */
enum ls_code ls_csv_fields_open(struct ls_csv_fields *fields, const struct ls_lines *lines,
                                struct ls_source *source, const struct ls_stream_request *request,
                                struct ls_error *err);
void ls_csv_fields_release(struct ls_csv_fields *fields);

/* Takes field `c` of a row, as ls_csv_rows_next gives it; the context is the fields. */
enum ls_code ls_csv_fields_take(void *context, ptrdiff_t c, const char *text, size_t n, struct ls_error *err);

/* Ends the first pass: classes, names and means are the facts', and what fills missing values is decided. */
enum ls_code ls_csv_fields_describe(struct ls_csv_fields *fields, struct ls_stream_facts *facts,
                                    struct ls_error *err);

#endif
