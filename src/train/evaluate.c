/* Owns the engine of one evaluation. */
#include "train/evaluate.h"

enum ls_code ls_evaluate_once(const struct ls_net *net, const struct ls_ops *ops, struct ls_comm *comm,
                              const struct ls_loss_rule *loss, int64_t microbatch, const float *parameters,
                              const struct ls_dataset *samples, struct ls_metrics *metrics,
                              struct ls_evaluation *result, struct ls_error *err)
{
    const struct ls_engine_plan plan = {.loss = *loss,
                                        .microbatch = microbatch,
                                        .n_evaluated = samples->n_samples,
                                        .n_values = samples->n_values};
    struct ls_engine engine;
    err->code = ls_engine_create(&engine, net, ops, comm, &plan, err);
    enum ls_code code = ls_comm_agree(comm, err);
    engine.metrics = metrics;
    if (code == LS_OK)
        code = ls_engine_evaluate(&engine, parameters, samples, result, err);
    ls_engine_release(&engine);
    return code;
}
