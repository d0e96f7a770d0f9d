/* Where the threads of ranks run.
 *
 * pinned RANKS: with one thread a rank and all ranks on this host, each has a core of its own, or none has.
 * placed 1: a thread for each core, which the environment has placed from the last core to the first, stays
 * there. */
#include <sched.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cases.h"
#include "cli/session.h"
#include "compute/team.h"

static int64_t read_mask(const void *job, int thread, int threads)
{
    cpu_set_t *set = *(cpu_set_t *const *)job;
    (void)threads;
    return thread == 0 ? sched_getaffinity(0, sizeof *set, set) : 0;
}

static int run_pinned(struct ls_comm *comm, int n_args, char **args)
{
    const struct ls_session_options options = {.threads = 1};
    const int P = ls_comm_size(comm), enough = ls_cores_mine()->n == P, few = ls_cores_mine()->n < P;
    struct ls_session session;
    struct ls_error err = {.code = LS_OK};
    cpu_set_t set, *job = &set;
    int64_t taken[LS_MOST_CORES] = {0};
    (void)n_args, (void)args;
    CPU_ZERO(&set);
    if (ls_session_start(&session, &options, comm, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    if (ls_team_run(read_mask, &job) != 0)
        return complain(comm, "no mask");
    if (enough != (session.pinning.n == 1))
        return complain(comm, "%d ranks on %d cores, and %d threads are pinned", P, ls_cores_mine()->n,
                        session.pinning.n);
    if (CPU_COUNT(&set) != (enough ? 1 : ls_cores_mine()->n))
        return complain(comm, "the thread may run on %d cores", CPU_COUNT(&set));
    if (few && !session.pinning.why_not)
        return complain(comm, "no reason is given");
    for (int core = 0; core < LS_MOST_CORES; core++)
        taken[core] = enough && CPU_ISSET((size_t)core, &set);
    if (ls_comm_sum_counts(comm, taken, LS_MOST_CORES, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    for (int core = 0; core < LS_MOST_CORES; core++)
        if (taken[core] > 1)
            return complain(comm, "core %d has %lld ranks", core, (long long)taken[core]);
    return 0;
}

static int64_t read_all_masks(const void *job, int thread, int threads)
{
    cpu_set_t *sets = *(cpu_set_t *const *)job;
    (void)threads;
    return sched_getaffinity(0, sizeof *sets, &sets[thread]);
}

static int run_placed(struct ls_comm *comm, int n_args, char **args)
{
    const int n = ls_cores_mine()->n;
    const struct ls_session_options options = {.threads = n};
    struct ls_session session;
    struct ls_error err = {.code = LS_OK};
    (void)n_args, (void)args;
    if (ls_session_start(&session, &options, comm, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    cpu_set_t *sets = ls_alloc((size_t)n, sizeof *sets, "masks", &err);
    int failed = !sets || session.threads != n || ls_team_run(read_all_masks, &sets) != 0;
    if (failed)
        complain(comm, "%d of %d threads, or no masks", session.threads, n);
    for (int t = 0; t < n && !failed; t++)
        if (CPU_COUNT(&sets[t]) != 1 || !CPU_ISSET((size_t)ls_cores_mine()->core[n - 1 - t], &sets[t]))
            failed = complain(comm, "thread %d is not on core %d alone, but on %d, and %s", t,
                              ls_cores_mine()->core[n - 1 - t], CPU_COUNT(&sets[t]),
                              session.pinning.n > 0 ? "was pinned" : session.pinning.why_not);
    ls_free(sets);
    return failed;
}

const struct mpi_case pinning_cases[] = {{"pinned", run_pinned}, {"placed", run_placed}, {0}};
