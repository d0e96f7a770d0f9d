/* What `lockstep train --optimizer random-search` does in place of training: the search, its lines, its log.
 */
#ifndef LS_CLI_TRAIN_SEARCH_H
#define LS_CLI_TRAIN_SEARCH_H

#include "cli/setup.h"
#include "cli/train_report.h"
#include "train/random_search.h"

/* Whether different trials would have different weights; `text` is --init's.  Local. */
enum ls_code ls_search_check_init(const struct ls_init *init, const char *text, struct ls_error *err);

/* Collective.  setup->parameters become the best trial's.  report: on rank 0, else NULL.  *result tells it as
 * a run of no updates in as many passes over the data as there are trials. */
enum ls_code ls_train_search(struct ls_setup *setup, int64_t trials, struct ls_train_report *report,
                             struct ls_search_result *search, struct ls_train_result *result,
                             struct ls_error *err);

#endif
