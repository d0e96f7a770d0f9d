/* What a training run shows: the resolved run at its start, a live line, a table of epochs, and the --log
 * file. */
#ifndef LS_CLI_TRAIN_REPORT_H
#define LS_CLI_TRAIN_REPORT_H

#include "cli/session.h"
#include "formats/runlog.h"
#include "train/model_file.h"
#include "train/trainer.h"

struct ls_train_report {
    const struct ls_session *session;
    const struct ls_train_config *config;
    const struct ls_net *net;
    const struct ls_data *data;
    const struct ls_model_facts *facts;
    const char *init_text;
    const struct ls_checkpoint_source *resumed; /* NULL: a run from the beginning */
    int64_t trials;                             /* of random search; 0: training by updates */
    int quiet;                                  /* 1: only the last epoch's line, 0: everything */
    int progress;                               /* rewrite one line on stderr as steps go by */

    const struct ls_evaluation *test; /* of samples that no look was at; NULL: there are none */

    struct ls_runlog *log;     /* NULL without --log */
    const char **tensor_names; /* (net->n_tensors), for the log; NULL without one */
    struct ls_hash *tensor_hashes;
    struct ls_error failure; /* the first failure to write the log */
    double last_progress_s;
    int table_began, warned, log_continues;
};

/* Opens the log; rank 0 only.  What it takes is released by ls_train_report_release. */
enum ls_code ls_train_report_open_log(struct ls_train_report *report, const char *path,
                                      const struct ls_net *net, struct ls_error *err);
void ls_train_report_release(struct ls_train_report *report);

/* Prints the resolved run to stdout and to the log. */
void ls_train_report_start(struct ls_train_report *report);

/* The observer's functions, with the report as context. */
void ls_train_report_step(void *context, const struct ls_step_report *step, const float *parameters);
void ls_train_report_check(void *context, const struct ls_check_report *check);
enum ls_code ls_train_report_epoch(void *context, const struct ls_epoch_report *epoch,
                                   const float *parameters, struct ls_error *err);

/* The evaluation of the test samples at the end of a run that looked at validation samples; `test` must live
 * as long as the report. */
void ls_train_report_test(struct ls_train_report *report, const struct ls_evaluation *test);

/* Writes the log's last line. */
enum ls_code ls_train_report_end(struct ls_train_report *report, enum ls_code outcome, const char *message,
                                 const struct ls_train_result *result, struct ls_error *err);

#endif
