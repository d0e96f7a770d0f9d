/* `lockstep bench scaling`: one job measures all its smaller sizes.
 *
 * The first P ranks make a communication of their own for each number of ranks P, and each layout, P ranks
 * with T threads each, trains there while the others sleep.  All are timed in turn, some 50 ms each, round
 * after round: so a cluster's user needs one job, and what disturbs a machine disturbs all alike.
 *
 * strong   the batch stays, and is spread over the ranks
 * weak     each rank's share stays, so the batch grows with them
 *
 * Before anything is timed each layout makes the same few steps; the weights must have the same hash for the
 * same batch, and, where that can be afforded, the serial oracle's or one rank's. */
#ifndef LS_CLI_BENCH_SCALING_H
#define LS_CLI_BENCH_SCALING_H

#include "cli/bench_workload.h"
#include "cli/session.h"

enum ls_bench_scaling_kind { LS_BENCH_SCALING_STRONG, LS_BENCH_SCALING_WEAK, LS_BENCH_SCALING_BOTH };

struct ls_bench_scaling_options {
    struct ls_bench_net net;
    int64_t batch;        /* strong: of all ranks */
    int64_t rank_batch;   /* weak: of each rank; 0: as many */
    int64_t bucket_bytes; /* of gradients that leave while backward runs; 0: all at its end */
    double seconds;       /* of timing, in all */
    const char *layouts;  /* NULL: as ls_layouts_choose has it */
    const char *csv;      /* a file for all figures; NULL: none */
    int scaling;          /* enum ls_bench_scaling_kind */
    int allreduce;        /* 1: MPI_Allreduce, whose bits depend on the layout */
    int no_verify;        /* layouts are compared with each other only */
};

/* Collective.  Prints a table on rank 0.  LS_DIFFERENT when a layout's bits are others; then nothing was
 * timed. */
enum ls_code ls_bench_scaling(const struct ls_session *session,
                              const struct ls_bench_scaling_options *options, struct ls_error *err);

#endif
