/* lockstep bench: verified, then timed. */
#include <stdio.h>
#include <string.h>

#include "base/contract.h"
#include "base/text.h"
#include "cli/bench_allreduce.h"
#include "cli/bench_kernels.h"
#include "cli/bench_load.h"
#include "cli/bench_scaling.h"
#include "cli/bench_step.h"
#include "cli/cli.h"
#include "cli/session.h"

struct bench_options {
    struct ls_session_options session;
    float seconds;
    struct ls_bench_step_options step;
    struct ls_bench_allreduce_options allreduce;
    struct ls_bench_scaling_options scaling;
    struct ls_bench_load_options load;
};

static const char *const element_choices[] = {"u8", "f32", NULL};       /* enum ls_bench_elements */
static const char *const lanes_choices[] = {"auto", "on", "off", NULL}; /* enum ls_lanes_rule */
static const char *const scaling_choices[] = {"strong", "weak", "both", NULL};
static const char *const allreduce_choices[] = {"tree", "mpi", NULL};

static enum ls_code parse(struct bench_options *o, int argc, char **argv, const char **what, int *help,
                          int print, struct ls_error *err)
{
    *o = (struct bench_options){.seconds = 3,
                                .step = {.net = {.net = "dense 128, relu, dense 10",
                                                 .microbatch = LS_DEFAULT_MICROBATCH,
                                                 .momentum = 0.9f},
                                         .batch = 64},
                                .allreduce = {.least_bytes = 1 << 10, .most_bytes = 256 << 20},
                                .scaling = {.scaling = LS_BENCH_SCALING_BOTH, .bucket_bytes = 1 << 20},
                                .load = {.data = "fashion-mnist"}};
    struct ls_bench_step_options *step = &o->step;
    struct ls_bench_allreduce_options *allreduce = &o->allreduce;
    struct ls_bench_scaling_options *scaling = &o->scaling;
    const struct ls_option options[] = {
        {"net", "LAYERS", LS_OPTION_TEXT, &step->net.net,
         "step, scaling: the net; its outputs are the classes", "dense 128, relu, dense 10", 0, 0, NULL,
         NULL},
        {"input", "SHAPE", LS_OPTION_TEXT, &step->net.input,
         "step, scaling: shape of a sample, as 784, 28x28 or 3x32x32", "the named net's, else 28x28", 0, 0,
         NULL, NULL},
        {"batch", "N", LS_OPTION_INT, &step->batch,
         "step, strong scaling: samples in an update, over all ranks", "64", 1, 1e6, NULL, NULL},
        {"microbatch", "N", LS_OPTION_INT, &step->net.microbatch, "step, scaling: samples in a leaf", "32", 1,
         1 << 20, NULL, NULL},
        {"samples", "N", LS_OPTION_INT, &step->net.samples,
         "step, scaling: different samples in memory, at least a batch",
         "four batches, at least 8192, at most 64 MB", 0, 1e9, NULL, NULL},
        {"elements", "TYPE", LS_OPTION_CHOICE, &step->net.elements,
         "step, scaling: what they are in memory, bytes, of which each step makes binary32, or binary32",
         "u8", 0, 0, element_choices, NULL},
        {"lanes", "WHEN", LS_OPTION_CHOICE, &step->net.lanes,
         "step, scaling: threads each take leaves of their own through the net where that pays, wherever "
         "there are enough leaves, or never, with the same bits",
         "auto", 0, 0, lanes_choices, NULL},
        {"momentum", "X", LS_OPTION_FLOAT, &step->net.momentum, "step, scaling: momentum of the update",
         "0.9", 0, 0.999999, NULL, NULL},
        {"seconds", "X", LS_OPTION_FLOAT, &o->seconds, "how long to time", "3", 0.05, 3600, NULL, NULL},
        {"compare-allreduce", NULL, LS_OPTION_FLAG, &step->compare,
         "step, under mpirun: time the exact tree and MPI_Allreduce in turn, and print their ratio", NULL, 0,
         0, NULL, NULL},
        {"no-verify", NULL, LS_OPTION_FLAG, &step->no_verify,
         "step, scaling: skip the comparison with the oracle, which is slow for large nets", NULL, 0, 0, NULL,
         NULL},
        {"least-bytes", "N", LS_OPTION_INT, &allreduce->least_bytes, "allreduce: the shortest vector", "1024",
         4, 1e12, NULL, NULL},
        {"most-bytes", "N", LS_OPTION_INT, &allreduce->most_bytes,
         "allreduce: the longest; sizes grow by factors of 4", "268435456", 4, 1e12, NULL, NULL},
        {"leaves", "N", LS_OPTION_INT, &allreduce->n_leaves, "allreduce: leaves of the tree",
         "as many as ranks", 1, 1e6, NULL, NULL},
        {"layouts", "LIST", LS_OPTION_TEXT, &scaling->layouts,
         "scaling: ranks x threads to measure, as 1x1,2x1,1x2",
         "1, 2, 4 ... and all ranks, with --threads each", 0, 0, NULL, NULL},
        {"scaling", "KIND", LS_OPTION_CHOICE, &scaling->scaling,
         "scaling: strong (--batch is spread over the ranks), weak (--rank-batch stays), or both", "both", 0,
         0, scaling_choices, NULL},
        {"rank-batch", "N", LS_OPTION_INT, &scaling->rank_batch, "weak scaling: samples of each rank",
         "as --batch", 1, 1e6, NULL, NULL},
        {"bucket-bytes", "N", LS_OPTION_INT, &scaling->bucket_bytes,
         "scaling: between hosts, send gradients in pieces of so many bytes while backward runs; 0: at its "
         "end",
         "1048576", 0, 1e12, NULL, NULL},
        {"allreduce", "WAY", LS_OPTION_CHOICE, &scaling->allreduce,
         "scaling: tree, or mpi for MPI_Allreduce, whose bits depend on the layout: it ends with status 1 "
         "where they do",
         "tree", 0, 0, allreduce_choices, NULL},
        {"csv", "FILE", LS_OPTION_TEXT, &allreduce->csv,
         "allreduce, scaling: a file for all figures, with quartiles", NULL, 0, 0, NULL, NULL},
        {"data", "DATA", LS_OPTION_TEXT, &o->load.data,
         "load: pixels with labels, as --data of train has them", "fashion-mnist", 0, 0, NULL, NULL},
        {"json", NULL, LS_OPTION_FLAG, &step->json, "step: print one JSON object", NULL, 0, 0, NULL, NULL},
        LS_SESSION_OPTIONS(&o->session),
    };
    const struct ls_command_line line = {
        .command = "bench",
        .synopsis = "lockstep bench step|kernels|allreduce|scaling|load [OPTION ...]   (step, allreduce, "
                    "scaling under mpirun)",
        .summary =
            "Checks, then times; what is compared is timed in turn, so that a noisy machine disturbs all "
            "alike. "
            "step: whole training steps (gather, forward, loss, backward, allreduce, update) on random data "
            "in "
            "memory; the weights after two of them, of fewer samples where the batch is large, are compared "
            "with the serial oracle's; timed between measurements of the machine's FMA peak. "
            "kernels: the matrix products and convolutions alone, compared with the oracle's, and timed "
            "between measurements of the peak. "
            "allreduce: the sum over ranks, over shared memory and messages, compared with the tree's as "
            "each "
            "rank works it out, beside MPI_Allreduce, whose own sum is not compared. "
            "scaling: steps on all smaller numbers of ranks of this job, while the other ranks sleep: where "
            "the time goes, and efficiencies against one rank, one core and a model of the allreduce; bits "
            "of "
            "all layouts are compared with each other, and with the oracle's, or one rank's, where those "
            "take "
            "seconds. "
            "load: loading from gzip IDX and .lsd files, compared with the data, beside the bare inflating, "
            "page faults and hashing.",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .least_words = 1,
        .most_words = 1,
    };
    int n_words = 0;
    return ls_options_parse(&line, argc, argv, what, &n_words, print ? stdout : NULL, help, err);
}

static enum ls_code run(const char *what, struct bench_options *options, struct ls_session *session,
                        struct ls_error *err)
{
    static const char *const known[] = {"step", "kernels", "allreduce", "scaling", "load", NULL};
    options->step.seconds = options->seconds;
    options->allreduce.seconds = options->scaling.seconds = (double)options->seconds;
    options->scaling.net = options->step.net;
    options->scaling.batch = options->step.batch;
    options->scaling.no_verify = options->step.no_verify;
    options->scaling.csv = options->allreduce.csv;
    if (strcmp(what, "kernels") == 0)
        return ls_bench_kernels(session, (double)options->seconds, err);
    if (strcmp(what, "step") == 0)
        return ls_bench_step(session, &options->step, err);
    if (strcmp(what, "allreduce") == 0)
        return ls_bench_allreduce(session, &options->allreduce, err);
    options->load.seconds = (double)options->seconds;
    if (strcmp(what, "load") == 0)
        return ls_bench_load(session, &options->load, err);
    if (strcmp(what, "scaling") == 0)
        return ls_bench_scaling(session, &options->scaling, err);
    return ls_fail(err, LS_USAGE,
                   "unknown bench '%.40s': did you mean '%s'? Known: step, kernels, allreduce, scaling, load",
                   what, ls_text_nearest(what, known));
}

enum ls_code ls_command_bench(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct bench_options options;
    struct ls_session session;
    const char *what = NULL;
    int help = 0;
    err->code = parse(&options, argc, argv, &what, &help, ls_comm_rank(comm) == 0, err);
    enum ls_code code = ls_comm_agree(comm, err); /* a script may give each rank its own options */
    if (code != LS_OK || help)
        return code;
    code = ls_session_start(&session, &options.session, comm, err);
    if (code != LS_OK)
        return code;
    code = run(what, &options, &session, err);
    if (code == LS_DIFFERENT && ls_comm_rank(comm) == 0) /* main.c leaves the words about it to commands */
        fprintf(stderr, "lockstep: %s\n", err->text);
    return code;
}
