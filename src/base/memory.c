/* Owns the heap and the mappings behind large blocks.  See memory.h for the choices.
 *
 * A line in front of every block says what it is: nothing for the heap's, the mapping's bytes for a large
 * one, whose line lies at the end of a small page of its own, so that writing it touches nothing of the
 * block. */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 64 };

/* Under AddressSanitizer all blocks are the heap's, where it sees who writes beyond them. */
#ifdef __has_feature
#    if __has_feature(address_sanitizer)
#        define LS_ADDRESS_SANITIZER
#    endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined LS_ADDRESS_SANITIZER
#    include <sanitizer/asan_interface.h>
enum { MAPS = 0 };

void ls_forbid(void *bytes, size_t n)
{
    ASAN_POISON_MEMORY_REGION(bytes, n);
}
#else
enum { MAPS = 1 };

void ls_forbid(void *bytes, size_t n)
{
    (void)bytes, (void)n;
}
#endif

static const size_t huge_page = LS_HUGE_PAGE_BYTES;

static atomic_long live_blocks;

struct head {
    size_t mapped_bytes; /* from the page of this line on; 0: the heap's */
};

static struct head *head_of(void *block)
{
    return (struct head *)((char *)block - LINE);
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

/* What is left behind the last whole huge page gets one too when it fills half of it, else small pages. */
static size_t mapped_room(size_t bytes, size_t page)
{
    const size_t rest = bytes % huge_page;
    return rest >= huge_page / 2 ? round_up(bytes, huge_page) : round_up(bytes, page);
}

/* Starts on a huge page's boundary; nothing of it is touched.  NULL: no memory. */
static void *map_block(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = mapped_room(bytes, page);
    const size_t asked = page + room + huge_page; /* more, to have a boundary in it */
    char *map = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    char *block = (char *)round_up((uintptr_t)map + page, huge_page), *start = block - page;
    if (start > map)
        munmap(map, (size_t)(start - map));
    munmap(block + room, (size_t)(map + asked - (block + room)));
#ifdef MADV_HUGEPAGE
    (void)madvise(block, room, MADV_HUGEPAGE); /* advice: where it is refused, pages are small */
#endif
    head_of(block)->mapped_bytes = page + room;
    return block;
}

static void *heap_block(size_t bytes)
{
    char *start = aligned_alloc(LINE, LINE + bytes);
    return start ? (char *)memset(start, 0, LINE + bytes) + LINE : NULL;
}

void *ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err)
{
    if (size != 0 && count > (SIZE_MAX / 2 - 2 * huge_page) / size) {
        ls_fail(err, LS_FAILED, "%s: %zu elements of %zu bytes are more than this machine can address", what,
                count, size);
        return NULL;
    }
    const size_t bytes = round_up(count * size, LINE);
    void *block = MAPS && bytes >= huge_page / 2 ? map_block(bytes) : heap_block(bytes ? bytes : LINE);
    if (!block) {
        ls_fail(err, LS_FAILED, "%s: out of memory asking for %zu bytes", what, bytes);
        return NULL;
    }
    atomic_fetch_add(&live_blocks, 1);
    return block;
}

void ls_free(void *block)
{
    if (!block)
        return;
    atomic_fetch_sub(&live_blocks, 1);
    const size_t mapped = head_of(block)->mapped_bytes;
    if (mapped > 0)
        munmap((char *)block - sysconf(_SC_PAGESIZE), mapped);
    else
        free((char *)block - LINE);
}

char *ls_copy_text(const char *text, struct ls_error *err)
{
    const size_t n = strlen(text) + 1;
    char *copy = ls_alloc(n, 1, "text", err);
    if (copy)
        memcpy(copy, text, n);
    return copy;
}

long ls_memory_balance(void)
{
    return atomic_load(&live_blocks);
}
