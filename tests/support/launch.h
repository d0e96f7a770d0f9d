/* Starts programs from Criterion tests: alone or under mpirun, with a time limit, their output captured.
 *
 * MPI_Init never happens inside a test: Criterion runs each test in a process that re-executes the whole test
 * program, and ranks that do that wait for ever.  A multi-rank test starts $(BUILD)/mpi-cases under mpirun
 * instead. Test programs run from the repository's root; LS_BUILD is the build folder relative to it. */
#ifndef LS_TESTS_LAUNCH_H
#define LS_TESTS_LAUNCH_H

#include <stddef.h>

#define LS_MPI_CASES LS_BUILD "/mpi-cases"

enum { LS_OUTCOME_TEXT = 1 << 16 };

struct ls_outcome {
    int status;    /* exit status; 128 + signal when a signal ended it; -1 when it could not be started or ran
                      too long */
    int signal;    /* that ended the program itself, 0: none */
    int timed_out; /* it and all its children were ended */
    double seconds;
    char out[LS_OUTCOME_TEXT],
        err[LS_OUTCOME_TEXT]; /* stdout and stderr, each cut to fit, always terminated */
};

/* Runs argv (NULL-terminated, argv[0] looked up in PATH) with stdin at its end.  env: "NAME=VALUE" to set,
 * "NAME" to unset, NULL-terminated; may be NULL.  Variables of an mpirun around the tests are removed first.
 * The program is ended when the test that started it ends.  The outcome is filled in any case; returns
 * outcome->status. */
int ls_launch(struct ls_outcome *outcome, double timeout_s, const char *const env[],
              const char *const argv[]);

/* The same under mpirun with `ranks` ranks, with settings that suit more ranks than cores.  Four mpiruns at a
 * time, since most of a short one is waiting: lock files in the build folder hold others back. */
int ls_launch_mpi(struct ls_outcome *outcome, int ranks, double timeout_s, const char *const env[],
                  const char *const argv[]);

/* argv for the two above, written in place: LS_ARGV("build/lockstep", "train"). */
#define LS_ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
