/* A training step on simulated nodes: the computing is time that passes, the communication is the project's
 * own code.
 *
 *   sim step MODEL BATCH GFLOPS BANDWIDTH BUCKET_BYTES PIECE
 *     BATCH: samples of this node in a step; GFLOPS: what a node computes in a second; BANDWIDTH: of its
 * memory, GB/s; BUCKET_BYTES: 0 for no overlap; PIECE: GFLOP of an input gradient between two looks after
 * messages, 0 for all of it
 *   sim allreduce BYTES BANDWIDTH
 * Rank 0 prints one line: seconds of a step, or of our allreduce and of MPI_Allreduce. */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/comm_mpi.h"
#include "sim/model.h"
#include "sim/time.h"

struct node {
    struct ls_comm *comm;
    struct sim_model model;
    ptrdiff_t begins[SIM_MOST_LAYERS];  /* of layers' parameters */
    ptrdiff_t buckets[SIM_MOST_LAYERS]; /* descending, as train/buckets.c cuts them */
    int n_buckets, n_started;
    int64_t first; /* bucket's number */
    struct ls_vectors vectors;
    float *sync; /* batch norm's sums */
    double flops, piece_flops;
};

static void fail(const char *what)
{
    fprintf(stderr, "sim: %s\n", what);
    exit(2);
}

static void cut(struct node *node, ptrdiff_t least)
{
    ptrdiff_t at = 0, end = node->model.n_floats;
    for (int i = 0; i < node->model.n_layers; i++) {
        node->begins[i] = at;
        at += node->model.layers[i].floats;
    }
    for (int i = node->model.n_layers - 1; least > 0 && i >= 0; i--)
        if (end - node->begins[i] >= least && node->begins[i] >= least)
            end = node->buckets[node->n_buckets++] = node->begins[i];
    node->buckets[node->n_buckets++] = 0;
}

/* As train/buckets.c's ls_buckets_longest. */
static ptrdiff_t longest(const struct node *node)
{
    ptrdiff_t most = 0, end = node->model.n_floats;
    for (int i = 0; i < node->n_buckets; end = node->buckets[i++])
        most = end - node->buckets[i] > most ? end - node->buckets[i] : most;
    return most;
}

/* As train/step.c's start_buckets. */
static void start(struct node *node, int layer)
{
    for (; node->n_started < node->n_buckets && node->buckets[node->n_started] >= node->begins[layer] &&
           ls_comm_can_start(node->comm);
         node->n_started++) {
        const int i = node->n_started;
        const struct ls_range range = {node->buckets[i], i > 0 ? node->buckets[i - 1] : node->model.n_floats};
        const int64_t piece =
            ls_comm_start(node->comm, &node->vectors, ls_comm_size(node->comm), range, node->vectors.at, 1);
        node->first = i == 0 ? piece : node->first;
    }
}

/* What train/step.c does when a layer's weight gradient is done, and between two pieces of its input
 * gradient: sums under way go on, and those start that may, of the layers from `complete` on. */
static void look(struct node *node, int complete)
{
    const double costs_s = 3e-6; /* four fibers in and out, four MPI_Test */
    if (node->n_buckets <= 1)
        return;
    if (ls_mpi_flights_are_running((const struct ls_mpi *)node->comm))
        sim_pass(costs_s);
    ls_comm_progress(node->comm);
    start(node, complete);
    sim_forget();
}

/* Batch norm's sums of n numbers over all ranks, as train/step.c's finish_sums. */
static void meet(struct node *node, ptrdiff_t n)
{
    float *sums = node->sync;
    struct ls_error err;
    ls_comm_allreduce(node->comm, LS_ALLREDUCE_TREE, ls_comm_size(node->comm), n, sums, &sums, 1, &err);
}

/* Batch norm's mean, then its variance, before it can go on. */
static void forward(struct node *node, int layer, double batch)
{
    const struct sim_layer *l = &node->model.layers[layer];
    sim_pass(batch * l->flops / node->flops);
    for (int i = 0; l->channels > 0 && i < 2; i++)
        meet(node, l->channels);
}

/* Rows of an input gradient between two looks, as model/execute.c's piece_of. */
static double piece_of(const struct node *node, const struct sim_layer *layer, double batch)
{
    if (node->piece_flops <= 0 || layer->flops * batch <= node->piece_flops)
        return batch;
    return layer->flops < node->piece_flops ? floor(node->piece_flops / layer->flops) : 1;
}

/* Weight gradient, look, then input gradient, as model/execute.c has them. */
static void backward(struct node *node, int layer, double batch)
{
    const struct sim_layer *l = &node->model.layers[layer];
    const double a_row_s = l->flops / node->flops, piece = piece_of(node, l, batch);
    sim_pass(batch * a_row_s);
    look(node, layer);
    if (l->channels > 0)
        meet(node, 2 * l->channels);
    for (double row = 0; layer > 0 && l->flops > 0 && row < batch; row += piece) {
        if (row > 0)
            look(node, layer);
        sim_pass(a_row_s * fmin(piece, batch - row));
    }
}

/* Momentum: sum, parameter and velocity in, two out. */
static void update(ptrdiff_t n)
{
    sim_pass((double)n * 5 * sizeof(float) / sim_memory_bandwidth);
}

/* As train/step.c's finish_buckets. */
static void finish(struct node *node)
{
    for (int i = 0; i < node->n_buckets; i++) {
        start(node, 0);
        ls_comm_await(node->comm, node->first + i, &node->vectors, node->vectors.at, 1);
        start(node, 0);
        update((i > 0 ? node->buckets[i - 1] : node->model.n_floats) - node->buckets[i]);
    }
}

static double step(struct node *node, double batch)
{
    const struct sim_model *model = &node->model;
    MPI_Barrier(MPI_COMM_WORLD);
    const double began = MPI_Wtime();
    node->n_started = 0;
    for (int i = 0; i < model->n_layers; i++)
        forward(node, i, batch);
    for (int i = model->n_layers - 1; i >= 0; i--)
        backward(node, i, batch);
    if (node->n_buckets > 1) {
        finish(node);
    } else {
        struct ls_error err;
        const float *sum;
        ls_comm_allreduce_vectors(node->comm, LS_ALLREDUCE_TREE, &node->vectors, ls_comm_size(node->comm),
                                  model->n_floats, node->vectors.at, 1, &sum, &err);
        update(model->n_floats);
    }
    return MPI_Wtime() - began;
}

static void run_step(struct node *node, char **args)
{
    struct ls_error err = {.code = LS_OK};
    double most = 0;
    if (!sim_model_find(&node->model, args[0]))
        fail("models are dense7, vgg-a, resnet50");
    const double batch = atof(args[1]);
    node->flops = atof(args[2]) * 1e9;
    sim_memory_bandwidth = atof(args[3]) * 1e9;
    cut(node, (ptrdiff_t)(atof(args[4]) / sizeof(float)));
    node->piece_flops = atof(args[5]) * 1e9;
    node->sync = ls_alloc(SIM_MOST_CHANNELS * 2, sizeof *node->sync, "sums of batch norm", &err);
    if (!node->sync)
        fail(err.text);
    if (ls_comm_flights_create(node->comm, longest(node), &err) != LS_OK ||
        ls_comm_vectors_create(node->comm, 1, node->model.n_floats, &node->vectors, &err) != LS_OK)
        fail(err.text);
    const double seconds = step(node, batch);
    MPI_Reduce(&seconds, &most, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (ls_comm_rank(node->comm) == 0)
        printf("%.6e\n", most);
}

static void run_allreduce(struct node *node, char **args)
{
    struct ls_error err = {.code = LS_OK};
    const ptrdiff_t n = (ptrdiff_t)(atof(args[0]) / sizeof(float));
    const float *sum;
    double seconds[2], most[2];
    sim_memory_bandwidth = atof(args[1]) * 1e9;
    if (ls_comm_vectors_create(node->comm, 1, n, &node->vectors, &err) != LS_OK)
        fail(err.text);
    for (int way = 0; way < 2; way++) {
        MPI_Barrier(MPI_COMM_WORLD);
        const double began = MPI_Wtime();
        ls_comm_allreduce_vectors(node->comm, way ? LS_ALLREDUCE_MPI : LS_ALLREDUCE_TREE, &node->vectors,
                                  ls_comm_size(node->comm), n, node->vectors.at, 1, &sum, &err);
        seconds[way] = MPI_Wtime() - began;
    }
    MPI_Reduce(seconds, most, 2, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (ls_comm_rank(node->comm) == 0)
        printf("%.6e %.6e\n", most[0], most[1]);
}

int main(int argc, char **argv)
{
    static struct node node;
    struct ls_error err = {.code = LS_OK};
    MPI_Init(&argc, &argv);
    sim_share_block();
    if (ls_comm_create_mpi(&node.comm, 0, NULL, &err) != LS_OK)
        fail(err.text);
    if (argc == 8 && strcmp(argv[1], "step") == 0)
        run_step(&node, argv + 2);
    else if (argc == 4 && strcmp(argv[1], "allreduce") == 0)
        run_allreduce(&node, argv + 2);
    else
        fail("step MODEL BATCH GFLOPS BANDWIDTH BUCKET_BYTES PIECE, or allreduce BYTES BANDWIDTH");
    MPI_Finalize();
    return 0;
}
