/* What `lockstep eval` says: as text for people, as JSON for programs. */
#ifndef LS_CLI_EVAL_REPORT_H
#define LS_CLI_EVAL_REPORT_H

#include <stdio.h>

#include "data/class_names.h"
#include "train/metrics.h"
#include "train/step.h"

struct ls_eval_report {
    const char *samples;      /* their name */
    const char *part, *split; /* which part of them, as --split cut them; part NULL: they are not cut */
    int is_other; /* the model knows a split, of other data: these may have samples that it was trained on */
    const struct ls_evaluation *result;
    const struct ls_metrics *metrics;
    const struct ls_class_names *names; /* of the classes */
    int confusion;                      /* print the matrix and a table of classes */
};

void ls_eval_print(const struct ls_eval_report *report, FILE *out);

/* Writes one JSON object, a member a line: to standard output when path is "-", else as a file that replaces
 * an old one.  The same bytes whatever the ranks and threads.  Numbers have 9 digits: a binary32 reads back
 * as it was, and what is a ratio of counts has its counts beside it.  Local. */
enum ls_code ls_eval_write_json(const struct ls_eval_report *report, const char *path, struct ls_error *err);

#endif
