/* Owns the names in a folder of checkpoints, its lock, and which of them go.  See checkpoint_folder.h. */
#include "train/checkpoint_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "formats/savefile.h"

static const char beginning[] = "checkpoint-", ending[] = ".safetensors";

static void write_name(int64_t step, char name[64])
{
    snprintf(name, 64, "%s%012lld%s", beginning, (long long)step, ending);
}

struct ls_checkpoint_path ls_checkpoint_path(const char *folder, int64_t step)
{
    struct ls_checkpoint_path path;
    char name[64];
    write_name(step, name);
    snprintf(path.text, sizeof path.text, "%s/%s", folder, name);
    return path;
}

/* The step that a name stands for, or 0: exactly the names that are written here. */
static int64_t step_of(const char *name)
{
    char digits[32], same[64];
    int64_t step = 0;
    const size_t length = strlen(name), least = sizeof beginning - 1 + sizeof ending - 1;
    if (length <= least || length - least >= sizeof digits ||
        strncmp(name, beginning, sizeof beginning - 1) != 0)
        return 0;
    snprintf(digits, sizeof digits, "%.*s", (int)(length - least), name + sizeof beginning - 1);
    if (!ls_text_to_int64(digits, &step) || step < 1)
        return 0;
    write_name(step, same);
    return strcmp(name, same) == 0 ? step : 0;
}

/* Whether it is what savefile.c calls the temporary of one of these, NAME.PID-N.tmp: nobody else's file goes.
 */
static int is_leftover(const char *name)
{
    static const char digits[] = "0123456789";
    const char *parts[] = {beginning, ending, ".", "-", ".tmp"};
    const int followed_by_digits[] = {1, 0, 1, 1, 0};
    for (int i = 0; i < 5; i++) {
        const size_t length = strlen(parts[i]);
        if (strncmp(name, parts[i], length) != 0)
            return 0;
        name += length;
        const size_t n = followed_by_digits[i] ? strspn(name, digits) : 0;
        if (followed_by_digits[i] && n == 0)
            return 0;
        name += n;
    }
    return *name == '\0';
}

/* --- the one that writes --- */

static enum ls_code take_lock(struct ls_checkpoint_folder *folder, const char *path, struct ls_error *err)
{
    const useconds_t pause_us = 100000;
    const int attempts = 50; /* a rank that was just killed may take a moment to go */
    folder->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->lock < 0)
        return ls_fail_errno(err, LS_FAILED, "cannot open the folder of checkpoints '%s'", path);
    for (int i = 0; flock(folder->lock, LOCK_EX | LOCK_NB) != 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return LS_OK; /* a file system without locks */
        if (i == attempts)
            return ls_fail(err, LS_FAILED,
                           "another run is writing checkpoints into '%s': wait for its end, or give another "
                           "folder",
                           path);
        usleep(pause_us);
    }
    return LS_OK;
}

static void remove_leftovers(const char *path)
{
    DIR *entries = opendir(path);
    for (const struct dirent *entry; entries && (entry = readdir(entries));)
        if (is_leftover(entry->d_name))
            unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries)
        closedir(entries);
}

enum ls_code ls_checkpoint_folder_open(struct ls_checkpoint_folder *folder, const char *path,
                                       struct ls_error *err)
{
    struct ls_savefile file = {0};
    *folder = (struct ls_checkpoint_folder){.is_open = 1, .lock = -1};
    if (strlen(path) + 128 > sizeof(struct ls_checkpoint_path))
        return ls_fail(err, LS_USAGE, "--checkpoint: the name of the folder has %zu characters, too many",
                       strlen(path));
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return ls_fail_errno(err, LS_FAILED, "cannot make the folder of checkpoints '%s'", path);
    if (take_lock(folder, path, err) != LS_OK)
        return LS_FAILED;
    remove_leftovers(path);
    const enum ls_code code = ls_savefile_open_within(&file, ls_checkpoint_path(path, 0).text, err);
    ls_savefile_release(&file);
    return code;
}

void ls_checkpoint_folder_close(struct ls_checkpoint_folder *folder)
{
    if (folder->is_open && folder->lock >= 0)
        close(folder->lock);
    *folder = (struct ls_checkpoint_folder){.lock = -1};
}

/* --- who is there --- */

static int newest_first(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

/* The steps, newest first; ls_free releases them.  No folder is an empty one. */
static enum ls_code list_steps(const char *path, int64_t **steps, int64_t *n, struct ls_error *err)
{
    enum { MOST = 1 << 20 };
    *steps = NULL;
    *n = 0;
    DIR *entries = opendir(path);
    if (!entries)
        return errno == ENOENT
                   ? LS_OK
                   : ls_fail_errno(err, LS_FAILED, "cannot read the folder of checkpoints '%s'", path);
    int64_t count = 0;
    for (const struct dirent *entry; count < MOST && (entry = readdir(entries));)
        count += step_of(entry->d_name) > 0;
    *steps = ls_alloc((size_t)count, sizeof **steps, "list of checkpoints", err);
    rewinddir(entries);
    for (const struct dirent *entry; *steps && *n < count && (entry = readdir(entries));)
        if (step_of(entry->d_name) > 0)
            (*steps)[(*n)++] = step_of(entry->d_name);
    closedir(entries);
    if (*steps)
        qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    return *steps ? LS_OK : LS_FAILED;
}

void ls_checkpoint_folder_prune(const char *path, int64_t step, int64_t keep)
{
    int64_t *steps, n, kept = 0;
    if (list_steps(path, &steps, &n, NULL) == LS_OK)
        for (int64_t i = 0; i < n; i++) {
            const int stays = steps[i] <= step && kept < keep;
            kept += stays;
            if (!stays)
                unlink(ls_checkpoint_path(path, steps[i]).text);
        }
    ls_free(steps);
}

enum ls_code ls_checkpoint_folder_last(const char *path, int64_t *step, struct ls_error *err)
{
    int64_t *steps, n;
    const enum ls_code code = list_steps(path, &steps, &n, err);
    *step = code == LS_OK && n > 0 ? steps[0] : 0;
    ls_free(steps);
    return code;
}

enum ls_code ls_checkpoint_folder_newest(const char *path, int64_t *step,
                                         void (*skipped)(void *context, const char *why), void *context,
                                         struct ls_error *err)
{
    int64_t *steps, n;
    struct ls_hash checksum;
    struct ls_error why = {.code = LS_OK};
    enum ls_code code = list_steps(path, &steps, &n, err);
    *step = 0;
    for (int64_t i = 0; code == LS_OK && i < n && *step == 0; i++) {
        if (ls_safetensors_check_seal(ls_checkpoint_path(path, steps[i]).text, &checksum, &why) == LS_OK)
            *step = steps[i];
        else
            skipped(context, why.text);
    }
    if (code == LS_OK && n > 0 && *step == 0)
        code = ls_fail(err, LS_FAILED,
                       "none of the %lld checkpoints in '%s' is whole (%.600s): remove them to begin anew",
                       (long long)n, path, why.text);
    ls_free(steps);
    return code;
}
