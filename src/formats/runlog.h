/* The run log, --log FILE.jsonl: one JSON object a line, first key "event".
 *
 *   {"event":"start", ...the resolved run...}
 *   {"event":"step","step":N,"loss":X,"hash":"32 digits","tensors":{"0.weight":"32 digits",...}}
 *   {"event":"epoch","epoch":E,"step":N,"loss":X,"test_loss":Y,"test_accuracy":A or "test_rmse":R,
 * ...times..., "hash":..,"tensors":..}
 *   {"event":"end", ...}
 *
 * A line is written by one write call when it is complete, so a log can be followed, and a run that dies
 * leaves whole lines. Floats have the digits that give the same binary32 back; what JSON has no number for is
 * "nan", "inf" or "-inf". */
#ifndef LS_FORMATS_RUNLOG_H
#define LS_FORMATS_RUNLOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

enum { LS_RUNLOG_LINE_BYTES = 1 << 20 }; /* the longest line; bounds what a hostile log can cost */

struct ls_runlog; /* a log being written */

/* Creates the file, or takes an existing one, whose content goes when the first line is written: a run that
 * fails before it starts does not cost the old log.  Local: one rank writes.  On failure *log is NULL. */
enum ls_code ls_runlog_open(struct ls_runlog **log, const char *path, struct ls_error *err);

const char *ls_runlog_path(const struct ls_runlog *log);

/* Goes on with what is there: its first n_lines, which end at byte end_bytes, stay, what is behind goes.  To
 * be called before the first line is begun. */
enum ls_code ls_runlog_keep(struct ls_runlog *log, ptrdiff_t n_lines, int64_t end_bytes,
                            struct ls_error *err);

/* One line: begin, fields in the order they are to have, end.  `log` may be NULL in all of these, which then
 * do nothing: a run without --log needs no conditions.  Keys are unique within a line.  Fields cannot fail;
 * what went wrong with one (text that is not UTF-8, no memory) is what end reports, as it does a full disk;
 * then nothing of the line is in the file, and no later line is written. */
void ls_runlog_begin(struct ls_runlog *log, const char *event);
void ls_runlog_text(struct ls_runlog *log, const char *key, const char *value);
void ls_runlog_integer(struct ls_runlog *log, const char *key, int64_t value);
void ls_runlog_float(struct ls_runlog *log, const char *key, float value);   /* 9 digits */
void ls_runlog_double(struct ls_runlog *log, const char *key, double value); /* 17 digits */
void ls_runlog_hash(struct ls_runlog *log, const char *key, struct ls_hash value);
void ls_runlog_texts(struct ls_runlog *log, const char *key, const char *const *values, ptrdiff_t n);
void ls_runlog_hashes(struct ls_runlog *log, const char *key, const char *const *names,
                      const struct ls_hash *values, ptrdiff_t n);
enum ls_code ls_runlog_end(struct ls_runlog *log, struct ls_error *err);

/* Closes and reports what only closing finds.  A line that was begun and not ended is dropped. */
enum ls_code ls_runlog_close(struct ls_runlog **log, struct ls_error *err);

struct ls_runlog_reader; /* a log being read */
struct json_t;           /* jansson's */

/* A line of a log; lives until the next line is read. */
struct ls_runlog_line {
    ptrdiff_t number; /* from 1 */
    const char *event;
    const struct json_t *fields;
    int64_t end_bytes; /* where the next line begins; -1: this one has no end */
};

enum ls_code ls_runlog_reader_open(struct ls_runlog_reader **reader, const char *path, struct ls_error *err);
void ls_runlog_reader_close(struct ls_runlog_reader **reader);

/* Reads the next line into *line; at the end of the file line->event is NULL and line->number counts the
 * lines.  Fails with "FILE:LINE: ..." when it is not an object with an event. */
enum ls_code ls_runlog_next(struct ls_runlog_reader *reader, struct ls_runlog_line *line,
                            struct ls_error *err);

#endif
