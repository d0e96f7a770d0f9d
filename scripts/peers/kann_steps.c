/* kann's side of the comparison: kann_steps BATCH THREADS WIDTH WIDTH ..., linked with kann's kann.c and
 * kautodiff.c. It trains a net of dense layers with ReLU and softmax cross-entropy by SGD with momentum on
 * random data, as `lockstep bench step` does, and checks that the loss of one batch falls.  Then, for each
 * line with a number of seconds on standard input, it trains for as long and answers with its speed, the
 * median over blocks of about 50 ms, as a JSON object. THREADS are kann's own; those of the BLAS are the
 * BLAS's business. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kann.h"

enum { N_SAMPLES = 8192, MOST_BLOCKS = 4096 };

static const float learning_rate = 1e-4f, momentum = 0.9f;

struct training {
    kann_t *net;
    int batch, n_inputs, n_outputs, n_variables;
    float *samples, *truths; /* N_SAMPLES of each */
    float *x, *y;            /* a batch */
    float *velocity;
    int order[N_SAMPLES], at;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *allocate(size_t n)
{
    void *memory = calloc(n, sizeof(float));
    if (!memory) {
        fprintf(stderr, "kann_steps: out of memory\n");
        exit(1);
    }
    return memory;
}

static void make_samples(struct training *t)
{
    for (int i = 0; i < N_SAMPLES * t->n_inputs; i++)
        t->samples[i] = (float)kann_drand();
    for (int i = 0; i < N_SAMPLES; i++) {
        t->truths[i * t->n_outputs + (int)(kann_drand() * t->n_outputs)] = 1;
        t->order[i] = i;
    }
}

static void gather(struct training *t)
{
    if (t->at + t->batch > N_SAMPLES) {
        kann_shuffle(N_SAMPLES, t->order);
        t->at = 0;
    }
    for (int b = 0; b < t->batch; b++) {
        const int i = t->order[t->at++];
        memcpy(t->x + b * t->n_inputs, t->samples + i * t->n_inputs, (size_t)t->n_inputs * sizeof *t->x);
        memcpy(t->y + b * t->n_outputs, t->truths + i * t->n_outputs, (size_t)t->n_outputs * sizeof *t->y);
    }
}

/* One step on the batch that lies at x and y; the loss before it. */
static float step(struct training *t)
{
    const float loss = kann_cost(t->net, 0, 1);
    float *restrict w = t->net->x, *restrict v = t->velocity;
    const float *restrict g = t->net->g;
    for (int i = 0; i < t->n_variables; i++) {
        v[i] = momentum * v[i] + g[i];
        w[i] -= learning_rate * v[i];
    }
    return loss;
}

static void create(struct training *t, int threads, int n_widths, char **widths)
{
    t->n_inputs = atoi(widths[0]);
    t->n_outputs = atoi(widths[n_widths - 1]);
    kad_node_t *layer = kann_layer_input(t->n_inputs);
    for (int i = 1; i + 1 < n_widths; i++)
        layer = kad_relu(kann_layer_dense(layer, atoi(widths[i])));
    t->net = kann_new(kann_layer_cost(layer, t->n_outputs, KANN_C_CEM), 0);
    t->n_variables = kann_size_var(t->net);
    t->samples = allocate((size_t)N_SAMPLES * (size_t)t->n_inputs);
    t->truths = allocate((size_t)N_SAMPLES * (size_t)t->n_outputs);
    t->x = allocate((size_t)t->batch * (size_t)t->n_inputs);
    t->y = allocate((size_t)t->batch * (size_t)t->n_outputs);
    t->velocity = allocate((size_t)t->n_variables);
    make_samples(t);
    kann_feed_bind(t->net, KANN_F_IN, 0, &t->x);
    kann_feed_bind(t->net, KANN_F_TRUTH, 0, &t->y);
    kann_set_batch_size(t->net, t->batch);
    if (threads > 1)
        kann_mt(t->net, threads, t->batch);
    kann_switch(t->net, 1);
}

static double block_s(struct training *t, int n)
{
    const double begin = now_s();
    for (int i = 0; i < n; i++) {
        gather(t);
        step(t);
    }
    return now_s() - begin;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct training *t, double seconds)
{
    static double took[MOST_BLOCKS];
    int n_blocks = 0, n = 1;
    for (const double until = now_s() + 0.3; now_s() < until;) {
        const double s = block_s(t, n);
        n = s > 0 && 0.05 / s * n > 1 ? (int)(0.05 / s * n) : 1;
    }
    for (const double until = now_s() + seconds;
         n_blocks == 0 || (now_s() < until && n_blocks < MOST_BLOCKS);)
        took[n_blocks++] = block_s(t, n);
    qsort(took, (size_t)n_blocks, sizeof *took, ascending);
    printf("{\"samples_per_s\": %.6g, \"best_samples_per_s\": %.6g}\n", n * t->batch / took[n_blocks / 2],
           n * t->batch / took[0]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct training training;
    if (argc < 5 || atoi(argv[1]) < 1 || atoi(argv[2]) < 1) {
        fprintf(stderr, "usage: kann_steps BATCH THREADS WIDTH WIDTH ...\n");
        return 2;
    }
    training.batch = atoi(argv[1]);
    create(&training, atoi(argv[2]), argc - 3, argv + 3);
    gather(&training);
    const float before = step(&training);
    for (int i = 0; i < 20; i++)
        step(&training);
    const float after = step(&training);
    if (!(after < before)) {
        fprintf(stderr, "kann_steps: the loss of one batch went from %g to %g in 20 steps: not timed\n",
                before, after);
        return 1;
    }
    printf("{\"version\": \"%s\"}\n", KANN_VERSION);
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin))
        measure(&training, atof(line));
    return 0;
}
