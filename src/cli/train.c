/* lockstep train: from options to a run.  The loop is train/trainer.c, what it shows train_report.c. */
#include "cli/cli.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/input_options.h"
#include "cli/loss_options.h"
#include "cli/optimizer_options.h"
#include "cli/stop_options.h"
#include "cli/train_report.h"
#include "model/examples.h"

struct train_options {
    struct ls_session_options session;
    struct ls_input_options input;
    const char *data, *test_data, *net, *init, *save, *load, *log;
    int64_t batch, accumulate, microbatch, epochs, steps, eval_every, hash_every;
    struct ls_stop_options stop;
    float init_bias;
    struct ls_optimizer_options update;
    struct ls_loss_options loss;
    int shuffle, drop_last, allreduce, quiet, progress;
    uint64_t seed;
};

static const char *const on_off[] = {"off", "on", NULL};
static const char *const allreduces[] = {"tree", "mpi", NULL};
static const char *const progress_choices[] = {"off", "on", "auto", NULL};

/* Everything a run owns, so that one function frees it. */
struct job {
    struct train_options options;
    struct ls_session session;
    struct ls_data data;
    struct ls_net net;
    struct ls_init init;
    struct ls_train_config config;
    struct ls_model_facts facts;
    struct ls_train_report report;
    float *parameters;
};

static enum ls_code parse(struct train_options *o, int argc, char **argv, int *help, struct ls_error *err,
                          int print)
{
    *o = (struct train_options){.data = "digits",
                                .init = "he-uniform",
                                .batch = 0, /* not given: 64, or all of a smaller set */
                                .accumulate = 1,
                                .microbatch = LS_DEFAULT_MICROBATCH,
                                .epochs = -1,
                                .steps = -1,
                                .eval_every = 1,
                                .update = ls_optimizer_options_none,
                                .shuffle = 1,
                                .progress = 2,
                                .seed = 1};
    const double most = 1e9, big = 1e15;
    const struct ls_option options[] = {
        {"data", "SPEC", LS_OPTION_TEXT, &o->data,
         "what to train on: digits, fashion-mnist, idx:IMAGES,LABELS, "
         "synthetic:n=N,shape=AxB,classes=C,seed=S, or "
         "inline:X..=Y..;..",
         "digits", 0, 0, NULL, NULL},
        {"test-data", "SPEC", LS_OPTION_TEXT, &o->test_data,
         "test data for idx: and inline: data, as idx:IMAGES,LABELS or inline:...", "none", 0, 0, NULL, NULL},
        LS_INPUT_OPTIONS(&o->input),
        {"net", "LAYERS", LS_OPTION_TEXT, &o->net,
         "layers separated by commas, @FILE with one a line, or a name of 'lockstep info nets'",
         "mlp: dense 128, relu, dense with as many outputs as the data has classes", 0, 0, NULL, NULL},
        LS_LOSS_OPTIONS(&o->loss),
        {"batch", "N", LS_OPTION_INT, &o->batch,
         "samples in one update, over all ranks; all: the whole training set", "64, or all of a smaller set",
         1, most, NULL, "all"},
        {"microbatch", "N", LS_OPTION_INT, &o->microbatch,
         "samples in a leaf of the summation tree; part of the result, so not for tuning", "32", 1, 1 << 20,
         NULL, NULL},
        {"accumulate", "N", LS_OPTION_INT, &o->accumulate,
         "batches in an update, one after the other: memory for one of them; without batch norm the same "
         "bits as "
         "one batch of N times the size, when --batch is a power of two times --microbatch",
         "1", 1, 1e6, NULL, NULL},
        {"epochs", "N", LS_OPTION_INT, &o->epochs, "passes over the training data",
         "20, or no limit with --steps", 0, most, NULL, NULL},
        {"steps", "N", LS_OPTION_INT, &o->steps, "stop after so many updates", "no limit", 0, big, NULL,
         NULL},
        LS_OPTIMIZER_OPTIONS(&o->update),
        {"init", "NAME", LS_OPTION_TEXT, &o->init,
         "first weights: he-uniform, he-normal, xavier-uniform, xavier-normal, zeros, constant=X (biases "
         "too), "
         "normal=S and truncated-normal=S of deviation S, uniform=A within +-A",
         "he-uniform", 0, 0, NULL, NULL},
        {"init-bias", "X", LS_OPTION_FLOAT, &o->init_bias, "where biases start", "0", -1e30, 1e30, NULL,
         NULL},
        {"seed", "N", LS_OPTION_SEED, &o->seed, "of initialisation, shuffling and augmentation", "1", 0, 0,
         NULL, NULL},
        {"shuffle", "on|off", LS_OPTION_CHOICE, &o->shuffle, "a new keyed order of the samples each epoch",
         "on", 0, 0, on_off, NULL},
        {"drop-last", NULL, LS_OPTION_FLAG, &o->drop_last, "leave out an epoch's last batch when it is short",
         NULL, 0, 0, NULL, NULL},
        LS_STOP_OPTIONS(&o->stop),
        LS_SESSION_OPTIONS(&o->session),
        {"allreduce", "NAME", LS_OPTION_CHOICE, &o->allreduce,
         "tree: the exact sum; mpi: MPI_Allreduce, whose bits depend on the ranks, for comparison", "tree", 0,
         0, allreduces, NULL},
        {"eval-every", "N", LS_OPTION_INT, &o->eval_every,
         "epochs between evaluations of the test data; 0: never", "1", 0, most, NULL, NULL},
        {"hash-every", "N", LS_OPTION_INT, &o->hash_every,
         "steps between comparisons of all ranks' weights, each logged; they are always compared at an "
         "epoch's end",
         "0", 0, most, NULL, NULL},
        {"save", "FILE", LS_OPTION_TEXT, &o->save, "write the model there at the end, as safetensors",
         "not saved", 0, 0, NULL, NULL},
        {"load", "FILE", LS_OPTION_TEXT, &o->load,
         "start from this model's weights, and its net unless --net is given", "none", 0, 0, NULL, NULL},
        {"log", "FILE", LS_OPTION_TEXT, &o->log,
         "write one JSON object a line there: the run, each epoch, the end", "none", 0, 0, NULL, NULL},
        {"quiet", NULL, LS_OPTION_FLAG, &o->quiet, "print only the last epoch's line", NULL, 0, 0, NULL,
         NULL},
        {"progress", "on|off|auto", LS_OPTION_CHOICE, &o->progress,
         "a live line on stderr; auto: when that is a terminal and no mpirun is in between", "auto", 0, 0,
         progress_choices, NULL},
    };
    const struct ls_command_line line = {
        .command = "train",
        .synopsis = "lockstep train [OPTION ...]   or   mpirun -n RANKS lockstep train [OPTION ...]",
        .summary = "Trains a net by gradient descent. The result depends on the options that say "
                   "what to train; it "
                   "does not depend on ranks, threads, SIMD width or --serial, to the last bit.",
        .notes = "batch gradient descent is --batch all, stochastic gradient descent is --batch 1.\n"
                 "LOCKSTEP_ISA=portable|avx2|avx512 in the environment forces a SIMD width, LOCKSTEP_DATA "
                 "names a folder with\n"
                 "data sets.\n"
                 "exit status: 0 done; 2 usage; 3 a file, the data, memory or the network failed; 4 training "
                 "went non-finite\n"
                 "(--save then gets the last epoch's model); 5 replicas disagree.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    int n_words = 0;
    const char *words[1];
    o->loss = LS_LOSS_NOT_GIVEN;
    const enum ls_code code = ls_options_parse(&line, argc, argv, words, &n_words, help, err);
    if (code == LS_OK && *help && print)
        ls_options_help(&line, stdout);
    return code;
}

/* Every rank reads the data by itself; they must have read the same, or they would take different numbers of
 * steps. */
static enum ls_code open_data(struct job *job, struct ls_error *err)
{
    err->code = ls_data_open(&job->data, job->options.data, job->options.test_data, err);
    enum ls_code code = ls_comm_agree(job->session.comm, err);
    if (code == LS_OK && ls_comm_size(job->session.comm) > 1)
        code = ls_comm_compare_hashes(job->session.comm, ls_data_hash(&job->data),
                                      "the data read by each rank", err);
    return code;
}

/* The outputs that the data asks for; 0 when it says nothing. */
static ptrdiff_t outputs_of(const struct ls_dataset *train)
{
    const ptrdiff_t outputs = train->n_classes > 0 ? train->n_classes : train->n_values;
    return outputs == 1 && train->n_classes > 0 ? 2 : outputs;
}

static enum ls_code make_net(struct job *job, struct ls_error *err)
{
    const struct ls_dataset *train = &job->data.train;
    const struct ls_shape in = ls_shape_of(train->n_dims, train->dims);
    if (job->options.load && !job->options.net) {
        struct ls_model model;
        enum ls_code code = ls_model_load(&model, job->options.load, err);
        if (code == LS_OK)
            code = ls_net_create(&job->net, model.net.text, in, err);
        ls_model_release(&model);
        return code;
    }
    if (!job->options.net && outputs_of(train) < 1)
        return ls_fail(err, LS_USAGE, "--net: the data says nothing of outputs, so the net must be given");
    char *text = ls_net_text(job->options.net ? job->options.net : "mlp", outputs_of(train), err);
    const enum ls_code code = text ? ls_net_create(&job->net, text, in, err) : LS_USAGE;
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

static enum ls_code make_config(struct job *job, struct ls_error *err)
{
    const struct train_options *o = &job->options;
    const struct ls_dataset *train = &job->data.train;
    if (o->batch > train->n_samples)
        return ls_fail(
            err, LS_USAGE,
            "--batch %lld is more than the %lld training samples: give at most that, or --batch all",
            (long long)o->batch, (long long)train->n_samples);
    const int64_t default_epochs = o->steps >= 0 ? INT64_MAX : 20;
    job->config = (struct ls_train_config){
        .allreduce = (enum ls_allreduce)o->allreduce,
        .batch = chosen_batch(o->batch, train->n_samples),
        .accumulate = o->accumulate,
        .microbatch = o->microbatch,
        .epochs = o->epochs >= 0 ? o->epochs : default_epochs,
        .steps = o->steps,
        .seed = o->seed,
        .shuffle = o->shuffle,
        .drop_last = o->drop_last,
        .eval_every = o->eval_every,
        .hash_every = o->hash_every,
    };
    enum ls_code code = ls_optimizer_options_apply(&o->update, &job->config, err);
    if (code == LS_OK)
        code = ls_stop_options_apply(&o->stop, &job->data, &job->config, err);
    if (code == LS_OK)
        code = ls_init_parse(&job->init, o->init, err);
    job->init.bias = o->init_bias;
    if (code == LS_OK)
        code = ls_input_prepare(&o->input, o->load, &job->data, &job->config.augment, err);
    job->config.augment.seed = o->seed;
    if (code == LS_OK)
        code = ls_loss_options_rule(&job->config.loss, &o->loss, train, err);
    return code == LS_OK ? ls_check_fit(&job->net, job->config.loss.kind, train, err) : code;
}

static enum ls_code make_parameters(struct job *job, struct ls_error *err)
{
    job->parameters = ls_alloc((size_t)job->net.n_floats, sizeof(float), "parameters", err);
    if (!job->parameters)
        return LS_FAILED;
    if (job->options.load)
        return ls_model_load_parameters(job->options.load, &job->net, job->parameters, err);
    ls_net_initialise(&job->net, &job->init, job->options.seed, job->parameters);
    return LS_OK;
}

/* The part of the run that belongs to its result, as text: in the saved model and in the log. */
static void collect_facts(struct job *job)
{
    const struct ls_train_config *c = &job->config;
    struct ls_model_facts *facts = &job->facts;
    ls_model_facts_add(facts, "data", "%s", job->options.data);
    ls_model_facts_add(facts, "train_samples", "%lld", (long long)job->data.train.n_samples);
    ls_input_facts(&job->data.train, &c->augment, facts);
    ls_model_facts_add(facts, "batch", "%lld", (long long)c->batch);
    if (c->accumulate > 1)
        ls_model_facts_add(facts, "accumulate", "%lld", (long long)c->accumulate);
    ls_model_facts_add(facts, "microbatch", "%lld", (long long)c->microbatch);
    ls_optimizer_facts(&job->options.update, c, facts);
    ls_model_facts_add(facts, "init", "%s", job->options.load ? "loaded" : job->options.init);
    ls_model_facts_add(facts, "seed", "%llu", (unsigned long long)c->seed);
    ls_model_facts_add(facts, "shuffle", "%s", on_off[c->shuffle]);
    ls_model_facts_add(facts, "drop_last", "%s", c->drop_last ? "yes" : "no");
    if (job->options.init_bias != 0.0f) {
        char bias[LS_FLOAT_TEXT];
        ls_model_facts_add(facts, "init_bias", "%s", ls_text_of_float(job->options.init_bias, bias));
    }
    ls_stop_facts(&job->options.stop, facts);
}

static void collect_results(struct job *job, const struct ls_train_result *result)
{
    struct ls_model_facts *facts = &job->facts;
    char number[LS_FLOAT_TEXT];
    ls_model_facts_add(facts, "steps", "%lld", (long long)result->good_step);
    ls_stop_result_facts(&job->config, result, facts);
    if (job->config.keep_best && result->good_step != result->steps)
        return; /* what follows is of the last step */
    if (result->last.epoch > 0)
        ls_model_facts_add(facts, "train_loss", "%s", ls_text_of_float(result->last.loss, number));
    if (result->last.evaluated) {
        ls_model_facts_add(facts, "test_loss", "%s", ls_text_of_float(result->last.test.loss, number));
        if (result->last.test.n_correct >= 0)
            ls_model_facts_add(facts, "test_correct", "%lld of %lld", (long long)result->last.test.n_correct,
                               (long long)result->last.test.n_samples);
    }
}

/* Two names of one file, as far as it exists. */
static int same_file(const char *a, const char *b)
{
    struct stat first, second;
    return strcmp(a, b) == 0 || (stat(a, &first) == 0 && stat(b, &second) == 0 &&
                                 first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

/* Rank 0 makes sure that what it will write can be written, and goes where nothing else goes. */
static enum ls_code open_outputs(struct job *job, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    if (ls_comm_rank(job->session.comm) != 0)
        return code;
    const struct train_options *o = &job->options;
    if (o->log && o->save && same_file(o->log, o->save))
        return ls_fail(err, LS_USAGE, "--log and --save both name '%s': give two files", o->log);
    if (o->log && o->load && same_file(o->log, o->load))
        return ls_fail(err, LS_USAGE, "--log would overwrite the model of --load, '%s'", o->load);
    if (job->options.save)
        code = ls_model_can_save(job->options.save, err);
    if (code == LS_OK && job->options.log)
        code = ls_train_report_open_log(&job->report, job->options.log, &job->net, err);
    return code;
}

static int show_progress(const struct job *job)
{
    const struct train_options *o = &job->options;
    return !o->quiet &&
           (o->progress == 1 || (o->progress == 2 && isatty(2) && ls_comm_size(job->session.comm) == 1));
}

/* Everything that the ranks must have alike besides data and parameters: with different batches they would
 * wait for different messages.  What belongs to the result is in the facts, exactly. */
static struct ls_hash hash_of_options(const struct job *job)
{
    const struct ls_train_config *c = &job->config;
    const struct ls_hash net = ls_hash_bytes(job->net.text, strlen(job->net.text));
    struct ls_model_facts same = job->facts; /* nodes may keep the data in different places */
    memset(&same.fact[0], 0, sizeof same.fact[0]);
    const struct ls_hash loss = ls_loss_rule_hash(&c->loss);
    const struct ls_hash facts = ls_hash_bytes(&same, sizeof same);
    const int64_t numbers[] = {(int64_t)net.high,     (int64_t)net.low,   (int64_t)facts.high,
                               (int64_t)facts.low,    (int64_t)loss.high, (int64_t)loss.low,
                               (int64_t)c->allreduce, c->epochs,          c->steps,
                               c->eval_every,         c->hash_every,      job->options.load != NULL};
    return ls_hash_bytes(numbers, sizeof numbers);
}

static enum ls_code prepare(struct job *job, struct ls_comm *comm, struct ls_error *err)
{
    enum ls_code code = ls_session_start(&job->session, &job->options.session, comm, err);
    if (code == LS_OK)
        code = open_data(job, err);
    if (code != LS_OK)
        return code;
    err->code = make_net(job, err);
    if (err->code == LS_OK)
        err->code = make_config(job, err);
    if (err->code == LS_OK)
        err->code = make_parameters(job, err);
    if (err->code == LS_OK)
        collect_facts(job);
    if ((code = ls_comm_agree(comm, err)) != LS_OK)
        return code;
    code = ls_comm_compare_hashes(comm, hash_of_options(job), "the options (as hashes)", err);
    if (code != LS_OK)
        return code;
    struct ls_hash hash;
    err->code = ls_net_hash(&job->net, job->parameters, &hash, err);
    if ((code = ls_comm_agree(comm, err)) == LS_OK)
        code = ls_comm_compare_hashes(comm, hash, "the first parameters", err);
    if (code != LS_OK)
        return code;
    err->code = open_outputs(job, err); /* last: a run that cannot start leaves no empty log */
    return ls_comm_agree(comm, err);
}

/* Trains, then writes the model: also after divergence, when the parameters are those of the last good epoch.
 */
static enum ls_code run(struct job *job, struct ls_error *err)
{
    struct ls_comm *comm = job->session.comm;
    const int first = ls_comm_rank(comm) == 0;
    struct ls_train_report *report = &job->report;
    report->session = &job->session;
    report->config = &job->config;
    report->net = &job->net;
    report->data = &job->data;
    report->facts = &job->facts;
    report->init_text = job->options.init;
    report->quiet = job->options.quiet;
    report->progress = show_progress(job);
    if (first)
        ls_train_report_start(report);
    enum ls_code code =
        ls_session_warn(&job->session, ls_count_leaves(job->config.batch, job->config.microbatch), err);
    if (code != LS_OK)
        return code;
    const struct ls_observer observer = {.context = report,
                                         .on_step = ls_train_report_step,
                                         .on_check = ls_train_report_check,
                                         .on_epoch = ls_train_report_epoch};
    struct ls_train_result result;
    code = ls_train(&job->config, &job->net, job->session.ops, comm, &job->data, job->parameters,
                    first ? &observer : NULL, &result, err);
    if (code != LS_OK && code != LS_NONFINITE)
        return code;
    struct ls_error ending = {.code = LS_OK};
    if (first) {
        collect_results(job, &result);
        if (job->options.save)
            ending.code = ls_model_save(job->options.save, &job->net, &job->config.loss, job->parameters,
                                        &job->facts, &ending);
        if (ending.code == LS_OK)
            ending.code = ls_train_report_end(report, code, err->text, &result, &ending);
        if (ending.code == LS_OK && job->options.save && !job->options.quiet)
            printf("saved the model of step %lld to '%s'\n", (long long)result.good_step, job->options.save);
    }
    if (ls_comm_agree(comm, &ending) != LS_OK)
        *err = ending;
    else
        err->code = code;
    return err->code;
}

enum ls_code ls_command_train(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct job job = {0};
    int help = 0;
    enum ls_code code = parse(&job.options, argc, argv, &help, err, ls_comm_rank(comm) == 0);
    err->code = code;
    code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    code = prepare(&job, comm, err);
    if (code == LS_OK)
        code = run(&job, err);
    ls_train_report_release(&job.report);
    ls_free(job.parameters);
    ls_loss_rule_release(&job.config.loss);
    ls_net_release(&job.net);
    ls_data_release(&job.data);
    return code;
}
