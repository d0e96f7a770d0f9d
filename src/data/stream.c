/* Owns which format a specification means, and draining a stream into memory. */
#include "data/stream.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "compute/placement.h"
#include "data/formats.h"
#include "data/readers.h"

const struct ls_format *const ls_formats[] = {
    &ls_format_lsd, &ls_format_csv,     &ls_format_tsv,      &ls_format_libsvm, &ls_format_npy,
    &ls_format_npz, &ls_format_cifar10, &ls_format_cifar100, &ls_format_hdf5,   NULL};

static int has_ending(const struct ls_format *format, const char *path)
{
    const size_t n = strlen(path);
    for (const char *const *ending = format->endings; ending && *ending; ending++) {
        const size_t m = strlen(*ending);
        if (n > m && strcasecmp(path + n - m, *ending) == 0)
            return 1;
    }
    return 0;
}

static size_t read_start(const char *path, unsigned char *bytes, size_t most)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t n = fd >= 0 ? read(fd, bytes, most) : -1;
    if (fd >= 0)
        close(fd);
    return n > 0 ? (size_t)n : 0;
}

/* NULL when it is none.  What the bytes say goes before what the name says. */
static const struct ls_format *format_of(const struct ls_source *source)
{
    for (const struct ls_format *const *f = ls_formats; source->format && *f; f++)
        if (strcmp((*f)->name, source->format) == 0)
            return *f;
    if (source->format || source->n_files == 0)
        return NULL;
    unsigned char bytes[64];
    const size_t n = read_start(source->files[0], bytes, sizeof bytes);
    for (const struct ls_format *const *f = ls_formats; *f; f++)
        if (n > 0 && (*f)->recognises && (*f)->recognises(bytes, n))
            return *f;
    for (const struct ls_format *const *f = ls_formats; *f; f++)
        if (has_ending(*f, source->files[0]))
            return *f;
    return NULL;
}

int ls_stream_knows(const char *spec)
{
    struct ls_source source;
    struct ls_error ignored;
    const int parsed = ls_source_parse(&source, spec, &ignored) == LS_OK;
    int known = parsed && format_of(&source);
    for (const struct ls_format *const *f = ls_formats; source.format && *f; f++)
        known |= strcmp((*f)->name, source.format) == 0; /* misspelt behind the colon: the format says it */
    ls_source_release(&source);
    return known;
}

static enum ls_code check_classes(const struct ls_class_names *classes, const char *path,
                                  struct ls_error *err)
{
    struct ls_error inner = {.code = LS_OK};
    const enum ls_code code = ls_class_names_check(classes, &inner);
    return code == LS_OK ? LS_OK : ls_fail(err, code, "\"%s\": %.600s", path, inner.text);
}

enum ls_code ls_stream_open(struct ls_stream *stream, const char *spec,
                            const struct ls_stream_request *request, struct ls_error *err)
{
    static const struct ls_stream_request none = {.keep_missing = 0};
    struct ls_source source;
    *stream = (struct ls_stream){.ops = NULL};
    enum ls_code code = ls_source_parse(&source, spec, err);
    const struct ls_format *format = code == LS_OK ? format_of(&source) : NULL;
    if (code == LS_OK && !format)
        code = ls_fail(err, LS_USAGE,
                       "data \"%s\": neither its name nor its first bytes say what format it has", spec);
    if (code == LS_OK)
        stream->format = format->name;
    if (code == LS_OK)
        code = format->open(stream, &source, request ? request : &none, err);
    if (code == LS_OK)
        code = check_classes(&stream->facts.classes, source.files[0], err);
    if (code == LS_OK && request && request->trained)
        code = ls_features_check(request->trained, &stream->facts.inputs, source.files[0], err);
    ls_source_release(&source);
    if (code != LS_OK)
        ls_stream_close(stream);
    return code;
}

void ls_stream_close(struct ls_stream *stream)
{
    if (!stream)
        return;
    if (stream->ops)
        stream->ops->close(stream);
    ls_class_names_release(&stream->facts.classes);
    ls_features_release(&stream->facts.inputs);
    *stream = (struct ls_stream){.ops = NULL};
}

enum ls_code ls_stream_read(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                            struct ls_error *err)
{
    assert(n <= stream->facts.n_samples - stream->next);
    const enum ls_code code = n > 0 ? stream->ops->read(stream, n, rows, err) : LS_OK;
    stream->next += n;
    return code;
}

enum ls_code ls_stream_seek(struct ls_stream *stream, int64_t first, struct ls_error *err)
{
    assert(first >= 0 && first <= stream->facts.n_samples);
    if (first == stream->next)
        return LS_OK;
    const enum ls_code code = stream->ops->seek(stream, first, err);
    stream->next = first;
    return code;
}

/* The four blocks that a dataset keeps. */
static enum ls_code take_memory(struct ls_dataset *dataset, const struct ls_stream_facts *facts,
                                struct ls_stream_rows *rows, struct ls_error *err)
{
    const size_t n = (size_t)facts->n_samples, K = (size_t)facts->n_features;
    const size_t element = facts->is_bytes ? sizeof *rows->pixels : sizeof *rows->numbers;
    if (K > SIZE_MAX / element || (size_t)facts->n_values > SIZE_MAX / sizeof(float))
        return ls_fail(err, LS_FAILED, "\"%s\": a sample of %zu features cannot be held", dataset->name, K);
    void *inputs = dataset->owned[0] = ls_alloc(n, K * element, "the data's inputs", err);
    if (!inputs)
        return LS_FAILED;
    ls_place(inputs, n * K * element);
    if (facts->is_bytes)
        rows->pixels = inputs;
    else
        rows->numbers = inputs;
    if (facts->n_classes > 0)
        rows->labels = dataset->owned[1] = ls_alloc(n, sizeof *rows->labels, "the data's labels", err);
    if (facts->n_values > 0)
        rows->values = dataset->owned[2] =
            ls_alloc(n, (size_t)facts->n_values * sizeof(float), "the data's target values", err);
    return (facts->n_classes > 0 && !rows->labels) || (facts->n_values > 0 && !rows->values) ? LS_FAILED
                                                                                             : LS_OK;
}

enum ls_code ls_stream_load(struct ls_stream *stream, struct ls_dataset *dataset, struct ls_error *err)
{
    const struct ls_stream_facts *facts = &stream->facts;
    struct ls_stream_rows rows = {.pixels = NULL};
    enum ls_code code = take_memory(dataset, facts, &rows, err);
    if (code == LS_OK)
        code = ls_stream_seek(stream, 0, err);
    if (code == LS_OK)
        code = ls_stream_read(stream, (ptrdiff_t)facts->n_samples, &rows, err);
    if (code != LS_OK)
        return code;
    dataset->n_samples = facts->n_samples;
    ls_dataset_set_shape(dataset, facts->n_dims, facts->dims);
    dataset->pixels = rows.pixels;
    dataset->pixel_divisor = facts->divisor;
    dataset->numbers = rows.numbers;
    dataset->labels = rows.labels;
    dataset->values = rows.values;
    dataset->n_classes = facts->n_classes;
    dataset->n_values = facts->n_values;
    return LS_OK;
}
