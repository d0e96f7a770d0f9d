/* The table of this ISA's operations. */
#include "compute/ops.h"
#include "compute/parallel/conv.h"
#include "compute/parallel/dense.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/loss.h"
#include "compute/team.h"

extern const struct ls_ops LS_PER_ISA(ls_ops);

const struct ls_ops LS_PER_ISA(ls_ops) = {
    .name = LS_TEXT(LS_ISA),
    .with_team = ls_team_with,
    .dense_forward = LS_PER_ISA(ls_dense_forward),
    .dense_input_gradient = LS_PER_ISA(ls_dense_input_gradient),
    .dense_weight_gradient = LS_PER_ISA(ls_dense_weight_gradient),
    .conv_forward = LS_PER_ISA(ls_conv_forward),
    .conv_input_gradient = LS_PER_ISA(ls_conv_input_gradient),
    .conv_weight_gradient = LS_PER_ISA(ls_conv_weight_gradient),
    .activation_forward = LS_PER_ISA(ls_activation_forward),
    .activation_backward = LS_PER_ISA(ls_activation_backward),
    .loss = LS_PER_ISA(ls_loss),
    .leaf_sum = LS_PER_ISA(ls_leaf_sum),
    .tree_add = LS_PER_ISA(ls_tree_add),
    .sgd = LS_PER_ISA(ls_sgd),
    .gather_u8 = LS_PER_ISA(ls_gather_u8),
    .gather_rows = LS_PER_ISA(ls_gather_rows),
};
