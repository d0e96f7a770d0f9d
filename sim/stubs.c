/* What src/comm wants of the rest, for a simulation: one thread a rank; memory that all simulated ranks
 * share, since nobody looks at the numbers; additions that take the time that they would take. */
#include <smpi/smpi.h>
#include <stdlib.h>

#include "base/memory.h"
#include "comm/add.h"
#include "compute/ops.h"
#include "compute/team.h"
#include "sim/model.h"

int ls_ops_threads(void)
{
    return 1;
}

int64_t ls_team_run(ls_team_body *body, const void *job)
{
    return body(job, 0, 1);
}

void *ls_alloc(size_t count, size_t size, const char *what, struct ls_error *err)
{
    const size_t bytes = count * size, large = (size_t)1 << 20;
    void *block = bytes >= large ? SMPI_SHARED_MALLOC(bytes) : calloc(bytes ? bytes : 1, 1);
    if (!block)
        ls_fail(err, LS_FAILED, "%s: out of memory asking for %zu bytes", what, bytes);
    return block;
}

/* Leaks shared blocks on purpose: the end of the process is near. */
void ls_free(void *block)
{
    (void)block;
}

long ls_memory_balance(void)
{
    return 0;
}

void ls_plan_add(float *sum, const float *left, const float *right, ptrdiff_t n)
{
    (void)sum, (void)left, (void)right;
    smpi_execute((double)n * 3 * sizeof(float) / sim_memory_bandwidth);
}
