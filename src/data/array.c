/* Owns arrays as samples: which become pixels, numbers, labels or values, and that all of them are fit to be
 * used.  See array.h. */
#include "data/array.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/readers.h"

enum { SCRATCH_BYTES = 256 * 1024 };

enum role { AS_PIXELS, AS_NUMBERS, AS_LABELS, AS_VALUES };

/* The state of the stream. */
struct pair {
    struct ls_array x, y; /* y.n_dims == 0: none */
    int labels;           /* y are labels, else values */
    int32_t n_classes;    /* by the first reading of the labels; 0 before it has ended */
    int keep_missing;
    uint8_t *scratch; /* rows of either, before they are converted */
    size_t scratch_bytes;
};

enum ls_code ls_array_set_shape(struct ls_array *array, const struct ls_element *type, int n_dims,
                                const uint64_t *dims, struct ls_error *err)
{
    array->type = *type;
    if (n_dims < 1 || n_dims > LS_ARRAY_DIMS)
        return ls_fail(err, LS_FAILED,
                       "%s has %d dimensions; allowed are 1 to %d: samples, then at most %d sizes of one",
                       array->where, n_dims, LS_ARRAY_DIMS, LS_MAX_DIMS);
    uint64_t room = (uint64_t)PTRDIFF_MAX / sizeof(double) / 2, row = 1;
    for (int i = 0; i < n_dims; i++) {
        if (dims[i] == 0)
            return ls_fail(err, LS_FAILED, "%s: dimension %d is 0; at least 1 is needed", array->where,
                           i + 1);
        if (dims[i] > room)
            return ls_fail(err, LS_FAILED,
                           "%s: dimension %d is %llu, which makes more elements than can be addressed",
                           array->where, i + 1, (unsigned long long)dims[i]);
        room /= dims[i];
        row *= i > 0 ? dims[i] : 1;
        array->dims[i] = (int64_t)dims[i];
    }
    array->n_dims = n_dims;
    array->row_elements = (size_t)row;
    array->row_bytes = (size_t)row * (size_t)type->bytes;
    return LS_OK;
}

int64_t ls_array_bytes(const struct ls_array *array)
{
    return array->dims[0] * (int64_t)array->row_bytes;
}

void ls_array_close(struct ls_array *array)
{
    if (!array)
        return;
    if (array->close)
        array->close(array);
    *array = (struct ls_array){.n_dims = 0};
}

/* ": byte 128" or "", where element `index` lies. */
static const char *place_of(const struct ls_array *array, int64_t index, char text[40])
{
    *text = '\0';
    if (array->first_byte >= 0)
        snprintf(text, 40, ": byte %lld",
                 (long long)(array->first_byte + index * (int64_t)array->type.bytes));
    return text;
}

static enum ls_code bad_number(const struct ls_array *array, int64_t index, const uint8_t *raw,
                               const char *what, struct ls_error *err)
{
    char place[40];
    const int64_t row = (int64_t)array->row_elements;
    return ls_fail(err, LS_FAILED, "%s%s: %s %lld of sample %lld is %g; finite binary32 numbers are needed",
                   array->where, place_of(array, index, place), what, (long long)(index % row),
                   (long long)(index / row), ls_element_value(&array->type, raw));
}

/* The first of n that is not finite; n when all are. */
static size_t first_not_finite(size_t n, const float *x, int keep_missing)
{
    size_t i = 0;
    while (i < n && (isfinite(x[i]) || (keep_missing && isnan(x[i]))))
        i++;
    return i;
}

/* Checks and converts rows that lie in raw.  For binary32 of this machine raw and x may be the same. */
static enum ls_code take_numbers(const struct ls_array *array, int64_t first, int64_t n, const uint8_t *raw,
                                 int keep_missing, const char *what, float *x, struct ls_error *err)
{
    const size_t count = (size_t)n * array->row_elements;
    if (raw != (const uint8_t *)x)
        ls_elements_to_floats(&array->type, count, raw, x);
    const size_t bad = first_not_finite(count, x, keep_missing);
    if (bad == count)
        return LS_OK;
    return bad_number(array, first * (int64_t)array->row_elements + (int64_t)bad,
                      raw + bad * (size_t)array->type.bytes, what, err);
}

static enum ls_code take_labels(const struct pair *pair, int64_t first, int64_t n, const uint8_t *raw,
                                int32_t *labels, struct ls_error *err)
{
    const struct ls_array *array = &pair->y;
    char place[40];
    for (int64_t i = 0; i < n; i++) {
        const double value = ls_element_value(&array->type, raw + i * (int64_t)array->type.bytes);
        if (!(value >= 0 && value <= LS_MAX_LABEL && value == (double)(int32_t)value))
            return ls_fail(err, LS_FAILED,
                           "%s%s: label %.17g of sample %lld; allowed are whole numbers from 0 to %d%s",
                           array->where, place_of(array, first + i, place), value, (long long)(first + i),
                           LS_MAX_LABEL, "; targets=values makes them numbers to predict");
        labels[i] = (int32_t)value;
        if (pair->n_classes > 0 && labels[i] >= pair->n_classes)
            return ls_fail(
                err, LS_FAILED,
                "%s%s: label %d of sample %lld; the largest was %d: it was changed while it was read",
                array->where, place_of(array, first + i, place), labels[i], (long long)(first + i),
                pair->n_classes - 1);
    }
    return LS_OK;
}

/* Rows first .. first + n - 1 in the given role, into `to`, a scratch block at a time. */
static enum ls_code read_rows(struct pair *pair, struct ls_array *array, int64_t first, int64_t n,
                              enum role role, void *to, struct ls_error *err)
{
    if (role == AS_PIXELS)
        return array->read(array, first, n, to, err);
    const int direct = role != AS_LABELS && ls_element_is_native_float(&array->type);
    const int64_t most = (int64_t)(pair->scratch_bytes / array->row_bytes);
    enum ls_code code = LS_OK;
    for (int64_t done = 0, now; done < n && code == LS_OK; done += now) {
        now = n - done < most ? n - done : most;
        float *x = (float *)to + (size_t)done * array->row_elements;
        uint8_t *raw = direct ? (uint8_t *)x : pair->scratch;
        code = array->read(array, first + done, now, raw, err);
        if (code == LS_OK && role == AS_LABELS)
            code = take_labels(pair, first + done, now, raw, (int32_t *)to + done, err);
        else if (code == LS_OK)
            code = take_numbers(array, first + done, now, raw, role == AS_NUMBERS && pair->keep_missing,
                                role == AS_NUMBERS ? "feature" : "target", x, err);
    }
    return code;
}

static enum ls_code read_samples(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                                 struct ls_error *err)
{
    struct pair *pair = stream->state;
    const int64_t first = stream->next;
    enum ls_code code = LS_OK;
    if (stream->facts.is_bytes && rows->pixels)
        code = read_rows(pair, &pair->x, first, n, AS_PIXELS, rows->pixels, err);
    if (!stream->facts.is_bytes && rows->numbers)
        code = read_rows(pair, &pair->x, first, n, AS_NUMBERS, rows->numbers, err);
    if (code == LS_OK && pair->y.n_dims > 0 && pair->labels && rows->labels)
        code = read_rows(pair, &pair->y, first, n, AS_LABELS, rows->labels, err);
    if (code == LS_OK && pair->y.n_dims > 0 && !pair->labels && rows->values)
        code = read_rows(pair, &pair->y, first, n, AS_VALUES, rows->values, err);
    return code;
}

/* Arrays are read by index; nothing has to be moved. */
static enum ls_code seek_samples(struct ls_stream *stream, int64_t first, struct ls_error *err)
{
    (void)stream, (void)first, (void)err;
    return LS_OK;
}

static void close_pair(struct ls_stream *stream)
{
    struct pair *pair = stream->state;
    ls_array_close(&pair->x);
    ls_array_close(&pair->y);
    ls_free(pair->scratch);
    ls_free(pair);
}

static const struct ls_stream_ops pair_ops = {
    .read = read_samples, .seek = seek_samples, .close = close_pair};

static enum ls_code set_inputs(struct ls_stream *stream, const struct ls_array *x,
                               const struct ls_array_options *options, struct ls_error *err)
{
    struct ls_stream_facts *facts = &stream->facts;
    facts->n_samples = x->dims[0];
    facts->n_dims = x->n_dims > 1 ? x->n_dims - 1 : 1;
    facts->dims[0] = 1;
    for (int i = 1; i < x->n_dims; i++)
        facts->dims[i - 1] = (ptrdiff_t)x->dims[i];
    facts->n_features = (ptrdiff_t)x->row_elements;
    facts->is_bytes = x->type.kind == 'b' || (x->type.kind == 'u' && x->type.bytes == 1);
    facts->divisor = options->divisor > 0 ? options->divisor : x->type.kind == 'b' ? 1.0f : 255.0f;
    char name[LS_ELEMENT_TEXT];
    if (!facts->is_bytes && options->divisor > 0)
        return ls_fail(err, LS_USAGE,
                       "%s holds %s numbers, which stay as they are; divisor= is for uint8 and bool",
                       x->where, ls_element_name(&x->type, name));
    return LS_OK;
}

/* Decides between labels and values. */
static enum ls_code set_targets(struct ls_stream *stream, struct pair *pair,
                                const struct ls_array_options *options, struct ls_error *err)
{
    const struct ls_array *x = &pair->x, *y = &pair->y;
    if (y->dims[0] != x->dims[0])
        return ls_fail(err, LS_FAILED, "%s has %lld samples, but %s has %lld", x->where,
                       (long long)x->dims[0], y->where, (long long)y->dims[0]);
    if (y->n_dims > 2)
        return ls_fail(err, LS_FAILED,
                       "%s: targets have %d dimensions; allowed are 1 (samples) and 2 (samples, numbers)",
                       y->where, y->n_dims);
    if (options->targets == LS_TARGETS_LABELS && y->row_elements != 1)
        return ls_fail(err, LS_FAILED,
                       "%s has %zu numbers a sample; a label is one, so targets=labels cannot be", y->where,
                       y->row_elements);
    pair->labels = options->targets == LS_TARGETS_LABELS ||
                   (options->targets == LS_TARGETS_BY_TYPE && y->type.kind != 'f' && y->row_elements == 1);
    if (!pair->labels)
        stream->facts.n_values = (ptrdiff_t)y->row_elements;
    return LS_OK;
}

static enum ls_code take_scratch(struct pair *pair, struct ls_error *err)
{
    size_t bytes = SCRATCH_BYTES;
    bytes = pair->x.row_bytes > bytes ? pair->x.row_bytes : bytes;
    bytes = pair->y.row_bytes > bytes ? pair->y.row_bytes : bytes;
    pair->scratch_bytes = bytes;
    pair->scratch = ls_alloc(bytes, 1, pair->x.where, err);
    return pair->scratch ? LS_OK : LS_FAILED;
}

/* Reads all labels, checks them and finds out how many classes there are. */
static enum ls_code count_classes(struct ls_stream *stream, struct pair *pair,
                                  const struct ls_array_options *options, struct ls_error *err)
{
    enum { BLOCK = 4096 };
    int32_t block[BLOCK];
    int32_t *n_classes = &stream->facts.n_classes;
    enum ls_code code = LS_OK;
    for (int64_t first = 0, now; first < stream->facts.n_samples && code == LS_OK; first += now) {
        now = stream->facts.n_samples - first < BLOCK ? stream->facts.n_samples - first : BLOCK;
        code = read_rows(pair, &pair->y, first, now, AS_LABELS, block, err);
        for (int64_t i = 0; code == LS_OK && i < now; i++)
            *n_classes = block[i] >= *n_classes ? block[i] + 1 : *n_classes;
    }
    if (code == LS_OK && options->classes && options->classes->n > 0 && *n_classes > options->classes->n)
        return ls_fail(err, LS_FAILED, "%s has label %d; there are %d classes, so allowed are 0 to %d",
                       pair->y.where, *n_classes - 1, options->classes->n, options->classes->n - 1);
    pair->n_classes = *n_classes;
    return code;
}

enum ls_code ls_array_stream(struct ls_stream *stream, struct ls_array *x, struct ls_array *y,
                             const struct ls_array_options *options, struct ls_error *err)
{
    struct pair *pair = ls_alloc(1, sizeof *pair, x->where, err);
    if (!pair) {
        ls_array_close(x);
        ls_array_close(y);
        return LS_FAILED;
    }
    pair->x = *x;
    *x = (struct ls_array){.n_dims = 0};
    if (y) {
        pair->y = *y;
        *y = (struct ls_array){.n_dims = 0};
    }
    pair->keep_missing = options->keep_missing;
    stream->state = pair;
    stream->ops = &pair_ops;
    enum ls_code code = set_inputs(stream, &pair->x, options, err);
    if (code == LS_OK && pair->y.n_dims > 0)
        code = set_targets(stream, pair, options, err);
    if (code == LS_OK)
        code = take_scratch(pair, err);
    if (code == LS_OK && pair->labels)
        code = count_classes(stream, pair, options, err);
    return code;
}

static enum ls_code read_divisor(struct ls_array_options *options, const char *text, struct ls_error *err)
{
    static const char *const allowed[] = {"1", "16", "255"};
    static const float divisors[] = {1, 16, 255};
    for (int i = 0; i < 3; i++)
        if (strcmp(text, allowed[i]) == 0) {
            options->divisor = divisors[i];
            return LS_OK;
        }
    return ls_fail(err, LS_USAGE, "divisor=%s: allowed are 1, 16 and 255 (the default of uint8)", text);
}

enum ls_code ls_array_options_read(struct ls_array_options *options, struct ls_source *source,
                                   const struct ls_stream_request *request, struct ls_error *err)
{
    const char *divisor = ls_source_setting(source, "divisor"),
               *targets = ls_source_setting(source, "targets");
    *options = (struct ls_array_options){.keep_missing = request->keep_missing, .classes = request->classes};
    if (divisor && read_divisor(options, divisor, err) != LS_OK)
        return LS_USAGE;
    if (targets && strcmp(targets, "labels") == 0)
        options->targets = LS_TARGETS_LABELS;
    else if (targets && strcmp(targets, "values") == 0)
        options->targets = LS_TARGETS_VALUES;
    else if (targets)
        return ls_fail(err, LS_USAGE, "targets=%s: allowed are labels and values", targets);
    return LS_OK;
}
