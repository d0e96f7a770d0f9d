/* The whole content of a file, plain or gzip.  Which of the two it is, its first bytes say, not its name. */
#ifndef LS_DATA_INFLATE_H
#define LS_DATA_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { LS_PEEK_BYTES = 64 };

struct ls_content {
    const char *path; /* the caller's */
    uint8_t *file;    /* what lies on the disk, until it is taken */
    size_t file_bytes;
    int is_gzip;
};

/* Reads a regular file, once.  Anything else, and an empty file, is refused.  Release with
 * ls_content_release. */
enum ls_code ls_content_open(struct ls_content *content, const char *path, struct ls_error *err);

/* The first bytes of the content, *n of them: LS_PEEK_BYTES, or fewer when there are no more. */
enum ls_code ls_content_peek(const struct ls_content *content, uint8_t prefix[LS_PEEK_BYTES], size_t *n,
                             struct ls_error *err);

/* Room for the content, which must have exactly n bytes which its header promises, as a block that the caller
 * frees by ls_free; NULL with *err filled.  Of a plain file it is the content.  The memory asked for is never
 * more than the file can hold: its size, or 1,032 times that when it is gzip, the most that DEFLATE can say
 * in a byte. */
uint8_t *ls_content_room(struct ls_content *content, size_t n, struct ls_error *err);

/* Fills the room with the content.  Several threads may do so, each for contents of its own. */
enum ls_code ls_content_fill(struct ls_content *content, uint8_t *room, size_t n, struct ls_error *err);

void ls_content_release(struct ls_content *content);

#endif
