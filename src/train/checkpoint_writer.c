/* Owns the thread that writes checkpoints while training goes on.
 *
 * The state is copied into memory taken at set-up, which costs training one pass over it; hashing, writing
 * and waiting for the disk are the thread's.  It calls nothing of MPI's.  A second checkpoint waits for the
 * first.  A failure is kept until the ranks can agree on it; the checkpoint before is whole in any case,
 * since files only go after a newer one is on the disk. */
#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/cores.h"
#include "base/memory.h"
#include "base/timer.h"
#include "compute/placement.h"
#include "train/run.h"

struct ls_checkpoint_writer {
    const struct ls_checkpoint_rule *rule;
    const struct ls_net *net;
    const struct ls_loss_rule *loss;
    float *block; /* all arrays, one after the other */
    int n_arrays;
    struct ls_tensor tensors[LS_RUN_ARRAYS]; /* tensors[0].data: the model's parameters */
    struct ls_model_facts numbers;
    struct ls_metadata *metadata; /* (rule->n_metadata + LS_MODEL_FACTS) */
    int64_t step;
    pthread_t thread;
    int running;         /* started and not joined */
    atomic_int finished; /* it has nothing more to do */
    struct ls_error failure;
};

enum ls_code ls_checkpoint_writer_create(struct ls_checkpoint_writer **created, struct ls_run *run,
                                         struct ls_error *err)
{
    struct ls_run_array arrays[LS_RUN_ARRAYS];
    const struct ls_checkpoint_rule *rule = &run->config->checkpoint;
    struct ls_checkpoint_writer *writer = ls_alloc(1, sizeof *writer, "writer of checkpoints", err);
    *created = writer;
    if (!writer)
        return LS_FAILED;
    writer->rule = rule;
    writer->net = run->net;
    writer->loss = &run->config->loss;
    writer->n_arrays = ls_run_arrays(run, arrays);
    ptrdiff_t n = 0;
    for (int i = 0; i < writer->n_arrays; i++)
        n += arrays[i].n;
    writer->block = ls_alloc((size_t)n, sizeof(float), "copy of the run for checkpoints", err);
    writer->metadata = ls_alloc((size_t)rule->n_metadata + LS_MODEL_FACTS, sizeof *writer->metadata,
                                "metadata of checkpoints", err);
    if (!writer->block || !writer->metadata)
        return LS_FAILED;
    ls_place(writer->block, (size_t)n * sizeof(float)); /* now, not while training waits for the first copy */
    float *at = writer->block;
    for (int i = 0; i < writer->n_arrays; at += arrays[i].n, i++)
        writer->tensors[i] =
            (struct ls_tensor){.name = arrays[i].name, .n_dims = 1, .dims = {arrays[i].n}, .data = at};
    return LS_OK;
}

void ls_checkpoint_writer_destroy(struct ls_checkpoint_writer **destroyed)
{
    struct ls_checkpoint_writer *writer = *destroyed;
    if (!writer)
        return;
    ls_checkpoint_writer_wait(writer, NULL);
    ls_free(writer->block);
    ls_free(writer->metadata);
    ls_free(writer);
    *destroyed = NULL;
}

/* A tree's digits that are not set hold what was there before, which a resumed run does not know. */
static void copy_tree(const struct ls_tree *tree, float *to)
{
    for (int level = 0; level < LS_TREE_LEVELS; level++)
        to[level] = (tree->count >> level) & 1 ? tree->pending[level] : 0.0f;
}

static void copy_run(struct ls_checkpoint_writer *writer, struct ls_run *run)
{
    struct ls_run_array arrays[LS_RUN_ARRAYS];
    const int n = ls_run_arrays(run, arrays);
    assert(n == writer->n_arrays);
    for (int i = 0; i < n; i++) {
        if (arrays[i].tree)
            copy_tree(arrays[i].tree, writer->tensors[i].data);
        else if (!arrays[i].in_slices)
            memcpy(writer->tensors[i].data, arrays[i].flat, (size_t)arrays[i].n * sizeof(float));
    }
    ls_run_numbers(run, &writer->numbers);
    writer->step = run->step;
}

/* Collective.  What each rank has slices of, into rank 0's copy. */
static void collect_slices(struct ls_run *run)
{
    struct ls_run_array arrays[LS_RUN_ARRAYS];
    const int n = ls_run_arrays(run, arrays);
    for (int i = 0; i < n; i++)
        if (arrays[i].in_slices)
            ls_shards_collect(&run->engine.shards, run->comm, arrays[i].flat,
                              run->writer ? run->writer->tensors[i].data : NULL);
}

static void *write_copy(void *context)
{
    struct ls_checkpoint_writer *writer = context;
    const struct ls_checkpoint_rule *rule = writer->rule;
    ptrdiff_t n = 0;
    for (int i = 0; i < writer->numbers.n; i++)
        writer->metadata[n++] =
            (struct ls_metadata){writer->numbers.fact[i].key, writer->numbers.fact[i].text};
    for (ptrdiff_t i = 0; i < rule->n_metadata; i++)
        writer->metadata[n++] = rule->metadata[i];
    const struct ls_model_extras extras = {.tensors = writer->tensors + 1,
                                           .n_tensors = writer->n_arrays - 1,
                                           .metadata = writer->metadata,
                                           .n_metadata = n};
    const struct ls_checkpoint_path path = ls_checkpoint_path(rule->folder, writer->step);
    if (ls_model_save_sealed(path.text, writer->net, writer->loss, writer->tensors[0].data, rule->facts,
                             &extras, &writer->failure) == LS_OK)
        ls_checkpoint_folder_prune(rule->folder, writer->step, rule->keep);
    atomic_store(&writer->finished, 1);
    return NULL;
}

static void *write_beside(void *context)
{
    ls_cores_leave();
    return write_copy(context);
}

/* Signals are the main thread's: one that waits for a message must be woken by them. */
static void start(struct ls_checkpoint_writer *writer)
{
    sigset_t all, before;
    sigfillset(&all);
    atomic_store(&writer->finished, 0);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    writer->running = pthread_create(&writer->thread, NULL, write_beside, writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!writer->running) /* no thread to be had: then here */
        write_copy(writer);
}

int ls_checkpoint_writer_failed(struct ls_checkpoint_writer *writer)
{
    return writer && atomic_load(&writer->finished) && writer->failure.code != LS_OK;
}

enum ls_code ls_checkpoint_writer_wait(struct ls_checkpoint_writer *writer, struct ls_error *err)
{
    if (!writer)
        return LS_OK;
    if (writer->running)
        pthread_join(writer->thread, NULL);
    writer->running = 0;
    if (writer->failure.code == LS_OK)
        return LS_OK;
    return ls_fail(err, writer->failure.code,
                   "the checkpoint of step %lld was not written, the ones before it stay as they are: %.900s",
                   (long long)writer->step, writer->failure.text);
}

/* What else goes into the file: a state that differs would show in the parameters only at the next update. */
static enum ls_code compare_state(struct ls_run *run, struct ls_error *err)
{
    struct ls_run_array arrays[LS_RUN_ARRAYS];
    struct ls_hash hashes[LS_RUN_ARRAYS] = {{0}};
    char what[80];
    const int n = ls_run_arrays(run, arrays);
    for (int i = 0; i < n; i++)
        if (!arrays[i].tree && !arrays[i].in_slices) /* a slice is nobody else's */
            hashes[i] = ls_hash_bytes(arrays[i].flat, (size_t)arrays[i].n * sizeof(float));
    snprintf(what, sizeof what, "the state behind the parameters after step %lld", (long long)run->step);
    return ls_comm_compare_hashes(run->comm, ls_hash_bytes(hashes, sizeof hashes), what, err);
}

enum ls_code ls_run_checkpoint(struct ls_run *run, int wait, struct ls_error *err)
{
    struct ls_hash hash;
    enum ls_code code = ls_run_compare(run, &hash, err);
    if (code == LS_OK && ls_comm_size(run->comm) > 1)
        code = compare_state(run, err);
    if (code != LS_OK)
        return code;
    run->checkpoint_s = ls_now_s();
    err->code = ls_checkpoint_writer_wait(run->writer, err);
    collect_slices(run); /* after a failure, too: the others do not know of it */
    if (err->code == LS_OK && run->writer) {
        copy_run(run->writer, run);
        start(run->writer);
        if (wait)
            err->code = ls_checkpoint_writer_wait(run->writer, err);
    }
    return ls_comm_agree(run->comm, err);
}
