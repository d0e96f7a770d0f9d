/* lockstep against PyTorch: every file of tests/fixtures, on the oracle and on every ISA of this processor.
 *
 * The oracle and the kernels agree with one another by bits elsewhere; here both must be right.  The bounds
 * are a few times what was measured (in the comments), so that a lost term cannot hide below them. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/memory.h"
#include "base/text.h"
#include "compare.h"
#include "model/execute.h"
#include "train/model_file.h"
#include "train/trainer.h"

#define FOLDER "tests/fixtures"

enum {
    MOST_FIXTURES = 100,
    MOST_OPS = 8,
    N_GRADIENTS = 48,
    N_INFERENCES = 2,
    N_TRAJECTORIES = 20,
    MOST_STEPS = 100
};

/* Of the largest number in a tensor.  Measured at worst: 1.4e-6, on a bias in front of a mean over windows;
 * 6.2e-7 on nets of dense layers. */
static const double gradient_bound = 2e-6;
/* The same of a net with batch norms, whose gradients are differences of sums that nearly cancel: measured
 * 2.5e-6 on a beta that lies below four of them. */
static const double batchnorm_bound = 5e-6;
/* Of losses and of weights after 24 updates, or ten, absolute: measured 2.4e-7.  Forgetting the weight decay
 * of 1e-4 moves a weight by 5e-4, plain momentum instead of Nesterov's by 3e-2. */
static const double trajectory_bound = 1e-6;
/* Of running averages, absolute: measured 1e-6, since the contract adds up the 2048 numbers of a channel in a
 * leaf one after another where PyTorch adds in blocks.  A decay of 1e-4 of them (they are no weights) was
 * seen as 4e-5. */
static const double average_bound = 3e-6;

static struct ls_error err;
static char message[512];

struct names {
    int n;
    char name[MOST_FIXTURES][96];
};

static int is_fixture(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && strcmp(dot, ".safetensors") == 0;
}

static struct names list(const char *prefix)
{
    struct names names = {0};
    struct dirent **entries;
    const int n = scandir(FOLDER, &entries, is_fixture, alphasort);
    cr_assert(n > 0, "no fixture in " FOLDER " (tests run from the repository's root)");
    for (int i = 0; i < n; i++) {
        if (strncmp(entries[i]->d_name, prefix, strlen(prefix)) == 0 && names.n < MOST_FIXTURES)
            snprintf(names.name[names.n++], sizeof names.name[0], FOLDER "/%.80s", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return names;
}

/* The oracle, then every ISA. */
static int list_ops(const struct ls_ops *ops[MOST_OPS])
{
    int n = 0;
    ops[n++] = &ls_ops_serial;
    for (const char *const *isa = ls_ops_isas(); *isa && n < MOST_OPS; isa++) {
        ops[n] = ls_ops_parallel(*isa);
        cr_assert_not_null(ops[n], "'%s' is listed and cannot be had", *isa);
        n++;
    }
    cr_assert(n >= 2, "no parallel operations to test");
    return n;
}

static const char *metadata(const struct ls_safetensors *file, const char *path, const char *key)
{
    const char *text = ls_safetensors_metadata(file, key);
    cr_assert_not_null(text, "%s: no metadata '%s'", path, key);
    return text;
}

static int64_t number(const struct ls_safetensors *file, const char *path, const char *key)
{
    int64_t value = 0;
    cr_assert(ls_text_to_int64(metadata(file, path, key), &value), "%s: %s", path, key);
    return value;
}

static enum ls_loss loss_named(const char *path, const char *name)
{
    for (int i = 0; ls_loss_names[i]; i++)
        if (strcmp(ls_loss_names[i], name) == 0)
            return (enum ls_loss)i;
    cr_assert_fail("%s: unknown loss '%s'", path, name);
    return LS_LOSS_SOFTMAX;
}

static struct ls_loss_rule read_rule(const struct ls_safetensors *file, const char *path)
{
    struct ls_loss_rule rule = {.kind = loss_named(path, metadata(file, path, "loss"))};
    const char *smoothing = ls_safetensors_metadata(file, "label_smoothing"),
               *delta = ls_safetensors_metadata(file, "huber_delta"),
               *weights = ls_safetensors_metadata(file, "class_weights");
    cr_assert(!smoothing || ls_text_to_float(smoothing, &rule.smoothing), "%s", path);
    cr_assert(!delta || ls_text_to_float(delta, &rule.delta), "%s", path);
    cr_assert(!weights || ls_loss_read_weights(&rule, weights, &err) == LS_OK, "%s: %s", path, err.text);
    return rule;
}

static float *floats(ptrdiff_t n)
{
    float *memory = calloc((size_t)(n > 0 ? n : 1), sizeof *memory);
    cr_assert_not_null(memory);
    return memory;
}

/* A matrix (rows, columns), a vector (rows) when columns is 0. */
static float *read_array(const struct ls_safetensors *file, const char *path, const char *name,
                         ptrdiff_t rows, ptrdiff_t columns)
{
    struct ls_tensor tensor = {.name = name, .n_dims = columns ? 2 : 1, .dims = {rows, columns}};
    tensor.data = floats(rows * (columns ? columns : 1));
    cr_assert(ls_safetensors_read(file, &tensor, &err) == LS_OK, "%s: %s", path, err.text);
    return tensor.data;
}

/* Features, or channels x height x width. */
static struct ls_shape input_shape(const struct ls_safetensors *file, const char *path)
{
    const char *image = ls_safetensors_metadata(file, "input_shape");
    ptrdiff_t dims[3] = {(ptrdiff_t)number(file, path, "input_features")};
    cr_assert(!image || sscanf(image, "%tdx%tdx%td", &dims[0], &dims[1], &dims[2]) == 3, "%s: '%s'", path,
              image);
    return ls_shape_of(image ? 3 : 1, dims);
}

/* The tensors "<prefix>0.weight", ... into the flat layout of the net; running averages have a prefix of
 * their own. */
static float *read_flat(const struct ls_safetensors *file, const char *path, const struct ls_net *net,
                        const char *prefix, const char *state_prefix)
{
    float *flat = floats(net->n_floats);
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_parameter *p = &net->tensors[t];
        char name[80];
        snprintf(name, sizeof name, "%s%s", p->is_state ? state_prefix : prefix, p->name);
        struct ls_tensor tensor = {
            .name = name, .n_dims = p->n_dims, .transposed = p->transposed, .data = flat + p->offset};
        memcpy(tensor.dims, p->dims, sizeof p->dims);
        cr_assert(ls_safetensors_read(file, &tensor, &err) == LS_OK, "%s: %s", path, err.text);
    }
    return flat;
}

static void compare(const char *path, const struct ls_net *net, const struct ls_ops *ops, const char *name,
                    ptrdiff_t n, const float *found, const float *expected)
{
    const double bound = net->sync_floats > 0 ? batchnorm_bound : gradient_bound;
    double largest = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)expected[i]));
    cr_assert(compare_floats(COMPARE_CLOSE(bound * largest, 0), name, (size_t)n, found, expected, message,
                             sizeof message),
              "%s with %s: %s; allowed is %g of %g", path, ops->name, message, bound, largest);
}

/* --- one mini-batch --- */

struct gradient {
    const char *path;
    struct ls_net net;
    struct ls_loss_rule loss;
    ptrdiff_t B, K;
    float *x, *labels, *values, *parameters; /* labels or values */
    int32_t *classes;
    float *z, *mean_loss, *input_gradient, *gradients; /* PyTorch's answers; running averages after the pass
                                                          stand where their gradient would */
};

static void check_count(const struct ls_safetensors *file, const struct gradient *g)
{
    const ptrdiff_t expected = 5 + 2 * (ptrdiff_t)g->net.n_tensors; /* x, targets, z, loss, grad.x */
    cr_assert(ls_safetensors_count(file) == expected, "%s has %td tensors, %td are known", g->path,
              ls_safetensors_count(file), expected);
}

static struct gradient read_gradient(const char *path)
{
    struct ls_safetensors *file;
    cr_assert(ls_safetensors_open(&file, path, &err) == LS_OK, "%s", err.text);
    struct gradient g = {.path = path,
                         .B = (ptrdiff_t)number(file, path, "batch"),
                         .K = (ptrdiff_t)number(file, path, "input_features"),
                         .loss = read_rule(file, path)};
    const struct ls_shape in = input_shape(file, path);
    cr_assert(ls_net_create(&g.net, metadata(file, path, "net"), in, &err) == LS_OK, "%s: %s", path,
              err.text);
    const ptrdiff_t N = g.net.out.count;
    check_count(file, &g);
    g.x = read_array(file, path, "x", g.B, g.K);
    if (ls_safetensors_find(file, "labels"))
        g.labels = read_array(file, path, "labels", g.B, 0);
    else
        g.values = read_array(file, path, "values", g.B, N);
    g.classes = calloc((size_t)g.B, sizeof *g.classes);
    for (ptrdiff_t b = 0; g.labels && b < g.B; b++)
        g.classes[b] = (int32_t)g.labels[b];
    g.parameters = read_flat(file, path, &g.net, "", "");
    g.z = read_array(file, path, "z", g.B, N);
    g.mean_loss = read_array(file, path, "loss", 1, 0);
    g.input_gradient = read_array(file, path, "grad.x", g.B, g.K);
    g.gradients = read_flat(file, path, &g.net, "grad.", "after.");
    ls_safetensors_close(&file);
    return g;
}

static void release_gradient(struct gradient *g)
{
    float *all[] = {g->x, g->labels,    g->values,         g->parameters,
                    g->z, g->mean_loss, g->input_gradient, g->gradients};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free(g->classes);
    ls_loss_rule_release(&g->loss);
    ls_net_release(&g->net);
}

static int n_ticks;

static void count_tick(void *context)
{
    (void)context;
    n_ticks++;
}

/* dx (B,K) gets the input gradient.  tick_flops as of struct ls_pass, 0: no ticks. */
static void check_gradient(const struct gradient *g, const struct ls_ops *ops, ptrdiff_t m, double tick_flops,
                           float *dx)
{
    const ptrdiff_t N = g->net.out.count;
    struct ls_activations act;
    cr_assert(ls_activations_create(&act, &g->net, g->B, 1, &err) == LS_OK, "%s", err.text);
    float *losses = floats(g->B), *flat = floats(g->net.n_floats);
    memcpy(act.x, g->x, (size_t)(g->B * g->K) * sizeof(float));
    const struct ls_gradient_part all = {.begin = 0, .end = g->B, .flat = flat};
    float *parameters = floats(g->net.n_floats); /* a copy, whose running averages move */
    memcpy(parameters, g->parameters, (size_t)g->net.n_floats * sizeof(float));
    struct ls_pass pass = ls_pass_alone(&act, g->B, m, &all);
    pass.state = parameters;
    pass.tick = tick_flops > 0.0 ? count_tick : NULL;
    pass.tick_flops = tick_flops;
    const float *z = ls_forward(&g->net, ops, parameters, &act, g->B, &pass);
    compare(g->path, &g->net, ops, "z", g->B * N, z, g->z);
    const struct ls_targets targets = {.labels = g->labels ? g->classes : NULL, .values = g->values};
    ops->loss(&g->loss, g->B, N, losses, ls_output_gradient(&act), z, &targets);
    const float mean = ops->leaf_sum(g->B, m, losses) / (float)g->B;
    compare(g->path, &g->net, ops, "loss", 1, &mean, g->mean_loss);
    const float *sums = ls_backward(&g->net, ops, g->parameters, &act, g->B, &pass, 1);
    for (ptrdiff_t i = 0; i < g->B * g->K; i++)
        dx[i] = sums[i] / (float)g->B;
    compare(g->path, &g->net, ops, "grad.x", g->B * g->K, dx, g->input_gradient);
    for (ptrdiff_t i = 0; i < g->net.n_floats; i++)
        flat[i] = flat[i] / (float)g->B;
    for (int t = 0; t < g->net.n_tensors; t++) {
        const struct ls_parameter *p = &g->net.tensors[t];
        const float *found = p->is_state ? parameters : flat;
        compare(g->path, &g->net, ops, p->name, p->count, found + p->offset, g->gradients + p->offset);
    }
    free(parameters);
    free(losses);
    free(flat);
    ls_activations_release(&act);
}

Test(fixtures, losses_and_gradients_are_those_of_pytorch, .timeout = 120)
{
    const struct ls_ops *ops[MOST_OPS];
    const int n_ops = list_ops(ops);
    const struct names names = list("gradient_");
    cr_assert(names.n == N_GRADIENTS, "%d gradient fixtures, %d are known", names.n, N_GRADIENTS);
    ls_ops_set_threads(2);
    for (int i = 0; i < names.n; i++) {
        struct gradient g = read_gradient(names.name[i]);
        const size_t bytes = (size_t)(g.B * g.K) * sizeof(float);
        float *whole = floats(g.B * g.K), *cut = floats(g.B * g.K);
        for (int o = 0; o < n_ops; o++) {
            check_gradient(&g, ops[o], LS_DEFAULT_MICROBATCH, 0.0, whole);
            check_gradient(&g, ops[o], 5, 0.0, whole);
            check_gradient(&g, ops[o], 5, 1.0, cut);
            cr_expect(memcmp(whole, cut, bytes) == 0, "%s: a cut input gradient has other bits", g.path);
        }
        free(whole);
        free(cut);
        release_gradient(&g);
    }
    cr_expect(n_ticks > 0, "no input gradient was cut");
}

/* --- inference --- */

static void check_inference(const char *path, const struct ls_ops *ops)
{
    struct ls_safetensors *file;
    struct ls_net net;
    struct ls_activations act;
    cr_assert(ls_safetensors_open(&file, path, &err) == LS_OK, "%s", err.text);
    const struct ls_shape in = input_shape(file, path);
    const ptrdiff_t B = (ptrdiff_t)number(file, path, "batch");
    cr_assert(ls_net_create(&net, metadata(file, path, "net"), in, &err) == LS_OK, "%s: %s", path, err.text);
    cr_assert(ls_activations_create(&act, &net, B, 0, &err) == LS_OK, "%s", err.text);
    float *x = read_array(file, path, "x", B, in.count), *z = read_array(file, path, "z", B, net.out.count);
    float *parameters = read_flat(file, path, &net, "", "");
    cr_assert(ls_safetensors_count(file) == 2 + net.n_tensors, "%s", path);
    memcpy(act.x, x, (size_t)(B * in.count) * sizeof(float));
    compare(path, &net, ops, "z", B * net.out.count, ls_forward(&net, ops, parameters, &act, B, NULL), z);
    free(x);
    free(z);
    free(parameters);
    ls_activations_release(&act);
    ls_net_release(&net);
    ls_safetensors_close(&file);
}

Test(fixtures, inference_is_that_of_pytorch, .timeout = 20)
{
    const struct ls_ops *ops[MOST_OPS];
    const int n_ops = list_ops(ops);
    const struct names names = list("inference_");
    cr_assert(names.n == N_INFERENCES, "%d inference fixtures, %d are known", names.n, N_INFERENCES);
    ls_ops_set_threads(2);
    for (int i = 0; i < names.n; i++)
        for (int o = 0; o < n_ops; o++)
            check_inference(names.name[i], ops[o]);
}

/* --- one epoch, or its first steps --- */

struct steps {
    int64_t n;
    float loss[MOST_STEPS];
};

static void remember_step(void *context, const struct ls_step_report *report, const float *parameters)
{
    struct steps *steps = context;
    (void)parameters;
    if (steps->n < MOST_STEPS)
        steps->loss[steps->n] = report->loss;
    steps->n++;
}

static float as_float(const struct ls_safetensors *file, const char *path, const char *key)
{
    float value = 0.0f;
    cr_assert(ls_text_to_float(metadata(file, path, key), &value), "%s: %s", path, key);
    return value;
}

/* The digits in the program are those that PyTorch saw. */
static void check_data(const struct ls_safetensors *file, const char *path, const struct ls_dataset *train)
{
    const int64_t ends[] = {0, train->n_samples - 1};
    const char *const names[] = {"data.first", "data.last"};
    float *labels = read_array(file, path, "data.labels", 2, 0), found[64];
    cr_assert(train->n_features == 64);
    for (int i = 0; i < 2; i++) {
        int32_t label = -1;
        float *expected = read_array(file, path, names[i], 1, 64);
        ls_dataset_gather(train, &ls_ops_serial, 1, &ends[i], found, &label, NULL);
        cr_assert(compare_floats(COMPARE_BITS, names[i], 64, found, expected, message, sizeof message),
                  "%s: %s", path, message);
        cr_assert(label == (int32_t)labels[i], "%s: label %d of %s, expected %g", path, label, names[i],
                  (double)labels[i]);
        free(expected);
    }
    free(labels);
}

static int holds(const struct ls_safetensors *file, const char *key)
{
    return ls_safetensors_metadata(file, key) != NULL;
}

/* The numbers that a file of ten steps states; the rest are the optimizer's defaults. */
static struct ls_optimizer_rule stated_rule(const struct ls_safetensors *file, const char *path)
{
    const char *name = metadata(file, path, "optimizer");
    int kind = 0;
    while (ls_optimizer_names[kind] && strcmp(ls_optimizer_names[kind], name) != 0)
        kind++;
    cr_assert(ls_optimizer_names[kind], "%s: unknown optimizer '%s'", path, name);
    struct ls_optimizer_rule rule = ls_optimizer_defaults((enum ls_optimizer_kind)kind);
    const struct {
        const char *key;
        float *target;
    } numbers[] = {
        {"lr", &rule.learning_rate}, {"momentum", &rule.momentum},   {"weight_decay", &rule.weight_decay},
        {"beta1", &rule.beta1},      {"beta2", &rule.beta2},         {"alpha", &rule.alpha},
        {"trust", &rule.trust},      {"clip_norm", &rule.clip_norm}, {"clip_value", &rule.clip_value}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (holds(file, numbers[i].key))
            *numbers[i].target = as_float(file, path, numbers[i].key);
    rule.decay_skips_vectors = holds(file, "skip_vectors");
    if (holds(file, "trust_skips"))
        rule.trust_skips_vectors = (int)number(file, path, "trust_skips");
    return rule;
}

static struct ls_optimizer_rule rule_of(const struct ls_safetensors *file, const char *path)
{
    if (holds(file, "optimizer"))
        return stated_rule(file, path);
    return (struct ls_optimizer_rule){.learning_rate = as_float(file, path, "lr"),
                                      .momentum = as_float(file, path, "momentum"),
                                      .weight_decay = as_float(file, path, "weight_decay"),
                                      .nesterov = (int)number(file, path, "nesterov")};
}

static void check_trajectory(const char *path, const struct ls_ops *ops)
{
    struct ls_safetensors *file;
    struct ls_data data;
    struct ls_comm *comm;
    struct ls_net net;
    struct ls_train_result result;
    cr_assert(ls_safetensors_open(&file, path, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_data_open(&data, "digits", NULL, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_comm_create_solo(&comm, &err) == LS_OK, "%s", err.text);
    check_data(file, path, &data.train);
    const struct ls_shape in = ls_shape_of(data.train.n_dims, data.train.dims);
    cr_assert(ls_net_create(&net, metadata(file, path, "net"), in, &err) == LS_OK, "%s", err.text);
    cr_assert(strcmp(metadata(file, path, "shuffle"), "off") == 0);
    const struct ls_train_config config = {
        .loss = {.kind = loss_named(path, metadata(file, path, "loss"))},
        .batch = number(file, path, "batch"),
        .microbatch = LS_DEFAULT_MICROBATCH,
        .epochs = 1,
        .steps = holds(file, "steps") ? number(file, path, "steps") : -1,
        .optimizer = rule_of(file, path),
    };
    float *parameters = read_flat(file, path, &net, "initial.", "initial.");
    float *final = read_flat(file, path, &net, "final.", "final.");
    const int64_t n_steps =
        config.steps > 0 ? config.steps : (data.train.n_samples + config.batch - 1) / config.batch;
    float *losses = read_array(file, path, "step_loss", (ptrdiff_t)n_steps, 0);
    struct steps steps = {0};
    const struct ls_observer observer = {.context = &steps, .on_step = remember_step};
    cr_assert(ls_train(&config, &net, ops, comm, &data, parameters, &observer, &result, &err) == LS_OK,
              "%s with %s: %s", path, ops->name, err.text);
    cr_assert(steps.n == n_steps && result.steps == n_steps, "%s with %s: %lld steps", path, ops->name,
              (long long)steps.n);
    const struct compare how = COMPARE_CLOSE(trajectory_bound, 0);
    cr_assert(compare_floats(how, "step_loss", (size_t)n_steps, steps.loss, losses, message, sizeof message),
              "%s with %s: %s", path, ops->name, message);
    for (int t = 0; t < net.n_tensors; t++) {
        const struct ls_parameter *p = &net.tensors[t];
        const struct compare bound = p->is_state ? COMPARE_CLOSE(average_bound, 0) : how;
        cr_assert(compare_floats(bound, p->name, (size_t)p->count, parameters + p->offset, final + p->offset,
                                 message, sizeof message),
                  "%s with %s: %s", path, ops->name, message);
    }
    free(parameters);
    free(final);
    free(losses);
    ls_net_release(&net);
    ls_comm_destroy(&comm);
    ls_data_release(&data);
    ls_safetensors_close(&file);
}

Test(fixtures, every_optimizer_ends_at_the_weights_of_pytorch_or_of_its_paper, .timeout = 120)
{
    const struct ls_ops *ops[MOST_OPS];
    const int n_ops = list_ops(ops);
    const struct names names = list("trajectory_");
    cr_assert(names.n == N_TRAJECTORIES, "%d trajectory fixtures, %d are known", names.n, N_TRAJECTORIES);
    ls_ops_set_threads(2);
    for (int i = 0; i < names.n; i++)
        for (int o = 0; o < n_ops; o++)
            check_trajectory(names.name[i], ops[o]);
}

Test(fixtures, every_file_is_of_a_known_kind, .timeout = 20)
{
    const struct names all = list("");
    const int known = N_GRADIENTS + N_INFERENCES + N_TRAJECTORIES;
    cr_assert(all.n == known, "%d fixtures, %d are tested", all.n, known);
}
