/* The contract's matrix: whole training runs on this many ranks, with 1, 2 and 3 threads and every ISA of
 * this machine, against the serial oracle on one rank.  Step by step: the loss and a hash of each tensor
 * after it.
 *
 *   mpi-cases matrix P                    the tree: everything must be the oracle's bits
 *   mpi-cases matrix P tree THREADS       the same with no more threads than that
 *   mpi-cases matrix P mpi                the same for MPI_Allreduce: must fail, or the matrix is blind
 *   mpi-cases matrix-tolerance P          MPI_Allreduce must still be near the oracle
 *
 * It prints a hash of all that each run's oracle gave: text that another architecture must print, too.
 * Rank 0 trains the oracle once a run, collects every rank's record, and judges. */
#include "cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "compute/parallel/team.h"
#include "train/trainer.h"

enum { MOST_THREADS = 3, MOST_STEPS = 48, MOST_EPOCHS = 4, MOST_TENSORS = 128 };

struct matrix_run {
    const char *name, *data, *test_data, *net, *init;
    int normalise;                 /* as the training data says */
    struct ls_train_config config; /* batch 0: all; steps 0: no limit */
    int only_ranks;                /* too slow for all: on this many; 0: on any */
    int only_bits;                 /* deep: not in matrix-tolerance, nor where all must differ */
};

#define SGD(...) .optimizer = {.learning_rate = 0.1f, __VA_ARGS__}

static const float three_weights[] = {0.25f, 1.75f, 1.0f}, four_weights[] = {2.0f, 0.0f, 0.3f, 1.1f};

#define BLOCK(n) "residual { " HALF_BLOCK(n, "1") ", " CONV(n, "3x3", "1") " } , relu, "
#define DOWN(n)                                                                                              \
    "residual { " HALF_BLOCK(n, "2") ", " CONV(n, "3x3", "1") " } shortcut { " CONV(n, "1x1",                \
                                                                                    "2") " }, relu, "
#define HALF_BLOCK(n, stride) CONV(n, "3x3", stride) ", relu"
#define CONV(n, window, stride) "conv " n " " window " stride " stride " pad same nobias, batchnorm"
/* He et al. 2016, section 4.2, n = 3; its option B at the two shortcuts. */
#define RESNET_20                                                                                            \
    HALF_BLOCK("16", "1")                                                                                    \
    ", " BLOCK("16") BLOCK("16") BLOCK("16") DOWN("32") BLOCK("32") BLOCK("32") DOWN("64") BLOCK("64")       \
        BLOCK("64") "globalavgpool, dense 10"

/* What each is there for stands in its name.  All are small: every one is trained 9 times with 3 ISAs. */
static const struct matrix_run runs[] = {
    {.name = "softmax regression; m does not divide B, B not N",
     .data = "synthetic:n=100,shape=20,classes=5,test=37",
     .net = "dense 5",
     .config = {.batch = 32, .microbatch = 3, .epochs = 2, SGD(0)}},
    {.name = "relu on digits; momentum",
     .data = "digits",
     .net = "dense 32, relu, dense 10",
     .config = {.batch = 64, .microbatch = 16, .epochs = 1, .steps = 6, SGD(.momentum = 0.9f)}},
    {.name = "tanh; Nesterov, decay; m = 1, B < P, a last batch of 1",
     .data = "synthetic:n=22,shape=9,classes=3,test=5",
     .net = "dense 11, tanh, dense 3",
     .init = "xavier-normal",
     .config = {.batch = 7,
                .microbatch = 1,
                .epochs = 3,
                SGD(.momentum = 0.8f, .nesterov = 1, .weight_decay = 0.01f)}},
    {.name = "sigmoid, squared loss; one leaf, B < m",
     .data = "synthetic:n=40,shape=17,classes=4,test=33",
     .net = "dense 19, sigmoid, dense 4",
     .init = "xavier-uniform",
     .config = {.loss = {.kind = LS_LOSS_SQUARED}, .batch = 16, .microbatch = 32, .epochs = 2, SGD(0)}},
    {.name = "deep, all activations, half squared; decay",
     .data = "synthetic:n=80,shape=4x7,classes=4,test=50",
     .net = "dense 17, tanh, dense 13 nobias, sigmoid, dense 9, relu, dense 4",
     .config = {.loss = {.kind = LS_LOSS_HALF_SQUARED},
                .batch = 33,
                .microbatch = 3,
                .epochs = 2,
                SGD(.momentum = 0.5f, .weight_decay = 0.02f)}},
    {.name = "no bias; drop the last batch",
     .data = "synthetic:n=50,shape=12,classes=3,test=20",
     .net = "dense 16 nobias, relu, dense 3 nobias",
     .init = "he-normal",
     .config = {.batch = 16, .microbatch = 3, .epochs = 2, .drop_last = 1, SGD(0)}},
    {.name = "an activation first, two in a row, one last",
     .data = "synthetic:n=45,shape=10,classes=3,test=11",
     .net = "tanh, dense 21, relu, tanh, dense 3, sigmoid",
     .config = {.loss = {.kind = LS_LOSS_SQUARED},
                .batch = 20,
                .microbatch = 16,
                .epochs = 2,
                SGD(.momentum = 0.9f)}},
    {.name = "cross-entropy of 7 logits",
     .data = "synthetic:n=60,shape=15,classes=7,test=29",
     .net = "dense 18, relu, dense 7",
     .config = {.loss = {.kind = LS_LOSS_BCE}, .batch = 25, .microbatch = 3, .epochs = 2, SGD(0)}},
    {.name = "cross-entropy of one logit; fewer leaves than ranks; file order",
     .data = "synthetic:n=64,shape=8,classes=2,test=16",
     .net = "dense 6, tanh, dense 1",
     .config = {.loss = {.kind = LS_LOSS_BCE},
                .batch = 64,
                .microbatch = 16,
                .epochs = 3,
                SGD(.weight_decay = 0.1f)}},
    {.name = "softmax with smoothing and class weights",
     .data = "synthetic:n=55,shape=9,classes=3,test=23",
     .net = "dense 17, relu, dense 3",
     .config = {.loss = {.kind = LS_LOSS_SOFTMAX,
                         .smoothing = 0.1f,
                         .class_weights = three_weights,
                         .n_classes = 3},
                .batch = 18,
                .microbatch = 4,
                .epochs = 2,
                SGD(.momentum = 0.9f)}},
    {.name = "hinge with class weights",
     .data = "synthetic:n=55,shape=9,classes=4,test=23",
     .net = "dense 8, tanh, dense 4",
     .config = {.loss = {.kind = LS_LOSS_HINGE, .class_weights = four_weights, .n_classes = 4},
                .batch = 20,
                .microbatch = 3,
                .epochs = 2,
                SGD(0)}},
    {.name = "Huber's, target values",
     .data = "inline:1 2 3=0.5 -1;0 1 0=1 1;2 2 1=-0.25 3;-1 0 4=0 0;3 1 1=2 2;0 0 1=1 -1;1 1 1=0.125 7",
     .test_data = "inline:1 1 2=0 1;2 0 0=1.5 2;0 3 1=1 1;2 1 0=3 0.5;1 1 1=0 0",
     .net = "dense 5, tanh, dense 2",
     .config =
         {.loss = {.kind = LS_LOSS_HUBER, .delta = 0.5f}, .batch = 5, .microbatch = 2, .epochs = 3, SGD(0)}},
    {.name = "target values, half squared; tests of the replicas each 2 steps",
     .data = "inline:1 2 3=0.5 -1;0 1 0=1 1;2 2 1=-0.25 3;-1 0 4=0 0;3 1 1=2 2;0 0 1=1 -1;1 1 1=0.125 7",
     .test_data = "inline:1 1 2=0 1;2 0 0=1.5 2;0 3 1=1 1",
     .net = "dense 5, tanh, dense 2",
     .config = {.loss = {.kind = LS_LOSS_HALF_SQUARED},
                .batch = 3,
                .microbatch = 1,
                .epochs = 4,
                .hash_every = 2,
                SGD(0)}},
    {.name = "target values, squared; B = 1",
     .data = "inline:1 2=0.5;0 1=1;2 2=-0.25;-1 0=0;3 1=2",
     .net = "dense 4, sigmoid, dense 1 nobias",
     .config = {.loss = {.kind = LS_LOSS_SQUARED},
                .batch = 1,
                .microbatch = 32,
                .epochs = 4,
                SGD(.momentum = 0.3f)}},
    {.name = "all samples in one batch, several passes a rank",
     .data = "synthetic:n=9001,shape=3,classes=2,test=4099",
     .net = "dense 2",
     .config = {.microbatch = 32, .epochs = 2, SGD(0)}},
    {.name = "all samples in one batch, passes that are no power of two of samples",
     .data = "synthetic:n=13000,shape=2,classes=2,test=1",
     .net = "dense 3, relu, dense 2",
     .config = {.microbatch = 3, .epochs = 1, SGD(.momentum = 0.9f, .nesterov = 1)}},
    {.name = "wide enough for threads on 8 ranks",
     .data = "digits",
     .net = "dense 96, relu, dense 64, tanh, dense 10",
     .config = {.batch = 256, .microbatch = 32, .epochs = 1, .steps = 3, SGD(.momentum = 0.9f)}},
    {.name = "m = 64, B not a multiple of it",
     .data = "digits",
     .net = "dense 24, sigmoid, dense 10",
     .config = {.batch = 500, .microbatch = 64, .epochs = 2, .steps = 4, SGD(0)}},
    {.name = "all digits in one batch, its gradient packed in several chunks",
     .data = "digits",
     .net = "dense 40, relu, dense 10",
     .config = {.microbatch = 32, .epochs = 1, .steps = 2, SGD(.momentum = 0.9f)}},
    {.name = "100 leaves of one sample",
     .data = "synthetic:n=300,shape=16,classes=4,test=70",
     .net = "dense 33, relu, dense 4",
     .config = {.batch = 100, .microbatch = 1, .epochs = 1, SGD(.momentum = 0.9f)}},
    {.name = "Adam, clipped by norm; cosine behind warm-up",
     .data = "digits",
     .net = "dense 32, tanh, dense 10",
     .config = {.batch = 200,
                .microbatch = 16,
                .epochs = 2,
                .optimizer = {.kind = LS_ADAM,
                              .learning_rate = 0.01f,
                              .beta1 = 0.9f,
                              .beta2 = 0.999f,
                              .epsilon = 1e-4f,
                              .clip_norm = 0.1f},
                .schedule = {.kind = LS_SCHEDULE_COSINE, .warmup = {.length = 0.5f}}}},
    {.name = "LAMB, a tensor of several blocks; decay of weights only",
     .data = "digits",
     .net = "dense 140, tanh, dense 10",
     .config = {.batch = 128,
                .microbatch = 16,
                .epochs = 1,
                .steps = 4,
                .optimizer = {.kind = LS_LAMB,
                              .learning_rate = 0.01f,
                              .beta1 = 0.9f,
                              .beta2 = 0.99f,
                              .epsilon = 1e-4f,
                              .weight_decay = 0.1f,
                              .decay_skips_vectors = 1}}},
    {.name = "LARS on plateaus",
     .data = "synthetic:n=120,shape=20,classes=5,test=37",
     .net = "dense 24, tanh, dense 5",
     .config = {.batch = 40,
                .microbatch = 8,
                .epochs = 4,
                .optimizer = {.kind = LS_LARS,
                              .learning_rate = 4.0f,
                              .momentum = 0.9f,
                              .trust = 0.02f,
                              .trust_skips_vectors = 1,
                              .weight_decay = 0.01f},
                .schedule = {.kind = LS_SCHEDULE_PLATEAU, .factor = 0.5f, .threshold = 0.5f}}},
    {.name = "bytes normalised, shifted, flipped and cropped",
     .data = "digits",
     .net = "dense 16, relu, dense 10",
     .normalise = 1,
     .config = {.batch = 300,
                .microbatch = 16,
                .epochs = 2,
                .augment = {.shift = 1, .crop = 2, .flip = 1},
                SGD(.momentum = 0.9f)}},
    {.name = "numbers normalised by channel, shifted and flipped",
     .data = "synthetic:n=90,shape=3x7x9,classes=4,test=23",
     .net = "dense 12, tanh, dense 4",
     .normalise = 1,
     .config = {.batch = 32,
                .microbatch = 3,
                .epochs = 3,
                .augment = {.shift = 2, .flip = 1},
                SGD(.momentum = 0.9f)}},
    {.name = "images: convolution, pools; momentum; m does not divide B",
     .data = "synthetic:n=29,shape=3x11x10,classes=4,test=7",
     .net =
         "conv 6 5x5 pad 2, relu, maxpool 2x2, conv 17 3x3, softplus, avgpool 2x2 stride 1 pad 1, dense 9, "
         "gelu, dense 4",
     .config = {.batch = 13, .microbatch = 3, .epochs = 2, SGD(.momentum = 0.9f)}},
    {.name = "groups, depthwise, overlapping windows; m = 1, a last batch of 1",
     .data = "synthetic:n=17,shape=4x9x8,classes=3,test=5",
     .net = "conv 12 3x3 pad same groups 2 nobias, leakyrelu, conv 12 3x3 stride 2 pad same depthwise, tanh, "
            "maxpool 3x3 stride 1 pad 1, conv 18 1x1, leakyrelu 0.2, conv 9 2x2 groups 3, globalavgpool, "
            "dense 3",
     .config = {.batch = 8, .microbatch = 1, .epochs = 2, SGD(.weight_decay = 0.01f)}},
    {.name = "dropout in both orders of an image and behind dense; B < P",
     .data = "synthetic:n=30,shape=3x7x6,classes=4,test=6",
     .net = "dropout 0.1, conv 7 3x3, dropout 0.4, relu, flatten, dropout 0.5, dense 21, relu, dropout 0.25, "
            "dense 4",
     .config = {.batch = 7, .microbatch = 1, .epochs = 2, SGD(.momentum = 0.5f, .nesterov = 1)}},
    {.name = "layer norm, softmax, squared loss",
     .data = "synthetic:n=41,shape=2x6x5,classes=5,test=12",
     .net = "layernorm, conv 5 3x3, layernorm epsilon 0.001, gelu, dense 19, layernorm, softmax, dense 5, "
            "softmax",
     .config = {.loss = {.kind = LS_LOSS_SQUARED}, .batch = 20, .microbatch = 4, .epochs = 2, SGD(0)}},
    {.name = "batch norm of dense layers; m = 1, B < P, a last batch of 1",
     .data = "synthetic:n=22,shape=9,classes=3,test=5",
     .net = "dense 17 nobias, batchnorm, relu, dense 9 nobias, batchnorm momentum 0.4 epsilon 0.01, dense 3",
     .config = {.batch = 7, .microbatch = 1, .epochs = 2, SGD(.momentum = 0.8f)}},
    {.name = "batch norm, residual blocks; most ranks have no leaf, a last batch of 1",
     .data = "synthetic:n=21,shape=3x8x7,classes=4,test=9",
     .net = "conv 8 3x3 pad same nobias, batchnorm, relu, residual { conv 8 3x3 pad same nobias, batchnorm, "
            "relu, conv "
            "8 3x3 pad same nobias, batchnorm }, relu, residual { conv 12 3x3 stride 2 pad same nobias, "
            "batchnorm } "
            "shortcut { conv 12 1x1 stride 2 nobias, batchnorm }, relu, globalavgpool, dense 4",
     .config = {.batch = 10, .microbatch = 8, .epochs = 2, SGD(.momentum = 0.9f, .weight_decay = 0.001f)}},
    {.name = "batch norm and dropout, three batches an update; a last batch of 5",
     .data = "synthetic:n=47,shape=2x5x6,classes=4,test=6",
     .net = "conv 5 3x3 nobias, batchnorm, relu, dropout 0.4, dense 12, gelu, dropout 0.3, dense 4",
     .config = {.batch = 6,
                .microbatch = 2,
                .epochs = 2,
                .accumulate = 3,
                SGD(.momentum = 0.9f, .weight_decay = 0.001f)}},
    {.name = "batch norm first and last, blocks in blocks; m does not divide B; test each 2 steps",
     .data = "synthetic:n=50,shape=2x6x6,classes=4,test=11",
     .net = "batchnorm, residual { residual { conv 2 3x3 pad same, gelu } shortcut { maxpool 3x3 stride 1 "
            "pad 1 }, "
            "batchnorm, sigmoid } shortcut { conv 2 1x1 }, dropout 0.2, dense 11, residual { dense 11, "
            "batchnorm, relu "
            "}, dense 4, batchnorm",
     .config = {.batch = 25, .microbatch = 3, .epochs = 2, .hash_every = 2, SGD(0)},
     .only_bits = 1}, /* biases in front of batch norm: rounding moves them, and it is not the same */
    {.name = "ResNet-20 on small images; LAMB, clipped by norm",
     .data = "synthetic:n=6,shape=3x8x7,classes=10,test=1",
     .net = RESNET_20,
     .config = {.batch = 4,
                .microbatch = 1,
                .epochs = 1,
                .optimizer = {.kind = LS_LAMB,
                              .learning_rate = 0.01f,
                              .beta1 = 0.9f,
                              .beta2 = 0.99f,
                              .epsilon = 1e-6f,
                              .weight_decay = 0.1f,
                              .decay_skips_vectors = 1,
                              .clip_norm = 0.5f}},
     .only_bits = 1},
    {.name = "ResNet-20",
     .data = "synthetic:n=3,shape=3x32x32,classes=10,test=1",
     .net = RESNET_20,
     .config = {.batch = 2, .microbatch = 1, .epochs = 1, SGD(.momentum = 0.9f, .weight_decay = 1e-4f)},
     .only_ranks = 3,
     .only_bits = 1},
    {.name = "three batches an update, the last ones short; averaged weights",
     .data = "synthetic:n=200,shape=14,classes=4,test=31",
     .net = "dense 12, relu, dropout 0.3, dense 4",
     .config =
         {.batch = 24, .accumulate = 3, .microbatch = 5, .epochs = 2, .ema = 0.8f, SGD(.momentum = 0.9f)}},
};
enum { N_RUNS = sizeof runs / sizeof runs[0] };

/* Everything of one training that must not depend on where it ran.  Zeroed first, so compared as bytes. */
struct record {
    int64_t n_steps, n_epochs, n_correct[MOST_EPOCHS], n_samples[MOST_EPOCHS];
    struct ls_hash epoch_hash[MOST_EPOCHS], step_hash[MOST_STEPS], last_hash;
    uint64_t tensors[MOST_STEPS][MOST_TENSORS];
    float step_loss[MOST_STEPS], epoch_loss[MOST_EPOCHS], test_loss[MOST_EPOCHS], rmse[MOST_EPOCHS];
};

/* A run, opened: what it is trained from, and what came of it. */
struct bench {
    const struct matrix_run *run;
    struct ls_train_config config;
    struct ls_data data;
    struct ls_net net;
    float *first, *parameters;
    struct record record;
    int n_told;
};

static void on_step(void *context, const struct ls_step_report *report, const float *parameters)
{
    struct bench *bench = context;
    struct record *record = &bench->record;
    const int64_t step = record->n_steps++;
    if (step >= MOST_STEPS)
        return;
    record->step_loss[step] = report->loss;
    if (report->hashed)
        record->step_hash[step] = report->hash;
    for (int i = 0; i < bench->net.n_tensors && i < MOST_TENSORS; i++)
        record->tensors[step][i] = ls_parameter_hash(&bench->net.tensors[i], parameters).low;
}

static enum ls_code on_epoch(void *context, const struct ls_epoch_report *report, const float *parameters,
                             struct ls_error *err)
{
    (void)parameters;
    struct record *record = &((struct bench *)context)->record;
    const int64_t epoch = record->n_epochs++;
    if (epoch >= MOST_EPOCHS || record->n_steps > MOST_STEPS)
        return ls_fail(err, LS_FAILED, "a record has no room for %lld epochs or %lld steps",
                       (long long)epoch + 1, (long long)record->n_steps);
    record->epoch_loss[epoch] = report->loss;
    record->epoch_hash[epoch] = report->hash;
    if (report->evaluated) {
        record->test_loss[epoch] = report->test.loss;
        record->n_correct[epoch] = report->test.n_correct;
        record->rmse[epoch] = report->test.rmse;
        record->n_samples[epoch] = report->test.n_samples;
    }
    return LS_OK;
}

static enum ls_code bench_open(struct bench *bench, const struct matrix_run *run, struct ls_error *err)
{
    *bench = (struct bench){.run = run, .config = run->config};
    struct ls_init init;
    enum ls_code code = ls_data_open(&bench->data, run->data, run->test_data, err);
    const struct ls_dataset *train = &bench->data.train;
    if (code == LS_OK && run->normalise) {
        code = ls_normalise_measure(&bench->data.train.normalise, train, err);
        bench->data.test.normalise = train->normalise;
    }
    if (code == LS_OK)
        code = ls_net_create(&bench->net, run->net, ls_shape_of(train->n_dims, train->dims), err);
    if (code == LS_OK)
        code = ls_check_fit(&bench->net, run->config.loss.kind, train, err);
    if (code == LS_OK)
        code = ls_init_parse(&init, run->init ? run->init : "he-uniform", err);
    if (code != LS_OK)
        return code;
    if (bench->net.n_tensors > MOST_TENSORS)
        return ls_fail(err, LS_FAILED, "a record has no room for %d tensors", bench->net.n_tensors);
    struct ls_train_config *config = &bench->config;
    config->batch = config->batch ? config->batch : train->n_samples;
    config->steps = config->steps ? config->steps : -1;
    config->seed = (uint64_t)(run - runs) + 1;
    config->augment.seed = config->seed;
    config->shuffle = strstr(run->name, "file order") == NULL;
    config->eval_every = 1;
    bench->first = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", err);
    bench->parameters = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", err);
    if (!bench->first || !bench->parameters)
        return LS_FAILED;
    ls_net_initialise(&bench->net, &init, config->seed, bench->first);
    return LS_OK;
}

static void bench_release(struct bench *bench)
{
    ls_free(bench->first);
    ls_free(bench->parameters);
    ls_net_release(&bench->net);
    ls_data_release(&bench->data);
}

/* Trains from the first parameters into bench->record and bench->parameters. */
static enum ls_code bench_train(struct bench *bench, const struct ls_ops *ops, struct ls_comm *comm,
                                enum ls_allreduce allreduce, struct ls_error *err)
{
    const struct ls_observer observer = {.context = bench, .on_step = on_step, .on_epoch = on_epoch};
    struct ls_train_result result;
    bench->record = (struct record){0};
    bench->config.allreduce = allreduce;
    memcpy(bench->parameters, bench->first, (size_t)bench->net.n_floats * sizeof *bench->first);
    enum ls_code code = ls_train(&bench->config, &bench->net, ops, comm, &bench->data, bench->parameters,
                                 &observer, &result, err);
    if (code == LS_OK)
        code = ls_net_hash(&bench->net, bench->parameters, &bench->record.last_hash, err);
    return code;
}

static enum ls_code train_oracle(struct bench *bench, struct ls_error *err)
{
    struct ls_comm *solo = NULL;
    enum ls_code code = ls_comm_create_solo(&solo, err);
    if (code == LS_OK)
        code = bench_train(bench, &ls_ops_serial, solo, LS_ALLREDUCE_TREE, err);
    ls_comm_destroy(&solo);
    return code;
}

/* The first thing in which two records differ, in the order in which it came about. */
static void describe_difference(const struct bench *bench, const struct record *found,
                                const struct record *expected, char *text, size_t size)
{
    if (found->n_steps != expected->n_steps || found->n_epochs != expected->n_epochs) {
        snprintf(text, size, "%lld steps in %lld epochs, not %lld in %lld", (long long)found->n_steps,
                 (long long)found->n_epochs, (long long)expected->n_steps, (long long)expected->n_epochs);
        return;
    }
    for (int64_t i = 0; i < expected->n_steps && i < MOST_STEPS; i++) {
        if (memcmp(&found->step_loss[i], &expected->step_loss[i], sizeof(float)) != 0) {
            snprintf(text, size, "the loss of step %lld is %a, not %a", (long long)i + 1,
                     (double)found->step_loss[i], (double)expected->step_loss[i]);
            return;
        }
        for (int t = 0; t < bench->net.n_tensors; t++)
            if (found->tensors[i][t] != expected->tensors[i][t]) {
                snprintf(text, size, "'%s' differs after step %lld", bench->net.tensors[t].name,
                         (long long)i + 1);
                return;
            }
    }
    for (int64_t i = 0; i < expected->n_epochs && i < MOST_EPOCHS; i++)
        if (memcmp(&found->epoch_loss[i], &expected->epoch_loss[i], sizeof(float)) != 0 ||
            memcmp(&found->test_loss[i], &expected->test_loss[i], sizeof(float)) != 0 ||
            memcmp(&found->rmse[i], &expected->rmse[i], sizeof(float)) != 0 ||
            found->n_correct[i] != expected->n_correct[i]) {
            snprintf(
                text, size, "epoch %lld: loss %a, test loss %a, %lld correct, RMSE %a; not %a, %a, %lld, %a",
                (long long)i + 1, (double)found->epoch_loss[i], (double)found->test_loss[i],
                (long long)found->n_correct[i], (double)found->rmse[i], (double)expected->epoch_loss[i],
                (double)expected->test_loss[i], (long long)expected->n_correct[i], (double)expected->rmse[i]);
            return;
        }
    snprintf(text, size, "a reported hash or count of samples differs");
}

/* Judges one training on all ranks; on rank 0 returns how many ranks differ from the oracle.  The first few
 * of each run are told. */
static int judge(struct ls_comm *comm, struct bench *bench, const struct record *oracle, const char *isa,
                 int threads, struct record *all)
{
    struct ls_error err = {.code = LS_OK};
    if (ls_comm_gather(comm, &bench->record, sizeof bench->record, all, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    int n_wrong = 0;
    for (int rank = 0; ls_comm_rank(comm) == 0 && rank < ls_comm_size(comm); rank++) {
        char text[300];
        if (memcmp(&all[rank], oracle, sizeof *oracle) == 0)
            continue;
        n_wrong++;
        describe_difference(bench, &all[rank], oracle, text, sizeof text);
        if (bench->n_told++ < 3)
            complain(comm, "\"%s\" with %d threads of %s: on rank %d %s", bench->run->name, threads, isa,
                     rank, text);
    }
    return n_wrong;
}

/* All threads and ISAs of one run; on rank 0 returns how many trainings were not the oracle's. */
static int check_run(struct ls_comm *comm, struct bench *bench, enum ls_allreduce allreduce, int most_threads,
                     struct record *all, int *n_trainings)
{
    struct ls_error err = {.code = LS_OK};
    if (ls_comm_rank(comm) == 0 && train_oracle(bench, &err) != LS_OK)
        return complain(comm, "\"%s\": the oracle: %s", bench->run->name, err.text);
    const struct record oracle = bench->record;
    char hash[LS_HASH_TEXT];
    ls_hash_text(ls_hash_bytes(&oracle, sizeof oracle), hash);
    if (ls_comm_rank(comm) == 0)
        printf("%s  %s\n", hash, bench->run->name);
    int n_wrong = 0;
    for (const char *const *isa = ls_ops_isas(); *isa; isa++)
        for (int threads = 1; threads <= most_threads; threads++) {
            ls_ops_set_threads(threads);
            bench->config.bucket_bytes = threads % 2 ? 256 : 0; /* where sums travel between hosts */
            bench->config.shard_optimizer =
                threads >= 2 && ls_optimizer_takes_slices(&bench->config.optimizer);
            if (bench_train(bench, ls_ops_parallel(*isa), comm, allreduce, &err) != LS_OK)
                return complain(comm, "\"%s\" with %d threads of %s: %s", bench->run->name, threads, *isa,
                                err.text);
            n_wrong += judge(comm, bench, &oracle, *isa, threads, all) > 0;
            ++*n_trainings;
        }
    return n_wrong;
}

/* Small products run on one thread whatever is asked for: the matrix must hold one that does not, for any
 * rank. */
static int threads_matter(const struct ls_comm *comm)
{
    for (int i = 0; i < N_RUNS; i++) {
        int K = 0, N = 0;
        if (strcmp(runs[i].data, "digits") == 0 && sscanf(runs[i].net, "dense %d", &N) == 1)
            K = 64;
        const int64_t leaves = ls_count_leaves(runs[i].config.batch, runs[i].config.microbatch);
        const struct ls_range mine = ls_leaves_of_rank(leaves, ls_comm_size(comm), 0);
        if ((double)((mine.end - mine.begin) * runs[i].config.microbatch * K * N) / 25.0 > LS_WORTH_A_TEAM_NS)
            return 1;
    }
    return 0;
}

static int run_matrix(struct ls_comm *comm, int n_args, char **args)
{
    const enum ls_allreduce allreduce =
        n_args > 0 && strcmp(args[0], "mpi") == 0 ? LS_ALLREDUCE_MPI : LS_ALLREDUCE_TREE;
    const int most_threads = n_args > 1 ? atoi(args[1]) : MOST_THREADS;
    if (!threads_matter(comm))
        return complain(comm, "no run is large enough to use several threads");
    struct ls_error err = {.code = LS_OK};
    struct record *all = ls_alloc((size_t)ls_comm_size(comm), sizeof *all, "records", &err);
    int n_wrong = 0, n_trainings = 0;
    for (int i = 0; all && i < N_RUNS; i++) {
        struct bench bench;
        if ((runs[i].only_ranks && runs[i].only_ranks != ls_comm_size(comm)) ||
            (runs[i].only_bits && allreduce != LS_ALLREDUCE_TREE))
            continue;
        if (bench_open(&bench, &runs[i], &err) != LS_OK)
            n_wrong += complain(comm, "\"%s\": %s", runs[i].name, err.text);
        else
            n_wrong += check_run(comm, &bench, allreduce, most_threads, all, &n_trainings);
        bench_release(&bench);
    }
    ls_free(all);
    if (n_wrong)
        return complain(comm, "%d of %d trainings differ from the oracle", n_wrong, n_trainings);
    if (ls_comm_rank(comm) == 0)
        printf("all as the oracle, %d trainings\n", n_trainings);
    return 0;
}

/* The largest |a - b| of a tensor against the largest |b|. */
static double distance(const struct ls_parameter *tensor, const float *a, const float *b)
{
    double most = 0, size = 0;
    for (ptrdiff_t i = tensor->offset; i < tensor->offset + tensor->count; i++) {
        const double off = isfinite(a[i]) ? fabs((double)a[i] - (double)b[i]) : (double)INFINITY;
        most = off > most ? off : most;
        size = fabs((double)b[i]) > size ? fabs((double)b[i]) : size;
    }
    return most / size;
}

static int check_near(struct ls_comm *comm, struct bench *bench)
{
    const double tolerance = 1e-4;
    struct ls_error err = {.code = LS_OK};
    if (train_oracle(bench, &err) != LS_OK)
        return complain(comm, "\"%s\": the oracle: %s", bench->run->name, err.text);
    float *oracle = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", &err);
    if (!oracle)
        return complain(comm, "%s", err.text);
    memcpy(oracle, bench->parameters, (size_t)bench->net.n_floats * sizeof *oracle);
    const struct record expected = bench->record;
    int failed = 0;
    if (bench_train(bench, ls_ops_parallel(NULL), comm, LS_ALLREDUCE_MPI, &err) != LS_OK)
        failed = complain(comm, "\"%s\": %s", bench->run->name, err.text);
    for (int i = 0; !failed && i < bench->net.n_tensors; i++) {
        const double far = distance(&bench->net.tensors[i], bench->parameters, oracle);
        if (!(far <= tolerance))
            failed = complain(comm, "\"%s\": '%s' is %g from the oracle, relative to its largest",
                              bench->run->name, bench->net.tensors[i].name, far);
    }
    for (int64_t i = 0; !failed && i < expected.n_steps; i++) {
        const double loss = (double)bench->record.step_loss[i], right = (double)expected.step_loss[i];
        if (!(fabs(loss - right) <= tolerance * fabs(right)))
            failed = complain(comm, "\"%s\": the loss of step %lld is %g, not nearly %g", bench->run->name,
                              (long long)i + 1, loss, right);
    }
    ls_free(oracle);
    return failed;
}

static int run_tolerance(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    struct ls_error err = {.code = LS_OK};
    int failed = 0;
    ls_ops_set_threads(2);
    for (int i = 0; !failed && i < N_RUNS; i++) {
        struct bench bench;
        if (runs[i].only_bits)
            continue;
        failed = bench_open(&bench, &runs[i], &err) != LS_OK
                     ? complain(comm, "\"%s\": %s", runs[i].name, err.text)
                     : check_near(comm, &bench);
        bench_release(&bench);
    }
    return failed;
}

const struct mpi_case matrix_cases[] = {{"matrix", run_matrix}, {"matrix-tolerance", run_tolerance}, {0}};
