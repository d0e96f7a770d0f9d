/* Reading a file by position, whole. */
#ifndef LS_BASE_READ_AT_H
#define LS_BASE_READ_AT_H

#include <stddef.h>
#include <stdint.h>

/* The n bytes at `at`: how many were read, fewer only where the file ends; -1 with errno set.  Goes on after
 * a signal and after a short read. */
ptrdiff_t ls_read_at(int file, int64_t at, void *bytes, size_t n);

#endif
