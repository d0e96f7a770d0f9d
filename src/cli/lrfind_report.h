/* What lrfind shows of a curve.  Rank 0's. */
#ifndef LS_CLI_LRFIND_REPORT_H
#define LS_CLI_LRFIND_REPORT_H

#include <stdio.h>

#include "formats/savefile.h"
#include "train/lr_curve.h"

enum ls_lr_ending { LS_LR_REACHED_END, LS_LR_ROSE, LS_LR_NOT_FINITE };

/* About 25 rows, each with its place in a plot, and what ended it. */
void ls_lr_print_table(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *suggestion,
                       enum ls_lr_ending ending);

/* Every point. */
void ls_lr_print_csv(const struct ls_lr_curve *curve);
enum ls_code ls_lr_save_csv(const struct ls_lr_curve *curve, struct ls_savefile *file, struct ls_error *err);

/* The suggestion with its reason, to `out`; or, on stderr, a warning that there is none and what to try. */
void ls_lr_print_suggestion(const struct ls_lr_curve *curve, const struct ls_lr_suggestion *suggestion,
                            FILE *out);

#endif
