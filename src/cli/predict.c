/* lockstep predict MODEL: one CSV line a sample on stdout. */
#include "cli/cli.h"
#include "cli/model_use.h"

#include "base/contract.h"
#include "base/elementary.h"
#include "base/memory.h"
#include "base/text.h"

enum { ROWS = 512 };

static enum ls_code parse(struct ls_model_use_options *o, int argc, char **argv, const char **model,
                          int *help, struct ls_error *err)
{
    *o = (struct ls_model_use_options){.data = "digits", .part = -1, .needs_no_targets = 1};
    const struct ls_option options[] = {LS_MODEL_USE_OPTIONS(o)};
    const struct ls_command_line line = {
        .command = "predict",
        .synopsis = "lockstep predict MODEL [OPTION ...]",
        .summary = "Prints the predicted class, by its name if classes have names, and the probabilities for "
                   "each sample as CSV: "
                   "index,class,p0,p1,... For losses "
                   "that have no classes it prints the outputs instead: index,y0,y1,...",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .least_words = 1,
        .most_words = 1,
    };
    int n_words = 0;
    return ls_options_parse(&line, argc, argv, model, &n_words, stdout, help, err);
}

/* Outputs become probabilities where the loss says what they are: softmax of logits, sigmoid of each logit.
 */
static void to_probabilities(enum ls_loss loss, ptrdiff_t N, const float *z, float *p)
{
    if (loss == LS_LOSS_SOFTMAX) {
        float top = z[0];
        for (ptrdiff_t j = 1; j < N; j++)
            top = z[j] > top ? z[j] : top;
        for (ptrdiff_t j = 0; j < N; j++)
            p[j] = ls_exp(z[j] - top);
        const float sum = ls_lanesum(p, N);
        for (ptrdiff_t j = 0; j < N; j++)
            p[j] = p[j] / sum;
        return;
    }
    for (ptrdiff_t j = 0; j < N; j++)
        p[j] = loss == LS_LOSS_BCE ? ls_sigmoid(z[j]) : z[j];
}

static void print_header(const struct ls_model *model, int classes)
{
    printf(classes ? "index,class" : "index");
    for (ptrdiff_t j = 0; j < model->net.out.count; j++)
        printf(",%s%td", model->loss.kind == LS_LOSS_SOFTMAX || model->loss.kind == LS_LOSS_BCE ? "p" : "y",
               j);
    printf("\n");
}

/* A name as a field of CSV. */
static void print_class(const struct ls_class_names *names, int32_t class)
{
    char text[LS_LABEL_TEXT];
    const char *name = ls_class_name(names, class, text);
    if (!name[strcspn(name, ",\"")]) {
        printf(",%s", name);
        return;
    }
    printf(",\"");
    for (; *name; name++)
        printf("%s%c", *name == '"' ? "\"" : "", *name);
    printf("\"");
}

/* A sample's number is where it stands in the data, also when only a part of them is asked for. */
static void print_rows(const struct ls_model_use *use, int classes, int64_t first, ptrdiff_t B,
                       const float *z, float *p)
{
    const struct ls_model *model = &use->model;
    const ptrdiff_t N = model->net.out.count;
    for (ptrdiff_t b = 0; b < B; b++) {
        printf("%lld", (long long)ls_dataset_stored(use->samples, first + b));
        if (classes)
            print_class(&model->classes, ls_predicted_class(model->loss.kind, N, z + b * N));
        to_probabilities(model->loss.kind, N, z + b * N, p);
        char number[LS_FLOAT_TEXT];
        for (ptrdiff_t j = 0; j < N; j++)
            printf(",%s", ls_text_of_float(p[j], number));
        printf("\n");
    }
}

/* Whether outputs mean classes: what the data's targets say, and without any the model's loss and names. */
static int predicts_classes(const struct ls_model_use *use)
{
    const struct ls_model *model = &use->model;
    if (ls_dataset_has_labels(use->samples) || use->samples->values)
        return ls_dataset_has_labels(use->samples) && ls_loss_takes_labels(&model->loss, use->samples);
    return model->loss.kind == LS_LOSS_SOFTMAX || model->loss.kind == LS_LOSS_HINGE || model->classes.n > 0;
}

static enum ls_code predict(const struct ls_model_use *use, struct ls_error *err)
{
    const struct ls_net *net = &use->model.net;
    const int classes = predicts_classes(use);
    struct ls_activations act;
    enum ls_code code = ls_activations_create(&act, net, ROWS, 0, err);
    if (code != LS_OK)
        return code;
    float *p = ls_alloc((size_t)net->out.count, sizeof *p, "probabilities", err);
    int64_t index[ROWS];
    if (p)
        print_header(&use->model, classes);
    for (int64_t first = 0; p && first < use->samples->n_samples; first += ROWS) {
        const int64_t left = use->samples->n_samples - first;
        const ptrdiff_t B = left < ROWS ? (ptrdiff_t)left : ROWS;
        for (ptrdiff_t b = 0; b < B; b++)
            index[b] = first + b;
        ls_dataset_gather(use->samples, use->session.ops, B, index, act.x, NULL, NULL);
        if (ls_dataset_failed(use->samples, err) != LS_OK)
            break; /* what was printed was of samples that could be read */
        const float *z = ls_forward(net, use->session.ops, use->model.parameters, &act, B, NULL);
        print_rows(use, classes, first, B, z, p);
    }
    ls_activations_release(&act);
    ls_free(p);
    return p ? ls_dataset_failed(use->samples, err) : LS_FAILED;
}

enum ls_code ls_command_predict(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct ls_model_use_options options;
    struct ls_model_use use;
    const char *path = NULL;
    int help = 0;
    enum ls_code code = parse(&options, argc, argv, &path, &help, err);
    if (code != LS_OK || help)
        return code;
    code = ls_model_use_open(&use, &options, path, comm, err);
    if (code == LS_OK)
        code = predict(&use, err);
    ls_model_use_release(&use);
    return code;
}
