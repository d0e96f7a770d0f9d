/* Owns the bytes of input files: one read, and gzip (RFC 1952) members inflated straight into the block that
 * stays.
 *
 * libdeflate inflates the raw DEFLATE; the frame around it is taken apart here, because its own gzip function
 * cannot say whether the data, the checksum or the length was wrong, nor where. */
#include "data/inflate.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/read_at.h"
#include "compute/ops.h"
#include "compute/placement.h"
#include "compute/team.h"

enum {
    GZIP_TRAILER_BYTES = 8, /* CRC-32 and length, both little-endian */
    DEFLATE_MOST = 1032,    /* 258 bytes from two bits */
    /* A stored block is copied whole or not at all, so a peek has room for the longest one (65,535) and more.
     */
    PEEK_ROOM = 72 * 1024,
};

/* A file that all threads read, each its part, and so touch first. */
struct reading {
    const struct ls_content *content;
    int file;
    struct part {
        size_t at; /* how far it came */
        int error; /* errno; 0 and not at its end: the file has become shorter */
    } * parts;
};

static size_t part_begin(const struct ls_content *content, int part, int parts)
{
    const size_t pages = (content->file_bytes + LS_HUGE_PAGE_BYTES - 1) / LS_HUGE_PAGE_BYTES;
    const size_t begin = pages * (size_t)part / (size_t)parts * LS_HUGE_PAGE_BYTES;
    return begin < content->file_bytes ? begin : content->file_bytes;
}

/* How many parts failed. */
static int64_t read_part(const void *job, int thread, int threads)
{
    const struct reading *reading = job;
    const struct ls_content *content = reading->content;
    const size_t begin = part_begin(content, thread, threads), end = part_begin(content, thread + 1, threads);
    struct part *part = &reading->parts[thread];
    const ptrdiff_t got = ls_read_at(reading->file, (int64_t)begin, content->file + begin, end - begin);
    part->error = got < 0 ? errno : 0;
    part->at = got < 0 ? begin : begin + (size_t)got;
    return part->at < end;
}

static enum ls_code read_all(struct ls_content *content, int file, struct ls_error *err)
{
    const int parts = content->file_bytes > LS_HUGE_PAGE_BYTES ? ls_ops_threads() : 1;
    struct reading reading = {content, file,
                              ls_alloc((size_t)parts, sizeof *reading.parts, content->path, err)};
    if (!reading.parts)
        return LS_FAILED;
    const int64_t failed = parts > 1 ? ls_team_run(read_part, &reading) : read_part(&reading, 0, 1);
    enum ls_code code = LS_OK;
    for (int i = 0; i < parts && failed > 0 && code == LS_OK; i++) {
        const struct part *part = &reading.parts[i];
        errno = part->error;
        if (part->error)
            code =
                ls_fail_errno(err, LS_FAILED, "cannot read \"%s\" from byte %zu on", content->path, part->at);
        else if (part->at < part_begin(content, i + 1, parts))
            code = ls_fail(err, LS_FAILED, "\"%s\" shrank to %zu bytes while it was read; it had %zu",
                           content->path, part->at, content->file_bytes);
    }
    ls_free(reading.parts);
    return code;
}

static enum ls_code read_regular(struct ls_content *content, int file, struct ls_error *err)
{
    struct stat facts;
    if (fstat(file, &facts))
        return ls_fail_errno(err, LS_FAILED, "cannot examine \"%s\"", content->path);
    if (!S_ISREG(facts.st_mode))
        return ls_fail(err, LS_FAILED, "\"%s\" is %s; a regular file is needed", content->path,
                       S_ISDIR(facts.st_mode) ? "a directory" : "a pipe or a device");
    if (facts.st_size == 0)
        return ls_fail(err, LS_FAILED, "\"%s\" is empty", content->path);
    content->file_bytes = (size_t)facts.st_size;
    content->file = ls_alloc(content->file_bytes, 1, content->path, err);
    if (!content->file)
        return LS_FAILED;
    const enum ls_code code = read_all(content, file, err);
    content->is_gzip = content->file_bytes >= 2 && content->file[0] == 0x1F && content->file[1] == 0x8B;
    return code;
}

enum ls_code ls_content_open(struct ls_content *content, const char *path, struct ls_error *err)
{
    *content = (struct ls_content){.path = path};
    const int file =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait for its writer */
    if (file < 0)
        return ls_fail_errno(err, LS_FAILED, "cannot open \"%s\"", path);
    const enum ls_code code = read_regular(content, file, err);
    close(file);
    if (code != LS_OK)
        ls_content_release(content);
    return code;
}

void ls_content_release(struct ls_content *content)
{
    ls_free(content->file);
    content->file = NULL;
}

static uint32_t little_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* How many bytes the gzip header at the start of in[0, n) has (RFC 1952, 2.3); 0 when it is not one, or is
 * cut. */
static size_t header_bytes(const uint8_t *in, size_t n)
{
    enum { FHCRC = 2, FEXTRA = 4, FNAME = 8, FCOMMENT = 16, RESERVED = 0xE0 };
    if (n < 10 || in[0] != 0x1F || in[1] != 0x8B || in[2] != 8 || in[3] & RESERVED)
        return 0;
    size_t at = 10;
    if (in[3] & FEXTRA) {
        if (n - at < 2)
            return 0;
        at += 2 + (size_t)(in[at] | in[at + 1] << 8);
    }
    for (int field = FNAME; field <= FCOMMENT; field *= 2) {
        if (!(in[3] & field))
            continue;
        const uint8_t *end = at < n ? memchr(in + at, 0, n - at) : NULL;
        if (!end)
            return 0;
        at = (size_t)(end - in) + 1;
    }
    at += in[3] & FHCRC ? 2 : 0;
    return at < n ? at : 0;
}

/* Where inflating stands: the next compressed byte, and how much of `out` is filled. */
struct progress {
    size_t at, filled;
    int out_is_full; /* the content is longer than the room */
};

/* One member of the file at progress->at, into the rest of out[0, room). */
static enum ls_code inflate_member(const struct ls_content *content, struct libdeflate_decompressor *engine,
                                   uint8_t *out, size_t room, struct progress *progress, struct ls_error *err)
{
    const size_t start = progress->at;
    const uint8_t *in = content->file + start;
    const size_t n = content->file_bytes - start, header = header_bytes(in, n);
    if (header == 0)
        return ls_fail(err, LS_FAILED, "\"%s\": byte %zu: %s", content->path, start,
                       start ? "what follows the gzip data is not another gzip member"
                             : "broken or cut gzip header");
    size_t used = 0, produced = 0;
    const enum libdeflate_result result = libdeflate_deflate_decompress_ex(
        engine, in + header, n - header, out + progress->filled, room - progress->filled, &used, &produced);
    progress->out_is_full = result == LIBDEFLATE_INSUFFICIENT_SPACE;
    if (progress->out_is_full)
        return LS_OK;
    if (result != LIBDEFLATE_SUCCESS)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": the gzip member at byte %zu is damaged or cut short (the file has %zu bytes)",
                       content->path, start, content->file_bytes);
    const size_t trailer = header + used;
    if (n - trailer < GZIP_TRAILER_BYTES)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": cut short in the gzip checksum at byte %zu: %zu of %d bytes are there",
                       content->path, start + trailer, n - trailer, GZIP_TRAILER_BYTES);
    const uint32_t stated_crc = little_endian(in + trailer), stated_length = little_endian(in + trailer + 4);
    const uint32_t crc = libdeflate_crc32(0, out + progress->filled, produced);
    if (crc != stated_crc)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": gzip CRC at byte %zu is %08x, but the data's is %08x: the file is damaged",
                       content->path, start + trailer, stated_crc, crc);
    if ((uint32_t)produced != stated_length)
        return ls_fail(err, LS_FAILED, "\"%s\": gzip length at byte %zu is %u, but the data has %zu bytes",
                       content->path, start + trailer + 4, stated_length, produced);
    progress->at = start + trailer + GZIP_TRAILER_BYTES;
    progress->filled += produced;
    return LS_OK;
}

/* All members, or as many as fill the room. */
static enum ls_code inflate(const struct ls_content *content, uint8_t *out, size_t room,
                            struct progress *progress, struct ls_error *err)
{
    struct libdeflate_decompressor *engine = libdeflate_alloc_decompressor();
    if (!engine)
        return ls_fail(err, LS_FAILED, "\"%s\": out of memory for inflating", content->path);
    enum ls_code code = LS_OK;
    while (code == LS_OK && progress->at < content->file_bytes && !progress->out_is_full)
        code = inflate_member(content, engine, out, room, progress, err);
    libdeflate_free_decompressor(engine);
    return code;
}

/* What a full room holds up to the block or match that did not fit, libdeflate leaves in place without
 * promising it. So a peek only chooses how much memory to ask for; whoever takes the content afterwards
 * compares. */
enum ls_code ls_content_peek(const struct ls_content *content, uint8_t prefix[LS_PEEK_BYTES], size_t *n,
                             struct ls_error *err)
{
    *n = 0;
    if (!content->is_gzip) {
        *n = content->file_bytes < LS_PEEK_BYTES ? content->file_bytes : LS_PEEK_BYTES;
        memcpy(prefix, content->file, *n);
        return LS_OK;
    }
    uint8_t *room = ls_alloc(PEEK_ROOM, 1, "the start of a gzip file", err);
    if (!room)
        return LS_FAILED;
    struct progress progress = {.at = 0};
    const enum ls_code code = inflate(content, room, PEEK_ROOM, &progress, err);
    if (code == LS_OK) {
        *n = progress.out_is_full || progress.filled > LS_PEEK_BYTES ? LS_PEEK_BYTES : progress.filled;
        memcpy(prefix, room, *n);
    }
    ls_free(room);
    return code;
}

static uint8_t *take_plain(struct ls_content *content, size_t n, struct ls_error *err)
{
    if (content->file_bytes != n) {
        ls_fail(err, LS_FAILED, "\"%s\" has %zu bytes, %s than the %zu that its header promises",
                content->path, content->file_bytes, content->file_bytes < n ? "fewer" : "more", n);
        return NULL;
    }
    uint8_t *bytes = content->file;
    content->file = NULL;
    return bytes;
}

static uint8_t *room_for_gzip(const struct ls_content *content, size_t n, struct ls_error *err)
{
    if (n / DEFLATE_MOST > content->file_bytes) {
        ls_fail(err, LS_FAILED, "\"%s\": its header promises %zu bytes, more than %zu bytes of gzip can hold",
                content->path, n, content->file_bytes);
        return NULL;
    }
    uint8_t *bytes = ls_alloc(n, 1, content->path, err);
    ls_place(bytes, n);
    return bytes;
}

uint8_t *ls_content_room(struct ls_content *content, size_t n, struct ls_error *err)
{
    return content->is_gzip ? room_for_gzip(content, n, err) : take_plain(content, n, err);
}

enum ls_code ls_content_fill(struct ls_content *content, uint8_t *room, size_t n, struct ls_error *err)
{
    struct progress progress = {.at = 0};
    if (!content->is_gzip)
        return LS_OK;
    const enum ls_code code = inflate(content, room, n, &progress, err);
    if (code == LS_OK && (progress.out_is_full || progress.filled != n))
        return ls_fail(
            err, LS_FAILED, "\"%s\" inflates to %s%zu bytes, %s than the %zu that its header promises",
            content->path, progress.out_is_full ? "over " : "", progress.out_is_full ? n : progress.filled,
            progress.out_is_full ? "more" : "fewer", n);
    return code;
}
