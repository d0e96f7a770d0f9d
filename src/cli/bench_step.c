/* lockstep bench step: whole training steps, verified, then timed; every figure is a share of a peak measured
 * in the same run. */
#include "cli/bench_step.h"

#include <math.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/philox.h"
#include "base/timer.h"
#include "cli/bench_statistics.h"
#include "compute/machine.h"
#include "model/examples.h"
#include "optim/optimizer.h"
#include "train/model_file.h"
#include "train/step.h"

enum { MOST_ROUNDS = 4096 };

/* One way of running the step, timed in turn with the others. */
struct variant {
    enum ls_allreduce allreduce;
    struct ls_engine engine;
    struct ls_optimizer optimizer;
    float *parameters;
    int64_t step;
    int64_t steps_a_round;
    int n_rounds;
    double step_s[MOST_ROUNDS]; /* seconds a step, of each round */
};

struct bench {
    struct ls_bench_step_options options;
    struct ls_session session;
    struct ls_dataset data;
    struct ls_net net;
    struct ls_sampler sampler;
    int n_variants;
    struct variant variants[2];
    int n_peaks;
    double peak_gflops[MOST_ROUNDS];
    struct ls_error *err; /* of time_round, and its outcome */
    enum ls_code code;
};

/* Random pixels and labels, enough of them that batches come from memory as a real data set's do. */
static enum ls_code make_data(struct bench *bench, struct ls_error *err)
{
    const struct ls_bench_step_options *o = &bench->options;
    const int64_t n = o->batch * 4 > 8192 ? o->batch * 4 : 8192;
    const ptrdiff_t K = bench->net.in.count;
    uint8_t *pixels = ls_alloc((size_t)n, (size_t)K, "pixels", err);
    int32_t *labels = ls_alloc((size_t)n, sizeof *labels, "labels", err);
    bench->data.owned[0] = pixels;
    bench->data.owned[1] = labels;
    if (!pixels || !labels)
        return LS_FAILED;
    for (int64_t i = 0; i < n * K; i += 4) {
        const struct ls_bits128 bits = ls_random(1, LS_PURPOSE_SYNTHETIC, 0, (uint64_t)i);
        for (int64_t j = 0; j < 4 && i + j < n * K; j++)
            pixels[i + j] = (uint8_t)(bits.word[j] & 255u);
    }
    for (int64_t i = 0; i < n; i++)
        labels[i] = (int32_t)(ls_random(1, LS_PURPOSE_SYNTHETIC, 1, (uint64_t)i).word[0] %
                              (uint32_t)bench->net.out.count);
    snprintf(bench->data.name, sizeof bench->data.name, "random");
    bench->data.n_samples = n;
    bench->data.n_dims = bench->net.in.n_dims;
    memcpy(bench->data.dims, bench->net.in.dims, sizeof bench->data.dims);
    bench->data.n_features = K;
    bench->data.pixels = pixels;
    bench->data.pixel_divisor = 255.0f;
    bench->data.labels = labels;
    bench->data.n_classes = (int32_t)bench->net.out.count;
    return LS_OK;
}

/* Multiplications and additions of the products of a step, a sample; a layer on the input has no input
 * gradient. */
static double sample_flops(const struct bench *bench)
{
    double flops = 0;
    for (int i = 0; i < bench->net.n_layers; i++) {
        const struct ls_layer *layer = &bench->net.layers[i];
        if (!layer->kind->flops)
            continue;
        const int below = ls_net_value(&bench->net, layer->from);
        const int on_input = below < 0 || bench->net.layers[below].kind == &ls_layer_reorder;
        flops += (on_input ? 2 : 3) * layer->kind->flops(layer);
    }
    return flops;
}

/* Samples in a batch that is verified: the oracle does some 2e8 operations a second. */
static int64_t verified_batch(const struct bench *bench)
{
    const int64_t affordable = (int64_t)(1e9 / (sample_flops(bench) + 1)), m = bench->options.microbatch;
    const int64_t wanted = affordable > m ? affordable : m + 1;
    return wanted < bench->options.batch ? wanted : bench->options.batch;
}

static enum ls_code make_variant(struct bench *bench, struct variant *variant, const struct ls_ops *ops,
                                 struct ls_comm *comm, struct ls_error *err)
{
    const struct ls_bench_step_options *o = &bench->options;
    const struct ls_engine_plan plan = {.loss = {.kind = LS_LOSS_SOFTMAX},
                                        .allreduce = variant->allreduce,
                                        .microbatch = o->microbatch,
                                        .batch = {o->batch, verified_batch(bench)},
                                        .with_gradients = 1};
    const struct ls_optimizer_rule rule = {.momentum = o->momentum};
    const struct ls_init init = {.kind = LS_INIT_HE};
    enum ls_code code = ls_engine_create(&variant->engine, &bench->net, ops, comm, &plan, err);
    if (code == LS_OK)
        code = ls_optimizer_create(&variant->optimizer, &rule, bench->net.tensors, bench->net.n_tensors,
                                   bench->net.n_floats, err);
    if (code != LS_OK)
        return code;
    variant->parameters = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", err);
    if (!variant->parameters)
        return LS_FAILED;
    ls_net_initialise(&bench->net, &init, 1, variant->parameters);
    return LS_OK;
}

static void release_variant(struct variant *variant)
{
    ls_engine_release(&variant->engine);
    ls_optimizer_release(&variant->optimizer);
    ls_free(variant->parameters);
}

static enum ls_code step(struct bench *bench, struct variant *variant, int64_t B, struct ls_error *err)
{
    const int64_t per_epoch = bench->data.n_samples / B;
    const float *sum = NULL;
    if (variant->step % per_epoch == 0)
        ls_sampler_set_epoch(&bench->sampler, (uint64_t)(variant->step / per_epoch));
    variant->engine.step = (uint64_t)variant->step;
    const enum ls_code code =
        ls_engine_gradient(&variant->engine, variant->parameters, &bench->data, &bench->sampler,
                           variant->step % per_epoch * B, B, &sum, err);
    if (code == LS_OK)
        ls_optimizer_step(&variant->optimizer, variant->engine.ops, B, 0.01f, variant->parameters, sum, NULL);
    variant->step++;
    return code;
}

/* Two steps with the tree must give the oracle's bits; the oracle runs on rank 0 only. */
static enum ls_code verify(struct bench *bench, struct ls_error *err)
{
    const int64_t B = verified_batch(bench);
    struct ls_comm *comm = bench->session.comm, *solo = NULL;
    struct variant fast = {.allreduce = LS_ALLREDUCE_TREE}, oracle = fast;
    struct ls_hash hashes[2] = {{0, 0}, {0, 0}};
    err->code = make_variant(bench, &fast, bench->session.ops, comm, err);
    enum ls_code code = ls_comm_agree(comm, err);
    for (int i = 0; code == LS_OK && i < 2; i++)
        code = step(bench, &fast, B, err);
    if (code == LS_OK) {
        err->code = ls_net_hash(&bench->net, fast.parameters, &hashes[0], err);
        if (err->code == LS_OK && ls_comm_rank(comm) == 0) {
            err->code = ls_comm_create_solo(&solo, err);
            if (err->code == LS_OK)
                err->code = make_variant(bench, &oracle, &ls_ops_serial, solo, err);
            for (int i = 0; err->code == LS_OK && i < 2; i++)
                err->code = step(bench, &oracle, B, err);
            if (err->code == LS_OK)
                err->code = ls_net_hash(&bench->net, oracle.parameters, &hashes[1], err);
            if (err->code == LS_OK && !ls_hash_equal(hashes[0], hashes[1]))
                ls_fail(err, LS_DIFFERENT,
                        "after two steps the weights differ from the oracle's: nothing was timed");
        }
        code = ls_comm_agree(comm, err);
    }
    release_variant(&fast);
    release_variant(&oracle);
    ls_comm_destroy(&solo);
    return code;
}

/* How many steps of a variant take about `seconds`; the same on every rank. */
static enum ls_code steps_for(struct bench *bench, struct variant *variant, double seconds, int64_t *n,
                              struct ls_error *err)
{
    enum ls_code code = step(bench, variant, bench->options.batch, err);
    int64_t done = 0;
    const double began = ls_now_s();
    double took = 0;
    while (code == LS_OK && done < 3) {
        code = step(bench, variant, bench->options.batch, err);
        took = ls_now_s() - began;
        done++;
    }
    struct ls_spread spread = {0};
    if (code == LS_OK)
        code = ls_comm_spread(bench->session.comm, took / (double)(done ? done : 1), &spread, err);
    *n = (int64_t)ceil(seconds / (spread.max > 0 ? spread.max : 1e-6));
    return code;
}

/* Times each variant once, in turn; with the team standing by, as in training. */
static void time_round(void *context)
{
    struct bench *bench = context;
    for (int v = 0; bench->code == LS_OK && v < bench->n_variants; v++) {
        struct variant *variant = &bench->variants[v];
        bench->code = ls_comm_barrier(bench->session.comm, bench->err);
        const double began = ls_now_s();
        for (int64_t i = 0; bench->code == LS_OK && i < variant->steps_a_round; i++)
            bench->code = step(bench, variant, bench->options.batch, bench->err);
        variant->step_s[variant->n_rounds++] = (ls_now_s() - began) / (double)variant->steps_a_round;
    }
}

static enum ls_code time_variants(struct bench *bench, struct ls_error *err)
{
    const double round_s = 0.05;
    bench->err = err;
    bench->code = LS_OK;
    for (int v = 0; bench->code == LS_OK && v < bench->n_variants; v++)
        bench->code = steps_for(bench, &bench->variants[v], round_s, &bench->variants[v].steps_a_round, err);
    const int rounds =
        (int)fmin(MOST_ROUNDS, fmax(3, (double)bench->options.seconds / (round_s * bench->n_variants)));
    for (int r = 0; bench->code == LS_OK && r < rounds; r++) {
        bench->session.ops->with_team(time_round, bench);
        if (r % 4 == 0)
            bench->peak_gflops[bench->n_peaks++] =
                ls_machine_fma_gflops(bench->session.ops, bench->session.threads, 0.005);
    }
    return bench->code;
}

static void print_json(const struct bench *bench, double step_s, double best_s, double peak)
{
    const double gflops = sample_flops(bench) * (double)bench->options.batch * 1e-9 / step_s;
    printf(
        "{\"net\":\"%s\",\"batch\":%lld,\"ranks\":%d,\"threads\":%d,\"isa\":\"%s\",\"step_us\":%.4g,\"best_"
        "step_us\":%.4g,"
        "\"samples_per_s\":%.6g,\"gflops\":%.5g,\"peak_gflops\":%.5g,\"peak_share\":%.4g,\"verified\":%s}\n",
        bench->net.text, (long long)bench->options.batch, ls_comm_size(bench->session.comm),
        bench->session.threads, bench->session.ops->name, step_s * 1e6, best_s * 1e6,
        (double)bench->options.batch / step_s, gflops, peak, gflops / peak,
        bench->options.no_verify ? "false" : "true");
}

static void print_result(struct bench *bench)
{
    const int ranks = ls_comm_size(bench->session.comm), n_pairs = bench->variants[0].n_rounds;
    static double ratios[MOST_ROUNDS]; /* of rounds, so before they are sorted */
    for (int r = 0; bench->n_variants == 2 && r < n_pairs; r++)
        ratios[r] = bench->variants[0].step_s[r] / bench->variants[1].step_s[r];
    const double peak = ls_quantile(bench->peak_gflops, bench->n_peaks, 0.5) * ranks;
    static const char *const names[] = {[LS_ALLREDUCE_TREE] = "tree", [LS_ALLREDUCE_MPI] = "mpi"};
    if (bench->options.json) {
        struct variant *v = &bench->variants[0];
        print_json(bench, ls_quantile(v->step_s, v->n_rounds, 0.5), ls_quantile(v->step_s, v->n_rounds, 0),
                   peak);
        return;
    }
    char shape[100];
    const double gflop = sample_flops(bench) * (double)bench->options.batch * 1e-9;
    printf("net       %s; input %s, B = %lld, m = %lld\n", bench->net.text,
           ls_shape_format(&bench->net.in, shape, sizeof shape), (long long)bench->options.batch,
           (long long)bench->options.microbatch);
    printf("run       %d rank%s x %d threads, %s; ", ranks, ranks == 1 ? "" : "s", bench->session.threads,
           bench->session.ops->name);
    if (bench->options.no_verify)
        printf("not verified\n");
    else
        printf("two steps of %lld samples verified against the oracle\n", (long long)verified_batch(bench));
    printf("peak      %.1f GFLOP/s (FMA loop, measured between rounds, all ranks and threads)\n", peak);
    for (int i = 0; i < bench->n_variants; i++) {
        struct variant *v = &bench->variants[i];
        const double median = ls_quantile(v->step_s, v->n_rounds, 0.5),
                     best = ls_quantile(v->step_s, v->n_rounds, 0);
        printf("%-8s  median %.1f us a step, best %.1f; %.0f samples/s; %.1f GFLOP/s, %.1f %% of peak\n",
               ranks > 1 ? names[v->allreduce] : "step", median * 1e6, best * 1e6,
               (double)bench->options.batch / median, gflop / median, 100 * gflop / median / peak);
    }
    if (bench->n_variants == 2) {
        printf("tree/mpi  median ratio %.3f of %d pairs (quartiles %.3f, %.3f): the price of exactness is "
               "%+.1f %%\n",
               ls_quantile(ratios, n_pairs, 0.5), n_pairs, ls_quantile(ratios, n_pairs, 0.25),
               ls_quantile(ratios, n_pairs, 0.75), 100 * (ls_quantile(ratios, n_pairs, 0.5) - 1));
    }
}

static enum ls_code make_net(struct bench *bench, struct ls_error *err)
{
    const struct ls_bench_step_options *o = &bench->options;
    const struct ls_net_example *example = ls_net_example_find(o->net);
    struct ls_shape in = example ? example->in : ls_shape_of(2, (const ptrdiff_t[]){28, 28});
    if (o->input && !ls_shape_parse(o->input, &in))
        return ls_fail(err, LS_USAGE, "--input: '%s' is no shape such as 784, 28x28 or 3x32x32", o->input);
    char *text = ls_net_text(o->net, 10, err);
    const enum ls_code code = text ? ls_net_create(&bench->net, text, in, err) : LS_USAGE;
    ls_free(text);
    return code;
}

static enum ls_code bench_step(struct bench *bench, struct ls_error *err)
{
    struct ls_comm *comm = bench->session.comm;
    err->code = make_net(bench, err);
    if (err->code == LS_OK)
        err->code = make_data(bench, err);
    if (err->code == LS_OK)
        err->code = ls_check_fit(&bench->net, LS_LOSS_SOFTMAX, &bench->data, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK)
        return code;
    ls_sampler_init(&bench->sampler, bench->data.n_samples, 1, 1);
    if (!bench->options.no_verify)
        code = verify(bench, err);
    if (code != LS_OK)
        return code;
    bench->n_variants = bench->options.compare ? 2 : 1;
    for (int v = 0; err->code == LS_OK && v < bench->n_variants; v++) {
        bench->variants[v].allreduce = v == 0 ? LS_ALLREDUCE_TREE : LS_ALLREDUCE_MPI;
        err->code = make_variant(bench, &bench->variants[v], bench->session.ops, comm, err);
    }
    code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = time_variants(bench, err);
    if (code == LS_OK && ls_comm_rank(comm) == 0)
        print_result(bench);
    return code;
}

enum ls_code ls_bench_step(const struct ls_session *session, const struct ls_bench_step_options *options,
                           struct ls_error *err)
{
    static struct bench bench; /* large: not for the stack */
    bench = (struct bench){.options = *options, .session = *session};
    const enum ls_code code = bench_step(&bench, err);
    for (int v = 0; v < 2; v++)
        release_variant(&bench.variants[v]);
    ls_net_release(&bench.net);
    ls_dataset_release(&bench.data);
    return code;
}
