/* A text file, plain or gzip, line by line, in memory of a buffer. */
#ifndef LS_DATA_LINES_H
#define LS_DATA_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/status.h"

struct gzFile_s;

struct ls_lines {
    char *path; /* owned */
    struct gzFile_s *file;
    int descriptor; /* of `file`, which closes it */
    struct stat facts;
    char *buffer; /* owned */
    size_t capacity, from, to;
    int ended;      /* the file has no more bytes than those of the buffer */
    int64_t line;   /* number, from 1, of the line that was given last; 0 before the first */
    int64_t offset; /* of the line that comes next, in bytes of the content */
};

/* Opens a regular file.  A byte order mark of UTF-8 is passed over, one of UTF-16 refused.  On failure all is
 * zero. */
enum ls_code ls_lines_open(struct ls_lines *lines, const char *path, struct ls_error *err);
void ls_lines_release(struct ls_lines *lines);

/* The next line with its '\n', which is added where the file ends without; *n == 0: there is none.  The text
 * stays until the next call.  Lines beyond 64 MB are refused. */
enum ls_code ls_lines_next(struct ls_lines *lines, const char **text, size_t *n, struct ls_error *err);

/* What comes next is the line at byte `offset` of the content; `line` is the number of the one before.  In a
 * gzip file, going back means to inflate from its beginning.  Refused when the file has changed since it was
 * opened. */
enum ls_code ls_lines_seek(struct ls_lines *lines, int64_t offset, int64_t line, struct ls_error *err);

/* Where some of a file's samples begin, so that reading can start near any of them: a table of bounded size,
 * whose entries lie further apart the longer the file. */
enum { LS_LINE_MARKS = 2048 };
struct ls_line_marks {
    int n;
    int64_t stride, wanted; /* the next sample worth an entry */
    struct ls_line_mark {
        int64_t sample, offset, line;
    } mark[LS_LINE_MARKS];
};

/* Sample `sample`, later than all before, begins at `offset`; `line` lines come before it. */
void ls_line_marks_note(struct ls_line_marks *marks, int64_t sample, int64_t offset, int64_t line);

/* The last entry that is not behind `sample`; there is one, for sample 0. */
struct ls_line_mark ls_line_marks_find(const struct ls_line_marks *marks, int64_t sample);

#endif
