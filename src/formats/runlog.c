/* Owns the syntax of run logs.  What the fields mean is the trainer's affair, and compare.c's.
 *
 * Numbers are printed and parsed by jansson, which ignores the locale; printf would write 0,5 inside a
 * program that has called setlocale. */
#include "formats/runlog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "formats/openfile.h"
#include "formats/quote.h"

enum { FLOAT_DIGITS = 9, DOUBLE_DIGITS = 17 }; /* enough to read the same number back */

struct ls_runlog {
    char *path;
    int fd;
    int is_regular;
    ptrdiff_t n_lines;     /* written */
    off_t end;             /* of the last whole line */
    char *line;            /* what is being built; grows */
    size_t used, size;     /* bytes of line; used == 0 between lines */
    struct ls_error wrong; /* the first thing that failed; nothing is written after it */
};

/* --- writing: the file --- */

enum ls_code ls_runlog_open(struct ls_runlog **opened, const char *path, struct ls_error *err)
{
    *opened = NULL;
    struct stat status;
    struct ls_runlog *log = ls_alloc(1, sizeof *log, "run log", err);
    if (!log)
        return LS_FAILED;
    log->fd = -1;
    log->path = ls_copy_text(path, err);
    if (!log->path)
        goto fail;
    log->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (log->fd < 0 || fstat(log->fd, &status) != 0) {
        ls_fail_errno(err, LS_FAILED, "cannot write the log '%s'", path);
        goto fail;
    }
    log->is_regular = S_ISREG(status.st_mode);
    *opened = log;
    return LS_OK;
fail:
    ls_runlog_close(&log, NULL);
    return LS_FAILED;
}

enum ls_code ls_runlog_close(struct ls_runlog **log, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    if (!log || !*log)
        return LS_OK;
    if ((*log)->fd >= 0 && close((*log)->fd) != 0)
        code = ls_fail_errno(err, LS_FAILED, "cannot write the log '%s'", (*log)->path);
    ls_free((*log)->line);
    ls_free((*log)->path);
    ls_free(*log);
    *log = NULL;
    return code;
}

const char *ls_runlog_path(const struct ls_runlog *log)
{
    return log->path;
}

enum ls_code ls_runlog_keep(struct ls_runlog *log, ptrdiff_t n_lines, int64_t end_bytes, struct ls_error *err)
{
    if (ftruncate(log->fd, (off_t)end_bytes) != 0 || lseek(log->fd, (off_t)end_bytes, SEEK_SET) < 0)
        return ls_fail_errno(err, LS_FAILED, "cannot continue the log '%s'", log->path);
    log->n_lines = n_lines;
    log->end = (off_t)end_bytes;
    return LS_OK;
}

/* Best effort: the message about the line is written already, and a reader says which line is cut. */
static void drop_partial_line(const struct ls_runlog *log)
{
    const int failed = log->is_regular && ftruncate(log->fd, log->end) != 0;
    (void)failed;
}

static enum ls_code write_line(struct ls_runlog *log, struct ls_error *err)
{
    if (log->used > LS_RUNLOG_LINE_BYTES)
        return ls_fail(err, LS_FAILED,
                       "cannot write line %td of the log '%s': it has %zu bytes; at most %d are read back",
                       log->n_lines + 1, log->path, log->used, LS_RUNLOG_LINE_BYTES);
    if (log->n_lines == 0 && log->is_regular && ftruncate(log->fd, 0) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot write the log '%s'", log->path);
    for (size_t at = 0; at < log->used;) {
        const ssize_t written = write(log->fd, log->line + at, log->used - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            ls_fail_errno(err, LS_FAILED, "cannot write line %td of the log '%s'", log->n_lines + 1,
                          log->path);
            drop_partial_line(log);
            return LS_FAILED;
        }
        at += (size_t)written;
    }
    log->n_lines++;
    log->end += (off_t)log->used;
    return LS_OK;
}

enum ls_code ls_runlog_end(struct ls_runlog *log, struct ls_error *err)
{
    if (!log)
        return LS_OK;
    assert(log->used > 0 || log->wrong.code != LS_OK);
    if (log->wrong.code == LS_OK) {
        memcpy(log->line + log->used, "}\n", 2); /* append_bytes leaves room for it */
        log->used += 2;
        write_line(log, &log->wrong);
    }
    log->used = 0;
    if (log->wrong.code != LS_OK && err)
        *err = log->wrong;
    return log->wrong.code;
}

/* --- writing: the line --- */

static void append_bytes(struct ls_runlog *log, const char *bytes, size_t n)
{
    if (log->wrong.code != LS_OK)
        return;
    if (log->size - log->used < n + 2) {
        const size_t size = 2 * (log->used + n) + 1024;
        char *line = ls_alloc(size, 1, "line of the log", &log->wrong);
        if (!line)
            return;
        if (log->line)
            memcpy(line, log->line, log->used);
        ls_free(log->line);
        log->line = line;
        log->size = size;
    }
    memcpy(log->line + log->used, bytes, n);
    log->used += n;
}

/* Appends the JSON of a value, which it consumes; NULL stands for a value that could not be made. */
static void append_value(struct ls_runlog *log, const char *key, json_t *value, int digits)
{
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | (size_t)JSON_REAL_PRECISION(digits);
    char *text = value ? json_dumps(value, flags) : NULL;
    if (text)
        append_bytes(log, text, strlen(text));
    else if (log->wrong.code == LS_OK)
        ls_fail(&log->wrong, LS_FAILED, "cannot write line %td of the log '%s': '%s' is not UTF-8 text",
                log->n_lines + 1, log->path, ls_quote(key).text);
    json_free_t release;
    json_get_alloc_funcs(NULL, &release);
    if (text)
        release(text);
    json_decref(value);
}

static void append_number(struct ls_runlog *log, const char *key, json_t *value, int digits)
{
    assert(log->used > 0 || log->wrong.code != LS_OK);
    append_bytes(log, ",", 1);
    append_value(log, key, json_string(key), DOUBLE_DIGITS);
    append_bytes(log, ":", 1);
    append_value(log, key, value, digits);
}

static void append_field(struct ls_runlog *log, const char *key, json_t *value)
{
    append_number(log, key, value, DOUBLE_DIGITS);
}

static json_t *make_number(double value)
{
    if (isnan(value))
        return json_string("nan");
    if (isinf(value))
        return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

static json_t *make_hash(struct ls_hash value)
{
    char text[LS_HASH_TEXT];
    ls_hash_text(value, text);
    return json_string(text);
}

void ls_runlog_begin(struct ls_runlog *log, const char *event)
{
    if (!log)
        return;
    log->used = 0;
    append_bytes(log, "{\"event\":", 9);
    append_value(log, "event", json_string(event), DOUBLE_DIGITS);
}

void ls_runlog_text(struct ls_runlog *log, const char *key, const char *value)
{
    if (log)
        append_field(log, key, json_string(value));
}

void ls_runlog_integer(struct ls_runlog *log, const char *key, int64_t value)
{
    if (log)
        append_field(log, key, json_integer(value));
}

void ls_runlog_float(struct ls_runlog *log, const char *key, float value)
{
    if (log)
        append_number(log, key, make_number((double)value), FLOAT_DIGITS);
}

void ls_runlog_double(struct ls_runlog *log, const char *key, double value)
{
    if (log)
        append_field(log, key, make_number(value));
}

void ls_runlog_hash(struct ls_runlog *log, const char *key, struct ls_hash value)
{
    if (log)
        append_field(log, key, make_hash(value));
}

void ls_runlog_texts(struct ls_runlog *log, const char *key, const char *const *values, ptrdiff_t n)
{
    if (!log)
        return;
    json_t *array = json_array();
    int failed = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        failed |= json_array_append_new(array, json_string(values[i]));
    if (failed)
        json_decref(array);
    append_field(log, key, failed ? NULL : array);
}

void ls_runlog_hashes(struct ls_runlog *log, const char *key, const char *const *names,
                      const struct ls_hash *values, ptrdiff_t n)
{
    if (!log)
        return;
    json_t *object = json_object();
    int failed = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        failed |= json_object_set_new(object, names[i], make_hash(values[i]));
    if (failed)
        json_decref(object);
    append_field(log, key, failed ? NULL : object);
}

/* --- reading --- */

struct ls_runlog_reader {
    char *path;
    FILE *file;
    char *text; /* one line */
    size_t size;
    ptrdiff_t n_lines;
    json_t *fields; /* of the last line */
};

enum ls_code ls_runlog_reader_open(struct ls_runlog_reader **opened, const char *path, struct ls_error *err)
{
    *opened = NULL;
    struct ls_runlog_reader *reader = ls_alloc(1, sizeof *reader, "run log", err);
    if (!reader)
        return LS_FAILED;
    reader->path = ls_copy_text(path, err);
    if (!reader->path)
        goto fail;
    uint64_t file_bytes;
    const int fd = ls_open_regular(path, &file_bytes, err);
    if (fd < 0)
        goto fail;
    reader->file = fdopen(fd, "r");
    if (!reader->file) {
        ls_fail_errno(err, LS_FAILED, "cannot open '%s'", path);
        close(fd);
        goto fail;
    }
    /* No line is longer than the file; one more byte shows that a line goes on beyond the limit. */
    reader->size = (size_t)(file_bytes < LS_RUNLOG_LINE_BYTES ? file_bytes : LS_RUNLOG_LINE_BYTES) + 1;
    reader->text = ls_alloc(reader->size, 1, "line of a run log", err);
    if (!reader->text)
        goto fail;
    *opened = reader;
    return LS_OK;
fail:
    ls_runlog_reader_close(&reader);
    return LS_FAILED;
}

void ls_runlog_reader_close(struct ls_runlog_reader **reader)
{
    if (!reader || !*reader)
        return;
    if ((*reader)->file)
        fclose((*reader)->file);
    json_decref((*reader)->fields);
    ls_free((*reader)->text);
    ls_free((*reader)->path);
    ls_free(*reader);
    *reader = NULL;
}

/* The next line without its end; *n is its length.  *ended says that the file had no more bytes. */
static enum ls_code read_line(struct ls_runlog_reader *reader, size_t *n, int *ended, struct ls_error *err)
{
    int c = 0;
    *n = 0;
    while ((c = getc_unlocked(reader->file)) != EOF && c != '\n') {
        if (*n + 1 == reader->size)
            return ls_fail(err, LS_FAILED, "'%s:%td': the line is longer than the %zu bytes that are allowed",
                           reader->path, reader->n_lines + 1, reader->size - 1);
        reader->text[(*n)++] = (char)c;
    }
    if (ferror(reader->file))
        return ls_fail_errno(err, LS_FAILED, "cannot read '%s:%td'", reader->path, reader->n_lines + 1);
    *ended = c == EOF;
    return LS_OK;
}

enum ls_code ls_runlog_next(struct ls_runlog_reader *reader, struct ls_runlog_line *line,
                            struct ls_error *err)
{
    size_t n;
    int ended = 0;
    json_error_t where;
    json_decref(reader->fields);
    reader->fields = NULL;
    *line = (struct ls_runlog_line){.number = reader->n_lines};
    if (read_line(reader, &n, &ended, err) != LS_OK)
        return LS_FAILED;
    if (ended && n == 0)
        return LS_OK;
    line->number = ++reader->n_lines;
    line->end_bytes = ended ? -1 : (int64_t)ftello(reader->file);
    reader->fields = json_loadb(reader->text, n, JSON_REJECT_DUPLICATES, &where);
    if (!reader->fields)
        return ls_fail(err, LS_FAILED, "'%s:%td': not valid JSON at byte %d of the line%s: %s", reader->path,
                       line->number, where.position, ended ? ", which has no end: the file was cut" : "",
                       ls_quote(where.text).text);
    line->fields = reader->fields;
    const json_t *event = json_object_get(reader->fields, "event");
    if (!json_is_string(event))
        return ls_fail(err, LS_FAILED, "'%s:%td': %s; allowed is an object whose \"event\" is a string",
                       reader->path, line->number,
                       json_is_object(reader->fields) ? "no event" : ls_json_kind(reader->fields));
    line->event = json_string_value(event);
    return LS_OK;
}
