/* Streams of samples in tests: opened, read whole, refused. */
#ifndef LS_TESTS_STREAMS_H
#define LS_TESTS_STREAMS_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/stream.h"

#define DATA_FIXTURES "tests/fixtures/data/"

/* All of a stream, each input as a number; freed by samples_release. */
struct samples {
    struct ls_stream_facts facts; /* its names are gone */
    float *x, *values;
    int32_t *labels;
};

static inline void samples_release(struct samples *samples)
{
    free(samples->x);
    free(samples->values);
    free(samples->labels);
}

static inline struct ls_stream stream_ok(const char *spec)
{
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    cr_assert_eq(ls_stream_open(&stream, spec, NULL, &err), LS_OK, "\"%s\": %s", spec, err.text);
    return stream;
}

/* Samples first .. first + n - 1 into place `first` of *samples. */
static inline void read_some(struct ls_stream *stream, const struct samples *samples, int64_t first,
                             ptrdiff_t n)
{
    struct ls_error err = {.text = ""};
    const ptrdiff_t K = stream->facts.n_features;
    uint8_t *pixels = calloc((size_t)(n * K), 1);
    const struct ls_stream_rows rows = {
        .pixels = stream->facts.is_bytes ? pixels : NULL,
        .numbers = stream->facts.is_bytes ? NULL : samples->x + first * K,
        .labels = samples->labels ? samples->labels + first : NULL,
        .values = samples->values ? samples->values + first * stream->facts.n_values : NULL};
    cr_assert_eq(ls_stream_seek(stream, first, &err), LS_OK, "%s", err.text);
    cr_assert_eq(ls_stream_read(stream, n, &rows, &err), LS_OK, "%s", err.text);
    for (ptrdiff_t i = 0; stream->facts.is_bytes && i < n * K; i++)
        samples->x[first * K + i] = (float)pixels[i] / stream->facts.divisor;
    free(pixels);
}

static inline struct samples room_for(const struct ls_stream *stream)
{
    const struct ls_stream_facts *facts = &stream->facts;
    const size_t N = (size_t)facts->n_samples;
    return (struct samples){.facts = *facts,
                            .x = calloc(N * (size_t)facts->n_features, sizeof(float)),
                            .labels = facts->n_classes > 0 ? calloc(N, sizeof(int32_t)) : NULL,
                            .values = facts->n_values > 0 ? calloc(N * (size_t)facts->n_values, sizeof(float))
                                                          : NULL};
}

static inline struct samples samples_of(const char *spec)
{
    struct ls_stream stream = stream_ok(spec);
    struct samples samples = room_for(&stream);
    read_some(&stream, &samples, 0, (ptrdiff_t)stream.facts.n_samples);
    ls_stream_close(&stream);
    return samples;
}

static inline int samples_equal(const struct samples *a, const struct samples *b)
{
    const size_t N = (size_t)a->facts.n_samples, K = (size_t)a->facts.n_features;
    return a->facts.n_samples == b->facts.n_samples && a->facts.n_features == b->facts.n_features &&
           a->facts.n_classes == b->facts.n_classes && a->facts.n_values == b->facts.n_values &&
           memcmp(a->x, b->x, N * K * sizeof *a->x) == 0 &&
           (!a->labels || memcmp(a->labels, b->labels, N * sizeof *a->labels) == 0) &&
           (!a->values ||
            memcmp(a->values, b->values, N * (size_t)a->facts.n_values * sizeof *a->values) == 0);
}

/* Reading in pieces, in any order, is reading through. */
static inline void expect_seekable(const char *spec)
{
    struct ls_stream stream = stream_ok(spec);
    struct samples through = samples_of(spec), pieces = room_for(&stream);
    const int64_t N = stream.facts.n_samples;
    static const int sizes[] = {1, 7, 2, 31, 64};
    int64_t ends[256];
    int n = 0;
    ends[0] = 0;
    for (int i = 0; ends[n] < N; n++, i++) {
        cr_assert_lt(n, 255);
        ends[n + 1] = ends[n] + sizes[i % 5] < N ? ends[n] + sizes[i % 5] : N;
    }
    for (int i = n - 1; i >= 0; i -= 2) /* every other one backwards, then the others forwards */
        read_some(&stream, &pieces, ends[i], (ptrdiff_t)(ends[i + 1] - ends[i]));
    for (int i = n % 2; i < n; i += 2)
        read_some(&stream, &pieces, ends[i], (ptrdiff_t)(ends[i + 1] - ends[i]));
    cr_expect(samples_equal(&through, &pieces), "\"%s\": other samples after seeking", spec);
    ls_stream_close(&stream);
    samples_release(&through);
    samples_release(&pieces);
}

/* Opening, or else reading, fails with `code` and a message that has all the parts (separated by '|');
 * nothing is held. */
static inline void expect_stream_refused(enum ls_code code, const char *spec, const char *parts)
{
    const long balance = ls_memory_balance();
    struct ls_stream stream;
    struct ls_dataset dataset = {.n_samples = 0};
    struct ls_error err = {.text = ""};
    enum ls_code found = ls_stream_open(&stream, spec, NULL, &err);
    if (found == LS_OK)
        found = ls_stream_load(&stream, &dataset, &err);
    ls_dataset_release(&dataset);
    ls_stream_close(&stream);
    cr_expect_eq(found, code, "\"%s\": code %d, expected %d (%s)", spec, (int)found, (int)code, err.text);
    char copy[600];
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *rest = copy, *part; (part = strsep(&rest, "|"));)
        cr_expect_not_null(strstr(err.text, part), "\"%s\": no \"%s\" in: %s", spec, part, err.text);
    cr_expect_eq(ls_memory_balance(), balance, "\"%s\": memory was left", spec);
}

/* Opening and loading a file, which may be broken in any way: it must end, with nothing held.  Returns the
 * code. */
static inline enum ls_code survive(const char *spec)
{
    const long balance = ls_memory_balance();
    struct ls_stream stream;
    struct ls_dataset dataset = {.n_samples = 0};
    struct ls_error err = {.text = ""};
    enum ls_code code = ls_stream_open(&stream, spec, NULL, &err);
    if (code == LS_OK)
        code = ls_stream_load(&stream, &dataset, &err);
    ls_dataset_release(&dataset);
    ls_stream_close(&stream);
    cr_expect_eq(ls_memory_balance(), balance, "memory was left");
    cr_expect(code == LS_OK || err.text[0], "no message");
    return code;
}

#endif
