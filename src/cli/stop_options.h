/* The options that say when to look at the test data, when to stop and which model to keep. */
#ifndef LS_CLI_STOP_OPTIONS_H
#define LS_CLI_STOP_OPTIONS_H

#include "cli/options.h"
#include "train/model_file.h"
#include "train/trainer.h"

struct ls_stop_options {
    const char *stop_at;
    int64_t patience, check_every;
    float gradient_tolerance, max_time;
    int monitor;                  /* 0 loss, 1 accuracy */
    struct ls_choice_or_int keep; /* 0 last, 1 best; number: of checkpoints */
};

extern const char *const ls_monitors[], *const ls_keeps[];

/* Fills in config->stop, check_every and keep_best; the data says what can be looked at.  Local. */
enum ls_code ls_stop_options_apply(const struct ls_stop_options *options, const struct ls_data *data,
                                   struct ls_train_config *config, struct ls_error *err);

/* The rules, and how the run ended, for models. */
void ls_stop_facts(const struct ls_stop_options *options, struct ls_model_facts *facts);
void ls_stop_result_facts(const struct ls_train_config *config, const struct ls_train_result *result,
                          struct ls_model_facts *facts);

#define LS_STOP_OPTIONS(o)                                                                                     \
    {"stop-at",                                                                                                \
     "loss=X|accuracy=X",                                                                                      \
     LS_OPTION_TEXT,                                                                                           \
     &(o)->stop_at,                                                                                            \
     "stop when a look finds a loss of at most X, or a share of correct answers of at least X (0.9 or "        \
     "90%); "                                                                                                  \
     "both, separated by a comma: whichever is first. A look is at the test data, without any at the "         \
     "training "                                                                                               \
     "loss",                                                                                                   \
     "no such limit",                                                                                          \
     0,                                                                                                        \
     0,                                                                                                        \
     NULL,                                                                                                     \
     NULL},                                                                                                    \
        {"patience",      "N", LS_OPTION_INT, &(o)->patience, "stop after so many looks without a better one", \
         "no such limit", 1,   1e9,           NULL,           NULL},                                           \
        {"monitor",                                                                                            \
         "loss|accuracy",                                                                                      \
         LS_OPTION_CHOICE,                                                                                     \
         &(o)->monitor,                                                                                        \
         "what makes a look better, for --patience and --keep best",                                           \
         "loss",                                                                                               \
         0,                                                                                                    \
         0,                                                                                                    \
         ls_monitors,                                                                                          \
         NULL},                                                                                                \
        {"check-every",                                                                                        \
         "N",                                                                                                  \
         LS_OPTION_INT,                                                                                        \
         &(o)->check_every,                                                                                    \
         "look every N updates as well as at epochs' ends",                                                    \
         "epochs' ends only",                                                                                  \
         1,                                                                                                    \
         1e15,                                                                                                 \
         NULL,                                                                                                 \
         NULL},                                                                                                \
        {"gradient-tolerance",                                                                                 \
         "X",                                                                                                  \
         LS_OPTION_FLOAT,                                                                                      \
         &(o)->gradient_tolerance,                                                                             \
         "stop when the Euclidean norm of an update's mean gradient is at most X",                             \
         "no such limit",                                                                                      \
         1e-38,                                                                                                \
         1e30,                                                                                                 \
         NULL,                                                                                                 \
         NULL},                                                                                                \
        {"max-time",                                                                                           \
         "SECONDS",                                                                                            \
         LS_OPTION_FLOAT,                                                                                      \
         &(o)->max_time,                                                                                       \
         "stop after so long; the one rule that depends on the machine: --steps with the step that is "        \
         "printed, "                                                                                           \
         "and the --epochs of the run, repeats it",                                                            \
         "no such limit",                                                                                      \
         1e-3,                                                                                                 \
         1e9,                                                                                                  \
         NULL,                                                                                                 \
         NULL},                                                                                                \
    {                                                                                                          \
        "keep", "last|best|K", LS_OPTION_CHOICE_OR_INT, &(o)->keep,                                            \
            "which model the run ends with, last or best; a number: how many checkpoints stay (both may be "   \
            "given)",                                                                                          \
            "last, 2", 1, 1e6, ls_keeps, NULL                                                                  \
    }

#endif
