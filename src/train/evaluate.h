/* One evaluation outside of training. */
#ifndef LS_TRAIN_EVALUATE_H
#define LS_TRAIN_EVALUATE_H

#include "train/step.h"

/* Collective.  ls_engine_evaluate of `parameters` over `samples`, by an engine that lives only meanwhile;
 * metrics: the caller's, or NULL. */
enum ls_code ls_evaluate_once(const struct ls_net *net, const struct ls_ops *ops, struct ls_comm *comm,
                              const struct ls_loss_rule *loss, int64_t microbatch, const float *parameters,
                              const struct ls_dataset *samples, struct ls_metrics *metrics,
                              struct ls_evaluation *result, struct ls_error *err);

#endif
