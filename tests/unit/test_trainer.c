/* A run computed a second time, from the contract's text alone: two weights, squared loss, leaves of two
 * samples.
 *
 * The matrix compares runs with one another, and all of them share the trainer, so a wrong rule there
 * (another scale for a short last batch, a mean of means) is the same on both sides.  Here are loops that
 * share nothing with it but the sampler, which has tests of its own. */
#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "compare.h"
#include "train/trainer.h"

enum { N = 13, N_TEST = 5, EPOCHS = 3 };

struct cut {
    int batch, leaf;
};

static const char samples[] =
    "inline:0.1 0.7=0.3;0.9 -0.2=1.1;-0.4 0.3=-0.7;1.3 0.6=0.2;0.5 0.5=0.9;-1.1 0.8=0.4;0.2 0.2="
    "-0.3;0.7 -0.9=1.7;0.3 1.9=0.6;-0.6 -0.1=0.1;1.7 0.4=-1.3;0.8 1.2=0.8;-0.2 0.9=2.1";
static const char tests[] = "inline:0.3 0.1=0.2;-0.7 0.9=1.3;1.1 0.3=-0.1;0.6 0.7=0.7;-0.9 -0.3=0.4";

/* Level by level, in place; an odd last value goes up unchanged. */
static float tree(int n, float *v)
{
    for (; n > 1; n = (n + 1) / 2)
        for (int i = 0; 2 * i < n; i++)
            v[i] = 2 * i + 1 < n ? v[2 * i] + v[2 * i + 1] : v[2 * i];
    return n == 1 ? v[0] : 0.0f;
}

struct sums {
    float w[2], loss;
};

/* Rule 3 over the samples index[0..B): gradients and loss, folded in each leaf, then the tree. */
static struct sums sum_batch(const struct ls_dataset *data, int leaf, int B, const int64_t *index,
                             const float *w)
{
    float dw0[N], dw1[N], loss[N];
    int leaves = 0;
    for (int b = 0; b < B; leaves++) {
        dw0[leaves] = dw1[leaves] = loss[leaves] = 0.0f;
        for (const int end = b + leaf < B ? b + leaf : B; b < end; b++) {
            const float *x = data->numbers + 2 * index[b];
            const float z = fmaf(x[1], w[1], fmaf(x[0], w[0], 0.0f)), d = z - data->values[index[b]];
            dw0[leaves] = fmaf(x[0], d + d, dw0[leaves]);
            dw1[leaves] = fmaf(x[1], d + d, dw1[leaves]);
            loss[leaves] += d * d;
        }
    }
    return (struct sums){{tree(leaves, dw0), tree(leaves, dw1)}, tree(leaves, loss)};
}

/* Rule 8. */
static void update(const struct ls_optimizer_rule *rule, float r, const struct sums *sums, float *w, float *v)
{
    for (int k = 0; k < 2; k++) {
        float g = sums->w[k] * r;
        if (rule->weight_decay != 0)
            g = fmaf(rule->weight_decay, w[k], g);
        if (rule->momentum != 0) {
            v[k] = fmaf(rule->momentum, v[k], g);
            g = rule->nesterov ? fmaf(rule->momentum, v[k], g) : v[k];
        }
        w[k] = fmaf(-rule->learning_rate, g, w[k]);
    }
}

/* What each epoch must report. */
struct curve {
    float loss[EPOCHS], test_loss[EPOCHS], w[EPOCHS][2];
};

static void expected_curve(const struct ls_train_config *config, const struct ls_data *data, float *w,
                           struct curve *curve)
{
    static const int64_t in_order[N_TEST] = {0, 1, 2, 3, 4};
    struct ls_sampler sampler;
    float v[2] = {0};
    const int batch = (int)config->batch, leaf = (int)config->microbatch;
    ls_sampler_init(&sampler, N, config->shuffle, config->seed);
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        float step_loss[N];
        int steps = 0, used = 0;
        ls_sampler_set_epoch(&sampler, (uint64_t)epoch);
        for (int first = 0; first < N; first += batch) {
            int64_t index[N];
            const int B = N - first < batch ? N - first : batch;
            if (B < batch && config->drop_last)
                continue;
            for (int b = 0; b < B; b++)
                index[b] = ls_sampler_index(&sampler, first + b);
            const struct sums sums = sum_batch(&data->train, leaf, B, index, w);
            update(&config->optimizer, 1.0f / (float)B, &sums, w, v);
            step_loss[steps++] = sums.loss;
            used += B;
        }
        curve->loss[epoch] = tree(steps, step_loss) * (1.0f / (float)used);
        curve->test_loss[epoch] =
            sum_batch(&data->test, leaf, N_TEST, in_order, w).loss * (1.0f / (float)N_TEST);
        memcpy(curve->w[epoch], w, sizeof curve->w[epoch]);
    }
}

static enum ls_code record_epoch(void *context, const struct ls_epoch_report *report, const float *parameters,
                                 struct ls_error *err)
{
    (void)err;
    struct curve *curve = context;
    cr_assert(report->epoch >= 1 && report->epoch <= EPOCHS && report->evaluated);
    curve->loss[report->epoch - 1] = report->loss;
    curve->test_loss[report->epoch - 1] = report->test.loss;
    memcpy(curve->w[report->epoch - 1], parameters, sizeof curve->w[0]);
    return LS_OK;
}

static void check_run(const struct ls_ops *ops, struct ls_optimizer_rule rule, struct cut cut, int shuffle,
                      int drop_last)
{
    const struct ls_train_config config = {.loss = {.kind = LS_LOSS_SQUARED},
                                           .batch = cut.batch,
                                           .microbatch = cut.leaf,
                                           .epochs = EPOCHS,
                                           .steps = -1,
                                           .optimizer = rule,
                                           .seed = 11,
                                           .shuffle = shuffle,
                                           .drop_last = drop_last,
                                           .eval_every = 1};
    struct ls_error err = {.code = LS_OK};
    struct ls_comm *comm = NULL;
    struct ls_data data;
    struct ls_net net;
    struct ls_train_result result;
    struct curve expected, found = {0};
    cr_assert(ls_comm_create_solo(&comm, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_data_open(&data, samples, tests, &err) == LS_OK, "%s", err.text);
    cr_assert(ls_net_create(&net, "dense 1 nobias", ls_shape_of(1, data.train.dims), &err) == LS_OK, "%s",
              err.text);
    float *parameters = ls_alloc((size_t)net.n_floats, sizeof(float), "parameters", &err);
    cr_assert(parameters, "%s", err.text);
    float w[2] = {0.3f, -0.1f};
    memcpy(parameters, w, sizeof w);
    expected_curve(&config, &data, w, &expected);

    const struct ls_observer observer = {.context = &found, .on_epoch = record_epoch};
    cr_assert(ls_train(&config, &net, ops, comm, &data, parameters, &observer, &result, &err) == LS_OK, "%s",
              err.text);
    char message[300];
    cr_assert(
        compare_floats(COMPARE_BITS, "loss", EPOCHS, found.loss, expected.loss, message, sizeof message),
        "%s: %s", ops->name, message);
    cr_assert(compare_floats(COMPARE_BITS, "test loss", EPOCHS, found.test_loss, expected.test_loss, message,
                             sizeof message),
              "%s: %s", ops->name, message);
    cr_assert(compare_floats(COMPARE_BITS, "weights", EPOCHS * 2, &found.w[0][0], &expected.w[0][0], message,
                             sizeof message),
              "%s: %s", ops->name, message);
    cr_assert(result.epochs == EPOCHS &&
              result.steps == EPOCHS * (N / cut.batch + (!drop_last && N % cut.batch)));
    ls_free(parameters);
    ls_net_release(&net);
    ls_data_release(&data);
    ls_comm_destroy(&comm);
    cr_assert(ls_memory_balance() == 0, "%ld blocks were not freed", ls_memory_balance());
}

static void check_all(struct ls_optimizer_rule rule)
{
    /* Four leaves a batch, and a last one of 6; five steps an epoch, the last of 1 sample; one step of 13
     * leaves. */
    static const struct cut cuts[] = {{7, 2}, {3, 2}, {13, 1}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        for (int how = 0; how < 4; how++) {
            check_run(&ls_ops_serial, rule, cuts[i], how & 1, how >> 1);
            check_run(ls_ops_parallel(NULL), rule, cuts[i], how & 1, how >> 1);
        }
}

Test(trainer, plain_descent_is_the_contract_s)
{
    check_all((struct ls_optimizer_rule){.learning_rate = 0.1f});
}

Test(trainer, momentum_and_decay_are_the_contract_s)
{
    check_all((struct ls_optimizer_rule){.learning_rate = 0.07f, .momentum = 0.9f, .weight_decay = 0.03f});
}

Test(trainer, nesterov_s_momentum_is_the_contract_s)
{
    check_all((struct ls_optimizer_rule){.learning_rate = 0.05f, .momentum = 0.8f, .nesterov = 1});
}
