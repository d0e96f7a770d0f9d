/* Owns the reading of safetensors from files that may be cut, corrupt or hostile.
 *
 * Files are read by pread, not mapped: a file that shrinks while it is open is then an error message instead
 * of SIGBUS. What JSON costs in memory is bounded before it is parsed (see crowded), everything else by the
 * size of the file. Stricter than the format's own reader in three ways, each a likely sign of damage: keys
 * that the format does not define, control characters in names, names above LS_TENSOR_NAME bytes. */
#include "formats/safetensors.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/read_at.h"
#include "formats/openfile.h"
#include "formats/quote.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#    error "the arrays are read as they lie in the file, which is little-endian"
#endif

enum { BLOCK_ROWS = 16 }; /* of a transposed matrix at a time */

struct ls_safetensors {
    char *path;
    int fd;
    uint64_t data_begin, data_bytes;
    json_t *header; /* owns the names and the metadata */
    ptrdiff_t n_tensors;
    struct ls_stored_tensor *tensors;        /* by offset */
    const struct ls_stored_tensor **by_name; /* by name */
};

static enum ls_code read_at(const struct ls_safetensors *file, void *into, size_t n, uint64_t at,
                            struct ls_error *err)
{
    const ptrdiff_t got = ls_read_at(file->fd, (int64_t)at, into, n);
    if (got < 0)
        return ls_fail_errno(err, LS_FAILED, "cannot read '%s'", file->path);
    if ((size_t)got < n)
        return ls_fail(err, LS_FAILED, "'%s' ended at byte %" PRIu64 " while it was read: something cut it",
                       file->path, at + (uint64_t)got);
    return LS_OK;
}

/* --- the parts of one tensor's entry --- */

static enum ls_code check_name(const struct ls_safetensors *file, const char *what, const char *name,
                               struct ls_error *err)
{
    const size_t length = strlen(name);
    if (length > LS_TENSOR_NAME)
        return ls_fail(err, LS_FAILED, "'%s': %s '%s' has a name of %zu bytes; at most %d are allowed",
                       file->path, what, ls_quote(name).text, length, LS_TENSOR_NAME);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return ls_fail(err, LS_FAILED, "'%s': %s '%s' has a control character (code %d) in its name",
                           file->path, what, ls_quote(name).text, *c);
    return LS_OK;
}

/* PyTorch's batch norm stores how many batches it has seen: one I64 that no model here has a use for.  It is
 * passed over. */
static int is_tracked_count(const char *name, const json_t *entry)
{
    static const char end[] = "num_batches_tracked";
    const json_t *shape = json_object_get(entry, "shape");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const size_t length = strlen(name);
    return length >= sizeof end - 1 && strcmp(name + length - (sizeof end - 1), end) == 0 && dtype &&
           strcmp(dtype, "I64") == 0 && json_is_array(shape) && json_array_size(shape) == 0;
}

static enum ls_code check_keys(const struct ls_safetensors *file, const char *name, json_t *entry,
                               struct ls_error *err)
{
    if (!json_is_object(entry))
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' is described by %s; allowed is an object",
                       file->path, ls_quote(name).text, ls_json_kind(entry));
    const char *key;
    json_t *value;
    json_object_foreach (entry, key, value)
        if (strcmp(key, "dtype") != 0 && strcmp(key, "shape") != 0 && strcmp(key, "data_offsets") != 0)
            return ls_fail(err, LS_FAILED,
                           "'%s': tensor '%s' has the unknown key '%s'; "
                           "allowed are dtype, shape, data_offsets",
                           file->path, ls_quote(name).text, ls_quote(key).text);
    const json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype))
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has %s as its dtype; allowed is the string \"F32\"",
                       file->path, ls_quote(name).text, ls_json_kind(dtype));
    if (strcmp(json_string_value(dtype), "F32") != 0 && !is_tracked_count(name, entry))
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has dtype '%s'; only F32 (binary32) is read here",
                       file->path, ls_quote(name).text, ls_quote(json_string_value(dtype)).text);
    return LS_OK;
}

/* A whole number >= 0 inside an array of the entry. */
static enum ls_code read_count(const struct ls_safetensors *file, const char *name, const char *key,
                               const json_t *array, size_t i, uint64_t *count, struct ls_error *err)
{
    const json_t *value = json_array_get(array, i);
    if (!json_is_integer(value))
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has %s at %s[%zu]; allowed are whole numbers",
                       file->path, ls_quote(name).text, ls_json_kind(value), key, i);
    const json_int_t number = json_integer_value(value);
    if (number < 0)
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has the negative number %lld at %s[%zu]",
                       file->path, ls_quote(name).text, (long long)number, key, i);
    *count = (uint64_t)number;
    return LS_OK;
}

static enum ls_code read_shape(const struct ls_safetensors *file, const json_t *entry,
                               struct ls_stored_tensor *tensor, struct ls_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return ls_fail(err, LS_FAILED,
                       "'%s': tensor '%s' has %s as its shape; allowed is an array of whole numbers",
                       file->path, ls_quote(tensor->name).text, ls_json_kind(shape));
    if (json_array_size(shape) > LS_TENSOR_DIMS)
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has %zu dimensions; at most %d are allowed",
                       file->path, ls_quote(tensor->name).text, json_array_size(shape), LS_TENSOR_DIMS);
    tensor->n_dims = (int)json_array_size(shape);
    tensor->n_elements = 1;
    int overflow = 0;
    for (int d = 0; d < tensor->n_dims; d++) {
        uint64_t dim = 0;
        if (read_count(file, tensor->name, "shape", shape, (size_t)d, &dim, err) != LS_OK)
            return LS_FAILED;
        tensor->dims[d] = (ptrdiff_t)dim;
        overflow |= __builtin_mul_overflow(tensor->n_elements, tensor->dims[d], &tensor->n_elements);
    }
    if (overflow || tensor->n_elements > PTRDIFF_MAX / (ptrdiff_t)sizeof(float))
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has shape %s: more bytes than 63 bits can count",
                       file->path, ls_quote(tensor->name).text,
                       ls_shape_text(tensor->n_dims, tensor->dims).text);
    return LS_OK;
}

static uint64_t tensor_bytes(const struct ls_stored_tensor *tensor)
{
    return (uint64_t)tensor->n_elements * (tensor->ignored ? sizeof(int64_t) : sizeof(float));
}

static enum ls_code read_offsets(const struct ls_safetensors *file, const json_t *entry,
                                 struct ls_stored_tensor *tensor, struct ls_error *err)
{
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return ls_fail(err, LS_FAILED,
                       "'%s': tensor '%s' has %s as its data_offsets; allowed is an array of two", file->path,
                       ls_quote(tensor->name).text,
                       json_is_array(offsets) ? "an array of another length" : ls_json_kind(offsets));
    uint64_t begin, end;
    if (read_count(file, tensor->name, "data_offsets", offsets, 0, &begin, err) != LS_OK ||
        read_count(file, tensor->name, "data_offsets", offsets, 1, &end, err) != LS_OK)
        return LS_FAILED;
    if (begin > end || end > file->data_bytes)
        return ls_fail(err, LS_FAILED,
                       "'%s': tensor '%s' has data_offsets [%" PRIu64 ",%" PRIu64
                       "]; allowed are 0 <= begin <= end <= %" PRIu64 ", the bytes of data in the file",
                       file->path, ls_quote(tensor->name).text, begin, end, file->data_bytes);
    if (end - begin != tensor_bytes(tensor))
        return ls_fail(err, LS_FAILED,
                       "'%s': tensor '%s' has data_offsets [%" PRIu64 ",%" PRIu64 "], %" PRIu64
                       " bytes, but its shape %s needs %" PRIu64,
                       file->path, ls_quote(tensor->name).text, begin, end, end - begin,
                       ls_shape_text(tensor->n_dims, tensor->dims).text, tensor_bytes(tensor));
    tensor->begin_bytes = begin;
    return LS_OK;
}

/* --- the header --- */

static enum ls_code check_metadata(const struct ls_safetensors *file, json_t *metadata, struct ls_error *err)
{
    if (!json_is_object(metadata))
        return ls_fail(err, LS_FAILED, "'%s': __metadata__ is %s; allowed is an object of strings",
                       file->path, ls_json_kind(metadata));
    const char *key;
    json_t *value;
    json_object_foreach (metadata, key, value) {
        if (check_name(file, "metadata", key, err) != LS_OK)
            return LS_FAILED;
        if (!json_is_string(value))
            return ls_fail(err, LS_FAILED, "'%s': metadata '%s' is %s; allowed are strings", file->path,
                           ls_quote(key).text, ls_json_kind(value));
    }
    return LS_OK;
}

static enum ls_code read_entries(struct ls_safetensors *file, struct ls_error *err)
{
    json_t *metadata = json_object_get(file->header, "__metadata__");
    if (metadata && check_metadata(file, metadata, err) != LS_OK)
        return LS_FAILED;
    const size_t n = json_object_size(file->header) - (metadata != NULL);
    file->tensors = ls_alloc(n, sizeof *file->tensors, "list of tensors", err);
    file->by_name = ls_alloc(n, sizeof *file->by_name, "index of tensors", err);
    if (!file->tensors || !file->by_name)
        return LS_FAILED;
    const char *name;
    json_t *entry;
    json_object_foreach (file->header, name, entry) {
        if (entry == metadata)
            continue;
        struct ls_stored_tensor *tensor = &file->tensors[file->n_tensors];
        tensor->name = name;
        tensor->ignored = is_tracked_count(name, entry);
        if (check_name(file, "tensor", name, err) != LS_OK || check_keys(file, name, entry, err) != LS_OK ||
            read_shape(file, entry, tensor, err) != LS_OK || read_offsets(file, entry, tensor, err) != LS_OK)
            return LS_FAILED;
        file->n_tensors++;
    }
    return LS_OK;
}

static uint64_t end_bytes(const struct ls_stored_tensor *tensor)
{
    return tensor->begin_bytes + tensor_bytes(tensor);
}

/* By begin, empty tensors before the one that starts where they lie; names are unique and settle the rest. */
static int order_by_offset(const void *left, const void *right)
{
    const struct ls_stored_tensor *a = left, *b = right;
    if (a->begin_bytes != b->begin_bytes)
        return a->begin_bytes < b->begin_bytes ? -1 : 1;
    if (end_bytes(a) != end_bytes(b))
        return end_bytes(a) < end_bytes(b) ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int order_by_name(const void *left, const void *right)
{
    const struct ls_stored_tensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

/* Leaves the tensors that can be read. */
static void forget_ignored(struct ls_safetensors *file)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < file->n_tensors; i++)
        if (!file->tensors[i].ignored)
            file->tensors[n++] = file->tensors[i];
    file->n_tensors = n;
    for (ptrdiff_t i = 0; i < n; i++)
        file->by_name[i] = &file->tensors[i];
}

/* Every byte of the data belongs to exactly one tensor. */
static enum ls_code check_layout(struct ls_safetensors *file, struct ls_error *err)
{
    if (file->n_tensors > 0)
        qsort(file->tensors, (size_t)file->n_tensors, sizeof *file->tensors, order_by_offset);
    uint64_t expected = 0;
    for (ptrdiff_t i = 0; i < file->n_tensors; i++) {
        const struct ls_stored_tensor *tensor = &file->tensors[i];
        if (tensor->begin_bytes < expected)
            return ls_fail(err, LS_FAILED,
                           "'%s': tensor '%s' begins at byte %" PRIu64
                           " of the data and overlaps tensor '%s', which ends at %" PRIu64,
                           file->path, ls_quote(tensor->name).text, tensor->begin_bytes,
                           ls_quote(tensor[-1].name).text, expected);
        if (tensor->begin_bytes > expected)
            return ls_fail(err, LS_FAILED,
                           "'%s': bytes %" PRIu64 " to %" PRIu64
                           " of the data, before tensor '%s', belong to no tensor",
                           file->path, expected, tensor->begin_bytes, ls_quote(tensor->name).text);
        expected = end_bytes(tensor);
    }
    if (expected != file->data_bytes)
        return ls_fail(err, LS_FAILED,
                       "'%s': bytes %" PRIu64 " to %" PRIu64 " of the data, at its end, belong to no tensor",
                       file->path, expected, file->data_bytes);
    forget_ignored(file);
    if (file->n_tensors > 0)
        qsort(file->by_name, (size_t)file->n_tensors, sizeof *file->by_name, order_by_name);
    return LS_OK;
}

/* Whether the text has more parts than a valid header of its length can.  Parsed, "{}," costs 73 times its
 * text and "[]," 41 times, a valid entry 14 times (jansson 2.14); this keeps a hostile header from asking for
 * gigabytes.  The shortest entry, of 52 bytes, has 3 brackets; 11 commas take 67 bytes with 8 dimensions; an
 * entry of metadata takes 6. */
static int crowded(const char *json, size_t n)
{
    size_t brackets = 0, commas = 0;
    int in_string = 0;
    for (size_t i = 0; i < n; i++) {
        if (json[i] == '\\')
            i += (size_t)in_string;
        else if (json[i] == '"')
            in_string = !in_string;
        else if (!in_string) {
            brackets += json[i] == '[' || json[i] == '{';
            commas += json[i] == ',';
        }
    }
    return brackets > n / 16 + 8 || commas > n / 6 + 8;
}

static enum ls_code parse_header(struct ls_safetensors *file, const char *json, size_t n,
                                 struct ls_error *err)
{
    if (n == 0 || json[0] != '{')
        return ls_fail(err, LS_FAILED, "'%s': the header of %zu bytes does not begin with '{'", file->path,
                       n);
    if (crowded(json, n))
        return ls_fail(err, LS_FAILED,
                       "'%s': the header of %zu bytes has too many parts to be a list of tensors", file->path,
                       n);
    json_error_t where;
    file->header = json_loadb(json, n, JSON_REJECT_DUPLICATES, &where);
    if (!file->header)
        return ls_fail(err, LS_FAILED, "'%s': the header is not valid JSON at its byte %d: %s", file->path,
                       where.position, ls_quote(where.text).text);
    return LS_OK;
}

static enum ls_code read_header(struct ls_safetensors *file, uint64_t file_bytes, struct ls_error *err)
{
    uint64_t n = 0;
    if (file_bytes < 8)
        return ls_fail(err, LS_FAILED,
                       "'%s' is too short for a safetensors file: %" PRIu64
                       " bytes, and the length of its header takes 8",
                       file->path, file_bytes);
    if (read_at(file, &n, 8, 0, err) != LS_OK)
        return LS_FAILED;
    if (n > LS_SAFETENSORS_HEADER_BYTES)
        return ls_fail(err, LS_FAILED,
                       "'%s' is not a safetensors file: its first 8 bytes say that the header has %" PRIu64
                       " bytes; at most %d are allowed",
                       file->path, n, LS_SAFETENSORS_HEADER_BYTES);
    if (n > file_bytes - 8)
        return ls_fail(err, LS_FAILED,
                       "'%s' is cut short: its header has %" PRIu64 " bytes, and %" PRIu64
                       " are left in the file",
                       file->path, n, file_bytes - 8);
    file->data_begin = 8 + n;
    file->data_bytes = file_bytes - file->data_begin;
    char *json = ls_alloc((size_t)n, 1, "header of a safetensors file", err);
    if (!json)
        return LS_FAILED;
    enum ls_code code = read_at(file, json, (size_t)n, 8, err);
    if (code == LS_OK)
        code = parse_header(file, json, (size_t)n, err);
    ls_free(json);
    return code;
}

enum ls_code ls_safetensors_open(struct ls_safetensors **opened, const char *path, struct ls_error *err)
{
    *opened = NULL;
    struct ls_safetensors *file = ls_alloc(1, sizeof *file, "safetensors file", err);
    if (!file)
        return LS_FAILED;
    file->fd = -1;
    file->path = ls_copy_text(path, err);
    if (!file->path)
        goto fail;
    uint64_t file_bytes;
    file->fd = ls_open_regular(path, &file_bytes, err);
    if (file->fd < 0)
        goto fail;
    if (read_header(file, file_bytes, err) != LS_OK || read_entries(file, err) != LS_OK ||
        check_layout(file, err) != LS_OK)
        goto fail;
    *opened = file;
    return LS_OK;
fail:
    ls_safetensors_close(&file);
    return LS_FAILED;
}

void ls_safetensors_close(struct ls_safetensors **file)
{
    if (!file || !*file)
        return;
    if ((*file)->fd >= 0)
        close((*file)->fd);
    json_decref((*file)->header);
    ls_free((*file)->tensors);
    ls_free((*file)->by_name);
    ls_free((*file)->path);
    ls_free(*file);
    *file = NULL;
}

/* --- what is in an open file --- */

ptrdiff_t ls_safetensors_count(const struct ls_safetensors *file)
{
    return file->n_tensors;
}

const struct ls_stored_tensor *ls_safetensors_tensor(const struct ls_safetensors *file, ptrdiff_t i)
{
    assert(i >= 0 && i < file->n_tensors);
    return &file->tensors[i];
}

const struct ls_stored_tensor *ls_safetensors_find(const struct ls_safetensors *file, const char *name)
{
    if (file->n_tensors == 0)
        return NULL;
    const struct ls_stored_tensor key = {.name = name}, *wanted = &key;
    const struct ls_stored_tensor **found =
        bsearch(&wanted, file->by_name, (size_t)file->n_tensors, sizeof *file->by_name, order_by_name);
    return found ? *found : NULL;
}

const char *ls_safetensors_metadata(const struct ls_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

void ls_safetensors_each_metadata(const struct ls_safetensors *file,
                                  void (*visit)(void *context, const char *key, const char *value),
                                  void *context)
{
    const char *key;
    json_t *value;
    json_object_foreach (json_object_get(file->header, "__metadata__"), key, value)
        visit(context, key, json_string_value(value));
}

enum ls_code ls_safetensors_read_elements(const struct ls_safetensors *file,
                                          const struct ls_stored_tensor *tensor, ptrdiff_t first, ptrdiff_t n,
                                          float *data, struct ls_error *err)
{
    assert(first >= 0 && n >= 0 && n <= tensor->n_elements - first);
    return read_at(file, data, (size_t)n * sizeof(float),
                   file->data_begin + tensor->begin_bytes + (uint64_t)first * sizeof(float), err);
}

/* File (R,C) becomes memory (C,R). */
static enum ls_code read_transposed(const struct ls_safetensors *file, const struct ls_stored_tensor *stored,
                                    float *data, struct ls_error *err)
{
    const ptrdiff_t R = stored->dims[0], C = stored->n_elements / R;
    const ptrdiff_t most = R < BLOCK_ROWS ? R : BLOCK_ROWS;
    float *block = ls_alloc((size_t)(most * C), sizeof(float), "rows of a tensor", err);
    enum ls_code code = block ? LS_OK : LS_FAILED;
    for (ptrdiff_t r0 = 0; r0 < R && code == LS_OK; r0 += most) {
        const ptrdiff_t rows = R - r0 < most ? R - r0 : most;
        code = ls_safetensors_read_elements(file, stored, r0 * C, rows * C, block, err);
        for (ptrdiff_t c = 0; c < C && code == LS_OK; c++)
            for (ptrdiff_t r = 0; r < rows; r++)
                data[c * R + r0 + r] = block[r * C + c];
    }
    ls_free(block);
    return code;
}

enum ls_code ls_safetensors_read(const struct ls_safetensors *file, const struct ls_tensor *tensor,
                                 struct ls_error *err)
{
    assert(!tensor->transposed || tensor->n_dims >= 2);
    const struct ls_stored_tensor *stored = ls_safetensors_find(file, tensor->name);
    if (!stored)
        return ls_fail(err, LS_FAILED, "'%s' has no tensor '%s' among its %td", file->path, tensor->name,
                       file->n_tensors);
    if (stored->n_dims != tensor->n_dims ||
        memcmp(stored->dims, tensor->dims, (size_t)stored->n_dims * sizeof *stored->dims) != 0)
        return ls_fail(err, LS_FAILED, "'%s': tensor '%s' has shape %s; %s is needed", file->path,
                       tensor->name, ls_shape_text(stored->n_dims, stored->dims).text,
                       ls_shape_text(tensor->n_dims, tensor->dims).text);
    if (stored->n_elements == 0)
        return LS_OK; /* a shape such as [2^60,0] is valid and must not be walked */
    return tensor->transposed
               ? read_transposed(file, stored, tensor->data, err)
               : ls_safetensors_read_elements(file, stored, 0, stored->n_elements, tensor->data, err);
}

struct ls_shape_text ls_shape_text(int n_dims, const ptrdiff_t *dims)
{
    struct ls_shape_text shape = {"["};
    size_t used = 1;
    for (int d = 0; d < n_dims; d++)
        used += (size_t)snprintf(shape.text + used, sizeof shape.text - used, d ? ",%td" : "%td", dims[d]);
    snprintf(shape.text + used, sizeof shape.text - used, "]");
    return shape;
}
