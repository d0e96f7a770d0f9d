/* The oracle's sums over samples, and its gathers, and the table itself. */
#include "compute/serial/serial.h"

#include "base/contract.h"

static float leaf_sum(ptrdiff_t B, ptrdiff_t m, const float *v)
{
    struct ls_tree tree = {.count = 0};
    for (ptrdiff_t first = 0; first < B; first += m) {
        const ptrdiff_t end = ls_serial_leaf_end(first, m, B);
        float leaf = 0.0f;
        for (ptrdiff_t b = first; b < end; b++)
            leaf = ls_fma(v[b], 1.0f, leaf);
        ls_tree_push(&tree, leaf);
    }
    return ls_tree_sum(&tree);
}

static void tree_add(ptrdiff_t n, float *left, const float *right)
{
    for (ptrdiff_t i = 0; i < n; i++)
        left[i] = left[i] + right[i];
}

static void gather(const struct ls_gather *g)
{
    for (int copy = 0; copy < (g->copies.n > 1 ? g->copies.n : 1); copy++)
        for (ptrdiff_t b = 0; b < g->B; b++)
            for (ptrdiff_t k = 0; k < g->K; k++) {
                const ptrdiff_t from = g->index[b] * g->K + k;
                g->x[copy * g->copies.step + b * g->K + k] =
                    g->pixels ? (float)g->pixels[from] / g->divisor : g->numbers[from];
            }
}

static void dense_forward_gathered(struct ls_dense_shape shape, float *y, const struct ls_gather *x,
                                   const float *w, const float *bias, enum ls_activation act)
{
    gather(x);
    ls_serial_dense_forward(shape, y, x->x, w, bias, act);
}

static int dense_input_copies(struct ls_dense_shape shape)
{
    (void)shape;
    return 1;
}

static void gather_rows(ptrdiff_t B, ptrdiff_t K, float *x, const int64_t *index,
                        void (*row)(const void *context, int64_t index, float *x), const void *context)
{
    for (ptrdiff_t b = 0; b < B; b++)
        row(context, index[b], x + b * K);
}

static void with_team(void (*work)(void *context), void *context)
{
    work(context);
}

static void each(int n, void (*work)(void *context, int i), void *context)
{
    for (int i = 0; i < n; i++)
        work(context, i);
}

const struct ls_ops ls_ops_serial = {
    .name = "serial",
    .with_team = with_team,
    .each = each,
    .dense_input_copies = dense_input_copies,
    .dense_forward = ls_serial_dense_forward,
    .dense_forward_gathered = dense_forward_gathered,
    .dense_input_gradient = ls_serial_dense_input_gradient,
    .dense_weight_gradient = ls_serial_dense_weight_gradient,
    .conv_forward = ls_serial_conv_forward,
    .conv_input_gradient = ls_serial_conv_input_gradient,
    .conv_weight_gradient = ls_serial_conv_weight_gradient,
    .maxpool_forward = ls_serial_maxpool_forward,
    .maxpool_backward = ls_serial_maxpool_backward,
    .avgpool_forward = ls_serial_avgpool_forward,
    .avgpool_backward = ls_serial_avgpool_backward,
    .channel_sum = ls_serial_channel_sum,
    .channel_square_sum = ls_serial_channel_square_sum,
    .channel_deviation = ls_serial_channel_deviation,
    .batchnorm_forward = ls_serial_batchnorm_forward,
    .batchnorm_sums = ls_serial_batchnorm_sums,
    .batchnorm_input_gradient = ls_serial_batchnorm_input_gradient,
    .layernorm_forward = ls_serial_layernorm_forward,
    .layernorm_input_gradient = ls_serial_layernorm_input_gradient,
    .layernorm_weight_gradient = ls_serial_layernorm_weight_gradient,
    .softmax_forward = ls_serial_softmax_forward,
    .softmax_backward = ls_serial_softmax_backward,
    .dropout = ls_serial_dropout,
    .transpose = ls_serial_transpose,
    .add = ls_serial_add,
    .add_backward = ls_serial_add_backward,
    .blend = ls_serial_blend,
    .scale = ls_serial_scale,
    .scale_rows = ls_serial_scale_rows,
    .activation_forward = ls_serial_activation_forward,
    .activation_backward = ls_serial_activation_backward,
    .loss = ls_serial_loss,
    .leaf_sum = leaf_sum,
    .tree_add = tree_add,
    .update = ls_serial_update,
    .adam_direction = ls_serial_adam_direction,
    .square_sum = ls_serial_square_sum,
    .square_blocks = ls_serial_square_blocks,
    .gather = gather,
    .gather_rows = gather_rows,
    .gather_images = ls_serial_gather_images,
    .view_images = ls_serial_view_images,
};
