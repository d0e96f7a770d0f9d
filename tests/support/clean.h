/* Tests that end with nothing left: no block of base/memory.h, no byte of jansson's, no open file.
 *
 * The check is part of the test's body because Criterion prints an assertion that fails in .fini, lets the
 * test pass and exits with 0. */
#ifndef LS_TESTS_CLEAN_H
#define LS_TESTS_CLEAN_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/memory.h"

/* What jansson holds, and has held at most. */
static size_t json_bytes, json_peak_bytes;

static inline void *count_malloc(size_t n)
{
    void *block = malloc(n);
    json_bytes += malloc_usable_size(block);
    json_peak_bytes = json_bytes > json_peak_bytes ? json_bytes : json_peak_bytes;
    return block;
}

static inline void count_free(void *block)
{
    json_bytes -= block ? malloc_usable_size(block) : 0;
    free(block);
}

/* Files this process has open. */
static inline int count_open_files(void)
{
    int n = 0;
    DIR *entries = opendir("/proc/self/fd");
    while (entries && readdir(entries))
        n++;
    if (entries)
        closedir(entries);
    return n;
}

static inline void expect_nothing_left(void)
{
    cr_expect_eq(ls_memory_balance(), 0, "%ld blocks were not released", ls_memory_balance());
    cr_expect_eq(json_bytes, 0, "%zu bytes of JSON were not released", json_bytes);
}

/* A Test that counts and checks. */
#define CLEAN_TEST(suite, name)                                                                              \
    static void suite##_##name(void);                                                                        \
    Test(suite, name)                                                                                        \
    {                                                                                                        \
        json_set_alloc_funcs(count_malloc, count_free);                                                      \
        const int n_files = count_open_files();                                                              \
        suite##_##name();                                                                                    \
        cr_expect_eq(count_open_files(), n_files, "a file was left open");                                   \
        expect_nothing_left();                                                                               \
    }                                                                                                        \
    static void suite##_##name(void)

#endif
