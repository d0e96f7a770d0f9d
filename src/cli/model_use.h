/* What eval and predict share: a saved model, and the data it is used on. */
#ifndef LS_CLI_MODEL_USE_H
#define LS_CLI_MODEL_USE_H

#include "cli/session.h"
#include "cli/split_options.h"
#include "train/model_file.h"
#include "train/step.h"

struct ls_model_use_options {
    struct ls_session_options session;
    const char *data, *test_data;
    int part; /* index into ls_data_parts; -1: not given */
    int whole;
    int64_t microbatch;
    int needs_no_targets; /* data without labels and values are welcome */
};

extern const char *const ls_data_parts[];

#define LS_MODEL_USE_OPTIONS(options)                                                                        \
    {"data",                                                                                                 \
     "SPEC",                                                                                                 \
     LS_OPTION_TEXT,                                                                                         \
     &(options)->data,                                                                                       \
     "the data, as 'lockstep train --help' describes it",                                                    \
     "digits",                                                                                               \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"test-data",                                                                                        \
         "SPEC",                                                                                             \
         LS_OPTION_TEXT,                                                                                     \
         &(options)->test_data,                                                                              \
         "test data for data that carry none",                                                               \
         "none",                                                                                             \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"part",                                                                                             \
         "NAME",                                                                                             \
         LS_OPTION_CHOICE,                                                                                   \
         &(options)->part,                                                                                   \
         "which samples of the data; of the data that the model was trained on, as --split cut them then",   \
         "test, or train when there are none",                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         ls_data_parts,                                                                                      \
         NULL},                                                                                              \
        {"no-split",                                                                                         \
         NULL,                                                                                               \
         LS_OPTION_FLAG,                                                                                     \
         &(options)->whole,                                                                                  \
         "all samples of the data, although the model was trained on a part of them",                        \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        LS_SESSION_OPTIONS(&(options)->session)

struct ls_model_use {
    struct ls_session session;
    struct ls_model model;
    struct ls_data data;
    struct ls_split split;            /* how the data were cut; n_parts == 0: not */
    const struct ls_dataset *samples; /* the part that was asked for */
    const char *part;                 /* its name */
};

/* Collective; ends in agreement.  Release with ls_model_use_release, also after failure. */
enum ls_code ls_model_use_open(struct ls_model_use *use, const struct ls_model_use_options *options,
                               const char *path, struct ls_comm *comm, struct ls_error *err);

/* Whether the model was trained on a part of data that, by hash, are not these. */
int ls_model_use_is_other(const struct ls_model_use *use, const struct ls_model_use_options *options);
void ls_model_use_release(struct ls_model_use *use);

#endif
