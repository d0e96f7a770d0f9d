/* Memory: zeroed, 64-byte aligned, overflow-checked, counted.
 *
 * All of it is taken at set-up; no training step allocates.  The count of live blocks lets tests and a debug
 * run end with a proof that nothing leaked. */
#ifndef LS_BASE_MEMORY_H
#define LS_BASE_MEMORY_H

#include <stddef.h>

#include "base/status.h"

/* `count * size` zeroed bytes on a 64-byte boundary, or NULL with *err filled ("what" names the thing for the
 * message). count 0 gives a valid block of no bytes.  The caller owns it; ls_free releases it. */
void *ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err);

/* Releases a block of ls_alloc; NULL is accepted. */
void ls_free(void *block);

/* A copy of `text` on the heap, to be released by ls_free, or NULL with *err filled. */
char *ls_copy_text(const char *text, struct ls_error *err);

/* Blocks that ls_alloc gave and ls_free has not yet taken back. */
long ls_memory_balance(void);

#endif
