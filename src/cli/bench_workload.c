/* Owns the random data and the order of a bench's step.  See bench_workload.h. */
#include "cli/bench_workload.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "base/timer.h"
#include "compute/placement.h"
#include "model/examples.h"

/* Bytes of samples in memory; behind these the same ones come again, unless a number was asked for. */
static const int64_t pool_bytes = (int64_t)64 << 20;

enum { LEAST_SAMPLES = 8192 };

/* Small, for random labels at 0.01 kill many ReLUs: the momentum of a dead unit halves every 7 steps
 * until it is subnormal, and there it stays; then a step of 784-128-10 takes 2.2 times as long as it did at
 * first. */
static const float learning_rate = 1e-4f;

static enum ls_code make_net(struct ls_bench_workload *work, struct ls_error *err)
{
    const struct ls_bench_net *wanted = &work->wanted;
    const struct ls_net_example *example = ls_net_example_find(wanted->net);
    struct ls_shape in = example ? example->in : ls_shape_of(2, (const ptrdiff_t[]){28, 28});
    if (wanted->input && !ls_shape_parse(wanted->input, &in))
        return ls_fail(err, LS_USAGE, "--input: '%s' is no shape such as 784, 28x28 or 3x32x32",
                       wanted->input);
    char *text = ls_net_text(wanted->net, 10, err);
    const enum ls_code code = text ? ls_net_create(&work->net, text, in, err) : LS_USAGE;
    ls_free(text);
    return code;
}

static const float divisor = 255.0f;

static size_t element_bytes(int elements)
{
    return elements == LS_BENCH_U8 ? sizeof(uint8_t) : sizeof(float);
}

/* The same values whatever the elements. */
static void fill(const struct ls_net *net, int64_t n, int elements, void *samples, int32_t *labels)
{
    const ptrdiff_t K = net->in.count;
    for (int64_t i = 0; i < n * K; i += 4) {
        const struct ls_bits128 bits = ls_random(1, LS_PURPOSE_SYNTHETIC, 0, (uint64_t)i);
        for (int64_t j = 0; j < 4 && i + j < n * K; j++) {
            const uint8_t pixel = (uint8_t)(bits.word[j] & 255u);
            if (elements == LS_BENCH_U8)
                ((uint8_t *)samples)[i + j] = pixel;
            else
                ((float *)samples)[i + j] = (float)pixel / divisor;
        }
    }
    for (int64_t i = 0; i < n; i++)
        labels[i] =
            (int32_t)(ls_random(1, LS_PURPOSE_SYNTHETIC, 1, (uint64_t)i).word[0] % (uint32_t)net->out.count);
}

/* Samples of an epoch that share what is stored. */
static int64_t *share_samples(int64_t n, int64_t n_stored, struct ls_error *err)
{
    int64_t *subset = ls_alloc((size_t)n, sizeof *subset, "the order of samples", err);
    for (int64_t i = 0; subset && i < n; i++)
        subset[i] = i / (n / n_stored + 1);
    return subset;
}

/* Random pixels and labels, enough of them that batches come from memory as a real data set's do. */
static enum ls_code make_data(struct ls_bench_workload *work, int64_t most_batch, struct ls_error *err)
{
    struct ls_dataset *data = &work->data;
    const ptrdiff_t K = work->net.in.count;
    const int elements = work->wanted.elements;
    const int64_t asked = work->wanted.samples, fit = pool_bytes / (K * (int64_t)element_bytes(elements)),
                  affordable = fit < LEAST_SAMPLES ? LEAST_SAMPLES : fit;
    if (asked > 0 && asked < most_batch)
        return ls_fail(err, LS_USAGE, "--samples: %lld are fewer than a batch, which has %lld",
                       (long long)asked, (long long)most_batch);
    const int64_t enough = most_batch * 4 > LEAST_SAMPLES ? most_batch * 4 : LEAST_SAMPLES,
                  n = asked > 0 ? asked : enough, n_stored = asked > 0 || n < affordable ? n : affordable;
    void *samples = ls_alloc((size_t)n_stored, (size_t)K * element_bytes(elements), "samples", err);
    int32_t *labels = ls_alloc((size_t)n_stored, sizeof *labels, "labels", err);
    int64_t *subset = n_stored < n ? share_samples(n, n_stored, err) : NULL;
    data->owned[0] = samples;
    data->owned[1] = labels;
    data->owned[2] = subset;
    if (!samples || !labels || (n_stored < n && !subset))
        return LS_FAILED;
    fill(&work->net, n_stored, elements, samples, labels);
    snprintf(data->name, sizeof data->name, "random");
    data->n_samples = n;
    data->subset = subset;
    data->n_stored = n_stored;
    data->n_dims = work->net.in.n_dims;
    memcpy(data->dims, work->net.in.dims, sizeof data->dims);
    data->n_features = K;
    if (elements == LS_BENCH_U8)
        data->pixels = samples;
    else
        data->numbers = samples;
    data->pixel_divisor = divisor;
    data->labels = labels;
    data->n_classes = (int32_t)work->net.out.count;
    return LS_OK;
}

enum ls_code ls_bench_workload_create(struct ls_bench_workload *work, const struct ls_bench_net *wanted,
                                      int64_t most_batch, struct ls_error *err)
{
    *work = (struct ls_bench_workload){.wanted = *wanted};
    ls_lanes_rule = (enum ls_lanes_rule)wanted->lanes;
    enum ls_code code = make_net(work, err);
    if (code == LS_OK)
        code = make_data(work, most_batch, err);
    return code == LS_OK ? ls_check_fit(&work->net, LS_LOSS_SOFTMAX, &work->data, err) : code;
}

void ls_bench_workload_release(struct ls_bench_workload *work)
{
    ls_net_release(&work->net);
    ls_dataset_release(&work->data);
}

size_t ls_bench_data_bytes(const struct ls_bench_workload *work)
{
    const struct ls_dataset *data = &work->data;
    return (size_t)data->n_stored *
           ((size_t)data->n_features * element_bytes(work->wanted.elements) + sizeof *data->labels);
}

double ls_bench_sample_flops(const struct ls_bench_workload *work)
{
    const struct ls_net *net = &work->net;
    double flops = 0;
    for (int i = 0; i < net->n_layers; i++) {
        const struct ls_layer *layer = &net->layers[i];
        if (!layer->kind->flops)
            continue;
        const int below = ls_net_value(net, layer->from);
        const int on_input = below < 0 || net->layers[below].kind == &ls_layer_reorder;
        flops += (on_input ? 2 : 3) * layer->kind->flops(layer);
    }
    return flops;
}

int64_t ls_bench_affordable_batch(const struct ls_bench_workload *work)
{
    const double oracle_flops = 1e9; /* it does some 2e8 a second */
    const int64_t affordable = (int64_t)(oracle_flops / (ls_bench_sample_flops(work) + 1)),
                  m = work->wanted.microbatch;
    return affordable > m ? affordable : m + 1;
}

enum ls_code ls_bench_run_create(struct ls_bench_run *run, const struct ls_bench_workload *work,
                                 const struct ls_ops *ops, struct ls_comm *comm,
                                 const struct ls_engine_plan *plan, struct ls_error *err)
{
    struct ls_engine_plan whole = *plan;
    whole.loss = (struct ls_loss_rule){.kind = LS_LOSS_SOFTMAX};
    whole.microbatch = work->wanted.microbatch;
    whole.with_gradients = 1;
    const struct ls_optimizer_rule rule = {.momentum = work->wanted.momentum};
    const struct ls_init init = {.kind = LS_INIT_HE};
    const struct ls_net *net = &work->net;
    *run = (struct ls_bench_run){.work = work};
    ls_sampler_init(&run->sampler, work->data.n_samples, 1, 1);
    enum ls_code code = ls_engine_create(&run->engine, net, ops, comm, &whole, err);
    if (code == LS_OK)
        code = ls_optimizer_create(&run->optimizer, &rule, net->tensors, net->n_tensors, net->n_floats, err);
    if (code != LS_OK)
        return code;
    run->parameters = ls_alloc((size_t)net->n_floats, sizeof(float), "parameters", err);
    if (!run->parameters)
        return LS_FAILED;
    ls_place(run->parameters, (size_t)net->n_floats * sizeof(float));
    ls_net_initialise(net, &init, 1, run->parameters);
    return LS_OK;
}

void ls_bench_run_release(struct ls_bench_run *run)
{
    ls_engine_release(&run->engine);
    ls_optimizer_release(&run->optimizer);
    ls_free(run->parameters);
}

/* As training does (train/update.h), but for what training looks at. */
static void update_bucket(void *context, struct ls_range range, const float *sum)
{
    struct ls_bench_run *run = context;
    const double began = ls_now_s();
    if (!run->updates_early)
        ls_optimizer_begin(&run->optimizer, run->batch, learning_rate, 0.0f);
    run->updates_early = 1;
    ls_optimizer_part(&run->optimizer, run->engine.ops, range, run->parameters, sum);
    run->engine.times.update_s += ls_now_s() - began;
}

enum ls_code ls_bench_run_step(struct ls_bench_run *run, int64_t B, struct ls_error *err)
{
    const struct ls_dataset *data = &run->work->data;
    const int64_t per_epoch = data->n_samples / B;
    const float *sum = NULL;
    if (run->step % per_epoch == 0)
        ls_sampler_set_epoch(&run->sampler, (uint64_t)(run->step / per_epoch));
    run->engine.step = (uint64_t)run->step;
    run->engine.bucket_in = update_bucket;
    run->engine.bucket_context = run;
    run->batch = B;
    run->updates_early = 0;
    const enum ls_code code = ls_engine_gradient(&run->engine, run->parameters, data, &run->sampler,
                                                 run->step % per_epoch * B, B, &sum, err);
    const double began = ls_now_s();
    if (code == LS_OK && !run->updates_early)
        ls_optimizer_step(&run->optimizer, run->engine.ops, B, learning_rate, run->parameters, sum, NULL);
    run->engine.times.update_s += ls_now_s() - began;
    run->step++;
    return code;
}

enum ls_code ls_bench_run_pace(struct ls_bench_run *run, int64_t B, double seconds, int64_t *n_steps,
                               struct ls_error *err)
{
    enum { TIMED = 3 };
    struct ls_spread spread = {0};
    enum ls_code code = ls_bench_run_step(run, B, err);
    const double began = ls_now_s();
    for (int i = 0; code == LS_OK && i < TIMED; i++)
        code = ls_bench_run_step(run, B, err);
    if (code == LS_OK)
        code = ls_comm_spread(run->engine.comm, (ls_now_s() - began) / TIMED, &spread, err);
    *n_steps = (int64_t)ceil(seconds / (spread.max > 0 ? spread.max : 1e-6));
    return code;
}
