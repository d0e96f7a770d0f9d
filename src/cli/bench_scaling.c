/* Owns the order of the bench, its points, and who belongs to which.  See bench_scaling.h. */
#include "cli/bench_scaling.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench_scaling_points.h"

/* Collective.  A communication for each number of ranks that a layout has. */
static enum ls_code make_parts(struct ls_bench_scaling *bench, struct ls_error *err)
{
    struct ls_comm *comm = bench->session.comm;
    for (int i = 0; i < bench->layouts.n; i++) {
        const int ranks = bench->layouts.at[i].ranks;
        int p = 0;
        while (p < bench->n_parts && bench->parts[p].ranks != ranks)
            p++;
        if (p < bench->n_parts)
            continue;
        bench->parts[p].ranks = ranks;
        bench->n_parts++;
        if (ls_comm_create_part(comm, ranks, &bench->parts[p].comm, err) != LS_OK)
            return err->code;
    }
    return LS_OK;
}

static struct ls_comm *comm_of(const struct ls_bench_scaling *bench, int ranks)
{
    int p = 0;
    while (bench->parts[p].ranks != ranks)
        p++;
    return bench->parts[p].comm;
}

static int64_t batch_of(const struct ls_bench_scaling_options *options, enum ls_bench_scaling_kind scaling,
                        int ranks)
{
    const int64_t share = options->rank_batch > 0 ? options->rank_batch : options->batch;
    return scaling == LS_BENCH_SCALING_STRONG ? options->batch : share * ranks;
}

static int64_t most_samples(const struct ls_bench_scaling *bench)
{
    int64_t most = 1;
    for (int i = 0; i < bench->n_points; i++)
        most = bench->points[i].batch > most ? bench->points[i].batch : most;
    return most;
}

/* Local: what is known before anything is shared. */
static enum ls_code plan(struct ls_bench_scaling *bench, struct ls_error *err)
{
    const struct ls_bench_scaling_options *options = &bench->options;
    enum ls_code code = ls_layouts_choose(&bench->layouts, options->layouts,
                                          ls_comm_size(bench->session.comm), bench->session.threads, err);
    bench->parts = ls_alloc(LS_MOST_LAYOUTS, sizeof *bench->parts, "rank counts", err);
    bench->points = ls_alloc(2 * LS_MOST_LAYOUTS, sizeof *bench->points, "layouts", err);
    if (code != LS_OK || !bench->parts || !bench->points)
        return err->code;
    for (int scaling = LS_BENCH_SCALING_STRONG; scaling <= LS_BENCH_SCALING_WEAK; scaling++)
        for (int i = 0; i < bench->layouts.n; i++)
            if (options->scaling == scaling || options->scaling == LS_BENCH_SCALING_BOTH)
                bench->points[bench->n_points++] = (struct ls_bench_scaling_point){
                    .scaling = (enum ls_bench_scaling_kind)scaling,
                    .layout = bench->layouts.at[i],
                    .batch =
                        batch_of(options, (enum ls_bench_scaling_kind)scaling, bench->layouts.at[i].ranks)};
    for (int i = 0; i < bench->n_points; i++) {
        struct ls_bench_scaling_point *point = &bench->points[i];
        point->rounds = ls_alloc(LS_BENCH_SCALING_ROUNDS, sizeof *point->rounds, "times of the rounds", err);
        if (!point->rounds)
            return err->code;
    }
    return ls_bench_workload_create(&bench->work, &options->net, most_samples(bench), err);
}

/* Collective. */
static enum ls_code make_points(struct ls_bench_scaling *bench, struct ls_error *err)
{
    err->code = LS_OK;
    for (int i = 0; i < bench->n_points; i++) {
        struct ls_bench_scaling_point *point = &bench->points[i];
        point->comm = comm_of(bench, point->layout.ranks);
        if (!point->comm)
            continue;
        const struct ls_engine_plan engine = {.allreduce = bench->options.allreduce ? LS_ALLREDUCE_MPI
                                                                                    : LS_ALLREDUCE_TREE,
                                              .batch = {point->batch},
                                              .bucket_bytes = bench->options.bucket_bytes};
        struct ls_error own = {.code = LS_OK};
        enum ls_code code =
            ls_session_team_plan(&bench->session, point->comm, point->layout.threads, &point->team, &own);
        if (code == LS_OK)
            code = ls_bench_run_create(&point->run, &bench->work, bench->session.ops, point->comm, &engine,
                                       &own);
        if (code != LS_OK)
            *err = own;
    }
    return ls_comm_agree(bench->session.comm, err);
}

static enum ls_code open_csv(struct ls_bench_scaling *bench, FILE **csv, struct ls_error *err)
{
    const char *name = bench->options.csv;
    err->code = LS_OK;
    if (name && ls_comm_rank(bench->session.comm) == 0 && !(*csv = fopen(name, "w")))
        ls_fail(err, LS_FAILED, "--csv: cannot write '%s': %s", name, strerror(errno));
    return ls_comm_agree(bench->session.comm, err);
}

static enum ls_code close_csv(struct ls_bench_scaling *bench, FILE *csv, struct ls_error *err)
{
    if (csv && (ferror(csv) | fclose(csv)) != 0 && err->code == LS_OK)
        ls_fail(err, LS_FAILED, "--csv: writing '%s' failed", bench->options.csv);
    return ls_comm_agree(bench->session.comm, err);
}

static enum ls_code bench_scaling(struct ls_bench_scaling *bench, struct ls_error *err)
{
    struct ls_comm *comm = bench->session.comm;
    FILE *csv = NULL;
    err->code = LS_OK;
    err->code = plan(bench, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = make_parts(bench, err);
    if (code == LS_OK)
        code = make_points(bench, err);
    if (code == LS_OK)
        code = open_csv(bench, &csv, err);
    if (code != LS_OK)
        return code;
    code = ls_bench_scaling_verify(bench, err);
    if (code == LS_OK)
        code = ls_bench_scaling_time(bench, err);
    if (code == LS_OK && ls_comm_rank(comm) == 0)
        ls_bench_scaling_print(bench, csv);
    err->code = code;
    return close_csv(bench, csv, err);
}

enum ls_code ls_bench_scaling(const struct ls_session *session,
                              const struct ls_bench_scaling_options *options, struct ls_error *err)
{
    struct ls_bench_scaling bench = {.options = *options, .session = *session};
    const enum ls_code code = bench_scaling(&bench, err);
    for (int i = 0; i < bench.n_points; i++) {
        ls_bench_run_release(&bench.points[i].run);
        ls_free(bench.points[i].rounds);
    }
    for (int i = 0; i < bench.n_parts; i++)
        ls_comm_destroy(&bench.parts[i].comm);
    ls_bench_workload_release(&bench.work);
    ls_free(bench.points);
    ls_free(bench.parts);
    return code;
}
