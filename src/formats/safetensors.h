/* safetensors: named float arrays and string metadata in one file, which PyTorch, JAX and numpy also open.
 *
 *   8 bytes       length of the header, little-endian
 *   header        JSON: {"__metadata__":{"key":"text",...},
 *                        "name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...}, spaces up to a
 * multiple of 8 data          the arrays, row-major little-endian binary32, without gaps; offsets count from
 * here
 *
 * The format is Hugging Face's (https://huggingface.co/docs/safetensors); of its element types this knows
 * F32.  Nothing here knows what a model is.
 *
 * A file from outside is not trusted: opening checks every length, offset and type against the size of the
 * file before anything is allocated or read by it.  Messages name the file, the tensor, the value found and
 * what is allowed. */
#ifndef LS_FORMATS_SAFETENSORS_H
#define LS_FORMATS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

enum {
    LS_TENSOR_DIMS = 8,                     /* the most dimensions */
    LS_TENSOR_NAME = 255,                   /* the longest name or metadata key, in bytes */
    LS_SAFETENSORS_HEADER_BYTES = 100000000 /* the longest header, as in the format's own reader */
};

/* An array in the caller's memory and how it lies in a file; one list of them serves to save and to read. */
struct ls_tensor {
    const char *name;
    int n_dims;                     /* 0 (one number) ... LS_TENSOR_DIMS */
    ptrdiff_t dims[LS_TENSOR_DIMS]; /* as stored */
    int transposed; /* n_dims >= 2: memory is (product of dims[1..], dims[0]), as dense weights (in, out) are
                       stored as (out, in) */
    float *data;    /* product of dims numbers; save only reads them */
};

struct ls_metadata {
    const char *key, *value;
};

/* Writes the tensors in the given order; the same arguments give the same bytes.  Local; a reader of `path`
 * sees the old file or the new one (savefile.h), and a failure leaves the old one.  Names and keys are unique
 * and no longer than LS_TENSOR_NAME; text that is not UTF-8 is refused. */
enum ls_code ls_safetensors_save(const char *path, const struct ls_tensor *tensors, ptrdiff_t n_tensors,
                                 const struct ls_metadata *metadata, ptrdiff_t n_metadata,
                                 struct ls_error *err);

/* The same, sealed, and within the path's folder (ls_savefile_open_within): the metadata begin with a
 * "checksum" of every byte of the file, its own 32 digits taken as zeros, so that ls_safetensors_check_seal
 * finds any bit that changed since, in numbers or header. */
enum ls_code ls_safetensors_save_sealed(const char *path, const struct ls_tensor *tensors,
                                        ptrdiff_t n_tensors, const struct ls_metadata *metadata,
                                        ptrdiff_t n_metadata, struct ls_error *err);

/* Reads the whole file and compares it with its seal, before anything else in it is believed.  Local.
 * *checksum is that of the file. */
enum ls_code ls_safetensors_check_seal(const char *path, struct ls_hash *checksum, struct ls_error *err);

/* What a sealed file begins with behind the 8 bytes of length; the checksum's digits follow. */
#define LS_SEAL_BEGINNING "{\"__metadata__\":{\"checksum\":\""

/* An array in a file. */
struct ls_stored_tensor {
    const char *name;
    int n_dims;
    ptrdiff_t dims[LS_TENSOR_DIMS];
    ptrdiff_t n_elements;
    uint64_t begin_bytes; /* from the start of the data */
    int ignored;          /* PyTorch's num_batches_tracked, an I64: its numbers cannot be read here */
};

struct ls_safetensors; /* an open file */

/* Opens and checks everything but the numbers.  Local.  On failure *file is NULL. */
enum ls_code ls_safetensors_open(struct ls_safetensors **file, const char *path, struct ls_error *err);
void ls_safetensors_close(struct ls_safetensors **file);

/* The tensors in the order of their data; what is returned lives as long as the file is open. */
ptrdiff_t ls_safetensors_count(const struct ls_safetensors *file);
const struct ls_stored_tensor *ls_safetensors_tensor(const struct ls_safetensors *file, ptrdiff_t i);
const struct ls_stored_tensor *ls_safetensors_find(const struct ls_safetensors *file,
                                                   const char *name); /* or NULL */

/* The text stored under a key, or NULL. */
const char *ls_safetensors_metadata(const struct ls_safetensors *file, const char *key);

/* The metadata in file order: calls visit(context, key, value) for each. */
void ls_safetensors_each_metadata(const struct ls_safetensors *file,
                                  void (*visit)(void *context, const char *key, const char *value),
                                  void *context);

/* Fills tensor->data from the tensor of that name, which must have exactly those dims; transposes back if
 * asked to. */
enum ls_code ls_safetensors_read(const struct ls_safetensors *file, const struct ls_tensor *tensor,
                                 struct ls_error *err);

/* Copies n elements from `first` on, in stored order. */
enum ls_code ls_safetensors_read_elements(const struct ls_safetensors *file,
                                          const struct ls_stored_tensor *tensor, ptrdiff_t first, ptrdiff_t n,
                                          float *data, struct ls_error *err);

/* "[2,3]", for messages. */
struct ls_shape_text {
    char text[LS_TENSOR_DIMS * 21 + 3];
};
struct ls_shape_text ls_shape_text(int n_dims, const ptrdiff_t *dims);

#endif
