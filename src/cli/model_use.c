/* Owns opening a model with its data. */
#include "cli/model_use.h"

#include "cli/data_check.h"
#include "cli/input_options.h"

const char *const ls_data_parts[] = {"test", "train", "validation", NULL};

int ls_model_use_is_other(const struct ls_model_use *use, const struct ls_model_use_options *options)
{
    return !options->whole && use->split.n_parts == 0 && ls_safetensors_metadata(use->model.file, "split");
}

static enum ls_code choose_part(struct ls_model_use *use, const struct ls_model_use_options *options,
                                struct ls_error *err)
{
    const struct ls_dataset *const parts[] = {&use->data.test, &use->data.train, &use->data.validation};
    const int usual = use->data.test.n_samples > 0 ? 0 : 1;
    const int part = options->part < 0 ? usual : options->part;
    use->samples = parts[part];
    use->part = ls_data_parts[part];
    if (use->samples->n_samples > 0)
        return LS_OK;
    const char *why = "";
    if (options->whole)
        why = ": --no-split takes them whole";
    else if (ls_model_use_is_other(use, options))
        why = ": they are not the data that the model was trained on (by hash), so they are not split";
    return ls_fail(err, LS_USAGE, "--part %s: '%s' has no %s samples%s", use->part, options->data, use->part,
                   why);
}

/* Labels of text are what they were when the model was trained. */
static enum ls_code open_data(struct ls_model_use *use, const struct ls_model_use_options *options,
                              struct ls_error *err)
{
    const struct ls_model *model = &use->model;
    const ptrdiff_t outputs = model->net.out.count;
    const int two = outputs == 1 && (model->loss.kind == LS_LOSS_BCE || model->loss.kind == LS_LOSS_HINGE);
    const struct ls_data_use known = {.classes = &model->classes,
                                      .n_classes = two           ? 2
                                                   : outputs > 1 ? (int32_t)outputs
                                                                 : 0,
                                      .n_features = model->net.in.count,
                                      .trained = &model->inputs,
                                      .needs_no_targets = options->needs_no_targets};
    return ls_data_open_for(&use->data, options->data, options->test_data, &known, err);
}

static enum ls_code open_local(struct ls_model_use *use, const struct ls_model_use_options *options,
                               const char *path, struct ls_error *err)
{
    enum ls_code code = ls_model_load(&use->model, path, err);
    if (code == LS_OK)
        code = open_data(use, options, err);
    if (code == LS_OK && !options->whole)
        code = ls_split_as_model(use->model.file, path, &use->data, &use->split, err);
    if (code == LS_OK)
        code = ls_input_of_model(use->model.file, path, &use->data, err);
    if (code != LS_OK)
        return code;
    code = choose_part(use, options, err);
    const int has_targets = use->samples->values || ls_dataset_has_labels(use->samples);
    if (code == LS_OK && options->needs_no_targets && !has_targets)
        return ls_check_inputs(&use->model.net, use->samples, err);
    if (code == LS_OK)
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
    if (code == LS_OK)
        code = ls_check_data_of_ranks(&use->data, LS_CHECK_AUTO, comm, err);
    if (code != LS_OK || ls_comm_size(comm) == 1)
        return code;
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
