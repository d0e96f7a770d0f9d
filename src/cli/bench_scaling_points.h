/* What `bench scaling` measures, and what of it.  Private to bench_scaling*.c. */
#ifndef LS_CLI_BENCH_SCALING_POINTS_H
#define LS_CLI_BENCH_SCALING_POINTS_H

#include "cli/allreduce_model.h"
#include "cli/bench_layouts.h"
#include "cli/bench_scaling.h"

enum { LS_BENCH_SCALING_ROUNDS = 400, LS_BENCH_SCALING_SIZES = 4 };

/* Seconds of one step, smallest, mean and largest over ranks. */
struct ls_bench_scaling_times {
    struct ls_spread step;
    struct ls_spread data;    /* until the samples are there */
    struct ls_spread compute; /* forward and backward */
    struct ls_spread exposed; /* in the allreduce: messages, and the wait for slower ranks */
    struct ls_spread update;
};

/* Whose hash a point's is compared with. */
enum ls_bench_scaling_reference { LS_REFERENCE_ORACLE, LS_REFERENCE_RANK, LS_REFERENCE_LAYOUTS };

struct ls_bench_scaling_point {
    enum ls_bench_scaling_kind scaling; /* strong or weak */
    struct ls_layout layout;
    int64_t batch;
    struct ls_comm *comm; /* of the first layout.ranks; NULL: this rank rests */
    struct ls_session_team team;
    struct ls_bench_run run;
    enum ls_bench_scaling_reference reference;
    struct ls_hash hash;
    int64_t steps_a_round;
    struct ls_bench_scaling_times *rounds; /* (LS_BENCH_SCALING_ROUNDS) */
};

/* The ranks of all layouts with so many, and their allreduce of vectors of several lengths. */
struct ls_bench_scaling_part {
    int ranks;
    struct ls_comm *comm;                                                /* NULL on the others */
    double allreduce_s[LS_BENCH_SCALING_SIZES][LS_BENCH_SCALING_ROUNDS]; /* of the slowest rank */
};

struct ls_bench_scaling {
    struct ls_bench_scaling_options options;
    struct ls_session session;
    struct ls_bench_workload work;
    struct ls_layouts layouts;
    int n_parts, n_points, n_rounds;
    struct ls_bench_scaling_part *parts; /* (LS_MOST_LAYOUTS) */
    struct ls_bench_scaling_point
        *points; /* (2 * LS_MOST_LAYOUTS) by scaling, then as the layouts are ordered */
    struct ls_allreduce_model model;
};

/* Elements of the vectors whose allreduce is timed: the last of them is the gradient's. */
static inline ptrdiff_t ls_bench_scaling_size(const struct ls_bench_scaling *bench, int i)
{
    const ptrdiff_t n = bench->work.net.n_floats + 1;
    return (n >> 2 * (LS_BENCH_SCALING_SIZES - 1 - i)) + 1;
}

/* Collective.  Each point makes a few steps from the same weights. */
enum ls_code ls_bench_scaling_verify(struct ls_bench_scaling *bench, struct ls_error *err);

/* Collective.  Fills rounds and allreduce_s. */
enum ls_code ls_bench_scaling_time(struct ls_bench_scaling *bench, struct ls_error *err);

/* Local, on rank 0. */
void ls_bench_scaling_print(struct ls_bench_scaling *bench, FILE *csv);

#endif
