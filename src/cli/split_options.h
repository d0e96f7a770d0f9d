/* --split, --split-seed and --stratify: as options, as facts of a saved model, as a line of the report. */
#ifndef LS_CLI_SPLIT_OPTIONS_H
#define LS_CLI_SPLIT_OPTIONS_H

#include "cli/options.h"
#include "data/split.h"
#include "train/model_file.h"

struct ls_split_options {
    const char *split, *seed; /* NULL: not given */
    int stratify;
};

#define LS_SPLIT_OPTIONS(options)                                                                            \
    {"split",                                                                                                \
     "A,B[,C]",                                                                                              \
     LS_OPTION_TEXT,                                                                                         \
     &(options)->split,                                                                                      \
     "cut the data by key into training and test samples, or training, validation and test samples; of "     \
     "data "                                                                                                 \
     "with test samples of their own, into training and validation; shares, or numbers of samples",          \
     "not cut",                                                                                              \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"split-seed",                                                                                       \
         "N",                                                                                                \
         LS_OPTION_TEXT,                                                                                     \
         &(options)->seed,                                                                                   \
         "the key of --split and --folds",                                                                   \
         "--seed",                                                                                           \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
    {                                                                                                        \
        "stratify", NULL, LS_OPTION_FLAG, &(options)->stratify,                                              \
            "--split and --folds give every part its share of each class", NULL, 0, 0, NULL, NULL            \
    }

/* Reads the options; `seed` is the run's.  folds: --folds is given.  Local. */
enum ls_code ls_split_options_read(struct ls_split *split, const struct ls_split_options *options,
                                   uint64_t seed, int folds, struct ls_error *err);

/* The facts "split", "split_seed", "stratify" and "split_data_hash": data of this hash are cut again so by
 * whoever uses the model.  None when nothing was split. */
void ls_split_facts(const struct ls_split *split, struct ls_hash data_hash, struct ls_model_facts *facts);

/* Cuts the data as those that the model was trained on, when they are those: *split says how, n_parts == 0
 * when they are other data, or were not cut.  Local. */
enum ls_code ls_split_as_model(const struct ls_safetensors *file, const char *path, struct ls_data *data,
                               struct ls_split *split, struct ls_error *err);

#endif
