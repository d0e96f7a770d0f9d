/* lockstep eval MODEL: loss and metrics of a saved model.  What they look like is eval_report.c. */
#include "cli/cli.h"
#include "cli/eval_report.h"
#include "cli/model_use.h"

#include <string.h>

#include "base/contract.h"
#include "base/text.h"
#include "train/evaluate.h"

enum { USUAL_TOP_K = 5 };

struct eval_options {
    struct ls_model_use_options use;
    int64_t top_k;
    int confusion;
    const char *json;
};

static enum ls_code parse(struct eval_options *o, int argc, char **argv, const char **model, int *help,
                          int print, struct ls_error *err)
{
    *o = (struct eval_options){.use = {.data = "digits", .part = -1, .microbatch = 0}};
    const struct ls_option options[] = {
        LS_MODEL_USE_OPTIONS(&o->use),
        {"microbatch", "N", LS_OPTION_INT, &o->use.microbatch,
         "samples in a leaf of the loss's summation tree", "the model's", 1, 1 << 20, NULL, NULL},
        {"top-k", "N", LS_OPTION_INT, &o->top_k,
         "also count the samples whose class is among the N largest outputs", "5 when there are more classes",
         1, 1 << 20, NULL, NULL},
        {"confusion", NULL, LS_OPTION_FLAG, &o->confusion,
         "also print which classes are taken for which, and precision, recall and F1 of each", NULL, 0, 0,
         NULL, NULL},
        {"json", "FILE", LS_OPTION_TEXT, &o->json,
         "write all metrics there as one JSON object; -: to standard output, instead of the text", "none", 0,
         0, NULL, NULL},
    };
    const struct ls_command_line line = {
        .command = "eval",
        .synopsis = "lockstep eval MODEL [OPTION ...]   or under mpirun",
        .summary = "Prints the mean loss of a saved model over the samples and, for classes, accuracy and "
                   "macro averages of "
                   "precision, recall and F1; for numbers RMSE, MAE and R2. Each sample counts once; all is "
                   "the same, to the last bit, on any ranks and threads.",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .least_words = 1,
        .most_words = 1,
    };
    int n_words = 0;
    return ls_options_parse(&line, argc, argv, model, &n_words, print ? stdout : NULL, help, err);
}

/* That of the run that made the model, so that the loss has the bits which training reported. */
static int64_t microbatch_of(const struct ls_model *model)
{
    const char *text = ls_safetensors_metadata(model->file, "microbatch");
    int64_t microbatch = 0;
    if (text && ls_text_to_int64(text, &microbatch) && microbatch >= 1 && microbatch <= 1 << 20)
        return microbatch;
    return LS_DEFAULT_MICROBATCH;
}

static enum ls_code create_metrics(struct ls_metrics *metrics, const struct ls_model_use *use,
                                   const struct eval_options *options, struct ls_error *err)
{
    const ptrdiff_t N = use->model.net.out.count;
    const int classes = ls_predicts_classes(N, use->samples);
    if (!classes && (options->confusion || options->top_k > 0))
        return ls_fail(err, LS_USAGE, "--%s needs classes: the %td output%s of this model on '%s' are none",
                       options->confusion ? "confusion" : "top-k", N, N == 1 ? "" : "s", use->samples->name);
    const int64_t usual = N > USUAL_TOP_K ? USUAL_TOP_K : 0;
    return ls_metrics_create(metrics, &use->model.loss, N, use->samples,
                             (int32_t)(options->top_k > 0 ? options->top_k : usual), err);
}

static enum ls_code show(const struct ls_eval_report *report, const char *json, struct ls_error *err)
{
    if (!json || strcmp(json, "-") != 0)
        ls_eval_print(report, stdout);
    return json ? ls_eval_write_json(report, json, err) : LS_OK;
}

static enum ls_code evaluate_and_show(struct ls_model_use *use, const struct eval_options *options,
                                      struct ls_error *err)
{
    struct ls_comm *comm = use->session.comm;
    struct ls_evaluation result = {0};
    struct ls_metrics metrics = {0};
    const int64_t microbatch =
        options->use.microbatch > 0 ? options->use.microbatch : microbatch_of(&use->model);
    err->code = create_metrics(&metrics, use, options, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = ls_evaluate_once(&use->model.net, use->session.ops, comm, &use->model.loss, microbatch,
                                use->model.parameters, use->samples, &metrics, &result, err);
    if (code == LS_OK) {
        const struct ls_eval_report report = {.samples = use->samples->name,
                                              .part = use->split.n_parts > 0 ? use->part : NULL,
                                              .split = use->split.text,
                                              .is_other = ls_model_use_is_other(use, &options->use),
                                              .result = &result,
                                              .metrics = &metrics,
                                              .names = &use->model.classes,
                                              .confusion = options->confusion};
        err->code = ls_comm_rank(comm) == 0 ? show(&report, options->json, err) : LS_OK;
        code = ls_comm_agree(comm, err);
    }
    ls_metrics_release(&metrics);
    return code;
}

enum ls_code ls_command_eval(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct eval_options options;
    struct ls_model_use use;
    const char *path = NULL;
    int help = 0;
    enum ls_code code = parse(&options, argc, argv, &path, &help, ls_comm_rank(comm) == 0, err);
    err->code = code;
    code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    code = ls_model_use_open(&use, &options.use, path, comm, err);
    const int64_t numbers[] = {options.use.microbatch, options.top_k, options.use.part, options.use.whole};
    if (code == LS_OK)
        code = ls_comm_compare_hashes(comm, ls_hash_bytes(numbers, sizeof numbers), "the options (as hashes)",
                                      err);
    if (code == LS_OK)
        code = evaluate_and_show(&use, &options, err);
    ls_model_use_release(&use);
    return code;
}
