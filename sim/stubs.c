/* What src/comm wants of the rest, for a simulation: one thread a rank; memory that all simulated ranks
 * share, since nobody looks at the numbers; additions that take the time that they would take. */
#include <simgrid/actor.h>
#include <smpi/smpi.h>
#include <stdlib.h>

#include "base/memory.h"
#include "comm/add.h"
#include "compute/ops.h"
#include "compute/team.h"
#include "sim/time.h"

double sim_memory_bandwidth = 1e11;

/* All memory of at least so many bytes is this one block, of all ranks. */
static const size_t large = (size_t)1 << 20, block_bytes = (size_t)1 << 30;
static void *block;

/* Asleep, since SMPI's smpi_execute takes less than a microsecond for nothing, and since SimGrid 3.32 keeps
 * for ever each message that MPI_Test found finished in a list, which the end of an execution searches
 * through: with 256 ranks nearly all of its time. */
void sim_pass(double seconds)
{
    sg_actor_sleep_for(seconds);
}

/* SMPI moves no bytes from a shared block to a shared block.  One for all, since 1,024 ranks with hundreds of
 * megabytes each would take more mappings than a process may have. */
void sim_share_block(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        block = SMPI_SHARED_MALLOC(block_bytes);
    MPI_Bcast(&block, sizeof block, MPI_BYTE, 0, MPI_COMM_WORLD);
}

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
    const size_t bytes = count * size;
    void *found = bytes > block_bytes ? NULL : bytes >= large ? block : calloc(bytes ? bytes : 1, 1);
    if (!found)
        ls_fail(err, LS_FAILED, "%s: out of memory asking for %zu bytes", what, bytes);
    return found;
}

/* Leaks on purpose: the end of the process is near. */
void ls_free(void *found)
{
    (void)found;
}

long ls_memory_balance(void)
{
    return 0;
}

void ls_plan_add(float *sum, const float *left, const float *right, ptrdiff_t n)
{
    (void)sum, (void)left, (void)right;
    sim_pass((double)n * 3 * sizeof(float) / sim_memory_bandwidth);
}
