/* lockstep eval MODEL: loss and accuracy of a saved model. */
#include "cli/cli.h"
#include "cli/model_use.h"

#include "base/contract.h"
#include "base/text.h"

static enum ls_code parse(struct ls_model_use_options *o, int argc, char **argv, const char **model,
                          int *help, int print, struct ls_error *err)
{
    *o = (struct ls_model_use_options){.data = "digits", .part = -1, .microbatch = 0};
    const struct ls_option options[] = {
        LS_MODEL_USE_OPTIONS(o),
        {"microbatch", "N", LS_OPTION_INT, &o->microbatch, "samples in a leaf of the loss's summation tree",
         "the model's", 1, 1 << 20, NULL, NULL},
    };
    const struct ls_command_line line = {
        .command = "eval",
        .synopsis = "lockstep eval MODEL [OPTION ...]   or under mpirun",
        .summary = "Prints the mean loss and, for classes, the accuracy of a saved model over the samples: "
                   "each sample once, the "
                   "same bits on any ranks and threads.",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .least_words = 1,
        .most_words = 1,
    };
    int n_words = 0;
    const enum ls_code code = ls_options_parse(&line, argc, argv, model, &n_words, help, err);
    if (code == LS_OK && *help && print)
        ls_options_help(&line, stdout);
    return code;
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

static enum ls_code evaluate(struct ls_model_use *use, int64_t microbatch, struct ls_evaluation *result,
                             struct ls_error *err)
{
    struct ls_comm *comm = use->session.comm;
    const struct ls_engine_plan plan = {.loss = use->model.loss,
                                        .microbatch = microbatch,
                                        .n_samples = {use->samples->n_samples},
                                        .n_values = use->samples->n_values};
    struct ls_engine engine;
    err->code = ls_engine_create(&engine, &use->model.net, use->session.ops, comm, &plan, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code == LS_OK)
        code = ls_engine_evaluate(&engine, use->model.parameters, use->samples, result, err);
    ls_engine_release(&engine);
    return code;
}

enum ls_code ls_command_eval(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct ls_model_use_options options;
    struct ls_model_use use;
    struct ls_evaluation result = {0};
    const char *path = NULL;
    int help = 0;
    enum ls_code code = parse(&options, argc, argv, &path, &help, ls_comm_rank(comm) == 0, err);
    err->code = code;
    code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    code = ls_model_use_open(&use, &options, path, comm, err);
    if (code == LS_OK)
        code = evaluate(&use, options.microbatch > 0 ? options.microbatch : microbatch_of(&use.model),
                        &result, err);
    if (code == LS_OK && ls_comm_rank(comm) == 0) {
        char loss[LS_FLOAT_TEXT];
        printf("samples   %lld of %s\nloss      %s\n", (long long)result.n_samples, use.samples->name,
               ls_text_of_float(result.loss, loss));
        if (result.n_correct >= 0)
            printf("accuracy  %.2f %% (%lld correct)\n",
                   100.0 * (double)result.n_correct / (double)result.n_samples, (long long)result.n_correct);
    }
    ls_model_use_release(&use);
    return code;
}
