/* Arrays in files, and two of them as a stream of samples: what NumPy and HDF5 files have in common.
 *
 * An array is numbers of one type in C order; its first dimension counts rows, which are samples.  A format
 * says how rows are read; what they mean (pixels, numbers, labels, values), and that they are fit to be used,
 * is decided here, once. */
#ifndef LS_DATA_ARRAY_H
#define LS_DATA_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include "data/elements.h"
#include "data/source.h"
#include "data/stream.h"

enum { LS_ARRAY_DIMS = 1 + LS_MAX_DIMS };

struct ls_array {
    char where[512]; /* for messages: "X.npy", or "digits.npz" member "x.npy" with the quotes */
    struct ls_element type;
    int n_dims; /* at least 1 */
    int64_t dims[LS_ARRAY_DIMS];
    size_t row_elements; /* product of the dims but the first */
    size_t row_bytes;
    int64_t first_byte; /* where in the file the elements begin, for messages; -1: bytes would say nothing */

    /* The bytes of rows first .. first + n - 1, all of which exist. */
    enum ls_code (*read)(struct ls_array *array, int64_t first, int64_t n, uint8_t *raw,
                         struct ls_error *err);
    void (*close)(struct ls_array *array); /* NULL while nothing is held */
    void *state;
};

/* Takes type and shape from a header that nobody has checked: 1 to LS_ARRAY_DIMS dimensions of at least 1
 * whose bytes can be addressed.  `where` is set before. */
enum ls_code ls_array_set_shape(struct ls_array *array, const struct ls_element *type, int n_dims,
                                const uint64_t *dims, struct ls_error *err);

/* All bytes of the array, which ls_array_set_shape has checked. */
int64_t ls_array_bytes(const struct ls_array *array);

void ls_array_close(struct ls_array *array); /* NULL, and one that is all zero, are accepted */

/* What a specification says about the meaning of arrays. */
struct ls_array_options {
    float divisor; /* of bytes; 0: 255 of uint8, 1 of bool */
    enum { LS_TARGETS_BY_TYPE, LS_TARGETS_LABELS, LS_TARGETS_VALUES } targets;
    int keep_missing;
    const struct ls_class_names *classes;
};

/* Reads the settings divisor= and targets=. */
enum ls_code ls_array_options_read(struct ls_array_options *options, struct ls_source *source,
                                   const struct ls_stream_request *request, struct ls_error *err);

/* Samples out of an array of inputs and, unless y is NULL or has no rows, one of targets: labels when they
 * are one whole number each, else values.  Takes both over, whatever the outcome, and leaves them all zero;
 * on failure the caller calls ls_stream_close.  Reads all labels once. */
enum ls_code ls_array_stream(struct ls_stream *stream, struct ls_array *x, struct ls_array *y,
                             const struct ls_array_options *options, struct ls_error *err);

#endif
