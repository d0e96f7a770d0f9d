/* The table of this ISA's operations. */
#include "compute/ops.h"
#include "compute/parallel/channels.h"
#include "compute/parallel/conv.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/gather.h"
#include "compute/parallel/images.h"
#include "compute/parallel/loss.h"
#include "compute/parallel/pool.h"
#include "compute/parallel/rows.h"
#include "compute/parallel/update.h"
#include "compute/team.h"

extern const struct ls_ops LS_PER_ISA(ls_ops);

const struct ls_ops LS_PER_ISA(ls_ops) = {
    .name = LS_TEXT(LS_ISA),
    .with_team = ls_team_with,
    .each = ls_team_each,
    .dense_input_copies = LS_PER_ISA(ls_dense_input_copies),
    .dense_forward = LS_PER_ISA(ls_dense_forward),
    .dense_forward_gathered = LS_PER_ISA(ls_dense_forward_gathered),
    .dense_input_gradient = LS_PER_ISA(ls_dense_input_gradient),
    .dense_weight_gradient = LS_PER_ISA(ls_dense_weight_gradient),
    .conv_forward = LS_PER_ISA(ls_conv_forward),
    .conv_input_gradient = LS_PER_ISA(ls_conv_input_gradient),
    .conv_weight_gradient = LS_PER_ISA(ls_conv_weight_gradient),
    .maxpool_forward = LS_PER_ISA(ls_maxpool_forward),
    .maxpool_backward = LS_PER_ISA(ls_maxpool_backward),
    .avgpool_forward = LS_PER_ISA(ls_avgpool_forward),
    .avgpool_backward = LS_PER_ISA(ls_avgpool_backward),
    .channel_sum = LS_PER_ISA(ls_channel_sum),
    .channel_square_sum = LS_PER_ISA(ls_channel_square_sum),
    .channel_deviation = LS_PER_ISA(ls_channel_deviation),
    .batchnorm_forward = LS_PER_ISA(ls_batchnorm_forward),
    .batchnorm_sums = LS_PER_ISA(ls_batchnorm_sums),
    .batchnorm_input_gradient = LS_PER_ISA(ls_batchnorm_input_gradient),
    .layernorm_forward = LS_PER_ISA(ls_layernorm_forward),
    .layernorm_input_gradient = LS_PER_ISA(ls_layernorm_input_gradient),
    .layernorm_weight_gradient = LS_PER_ISA(ls_layernorm_weight_gradient),
    .softmax_forward = LS_PER_ISA(ls_softmax_forward),
    .softmax_backward = LS_PER_ISA(ls_softmax_backward),
    .dropout = LS_PER_ISA(ls_dropout),
    .transpose = LS_PER_ISA(ls_transpose),
    .add = LS_PER_ISA(ls_add),
    .add_backward = LS_PER_ISA(ls_add_backward),
    .blend = LS_PER_ISA(ls_blend),
    .scale = LS_PER_ISA(ls_scale),
    .scale_rows = LS_PER_ISA(ls_scale_rows),
    .activation_forward = LS_PER_ISA(ls_activation_forward),
    .activation_backward = LS_PER_ISA(ls_activation_backward),
    .loss = LS_PER_ISA(ls_loss),
    .leaf_sum = LS_PER_ISA(ls_leaf_sum),
    .tree_add = LS_PER_ISA(ls_tree_add),
    .update = LS_PER_ISA(ls_update),
    .adam_direction = LS_PER_ISA(ls_adam_direction),
    .square_sum = LS_PER_ISA(ls_square_sum),
    .square_blocks = LS_PER_ISA(ls_square_blocks),
    .gather = LS_PER_ISA(ls_gather),
    .gather_rows = LS_PER_ISA(ls_gather_rows),
    .gather_images = LS_PER_ISA(ls_gather_images),
    .view_images = LS_PER_ISA(ls_view_images),
};
