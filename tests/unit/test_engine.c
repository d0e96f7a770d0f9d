/* An engine short of memory, and what it hears from ranks over the batches of an update. */
#include <criterion/criterion.h>

#include "allocations.h"
#include "base/memory.h"
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
