/* Owns who touches a block first.  See placement.h. */
#include "compute/placement.h"

#include "base/memory.h"
#include "compute/team.h"

struct block {
    volatile char *at; /* volatile: writing 0 to what is 0 has an effect that compilers do not know */
    size_t n;
};

static int64_t touch(const void *job, int thread, int threads)
{
    enum { PAGE = 4096 }; /* or larger: then some are touched again */
    const struct block *block = job;
    const size_t pages = (block->n + LS_HUGE_PAGE_BYTES - 1) / LS_HUGE_PAGE_BYTES, T = (size_t)threads;
    const size_t begin = pages * (size_t)thread / T * LS_HUGE_PAGE_BYTES,
                 end = pages * ((size_t)thread + 1) / T * LS_HUGE_PAGE_BYTES;
    for (size_t at = begin; at < end && at < block->n; at += PAGE)
        block->at[at] = 0;
    return 0;
}

void ls_place(void *block, size_t n)
{
    if (block && n > LS_HUGE_PAGE_BYTES)
        ls_team_run(touch, &(struct block){block, n});
}
