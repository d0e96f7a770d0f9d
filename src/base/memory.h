/* Memory: zeroed, 64-byte aligned, overflow-checked, counted.
 *
 * A block from half a huge page on is a mapping of its own: it starts on a huge page's boundary, asks the
 * kernel for such pages (`madvise` is the usual setting of transparent_hugepage), and nobody has touched it.
 * So the thread that first writes to a page decides which NUMA node it lies on, and pages that nobody touches
 * cost nothing.
 *
 * All of it is taken at set-up; no training step allocates.  The count of live blocks lets tests and a debug
 * run end with a proof that nothing leaked. */
#ifndef LS_BASE_MEMORY_H
#define LS_BASE_MEMORY_H

#include <stddef.h>

#include "base/status.h"

/* Of x86 and of most other processors.  Where they are of another size, this is only an alignment. */
enum { LS_HUGE_PAGE_BYTES = 1 << 21 };

/* `count * size` zeroed bytes on a 64-byte boundary, or NULL with *err filled ("what" names the thing for the
 * message). count 0 gives a valid block of no bytes.  The caller owns it; ls_free releases it. */
void *ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err);

/* Under AddressSanitizer, touching these bytes of a block is an error from now on; else nothing happens. */
void ls_forbid(void *bytes, size_t n);

/* Releases a block of ls_alloc; NULL is accepted. */
void ls_free(void *block);

/* A copy of `text` on the heap, to be released by ls_free, or NULL with *err filled. */
char *ls_copy_text(const char *text, struct ls_error *err);

/* Blocks that ls_alloc gave and ls_free has not yet taken back. */
long ls_memory_balance(void);

#endif
