/* Owns NumPy's .npy files as data: one with inputs, one with targets.  They are read where they lie, in
 * blocks; only headers stay in memory. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/read_at.h"
#include "data/formats.h"
#include "data/npy_header.h"

/* The state of an array: its file. */
struct npy {
    int file;
};

/* Exactly n bytes at `at`. */
static enum ls_code read_at(int file, const char *where, int64_t at, size_t n, uint8_t *to,
                            struct ls_error *err)
{
    const ptrdiff_t got = ls_read_at(file, at, to, n);
    if (got < 0)
        return ls_fail_errno(err, LS_FAILED, "%s: byte %lld cannot be read", where, (long long)at);
    if ((size_t)got < n)
        return ls_fail(err, LS_FAILED, "%s: ends at byte %lld; it became shorter while it was read", where,
                       (long long)(at + got));
    return LS_OK;
}

static enum ls_code read_rows(struct ls_array *array, int64_t first, int64_t n, uint8_t *raw,
                              struct ls_error *err)
{
    const struct npy *npy = array->state;
    return read_at(npy->file, array->where, array->first_byte + first * (int64_t)array->row_bytes,
                   (size_t)n * array->row_bytes, raw, err);
}

static void close_file(struct ls_array *array)
{
    struct npy *npy = array->state;
    close(npy->file);
    ls_free(npy);
}

static enum ls_code check_size(const struct ls_array *array, int64_t file_bytes, struct ls_error *err)
{
    const int64_t needed = array->first_byte + ls_array_bytes(array);
    if (file_bytes == needed)
        return LS_OK;
    return ls_fail(err, LS_FAILED, "%s has %lld bytes; its header promises %lld: %s", array->where,
                   (long long)file_bytes, (long long)needed,
                   file_bytes < needed ? "it is cut short" : "something follows the array");
}

static enum ls_code read_header(struct ls_array *array, int file, int64_t file_bytes, struct ls_error *err)
{
    uint8_t prefix[LS_NPY_PREFIX];
    if (file_bytes < LS_NPY_PREFIX)
        return ls_fail(err, LS_FAILED, "%s has only %lld bytes; an .npy file has more than %d", array->where,
                       (long long)file_bytes, LS_NPY_PREFIX);
    enum ls_code code = read_at(file, array->where, 0, sizeof prefix, prefix, err);
    const size_t n = code == LS_OK ? ls_npy_header_bytes(prefix, array->where, err) : 0;
    if (n == 0)
        return LS_FAILED;
    if ((int64_t)n > file_bytes)
        return ls_fail(err, LS_FAILED, "%s has %lld bytes; its header alone has %zu: it is cut short",
                       array->where, (long long)file_bytes, n);
    uint8_t *header = ls_alloc(n, 1, array->where, err);
    code = header ? read_at(file, array->where, 0, n, header, err) : LS_FAILED;
    if (code == LS_OK && memcmp(header, prefix, sizeof prefix) != 0)
        code = ls_fail(err, LS_FAILED, "%s changes while it is read", array->where);
    if (code == LS_OK)
        code = ls_npy_header_parse(array, header, n, err);
    ls_free(header);
    return code == LS_OK ? check_size(array, file_bytes, err) : code;
}

static enum ls_code open_array(struct ls_array *array, const char *path, struct ls_error *err)
{
    *array = (struct ls_array){.read = read_rows};
    snprintf(array->where, sizeof array->where, "\"%.500s\"", path);
    struct npy *npy = ls_alloc(1, sizeof *npy, path, err);
    if (!npy)
        return LS_FAILED;
    struct stat status;
    npy->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (npy->file < 0 || fstat(npy->file, &status) != 0) {
        const enum ls_code code = ls_fail_errno(err, LS_FAILED, "cannot open \"%s\"", path);
        if (npy->file >= 0)
            close(npy->file);
        ls_free(npy);
        return code;
    }
    array->state = npy;
    array->close = close_file;
    if (!S_ISREG(status.st_mode))
        return ls_fail(err, LS_FAILED, "\"%s\" is not a regular file", path);
    return read_header(array, npy->file, status.st_size, err);
}

static enum ls_code open_npy(struct ls_stream *stream, struct ls_source *source,
                             const struct ls_stream_request *request, struct ls_error *err)
{
    static const char *const known[] = {"divisor", "targets", NULL};
    struct ls_array x = {.n_dims = 0}, y = {.n_dims = 0};
    struct ls_array_options options;
    enum ls_code code = ls_array_options_read(&options, source, request, err);
    if (code == LS_OK)
        code = ls_source_check(source, known, 1, 2, err);
    if (code == LS_OK)
        code = open_array(&x, source->files[0], err);
    if (code == LS_OK && source->n_files == 2)
        code = open_array(&y, source->files[1], err);
    if (code == LS_OK)
        return ls_array_stream(stream, &x, &y, &options, err);
    ls_array_close(&x);
    ls_array_close(&y);
    return code;
}

static const char *const endings[] = {".npy", NULL};

const struct ls_format ls_format_npy = {
    .name = "npy",
    .endings = endings,
    .usage = "npy:INPUTS,TARGETS[,divisor=1|16|255][,targets=labels|values]",
    .recognises = ls_npy_is_meant,
    .open = open_npy,
};
