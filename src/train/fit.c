/* Whether a net, a loss and a dataset go together. */
#include "train/step.h"

static enum ls_code check_labels(const struct ls_net *net, enum ls_loss loss, const struct ls_dataset *data,
                                 struct ls_error *err)
{
    const ptrdiff_t N = net->out.count;
    if (loss == LS_LOSS_SOFTMAX) {
        if (N < 2 || N < data->n_classes)
            return ls_fail(err, LS_USAGE,
                           "the net '%.200s' has %td outputs, the data %d classes: with --loss softmax the "
                           "last layer needs one "
                           "output a class, at least 2",
                           net->text, N, data->n_classes);
        return LS_OK;
    }
    if (N != data->n_classes && !(N == 1 && data->n_classes <= 2))
        return ls_fail(err, LS_USAGE,
                       "the net '%.200s' has %td outputs, the data %d classes: this loss needs one output a "
                       "class, or one "
                       "output for two classes",
                       net->text, N, data->n_classes);
    return LS_OK;
}

enum ls_code ls_check_inputs(const struct ls_net *net, const struct ls_dataset *data, struct ls_error *err)
{
    if (net->in.count == data->n_features)
        return LS_OK;
    return ls_fail(err, LS_USAGE, "the net takes %td inputs a sample, '%s' has %td", net->in.count,
                   data->name, data->n_features);
}

enum ls_code ls_check_fit(const struct ls_net *net, enum ls_loss loss, const struct ls_dataset *data,
                          struct ls_error *err)
{
    const enum ls_code code = ls_check_inputs(net, data, err);
    if (code != LS_OK)
        return code;
    const int needs_labels = loss == LS_LOSS_SOFTMAX || loss == LS_LOSS_HINGE;
    if (needs_labels && data->n_classes == 0)
        return ls_fail(
            err, LS_USAGE,
            "--loss %s needs class labels, '%s' has %td target values a sample: use --loss squared, "
            "half-squared, huber or bce",
            ls_loss_names[loss], data->name, data->n_values);
    if (needs_labels || !data->values)
        return check_labels(net, loss, data, err);
    if (net->out.count != data->n_values)
        return ls_fail(err, LS_USAGE, "the net '%.200s' has %td outputs, '%s' has %td target values a sample",
                       net->text, net->out.count, data->name, data->n_values);
    return LS_OK;
}
