/* A model file, as eval and predict load it, with how its inputs are to be prepared. */
#include "cli/input_options.h"
#include "data/readers.h"
#include "fuzz.h"
#include "train/model_file.h"

enum { MOST_FEATURES = 64 };

static void check_inputs(const struct ls_model *model)
{
    static const float numbers[MOST_FEATURES];
    static const int32_t labels[1];
    struct ls_data data = {.train = {.n_samples = 1, .numbers = numbers, .labels = labels, .n_classes = 1}};
    struct ls_error err = {.code = LS_OK};
    if (model->net.in.count > MOST_FEATURES)
        return;
    ls_dataset_set_shape(&data.train, model->net.in.n_dims, model->net.in.dims);
    fuzz_require_message(ls_input_of_model(model->file, "model", &data, &err), &err);
    ls_data_release(&data);
}

FUZZ_TARGET(model)
{
    struct ls_model model;
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code = ls_model_load(&model, fuzz_file(0, bytes, n), &err);
    fuzz_require_message(code, &err);
    fuzz_require((code == LS_OK) == (model.parameters != NULL), "a model that failed is there");
    if (code == LS_OK) {
        struct ls_hash hash;
        fuzz_require(ls_net_hash(&model.net, model.parameters, &hash, &err) == LS_OK, "no hash");
        check_inputs(&model);
    }
    ls_model_release(&model);
}
