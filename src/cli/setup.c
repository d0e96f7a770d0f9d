/* Owns the way from options to a run's data, net, configuration and first parameters. */
#include "cli/setup.h"

#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/numbers.h"
#include "base/text.h"
#include "cli/data_check.h"
#include "compute/placement.h"
#include "model/examples.h"

const char *const ls_allreduce_names[] = {"tree", "mpi", NULL};

const struct ls_setup_options ls_setup_options_none = {.data = "digits",
                                                       .check_data = LS_CHECK_AUTO,
                                                       .init = "he-uniform",
                                                       .batch = 0, /* 64, or all of a smaller set */
                                                       .accumulate = 1,
                                                       .microbatch = LS_DEFAULT_MICROBATCH,
                                                       .update = LS_OPTIMIZER_OPTIONS_NONE,
                                                       .loss = {.loss = -1},
                                                       .input = {.scale = -1},
                                                       .shuffle = 1,
                                                       .overlap = 1,
                                                       .bucket_bytes = 1 << 20,
                                                       .seed = 1};

/* The file that net, normalisation and first parameters come from, where options do not say them; or NULL. */
static const char *first_model(const struct ls_setup_options *o)
{
    return o->resume ? o->resume : o->load;
}

/* What a model stores of the data's classes and features, as text. */
static enum ls_code describe_data(struct ls_setup *setup, struct ls_error *err)
{
    const struct ls_data *data = &setup->data;
    const struct ls_features *inputs = &data->inputs;
    if (data->classes.n > 0 && !(setup->class_names = ls_class_names_to_json(&data->classes, err)))
        return LS_FAILED;
    if (inputs->names.n > 0 && !(setup->input_names = ls_class_names_to_json(&inputs->names, err)))
        return LS_FAILED;
    if (inputs->n_means > 0 && !(setup->input_means = ls_numbers_to_text(inputs->n_means, inputs->means,
                                                                         "means of input columns", err)))
        return LS_FAILED;
    return LS_OK;
}

/* A model to start from knows its classes and features; they are the data's then. */
static enum ls_code read_data(struct ls_setup *setup, const struct ls_setup_options *o, struct ls_error *err)
{
    const char *first = first_model(o);
    struct ls_safetensors *file = NULL;
    struct ls_class_names classes = {.n = 0};
    struct ls_features inputs = {.n_means = 0};
    enum ls_code code = first ? ls_safetensors_open(&file, first, err) : LS_OK;
    if (code == LS_OK && first)
        code = ls_model_read_classes(file, first, &classes, err);
    if (code == LS_OK && first)
        code = ls_model_read_inputs(file, first, &inputs, err);
    ls_safetensors_close(&file);
    const struct ls_data_use use = {.classes = &classes,
                                    .trained = ls_features_any(&inputs) ? &inputs : NULL};
    if (code == LS_OK)
        code = ls_data_open_for(&setup->data, o->data, o->test_data, &use, err);
    if (code == LS_OK)
        ls_features_complete(&setup->data.inputs, &inputs, setup->data.train.n_features);
    ls_class_names_release(&classes);
    ls_features_release(&inputs);
    return code == LS_OK ? describe_data(setup, err) : code;
}

/* Every rank reads the data by itself; they must have read the same, or they would take different numbers of
 * steps. */
static enum ls_code open_data(struct ls_setup *setup, const struct ls_setup_options *o, struct ls_error *err)
{
    err->code = read_data(setup, o, err);
    enum ls_code code = ls_comm_agree(setup->session.comm, err);
    if (code == LS_OK)
        code =
            ls_check_data_of_ranks(&setup->data, (enum ls_check_data)o->check_data, setup->session.comm, err);
    if (code == LS_OK)
        ls_data_expect(&setup->data, o->shuffle == 1);
    return code;
}

/* Which part of the data is for what, the same on all ranks. */
static enum ls_code split_data(struct ls_setup *setup, const struct ls_setup_options *o, struct ls_error *err)
{
    struct ls_split *split = &setup->split;
    err->code = ls_split_options_read(split, &o->split, o->seed, o->folds > 0, err);
    if (err->code == LS_OK && split->n_parts > 0) {
        setup->data_hash = ls_dataset_hash(&setup->data.train);
        err->code = ls_data_split(&setup->data, split, err);
    }
    return ls_comm_agree(setup->session.comm, err);
}

/* Features are measured by all ranks together, so these must mean the same thing first. */
static enum ls_code scale_data(struct ls_setup *setup, const struct ls_setup_options *o, struct ls_error *err)
{
    struct ls_comm *comm = setup->session.comm;
    const struct ls_split *split = &setup->split;
    const struct ls_hash text = ls_hash_bytes(split->text, strlen(split->text));
    const uint64_t asked[] = {(uint64_t)o->input.scale,
                              o->input.normalise != NULL,
                              o->load != NULL,
                              text.high,
                              text.low,
                              split->seed,
                              (uint64_t)split->stratify,
                              (uint64_t)o->folds,
                              (uint64_t)setup->data.train.n_samples};
    const enum ls_code code =
        ls_comm_compare_hashes(comm, ls_hash_bytes(asked, sizeof asked),
                               "--scale, --normalise, --load, --split and --folds (as hashes)", err);
    return code == LS_OK
               ? ls_input_scale(&o->input, first_model(o), &setup->data, setup->session.ops, comm, err)
               : code;
}

/* Measuring may have read all of the data, so a file that cannot be read shows now. */
static enum ls_code scale_and_check(struct ls_setup *setup, const struct ls_setup_options *o,
                                    struct ls_error *err)
{
    const enum ls_code code = scale_data(setup, o, err);
    if (code != LS_OK)
        return code;
    err->code = ls_dataset_failed(&setup->data.train, err);
    return ls_comm_agree(setup->session.comm, err);
}

enum ls_code ls_setup_open(struct ls_setup *setup, const struct ls_setup_options *options,
                           struct ls_comm *comm, struct ls_error *err)
{
    *setup = (struct ls_setup){0};
    enum ls_code code = ls_session_start(&setup->session, &options->session, comm, err);
    if (code == LS_OK)
        code = open_data(setup, options, err);
    if (code == LS_OK)
        code = split_data(setup, options, err);
    return code == LS_OK && options->folds == 0 ? scale_and_check(setup, options, err) : code;
}

enum ls_code ls_setup_fold(struct ls_setup *setup, const struct ls_setup_options *options, int64_t k,
                           struct ls_error *err)
{
    const struct ls_split *split = &setup->split;
    err->code = ls_data_fold(&setup->data, options->folds, k, split->stratify, split->seed, err);
    const enum ls_code code = ls_comm_agree(setup->session.comm, err);
    return code == LS_OK ? scale_and_check(setup, options, err) : code;
}

void ls_setup_release(struct ls_setup *setup)
{
    ls_loss_rule_release(&setup->config.loss);
    ls_free(setup->parameters);
    ls_free(setup->class_names);
    ls_free(setup->input_names);
    ls_free(setup->input_means);
    ls_net_release(&setup->net);
    ls_data_release(&setup->data);
}

/* The outputs that the data asks for; 0 when it says nothing. */
static ptrdiff_t outputs_of(const struct ls_dataset *train)
{
    const ptrdiff_t outputs = train->n_classes > 0 ? train->n_classes : train->n_values;
    return outputs == 1 && train->n_classes > 0 ? 2 : outputs;
}

enum ls_code ls_setup_net(struct ls_setup *setup, const struct ls_setup_options *o, struct ls_error *err)
{
    const struct ls_dataset *train = &setup->data.train;
    const struct ls_shape in = ls_shape_of(train->n_dims, train->dims);
    if (first_model(o) && !o->net) {
        struct ls_model model;
        enum ls_code code = ls_model_load(&model, first_model(o), err);
        if (code == LS_OK)
            code = ls_net_create(&setup->net, model.net.text, in, err);
        ls_model_release(&model);
        return code;
    }
    if (!o->net && outputs_of(train) < 1)
        return ls_fail(err, LS_USAGE, "--net: the data says nothing of outputs, so the net must be given");
    char *text = ls_net_text(o->net ? o->net : "mlp", outputs_of(train), err);
    const enum ls_code code = text ? ls_net_create(&setup->net, text, in, err) : LS_USAGE;
    ls_free(text);
    return code;
}

static int64_t chosen_batch(int64_t given, int64_t n_samples)
{
    const int64_t usual = 64;
    if (given > 0)
        return given;
    return given == 0 && usual < n_samples ? usual : n_samples;
}

enum ls_code ls_setup_config(struct ls_setup *setup, const struct ls_setup_options *o, struct ls_error *err)
{
    const struct ls_dataset *train = &setup->data.train;
    if (o->batch > train->n_samples)
        return ls_fail(
            err, LS_USAGE,
            "--batch %lld is more than the %lld training samples: give at most that, or --batch all",
            (long long)o->batch, (long long)train->n_samples);
    if (o->shuffle_block > 0 && o->shuffle != LS_SHUFFLE_BLOCKS)
        return ls_fail(err, LS_USAGE, "--shuffle-block means nothing without --shuffle blocks: give both");
    const int64_t update = chosen_batch(o->batch, train->n_samples) * o->accumulate;
    if (o->drop_last && update > train->n_samples)
        return ls_fail(
            err, LS_USAGE,
            "--drop-last leaves nothing: an update takes %lld samples, there are %lld training samples",
            (long long)update, (long long)train->n_samples);
    setup->config = (struct ls_train_config){
        .allreduce = (enum ls_allreduce)o->allreduce,
        .bucket_bytes = o->overlap ? o->bucket_bytes : 0,
        .shard_optimizer = o->shard_optimizer,
        .batch = chosen_batch(o->batch, train->n_samples),
        .accumulate = o->accumulate,
        .microbatch = o->microbatch,
        .seed = o->seed,
        .shuffle = o->shuffle,
        .shuffle_block = o->shuffle_block > 0 ? o->shuffle_block : LS_DEFAULT_SHUFFLE_BLOCK,
        .drop_last = o->drop_last,
    };
    enum ls_code code = ls_optimizer_options_apply(&o->update, &setup->config, err);
    if (code == LS_OK && o->shard_optimizer && !ls_optimizer_takes_slices(&setup->config.optimizer))
        return ls_fail(
            err, LS_USAGE,
            "--shard-optimizer does not take --optimizer %s, whose rate follows from norms of whole "
            "tensors: take sgd, adagrad, rmsprop, adam or adamw, or leave it out",
            ls_optimizer_names[setup->config.optimizer.kind]);
    if (code == LS_OK)
        code = ls_init_parse(&setup->init, o->init, err);
    setup->init.bias = o->init_bias;
    if (code == LS_OK)
        code = ls_input_prepare(&o->input, first_model(o), &setup->data, &setup->config.augment, err);
    setup->config.augment.seed = o->seed;
    if (code == LS_OK)
        code = ls_loss_options_rule(&setup->config.loss, &o->loss, train, err);
    return code == LS_OK ? ls_check_fit(&setup->net, setup->config.loss.kind, train, err) : code;
}

enum ls_code ls_setup_parameters(struct ls_setup *setup, const struct ls_setup_options *o,
                                 struct ls_error *err)
{
    setup->parameters = ls_alloc((size_t)setup->net.n_floats, sizeof(float), "parameters", err);
    if (!setup->parameters)
        return LS_FAILED;
    ls_place(setup->parameters, (size_t)setup->net.n_floats * sizeof(float));
    if (first_model(o))
        return ls_model_load_parameters(first_model(o), &setup->net, setup->parameters, err);
    ls_net_initialise(&setup->net, &setup->init, o->seed, setup->parameters);
    return LS_OK;
}

void ls_setup_facts(const struct ls_setup *setup, const struct ls_setup_options *o,
                    struct ls_model_facts *facts)
{
    const struct ls_train_config *c = &setup->config;
    ls_model_facts_add(facts, "data", "%s", o->data);
    ls_model_facts_add(facts, "train_samples", "%lld", (long long)setup->data.train.n_samples);
    if (setup->class_names)
        ls_model_facts_add_long(facts, "class_names", setup->class_names);
    if (setup->input_names)
        ls_model_facts_add_long(facts, "input_names", setup->input_names);
    if (setup->input_means)
        ls_model_facts_add_long(facts, "input_means", setup->input_means);
    ls_split_facts(&setup->split, setup->data_hash, facts);
    ls_input_facts(&setup->data, &c->augment, facts);
    const int batches = o->update.optimizer != LS_RANDOM_SEARCH;
    if (batches)
        ls_model_facts_add(facts, "batch", "%lld", (long long)c->batch);
    if (c->accumulate > 1)
        ls_model_facts_add(facts, "accumulate", "%lld", (long long)c->accumulate);
    ls_model_facts_add(facts, "microbatch", "%lld", (long long)c->microbatch);
    ls_optimizer_facts(&o->update, c, facts);
    ls_model_facts_add(facts, "init", "%s", o->load ? "loaded" : o->init);
    ls_model_facts_add(facts, "seed", "%llu", (unsigned long long)c->seed);
    if (batches) {
        ls_model_facts_add(facts, "shuffle", "%s", ls_shuffle_names[c->shuffle]);
        if (c->shuffle == LS_SHUFFLE_BLOCKS)
            ls_model_facts_add(facts, "shuffle_block", "%lld", (long long)c->shuffle_block);
        ls_model_facts_add(facts, "drop_last", "%s", c->drop_last ? "yes" : "no");
    }
    if (o->init_bias != 0.0f) {
        char bias[LS_FLOAT_TEXT];
        ls_model_facts_add(facts, "init_bias", "%s", ls_text_of_float(o->init_bias, bias));
    }
}

static struct ls_hash hash_of_options(const struct ls_setup *setup, const struct ls_setup_options *o,
                                      const struct ls_model_facts *facts, int n_numbers,
                                      const int64_t *numbers)
{
    const struct ls_hash net = ls_hash_bytes(setup->net.text, strlen(setup->net.text));
    const int where = 0; /* nodes may keep the data in different places */
    const struct ls_hash loss = ls_loss_rule_hash(&setup->config.loss);
    const struct ls_hash told = ls_model_facts_hash(facts, where);
    const struct ls_hash own = ls_hash_bytes(numbers, (size_t)n_numbers * sizeof *numbers);
    const uint64_t all[] = {net.high,
                            net.low,
                            told.high,
                            told.low,
                            own.high,
                            own.low,
                            loss.high,
                            loss.low,
                            (uint64_t)setup->config.allreduce,
                            (uint64_t)setup->config.bucket_bytes,
                            (uint64_t)setup->config.shard_optimizer,
                            o->load != NULL};
    return ls_hash_bytes(all, sizeof all);
}

enum ls_code ls_setup_compare(const struct ls_setup *setup, const struct ls_setup_options *options,
                              const struct ls_model_facts *facts, int n_numbers, const int64_t *numbers,
                              struct ls_error *err)
{
    struct ls_comm *comm = setup->session.comm;
    enum ls_code code = ls_comm_compare_hashes(
        comm, hash_of_options(setup, options, facts, n_numbers, numbers), "the options (as hashes)", err);
    if (code != LS_OK)
        return code;
    struct ls_hash hash;
    err->code = ls_net_hash(&setup->net, setup->parameters, &hash, err);
    if ((code = ls_comm_agree(comm, err)) == LS_OK)
        code = ls_comm_compare_hashes(comm, hash, "the first parameters", err);
    return code;
}
