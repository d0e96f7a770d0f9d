/* --normalise, --scale and --augment: how samples become inputs, as options, as facts of a saved model, as a
 * line of the report.  One spelling serves all three, so what is printed or stored can be given again. */
#ifndef LS_CLI_INPUT_OPTIONS_H
#define LS_CLI_INPUT_OPTIONS_H

#include "cli/options.h"
#include "comm/comm.h"
#include "data/dataset.h"
#include "formats/safetensors.h"
#include "train/model_file.h"

struct ls_input_options {
    const char *normalise, *augment; /* NULL: not given */
    int scale;                       /* enum ls_scaling_kind; -1: not given */
};

#define LS_INPUT_OPTIONS(options)                                                                            \
    {"normalise",                                                                                            \
     "HOW",                                                                                                  \
     LS_OPTION_TEXT,                                                                                         \
     &(options)->normalise,                                                                                  \
     "(value - mean) / std of each channel: channel takes both from the training data, mean=X,..,std=X,.. "  \
     "states one number a channel; eval and predict do as the model was trained",                            \
     "none, or as --load's model",                                                                           \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"normalize", "HOW", LS_OPTION_TEXT, &(options)->normalise, "the same as --normalise", NULL, 0, 0,   \
         NULL,        NULL},                                                                                 \
        {"scale",                                                                                            \
         "HOW",                                                                                              \
         LS_OPTION_CHOICE,                                                                                   \
         &(options)->scale,                                                                                  \
         "each feature by the training data's own numbers: standard: (x - mean) / deviation; minmax: its "   \
         "least value to 0, its largest to 1; eval and predict do as the model was trained",                 \
         "none, or as --load's model",                                                                       \
         0,                                                                                                  \
         0,                                                                                                  \
         ls_scaling_names,                                                                                   \
         NULL},                                                                                              \
    {                                                                                                        \
        "augment", "HOW", LS_OPTION_TEXT, &(options)->augment,                                               \
            "move training images anew each epoch, any of shift=PIXELS,flip,crop=PIXELS: shift by up to so " \
            "many pixels; left for right in every second one; crop the image's size out of it with so many " \
            "pixels of zeros around",                                                                        \
            "none", 0, 0, NULL, NULL                                                                         \
    }

/* Longer than a fact's text never is. */
enum { LS_INPUT_TEXT = 600 };

/* Reads both options, measures the training data when they ask for that, and checks that the data can be
 * treated so: *augment gets all but its seed, both parts of `data` their normalisation.  load: the model that
 * training starts from, or NULL.  Local. */
enum ls_code ls_input_prepare(const struct ls_input_options *options, const char *load, struct ls_data *data,
                              struct ls_augment *augment, struct ls_error *err);

/* Measures the training data's features when --scale asks for that, or takes the numbers of `load`'s model
 * when neither --scale nor --normalise is given, and scales all of `data`.  Collective; ends in agreement. */
enum ls_code ls_input_scale(const struct ls_input_options *options, const char *load, struct ls_data *data,
                            const struct ls_ops *ops, struct ls_comm *comm, struct ls_error *err);

/* Gives both parts of `data` the normalisation and the scaling that the model in `file`, at `path`, was
 * trained with.  Local. */
enum ls_code ls_input_of_model(const struct ls_safetensors *file, const char *path, struct ls_data *data,
                               struct ls_error *err);

/* "mean=0.5,std=0.25" and "shift=2,flip", or "none"; return text. */
const char *ls_normalise_text(const struct ls_normalise *normalise, char text[LS_INPUT_TEXT]);
const char *ls_augment_text(const struct ls_augment *augment, char text[LS_INPUT_TEXT]);

/* The facts "normalise", "scale" and "augment". */
void ls_input_facts(const struct ls_data *data, const struct ls_augment *augment,
                    struct ls_model_facts *facts);

/* Prints the report's line; nothing when neither is on. */
void ls_input_print(const struct ls_dataset *train, const struct ls_augment *augment);

#endif
