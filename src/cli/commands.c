/* Owns the list of commands, and which one the first word picks. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct ls_command commands[] = {
    {"train", "train a net; with mpirun, on many ranks, to the same bits", ls_command_train, 0},
    {"lrfind", "a learning-rate range test: the curve, and which rate to take", ls_command_lrfind, 0},
    {"eval", "loss and accuracy of a saved model", ls_command_eval, 0},
    {"predict", "classes and probabilities of a saved model, as CSV", ls_command_predict, 1},
    {"gradcheck", "analytic gradients against numerical ones", ls_command_gradcheck, 1},
    {"verify", "compare two models or two run logs, bit for bit", ls_command_verify, 1},
    {"convert", "write data as the file that training maps into memory; with mpirun, on many ranks",
     ls_command_convert, 0},
    {"info", "describe a model file, or this machine", ls_command_info, 1},
    {"bench", "time kernels and whole steps against this machine's peak", ls_command_bench, 0},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *out)
{
    fprintf(out, "usage: lockstep COMMAND [OPTION ...]\n\n"
                 "Data-parallel neural-network training on CPUs in which one run has one result: the same "
                 "bits on any\n"
                 "number of MPI ranks, OpenMP threads and any SIMD width.\n\ncommands:\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s  %s\n", commands[i].name, commands[i].summary);
    fprintf(
        out,
        "\n'lockstep COMMAND --help' lists a command's options. 'lockstep --version' prints the version.\n"
        "exit status: 0 done; 1 a difference was found (verify, gradcheck); 2 usage; 3 a file, the data, "
        "memory or\n"
        "the network failed; 4 training went non-finite; 5 replicas disagree; 6 a signal ended training\n");
}

static enum ls_code unknown_command(const char *word, struct ls_error *err)
{
    const char *names[N_COMMANDS + 1] = {NULL};
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    return ls_fail(err, LS_USAGE, "unknown command '%.60s': did you mean '%s'? 'lockstep --help' lists all",
                   word, ls_text_nearest(word, names));
}

enum ls_code ls_run_command(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    const int first = ls_comm_rank(comm) == 0;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        if (first)
            print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? ls_fail(err, LS_USAGE, "no command given") : LS_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        if (first)
            printf("lockstep %s\n", LS_VERSION);
        return LS_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            if (commands[i].one_rank && ls_comm_size(comm) > 1)
                return ls_fail(err, LS_USAGE,
                               "'lockstep %s' runs on one rank, found %d: start it without mpirun", argv[1],
                               ls_comm_size(comm));
            return commands[i].run(comm, argc - 1, argv + 1, err);
        }
    return unknown_command(argv[1], err);
}
