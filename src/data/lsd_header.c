/* Owns the header of .lsd files: fields to bytes and back, and which of them are believed.  See lsd.h. */
#include <math.h>
#include <string.h>

#include "data/lsd.h"
#include "data/readers.h"

enum {
    AT_VERSION = 8,
    AT_MARK = 12,
    AT_FILE_BYTES = 16,
    AT_ELEMENT = 24,
    AT_DIVISOR = 28,
    AT_N_DIMS = 32,
    AT_CLASSES = 36,
    AT_DIMS = 40,
    AT_VALUES = 72,
    AT_NAMES_BYTES = 80,
    AT_N_NAMES = 88,
    AT_BLOCK = 96,
    AT_PART = 104,
    PART_BYTES = 40,
    AT_NAMES_HASH = 184,
    AT_TABLES_HASH = 200,
    AT_END = 216,
    AT_CHECKSUM = LS_LSD_PAGE - LS_LSD_HASH_BYTES
};
#define ENDIAN_MARK 0x01020304u
#define MOST_BYTES ((int64_t)1 << 60)

static const unsigned char magic[8] = {0x89, 'L', 'S', 'D', '\r', '\n', 0x1a, '\n'};

int ls_lsd_is_magic(const unsigned char *bytes, size_t n)
{
    return n >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

static void put(uint8_t *at, uint64_t word, int n)
{
    for (int i = 0; i < n; i++)
        at[i] = (uint8_t)(word >> (8 * i));
}

static uint64_t get(const uint8_t *at, int n)
{
    uint64_t word = 0;
    for (int i = 0; i < n; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

void ls_lsd_put_hash(uint8_t bytes[LS_LSD_HASH_BYTES], struct ls_hash hash)
{
    put(bytes, hash.low, 8);
    put(bytes + 8, hash.high, 8);
}

struct ls_hash ls_lsd_get_hash(const uint8_t bytes[LS_LSD_HASH_BYTES])
{
    return (struct ls_hash){.low = get(bytes, 8), .high = get(bytes + 8, 8)};
}

/* Places a section of n x size bytes at *end, which becomes the next page behind it; 0 when that is too far.
 */
static int place(int64_t *offset, int64_t n, int64_t size, int64_t *end)
{
    int64_t bytes;
    *offset = 0;
    if (n == 0 || size == 0)
        return 1;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > MOST_BYTES - *end)
        return 0;
    *offset = *end;
    *end += (bytes + LS_LSD_PAGE - 1) / LS_LSD_PAGE * LS_LSD_PAGE;
    return 1;
}

enum ls_code ls_lsd_lay_out(struct ls_lsd_header *header, const char *path, struct ls_error *err)
{
    int64_t end = LS_LSD_PAGE, names, stride;
    int fits = header->n_features <= MOST_BYTES / 4 && header->n_values <= MOST_BYTES / 4;
    stride = fits ? ls_lsd_stride(header) : 0;
    fits = fits && place(&names, header->names_bytes, 1, &end);
    for (int p = 0; fits && p < LS_LSD_PARTS; p++) {
        struct ls_lsd_part *part = &header->part[p];
        fits = place(&part->inputs, part->n_samples, stride, &end) &&
               place(&part->labels, part->n_samples, header->n_classes > 0 ? 4 : 0, &end) &&
               place(&part->values, part->n_samples, 4 * header->n_values, &end);
    }
    for (int p = 0; fits && p < LS_LSD_PARTS; p++)
        fits = place(&header->part[p].table, ls_lsd_blocks(header, p), ls_lsd_line(header), &end);
    header->file_bytes = end;
    return fits ? LS_OK
                : ls_fail(err, LS_FAILED,
                          "\"%s\": %lld + %lld samples of %lld features are more than a file of "
                          "2^60 bytes can hold",
                          path, (long long)header->part[0].n_samples, (long long)header->part[1].n_samples,
                          (long long)header->n_features);
}

void ls_lsd_encode(struct ls_lsd_header *header, uint8_t bytes[LS_LSD_PAGE])
{
    uint32_t divisor;
    memcpy(&divisor, &header->divisor, sizeof divisor);
    memset(bytes, 0, LS_LSD_PAGE);
    memcpy(bytes, magic, sizeof magic);
    put(bytes + AT_VERSION, LS_LSD_VERSION, 4);
    put(bytes + AT_MARK, ENDIAN_MARK, 4);
    put(bytes + AT_FILE_BYTES, (uint64_t)header->file_bytes, 8);
    put(bytes + AT_ELEMENT, header->is_bytes ? 1 : 4, 4);
    put(bytes + AT_DIVISOR, divisor, 4);
    put(bytes + AT_N_DIMS, (uint64_t)header->n_dims, 4);
    put(bytes + AT_CLASSES, (uint64_t)header->n_classes, 4);
    for (int i = 0; i < LS_MAX_DIMS; i++)
        put(bytes + AT_DIMS + 8 * i, i < header->n_dims ? (uint64_t)header->dims[i] : 0, 8);
    put(bytes + AT_VALUES, (uint64_t)header->n_values, 8);
    put(bytes + AT_NAMES_BYTES, (uint64_t)header->names_bytes, 8);
    put(bytes + AT_N_NAMES, (uint64_t)header->n_names, 4);
    put(bytes + AT_BLOCK, (uint64_t)header->block_samples, 8);
    for (int p = 0; p < LS_LSD_PARTS; p++) {
        const struct ls_lsd_part *part = &header->part[p];
        const int64_t field[] = {part->n_samples, part->inputs, part->labels, part->values, part->table};
        for (int i = 0; i < 5; i++)
            put(bytes + AT_PART + PART_BYTES * p + 8 * i, (uint64_t)field[i], 8);
    }
    ls_lsd_put_hash(bytes + AT_NAMES_HASH, header->names);
    ls_lsd_put_hash(bytes + AT_TABLES_HASH, header->tables);
    header->identity = ls_hash_bytes(bytes, AT_CHECKSUM);
    ls_lsd_put_hash(bytes + AT_CHECKSUM, header->identity);
}

static enum ls_code check_frame(const uint8_t *bytes, size_t n, const char *path, struct ls_error *err)
{
    if (!ls_lsd_is_magic(bytes, n))
        return ls_fail(err, LS_FAILED,
                       "\"%s\" is not a file of 'lockstep convert': its first 8 bytes are others", path);
    if (n < LS_LSD_PAGE)
        return ls_fail(err, LS_FAILED, "\"%s\" is cut short: %zu bytes, its header alone has %d", path, n,
                       LS_LSD_PAGE);
    const unsigned version = (unsigned)get(bytes + AT_VERSION, 4);
    if (version != LS_LSD_VERSION)
        return ls_fail(err, LS_FAILED, "\"%s\": byte %d: version %u of the format; this program reads %d",
                       path, AT_VERSION, version, LS_LSD_VERSION);
    const uint32_t host = ENDIAN_MARK;
    if (get(bytes + AT_MARK, 4) != ENDIAN_MARK || *(const uint8_t *)&host != 0x04)
        return ls_fail(err, LS_FAILED, "\"%s\": byte %d: the file or this processor is not little-endian",
                       path, AT_MARK);
    if (!ls_hash_equal(ls_lsd_get_hash(bytes + AT_CHECKSUM), ls_hash_bytes(bytes, AT_CHECKSUM)))
        return ls_fail(
            err, LS_FAILED,
            "\"%s\" is damaged: the checksum of its header (bytes 0 to %d) does not match; convert or "
            "copy it again",
            path, AT_CHECKSUM - 1);
    for (int i = AT_END; i < AT_CHECKSUM; i++)
        if (bytes[i])
            return ls_fail(err, LS_FAILED, "\"%s\": byte %d: %d; expected 0", path, i, bytes[i]);
    return LS_OK;
}

/* A field within bounds, or a message. */
static enum ls_code field(const uint8_t *bytes, int at, int n, int64_t least, int64_t most, const char *what,
                          const char *path, int64_t *value, struct ls_error *err)
{
    const uint64_t word = get(bytes + at, n);
    if (word < (uint64_t)least || word > (uint64_t)most)
        return ls_fail(err, LS_FAILED, "\"%s\": byte %d: %s: %llu; allowed are %lld to %lld", path, at, what,
                       (unsigned long long)word, (long long)least, (long long)most);
    *value = (int64_t)word;
    return LS_OK;
}

static enum ls_code decode_shape(struct ls_lsd_header *header, const uint8_t *bytes, const char *path,
                                 struct ls_error *err)
{
    int64_t n_dims = 1;
    enum ls_code code = field(bytes, AT_N_DIMS, 4, 1, LS_MAX_DIMS, "dimensions", path, &n_dims, err);
    if (code != LS_OK)
        return code;
    header->n_dims = (int)n_dims;
    header->n_features = 1;
    for (int i = 0; i < LS_MAX_DIMS && code == LS_OK; i++) {
        const int used = i < n_dims;
        code = field(bytes, AT_DIMS + 8 * i, 8, used, used ? MOST_BYTES / 4 / header->n_features : 0,
                     "a dimension", path, &header->dims[i], err);
        if (code == LS_OK && used)
            header->n_features *= header->dims[i];
    }
    return code;
}

static enum ls_code decode_kind(struct ls_lsd_header *header, const uint8_t *bytes, const char *path,
                                struct ls_error *err)
{
    const uint32_t divisor = (uint32_t)get(bytes + AT_DIVISOR, 4);
    const unsigned element = (unsigned)get(bytes + AT_ELEMENT, 4);
    memcpy(&header->divisor, &divisor, sizeof divisor);
    header->is_bytes = element == 1;
    if (element != 1 && element != 4)
        return ls_fail(err, LS_FAILED, "\"%s\": byte %d: elements of %u bytes; allowed are 1 and 4", path,
                       AT_ELEMENT, element);
    if (header->is_bytes ? !(header->divisor > 0 && isfinite(header->divisor)) : divisor != 0)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": byte %d: divisor %g; allowed are numbers above 0, and 0 with "
                       "elements of 4 bytes",
                       path, AT_DIVISOR, (double)header->divisor);
    int64_t n_classes = 0, n_names = 0, zero = 0;
    enum ls_code code = field(bytes, AT_CLASSES, 4, 0, LS_MAX_LABEL + 1, "classes", path, &n_classes, err);
    if (code == LS_OK)
        code = field(bytes, AT_VALUES, 8, 0, MOST_BYTES / 4, "target numbers", path, &header->n_values, err);
    if (code == LS_OK)
        code = field(bytes, AT_N_NAMES, 4, 0, n_classes, "class names", path, &n_names, err);
    if (code == LS_OK && n_names != 0 && n_names != n_classes)
        code = ls_fail(err, LS_FAILED, "\"%s\": byte %d: %lld class names for %lld classes", path, AT_N_NAMES,
                       (long long)n_names, (long long)n_classes);
    if (code == LS_OK) /* a name has at least its 0 byte */
        code = field(bytes, AT_NAMES_BYTES, 8, n_names, n_names ? MOST_BYTES : 0, "bytes of class names",
                     path, &header->names_bytes, err);
    if (code == LS_OK)
        code = field(bytes, AT_N_NAMES + 4, 4, 0, 0, "spare", path, &zero, err);
    header->n_classes = (int32_t)n_classes;
    header->n_names = (int32_t)n_names;
    return code;
}

static enum ls_code decode_parts(struct ls_lsd_header *header, const uint8_t *bytes, const char *path,
                                 struct ls_error *err)
{
    enum ls_code code =
        field(bytes, AT_BLOCK, 8, 1, MOST_BYTES, "samples in a block", path, &header->block_samples, err);
    for (int p = 0; p < LS_LSD_PARTS && code == LS_OK; p++)
        code = field(bytes, AT_PART + PART_BYTES * p, 8, p == 0, MOST_BYTES, "samples", path,
                     &header->part[p].n_samples, err);
    if (code == LS_OK)
        code = ls_lsd_lay_out(header, path, err);
    for (int p = 0; p < LS_LSD_PARTS && code == LS_OK; p++) {
        const struct ls_lsd_part *part = &header->part[p];
        const int64_t offset[] = {part->inputs, part->labels, part->values, part->table};
        int64_t ignored = 0;
        for (int i = 0; i < 4 && code == LS_OK; i++)
            code = field(bytes, AT_PART + PART_BYTES * p + 8 + 8 * i, 8, offset[i], offset[i],
                         "where a section begins", path, &ignored, err);
    }
    return code;
}

enum ls_code ls_lsd_decode(struct ls_lsd_header *header, const uint8_t *bytes, size_t n, int64_t file_bytes,
                           const char *path, struct ls_error *err)
{
    *header = (struct ls_lsd_header){0};
    int64_t told = 0;
    enum ls_code code = check_frame(bytes, n, path, err);
    if (code == LS_OK)
        code = decode_shape(header, bytes, path, err);
    if (code == LS_OK)
        code = decode_kind(header, bytes, path, err);
    if (code == LS_OK)
        code = decode_parts(header, bytes, path, err);
    if (code == LS_OK)
        code = field(bytes, AT_FILE_BYTES, 8, header->file_bytes, header->file_bytes, "bytes of the file",
                     path, &told, err);
    if (code == LS_OK && file_bytes != header->file_bytes)
        code = ls_fail(err, LS_FAILED, "\"%s\" is %s: it has %lld bytes, its header says %lld", path,
                       file_bytes < header->file_bytes ? "cut short" : "too long", (long long)file_bytes,
                       (long long)header->file_bytes);
    header->names = ls_lsd_get_hash(bytes + AT_NAMES_HASH);
    header->tables = ls_lsd_get_hash(bytes + AT_TABLES_HASH);
    header->identity = ls_lsd_get_hash(bytes + AT_CHECKSUM);
    return code;
}
