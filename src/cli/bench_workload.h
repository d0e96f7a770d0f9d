/* What benches train: a net, random samples in memory, and steps on them as training makes them. */
#ifndef LS_CLI_BENCH_WORKLOAD_H
#define LS_CLI_BENCH_WORKLOAD_H

#include "model/net.h"
#include "optim/optimizer.h"
#include "train/step.h"

/* As the user asked for it; the loss is softmax. */
struct ls_bench_net {
    const char *net, *input; /* input NULL: the named net's, else 28x28 */
    int64_t microbatch;
    int64_t samples; /* in memory; 0: enough for four batches, or 8,192 */
    int elements;    /* of them: enum ls_bench_elements */
    int lanes;       /* enum ls_lanes_rule */
    float momentum;
};

/* What a number of a sample is in memory: a byte, of which each step makes binary32, or binary32. */
enum ls_bench_elements { LS_BENCH_U8, LS_BENCH_F32 };

struct ls_bench_workload {
    struct ls_bench_net wanted;
    struct ls_net net;
    struct ls_dataset data;
};

/* Local.  Data for batches of up to most_batch samples.  It may be released also after failure. */
enum ls_code ls_bench_workload_create(struct ls_bench_workload *work, const struct ls_bench_net *wanted,
                                      int64_t most_batch, struct ls_error *err);
void ls_bench_workload_release(struct ls_bench_workload *work);

/* Multiplications and additions of the products of a step, a sample; a layer on the input has no input
 * gradient. */
double ls_bench_sample_flops(const struct ls_bench_workload *work);

/* Bytes of samples and labels in memory. */
size_t ls_bench_data_bytes(const struct ls_bench_workload *work);

/* How many samples, at least a leaf and one, the oracle works through in about 5 s. */
int64_t ls_bench_affordable_batch(const struct ls_bench_workload *work);

/* The training of one model.  engine.times counts its steps' time, the update's with it. */
struct ls_bench_run {
    const struct ls_bench_workload *work;
    struct ls_engine engine;
    struct ls_optimizer optimizer;
    struct ls_sampler sampler;
    float *parameters;
    int64_t step, batch; /* the batch: of the update at hand */
    int updates_early;   /* it has begun, by buckets */
};

/* As ls_engine_create; `plan` needs batch sizes, allreduce and what else differs from run to run.  *run must
 * stay where it is.  Zeroed storage may be released, and what failed. */
enum ls_code ls_bench_run_create(struct ls_bench_run *run, const struct ls_bench_workload *work,
                                 const struct ls_ops *ops, struct ls_comm *comm,
                                 const struct ls_engine_plan *plan, struct ls_error *err);
void ls_bench_run_release(struct ls_bench_run *run);

/* Collective over the run's ranks: gradient and update of the next B samples. */
enum ls_code ls_bench_run_step(struct ls_bench_run *run, int64_t B, struct ls_error *err);

/* Collective.  How many steps take about so many seconds, at least one; the same on every rank. */
enum ls_code ls_bench_run_pace(struct ls_bench_run *run, int64_t B, double seconds, int64_t *n_steps,
                               struct ls_error *err);

#endif
