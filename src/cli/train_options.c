/* Owns the words of lockstep train.  See train_options.h. */
#include "cli/train_options.h"

#include "base/contract.h"

static const char *const progress_choices[] = {"off", "on", "auto", NULL};

/* The options on the command line, over those of the checkpoint when one is open. */
static enum ls_code parse_over(struct ls_train_options *o, struct ls_checkpoint_source *source,
                               struct ls_configuration *configuration, struct ls_command_line *line, int argc,
                               char **argv, int *help, int print, struct ls_error *err)
{
    struct ls_option_values defaults, stored;
    const int resumes = source->file != NULL;
    int n_words = 0;
    const char *words[1];
    ls_options_values(line, &defaults);
    line->defaults = &defaults;
    enum ls_code code = resumes ? ls_resume_set_options(line, source, err) : LS_OK;
    if (code != LS_OK)
        return code;
    ls_options_values(line, &stored);
    o->old_epochs = o->epochs;
    o->old_steps = o->steps;
    code = ls_options_parse(line, argc, argv, words, &n_words, print ? stdout : NULL, help, err);
    if (code != LS_OK || *help)
        return code;
    if (o->stop.keep.number > 0) /* --keep K */
        o->checkpoint.keep = o->stop.keep.number;
    ls_options_values(line, &configuration->values);
    ls_configuration_record(configuration, &defaults);
    if (resumes)
        o->setup.resume = source->path.text;
    return resumes && !o->checkpoint.with_changes
               ? ls_resume_check_options(&stored, &configuration->values, err)
               : LS_OK;
}

enum ls_code ls_train_options_read(struct ls_train_options *o, struct ls_checkpoint_source *source,
                                   struct ls_configuration *configuration, int argc, char **argv, int *help,
                                   int print, struct ls_error *err)
{
    *o = (struct ls_train_options){.setup = ls_setup_options_none,
                                   .epochs = -1,
                                   .steps = -1,
                                   .eval_every = 1,
                                   .faults = LS_FAULT_OPTIONS_DEFAULT,
                                   .checkpoint = {.keep = 2},
                                   .progress = 2};
    const double most = 1e9, big = 1e15;
    const struct ls_option options[] = {
        LS_DATA_AND_NET_OPTIONS(&o->setup),
        {"folds", "K", LS_OPTION_INT, &o->setup.folds,
         "cross-validation: train K times, each time without one of K parts, which then judges the model",
         "none", 2, 1e6, NULL, NULL},
        {"epochs", "N", LS_OPTION_INT, &o->epochs, "passes over the training data",
         "20, or no limit with --steps", 0, most, NULL, NULL},
        {"steps", "N", LS_OPTION_INT, &o->steps,
         "stop after so many updates; with --epochs, schedules still fill those", "no limit", 0, big, NULL,
         NULL},
        LS_OPTIMIZER_OPTIONS(&o->setup.update),
        LS_START_OPTIONS(&o->setup),
        LS_STOP_OPTIONS(&o->stop),
        LS_SESSION_OPTIONS(&o->setup.session),
        LS_ALLREDUCE_OPTION(&o->setup),
        {"eval-every", "N", LS_OPTION_INT, &o->eval_every,
         "epochs between evaluations of the validation or test data; 0: never", "1", 0, most, NULL, NULL},
        {"hash-every", "N", LS_OPTION_INT, &o->hash_every,
         "steps between comparisons of all ranks' weights, each logged; they are always compared at an "
         "epoch's end",
         "0", 0, most, NULL, NULL},
        LS_FAULT_OPTIONS(&o->faults),
        {"save", "FILE", LS_OPTION_TEXT, &o->save, "write the model there at the end, as safetensors",
         "not saved", 0, 0, NULL, NULL},
        LS_CHECKPOINT_OPTIONS(&o->checkpoint),
        {"load", "FILE", LS_OPTION_TEXT, &o->setup.load,
         "start from this model's weights, and its net unless --net is given", "none", 0, 0, NULL, NULL},
        {"log", "FILE", LS_OPTION_TEXT, &o->log,
         "write one JSON object a line there: the run, each epoch, the end", "none", 0, 0, NULL, NULL},
        {"quiet", NULL, LS_OPTION_FLAG, &o->quiet, "print only the last epoch's line", NULL, 0, 0, NULL,
         NULL},
        {"progress", "on|off|auto", LS_OPTION_CHOICE, &o->progress,
         "a live line on stderr; auto: when that is a terminal and no mpirun is in between", "auto", 0, 0,
         progress_choices, NULL},
    };
    struct ls_command_line line = {
        .command = "train",
        .synopsis = "lockstep train [OPTION ...]   or   mpirun -n RANKS lockstep train [OPTION ...]",
        .summary = "Trains a net by gradient descent. The result depends on the options that say "
                   "what to train; it "
                   "does not depend on ranks, threads, SIMD width or --serial, to the last bit.",
        .notes =
            "--no-NAME takes an option back: one given before it, or one that a checkpoint of --resume "
            "holds.\n"
            "batch gradient descent is --batch all, stochastic gradient descent is --batch 1.\n"
            "LOCKSTEP_ISA=portable|avx2|avx512 in the environment forces a SIMD width, LOCKSTEP_DATA "
            "names a folder with\n"
            "data sets.\n"
            "exit status: 0 done; 2 usage; 3 a file, the data, memory or the network failed; 4 training "
            "went non-finite\n"
            "(--save then gets the last epoch's model); 5 replicas disagree; 6 SIGINT, SIGTERM or SIGUSR1 on "
            "any "
            "rank: training\n"
            "ended after a whole step, which is in a checkpoint, or without --checkpoint in the model of "
            "--save.\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    return parse_over(o, source, configuration, &line, argc, argv, help, print, err);
}

/* Cross-validation gives numbers, no model, and lets nothing see the samples that judge. */
enum ls_code ls_train_options_for_folds(const struct ls_train_options *o, struct ls_error *err)
{
    static const char no_model[] = "it trains many models and keeps none";
    static const char no_looks[] = "a look at the fold's samples would choose the model that they judge";
    const struct {
        const char *name;
        int given;
        const char *why;
    } refused[] = {
        {"save", o->save != NULL, no_model},
        {"split", o->setup.split.split != NULL, "the folds are the split"},
        {"test-data", o->setup.test_data != NULL, "each fold is the test data of one training"},
        {"load", o->setup.load != NULL, "a model that knows the samples cannot be judged by them"},
        {"eval-every", o->eval_every != 1, no_looks},
        {"check-every", o->stop.check_every > 0, no_looks},
        {"stop-at", o->stop.stop_at != NULL, no_looks},
        {"patience", o->stop.patience > 0, no_looks},
        {"monitor", o->stop.monitor, no_looks},
        {"keep", o->stop.keep.choice != 0 || o->stop.keep.number > 0, no_looks},
        {"gradient-tolerance", o->stop.gradient_tolerance > 0, "all trainings have one length"},
        {"max-time", o->stop.max_time > 0, "all trainings have one length"},
        {"checkpoint", o->checkpoint.folder != NULL, no_model},
        {"checkpoint-every", o->checkpoint.every != NULL, no_model},
        {"resume", o->checkpoint.resume != NULL, no_model},
        {"optimizer random-search", o->setup.update.optimizer == LS_RANDOM_SEARCH, "it makes no updates"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (refused[i].given)
            return ls_fail(err, LS_USAGE, "--%s does not go with --folds: %s", refused[i].name,
                           refused[i].why);
    return LS_OK;
}

/* Random search has no updates, batches or looks: what speaks of them is refused by name. */
enum ls_code ls_train_options_for_search(const struct ls_train_options *o, struct ls_error *err)
{
    const struct ls_setup_options *s = &o->setup;
    const struct {
        const char *name;
        int given;
    } refused[] = {
        {"epochs", o->epochs >= 0},
        {"steps", o->steps >= 0},
        {"batch", s->batch != 0},
        {"accumulate", s->accumulate != 1},
        {"shuffle", s->shuffle != LS_SHUFFLE_ON},
        {"shuffle-block", s->shuffle_block != 0},
        {"drop-last", s->drop_last},
        {"augment", s->input.augment != NULL},
        {"eval-every", o->eval_every != 1},
        {"hash-every", o->hash_every != 0},
        {"cross-check", o->faults.cross_check != 0},
        {"shard-optimizer", s->shard_optimizer},
        {"stop-at", o->stop.stop_at != NULL},
        {"patience", o->stop.patience > 0},
        {"monitor", o->stop.monitor},
        {"check-every", o->stop.check_every > 0},
        {"gradient-tolerance", o->stop.gradient_tolerance > 0},
        {"max-time", o->stop.max_time > 0},
        {"keep", o->stop.keep.choice != 0},
        {"checkpoint", o->checkpoint.folder != NULL},
        {"resume", o->checkpoint.resume != NULL},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (refused[i].given)
            return ls_fail(
                err, LS_USAGE,
                "--%s means nothing to --optimizer random-search, which makes no updates: give --trials",
                refused[i].name);
    return LS_OK;
}

int64_t ls_train_epochs(int64_t epochs, int64_t steps)
{
    return epochs >= 0 ? epochs : steps >= 0 ? INT64_MAX : 20;
}
