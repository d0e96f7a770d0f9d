/* Writing .lsd files block by block: whoever writes a block needs nothing of the others, so ranks share the
 * work and the bytes do not depend on how.  Memory: one block. */
#ifndef LS_DATA_LSD_WRITE_H
#define LS_DATA_LSD_WRITE_H

#include "data/lsd.h"
#include "data/stream.h"

enum ls_lsd_type { LS_LSD_KEEP, LS_LSD_U8, LS_LSD_F32 };

struct ls_lsd_plan {
    const char *path; /* of the file to be, for messages */
    enum ls_lsd_type type;
    float divisor;       /* of u8: a value is byte / divisor; 0: 1, or the one that bytes have */
    int64_t block_bytes; /* about; at least a sample */
};

/* The header of the file that holds these two (test: NULL without) but for the checksum of the tables.
 * LS_FAILED when they cannot be in one file.  *names gets the bytes of the class names, to be freed by
 * ls_free; NULL without. */
enum ls_code ls_lsd_prepare(struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                            const struct ls_stream_facts *train, const struct ls_stream_facts *test,
                            char **names, struct ls_error *err);

/* Told of samples as they are written. */
struct ls_lsd_watch {
    void (*wrote)(void *context, int64_t samples, int64_t bytes);
    void *context;
};

/* Writes blocks [begin, end) of a part, read from `stream`, into the file behind `fd`, and their lines into
 * table[0 ..).  An input that the type cannot hold exactly is refused by sample and feature.  Local. */
enum ls_code ls_lsd_write_blocks(int fd, const struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                                 int part, struct ls_stream *stream, int64_t begin, int64_t end,
                                 uint8_t *table, const struct ls_lsd_watch *watch, struct ls_error *err);

/* Writes header, names and both tables, one behind the other in `tables`; the file is then whole.  Local. */
enum ls_code ls_lsd_write_frame(int fd, struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                                const char *names, const uint8_t *tables, struct ls_error *err);

/* Makes room for n bytes, so that a full disk is known before the work; fails when the disk has not so much.
 */
enum ls_code ls_lsd_reserve(int fd, int64_t n, const char *path, struct ls_error *err);

#endif
