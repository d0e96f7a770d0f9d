/* What every command that computes starts with: which operations, how many threads, and what about this
 * launch would spoil a run. */
#ifndef LS_CLI_SESSION_H
#define LS_CLI_SESSION_H

#include "cli/options.h"
#include "cli/pinning.h"
#include "comm/comm.h"
#include "compute/ops.h"

struct ls_session_options {
    int64_t threads; /* 0: this rank's share of the cores, as ls_pinning_share */
    int serial;
    int pin; /* enum ls_pin */
};

#define LS_SESSION_OPTIONS(options)                                                                          \
    {"threads",                                                                                              \
     "N",                                                                                                    \
     LS_OPTION_INT,                                                                                          \
     &(options)->threads,                                                                                    \
     "OpenMP threads a rank; by default OMP_NUM_THREADS, else this rank's share of the cores that it may "   \
     "use: each divided among the ranks that may use it, hardware threads not counted",                      \
     NULL,                                                                                                   \
     1,                                                                                                      \
     4096,                                                                                                   \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
        {"pin",                                                                                              \
         "WHEN",                                                                                             \
         LS_OPTION_CHOICE,                                                                                   \
         &(options)->pin,                                                                                    \
         "a core of its own for each thread, on, off, or auto: when the threads take all cores that this "   \
         "rank "                                                                                             \
         "has, and nothing else (OMP_PROC_BIND) says where they go",                                         \
         "auto",                                                                                             \
         0,                                                                                                  \
         0,                                                                                                  \
         ls_pin_names,                                                                                       \
         NULL},                                                                                              \
    {                                                                                                        \
        "serial", NULL, LS_OPTION_FLAG, &(options)->serial,                                                  \
            "use the oracle: scalar loops, one rank, one thread; slow, and the same bits", NULL, 0, 0, NULL, \
            NULL                                                                                             \
    }

struct ls_session {
    struct ls_comm *comm;
    const struct ls_ops *ops;
    int threads;
    int cores;          /* that this process may run on, hardware threads counted */
    int whole_cores;    /* hardware threads of a core counted once */
    int share;          /* of them, threads by default */
    char affinity[160]; /* "cores 0-1" */
    int nodes;          /* NUMA nodes that these cores are on; 0: the kernel does not tell */
    int machine_nodes;  /* that the machine has */
    enum ls_pin pin;    /* as was asked for */
    struct ls_pinning pinning;
};

/* Collective, and ends in agreement.  Picks operations by --serial and $LOCKSTEP_ISA, the number of threads,
 * and their cores. */
enum ls_code ls_session_start(struct ls_session *session, const struct ls_session_options *options,
                              struct ls_comm *comm, struct ls_error *err);

/* So many threads on each of some ranks: their cores, and whether they must share them. */
struct ls_session_team {
    int threads, crowded;
    struct ls_pinning pinning;
};

/* Collective over `comm`, ranks of the session's, and ends in agreement.  Plans the team and uses it. */
enum ls_code ls_session_team_plan(const struct ls_session *session, struct ls_comm *comm, int threads,
                                  struct ls_session_team *team, struct ls_error *err);

/* Local.  From now on jobs are the team's. */
void ls_session_team_use(const struct ls_session_team *team);

/* Writes where this rank's threads run: "cores 0-7 on 1 of 2 NUMA nodes, a core for each thread". */
enum { LS_SESSION_CORES = 400 };
const char *ls_session_cores(const struct ls_session *session, char text[LS_SESSION_CORES]);

/* Collective.  Prints on rank 0 what spoils a run: more threads than cores, all threads on one core, threads
 * of one rank on several NUMA nodes, fewer leaves than ranks (n_leaves 0: not asked).  Goes to stderr. */
enum ls_code ls_session_warn(const struct ls_session *session, int64_t n_leaves, struct ls_error *err);

#endif
