/* Owns reading a dataset, which gives samples by index, as a stream, which gives them in order: what formats
 * without a stream of their own have to offer to `convert` and `info`. */
#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "data/lsd_file.h"
#include "data/stream.h"

/* One of the two. */
struct state {
    const struct ls_dataset *dataset;
    struct ls_data owned;
};

static void read_inputs(const struct ls_dataset *dataset, int64_t first, ptrdiff_t n,
                        const struct ls_stream_rows *rows)
{
    const ptrdiff_t K = dataset->n_features;
    assert(!dataset->subset);
    if (rows->pixels && dataset->pixels)
        memcpy(rows->pixels, dataset->pixels + first * K, (size_t)(n * K));
    for (ptrdiff_t i = 0; i < n && rows->pixels && !dataset->pixels; i++)
        dataset->fetch(dataset->context, first + i, rows->pixels + i * K);
    for (ptrdiff_t i = 0; i < n && rows->numbers; i++)
        ls_dataset_gather_raw(dataset, first + i, rows->numbers + i * K);
}

static enum ls_code read_rows(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                              struct ls_error *err)
{
    const struct state *state = stream->state;
    const struct ls_dataset *dataset = state->dataset;
    const int64_t first = stream->next;
    const ptrdiff_t N = dataset->n_values;
    read_inputs(dataset, first, n, rows);
    for (ptrdiff_t i = 0; i < n && rows->labels && ls_dataset_has_labels(dataset); i++)
        rows->labels[i] = ls_dataset_label(dataset, first + i);
    if (rows->values && dataset->values)
        memcpy(rows->values, dataset->values + first * N, (size_t)(n * N) * sizeof *rows->values);
    return ls_dataset_failed(dataset, err);
}

static enum ls_code seek_row(struct ls_stream *stream, int64_t first, struct ls_error *err)
{
    (void)stream; /* every read says which samples it means */
    (void)first;
    (void)err;
    return LS_OK;
}

static void close_stream(struct ls_stream *stream)
{
    struct state *state = stream->state;
    ls_data_release(&state->owned);
    ls_free(state);
}

enum ls_code ls_stream_of_dataset(struct ls_stream *stream, const struct ls_dataset *dataset,
                                  struct ls_data *owned, struct ls_error *err)
{
    static const struct ls_stream_ops ops = {.read = read_rows, .seek = seek_row, .close = close_stream};
    struct state *state = ls_alloc(1, sizeof *state, "a stream", err);
    *stream = (struct ls_stream){.ops = NULL};
    if (!state)
        return LS_FAILED;
    state->dataset = dataset;
    if (owned) {
        state->owned = *owned;
        *owned = (struct ls_data){.train = {.n_samples = 0}};
        state->dataset = dataset == &owned->test ? &state->owned.test : &state->owned.train;
    }
    stream->state = state;
    stream->ops = &ops;
    stream->facts = (struct ls_stream_facts){.n_samples = state->dataset->n_samples,
                                             .n_dims = state->dataset->n_dims,
                                             .n_features = state->dataset->n_features,
                                             .is_bytes = state->dataset->pixels || state->dataset->fetch,
                                             .n_classes = state->dataset->n_classes,
                                             .n_values = state->dataset->n_values};
    stream->facts.divisor = stream->facts.is_bytes ? state->dataset->pixel_divisor : 0.0f;
    memcpy(stream->facts.dims, state->dataset->dims, sizeof stream->facts.dims);
    return state->dataset->file ? ls_lsd_names(state->dataset->file, &stream->facts.classes, err) : LS_OK;
}
