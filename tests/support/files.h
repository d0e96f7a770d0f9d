/* Files for tests: a folder of their own that goes with everything in it, and whole files in and out of
 * memory. */
#ifndef LS_TESTS_FILES_H
#define LS_TESTS_FILES_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct folder {
    char path[64];
};

struct place {
    char path[512];
};

static inline struct folder folder_create(void)
{
    struct folder folder = {"/tmp/lockstep-test-XXXXXX"};
    cr_assert_not_null(mkdtemp(folder.path));
    return folder;
}

static inline struct place in_folder(const struct folder *folder, const char *name)
{
    struct place place;
    snprintf(place.path, sizeof place.path, "%s/%s", folder->path, name);
    return place;
}

/* How many files there are: a failed save leaves no temporary. */
static inline int folder_count(const struct folder *folder)
{
    int n = 0;
    DIR *entries = opendir(folder->path);
    cr_assert_not_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));)
        n += entry->d_name[0] != '.';
    closedir(entries);
    return n;
}

static inline void folder_destroy(const struct folder *folder)
{
    DIR *entries = opendir(folder->path);
    cr_assert_not_null(entries);
    for (const struct dirent *entry; (entry = readdir(entries));)
        unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    rmdir(folder->path);
}

static inline void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "cannot write '%s'", path);
    cr_assert_eq(fwrite(bytes, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

/* The caller frees it. */
static inline char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "cannot read '%s'", path);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(*n + 1, 1);
    cr_assert_eq(fread(bytes, 1, *n, file), *n);
    fclose(file);
    return bytes;
}

#endif
