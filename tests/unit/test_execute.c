/* The buffers of a walk over layers, and what a walk does with two layers at once.  What layers compute is in
 * test_gradcheck_layers.c, test_fixtures.c and the matrix. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "model/execute.h"

static struct ls_error err;

/* Nothing of a pass's buffers is written when they are taken: the threads that work on them do that first. */
Test(execute, activations_lie_in_one_block_that_nobody_has_touched)
{
    struct ls_net net;
    struct ls_activations act = {0};
    unsigned char pages[1 << 14];
    const size_t bytes = 4 * (size_t)LS_HUGE_PAGE_BYTES, page = (size_t)sysconf(_SC_PAGESIZE);
    cr_assert(ls_net_create(&net, "dense 1024, relu, dense 1024", ls_shape_of(1, (const ptrdiff_t[]){1024}),
                            &err) == LS_OK);
    cr_assert(ls_activations_create(&act, &net, 1024, 1, &err) == LS_OK); /* 5 blocks of 4 MiB */
    const char *const begin = act.block;
    const float *const inside[] = {act.x, act.y[0], act.slots[0], act.slots[1]};
    for (size_t i = 0; i < 4; i++)
        cr_expect((const char *)inside[i] >= begin && (const char *)inside[i] < begin + (20 << 20) + 4096,
                  "buffer %zu lies elsewhere", i);
    if ((uintptr_t)begin % LS_HUGE_PAGE_BYTES == 0) { /* not so under AddressSanitizer */
        cr_assert(bytes / page <= sizeof pages && mincore(act.block, bytes, pages) == 0);
        for (size_t i = 0; i < bytes / page; i++)
            cr_assert(!(pages[i] & 1), "page %zu is there", i);
    }
    ls_activations_release(&act);
    ls_net_release(&net);
    cr_expect(ls_memory_balance() == 0);
}

/* Batch norms that do the add behind them, as the end of a path and as that of a shortcut, with an activation
 * behind that or none; and two that do not: one with an activation of its own, one that something else reads.
 * An inference's buffers, without gradients, are for a batch norm and an add apart. */
Test(execute, an_add_right_behind_a_batchnorm_is_done_with_it)
{
    enum { B = 3, MOST = 20000 };
    static const struct {
        const char *text;
        int left_out; /* outputs that are not made */
    } nets[] = {{"residual { conv 3 3x3 pad 1 nobias, batchnorm }, relu, dense 4", 1},
                {"conv 4 1x1, residual { conv 4 1x1, tanh, batchnorm } "
                 "shortcut { conv 4 3x3 pad 1, batchnorm }, dense 4",
                 1},
                {"residual { conv 3 3x3 pad 1, batchnorm, relu }, dense 4", 0},
                {"batchnorm, residual { conv 3 1x1, tanh }, tanh, dense 4", 0}};
    static float parameters[MOST];
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        struct ls_net net;
        cr_assert(ls_net_create(&net, nets[i].text, ls_shape_of_image(3, 5, 6), &err) == LS_OK, "%s",
                  err.text);
        cr_assert(net.n_floats <= MOST);
        for (ptrdiff_t k = 0; k < net.n_floats; k++)
            parameters[k] = (float)(k % 7) * 0.125f + 0.0625f;
        struct ls_activations act[2];
        const float *z[2];
        for (int with = 0; with < 2; with++) {
            cr_assert(ls_activations_create(&act[with], &net, B, with, &err) == LS_OK);
            for (ptrdiff_t k = 0; k < B * net.in.count; k++)
                act[with].x[k] = (float)(k % 11) - 5.0f;
            z[with] = ls_forward(&net, ls_ops_parallel(NULL), parameters, &act[with], B, NULL);
        }
        int left_out = 0;
        for (int layer = 0; layer < net.n_layers; layer++)
            left_out += !net.layers[layer].skip && !ls_output_is_made(&net, layer, 1);
        cr_expect(left_out == nets[i].left_out, "'%s': %d outputs are not made", nets[i].text, left_out);
        cr_expect(memcmp(z[0], z[1], B * (size_t)net.out.count * sizeof **z) == 0, "'%s'", nets[i].text);
        ls_activations_release(&act[0]);
        ls_activations_release(&act[1]);
        ls_net_release(&net);
    }
}
