/* Owns the slots of an update's batches.  See accumulate.h. */
#include "train/accumulate.h"

#include <string.h>

enum ls_code ls_accumulator_create(struct ls_accumulator *accumulator, int64_t batch, int64_t n,
                                   const struct ls_net *net, struct ls_error *err)
{
    *accumulator = (struct ls_accumulator){.batch = batch, .n = n};
    if (n == 1)
        return LS_OK;
    /* An epoch's last update has fewer batches, which is another tree but never a deeper one. */
    const int n_slots = ls_roots_needed(n, (struct ls_range){0, n}, 1, 1) + 1;
    return ls_roots_create(&accumulator->roots, n_slots, net->n_floats + LS_SLOT_EXTRA, err);
}

void ls_accumulator_release(struct ls_accumulator *accumulator)
{
    ls_roots_release(&accumulator->roots);
}

enum ls_code ls_accumulate(struct ls_accumulator *accumulator, struct ls_engine *engine, float *parameters,
                           const struct ls_dataset *data, const struct ls_sampler *sampler, int64_t first,
                           int64_t B, const float **sum, struct ls_error *err)
{
    const int64_t batch = accumulator->batch, n_batches = (B - 1) / batch + 1;
    struct ls_roots *roots = &accumulator->roots;
    engine->row_offset = 0;
    if (n_batches == 1)
        return ls_engine_gradient(engine, parameters, data, sampler, first, B, sum, err);
    const size_t n_floats = (size_t)engine->net->n_floats + 1;
    ls_roots_start(roots, n_batches);
    int is_damaged = 0;
    for (int64_t i = 0; i < n_batches; i++) {
        const int64_t left = B - i * batch;
        engine->row_offset = i * batch;
        const enum ls_code code = ls_engine_gradient(engine, parameters, data, sampler, first + i * batch,
                                                     left < batch ? left : batch, sum, err);
        if (code != LS_OK)
            return code;
        is_damaged |= engine->requested < 0;
        const int slot = roots->n;
        ls_roots_append(roots, (struct ls_range){i, i + 1});
        if (engine->shards.n == 0)
            memcpy(roots->slots[slot], *sum, n_floats * sizeof **sum);
        else
            ls_shards_copy(&engine->shards, roots->slots[slot], *sum);
        roots->slots[slot][n_floats - 1] = (*sum)[n_floats - 1];
        ls_roots_merge(roots, engine->ops);
    }
    /* Who asks does so with every batch until it is heard, so the last one's request is the update's; but
     * that one arrived damaged says something about this job, whichever it was. */
    if (is_damaged)
        engine->requested = -1;
    *sum = roots->slots[0];
    return LS_OK;
}
