/* Owns the look at cores and threads.  See session.h. */
#include "cli/session.h"

#include <fenv.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "compute/bell.h"

/* Of the machine, read when a session starts. */
static struct ls_topology topology;

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
    session->threads = threads ? (int)threads : session->share;
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
    return code;
}

void ls_session_team_use(const struct ls_session_team *team)
{
    ls_ops_set_threads(team->threads);
    ls_cores_pin(team->pinning.core, team->pinning.n);
    /* With more threads than cores, one that spins keeps another from running. */
    ls_bell_set_patience_us(team->crowded ? 0 : LS_BELL_PATIENCE_US);
}

enum ls_code ls_session_team_plan(const struct ls_session *session, struct ls_comm *comm, int threads,
                                  struct ls_session_team *team, struct ls_error *err)
{
    *team = (struct ls_session_team){.threads = threads};
    const enum ls_code code = ls_pinning_start(&team->pinning, session->pin, threads, &topology, comm, err);
    team->crowded = team->pinning.host_threads > team->pinning.host_cores || threads > session->cores;
    if (code == LS_OK)
        ls_session_team_use(team);
    return code;
}

/* Who goes where, and how patiently they wait for each other. */
static enum ls_code place_threads(struct ls_session *session, const struct ls_session_options *options,
                                  struct ls_error *err)
{
    struct ls_session_team team;
    session->pin = options->serial ? LS_PIN_OFF : (enum ls_pin)options->pin;
    const enum ls_code code = ls_session_team_plan(session, session->comm, session->threads, &team, err);
    session->pinning = team.pinning;
    return code;
}

/* What the process may use, and how much of it is this rank's. */
static enum ls_code find_cores(struct ls_session *session, struct ls_error *err)
{
    const struct ls_cores *cores = ls_cores_mine();
    ls_topology_read(&topology, cores, "/sys/devices/system");
    session->cores = cores->n;
    session->whole_cores = ls_topology_whole_cores(&topology, cores);
    session->machine_nodes = topology.n_nodes;
    session->nodes = ls_topology_nodes(&topology, cores);
    ls_cores_text(cores, session->affinity, sizeof session->affinity);
    return ls_pinning_find_share(&session->share, &topology, session->comm, err);
}

enum ls_code ls_session_start(struct ls_session *session, const struct ls_session_options *options,
                              struct ls_comm *comm, struct ls_error *err)
{
    *session = (struct ls_session){.comm = comm};
    enum ls_code code = find_cores(session, err);
    if (code != LS_OK)
        return code;
    /* Contract rule 1: round to nearest, subnormals kept.  A library that was linked with -ffast-math (MPI
     * and its plug-ins are loaded by now) switches them off for the thread that loads it; the threads of the
     * team start later and inherit what is set here. */
    err->code = fesetenv(FE_DFL_ENV) == 0
                    ? LS_OK
                    : ls_fail(err, LS_FAILED, "cannot set the processor to IEEE arithmetic");
    if (err->code == LS_OK)
        err->code = choose_ops(session, options, err);
    code = ls_comm_agree(comm, err);
    return code == LS_OK ? place_threads(session, options, err) : code;
}

const char *ls_session_cores(const struct ls_session *session, char text[LS_SESSION_CORES])
{
    const struct ls_pinning *pinning = &session->pinning;
    char nodes[60] = "";
    if (session->machine_nodes > 1)
        snprintf(nodes, sizeof nodes, " on %d of %d NUMA nodes", session->nodes, session->machine_nodes);
    snprintf(
        text, LS_SESSION_CORES, "%s%s, %s%s", session->affinity, nodes,
        pinning->n > 0 ? "a core for each thread" : "not pinned: ", pinning->n > 0 ? "" : pinning->why_not);
    return text;
}

enum ls_code ls_session_warn(const struct ls_session *session, int64_t n_leaves, struct ls_error *err)
{
    struct ls_spread threads_per_core = {0};
    const enum ls_code code = ls_comm_spread(session->comm, (double)session->threads / (double)session->cores,
                                             &threads_per_core, err);
    if (code != LS_OK || ls_comm_rank(session->comm) != 0)
        return code;
    const int ranks = ls_comm_size(session->comm), here = ls_comm_ranks_on_host(session->comm);
    const struct ls_pinning *pinning = &session->pinning;
    if (session->whole_cores == 1 && session->threads > 1)
        fprintf(stderr,
                "warning: the %d threads of a rank are bound to one core (as mpirun does with one or two "
                "ranks): add '--bind-to none' or '--map-by slot:PE=%d' to mpirun\n",
                session->threads, session->threads);
    else if (threads_per_core.max > 1.0)
        fprintf(stderr,
                "warning: %d threads on %d cores: threads that share a core slow each other down; use "
                "--threads %d\n",
                session->threads, session->cores, session->share);
    else if (pinning->host_threads > pinning->host_cores)
        fprintf(stderr,
                "warning: %d ranks with %d threads on the %d cores that they may use of this host: fewer "
                "ranks or "
                "threads will be faster; the result is the same\n",
                here, pinning->host_threads, pinning->host_cores);
    else if (pinning->nodes > 1 && session->threads > 1)
        fprintf(
            stderr,
            "warning: the %d threads of a rank are on %d NUMA nodes (%s), and half of what they read is far "
            "away: one rank a socket will be faster, mpirun --map-by ppr:1:socket:PE=N --bind-to core with N "
            "cores a socket (hardware threads not counted); the result is the same\n",
            session->threads, pinning->nodes, session->affinity);
    if (n_leaves > 0 && n_leaves < ranks)
        fprintf(stderr,
                "warning: a batch has %lld leaves, fewer than the %d ranks: %lld of them have nothing to do; "
                "use a larger --batch "
                "or a smaller --microbatch (which changes the result)\n",
                (long long)n_leaves, ranks, (long long)(ranks - n_leaves));
    return code;
}
