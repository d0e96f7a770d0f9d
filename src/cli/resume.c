/* Owns which options belong to a run's result. */
#include "cli/resume.h"

#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* What is not in the lists belongs to the result: an option that nobody thought of here is refused rather
 * than let through. */
static const char *const of_the_machine[] = {"folds",
                                             "threads",
                                             "serial",
                                             "pin",
                                             "save",
                                             "log",
                                             "quiet",
                                             "progress",
                                             "checkpoint",
                                             "resume",
                                             "max-time",
                                             "stall-timeout",
                                             "cross-check",
                                             "overlap",
                                             "bucket-bytes",
                                             "resume-with-changes",
                                             "shard-optimizer",
                                             NULL};
/* Carried, and free to change; what is read as data and net is compared itself, lengths where they matter. */
static const char *const free_to_change[] = {"data",   "test-data", "checkpoint-every", "keep-checkpoints",
                                             "epochs", "steps",     "hash-every",       "check-data",
                                             NULL};
/* Judged by what they come to in the model's metadata, not by their text: several texts mean the same, one
 * of them often nothing given. */
static const char *const by_meaning[] = {"batch",
                                         "lr",
                                         "momentum",
                                         "weight-decay",
                                         "beta1",
                                         "beta2",
                                         "alpha",
                                         "epsilon",
                                         "trust",
                                         "clip-norm",
                                         "clip-value",
                                         "ema",
                                         "schedule",
                                         "warmup",
                                         "normalise",
                                         "scale",
                                         "augment",
                                         "shuffle-block",
                                         "loss",
                                         "label-smoothing",
                                         "huber-delta",
                                         "normalize",
                                         "trust-skips-vectors",
                                         "class-weights",
                                         "split-seed",
                                         "stratify",
                                         NULL};
/* Keys of metadata that are no option's name with '_' for '-'. */
static const char *const other_names[][2] = {
    {"learning_rate", "lr"}, {"scaled_lr_from_batch", "scale-lr-to"}, {"train_samples", "data"}};

static int is_among(const char *name, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            return 1;
    return 0;
}

static int same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The net is in the model's metadata, all of it, where the option may be the name of a file. */
static int is_carried(const char *name)
{
    return !is_among(name, of_the_machine) && strcmp(name, "net") != 0;
}

void ls_configuration_record(struct ls_configuration *configuration, const struct ls_option_values *defaults)
{
    const struct ls_option_values *now = &configuration->values;
    configuration->n = 0;
    for (int i = 0; i < now->n; i++) {
        const char *name = now->option[i].name, *text = now->option[i].text;
        if (!text || !is_carried(name) || same_text(text, defaults->option[i].text))
            continue;
        char *key = configuration->keys[i];
        snprintf(key, sizeof configuration->keys[i], "option.%s", name);
        configuration->metadata[configuration->n++] = (struct ls_metadata){key, text};
    }
}

void ls_configuration_add_data(struct ls_configuration *configuration, struct ls_hash hash)
{
    ls_hash_text(hash, configuration->data_hash);
    configuration->metadata[configuration->n++] = (struct ls_metadata){"data_hash", configuration->data_hash};
}

static void say_skipped(void *context, const char *why)
{
    (void)context;
    fprintf(stderr, "warning: a checkpoint is passed over: %s\n", why);
}

enum ls_code ls_resume_choose(struct ls_checkpoint_source *source, const char *folder, int may_begin,
                              int64_t *last, struct ls_comm *comm, struct ls_error *err)
{
    int64_t step = 0;
    *last = 0;
    err->code = LS_OK;
    if (ls_comm_rank(comm) == 0) {
        err->code = ls_checkpoint_folder_newest(folder, &step, say_skipped, NULL, err);
        if (err->code == LS_OK)
            err->code = ls_checkpoint_folder_last(folder, last, err);
        if (err->code == LS_OK && step == 0 && !may_begin)
            ls_fail(
                err, LS_FAILED,
                "--resume: there is no checkpoint in '%s': is the name right? With --checkpoint '%s' beside "
                "it a run begins there",
                folder, folder);
    }
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = ls_comm_sum_counts(comm, &step, 1, err); /* rank 0's */
    if (code != LS_OK || step == 0)
        return code;
    err->code = ls_checkpoint_source_open(source, folder, step, err);
    if ((code = ls_comm_agree(comm, err)) == LS_OK)
        code = ls_comm_compare_hashes(comm, source->checksum,
                                      "the checkpoints read by each rank (as checksums)", err);
    return code;
}

struct setting {
    const struct ls_command_line *line;
    const char *path;
    struct ls_error *err;
    enum ls_code code;
};

static void set_stored(void *context, const char *key, const char *value)
{
    struct setting *setting = context;
    struct ls_error inner = {.code = LS_OK};
    if (setting->code != LS_OK || strncmp(key, "option.", 7) != 0)
        return;
    if (!is_carried(key + 7)) /* a file must not choose where this program writes */
        setting->code = ls_fail(setting->err, LS_FAILED,
                                "'%s' holds --%.40s, which no checkpoint carries: it was changed",
                                setting->path, key + 7);
    else if (ls_options_set(setting->line, key + 7, value, &inner) != LS_OK)
        setting->code =
            ls_fail(setting->err, LS_FAILED, "'%s' holds an option that this program does not know: %.600s",
                    setting->path, inner.text);
}

enum ls_code ls_resume_set_options(const struct ls_command_line *line,
                                   const struct ls_checkpoint_source *source, struct ls_error *err)
{
    struct setting setting = {.line = line, .path = source->path.text, .err = err, .code = LS_OK};
    ls_safetensors_each_metadata(source->file, set_stored, &setting);
    return setting.code;
}

static enum ls_code refuse(const char *what, const char *stored, const char *now, struct ls_error *err)
{
    return ls_fail(err, LS_USAGE,
                   "--%s would change the result: the checkpoint was written with%s%.200s, now it is %.200s: "
                   "leave it out, or give --resume-with-changes",
                   what, stored ? " " : "out it", stored ? stored : "", now ? now : "not there");
}

enum ls_code ls_resume_check_options(const struct ls_option_values *stored,
                                     const struct ls_option_values *now, struct ls_error *err)
{
    for (int i = 0; i < now->n; i++) {
        const char *name = now->option[i].name;
        if (is_carried(name) && !is_among(name, free_to_change) && !is_among(name, by_meaning) &&
            !same_text(stored->option[i].text, now->option[i].text))
            return refuse(name, stored->option[i].text, now->option[i].text, err);
    }
    return LS_OK;
}

enum ls_code ls_resume_check_text(const struct ls_checkpoint_source *source, const char *key,
                                  const char *what, const char *now, struct ls_error *err)
{
    const char *stored = ls_safetensors_metadata(source->file, key);
    return same_text(stored, now) ? LS_OK : refuse(what, stored, now, err);
}

enum ls_code ls_resume_check_data(const struct ls_checkpoint_source *source, const char *hash,
                                  struct ls_error *err)
{
    const char *stored = ls_safetensors_metadata(source->file, "data_hash");
    if (same_text(stored, hash))
        return LS_OK;
    return ls_fail(
        err, LS_USAGE,
        "--data would change the result: the samples are not those that the checkpoint was written "
        "with (their hash was %.32s, now it is %s): give the same data, or --resume-with-changes",
        stored ? stored : "not stated", hash);
}

enum ls_code ls_resume_check_end(const struct ls_checkpoint_source *source, const struct ls_train_config *now,
                                 struct ls_error *err)
{
    if (now->epochs < source->epoch)
        return ls_fail(err, LS_USAGE, "--epochs %lld: the checkpoint is in epoch %lld already",
                       (long long)now->epochs, (long long)source->epoch);
    if (now->steps >= 0 && now->steps < source->step)
        return ls_fail(err, LS_USAGE, "--steps %lld: the checkpoint is at step %lld already",
                       (long long)now->steps, (long long)source->step);
    return LS_OK;
}

static const char *option_of(const char *key, char name[48])
{
    for (size_t i = 0; i < sizeof other_names / sizeof other_names[0]; i++)
        if (strcmp(key, other_names[i][0]) == 0)
            return other_names[i][1];
    snprintf(name, 48, "%s", key);
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return name;
}

static const char *find_fact(const struct ls_model_facts *facts, const char *key)
{
    for (int i = 0; i < facts->n; i++)
        if (strcmp(facts->fact[i].key, key) == 0)
            return facts->fact[i].text;
    return NULL;
}

/* An average that keeps nothing of itself is none. */
static const char *meaning(const char *key, const char *text)
{
    return text && strcmp(key, "ema") == 0 && strcmp(text, "0") == 0 ? NULL : text;
}

static enum ls_code check_fact(const struct ls_checkpoint_source *source, const char *key, const char *now,
                               struct ls_error *err)
{
    char name[48];
    const char *stored = meaning(key, ls_safetensors_metadata(source->file, key));
    now = meaning(key, now);
    return same_text(stored, now) ? LS_OK : refuse(option_of(key, name), stored, now, err);
}

static enum ls_code check_loss(const struct ls_checkpoint_source *source, const struct ls_loss_rule *loss,
                               struct ls_error *err)
{
    char smoothing[LS_FLOAT_TEXT], delta[LS_FLOAT_TEXT];
    char *weights = loss->class_weights ? ls_loss_weights_text(loss, err) : NULL;
    if (loss->class_weights && !weights)
        return LS_FAILED;
    const struct ls_metadata told[] = {
        {"loss", ls_loss_names[loss->kind]},
        {"label_smoothing", loss->smoothing != 0.0f ? ls_text_of_float(loss->smoothing, smoothing) : NULL},
        {"huber_delta", loss->kind == LS_LOSS_HUBER ? ls_text_of_float(loss->delta, delta) : NULL},
        {"class_weights", weights}};
    enum ls_code code = LS_OK;
    for (size_t i = 0; i < sizeof told / sizeof told[0] && code == LS_OK; i++)
        code = check_fact(source, told[i].key, told[i].value, err);
    ls_free(weights);
    return code;
}

enum ls_code ls_resume_check_meaning(const struct ls_checkpoint_source *source,
                                     const struct ls_model_facts *facts, const struct ls_loss_rule *loss,
                                     struct ls_error *err)
{
    /* Absent where they are not in use, so one that went away would not be met below. */
    static const char *const may_be_absent[] = {"ema", "schedule", "warmup", "clip_norm", "clip_value", NULL};
    enum ls_code code = check_loss(source, loss, err);
    for (int i = 0; i < facts->n && code == LS_OK; i++)
        if (strcmp(facts->fact[i].key, "data") != 0) /* its name: what is in it is compared by hash */
            code = check_fact(source, facts->fact[i].key, facts->fact[i].text, err);
    for (int i = 0; may_be_absent[i] && code == LS_OK; i++)
        code = check_fact(source, may_be_absent[i], find_fact(facts, may_be_absent[i]), err);
    return code;
}
