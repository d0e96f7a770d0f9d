/* Multi-rank tests: functions that every rank of one mpirun calls.
 *
 * A new suite is a file case_NAME.c with a table, named in main.c; tests/unit/test_mpi.c launches its cases.
 */
#ifndef LS_TESTS_CASES_H
#define LS_TESTS_CASES_H

#include "comm/comm.h"

enum { LS_ALL_FAILED = -1 };

struct mpi_case {
    const char *name;
    /* Returns 0 when all is well; else has told what was wrong by complain(), and returns 1: the job is then
     * aborted, so ranks that still wait for this one do not hang.  Or LS_ALL_FAILED, on every rank: the job
     * ends in order.  (An abort while others are in MPI_Finalize has crashed Open MPI 4.1's mpirun once in 42
     * jobs.) */
    int (*run)(struct ls_comm *comm, int n_args, char **args);
};

extern const struct mpi_case comm_cases[], matrix_cases[], fault_cases[], command_cases[],
    fault_campaign_cases[], pinning_cases[]; /* the last of each has no name */

/* "rank R of P: message" on stderr; returns 1. */
int complain(const struct ls_comm *comm, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
