/* Owns what of a run is in a checkpoint, out of it and back.  Who writes when is checkpoint_writer.c's and
 * the trainer's. */
#include "train/checkpoint.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "train/run.h"

#define LAYOUT "1" /* of checkpoints; a change of the contract has a number of its own */

/* Scalars, by their place in the run. */
enum kind { WHOLE /* int64_t */, REAL /* float */, FLAG /* int */ };
static const struct number {
    const char *key;
    size_t at;
    enum kind kind;
    int may_be_none; /* -1 */
} numbers[] = {
    {"state.step", offsetof(struct ls_run, step), WHOLE, 0},
    {"state.epoch", offsetof(struct ls_run, epoch), WHOLE, 0},
    {"state.position", offsetof(struct ls_run, position), WHOLE, 0},
    {"state.updates", offsetof(struct ls_run, optimizer.updates), WHOLE, 0},
    {"state.epoch_samples", offsetof(struct ls_run, samples_in_epoch), WHOLE, 0},
    {"state.epoch_losses", offsetof(struct ls_run, epoch_loss.count), WHOLE, 0},
    {"state.look_samples", offsetof(struct ls_run, samples_since_look), WHOLE, 0},
    {"state.look_losses", offsetof(struct ls_run, look_loss.count), WHOLE, 0},
    {"state.first_loss", offsetof(struct ls_run, first_loss), REAL, 0},
    {"state.good_step", offsetof(struct ls_run, good_step), WHOLE, 0},
    {"state.last_look", offsetof(struct ls_run, last_look), WHOLE, 0},
    {"state.test_loss", offsetof(struct ls_run, last_test.loss), REAL, 0},
    {"state.test_samples", offsetof(struct ls_run, last_test.n_samples), WHOLE, 0},
    {"state.test_correct", offsetof(struct ls_run, last_test.n_correct), WHOLE, 1},
    {"state.test_rmse", offsetof(struct ls_run, last_test.rmse), REAL, 0},
    {"state.last_epoch", offsetof(struct ls_run, last_epoch.epoch), WHOLE, 0},
    {"state.last_epoch_step", offsetof(struct ls_run, last_epoch.step), WHOLE, 0},
    {"state.last_epoch_loss", offsetof(struct ls_run, last_epoch.loss), REAL, 0},
    {"state.last_epoch_evaluated", offsetof(struct ls_run, last_epoch.evaluated), FLAG, 0},
    {"state.last_epoch_test_loss", offsetof(struct ls_run, last_epoch.test.loss), REAL, 0},
    {"state.last_epoch_test_samples", offsetof(struct ls_run, last_epoch.test.n_samples), WHOLE, 0},
    {"state.last_epoch_test_correct", offsetof(struct ls_run, last_epoch.test.n_correct), WHOLE, 1},
    {"state.best_step", offsetof(struct ls_run, stopping.best.step), WHOLE, 0},
    {"state.best_epoch", offsetof(struct ls_run, stopping.best.epoch), WHOLE, 0},
    {"state.best_loss", offsetof(struct ls_run, stopping.best.loss), REAL, 0},
    {"state.best_correct", offsetof(struct ls_run, stopping.best.n_correct), WHOLE, 1},
    {"state.best_samples", offsetof(struct ls_run, stopping.best.n_samples), WHOLE, 0},
    {"state.waited", offsetof(struct ls_run, stopping.waited), WHOLE, 0},
    {"state.base_rate", offsetof(struct ls_run, rate.base), REAL, 0},
    {"state.plateau_rate", offsetof(struct ls_run, rate.plateau_rate), REAL, 0},
    {"state.plateau_best", offsetof(struct ls_run, rate.best), REAL, 0},
    {"state.plateau_waited", offsetof(struct ls_run, rate.waited), WHOLE, 0},
};
enum { N_NUMBERS = sizeof numbers / sizeof numbers[0] };
_Static_assert(N_NUMBERS + 2 <= LS_MODEL_FACTS, "they and two more fit into facts");

/* Reasons that a run cannot find again: they were seen at an update or a look that is past. */
static int is_remembered(enum ls_stop_reason reason)
{
    return reason == LS_STOP_LOSS || reason == LS_STOP_ACCURACY || reason == LS_STOP_PATIENCE ||
           reason == LS_STOP_GRADIENT;
}

void ls_run_numbers(const struct ls_run *run, struct ls_model_facts *facts)
{
    char text[LS_FLOAT_TEXT];
    facts->n = 0;
    ls_model_facts_add(facts, "checkpoint", LAYOUT);
    for (int i = 0; i < N_NUMBERS; i++) {
        const void *at = (const char *)run + numbers[i].at;
        int64_t whole = 0;
        float real;
        if (numbers[i].kind == REAL) {
            memcpy(&real, at, sizeof real);
            ls_model_facts_add(facts, numbers[i].key, "%s", ls_text_of_float(real, text));
            continue;
        }
        if (numbers[i].kind == WHOLE)
            memcpy(&whole, at, sizeof whole);
        else
            whole = *(const int *)at;
        ls_model_facts_add(facts, numbers[i].key, "%lld", (long long)whole);
    }
    ls_model_facts_add(facts, "state.stop", "%s",
                       ls_stop_names[is_remembered(run->stop) ? run->stop : LS_STOP_NONE]);
}

int ls_run_arrays(struct ls_run *run, struct ls_run_array arrays[LS_RUN_ARRAYS])
{
    const ptrdiff_t n_floats = run->net->n_floats;
    static const char *const names[LS_OPTIMIZER_STATES][2] = {
        {"velocity", LS_STATE_PREFIX "velocity"}, {"first_moment", LS_STATE_PREFIX "first_moment"}};
    int n = 0;
    arrays[n++] = (struct ls_run_array){NULL, run->average.flat ? run->average.flat : run->parameters,
                                        n_floats, NULL, 0};
    if (run->average.flat)
        arrays[n++] = (struct ls_run_array){LS_STATE_PREFIX "weights", run->parameters, n_floats, NULL, 0};
    for (int i = 0; i < run->optimizer.n_states; i++) {
        const char *name = LS_STATE_PREFIX "second_moment";
        for (int k = 0; k < LS_OPTIMIZER_STATES; k++)
            if (strcmp(run->optimizer.states[i].name, names[k][0]) == 0)
                name = names[k][1];
        arrays[n++] = (struct ls_run_array){.name = name,
                                            .flat = run->optimizer.states[i].flat,
                                            .n = n_floats,
                                            .in_slices = run->engine.shards.n > 0};
    }
    arrays[n++] = (struct ls_run_array){LS_STATE_PREFIX "good", run->good, n_floats, NULL, 0};
    arrays[n++] = (struct ls_run_array){LS_STATE_PREFIX "epoch_loss", run->epoch_loss.pending, LS_TREE_LEVELS,
                                        &run->epoch_loss, 0};
    arrays[n++] = (struct ls_run_array){LS_STATE_PREFIX "look_loss", run->look_loss.pending, LS_TREE_LEVELS,
                                        &run->look_loss, 0};
    return n;
}

/* --- back --- */

static enum ls_code read_number(const struct ls_checkpoint_source *source, const struct number *number,
                                struct ls_run *run, struct ls_error *err)
{
    const int64_t most = INT64_C(1) << 61;
    const char *text = ls_safetensors_metadata(source->file, number->key);
    int64_t whole = 0;
    float real = 0;
    void *at = (char *)run + number->at;
    if (number->kind == REAL && text && ls_text_to_any_float(text, &real)) {
        memcpy(at, &real, sizeof real);
        return LS_OK;
    }
    if (number->kind == REAL || !text || !ls_text_to_int64(text, &whole) || whole > most ||
        whole < (number->may_be_none ? -1 : 0))
        return ls_fail(err, LS_FAILED, "'%s' cannot be resumed: its %s is '%.40s'", source->path.text,
                       number->key, text ? text : "missing");
    if (number->kind == WHOLE)
        memcpy(at, &whole, sizeof whole);
    else
        memcpy(at, &(int){whole != 0}, sizeof(int));
    return LS_OK;
}

static enum ls_code read_numbers(struct ls_run *run, struct ls_error *err)
{
    const struct ls_checkpoint_source *source = run->config->resume;
    const float base = run->rate.base;
    enum ls_code code = LS_OK;
    for (int i = 0; i < N_NUMBERS && code == LS_OK; i++)
        code = read_number(source, &numbers[i], run, err);
    if (code == LS_OK && run->rate.base != base && !source->with_changes)
        return ls_fail(err, LS_FAILED, "'%s' cannot be resumed: its state.base_rate is not its learning rate",
                       source->path.text);
    if (run->rate.base != base) { /* plateau begins anew */
        run->rate.base = run->rate.plateau_rate = base;
        run->rate.best = __builtin_inff();
        run->rate.waited = 0;
    }
    const char *stop = ls_safetensors_metadata(source->file, "state.stop");
    run->stop = LS_STOP_NONE;
    for (int i = 0; stop && i < LS_STOP_NONE; i++)
        if (strcmp(stop, ls_stop_names[i]) == 0 && is_remembered((enum ls_stop_reason)i))
            run->stop = (enum ls_stop_reason)i;
    return code;
}

/* An array that the file does not have keeps what it has when the configuration may be another.  *found says
 * whether it was there. */
static enum ls_code read_array(const struct ls_run *run, const char *name, float *flat, ptrdiff_t n,
                               int *found, struct ls_error *err)
{
    const struct ls_checkpoint_source *source = run->config->resume;
    const struct ls_tensor tensor = {.name = name, .n_dims = 1, .dims = {n}, .data = flat};
    *found = ls_safetensors_find(source->file, name) != NULL;
    return *found || !source->with_changes ? ls_safetensors_read(source->file, &tensor, err) : LS_OK;
}

/* The same of an array of which this rank has slices, by way of a gradient's memory. */
static enum ls_code read_slices(struct ls_run *run, const struct ls_run_array *array, int *found,
                                struct ls_error *err)
{
    float *whole = run->engine.gradients.slots[0];
    const enum ls_code code = read_array(run, array->name, whole, array->n, found, err);
    if (code == LS_OK && *found)
        ls_shards_pack(&run->engine.shards, array->flat, whole);
    memset(whole, 0, (size_t)array->n * sizeof *whole); /* as it was: no pass writes between tensors */
    return code;
}

/* The weights that training goes on with are state.weights where what is shown is an average of them. */
static enum ls_code read_weights(struct ls_run *run, struct ls_error *err)
{
    const struct ls_checkpoint_source *source = run->config->resume;
    const int averaged = ls_safetensors_find(source->file, LS_STATE_PREFIX "weights") != NULL;
    float *average = run->average.flat;
    int found;
    enum ls_code code = ls_model_read_parameters(source->file, source->path.text, run->net,
                                                 average ? average : run->parameters, err);
    if (code == LS_OK && averaged)
        code = read_array(run, LS_STATE_PREFIX "weights", run->parameters, run->net->n_floats, &found, err);
    else if (average)
        memcpy(run->parameters, average, (size_t)run->net->n_floats * sizeof *average);
    if (code == LS_OK && average && !averaged && !source->with_changes)
        return ls_fail(err, LS_FAILED, "'%s' cannot be resumed: it has no state.weights", source->path.text);
    return code;
}

/* Updates begin at multiples of their size: buffers are made for those batches, and no others.  With other
 * batches the next update begins at the next of their multiples; fewer samples end the epoch. */
static enum ls_code find_place(struct ls_run *run, struct ls_error *err)
{
    const struct ls_checkpoint_source *source = run->config->resume;
    const int64_t update = ls_samples_per_update(run->config), n = run->data->train.n_samples;
    const int64_t end = (n + update - 1) / update * update;
    if (run->position % update == 0 && run->position <= end)
        return LS_OK;
    if (!source->with_changes)
        return ls_fail(err, LS_FAILED,
                       "'%s' cannot be resumed: no update of %lld samples begins at position %lld of %lld: "
                       "give --resume-with-changes to begin at the next that one does",
                       source->path.text, (long long)update, (long long)run->position, (long long)n);
    run->position = run->position < end ? (run->position + update - 1) / update * update : end;
    return LS_OK;
}

/* What a run cannot have been in, whatever its options were: then the file is none of this program's. */
static enum ls_code check_place(struct ls_run *run, struct ls_error *err)
{
    const struct ls_checkpoint_source *source = run->config->resume;
    if (run->step != source->step)
        return ls_fail(
            err, LS_FAILED,
            "'%s' cannot be resumed: by its name it is of step %lld, by its state.step of %lld: was "
            "it renamed?",
            source->path.text, (long long)source->step, (long long)run->step);
    if (run->epoch < 1 || run->position < 1)
        return ls_fail(err, LS_FAILED,
                       "'%s' cannot be resumed: after an update no run is in epoch %lld at position %lld",
                       source->path.text, (long long)run->epoch, (long long)run->position);
    return find_place(run, err);
}

enum ls_code ls_run_restore(struct ls_run *run, struct ls_error *err)
{
    struct ls_run_array arrays[LS_RUN_ARRAYS];
    const int n = ls_run_arrays(run, arrays);
    int all_states = 1;
    enum ls_code code = read_weights(run, err);
    for (int i = 0; i < n && code == LS_OK; i++) {
        int found = 1;
        if (arrays[i].in_slices)
            code = read_slices(run, &arrays[i], &found, err);
        else if (arrays[i].name && arrays[i].flat != run->parameters)
            code = read_array(run, arrays[i].name, arrays[i].flat, arrays[i].n, &found, err);
        all_states &= found;
    }
    if (code == LS_OK)
        code = read_numbers(run, err);
    if (code == LS_OK)
        code = check_place(run, err);
    if (code != LS_OK)
        return code;
    ls_optimizer_resume(&run->optimizer, all_states ? run->optimizer.updates : 0);
    run->in_epoch = run->updated = 1;
    return LS_OK;
}

/* --- a checkpoint as a source --- */

static enum ls_code check_versions(struct ls_checkpoint_source *source, struct ls_error *err)
{
    const char *path = source->path.text;
    const char *layout = ls_safetensors_metadata(source->file, "checkpoint");
    const char *contract = ls_safetensors_metadata(source->file, "contract_version");
    const char *epoch = ls_safetensors_metadata(source->file, "state.epoch");
    int64_t version = 0;
    if (!layout || strcmp(layout, LAYOUT) != 0)
        return ls_fail(err, LS_FAILED, "'%s' is a checkpoint of layout '%.20s', this program reads %s", path,
                       layout ? layout : "none", LAYOUT);
    if (!contract || !ls_text_to_int64(contract, &version) || version != LS_CONTRACT_VERSION)
        return ls_fail(err, LS_FAILED,
                       "'%s' follows contract version '%.20s', this program version %d: its bits cannot be "
                       "continued",
                       path, contract ? contract : "none", LS_CONTRACT_VERSION);
    if (!epoch || !ls_text_to_int64(epoch, &source->epoch))
        return ls_fail(err, LS_FAILED, "'%s' cannot be resumed: it has no state.epoch", path);
    return LS_OK;
}

enum ls_code ls_checkpoint_source_open(struct ls_checkpoint_source *source, const char *folder, int64_t step,
                                       struct ls_error *err)
{
    *source = (struct ls_checkpoint_source){.path = ls_checkpoint_path(folder, step), .step = step};
    enum ls_code code = ls_safetensors_check_seal(source->path.text, &source->checksum, err);
    if (code == LS_OK)
        code = ls_safetensors_open(&source->file, source->path.text, err);
    return code == LS_OK ? check_versions(source, err) : code;
}

void ls_checkpoint_source_release(struct ls_checkpoint_source *source)
{
    ls_safetensors_close(&source->file);
}
