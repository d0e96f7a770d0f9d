/* Owns the look at cores and threads.  See session.h. */
#include "cli/session.h"

#include <fenv.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "compute/team.h"

/* Writes "cores 0-3,8" and returns how many there are. */
static int read_affinity(char *text, size_t size)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        snprintf(text, size, "%ld cores", online);
        return online > 0 ? (int)online : 1;
    }
    size_t used = (size_t)snprintf(text, size, "%s", CPU_COUNT(&set) == 1 ? "core" : "cores");
    const char *separator = " ";
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        size_t last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set))
            last++;
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, last > cpu ? "%s%zu-%zu" : "%s%zu", separator,
                                     cpu, last);
        separator = ",";
        cpu = last;
    }
    return CPU_COUNT(&set);
}

static enum ls_code choose_threads(struct ls_session *session, int64_t wanted, struct ls_error *err)
{
    const char *environment = getenv("OMP_NUM_THREADS");
    int64_t threads = wanted;
    if (threads == 0 && environment && *environment) {
        char first[32];
        snprintf(first, sizeof first, "%.*s", (int)strcspn(environment, ","), environment);
        if (!ls_text_to_int64(first, &threads) || threads < 1 || threads > 4096)
            return ls_fail(err, LS_USAGE, "OMP_NUM_THREADS='%.40s' is no number of threads: give 1 to 4096",
                           environment);
    }
    if (threads == 0) {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        const int share = session->cores < online ? session->cores /* bound by the launcher: all mine */
                                                  : session->cores / ls_comm_ranks_on_host(session->comm);
        threads = share > 1 ? share : 1;
    }
    session->threads = (int)threads;
    return LS_OK;
}

static enum ls_code choose_ops(struct ls_session *session, const struct ls_session_options *options,
                               struct ls_error *err)
{
    if (options->serial) {
        if (ls_comm_size(session->comm) > 1)
            return ls_fail(err, LS_USAGE,
                           "--serial is one rank by definition, found %d ranks: start it without mpirun",
                           ls_comm_size(session->comm));
        session->ops = &ls_ops_serial;
        session->threads = 1;
        return LS_OK;
    }
    const char *isa = getenv("LOCKSTEP_ISA");
    session->ops = ls_ops_parallel(isa && *isa ? isa : NULL);
    if (!session->ops) {
        char known[100];
        return ls_fail(err, LS_USAGE,
                       "LOCKSTEP_ISA='%.40s' is not possible here: this processor and build have %s", isa,
                       ls_text_join(ls_ops_isas(), known, sizeof known));
    }
    const enum ls_code code = choose_threads(session, options->threads, err);
    if (code == LS_OK)
        ls_ops_set_threads(session->threads);
    session->threads = ls_ops_threads(); /* 1 in a build without OpenMP */
    /* With more threads than cores, one that spins keeps another from running. */
    if ((long)session->threads * ls_comm_ranks_on_host(session->comm) > sysconf(_SC_NPROCESSORS_ONLN) ||
        session->threads > session->cores)
        ls_team_set_patience_us(0);
    return code;
}

enum ls_code ls_session_start(struct ls_session *session, const struct ls_session_options *options,
                              struct ls_comm *comm, struct ls_error *err)
{
    *session = (struct ls_session){.comm = comm};
    /* Contract rule 1: round to nearest, subnormals kept.  A library that was linked with -ffast-math (MPI
     * and its plug-ins are loaded by now) switches them off for the thread that loads it; the threads of the
     * team start later and inherit what is set here. */
    err->code = fesetenv(FE_DFL_ENV) == 0
                    ? LS_OK
                    : ls_fail(err, LS_FAILED, "cannot set the processor to IEEE arithmetic");
    session->cores = read_affinity(session->affinity, sizeof session->affinity);
    if (err->code == LS_OK)
        err->code = choose_ops(session, options, err);
    return ls_comm_agree(comm, err);
}

enum ls_code ls_session_warn(const struct ls_session *session, int64_t n_leaves, struct ls_error *err)
{
    struct ls_spread threads_per_core = {0};
    const enum ls_code code = ls_comm_spread(session->comm, (double)session->threads / (double)session->cores,
                                             &threads_per_core, err);
    if (code != LS_OK || ls_comm_rank(session->comm) != 0)
        return code;
    const int ranks = ls_comm_size(session->comm), here = ls_comm_ranks_on_host(session->comm);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (session->cores == 1 && session->threads > 1)
        fprintf(stderr,
                "warning: the %d threads of a rank are bound to one core (mpirun's default): add '--bind-to "
                "none' or "
                "'--map-by slot:PE=%d' to mpirun\n",
                session->threads, session->threads);
    else if (threads_per_core.max > 1.0)
        fprintf(stderr,
                "warning: %d threads on %d cores: threads that share a core slow each other down; use "
                "--threads %d\n",
                session->threads, session->cores, session->cores);
    else if ((long)here * session->threads > online)
        fprintf(stderr,
                "warning: %d ranks x %d threads on a host of %ld cores: fewer ranks or threads will be "
                "faster; the result is "
                "the same\n",
                here, session->threads, online);
    if (n_leaves > 0 && n_leaves < ranks)
        fprintf(stderr,
                "warning: a batch has %lld leaves, fewer than the %d ranks: %lld of them have nothing to do; "
                "use a larger --batch "
                "or a smaller --microbatch (which changes the result)\n",
                (long long)n_leaves, ranks, (long long)(ranks - n_leaves));
    return code;
}
