/* Opening a file that is read by position, or more than once. */
#ifndef LS_FORMATS_OPENFILE_H
#define LS_FORMATS_OPENFILE_H

#include <stdint.h>

#include "base/status.h"

/* A descriptor for reading, and the file's size; the caller closes it.  -1 with *err filled when the file
 * cannot be opened or is not a regular one.  A named pipe is refused at once instead of waited for. */
int ls_open_regular(const char *path, uint64_t *size_bytes, struct ls_error *err);

#endif
