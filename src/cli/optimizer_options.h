/* The options that say how to update: optimizer, learning rate and its schedule, decay, clipping, averaging.
 * Rows for a command's table, what they default to by optimizer, and their checks. */
#ifndef LS_CLI_OPTIMIZER_OPTIONS_H
#define LS_CLI_OPTIMIZER_OPTIONS_H

#include "cli/options.h"
#include "train/model_file.h"
#include "train/trainer.h"

enum { LS_RANDOM_SEARCH = LS_LAMB + 1 }; /* among ls_method_names; no optimizer: it makes no updates */

struct ls_optimizer_options {
    int optimizer;  /* enum ls_optimizer_kind, or LS_RANDOM_SEARCH */
    int64_t trials; /* of random search; 0: not given */
    /* A NaN or -1 stands for "not given". */
    float learning_rate, momentum, weight_decay, beta1, beta2, epsilon, alpha, trust, clip_norm, clip_value,
        ema;
    int nesterov, decoupled_decay, decay_skips_vectors, trust_skips_vectors;
    const char *schedule, *warmup;
    int64_t scale_lr_to;
};

/* Nothing given. */
#define LS_OPTIMIZER_OPTIONS_NONE                                                                            \
    {                                                                                                        \
        .optimizer = LS_SGD, .learning_rate = LS_NUMBER_NOT_GIVEN, .momentum = LS_NUMBER_NOT_GIVEN,          \
        .weight_decay = LS_NUMBER_NOT_GIVEN, .beta1 = LS_NUMBER_NOT_GIVEN, .beta2 = LS_NUMBER_NOT_GIVEN,     \
        .epsilon = LS_NUMBER_NOT_GIVEN, .alpha = LS_NUMBER_NOT_GIVEN, .trust = LS_NUMBER_NOT_GIVEN,          \
        .clip_norm = LS_NUMBER_NOT_GIVEN, .clip_value = LS_NUMBER_NOT_GIVEN, .ema = LS_NUMBER_NOT_GIVEN,     \
        .trust_skips_vectors = -1                                                                            \
    }
#define LS_NUMBER_NOT_GIVEN __builtin_nanf("")
extern const char *const ls_off_on[];
extern const char *const ls_method_names[];

int64_t ls_trials(const struct ls_optimizer_options *options);

/* The rule, schedule and ema of `config`, whose batch must be there.  Refuses options that mean nothing to
 * the chosen optimizer, by name.  Local. */
enum ls_code ls_optimizer_options_apply(const struct ls_optimizer_options *options,
                                        struct ls_train_config *config, struct ls_error *err);

/* What belongs to the result, for models and logs. */
void ls_optimizer_facts(const struct ls_optimizer_options *options, const struct ls_train_config *config,
                        struct ls_model_facts *facts);

enum { LS_UPDATE_TEXT = 1000 };

/* "SGD, learning rate 0.1, momentum 0.9; cosine min=0" for people. */
const char *ls_optimizer_describe(const struct ls_train_config *config, char text[LS_UPDATE_TEXT]);

/* Every number to its last bit, for comparing ranks. */
const char *ls_optimizer_exact_text(const struct ls_train_config *config, char text[LS_UPDATE_TEXT]);

/* Which one, and its own numbers but for the learning rate. */
#define LS_OPTIMIZER_KIND_OPTION(o, names)                                                                   \
    {                                                                                                        \
        "optimizer", "NAME", LS_OPTION_CHOICE, &(o)->optimizer,                                              \
            "how to update; its own numbers are the options below, which others refuse", "sgd", 0, 0, names, \
            NULL                                                                                             \
    }

#define LS_OPTIMIZER_NUMBER_OPTIONS(o)                                                                       \
    {"momentum",                                                                                             \
     "X",                                                                                                    \
     LS_OPTION_FLOAT,                                                                                        \
     &(o)->momentum,                                                                                         \
     "sgd: v = X v + g; w = w - lr v; rmsprop, lars: the same of their steps",                               \
     "0; lars 0.9",                                                                                          \
     0,                                                                                                      \
     0.999999,                                                                                               \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"nesterov",                                                                                         \
         NULL,                                                                                               \
         LS_OPTION_FLAG,                                                                                     \
         &(o)->nesterov,                                                                                     \
         "sgd: Nesterov's momentum: w = w - lr (g + momentum v)",                                            \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"beta1", "X", LS_OPTION_FLOAT, &(o)->beta1, "adam, adamw, lamb: memory of gradients",               \
         "0.9",   0,   0.999999,        NULL,        NULL},                                                  \
        {"beta2", "X", LS_OPTION_FLOAT, &(o)->beta2, "adam, adamw, lamb: memory of their squares",           \
         "0.999", 0,   0.999999,        NULL,        NULL},                                                  \
        {"alpha", "X", LS_OPTION_FLOAT, &(o)->alpha, "rmsprop: memory of the gradients' squares",            \
         "0.99",  0,   0.999999,        NULL,        NULL},                                                  \
        {"epsilon",                                                                                          \
         "X",                                                                                                \
         LS_OPTION_FLOAT,                                                                                    \
         &(o)->epsilon,                                                                                      \
         "added to the root of squares; all but sgd and lars",                                               \
         "1e-8; adagrad 1e-10, lamb 1e-6",                                                                   \
         0,                                                                                                  \
         1e30,                                                                                               \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"trust",                                                                                            \
         "X",                                                                                                \
         LS_OPTION_FLOAT,                                                                                    \
         &(o)->trust,                                                                                        \
         "lars: a tensor's step is lr X |w| / (|g| + decay |w|) times its gradient",                         \
         "0.001",                                                                                            \
         0,                                                                                                  \
         1e30,                                                                                               \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"trust-skips-vectors",                                                                              \
         "on|off",                                                                                           \
         LS_OPTION_CHOICE,                                                                                   \
         &(o)->trust_skips_vectors,                                                                          \
         "lars, lamb: biases and norms take the plain learning rate",                                        \
         "on; lamb off",                                                                                     \
         0,                                                                                                  \
         0,                                                                                                  \
         ls_off_on,                                                                                          \
         NULL},                                                                                              \
        {"weight-decay",                                                                                     \
         "X",                                                                                                \
         LS_OPTION_FLOAT,                                                                                    \
         &(o)->weight_decay,                                                                                 \
         "L2 decay, g = g + X w, of weights and biases",                                                     \
         "0; adamw 0.01",                                                                                    \
         0,                                                                                                  \
         1e30,                                                                                               \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"decoupled-decay",                                                                                  \
         NULL,                                                                                               \
         LS_OPTION_FLAG,                                                                                     \
         &(o)->decoupled_decay,                                                                              \
         "decay by w = w (1 - lr X) instead, as adamw always does",                                          \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"decay-skips-vectors",                                                                              \
         NULL,                                                                                               \
         LS_OPTION_FLAG,                                                                                     \
         &(o)->decay_skips_vectors,                                                                          \
         "no decay of biases and of normalisations' gamma and beta",                                         \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"clip-norm",                                                                                        \
         "X",                                                                                                \
         LS_OPTION_FLOAT,                                                                                    \
         &(o)->clip_norm,                                                                                    \
         "scale the mean gradient down to this Euclidean norm over all tensors",                             \
         "no limit",                                                                                         \
         1e-30,                                                                                              \
         1e30,                                                                                               \
         NULL,                                                                                               \
         NULL},                                                                                              \
    {                                                                                                        \
        "clip-value", "X", LS_OPTION_FLOAT, &(o)->clip_value,                                                \
            "hold each element of the gradient within -X and X", "no limit", 1e-30, 1e30, NULL, NULL         \
    }

#define LS_OPTIMIZER_OPTIONS(o)                                                                              \
    LS_OPTIMIZER_KIND_OPTION(o, ls_method_names),                                                            \
        {"lr",                                                                                               \
         "X",                                                                                                \
         LS_OPTION_FLOAT,                                                                                    \
         &(o)->learning_rate,                                                                                \
         "learning rate, per update of the mean gradient",                                                   \
         "0.1; adagrad, rmsprop 0.01; adam, adamw, lamb 0.001",                                              \
         0,                                                                                                  \
         1e30,                                                                                               \
         NULL,                                                                                               \
         NULL},                                                                                              \
        LS_OPTIMIZER_NUMBER_OPTIONS(o),                                                                      \
        {"trials", "N", LS_OPTION_INT, &(o)->trials, "random-search: how many random weights to try",        \
         "100",    1,   1e9,           NULL,         NULL},                                                  \
        {"ema",                                                                                              \
         "X",                                                                                                \
         LS_OPTION_FLOAT,                                                                                    \
         &(o)->ema,                                                                                          \
         "evaluate and save an average of the weights instead, which keeps X of itself at each update",      \
         "none",                                                                                             \
         0,                                                                                                  \
         0.9999999,                                                                                          \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"schedule",                                                                                         \
         "TEXT",                                                                                             \
         LS_OPTION_TEXT,                                                                                     \
         &(o)->schedule,                                                                                     \
         "the learning rate over the run, lengths in epochs or, with a u behind, updates: constant; "        \
         "\"step every=30 factor=0.1\"; \"multistep at=30,60 factor=0.1\"; \"exponential factor=0.95 "       \
         "every=1\"; \"polynomial power=2 end=0\"; \"cosine min=0\"; \"onecycle peak-at=0.3 start=0.04 "     \
         "end=1e-4 anneal=cosine\"; \"plateau factor=0.1 patience=10 threshold=1e-4 min=0\"",                \
         "constant",                                                                                         \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        {"warmup",                                                                                           \
         "LENGTH",                                                                                           \
         LS_OPTION_TEXT,                                                                                     \
         &(o)->warmup,                                                                                       \
         "let the learning rate rise in a line over the first epochs, or with a u behind, updates",          \
         "0",                                                                                                \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
    {                                                                                                        \
        "scale-lr-to", "BATCH", LS_OPTION_INT, &(o)->scale_lr_to,                                            \
            "the linear scaling rule: --lr is meant for batches of so many samples, and is multiplied by "   \
            "batch / BATCH",                                                                                 \
            "not scaled", 1, 1e9, NULL, NULL                                                                 \
    }

#endif
