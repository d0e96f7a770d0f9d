/* Saving a file so that a reader finds the old one or the new one, whole, and nothing else.
 *
 * The bytes go to a temporary file in the same folder, which takes the old one's place in one rename once
 * they are on the disk.  Whatever fails on the way, the temporary goes and the old file stays as it was. */
#ifndef LS_FORMATS_SAVEFILE_H
#define LS_FORMATS_SAVEFILE_H

#include <stddef.h>

#include "base/hash.h"
#include "base/status.h"

/* Caller's storage; zero it (`= {0}`), open, write ..., commit, release.  Release is right after any of them.
 */
struct ls_savefile {
    char *path;      /* what is replaced, symbolic links resolved unless it was opened within its folder */
    char *temporary; /* NULL once it has become `path` */
    int fd;          /* of the temporary; only valid while `temporary` is set */
    struct ls_hasher *hasher; /* the caller's, set after open: takes in what is written; or NULL */
};

/* Creates the temporary.  Fails when it cannot, or when `path` exists and is not a regular file (a rename
 * would put a file in the place of /dev/null).  Local. */
enum ls_code ls_savefile_open(struct ls_savefile *file, const char *path, struct ls_error *err);

/* The same for a file that must lie in the folder that its path says: a symbolic link there, or a pipe, is
 * replaced itself, and what a link points to stays as it is.  Fails when `path` is a folder.  Local. */
enum ls_code ls_savefile_open_within(struct ls_savefile *file, const char *path, struct ls_error *err);

/* Appends n bytes; a full disk shows up here or at commit. */
enum ls_code ls_savefile_write(struct ls_savefile *file, const void *bytes, size_t n, struct ls_error *err);

/* Overwrites n bytes that were written before; the hasher does not see it. */
enum ls_code ls_savefile_patch(struct ls_savefile *file, size_t at, const void *bytes, size_t n,
                               struct ls_error *err);

/* Flushes to the disk, then renames. */
enum ls_code ls_savefile_commit(struct ls_savefile *file, struct ls_error *err);

/* Frees; removes the temporary unless it was committed.  NULL and an all-zero file are accepted. */
void ls_savefile_release(struct ls_savefile *file);

#endif
