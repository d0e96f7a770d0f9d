/* Owns the bytes of text files.  zlib's gzFile reads both plain and gzip, by position, in little memory. */
#include "data/lines.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

enum { FIRST_CAPACITY = 1 << 18, MOST_CAPACITY = 1 << 26, GZIP_BUFFER = 1 << 17 };

static enum ls_code open_file(struct ls_lines *lines, const char *path, struct ls_error *err)
{
    lines->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (lines->descriptor < 0 || fstat(lines->descriptor, &lines->facts) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot open \"%s\"", path);
    if (!S_ISREG(lines->facts.st_mode))
        return ls_fail(err, LS_FAILED, "\"%s\" is %s; a regular file is needed", path,
                       S_ISDIR(lines->facts.st_mode) ? "a directory" : "a pipe or a device");
    if (lines->facts.st_size == 0)
        return ls_fail(err, LS_FAILED, "\"%s\" is empty", path);
    lines->file = gzdopen(lines->descriptor, "rb");
    if (!lines->file || gzbuffer(lines->file, GZIP_BUFFER) != 0)
        return ls_fail(err, LS_FAILED, "out of memory to read \"%s\"", path);
    return LS_OK;
}

/* One more byte than asked for stays free, for the '\n' that a last line may lack. */
static enum ls_code grow(struct ls_lines *lines, struct ls_error *err)
{
    const size_t capacity = lines->capacity ? 2 * lines->capacity : FIRST_CAPACITY;
    if (capacity > MOST_CAPACITY)
        return ls_fail(err, LS_FAILED, "\"%s\":%lld: the line is longer than %d MB", lines->path,
                       (long long)lines->line + 1, MOST_CAPACITY >> 20);
    char *buffer = ls_alloc(capacity + 1, 1, lines->path, err);
    if (!buffer)
        return LS_FAILED;
    if (lines->to > lines->from)
        memcpy(buffer, lines->buffer + lines->from, lines->to - lines->from);
    ls_free(lines->buffer);
    lines->buffer = buffer;
    lines->capacity = capacity;
    lines->to -= lines->from;
    lines->from = 0;
    return LS_OK;
}

static enum ls_code read_error(struct ls_lines *lines, struct ls_error *err)
{
    int code = Z_OK;
    const char *text = gzerror(lines->file, &code);
    if (code == Z_ERRNO)
        return ls_fail_errno(err, LS_FAILED, "cannot read \"%s\"", lines->path);
    if (code == Z_BUF_ERROR)
        return ls_fail(err, LS_FAILED, "\"%s\" is cut short: its gzip data end after %lld bytes of content",
                       lines->path, (long long)gztell(lines->file));
    return ls_fail(err, LS_FAILED, "\"%s\": its gzip data are damaged behind byte %lld of the content: %s",
                   lines->path, (long long)gztell(lines->file), text && *text ? text : "data error");
}

/* Fills what is free behind `to`. */
static enum ls_code fill(struct ls_lines *lines, struct ls_error *err)
{
    if (lines->from > 0) {
        memmove(lines->buffer, lines->buffer + lines->from, lines->to - lines->from);
        lines->to -= lines->from;
        lines->from = 0;
    }
    const size_t free_bytes = lines->capacity - lines->to;
    const int got = gzread(lines->file, lines->buffer + lines->to, (unsigned)free_bytes);
    int code = Z_OK;
    gzerror(lines->file, &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
        return read_error(lines, err);
    lines->to += (size_t)got;
    lines->ended = (size_t)got < free_bytes;
    return LS_OK;
}

static enum ls_code skip_mark(struct ls_lines *lines, struct ls_error *err)
{
    const unsigned char *b = (const unsigned char *)lines->buffer;
    if (lines->to >= 2 && ((b[0] == 0xFF && b[1] == 0xFE) || (b[0] == 0xFE && b[1] == 0xFF)))
        return ls_fail(err, LS_FAILED,
                       "\"%s\" is UTF-16 text; UTF-8 is needed: iconv -f UTF-16 -t UTF-8 makes it",
                       lines->path);
    if (lines->to >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF) {
        lines->from = 3;
        lines->offset = 3;
    }
    return LS_OK;
}

enum ls_code ls_lines_open(struct ls_lines *lines, const char *path, struct ls_error *err)
{
    *lines = (struct ls_lines){.descriptor = -1};
    enum ls_code code = open_file(lines, path, err);
    if (code == LS_OK && !(lines->path = ls_copy_text(path, err)))
        code = LS_FAILED;
    if (code == LS_OK)
        code = grow(lines, err);
    if (code == LS_OK)
        code = fill(lines, err);
    if (code == LS_OK)
        code = skip_mark(lines, err);
    if (code != LS_OK)
        ls_lines_release(lines);
    return code;
}

void ls_lines_release(struct ls_lines *lines)
{
    if (lines->file)
        gzclose(lines->file);
    else if (lines->descriptor > 0)
        close(lines->descriptor);
    ls_free(lines->buffer);
    ls_free(lines->path);
    memset(lines, 0, sizeof *lines);
}

enum ls_code ls_lines_next(struct ls_lines *lines, const char **text, size_t *n, struct ls_error *err)
{
    size_t seen = 0; /* bytes of the line that are known to hold no '\n' */
    const char *end;
    while (!(end = memchr(lines->buffer + lines->from + seen, '\n', lines->to - lines->from - seen))) {
        seen = lines->to - lines->from;
        if (lines->ended)
            break;
        enum ls_code code = seen == lines->capacity ? grow(lines, err) : LS_OK;
        if (code == LS_OK)
            code = fill(lines, err);
        if (code != LS_OK)
            return code;
    }
    *text = lines->buffer + lines->from;
    *n = end ? (size_t)(end - *text) + 1 : seen;
    lines->offset += (int64_t)*n;
    lines->from += *n;
    lines->line += *n > 0;
    if (!end && *n > 0)
        lines->buffer[lines->from] = '\n';
    *n += !end && *n > 0;
    return LS_OK;
}

static enum ls_code check_unchanged(const struct ls_lines *lines, struct ls_error *err)
{
    struct stat now;
    if (fstat(lines->descriptor, &now) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot examine \"%s\"", lines->path);
    if (now.st_size != lines->facts.st_size || now.st_mtim.tv_sec != lines->facts.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != lines->facts.st_mtim.tv_nsec)
        return ls_fail(err, LS_FAILED, "\"%s\" was changed while it was read", lines->path);
    return LS_OK;
}

enum ls_code ls_lines_seek(struct ls_lines *lines, int64_t offset, int64_t line, struct ls_error *err)
{
    const enum ls_code code = check_unchanged(lines, err);
    if (code != LS_OK)
        return code;
    if (gzseek(lines->file, offset, SEEK_SET) != offset)
        return read_error(lines, err);
    lines->from = lines->to = 0;
    lines->ended = 0;
    lines->line = line;
    lines->offset = offset;
    return LS_OK;
}

void ls_line_marks_note(struct ls_line_marks *marks, int64_t sample, int64_t offset, int64_t line)
{
    if (sample < marks->wanted)
        return;
    if (marks->n == LS_LINE_MARKS) {
        for (int i = 0; i < LS_LINE_MARKS / 2; i++)
            marks->mark[i] = marks->mark[2 * i];
        marks->n = LS_LINE_MARKS / 2;
        marks->stride *= 2;
    }
    marks->stride = marks->stride > 0 ? marks->stride : 1;
    marks->mark[marks->n++] = (struct ls_line_mark){sample, offset, line};
    marks->wanted = sample + marks->stride;
}

struct ls_line_mark ls_line_marks_find(const struct ls_line_marks *marks, int64_t sample)
{
    int low = 0, high = marks->n; /* the entry is in [low, high) */
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (marks->mark[middle].sample <= sample)
            low = middle;
        else
            high = middle;
    }
    return marks->mark[low];
}
