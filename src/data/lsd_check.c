/* Owns comparing an .lsd file's bytes with its checksums, and its labels with its classes.  See lsd_file.h.
 *
 * By read instead of through the map: an error of the device is then a message and no signal. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/tree.h"
#include "data/lsd_file.h"

enum { PIECE = 1 << 20 };

struct checking {
    const struct ls_lsd_file *file;
    struct ls_hasher *hasher;
    uint8_t *piece; /* PIECE bytes */
    int part;
    int64_t first, n; /* samples of the block at hand */
};

static enum ls_code check_labels(const struct checking *c, int64_t offset, size_t n, struct ls_error *err)
{
    const int32_t n_classes = c->file->header.n_classes;
    const int64_t at = c->file->header.part[c->part].labels;
    for (size_t i = 0; i < n / 4; i++) {
        int32_t label;
        memcpy(&label, c->piece + 4 * i, sizeof label);
        if (label < 0 || label >= n_classes)
            return ls_fail(
                err, LS_FAILED, "\"%s\": byte %lld: label %d of %s sample %lld; allowed are 0 to %d",
                c->file->path, (long long)(offset + (int64_t)(4 * i)), label, ls_lsd_part_names[c->part],
                (long long)((offset - at) / 4 + (int64_t)i), n_classes - 1);
    }
    return LS_OK;
}

static enum ls_code check_finite(const struct checking *c, int64_t offset, size_t n, struct ls_error *err)
{
    for (size_t i = 0; i < n / 4; i++) {
        float value;
        memcpy(&value, c->piece + 4 * i, sizeof value);
        if (!isfinite(value))
            return ls_fail(err, LS_FAILED, "\"%s\": byte %lld: %g; numbers must be finite", c->file->path,
                           (long long)(offset + (int64_t)(4 * i)), (double)value);
    }
    return LS_OK;
}

/* Reads a section's bytes of the block at hand, hashes them, and looks at the values: *seen is what it sees.
 */
static enum ls_code read_section(const struct checking *c, int64_t begin, int64_t stride,
                                 enum ls_code (*look)(const struct checking *, int64_t, size_t,
                                                      struct ls_error *),
                                 struct ls_hash *hash, struct ls_error *seen, struct ls_error *err)
{
    seen->code = LS_OK;
    const int64_t from = begin + c->first * stride, to = from + c->n * stride;
    enum ls_code code = LS_OK;
    ls_hasher_reset(c->hasher);
    for (int64_t at = from; at < to && code == LS_OK;) {
        const size_t n = to - at < PIECE ? (size_t)(to - at) : PIECE;
        code = ls_lsd_read(c->file, at, c->piece, n, err);
        if (code == LS_OK)
            ls_hasher_add(c->hasher, c->piece, n);
        if (code == LS_OK && look && seen->code == LS_OK)
            seen->code = look(c, at, n, seen);
        at += (int64_t)n;
    }
    *hash = ls_hasher_end(c->hasher);
    return code;
}

static enum ls_code damaged(const struct checking *c, const char *what, int64_t begin, int64_t stride,
                            struct ls_error *err)
{
    const int64_t from = begin + c->first * stride;
    return ls_fail(
        err, LS_FAILED,
        "\"%s\" is damaged: the %s of %s samples %lld to %lld (block %lld, bytes %lld to %lld of the "
        "file) are not those that were written: convert or copy it again",
        c->file->path, what, ls_lsd_part_names[c->part], (long long)c->first,
        (long long)(c->first + c->n - 1), (long long)(c->first / c->file->header.block_samples),
        (long long)from, (long long)(from + c->n * stride - 1));
}

static enum ls_code check_block(struct checking *c, int64_t block, int bytes, struct ls_error *err)
{
    const struct ls_lsd_header *h = &c->file->header;
    const struct ls_lsd_part *part = &h->part[c->part];
    const struct {
        const char *what;
        int64_t begin, stride;
        enum ls_code (*look)(const struct checking *, int64_t, size_t, struct ls_error *);
    } sections[] = {
        {"inputs", part->inputs, ls_lsd_stride(h), h->is_bytes ? NULL : check_finite},
        {"labels", part->labels, h->n_classes > 0 ? 4 : 0, check_labels},
        {"target numbers", part->values, 4 * h->n_values, check_finite},
    };
    uint8_t line[3 * LS_LSD_HASH_BYTES];
    const int64_t line_bytes = ls_lsd_line(h);
    enum ls_code code = ls_lsd_read(c->file, part->table + block * line_bytes, line, (size_t)line_bytes, err);
    c->first = block * h->block_samples;
    c->n = part->n_samples - c->first < h->block_samples ? part->n_samples - c->first : h->block_samples;
    const uint8_t *told = line;
    for (int i = 0; i < 3 && code == LS_OK; i++) {
        struct ls_hash hash;
        struct ls_error seen;
        if (sections[i].stride == 0)
            continue;
        if (bytes || sections[i].look == check_labels)
            code =
                read_section(c, sections[i].begin, sections[i].stride, sections[i].look, &hash, &seen, err);
        if (code == LS_OK && bytes && !ls_hash_equal(hash, ls_lsd_get_hash(told)))
            code = damaged(c, sections[i].what, sections[i].begin, sections[i].stride, err);
        else if (code == LS_OK && (bytes || sections[i].look == check_labels) && seen.code != LS_OK) {
            *err = seen; /* the checksum goes first: it says more than a value that is out of range */
            code = seen.code;
        }
        told += LS_LSD_HASH_BYTES;
    }
    return code;
}

/* The tables are what the header says, and padding is 0. */
static enum ls_code check_frame(struct checking *c, struct ls_error *err)
{
    const struct ls_lsd_header *h = &c->file->header;
    ls_hasher_reset(c->hasher);
    for (int p = 0; p < LS_LSD_PARTS; p++) {
        const int64_t bytes = ls_lsd_blocks(h, p) * ls_lsd_line(h);
        for (int64_t at = 0; at < bytes;) {
            const size_t n = bytes - at < PIECE ? (size_t)(bytes - at) : PIECE;
            if (ls_lsd_read(c->file, h->part[p].table + at, c->piece, n, err) != LS_OK)
                return LS_FAILED;
            ls_hasher_add(c->hasher, c->piece, n);
            at += (int64_t)n;
        }
    }
    if (!ls_hash_equal(ls_hasher_end(c->hasher), h->tables))
        return ls_fail(
            err, LS_FAILED,
            "\"%s\" is damaged: its table of checksums (bytes %lld to %lld) is not the one that was "
            "written: convert or copy it again",
            c->file->path, (long long)h->part[0].table, (long long)h->file_bytes - 1);
    return LS_OK;
}

static enum ls_code check_padding(struct checking *c, int64_t begin, int64_t bytes, struct ls_error *err)
{
    const int64_t from = begin + bytes;
    const size_t n = (size_t)((LS_LSD_PAGE - from % LS_LSD_PAGE) % LS_LSD_PAGE);
    if (bytes == 0 || n == 0)
        return LS_OK;
    if (ls_lsd_read(c->file, from, c->piece, n, err) != LS_OK)
        return LS_FAILED;
    for (size_t i = 0; i < n; i++)
        if (c->piece[i])
            return ls_fail(
                err, LS_FAILED,
                "\"%s\" is damaged: byte %lld: %d; expected 0 behind a section: convert or copy it again",
                c->file->path, (long long)(from + (int64_t)i), c->piece[i]);
    return LS_OK;
}

static enum ls_code check_paddings(struct checking *c, struct ls_error *err)
{
    const struct ls_lsd_header *h = &c->file->header;
    enum ls_code code = check_padding(c, LS_LSD_PAGE, h->names_bytes, err);
    for (int p = 0; p < LS_LSD_PARTS && code == LS_OK; p++) {
        const struct ls_lsd_part *part = &h->part[p];
        code = check_padding(c, part->inputs, part->n_samples * ls_lsd_stride(h), err);
        if (code == LS_OK)
            code = check_padding(c, part->labels, h->n_classes > 0 ? 4 * part->n_samples : 0, err);
        if (code == LS_OK)
            code = check_padding(c, part->values, 4 * h->n_values * part->n_samples, err);
        if (code == LS_OK)
            code = check_padding(c, part->table, ls_lsd_blocks(h, p) * ls_lsd_line(h), err);
    }
    return code;
}

static enum ls_code check_share(struct checking *c, int bytes, int share, int n_shares, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    if (bytes && share == 0)
        code = check_frame(c, err);
    if (code == LS_OK && bytes && share == 0)
        code = check_paddings(c, err);
    for (c->part = 0; c->part < LS_LSD_PARTS && code == LS_OK; c->part++) {
        const struct ls_range blocks = {0, ls_lsd_blocks(&c->file->header, c->part)},
                              mine = ls_share_of(blocks, share, n_shares);
        for (int64_t block = mine.begin; block < mine.end && code == LS_OK; block++)
            code = check_block(c, block, bytes, err);
    }
    return code;
}

enum ls_code ls_lsd_check(const struct ls_lsd_file *file, int bytes, int share, int n_shares,
                          struct ls_error *err)
{
    if (!bytes && file->header.n_classes == 0)
        return LS_OK;
    struct checking c = {.file = file, .hasher = ls_hasher_create()};
    c.piece = ls_alloc(PIECE, 1, "a piece of a data file", err);
    enum ls_code code = c.piece ? LS_OK : LS_FAILED;
    if (code == LS_OK && !c.hasher)
        code = ls_fail(err, LS_FAILED, "out of memory for a checksum");
    if (code == LS_OK)
        code = check_share(&c, bytes, share, n_shares, err);
    ls_hasher_destroy(&c.hasher);
    ls_free(c.piece);
    return code;
}
