/* Owns the comparison of bits: the same steps in every layout, beside the oracle where that can be afforded.
 */
#include <stdio.h>

#include "cli/bench_scaling_points.h"
#include "train/model_file.h"

enum { STEPS = 2 };

/* Operations of all steps of a reference: about 2 s of the oracle, or of one thread. */
static const double oracle_flops = 4e8, rank_flops = 1e11;

static const char *scaling_name(enum ls_bench_scaling_kind scaling)
{
    return scaling == LS_BENCH_SCALING_STRONG ? "strong" : "weak";
}

/* Collective over the run's ranks. */
static enum ls_code train(struct ls_bench_run *run, int64_t batch, struct ls_hash *hash, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    for (int i = 0; code == LS_OK && i < STEPS; i++)
        code = ls_bench_run_step(run, batch, err);
    return code == LS_OK ? ls_net_hash(&run->work->net, run->parameters, hash, err) : code;
}

/* The same by one rank. */
static enum ls_code train_alone(struct ls_bench_scaling *bench, const struct ls_ops *ops, int64_t batch,
                                struct ls_hash *hash, struct ls_error *err)
{
    const struct ls_engine_plan plan = {.batch = {batch}};
    struct ls_comm *solo = NULL;
    struct ls_bench_run run = {0};
    enum ls_code code = ls_comm_create_solo(&solo, err);
    if (code == LS_OK) /* one thread */
        ls_session_team_use(&bench->points[0].team);
    if (code == LS_OK)
        code = ls_bench_run_create(&run, &bench->work, ops, solo, &plan, err);
    if (code == LS_OK)
        code = train(&run, batch, hash, err);
    ls_bench_run_release(&run);
    ls_comm_destroy(&solo);
    return code;
}

/* What the point's hash should be, by the first point of its batch or by what can be afforded for it. */
static enum ls_code refer(struct ls_bench_scaling *bench, struct ls_bench_scaling_point *point,
                          struct ls_hash *expected, struct ls_error *err)
{
    const double flops = STEPS * (double)point->batch * ls_bench_sample_flops(&bench->work);
    const int computes = !bench->options.no_verify;
    *expected = point->hash;
    for (const struct ls_bench_scaling_point *first = bench->points; first < point; first++)
        if (first->batch == point->batch) {
            *expected = first->hash;
            point->reference = first->reference;
            return LS_OK;
        }
    point->reference = LS_REFERENCE_ORACLE;
    if (computes && flops <= oracle_flops)
        return train_alone(bench, &ls_ops_serial, point->batch, expected, err);
    point->reference = LS_REFERENCE_RANK;
    if (point->layout.ranks == 1)
        return LS_OK;
    if (computes && flops <= rank_flops)
        return train_alone(bench, bench->session.ops, point->batch, expected, err);
    point->reference = LS_REFERENCE_LAYOUTS;
    return LS_OK;
}

static enum ls_code compare(struct ls_bench_scaling *bench, struct ls_bench_scaling_point *point,
                            struct ls_error *err)
{
    static const char *const names[] = {"the serial oracle's", "one rank's", "another layout's"};
    struct ls_hash expected;
    char found_text[LS_HASH_TEXT], expected_text[LS_HASH_TEXT];
    const enum ls_code code = refer(bench, point, &expected, err);
    if (code != LS_OK || ls_hash_equal(point->hash, expected))
        return code;
    ls_hash_text(point->hash, found_text);
    ls_hash_text(expected, expected_text);
    return ls_fail(
        err, LS_DIFFERENT,
        "%s scaling, B = %lld, %d ranks x %d threads: after %d steps the weights have hash %s, %s is %s: "
        "the bits depend on the layout%s; nothing was timed",
        scaling_name(point->scaling), (long long)point->batch, point->layout.ranks, point->layout.threads,
        STEPS, found_text, names[point->reference], expected_text,
        bench->options.allreduce ? ", as with --allreduce mpi they may" : "");
}

enum ls_code ls_bench_scaling_verify(struct ls_bench_scaling *bench, struct ls_error *err)
{
    struct ls_comm *comm = bench->session.comm;
    enum ls_code code = LS_OK;
    for (int i = 0; code == LS_OK && i < bench->n_points; i++) {
        struct ls_bench_scaling_point *point = &bench->points[i];
        err->code = LS_OK;
        if (point->comm) {
            ls_session_team_use(&point->team);
            err->code = train(&point->run, point->batch, &point->hash, err);
            if (ls_comm_agree(point->comm, err) == LS_OK)
                ls_comm_compare_hashes(point->comm, point->hash, "the weights", err);
        }
        if (err->code == LS_OK && ls_comm_rank(comm) == 0)
            err->code = compare(bench, point, err);
        ls_comm_rest(comm);
        code = ls_comm_agree(comm, err);
    }
    return code;
}
