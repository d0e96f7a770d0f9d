/* An engine short of memory. */
#include <criterion/criterion.h>

#include "allocations.h"
#include "base/memory.h"
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
