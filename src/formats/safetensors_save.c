/* Owns the writing of safetensors.  The header is built by jansson, which keeps the order of insertion, so a
 * file's bytes depend on nothing but the arguments.  Left to savefile.c: that a failed save leaves no trace.
 */
#include <assert.h>
#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "formats/safetensors.h"
#include "formats/savefile.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#    error "the arrays are written as they lie in memory, which must be little-endian"
#endif

enum { BLOCK_ROWS = 16 }; /* of a transposed matrix at a time: one cache line of each column */

static size_t tensor_bytes(const struct ls_tensor *tensor)
{
    size_t bytes = sizeof(float);
    for (int d = 0; d < tensor->n_dims; d++)
        bytes *= (size_t)tensor->dims[d];
    return bytes;
}

static json_t *describe(const struct ls_tensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    for (int d = 0; d < tensor->n_dims; d++)
        json_array_append_new(shape, json_integer(tensor->dims[d]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)(begin + tensor_bytes(tensor)));
}

static enum ls_code add_metadata(json_t *header, const struct ls_metadata *metadata, ptrdiff_t n,
                                 struct ls_error *err)
{
    json_t *object = json_object();
    if (json_object_set_new(header, "__metadata__", object) != 0)
        return ls_fail(err, LS_FAILED, "metadata: out of memory");
    for (ptrdiff_t i = 0; i < n; i++) {
        assert(strlen(metadata[i].key) <= LS_TENSOR_NAME && !json_object_get(object, metadata[i].key));
        if (json_object_set_new(object, metadata[i].key, json_string(metadata[i].value)) != 0)
            return ls_fail(err, LS_FAILED, "metadata '%s' cannot be stored: its text is not UTF-8",
                           metadata[i].key);
    }
    return LS_OK;
}

static enum ls_code add_tensors(json_t *header, const struct ls_tensor *tensors, ptrdiff_t n,
                                struct ls_error *err)
{
    size_t begin = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const struct ls_tensor *tensor = &tensors[i];
        assert(tensor->n_dims >= 0 && tensor->n_dims <= LS_TENSOR_DIMS);
        assert(!tensor->transposed || tensor->n_dims >= 2);
        assert(strlen(tensor->name) <= LS_TENSOR_NAME && !json_object_get(header, tensor->name));
        if (json_object_set_new(header, tensor->name, describe(tensor, begin)) != 0)
            return ls_fail(err, LS_FAILED, "tensor '%s' cannot be stored: its name is not UTF-8",
                           tensor->name);
        begin += tensor_bytes(tensor);
    }
    return LS_OK;
}

/* The length and the padded text, ready to be written; ls_free releases them. */
static char *format_header(json_t *header, size_t *n_bytes, struct ls_error *err)
{
    const size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    const size_t padded = (length + 7) / 8 * 8;
    if (length == 0 || padded > LS_SAFETENSORS_HEADER_BYTES) {
        ls_fail(err, LS_FAILED, "the header would be %zu bytes; 2 to %d can be stored", padded,
                LS_SAFETENSORS_HEADER_BYTES);
        return NULL;
    }
    char *bytes = ls_alloc(8 + padded, 1, "header of a safetensors file", err);
    if (!bytes)
        return NULL;
    memcpy(bytes, &(uint64_t){padded}, 8);
    memset(bytes + 8, ' ', padded);
    json_dumpb(header, bytes + 8, length, JSON_COMPACT);
    *n_bytes = 8 + padded;
    return bytes;
}

static enum ls_code save_header(struct ls_savefile *file, const struct ls_tensor *tensors,
                                ptrdiff_t n_tensors, const struct ls_metadata *metadata, ptrdiff_t n_metadata,
                                struct ls_error *err)
{
    enum ls_code code = LS_OK;
    size_t n_bytes = 0;
    char *bytes = NULL;
    json_t *header = json_object();
    if (n_metadata > 0)
        code = add_metadata(header, metadata, n_metadata, err);
    if (code == LS_OK)
        code = add_tensors(header, tensors, n_tensors, err);
    if (code == LS_OK) {
        bytes = format_header(header, &n_bytes, err);
        code = bytes ? ls_savefile_write(file, bytes, n_bytes, err) : LS_FAILED;
    }
    ls_free(bytes);
    json_decref(header);
    return code;
}

/* Memory (C,R) becomes file (R,C), BLOCK_ROWS rows at a time, so each column is read a cache line at once. */
static enum ls_code save_transposed(struct ls_savefile *file, const struct ls_tensor *tensor,
                                    struct ls_error *err)
{
    const ptrdiff_t R = tensor->dims[0];
    ptrdiff_t C = 1;
    for (int d = 1; d < tensor->n_dims; d++)
        C *= tensor->dims[d];
    const ptrdiff_t most = R < BLOCK_ROWS ? R : BLOCK_ROWS;
    float *block = ls_alloc((size_t)(most * C), sizeof(float), tensor->name, err);
    enum ls_code code = block ? LS_OK : LS_FAILED;
    for (ptrdiff_t r0 = 0; r0 < R && code == LS_OK; r0 += most) {
        const ptrdiff_t rows = R - r0 < most ? R - r0 : most;
        for (ptrdiff_t c = 0; c < C; c++)
            for (ptrdiff_t r = 0; r < rows; r++)
                block[r * C + c] = tensor->data[c * R + r0 + r];
        code = ls_savefile_write(file, block, (size_t)(rows * C) * sizeof(float), err);
    }
    ls_free(block);
    return code;
}

static enum ls_code save_all(struct ls_savefile *file, const struct ls_tensor *tensors, ptrdiff_t n_tensors,
                             const struct ls_metadata *metadata, ptrdiff_t n_metadata, struct ls_error *err)
{
    enum ls_code code = save_header(file, tensors, n_tensors, metadata, n_metadata, err);
    for (ptrdiff_t i = 0; i < n_tensors && code == LS_OK; i++)
        code = tensors[i].transposed
                   ? save_transposed(file, &tensors[i], err)
                   : ls_savefile_write(file, tensors[i].data, tensor_bytes(&tensors[i]), err);
    return code;
}

enum ls_code ls_safetensors_save(const char *path, const struct ls_tensor *tensors, ptrdiff_t n_tensors,
                                 const struct ls_metadata *metadata, ptrdiff_t n_metadata,
                                 struct ls_error *err)
{
    struct ls_savefile file = {0};
    enum ls_code code = ls_savefile_open(&file, path, err);
    if (code == LS_OK)
        code = save_all(&file, tensors, n_tensors, metadata, n_metadata, err);
    if (code == LS_OK)
        code = ls_savefile_commit(&file, err);
    ls_savefile_release(&file);
    return code;
}

/* The digits are zeros while the bytes are hashed, and filled in behind. */
static enum ls_code save_sealed(struct ls_savefile *file, const struct ls_tensor *tensors,
                                ptrdiff_t n_tensors, const struct ls_metadata *metadata, ptrdiff_t n_metadata,
                                struct ls_error *err)
{
    struct ls_metadata *sealed =
        ls_alloc((size_t)n_metadata + 1, sizeof *sealed, "metadata of a safetensors file", err);
    file->hasher = ls_hasher_create();
    enum ls_code code = sealed && file->hasher ? LS_OK : ls_fail(err, LS_FAILED, "checksum: out of memory");
    if (code == LS_OK) {
        char digits[LS_HASH_TEXT];
        memset(digits, '0', LS_HASH_TEXT - 1);
        digits[LS_HASH_TEXT - 1] = '\0';
        sealed[0] = (struct ls_metadata){"checksum", digits};
        memcpy(sealed + 1, metadata, (size_t)n_metadata * sizeof *metadata);
        code = save_all(file, tensors, n_tensors, sealed, n_metadata + 1, err);
        ls_hash_text(ls_hasher_end(file->hasher), digits);
        if (code == LS_OK)
            code = ls_savefile_patch(file, 8 + sizeof LS_SEAL_BEGINNING - 1, digits, LS_HASH_TEXT - 1, err);
    }
    ls_hasher_destroy(&file->hasher);
    ls_free(sealed);
    return code;
}

enum ls_code ls_safetensors_save_sealed(const char *path, const struct ls_tensor *tensors,
                                        ptrdiff_t n_tensors, const struct ls_metadata *metadata,
                                        ptrdiff_t n_metadata, struct ls_error *err)
{
    struct ls_savefile file = {0};
    enum ls_code code = ls_savefile_open_within(&file, path, err);
    if (code == LS_OK)
        code = save_sealed(&file, tensors, n_tensors, metadata, n_metadata, err);
    if (code == LS_OK)
        code = ls_savefile_commit(&file, err);
    ls_savefile_release(&file);
    return code;
}
