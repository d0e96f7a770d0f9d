/* Owns opening a model with its data. */
#include "cli/model_use.h"

#include "cli/input_options.h"

const char *const ls_data_parts[] = {"test", "train", NULL};

static enum ls_code open_local(struct ls_model_use *use, const struct ls_model_use_options *options,
                               const char *path, struct ls_error *err)
{
    enum ls_code code = ls_model_load(&use->model, path, err);
    if (code == LS_OK)
        code = ls_data_open(&use->data, options->data, options->test_data, err);
    if (code == LS_OK)
        code = ls_input_of_model(use->model.file, path, &use->data, err);
    if (code != LS_OK)
        return code;
    const int test = options->part == 0 || (options->part < 0 && use->data.test.n_samples > 0);
    if (test && use->data.test.n_samples == 0)
        return ls_fail(err, LS_USAGE, "--part test: '%s' has no test samples", options->data);
    use->samples = test ? &use->data.test : &use->data.train;
    code = ls_check_fit(&use->model.net, use->model.loss.kind, use->samples, err);
    return code == LS_OK ? ls_loss_check_weights(&use->model.loss, use->samples, err) : code;
}

enum ls_code ls_model_use_open(struct ls_model_use *use, const struct ls_model_use_options *options,
                               const char *path, struct ls_comm *comm, struct ls_error *err)
{
    *use = (struct ls_model_use){0};
    enum ls_code code = ls_session_start(&use->session, &options->session, comm, err);
    if (code != LS_OK)
        return code;
    err->code = open_local(use, options, path, err);
    code = ls_comm_agree(comm, err);
    if (code != LS_OK || ls_comm_size(comm) == 1)
        return code;
    code = ls_comm_compare_hashes(comm, ls_data_hash(&use->data), "the data read by each rank", err);
    struct ls_hash hash;
    if (code == LS_OK) {
        err->code = ls_net_hash(&use->model.net, use->model.parameters, &hash, err);
        code = ls_comm_agree(comm, err);
    }
    if (code == LS_OK)
        code = ls_comm_compare_hashes(comm, hash, "the model read by each rank", err);
    return code == LS_OK ? ls_comm_compare_hashes(comm, ls_scaling_hash(&use->data.scaling),
                                                  "the model's scaling read by each rank", err)
                         : code;
}

void ls_model_use_release(struct ls_model_use *use)
{
    ls_model_release(&use->model);
    ls_data_release(&use->data);
}
