/* What commands that train start with: data, net, configuration, first parameters, the same on all ranks.
 * Rows for a command's table, and what becomes of them. */
#ifndef LS_CLI_SETUP_H
#define LS_CLI_SETUP_H

#include "cli/data_check.h"
#include "cli/input_options.h"
#include "cli/loss_options.h"
#include "cli/optimizer_options.h"
#include "cli/session.h"
#include "cli/split_options.h"
#include "train/trainer.h"

struct ls_setup_options {
    struct ls_session_options session;
    struct ls_input_options input;
    struct ls_split_options split;
    int64_t folds;                                        /* of cross-validation; 0: none */
    const char *data, *test_data, *net, *init, *load;     /* load: a model to start from, or NULL */
    int64_t batch, accumulate, microbatch, shuffle_block; /* shuffle_block: 0 when not given */
    const char *resume; /* a checkpoint to go on from, or NULL; read in place of `load` */
    float init_bias;
    struct ls_optimizer_options update;
    struct ls_loss_options loss;
    int shuffle, drop_last, allreduce, overlap, shard_optimizer, check_data;
    int64_t bucket_bytes;
    uint64_t seed;
};

/* Nothing given. */
extern const struct ls_setup_options ls_setup_options_none;
extern const char *const ls_allreduce_names[];

/* Everything that training takes, so that one function frees it. */
struct ls_setup {
    struct ls_session session;
    struct ls_data data;
    struct ls_split split;    /* of the data; n_parts == 0: none */
    struct ls_hash data_hash; /* of those that were split, when they were */
    struct ls_net net;
    struct ls_init init;
    struct ls_train_config config; /* but for the run's length, looks and stopping */
    float *parameters;
    /* The data's, as a model's metadata has them; NULL: classes are their numbers, nothing is known. */
    char *class_names, *input_names, *input_means;
};

/* Collective, and ends in agreement: starts the session, reads the data, splits and scales
 * them.  Release with
 * ls_setup_release, also after failure. */
enum ls_code ls_setup_open(struct ls_setup *setup, const struct ls_setup_options *options,
                           struct ls_comm *comm, struct ls_error *err);
void ls_setup_release(struct ls_setup *setup);

/* Collective, and ends in agreement: fold k becomes the test samples, the other samples are trained on, and
 * scaled by their own numbers.  With `folds` ls_setup_open leaves the data whole, and this follows for each
 * k.
 */
enum ls_code ls_setup_fold(struct ls_setup *setup, const struct ls_setup_options *options, int64_t k,
                           struct ls_error *err);

/* Local, after ls_setup_open: the net, the configuration, and the parameters, in this order. */
enum ls_code ls_setup_net(struct ls_setup *setup, const struct ls_setup_options *options,
                          struct ls_error *err);
enum ls_code ls_setup_config(struct ls_setup *setup, const struct ls_setup_options *options,
                             struct ls_error *err);
enum ls_code ls_setup_parameters(struct ls_setup *setup, const struct ls_setup_options *options,
                                 struct ls_error *err);

/* The part of the run that belongs to its result, as text, but for the run's length. */
void ls_setup_facts(const struct ls_setup *setup, const struct ls_setup_options *options,
                    struct ls_model_facts *facts);

/* Collective: everything that the ranks must have alike besides data: with different batches they would wait
 * for different messages.  `facts` say what belongs to the result, exactly; `numbers` are the command's own.
 * Then the first parameters. */
enum ls_code ls_setup_compare(const struct ls_setup *setup, const struct ls_setup_options *options,
                              const struct ls_model_facts *facts, int n_numbers, const int64_t *numbers,
                              struct ls_error *err);

#define LS_DATA_AND_NET_OPTIONS(o)                                                                           \
    {"data",                                                                                                 \
     "SPEC",                                                                                                 \
     LS_OPTION_TEXT,                                                                                         \
     &(o)->data,                                                                                             \
     "what to train on: digits, fashion-mnist, a file such as a.csv, idx:IMAGES,LABELS, "                    \
     "synthetic:n=N,shape=AxB,classes=C,seed=S, inline:X..=Y..;..; 'lockstep info formats' lists all",       \
     "digits",                                                                                               \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"test-data",                                                                                        \
         "SPEC",                                                                                             \
         LS_OPTION_TEXT,                                                                                     \
         &(o)->test_data,                                                                                    \
         "test data for data that carry none: a file, idx:IMAGES,LABELS or inline:...",                      \
         "none",                                                                                             \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        LS_CHECK_DATA_OPTION(&(o)->check_data), LS_SPLIT_OPTIONS(&(o)->split),                               \
        LS_INPUT_OPTIONS(&(o)->input),                                                                       \
        {"net",                                                                                              \
         "LAYERS",                                                                                           \
         LS_OPTION_TEXT,                                                                                     \
         &(o)->net,                                                                                          \
         "layers separated by commas, @FILE with one a line, or a name of 'lockstep info nets'",             \
         "mlp: dense 128, relu, dense with as many outputs as the data has classes",                         \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
        LS_LOSS_OPTIONS(&(o)->loss),                                                                         \
        {"batch",                                                                                            \
         "N",                                                                                                \
         LS_OPTION_INT,                                                                                      \
         &(o)->batch,                                                                                        \
         "samples in one update, over all ranks; all: the whole training set",                               \
         "64, or all of a smaller set",                                                                      \
         1,                                                                                                  \
         1e9,                                                                                                \
         NULL,                                                                                               \
         "all"},                                                                                             \
        {"microbatch",                                                                                       \
         "N",                                                                                                \
         LS_OPTION_INT,                                                                                      \
         &(o)->microbatch,                                                                                   \
         "samples in a leaf of the summation tree; part of the result, so not for tuning",                   \
         "32",                                                                                               \
         1,                                                                                                  \
         1 << 20,                                                                                            \
         NULL,                                                                                               \
         NULL},                                                                                              \
    {                                                                                                        \
        "accumulate", "N", LS_OPTION_INT, &(o)->accumulate,                                                  \
            "batches in an update, one after the other: memory for one of them; without batch norm the "     \
            "same "                                                                                          \
            "bits as "                                                                                       \
            "one batch of N times the size, when --batch is a power of two times --microbatch",              \
            "1", 1, 1e6, NULL, NULL                                                                          \
    }

#define LS_START_OPTIONS(o)                                                                                  \
    {"init",                                                                                                 \
     "NAME",                                                                                                 \
     LS_OPTION_TEXT,                                                                                         \
     &(o)->init,                                                                                             \
     "first weights: he-uniform, he-normal, xavier-uniform, xavier-normal, zeros, constant=X (biases "       \
     "too), "                                                                                                \
     "normal=S and truncated-normal=S of deviation S, uniform=A within +-A",                                 \
     "he-uniform",                                                                                           \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"init-bias", "X", LS_OPTION_FLOAT, &(o)->init_bias, "where biases start", "0", -1e30, 1e30,         \
         NULL,        NULL},                                                                                 \
        {"seed", "N", LS_OPTION_SEED, &(o)->seed, "of initialisation, shuffling and augmentation", "1",      \
         0,      0,   NULL,           NULL},                                                                 \
        {"shuffle",                                                                                          \
         "on|off|blocks",                                                                                    \
         LS_OPTION_CHOICE,                                                                                   \
         &(o)->shuffle,                                                                                      \
         "a new keyed order of the samples each epoch; blocks: of blocks of consecutive samples, and of "    \
         "the "                                                                                              \
         "samples within each 16 of them, for storage that dislikes random reads",                           \
         "on",                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         ls_shuffle_names,                                                                                   \
         NULL},                                                                                              \
        {"shuffle-block",                                                                                    \
         "N",                                                                                                \
         LS_OPTION_INT,                                                                                      \
         &(o)->shuffle_block,                                                                                \
         "samples in a block of --shuffle blocks; part of the result",                                       \
         "1024",                                                                                             \
         1,                                                                                                  \
         1e9,                                                                                                \
         NULL,                                                                                               \
         NULL},                                                                                              \
    {                                                                                                        \
        "drop-last", NULL, LS_OPTION_FLAG, &(o)->drop_last,                                                  \
            "leave out an epoch's last batch when it is short", NULL, 0, 0, NULL, NULL                       \
    }

#define LS_ALLREDUCE_OPTION(o)                                                                               \
    {"allreduce",                                                                                            \
     "NAME",                                                                                                 \
     LS_OPTION_CHOICE,                                                                                       \
     &(o)->allreduce,                                                                                        \
     "tree: the exact sum; mpi: MPI_Allreduce, whose bits depend on the ranks, for comparison",              \
     "tree",                                                                                                 \
     0,                                                                                                      \
     0,                                                                                                      \
     ls_allreduce_names,                                                                                     \
     NULL},                                                                                                  \
        {"overlap",                                                                                          \
         "on|off",                                                                                           \
         LS_OPTION_CHOICE,                                                                                   \
         &(o)->overlap,                                                                                      \
         "on: between hosts, gradients leave while backward goes on; the result is the same",                \
         "on",                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         ls_off_on,                                                                                          \
         NULL},                                                                                              \
        {"shard-optimizer",                                                                                  \
         NULL,                                                                                               \
         LS_OPTION_FLAG,                                                                                     \
         &(o)->shard_optimizer,                                                                              \
         "each rank updates a slice of the parameters and has the optimizer's state of that slice alone; "   \
         "the "                                                                                              \
         "result is the same",                                                                               \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         NULL},                                                                                              \
    {                                                                                                        \
        "bucket-bytes", "N", LS_OPTION_INT, &(o)->bucket_bytes,                                              \
            "with --overlap on: the least that leaves at once; the result is the same", "1048576", 1, 1e12,  \
            NULL, NULL                                                                                       \
    }

#endif
