/* `lockstep bench allreduce`. */
#ifndef LS_CLI_BENCH_ALLREDUCE_H
#define LS_CLI_BENCH_ALLREDUCE_H

#include "base/status.h"
#include "cli/session.h"

struct ls_bench_allreduce_options {
    int64_t least_bytes, most_bytes; /* of a vector; each size is 4 times the one before */
    int64_t n_leaves;                /* 0: as many as there are ranks */
    double seconds;                  /* in all */
    const char *csv;                 /* a file for the figures; NULL: none */
};

/* Collective.  For each size: the tree into one sum in the host's memory, and into this rank's own memory,
 * copied there unless that is where it is; the tree over messages, and MPI_Allreduce, first compared with the
 * contract's sum and then timed in turn. Prints a table on rank 0.  LS_DIFFERENT when a tree's bits are
 * wrong. */
enum ls_code ls_bench_allreduce(const struct ls_session *session,
                                const struct ls_bench_allreduce_options *options, struct ls_error *err);

#endif
