/* Owns the order of write, fsync, rename, fsync: see savefile.h.
 *
 * The temporary's name is made here instead of by mkstemp, because mkstemp's mode 0600 would survive the
 * rename and a colleague could not read the model.  Left to others: signals.  A process killed between open
 * and commit leaves NAME.PID-N.tmp behind, and a file size limit (ulimit -f) kills by SIGXFSZ unless the
 * program ignores that signal. */
#include "formats/savefile.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* The file that `path` names: through symbolic links if it exists, and then a regular one. */
static enum ls_code resolve(struct ls_savefile *file, const char *path, struct ls_error *err)
{
    char real[PATH_MAX];
    struct stat status;
    if (!realpath(path, real)) {
        if (errno != ENOENT)
            return ls_fail_errno(err, LS_FAILED, "cannot save '%s'", path);
    } else if (stat(real, &status) == 0 && !S_ISREG(status.st_mode)) {
        return ls_fail(err, LS_FAILED,
                       "cannot save '%s': it exists and is not a regular file, which is what a save replaces",
                       path);
    } else {
        path = real;
    }
    file->path = ls_copy_text(path, err);
    return file->path ? LS_OK : LS_FAILED;
}

/* The name itself, whatever is behind it: a rename takes the place of a link, not of what it points to. */
static enum ls_code take_name(struct ls_savefile *file, const char *path, struct ls_error *err)
{
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return ls_fail(err, LS_FAILED, "cannot save '%s': it is a folder: remove it", path);
    file->path = ls_copy_text(path, err);
    return file->path ? LS_OK : LS_FAILED;
}

static int create_temporary(struct ls_savefile *file, size_t size)
{
    const int attempts = 100;
    for (int i = 0; i < attempts; i++) {
        snprintf(file->temporary, size, "%s.%ld-%d.tmp", file->path, (long)getpid(), i);
        const int fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

/* file->path is set. */
static enum ls_code open_temporary(struct ls_savefile *file, const char *path, struct ls_error *err)
{
    const size_t size = strlen(file->path) + 48;
    file->temporary = ls_alloc(size, 1, "name of a temporary file", err);
    if (!file->temporary)
        goto fail;
    file->fd = create_temporary(file, size);
    if (file->fd < 0) {
        ls_fail_errno(err, LS_FAILED, "cannot save '%s': creating '%s'", path, file->temporary);
        ls_free(file->temporary);
        file->temporary = NULL;
        goto fail;
    }
    return LS_OK;
fail:
    ls_savefile_release(file);
    return LS_FAILED;
}

enum ls_code ls_savefile_open(struct ls_savefile *file, const char *path, struct ls_error *err)
{
    *file = (struct ls_savefile){.fd = -1};
    return resolve(file, path, err) == LS_OK ? open_temporary(file, path, err) : LS_FAILED;
}

enum ls_code ls_savefile_open_within(struct ls_savefile *file, const char *path, struct ls_error *err)
{
    *file = (struct ls_savefile){.fd = -1};
    return take_name(file, path, err) == LS_OK ? open_temporary(file, path, err) : LS_FAILED;
}

enum ls_code ls_savefile_write(struct ls_savefile *file, const void *bytes, size_t n, struct ls_error *err)
{
    assert(file->temporary);
    const char *at = bytes;
    if (file->hasher)
        ls_hasher_add(file->hasher, bytes, n);
    while (n > 0) {
        const ssize_t written = write(file->fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return ls_fail_errno(err, LS_FAILED, "cannot save '%s'", file->path);
        at += written;
        n -= (size_t)written;
    }
    return LS_OK;
}

enum ls_code ls_savefile_patch(struct ls_savefile *file, size_t at, const void *bytes, size_t n,
                               struct ls_error *err)
{
    assert(file->temporary);
    const char *from = bytes;
    while (n > 0) {
        const ssize_t written = pwrite(file->fd, from, n, (off_t)at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return ls_fail_errno(err, LS_FAILED, "cannot save '%s'", file->path);
        from += written;
        at += (size_t)written;
        n -= (size_t)written;
    }
    return LS_OK;
}

/* A rename is on the disk when its folder is.  Some file systems cannot sync a folder and say EINVAL. */
static enum ls_code sync_folder(const char *path, struct ls_error *err)
{
    char folder[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int failed = fd < 0 || (fsync(fd) != 0 && errno != EINVAL);
    if (failed)
        ls_fail_errno(err, LS_FAILED, "saved '%s', but its folder is not on the disk yet", path);
    if (fd >= 0)
        close(fd);
    return failed ? LS_FAILED : LS_OK;
}

enum ls_code ls_savefile_commit(struct ls_savefile *file, struct ls_error *err)
{
    assert(file->temporary);
    if (fsync(file->fd) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot save '%s'", file->path);
    const int closed = close(file->fd);
    file->fd = -1;
    if (closed != 0 || rename(file->temporary, file->path) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot save '%s'", file->path);
    ls_free(file->temporary);
    file->temporary = NULL;
    return sync_folder(file->path, err);
}

void ls_savefile_release(struct ls_savefile *file)
{
    if (!file)
        return;
    if (file->temporary) {
        if (file->fd >= 0)
            close(file->fd);
        unlink(file->temporary);
    }
    ls_free(file->temporary);
    ls_free(file->path);
    *file = (struct ls_savefile){.fd = -1};
}
