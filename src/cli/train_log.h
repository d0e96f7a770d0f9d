/* The log of a run that goes on: what is in it from before, up to the checkpoint, stays. */
#ifndef LS_CLI_TRAIN_LOG_H
#define LS_CLI_TRAIN_LOG_H

#include "cli/train_report.h"

/* Finds how much of report->log's file belongs to this run up to report->resumed, keeps it and adds a line
 * "resume"; sets report->log_continues.  A file that is not this run's log is left to be overwritten. */
void ls_train_log_continue(struct ls_train_report *report);

#endif
