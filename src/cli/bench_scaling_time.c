/* Owns the rounds: every layout's steps, and every allreduce, in turn. */
#include <string.h>
#include <time.h>

#include "base/cores.h"
#include "base/timer.h"
#include "cli/bench_scaling_points.h"

static const double turn_s = 0.05;

enum { LEAST_ROUNDS = 3 };

/* One layout's turn, with its team standing by as in training. */
struct turn {
    struct ls_bench_scaling_point *point;
    double step_s; /* of this rank */
    struct ls_error *err;
};

static void find_pace(void *context)
{
    struct turn *turn = context;
    struct ls_bench_scaling_point *point = turn->point;
    turn->err->code = ls_bench_run_pace(&point->run, point->batch, turn_s, &point->steps_a_round, turn->err);
}

/* The first step finds caches and cores as others left them, and is not timed. */
static void take_turn(void *context)
{
    struct turn *turn = context;
    struct ls_bench_scaling_point *point = turn->point;
    enum ls_code code = ls_bench_run_step(&point->run, point->batch, turn->err);
    if (code == LS_OK)
        code = ls_comm_barrier(point->comm, turn->err);
    point->run.engine.times = (struct ls_step_times){0};
    const double began = ls_now_s();
    for (int64_t i = 0; code == LS_OK && i < point->steps_a_round; i++)
        code = ls_bench_run_step(&point->run, point->batch, turn->err);
    turn->step_s = (ls_now_s() - began) / (double)point->steps_a_round;
    turn->err->code = code;
}

/* Collective over the point's ranks. */
static void spread_times(struct ls_bench_scaling_point *point, double step_s,
                         struct ls_bench_scaling_times *times)
{
    const struct ls_step_times *own = &point->run.engine.times;
    const double n = (double)point->steps_a_round;
    ls_comm_spread(point->comm, step_s, &times->step, NULL);
    ls_comm_spread(point->comm, own->data_s / n, &times->data, NULL);
    ls_comm_spread(point->comm, own->compute_s / n, &times->compute, NULL);
    ls_comm_spread(point->comm, own->allreduce_s / n, &times->exposed, NULL);
    ls_comm_spread(point->comm, own->update_s / n, &times->update, NULL);
}

/* libgomp's threads look for work some 16 ms long before they sleep, on cores that are other ranks' in the
 * next layout: an allreduce of theirs took 3 ms instead of 5 us. */
static void let_go(const struct ls_layout *layout)
{
    const struct timespec a_while = {.tv_nsec = 20000000};
    if (layout->threads > 1)
        nanosleep(&a_while, NULL);
}

/* Collective.  What the others wait for sleeping is done by `work` on the point's ranks. */
static enum ls_code run_point(struct ls_bench_scaling *bench, struct ls_bench_scaling_point *point,
                              void (*work)(void *context), struct turn *turn, struct ls_error *err)
{
    err->code = LS_OK;
    *turn = (struct turn){.point = point, .err = err};
    if (point->comm) {
        ls_session_team_use(&point->team);
        bench->session.ops->with_team(work, turn);
        let_go(&point->layout);
    }
    ls_comm_rest(bench->session.comm);
    return ls_comm_agree(bench->session.comm, err);
}

static struct ls_bench_scaling_point *first_point(struct ls_bench_scaling *bench, int ranks)
{
    struct ls_bench_scaling_point *point = bench->points;
    while (point->layout.ranks != ranks)
        point++;
    return point;
}

/* Collective over the part.  Seconds of a sum of one vector a rank, by the slowest rank.  Each is written
 * before, as backward writes it: what a core has just written is further from the others than what all have
 * read. */
static double time_allreduce(struct ls_bench_scaling *bench, const struct ls_bench_scaling_part *part,
                             ptrdiff_t n)
{
    enum { SUMS = 8 };
    const enum ls_allreduce how = bench->options.allreduce ? LS_ALLREDUCE_MPI : LS_ALLREDUCE_TREE;
    struct ls_bench_scaling_point *point = first_point(bench, part->ranks);
    struct ls_vectors *vectors = &point->run.engine.vectors;
    struct ls_spread spread = {0};
    double seconds = 0;
    ls_session_team_use(&point->team);
    ls_cores_take(0);
    for (int i = 0; i < SUMS; i++) {
        const float *sum = NULL;
        memset(vectors->at[0], 0, (size_t)n * sizeof(float));
        ls_comm_barrier(part->comm, NULL);
        const double began = ls_now_s();
        ls_comm_allreduce_vectors(part->comm, how, vectors, part->ranks, n, vectors->at, 1, &sum, NULL);
        seconds += ls_now_s() - began;
    }
    ls_comm_spread(part->comm, seconds / SUMS, &spread, NULL);
    return spread.max;
}

static enum ls_code time_round(struct ls_bench_scaling *bench, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    for (int i = 0; code == LS_OK && i < bench->n_points; i++) {
        struct ls_bench_scaling_point *point = &bench->points[i];
        struct turn turn;
        code = run_point(bench, point, take_turn, &turn, err);
        if (code == LS_OK && point->comm)
            spread_times(point, turn.step_s, &point->rounds[bench->n_rounds]);
    }
    for (int i = 0; code == LS_OK && i < bench->n_parts; i++) {
        if (bench->parts[i].comm && bench->parts[i].ranks > 1)
            for (int size = 0; size < LS_BENCH_SCALING_SIZES; size++)
                bench->parts[i].allreduce_s[size][bench->n_rounds] =
                    time_allreduce(bench, &bench->parts[i], ls_bench_scaling_size(bench, size));
        ls_comm_rest(bench->session.comm);
    }
    bench->n_rounds++;
    return code;
}

enum ls_code ls_bench_scaling_time(struct ls_bench_scaling *bench, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    struct turn turn;
    for (int i = 0; code == LS_OK && i < bench->n_points; i++)
        code = run_point(bench, &bench->points[i], find_pace, &turn, err);
    const double began = ls_now_s();
    for (int goes_on = 1; code == LS_OK && goes_on;) {
        code = time_round(bench, err);
        goes_on = bench->n_rounds < LEAST_ROUNDS || ls_now_s() - began < bench->options.seconds;
        goes_on = goes_on && bench->n_rounds < LS_BENCH_SCALING_ROUNDS;
        ls_comm_broadcast(bench->session.comm, &goes_on, sizeof goes_on, 0);
    }
    return code;
}
