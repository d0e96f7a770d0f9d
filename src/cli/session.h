/* What every command that computes starts with: which operations, how many threads, and what about this
 * launch would spoil a run. */
#ifndef LS_CLI_SESSION_H
#define LS_CLI_SESSION_H

#include "cli/options.h"
#include "comm/comm.h"
#include "compute/ops.h"

struct ls_session_options {
    int64_t threads; /* 0: as many as this rank's share of the cores */
    int serial;
};

#define LS_SESSION_OPTIONS(options)                                                                          \
    {"threads",                                                                                              \
     "N",                                                                                                    \
     LS_OPTION_INT,                                                                                          \
     &(options)->threads,                                                                                    \
     "OpenMP threads a rank; by default OMP_NUM_THREADS, else this rank's share of the cores it may use",    \
     NULL,                                                                                                   \
     1,                                                                                                      \
     4096,                                                                                                   \
     NULL,                                                                                                   \
     NULL},                                                                                                  \
    {                                                                                                        \
        "serial", NULL, LS_OPTION_FLAG, &(options)->serial,                                                  \
            "use the oracle: scalar loops, one rank, one thread; slow, and the same bits", NULL, 0, 0, NULL, \
            NULL                                                                                             \
    }

struct ls_session {
    struct ls_comm *comm;
    const struct ls_ops *ops;
    int threads;
    int cores;          /* that this process may run on */
    char affinity[160]; /* "cores 0-1" */
};

/* Collective, and ends in agreement.  Picks operations by --serial and $LOCKSTEP_ISA, and the number of
 * threads. */
enum ls_code ls_session_start(struct ls_session *session, const struct ls_session_options *options,
                              struct ls_comm *comm, struct ls_error *err);

/* Collective.  Prints on rank 0 what spoils a run: more threads than cores, all threads on one core, fewer
 * leaves than ranks (n_leaves 0: not asked).  Goes to stderr. */
enum ls_code ls_session_warn(const struct ls_session *session, int64_t n_leaves, struct ls_error *err);

#endif
