/* The contract's matrix: whole training runs on this many ranks, with 1, 2 and 3 threads and every ISA of
 * this machine, against the serial oracle on one rank.  Step by step: the loss and a hash of each tensor
 * after it.
 *
 *   mpi-cases matrix P                    the tree: everything must be the oracle's bits
 *   mpi-cases matrix P tree THREADS       the same with no more threads than that
 *   mpi-cases matrix P mpi                the same for MPI_Allreduce: must fail, or the matrix is blind
 *   mpi-cases matrix-tolerance P          MPI_Allreduce must still be near the oracle
 *
 * It prints a hash of all that each run's oracle gave: text that another architecture must print, too.
 * Rank 0 trains the oracle once a run, collects every rank's record, and judges. */
#include "cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "compute/parallel/team.h"
#include "matrix_runs.h"

enum { MOST_THREADS = 3, MOST_STEPS = 48, MOST_EPOCHS = 4, MOST_TENSORS = 128 };

/* Everything of one training that must not depend on where it ran.  Zeroed first, so compared as bytes. */
struct record {
    int64_t n_steps, n_epochs, n_correct[MOST_EPOCHS], n_samples[MOST_EPOCHS];
    struct ls_hash epoch_hash[MOST_EPOCHS], step_hash[MOST_STEPS], last_hash;
    uint64_t tensors[MOST_STEPS][MOST_TENSORS];
    float step_loss[MOST_STEPS], epoch_loss[MOST_EPOCHS], test_loss[MOST_EPOCHS], rmse[MOST_EPOCHS];
};

/* A run, opened: what it is trained from, and what came of it. */
struct bench {
    const struct matrix_run *run;
    struct ls_train_config config;
    struct ls_data data;
    struct ls_net net;
    float *first, *parameters;
    struct record record;
    int n_told;
};

static void on_step(void *context, const struct ls_step_report *report, const float *parameters)
{
    struct bench *bench = context;
    struct record *record = &bench->record;
    const int64_t step = record->n_steps++;
    if (step >= MOST_STEPS)
        return;
    record->step_loss[step] = report->loss;
    if (report->hashed)
        record->step_hash[step] = report->hash;
    for (int i = 0; i < bench->net.n_tensors && i < MOST_TENSORS; i++)
        record->tensors[step][i] = ls_parameter_hash(&bench->net.tensors[i], parameters).low;
}

static enum ls_code on_epoch(void *context, const struct ls_epoch_report *report, const float *parameters,
                             struct ls_error *err)
{
    (void)parameters;
    struct record *record = &((struct bench *)context)->record;
    const int64_t epoch = record->n_epochs++;
    if (epoch >= MOST_EPOCHS || record->n_steps > MOST_STEPS)
        return ls_fail(err, LS_FAILED, "a record has no room for %lld epochs or %lld steps",
                       (long long)epoch + 1, (long long)record->n_steps);
    record->epoch_loss[epoch] = report->loss;
    record->epoch_hash[epoch] = report->hash;
    if (report->evaluated) {
        record->test_loss[epoch] = report->test.loss;
        record->n_correct[epoch] = report->test.n_correct;
        record->rmse[epoch] = report->test.rmse;
        record->n_samples[epoch] = report->test.n_samples;
    }
    return LS_OK;
}

/* What a dataset computes or converts, once and for all; the dataset owns it. */
static enum ls_code hold_as_numbers(struct ls_dataset *data, struct ls_error *err)
{
    const ptrdiff_t K = data->n_features;
    float *numbers = ls_alloc((size_t)data->n_samples, (size_t)K * sizeof *numbers, "numbers", err);
    for (int64_t i = 0; numbers && i < data->n_samples; i++)
        ls_dataset_gather_raw(data, i, numbers + i * K);
    data->numbers = data->owned[2] = numbers;
    return numbers ? LS_OK : LS_FAILED;
}

static enum ls_code bench_open(struct bench *bench, const struct matrix_run *run, struct ls_error *err)
{
    *bench = (struct bench){.run = run, .config = run->config};
    struct ls_init init;
    enum ls_code code = ls_data_open(&bench->data, run->data, run->test_data, err);
    const struct ls_dataset *train = &bench->data.train;
    if (code == LS_OK && run->normalise) {
        code = ls_normalise_measure(&bench->data.train.normalise, train, err);
        bench->data.test.normalise = train->normalise;
    }
    if (code == LS_OK && run->as_numbers)
        code = hold_as_numbers(&bench->data.train, err);
    if (code == LS_OK)
        code = ls_net_create(&bench->net, run->net, ls_shape_of(train->n_dims, train->dims), err);
    if (code == LS_OK)
        code = ls_check_fit(&bench->net, run->config.loss.kind, train, err);
    if (code == LS_OK)
        code = ls_init_parse(&init, run->init ? run->init : "he-uniform", err);
    if (code != LS_OK)
        return code;
    if (bench->net.n_tensors > MOST_TENSORS)
        return ls_fail(err, LS_FAILED, "a record has no room for %d tensors", bench->net.n_tensors);
    struct ls_train_config *config = &bench->config;
    config->batch = config->batch ? config->batch : train->n_samples;
    config->steps = config->steps ? config->steps : -1;
    config->seed = (uint64_t)(run - matrix_runs) + 1;
    config->augment.seed = config->seed;
    config->shuffle = strstr(run->name, "file order") == NULL;
    config->eval_every = 1;
    bench->first = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", err);
    bench->parameters = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", err);
    if (!bench->first || !bench->parameters)
        return LS_FAILED;
    ls_net_initialise(&bench->net, &init, config->seed, bench->first);
    return LS_OK;
}

static void bench_release(struct bench *bench)
{
    ls_free(bench->first);
    ls_free(bench->parameters);
    ls_net_release(&bench->net);
    ls_data_release(&bench->data);
}

/* Trains from the first parameters into bench->record and bench->parameters. */
static enum ls_code bench_train(struct bench *bench, const struct ls_ops *ops, struct ls_comm *comm,
                                enum ls_allreduce allreduce, struct ls_error *err)
{
    const struct ls_observer observer = {.context = bench, .on_step = on_step, .on_epoch = on_epoch};
    struct ls_train_result result;
    bench->record = (struct record){0};
    bench->config.allreduce = allreduce;
    memcpy(bench->parameters, bench->first, (size_t)bench->net.n_floats * sizeof *bench->first);
    enum ls_code code = ls_train(&bench->config, &bench->net, ops, comm, &bench->data, bench->parameters,
                                 &observer, &result, err);
    if (code == LS_OK)
        code = ls_net_hash(&bench->net, bench->parameters, &bench->record.last_hash, err);
    return code;
}

static enum ls_code train_oracle(struct bench *bench, struct ls_error *err)
{
    struct ls_comm *solo = NULL;
    enum ls_code code = ls_comm_create_solo(&solo, err);
    if (code == LS_OK)
        code = bench_train(bench, &ls_ops_serial, solo, LS_ALLREDUCE_TREE, err);
    ls_comm_destroy(&solo);
    return code;
}

/* The first thing in which two records differ, in the order in which it came about. */
static void describe_difference(const struct bench *bench, const struct record *found,
                                const struct record *expected, char *text, size_t size)
{
    if (found->n_steps != expected->n_steps || found->n_epochs != expected->n_epochs) {
        snprintf(text, size, "%lld steps in %lld epochs, not %lld in %lld", (long long)found->n_steps,
                 (long long)found->n_epochs, (long long)expected->n_steps, (long long)expected->n_epochs);
        return;
    }
    for (int64_t i = 0; i < expected->n_steps && i < MOST_STEPS; i++) {
        if (memcmp(&found->step_loss[i], &expected->step_loss[i], sizeof(float)) != 0) {
            snprintf(text, size, "the loss of step %lld is %a, not %a", (long long)i + 1,
                     (double)found->step_loss[i], (double)expected->step_loss[i]);
            return;
        }
        for (int t = 0; t < bench->net.n_tensors; t++)
            if (found->tensors[i][t] != expected->tensors[i][t]) {
                snprintf(text, size, "'%s' differs after step %lld", bench->net.tensors[t].name,
                         (long long)i + 1);
                return;
            }
    }
    for (int64_t i = 0; i < expected->n_epochs && i < MOST_EPOCHS; i++)
        if (memcmp(&found->epoch_loss[i], &expected->epoch_loss[i], sizeof(float)) != 0 ||
            memcmp(&found->test_loss[i], &expected->test_loss[i], sizeof(float)) != 0 ||
            memcmp(&found->rmse[i], &expected->rmse[i], sizeof(float)) != 0 ||
            found->n_correct[i] != expected->n_correct[i]) {
            snprintf(
                text, size, "epoch %lld: loss %a, test loss %a, %lld correct, RMSE %a; not %a, %a, %lld, %a",
                (long long)i + 1, (double)found->epoch_loss[i], (double)found->test_loss[i],
                (long long)found->n_correct[i], (double)found->rmse[i], (double)expected->epoch_loss[i],
                (double)expected->test_loss[i], (long long)expected->n_correct[i], (double)expected->rmse[i]);
            return;
        }
    snprintf(text, size, "a reported hash or count of samples differs");
}

/* Judges one training on all ranks; on rank 0 returns how many ranks differ from the oracle.  The first few
 * of each run are told. */
static int judge(struct ls_comm *comm, struct bench *bench, const struct record *oracle, const char *isa,
                 int threads, struct record *all)
{
    struct ls_error err = {.code = LS_OK};
    if (ls_comm_gather(comm, &bench->record, sizeof bench->record, all, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    int n_wrong = 0;
    for (int rank = 0; ls_comm_rank(comm) == 0 && rank < ls_comm_size(comm); rank++) {
        char text[300];
        if (memcmp(&all[rank], oracle, sizeof *oracle) == 0)
            continue;
        n_wrong++;
        describe_difference(bench, &all[rank], oracle, text, sizeof text);
        if (bench->n_told++ < 3)
            complain(comm, "\"%s\" with %d threads of %s: on rank %d %s", bench->run->name, threads, isa,
                     rank, text);
    }
    return n_wrong;
}

/* All threads and ISAs of one run; on rank 0 returns how many trainings were not the oracle's. */
static int check_run(struct ls_comm *comm, struct bench *bench, enum ls_allreduce allreduce, int most_threads,
                     struct record *all, int *n_trainings)
{
    struct ls_error err = {.code = LS_OK};
    if (ls_comm_rank(comm) == 0 && train_oracle(bench, &err) != LS_OK)
        return complain(comm, "\"%s\": the oracle: %s", bench->run->name, err.text);
    const struct record oracle = bench->record;
    char hash[LS_HASH_TEXT];
    ls_hash_text(ls_hash_bytes(&oracle, sizeof oracle), hash);
    if (ls_comm_rank(comm) == 0)
        printf("%s  %s\n", hash, bench->run->name);
    int n_wrong = 0;
    for (const char *const *isa = ls_ops_isas(); *isa; isa++)
        for (int threads = 1; threads <= most_threads; threads++) {
            ls_ops_set_threads(threads);
            ls_lanes_rule = (threads + (bench->run - matrix_runs)) % 2 ? LS_LANES_ALWAYS : LS_LANES_NEVER;
            bench->config.bucket_bytes = threads % 2 ? 256 : 0; /* where sums travel between hosts */
            bench->config.shard_optimizer =
                threads >= 2 && ls_optimizer_takes_slices(&bench->config.optimizer);
            if (bench_train(bench, ls_ops_parallel(*isa), comm, allreduce, &err) != LS_OK)
                return complain(comm, "\"%s\" with %d threads of %s: %s", bench->run->name, threads, *isa,
                                err.text);
            n_wrong += judge(comm, bench, &oracle, *isa, threads, all) > 0;
            ++*n_trainings;
        }
    return n_wrong;
}

/* Small products run on one thread whatever is asked for: the matrix must hold one that does not, for any
 * rank. */
static int threads_matter(const struct ls_comm *comm)
{
    for (int i = 0; i < n_matrix_runs; i++) {
        int K = 0, N = 0;
        if (strcmp(matrix_runs[i].data, "digits") == 0 && sscanf(matrix_runs[i].net, "dense %d", &N) == 1)
            K = 64;
        const int64_t leaves = ls_count_leaves(matrix_runs[i].config.batch, matrix_runs[i].config.microbatch);
        const struct ls_range mine = ls_leaves_of_rank(leaves, ls_comm_size(comm), 0);
        if ((double)((mine.end - mine.begin) * matrix_runs[i].config.microbatch * K * N) / 25.0 >
            ls_worth_a_team_ns)
            return 1;
    }
    return 0;
}

static int run_matrix(struct ls_comm *comm, int n_args, char **args)
{
    const enum ls_allreduce allreduce =
        n_args > 0 && strcmp(args[0], "mpi") == 0 ? LS_ALLREDUCE_MPI : LS_ALLREDUCE_TREE;
    const int most_threads = n_args > 1 ? atoi(args[1]) : MOST_THREADS;
    if (!threads_matter(comm))
        return complain(comm, "no run is large enough to use several threads");
    struct ls_error err = {.code = LS_OK};
    struct record *all = ls_alloc((size_t)ls_comm_size(comm), sizeof *all, "records", &err);
    int n_wrong = 0, n_trainings = 0;
    for (int i = 0; all && i < n_matrix_runs; i++) {
        struct bench bench;
        if ((matrix_runs[i].only_ranks && matrix_runs[i].only_ranks != ls_comm_size(comm)) ||
            (matrix_runs[i].only_bits && allreduce != LS_ALLREDUCE_TREE))
            continue;
        if (bench_open(&bench, &matrix_runs[i], &err) != LS_OK)
            n_wrong += complain(comm, "\"%s\": %s", matrix_runs[i].name, err.text);
        else
            n_wrong += check_run(comm, &bench, allreduce, most_threads, all, &n_trainings);
        bench_release(&bench);
    }
    ls_free(all);
    if (n_wrong) {
        err.code = LS_FAILED;
        complain(comm, "%d of %d trainings differ from the oracle", n_wrong, n_trainings);
    }
    if (ls_comm_agree(comm, &err) != LS_OK)
        return LS_ALL_FAILED;
    if (ls_comm_rank(comm) == 0)
        printf("all as the oracle, %d trainings\n", n_trainings);
    return 0;
}

/* The largest |a - b| of a tensor against the largest |b|. */
static double distance(const struct ls_parameter *tensor, const float *a, const float *b)
{
    double most = 0, size = 0;
    for (ptrdiff_t i = tensor->offset; i < tensor->offset + tensor->count; i++) {
        const double off = isfinite(a[i]) ? fabs((double)a[i] - (double)b[i]) : (double)INFINITY;
        most = off > most ? off : most;
        size = fabs((double)b[i]) > size ? fabs((double)b[i]) : size;
    }
    return most / size;
}

static int check_near(struct ls_comm *comm, struct bench *bench)
{
    const double tolerance = 1e-4;
    struct ls_error err = {.code = LS_OK};
    if (train_oracle(bench, &err) != LS_OK)
        return complain(comm, "\"%s\": the oracle: %s", bench->run->name, err.text);
    float *oracle = ls_alloc((size_t)bench->net.n_floats, sizeof(float), "parameters", &err);
    if (!oracle)
        return complain(comm, "%s", err.text);
    memcpy(oracle, bench->parameters, (size_t)bench->net.n_floats * sizeof *oracle);
    const struct record expected = bench->record;
    int failed = 0;
    if (bench_train(bench, ls_ops_parallel(NULL), comm, LS_ALLREDUCE_MPI, &err) != LS_OK)
        failed = complain(comm, "\"%s\": %s", bench->run->name, err.text);
    for (int i = 0; !failed && i < bench->net.n_tensors; i++) {
        const double far = distance(&bench->net.tensors[i], bench->parameters, oracle);
        if (!(far <= tolerance))
            failed = complain(comm, "\"%s\": '%s' is %g from the oracle, relative to its largest",
                              bench->run->name, bench->net.tensors[i].name, far);
    }
    for (int64_t i = 0; !failed && i < expected.n_steps; i++) {
        const double loss = (double)bench->record.step_loss[i], right = (double)expected.step_loss[i];
        if (!(fabs(loss - right) <= tolerance * fabs(right)))
            failed = complain(comm, "\"%s\": the loss of step %lld is %g, not nearly %g", bench->run->name,
                              (long long)i + 1, loss, right);
    }
    ls_free(oracle);
    return failed;
}

static int run_tolerance(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    struct ls_error err = {.code = LS_OK};
    int failed = 0;
    ls_ops_set_threads(2);
    for (int i = 0; !failed && i < n_matrix_runs; i++) {
        struct bench bench;
        if (matrix_runs[i].only_bits)
            continue;
        failed = bench_open(&bench, &matrix_runs[i], &err) != LS_OK
                     ? complain(comm, "\"%s\": %s", matrix_runs[i].name, err.text)
                     : check_near(comm, &bench);
        bench_release(&bench);
    }
    return failed;
}

const struct mpi_case matrix_cases[] = {{"matrix", run_matrix}, {"matrix-tolerance", run_tolerance}, {0}};
