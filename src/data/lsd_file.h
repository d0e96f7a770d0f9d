/* An open .lsd file: samples where they lie, by mmap; row by row where there is no address space for that;
 * or copied into memory.  The bits are the same.
 *
 * Opening reads the header and the class names, however large the file is: pages come when samples are used,
 * and go when memory is short.  Whoever wants to know whether the bytes are those that were written calls
 * ls_lsd_check. */
#ifndef LS_DATA_LSD_FILE_H
#define LS_DATA_LSD_FILE_H

#include "data/lsd.h"

enum ls_lsd_way { LS_LSD_AUTO, LS_LSD_MMAP, LS_LSD_PREAD, LS_LSD_MEMORY };

struct ls_lsd_file {
    char *path;
    int fd;
    int references; /* datasets that show a part of it, and the opener */
    struct ls_lsd_header header;
    enum ls_lsd_way way; /* as it is done; never AUTO */
    int no_prefetch;     /* set by who opened it: for measuring what data/prefetch.h is worth */
    const uint8_t *map;  /* of the whole file; NULL unless way is MMAP */
    char *names;         /* header.names_bytes, or NULL */
    struct ls_lsd_trouble *trouble;
};

/* Local.  AUTO: mmap, but pread when that is refused or `ulimit -v` leaves it less than half.  References: 1.
 */
enum ls_code ls_lsd_open(struct ls_lsd_file **file, const char *path, enum ls_lsd_way way,
                         struct ls_error *err);
void ls_lsd_close(struct ls_lsd_file **file); /* lets one reference go */

/* Fills a dataset that was all zero with a part, which must have samples; it keeps a reference. */
enum ls_code ls_lsd_show(struct ls_lsd_file *file, int part, struct ls_dataset *dataset,
                         struct ls_error *err);

/* Samples are used in a random order, or one after the other: for the kernel's reading ahead. */
void ls_lsd_expect(const struct ls_lsd_file *file, int part, int random);

/* A row that could not be read while training is zeros, or class 0, and remembered here: the first one's
 * message.  From any thread. */
enum ls_code ls_lsd_failed(const struct ls_lsd_file *file, struct ls_error *err);
void ls_lsd_bad_label(const struct ls_lsd_file *file, int part, int64_t index, int32_t label);

/* Checks share `share` of n_shares of the file's blocks: their labels and, with `bytes`, every byte against
 * the checksums.  Local; memory: 1 MiB. */
enum ls_code ls_lsd_check(const struct ls_lsd_file *file, int bytes, int share, int n_shares,
                          struct ls_error *err);

/* n bytes at `offset`, or a message with the file and the place. */
enum ls_code ls_lsd_read(const struct ls_lsd_file *file, int64_t offset, void *bytes, size_t n,
                         struct ls_error *err);

/* The class names as a list of their own; n == 0 without. */
enum ls_code ls_lsd_names(const struct ls_lsd_file *file, struct ls_class_names *names, struct ls_error *err);

extern const char *const ls_lsd_part_names[]; /* "training", "test" */

#endif
