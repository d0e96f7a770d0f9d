#include "allocations.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/memory.h"

static atomic_long left;
static atomic_int failed;

void *__wrap_ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err);
void *__real_ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err);

void *__wrap_ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err)
{
    if (atomic_load(&left) > 0 && atomic_fetch_sub(&left, 1) == 1) {
        atomic_store(&failed, 1);
        ls_fail(err, LS_FAILED, "%s: this allocation was to fail", what);
        return NULL;
    }
    return __real_ls_alloc(count, size, what, err);
}

void fail_allocation(long n)
{
    atomic_store(&failed, 0);
    atomic_store(&left, n);
}

int allocation_failed(void)
{
    return atomic_load(&failed);
}
