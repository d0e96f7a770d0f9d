/* Files of text for tests of their readers: written, opened, read as one line of text, refused. */
#ifndef LS_TESTS_TEXT_DATA_H
#define LS_TESTS_TEXT_DATA_H

#include <criterion/criterion.h>
#include <math.h>
#include <zlib.h>

#include "clean.h"
#include "data/stream.h"
#include "files.h"

/* FORMAT:FOLDER/NAME and settings. */
static inline struct place spec_of_file(const struct folder *folder, const char *format, const char *name,
                                        const char *settings)
{
    struct place spec;
    snprintf(spec.path, sizeof spec.path, "%s:%.60s/%s%s%.400s", format, folder->path, name,
             *settings ? "," : "", settings);
    return spec;
}

/* Appends a number as "%g" after a separator. */
static inline size_t append(char *text, size_t size, size_t used, const char *separator, double number)
{
    return used + (size_t)snprintf(text + used, size - used, "%s%g", separator, number);
}

/* What the samples are, as one line: "inputs>label;inputs>label" or "inputs>values". */
static inline void describe(struct ls_stream *stream, char *text, size_t size)
{
    const struct ls_stream_facts *facts = &stream->facts;
    float x[16], v[16];
    int32_t label = -1;
    size_t used = 0;
    cr_assert(facts->n_features <= 16 && facts->n_values <= 16);
    text[0] = '\0';
    for (int64_t i = 0; i < facts->n_samples; i++) {
        struct ls_error err = {.text = ""};
        const struct ls_stream_rows rows = {
            .numbers = x, .labels = facts->n_classes ? &label : NULL, .values = facts->n_values ? v : NULL};
        cr_assert_eq(ls_stream_read(stream, 1, &rows, &err), LS_OK, "%s", err.text);
        for (ptrdiff_t k = 0; k < facts->n_features; k++)
            used = append(text, size, used, k ? " " : (i ? ";" : ""), (double)x[k]);
        if (facts->n_classes)
            used = append(text, size, used, ">", label);
        for (ptrdiff_t k = 0; k < facts->n_values; k++)
            used = append(text, size, used, k ? " " : ">", (double)v[k]);
    }
}

static inline void list_names(const struct ls_class_names *names, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int32_t i = 0; i < names->n; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "|" : "", names->name[i]);
}

/* Opening fails so, with a message that has all parts (separated by ~), and leaves nothing. */
static inline void expect_stream_refused(const char *spec, const struct ls_stream_request *request,
                                         enum ls_code code, const char *parts)
{
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    char copy[300];
    const enum ls_code found = ls_stream_open(&stream, spec, request, &err);
    cr_expect_eq(found, code, "%s: code %d (%s)", parts, (int)found, err.text);
    cr_expect_null(stream.ops);
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *rest = copy, *part; (part = strsep(&rest, "~"));)
        cr_expect_not_null(strstr(err.text, part), "no \"%s\" in: %s", part, err.text);
    ls_stream_close(&stream);
}

static inline void write_gzip(const char *path, const char *bytes, size_t n)
{
    gzFile file = gzopen(path, "wb6");
    cr_assert_not_null(file);
    cr_assert_eq(gzwrite(file, bytes, (unsigned)n), (int)n);
    cr_assert_eq(gzclose(file), Z_OK);
}

/* Reading from any sample on gives what reading through gave.  N samples of K inputs, labels in y. */
static inline void expect_seekable(const char *spec, int64_t n, ptrdiff_t K)
{
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    cr_assert_eq(ls_stream_open(&stream, spec, NULL, &err), LS_OK, "%s", err.text);
    cr_assert(stream.facts.n_samples == n && stream.facts.n_features == K);
    float *all = calloc((size_t)(n * K), sizeof *all), *x = calloc((size_t)K, sizeof *x);
    int32_t *labels = calloc((size_t)n, sizeof *labels), label;
    const struct ls_stream_rows rows = {.numbers = all, .labels = labels};
    cr_assert_eq(ls_stream_read(&stream, (ptrdiff_t)n, &rows, &err), LS_OK, "%s", err.text);
    for (int64_t i = 0; i < n; i += i < 50 || i > n - 50 ? 1 : 397) {
        const int64_t at = i * 7919 % n;
        const struct ls_stream_rows one = {.numbers = x, .labels = &label};
        cr_assert_eq(ls_stream_seek(&stream, at, &err), LS_OK, "%s", err.text);
        cr_assert_eq(ls_stream_read(&stream, 1, &one, &err), LS_OK, "%s", err.text);
        cr_assert_arr_eq(x, all + at * K, (size_t)K * sizeof *x, "sample %lld", (long long)at);
        cr_assert_eq(label, labels[at], "label of %lld", (long long)at);
    }
    free(all);
    free(x);
    free(labels);
    ls_stream_close(&stream);
}

#endif
