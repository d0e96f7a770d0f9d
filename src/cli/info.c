/* lockstep info: what a model file holds, what this machine can do; nets are in info_net.c. */
#include "cli/cli.h"
#include "cli/session.h"

#include <string.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/text.h"
#include "cli/info_data.h"
#include "cli/info_net.h"
#include "compute/machine.h"
#include "train/model_file.h"

static void print_fact(void *context, const char *key, const char *value)
{
    static const char *const shown_elsewhere[] = {"format",           "net",  "loss", "input_shape",
                                                  "contract_version", "hash", NULL};
    (void)context;
    for (int i = 0; shown_elsewhere[i]; i++)
        if (strcmp(key, shown_elsewhere[i]) == 0)
            return;
    const size_t shown = 600; /* beyond is a number for each of many features */
    if (strlen(value) > shown)
        printf("  %-18s %.60s... (%zu characters)\n", key, value, strlen(value));
    else
        printf("  %-18s %s\n", key, value);
}

static void print_tensors(const struct ls_model *model)
{
    printf("\ntensor        shape (as stored)     parameters  hash\n");
    for (int t = 0; t < model->net.n_tensors; t++) {
        const struct ls_parameter *tensor = &model->net.tensors[t];
        const struct ls_stored_tensor *stored = ls_safetensors_find(model->file, tensor->name);
        const struct ls_shape shape = ls_shape_of(stored->n_dims, stored->dims);
        char dims[100], hash[LS_HASH_TEXT];
        ls_hash_text(ls_parameter_hash(tensor, model->parameters), hash);
        printf("%-12s  %-20s  %10td  %s\n", tensor->name, ls_shape_format(&shape, dims, sizeof dims),
               tensor->count, hash);
    }
}

static enum ls_code info_model(const char *path, struct ls_error *err)
{
    struct ls_model model;
    struct ls_hash hash;
    enum ls_code code = ls_model_load(&model, path, err);
    if (code == LS_OK)
        code = ls_net_hash(&model.net, model.parameters, &hash, err);
    if (code == LS_OK) {
        char text[LS_HASH_TEXT], dims[100];
        ls_hash_text(hash, text);
        printf("net         %s\n", model.net.text);
        printf("input       %s\n", ls_shape_format(&model.net.in, dims, sizeof dims));
        printf("loss        %s\n", ls_loss_names[model.loss.kind]);
        printf("parameters  %td\n", model.net.n_parameters);
        printf("hash        %s\n", text);
        printf("contract    version %s\n", ls_safetensors_metadata(model.file, "contract_version"));
        print_tensors(&model);
        printf("\ntrained\n");
        ls_safetensors_each_metadata(model.file, print_fact, NULL);
    }
    ls_model_release(&model);
    return code;
}

static void print_processor(void)
{
    char line[256], name[200] = "unknown";
    FILE *cpuinfo = fopen("/proc/cpuinfo", "r");
    while (cpuinfo && fgets(line, sizeof line, cpuinfo))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(name, sizeof name, "%.190s", strchr(line, ':') + 2);
            name[strcspn(name, "\n")] = '\0';
            break;
        }
    if (cpuinfo)
        fclose(cpuinfo);
    printf("processor    %s\n", name);
}

static enum ls_code info_machine(struct ls_comm *comm, struct ls_error *err)
{
    struct ls_session session;
    const struct ls_session_options options = {0};
    const enum ls_code code = ls_session_start(&session, &options, comm, err);
    if (code != LS_OK)
        return code;
    char isas[100];
    print_processor();
    printf("host         %s\n", ls_comm_host(comm));
    printf("cores        %ld online, this process may use %s\n", sysconf(_SC_NPROCESSORS_ONLN),
           session.affinity);
    if (session.machine_nodes > 0)
        printf("NUMA nodes   %d, this process may use cores on %d\n", session.machine_nodes, session.nodes);
    printf("threads      %d by default, %s%s\n", session.threads,
           session.pinning.n > 0 ? "a core for each" : "not pinned: ",
           session.pinning.n > 0 ? "" : session.pinning.why_not);
    printf("ISA          %s (possible here: %s)\n", session.ops->name,
           ls_text_join(ls_ops_isas(), isas, sizeof isas));
    printf("MPI          %s\n", ls_comm_library_built());
    fflush(stdout);
    struct ls_machine machine;
    ls_machine_measure(&machine, session.ops);
    printf("FMA peak     %.1f GFLOP/s one core, %.1f GFLOP/s %d threads (binary32, measured)\n",
           machine.fma_one_gflops, machine.fma_all_gflops, session.threads);
    printf("memory       %.1f GB/s read, one core, %.1f GB/s %d threads (measured)\n",
           machine.read_one_gbytes, machine.read_all_gbytes, session.threads);
    return LS_OK;
}

static enum ls_code parse(struct ls_info_net *o, int argc, char **argv, const char **word, const char **json,
                          int *help, struct ls_error *err)
{
    *o = (struct ls_info_net){.batch = 64, .microbatch = LS_DEFAULT_MICROBATCH, .outputs = 10, .ranks = 1};
    const struct ls_option options[] = {
        {"net", "LAYERS", LS_OPTION_TEXT, &o->net, "describe this net, as --net of train has it", "none", 0,
         0, NULL, NULL},
        {"input", "SHAPE", LS_OPTION_TEXT, &o->input,
         "with --net: shape of a sample, as 784, 28x28 or 3x32x32", "the named net's, else 28x28", 0, 0, NULL,
         NULL},
        {"outputs", "N", LS_OPTION_INT, &o->outputs, "with --net NAME: outputs of its last layer", "10", 1,
         1e9, NULL, NULL},
        {"batch", "N", LS_OPTION_INT, &o->batch, "with --net: samples in an update, over all ranks", "64", 1,
         1e9, NULL, NULL},
        {"microbatch", "N", LS_OPTION_INT, &o->microbatch, "with --net: samples in a leaf", "32", 1, 1 << 20,
         NULL, NULL},
        {"ranks", "N", LS_OPTION_INT, &o->ranks, "with --net: ranks that share the batch", "1", 1, 1e6, NULL,
         NULL},
        {"json", "FILE", LS_OPTION_TEXT, json,
         "of data: write all of it there as one JSON object; -: to standard output, instead of the text",
         "none", 0, 0, NULL, NULL},
    };
    const struct ls_command_line line = {
        .command = "info",
        .synopsis = "lockstep info MODEL|DATA   or   info --net NET   or   info nets|formats|machine",
        .summary =
            "Describes a saved model: layers, shapes, parameters, hashes, how it was trained. Or data, as "
            "--data of train takes it: samples, shape, classes and their balance, ranges, missing values. Or "
            "a net "
            "before "
            "it is trained: each layer's output, parameters, FLOPs and bytes, and the memory that training "
            "takes. Or the nets that have names, or the formats of data. Or this machine: SIMD width, cores, "
            "MPI, measured FMA peak "
            "and memory bandwidth.",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .most_words = 1,
    };
    const char *words[1];
    int n_words = 0;
    enum ls_code code = ls_options_parse(&line, argc, argv, words, &n_words, stdout, help, err);
    if (code == LS_OK && !*help && (n_words == 1) == (o->net != NULL))
        code =
            ls_fail(err, LS_USAGE,
                    "info needs one subject: a model file, data, --net NET, 'nets', 'formats' or 'machine'");
    *word = n_words ? words[0] : NULL;
    return code;
}

enum ls_code ls_command_info(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct ls_info_net net;
    const char *word = NULL, *json = NULL;
    int help = 0;
    const enum ls_code code = parse(&net, argc, argv, &word, &json, &help, err);
    if (code != LS_OK || help)
        return code;
    if (json && (net.net || !ls_info_is_data(word)))
        return ls_fail(err, LS_USAGE, "--json describes data, and '%s' is none: leave it out",
                       net.net ? "--net" : word);
    if (net.net)
        return ls_info_net(&net, err);
    if (strcmp(word, "nets") == 0)
        return ls_info_nets(err);
    if (strcmp(word, "formats") == 0)
        return ls_info_formats(err);
    if (strcmp(word, "machine") == 0)
        return info_machine(comm, err);
    if (ls_info_is_data(word))
        return ls_info_data(word, json, err);
    const enum ls_code known = ls_info_check_file(word, err);
    return known == LS_OK ? info_model(word, err) : known;
}
