/* The options that say what the loss is, of train and gradcheck alike. */
#ifndef LS_CLI_LOSS_OPTIONS_H
#define LS_CLI_LOSS_OPTIONS_H

#include "cli/options.h"
#include "train/loss_rule.h"

struct ls_loss_options {
    int loss;                  /* -1: not given */
    float smoothing, delta;    /* 0: not given */
    const char *class_weights; /* NULL: not given */
};

#define LS_LOSS_NOT_GIVEN ((struct ls_loss_options){.loss = -1})

/* The rows of a command's table. */
#define LS_LOSS_OPTIONS(o)                                                                                   \
    LS_LOSS_ROW("loss", "NAME", LS_OPTION_CHOICE, &(o)->loss, ls_loss_help,                                  \
                "softmax, or squared when the data has target values and no classes", 0, 0, ls_loss_names),  \
        LS_LOSS_ROW("label-smoothing", "X", LS_OPTION_FLOAT, &(o)->smoothing, ls_label_smoothing_help, "0",  \
                    0, 0.999, NULL),                                                                         \
        LS_LOSS_ROW("huber-delta", "X", LS_OPTION_FLOAT, &(o)->delta, ls_huber_delta_help, "1", 1e-30, 1e30, \
                    NULL),                                                                                   \
        LS_LOSS_ROW("class-weights", "LIST", LS_OPTION_TEXT, &(o)->class_weights, ls_class_weights_help,     \
                    "all 1", 0, 0, NULL)
#define LS_LOSS_ROW(...)                                                                                     \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

extern const char ls_loss_help[], ls_label_smoothing_help[], ls_huber_delta_help[], ls_class_weights_help[];

/* The rule that the options ask for, with defaults that suit the data; LS_USAGE when options and training
 * data do not go together.  Ranks that have the same data get the same rule.  Local.  Release with
 * ls_loss_rule_release, also after failure. */
enum ls_code ls_loss_options_rule(struct ls_loss_rule *rule, const struct ls_loss_options *options,
                                  const struct ls_dataset *train, struct ls_error *err);

#endif
