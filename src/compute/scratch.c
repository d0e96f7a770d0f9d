/* Scratch of threads: a block each, on huge pages where there are some, first touched by the thread that
 * works in it. Not thread-local storage itself: that lies in the creator's part of a thread's stack, whose
 * size users set. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "compute/parallel/team.h"

/* All but `left` lies in the first huge page; pages that nobody touches are not there. */
_Static_assert(offsetof(struct ls_scratch, left) <= LS_HUGE_PAGE_BYTES, "it lies in one huge page");
enum {
    BLOCK_BYTES =
        (sizeof(struct ls_scratch) + LS_HUGE_PAGE_BYTES - 1) / LS_HUGE_PAGE_BYTES * LS_HUGE_PAGE_BYTES
};

_Thread_local struct ls_scratch *ls_scratch_taken;

static pthread_key_t key; /* frees the block of a thread that ends; teams come and go */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* In the middle of an operation there is nobody to tell: the handler of crashes names rank and host, and
 * mpirun ends the others. */
static void give_up(const char *why)
{
    fprintf(stderr, "lockstep: %s\n", why);
    for (;;)
        raise(SIGABRT);
}

static void make_key(void)
{
    if (pthread_key_create(&key, free) != 0)
        give_up("no more thread-specific keys (pthread_key_create)");
}

/* Not ls_alloc: the main thread's is never released, and is no leak. */
struct ls_scratch *ls_scratch_take(void)
{
    pthread_once(&once, make_key);
    struct ls_scratch *block = aligned_alloc(LS_HUGE_PAGE_BYTES, BLOCK_BYTES);
    if (!block || pthread_setspecific(key, block) != 0)
        give_up("out of memory for the 6 MiB in which each thread works");
#ifdef MADV_HUGEPAGE
    madvise(block, BLOCK_BYTES, MADV_HUGEPAGE);
#endif
    ls_scratch_taken = block;
    return block;
}
