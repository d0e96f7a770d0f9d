/* lockstep info: what a model file holds, or what this machine can do. */
#include "cli/cli.h"
#include "cli/session.h"

#include <string.h>
#include <unistd.h>

#include "base/text.h"
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
    printf("threads      %d by default\n", session.threads);
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

enum ls_code ls_command_info(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    const struct ls_command_line line = {
        .command = "info",
        .synopsis = "lockstep info MODEL   or   lockstep info machine",
        .summary = "Describes a saved model: layers, shapes, parameters, hashes, how it was trained. Or this "
                   "machine: SIMD "
                   "width, cores, MPI, measured FMA peak and memory bandwidth.",
        .least_words = 1,
        .most_words = 1,
    };
    const char *words[1];
    int n_words = 0, help = 0;
    const enum ls_code code = ls_options_parse(&line, argc, argv, words, &n_words, &help, err);
    if (code != LS_OK)
        return code;
    if (help) {
        ls_options_help(&line, stdout);
        return LS_OK;
    }
    return strcmp(words[0], "machine") == 0 ? info_machine(comm, err) : info_model(words[0], err);
}
