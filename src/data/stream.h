/* A file of samples, read from its beginning to its end in blocks: what loading into memory, `convert` and
 * `info` have in common.
 *
 * A format is one file behind this: it finds out the facts when it opens (of a text file that takes a pass of
 * its own, which counts samples and collects labels), then gives samples in order.  Memory does not grow with
 * the number of samples; whoever wants them all in memory drains the stream into a dataset.  Local: every
 * rank opens its own, and reads it from where it likes. */
#ifndef LS_DATA_STREAM_H
#define LS_DATA_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/class_names.h"
#include "data/dataset.h"
#include "data/features.h"

struct ls_stream_facts {
    int64_t n_samples; /* at least 1 */
    int n_dims;
    ptrdiff_t dims[LS_MAX_DIMS];
    ptrdiff_t n_features; /* product of dims */
    int is_bytes;         /* inputs are bytes, a value is byte / divisor; else they are binary32 */
    float divisor;
    int32_t n_classes;  /* 1 + the largest label, or the number of names; 0 without labels */
    ptrdiff_t n_values; /* target numbers a sample; 0 without */
    struct ls_class_names classes;
    int has_test;              /* the file carries test data too, which a request with test_part gives */
    struct ls_features inputs; /* what is known of features */
    char how[400];             /* what was decided on opening, for `info` and the report: "a header; the label
                                  is column 5 'species', the last"; "" when there was nothing to decide */
    int64_t n_missing; /* input values that the file does not have; 0 unless the user asked to fill them */
};

/* Room for a block of samples; what the stream does not have, or is not wanted, is NULL. */
struct ls_stream_rows {
    uint8_t *pixels; /* (n, n_features), when is_bytes */
    float *numbers;  /* (n, n_features), when not; finite, but a missing value is NaN in a stream opened with
                        keep_missing */
    int32_t *labels; /* (n), each in [0, n_classes) */
    float *values;   /* (n, n_values), finite */
};

struct ls_stream;

struct ls_stream_ops {
    /* The next n samples, all of which exist. */
    enum ls_code (*read)(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                         struct ls_error *err);
    /* The next read begins at sample `first`, 0 <= first <= n_samples. */
    enum ls_code (*seek)(struct ls_stream *stream, int64_t first, struct ls_error *err);
    void (*close)(struct ls_stream *stream); /* frees stream->state */
};

struct ls_stream {
    struct ls_stream_facts facts;
    const struct ls_stream_ops *ops;
    void *state;
    const char *format; /* its name; NULL: a dataset in memory */
    int64_t next;       /* the sample that the next read begins with */
};

/* How a stream is to be opened. */
struct ls_stream_request {
    const struct ls_class_names
        *classes;         /* labels must be these, in this order; NULL: as the file has them */
    int32_t n_numbered;   /* without names in `classes`: labels of text must be 0 .. n_numbered - 1; 0: any */
    ptrdiff_t n_features; /* a sparse format has at least so many; 0: as the file has them */
    /* What the model or the training data know of features: names must be these, and missing=mean fills in
     * these means.  NULL: this is the training data. */
    const struct ls_features *trained;
    int keep_missing; /* missing values are NaN instead of refused (`info`) */
    int test_part;    /* the test data of a file that carries some; else its only part */
};

/* Opens what a specification names, as ls_data_open describes it: "csv:FILE,label=species", or a bare file
 * name that its ending or its first bytes explain.  On failure *stream is all zero.  LS_USAGE: the
 * specification cannot be understood; LS_FAILED: the file cannot be had or is broken. */
enum ls_code ls_stream_open(struct ls_stream *stream, const char *spec,
                            const struct ls_stream_request *request, struct ls_error *err);
void ls_stream_close(struct ls_stream *stream);

/* Whether `spec` names a format of this kind (and not digits, synthetic:, ...). */
int ls_stream_knows(const char *spec);

/* Reads n samples; fewer than n being left is a programmer's error. */
enum ls_code ls_stream_read(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                            struct ls_error *err);
enum ls_code ls_stream_seek(struct ls_stream *stream, int64_t first, struct ls_error *err);

/* Reads all of it into memory.  *dataset was all zero; on failure it is left for ls_dataset_release. */
enum ls_code ls_stream_load(struct ls_stream *stream, struct ls_dataset *dataset, struct ls_error *err);

/* A dataset as a stream.  With `owned`, of which `dataset` is a part, the stream takes that over and *owned
 * is left all zero; else `dataset` must outlive the stream.  Close it also after failure. */
enum ls_code ls_stream_of_dataset(struct ls_stream *stream, const struct ls_dataset *dataset,
                                  struct ls_data *owned, struct ls_error *err);

#endif
