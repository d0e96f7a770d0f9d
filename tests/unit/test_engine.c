/* An engine short of memory, and what it hears from ranks over the batches of an update. */
#include <criterion/criterion.h>

#include <string.h>

#include "allocations.h"
#include "base/memory.h"
#include "bells.h"
#include "compute/team.h"
#include "data/source.h"
#include "train/accumulate.h"
#include "train/step.h"

static void check_creation(const char *layers, int with_gradients)
{
    struct ls_comm *comm = NULL;
    struct ls_net net;
    struct ls_error err = {.code = LS_OK};
    cr_assert(ls_comm_create_solo(&comm, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_net_create(&net, layers, ls_shape_of_image(2, 6, 5), &err) == LS_OK, "%s", err.text);
    const struct ls_engine_plan plan = {
        .microbatch = 4, .batch = {20, 7}, .n_evaluated = 30, .with_gradients = with_gradients};
    const long before = ls_memory_balance();
    int failures = 0;
    for (long n = 1; failures == n - 1; n++) {
        struct ls_engine engine;
        err.code = LS_OK;
        fail_allocation(n);
        const enum ls_code code = ls_engine_create(&engine, &net, ls_ops_parallel(NULL), comm, &plan, &err);
        failures += allocation_failed();
        fail_allocation(0);
        cr_expect(code == (failures == n ? LS_FAILED : LS_OK), "'%s', allocation %ld: code %d", layers, n,
                  (int)code);
        ls_engine_release(&engine);
        cr_assert(ls_memory_balance() == before, "'%s', allocation %ld", layers, n);
    }
    cr_expect(failures > 8, "only %d allocations", failures);
    ls_net_release(&net);
    ls_comm_destroy(&comm);
}

Test(engine, any_allocation_may_fail)
{
    for (int with_gradients = 0; with_gradients < 2; with_gradients++) {
        check_creation("dense 9, relu, dense 4", with_gradients);
        check_creation("conv 3 3x3, batchnorm, relu, dense 4", with_gradients);
    }
}

/* Asks otherwise with each batch. */
static int64_t next_request(const void *asked)
{
    const int64_t **next = (const int64_t **)(uintptr_t)asked;
    return *(*next)++;
}

/* Of three batches; the sum of requests that no rank can ask for stands for one that a flipped bit has
 * changed. */
Test(engine, a_damaged_request_of_any_batch_is_heard)
{
    enum { DAMAGED = 1 << 23 };
    static const struct {
        int64_t requests[3], heard;
    } cases[] = {
        {{0, 0, 0}, 0}, {{5, 5, 6}, 6}, {{0, 0, DAMAGED}, -1}, {{0, DAMAGED, 5}, -1}, {{DAMAGED, 0, 0}, -1}};
    struct ls_error err = {.code = LS_OK};
    struct ls_comm *comm = NULL;
    struct ls_data data;
    struct ls_net net;
    struct ls_engine engine;
    struct ls_accumulator accumulator;
    struct ls_sampler sampler;
    static float parameters[100];
    cr_assert(ls_comm_create_solo(&comm, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_data_open(&data, "synthetic:n=30,shape=5,classes=3,test=0", NULL, &err) == LS_OK, "%s",
              err.text);
    cr_assert(ls_net_create(&net, "dense 3", ls_shape_of(1, (ptrdiff_t[]){5}), &err) == LS_OK, "%s",
              err.text);
    const struct ls_engine_plan plan = {.microbatch = 4, .batch = {10}, .with_gradients = 1};
    cr_assert(ls_engine_create(&engine, &net, ls_ops_parallel(NULL), comm, &plan, &err) == LS_OK, "%s",
              err.text);
    cr_assert(ls_accumulator_create(&accumulator, 10, 3, &net, &err) == LS_OK, "%s", err.text);
    ls_sampler_init(&sampler, 30, 0, 1);
    engine.request = next_request;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t *next = cases[i].requests;
        const float *sum;
        engine.asked = &next;
        cr_assert(ls_accumulate(&accumulator, &engine, parameters, &data.train, &sampler, 0, 30, &sum,
                                &err) == LS_OK,
                  "%s", err.text);
        cr_expect(engine.requested == cases[i].heard, "case %zu: %lld", i, (long long)engine.requested);
    }
    ls_accumulator_release(&accumulator);
    ls_engine_release(&engine);
    ls_net_release(&net);
    ls_data_release(&data);
    ls_comm_destroy(&comm);
    cr_assert(ls_memory_balance() == 0);
}

/* What a step of an engine is asked for, inside of a standing team. */
struct gradient {
    struct ls_engine engine;
    float *parameters;
    const struct ls_dataset *data;
    struct ls_sampler sampler;
    int64_t B;
    const float *sum;
    struct ls_error err;
};

static void run_gradient(void *context)
{
    struct gradient *g = context;
    g->err.code =
        ls_engine_gradient(&g->engine, g->parameters, g->data, &g->sampler, 3, g->B, &g->sum, &g->err);
}

/* The sums of two batches, the second of which leaves some lanes with fewer leaves or none. */
static void sums_of(const struct ls_ops *ops, const struct ls_net *net, float *parameters,
                    const struct ls_data *data, float *sums, struct ls_comm *comm)
{
    const ptrdiff_t n = net->n_floats + 1;
    const struct ls_engine_plan plan = {.microbatch = 4, .batch = {26, 7}, .seed = 9, .with_gradients = 1};
    struct gradient g = {.parameters = parameters, .data = &data->train};
    cr_assert(ls_engine_create(&g.engine, net, ops, comm, &plan, &g.err) == LS_OK, "%s", g.err.text);
    ls_sampler_init(&g.sampler, data->train.n_samples, 1, 1);
    for (int i = 0; i < 2; i++) {
        g.B = plan.batch[i];
        ops->with_team(run_gradient, &g);
        cr_assert(g.err.code == LS_OK, "%s", g.err.text);
        memcpy(sums + i * n, g.sum, (size_t)n * sizeof *sums);
    }
    ls_engine_release(&g.engine);
}

static void check_lanes(const char *layers)
{
    enum { MOST = 4000 };
    static float parameters[MOST], expected[2 * MOST], found[2 * MOST];
    struct ls_error err = {.code = LS_OK};
    struct ls_comm *comm = NULL;
    struct ls_data data;
    struct ls_net net;
    struct ls_init init;
    cr_assert(ls_comm_create_solo(&comm, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_data_open(&data, "synthetic:n=60,shape=2x6x5,classes=4,test=0", NULL, &err) == LS_OK, "%s",
              err.text);
    cr_assert(ls_net_create(&net, layers, ls_shape_of_image(2, 6, 5), &err) == LS_OK, "%s", err.text);
    cr_assert(net.n_floats < MOST && ls_init_parse(&init, "he-uniform", &err) == LS_OK);
    ls_net_initialise(&net, &init, 1, parameters);
    sums_of(&ls_ops_serial, &net, parameters, &data, expected, comm);
    const size_t bytes = 2 * (size_t)(net.n_floats + 1) * sizeof *found;
    ls_worth_a_team_ns = 0;
    for (int threads = 2; threads <= 5; threads++) {
        long rung[2];
        ls_ops_set_threads(threads);
        for (int lanes = 0; lanes < 2; lanes++) {
            ls_lanes_rule = lanes ? LS_LANES_ALWAYS : LS_LANES_NEVER;
            memset(found, 0xff, sizeof found);
            const long before = bells_rung();
            sums_of(ls_ops_parallel(NULL), &net, parameters, &data, found, comm);
            rung[lanes] = bells_rung() - before;
            cr_expect(memcmp(found, expected, bytes) == 0, "'%s', %d threads, lanes %d", layers, threads,
                      lanes);
        }
        cr_expect(ls_ops_threads() == 1 || rung[1] < rung[0], "'%s', %d threads: %ld bells, together %ld",
                  layers, threads, rung[1], rung[0]);
    }
    ls_lanes_rule = LS_LANES_THAT_PAY;
    ls_net_release(&net);
    ls_data_release(&data);
    ls_comm_destroy(&comm);
}

/* Each thread takes leaves of its own through the whole net: the oracle's bits, and fewer meetings. */
Test(engine, threads_in_lanes, .timeout = 60)
{
    check_lanes("dense 9, relu, dense 4");
    check_lanes("conv 5 3x3 pad 1, relu, maxpool 2, conv 4 1x1, tanh, avgpool 1, dense 4");
    check_lanes("residual { conv 2 3x3 pad 1, tanh }, dropout 0.3, dense 12, layernorm, gelu, dense 4");
}

/* Two lanes with softmax regression: a batch that falls into two subtrees, one of many small leaves that a
 * cut in the middle leaves in a dozen, and one with a leaf more on one side. */
Test(engine, lanes_are_taken_where_the_tree_over_them_is_short)
{
    struct ls_error err = {.code = LS_OK};
    struct ls_net net;
    cr_assert(ls_net_create(&net, "dense 10", ls_shape_of_image(1, 28, 28), &err) == LS_OK, "%s", err.text);
    const struct ls_lanes lanes = {.n = 2, .work_ns = 470};
    const struct ls_range eight = {0, 8}, many = {0, 125}, three = {0, 3};
    cr_expect(ls_lanes_pay(&lanes, &net, 8, eight, 256));
    cr_expect(!ls_lanes_pay(&lanes, &net, 125, many, 250));
    cr_expect(!ls_lanes_pay(&lanes, &net, 3, three, 96));
    ls_net_release(&net);
}
