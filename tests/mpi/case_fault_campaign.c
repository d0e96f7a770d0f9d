/* How many flipped bits are noticed, and by what.
 *
 *   build/faults/mpi-cases fault-campaign RANKS [TRIALS]
 *
 * Each trial trains a small net for six updates and flips one bit of one number, drawn by key: step, rank,
 * element and bit.  A trial whose last weights are those of the undisturbed run was harmless; the others were
 * found, when training stopped with LS_REPLICA, or went non-finite, or were missed.  The same flip is tried
 * with the replicas' hashes compared after each step, and besides that with --cross-check 1 and with
 * --cross-check 3.  (Without hashes each step, a flip that makes one replica non-finite ends the job, and
 * this with it.) */
#include "cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/memory.h"
#include "base/philox.h"
#include "comm/comm_backend.h"
#include "train/trainer.h"

#if LS_WITH_FAULTS

enum { STEPS = 6, BATCH = 128, LEAF = 16, MODES = 3, HASHES = 0, EACH = 1, THIRD = 2 };

struct campaign {
    struct ls_comm *comm;
    const struct ls_ops *ops;
    struct ls_data data;
    struct ls_net net;
    float *start, *weights;
    struct ls_hash clean;
    int64_t counts[LS_FAULT_KINDS]; /* numbers that pass on this rank in a step */
};

/* What one kind of fault led to. */
struct tally {
    const char *name;
    enum ls_fault_kind kind;
    int every;
    int64_t n_harmless, n_harmful, n_found[MODES], n_not_finite[MODES];
    int64_t n_steps; /* from the fault to what found it, in mode EACH */
};

static enum ls_code train(struct campaign *c, int mode, struct ls_hash *hash, int64_t *steps,
                          struct ls_error *err)
{
    static const int64_t cross_check[MODES] = {0, 1, 3};
    const struct ls_train_config config = {.batch = BATCH,
                                           .microbatch = LEAF,
                                           .epochs = 1,
                                           .steps = -1,
                                           .optimizer = {.learning_rate = 0.1f, .momentum = 0.9f},
                                           .seed = 5,
                                           .shuffle = 1,
                                           .hash_every = 1,
                                           .cross_check = cross_check[mode]};
    struct ls_train_result result;
    memcpy(c->weights, c->start, (size_t)c->net.n_floats * sizeof *c->weights);
    *err = (struct ls_error){.code = LS_OK};
    const enum ls_code code =
        ls_train(&config, &c->net, c->ops, c->comm, &c->data, c->weights, NULL, &result, err);
    *steps = result.steps;
    if (ls_net_hash(&c->net, c->weights, hash, err) != LS_OK)
        return LS_FAILED;
    return code;
}

static int set_up(struct campaign *c, struct ls_error *err)
{
    int64_t steps;
    const struct ls_init init = {.kind = LS_INIT_HE};
    c->ops = ls_ops_parallel(NULL);
    ls_ops_set_threads(1);
    if (ls_data_open(&c->data, "synthetic:n=768,shape=8x8,classes=10,test=0", NULL, err) != LS_OK ||
        ls_net_create(&c->net, "dense 16, relu, dense 10", ls_shape_of(2, c->data.train.dims), err) != LS_OK)
        return 0;
    c->start = ls_alloc((size_t)c->net.n_floats, sizeof(float), "weights", err);
    c->weights = ls_alloc((size_t)c->net.n_floats, sizeof(float), "weights", err);
    if (!c->start || !c->weights)
        return 0;
    ls_net_initialise(&c->net, &init, 5, c->start);
    struct ls_reduce_tuning whole_vectors = ls_reduce_default_tuning(1);
    whole_vectors.small_n = 1 << 16; /* so that draw knows what lies where in a message */
    whole_vectors.radix = 2;
    if (ls_comm_tune(c->comm, &whole_vectors, 1 << 30, err) != LS_OK)
        return 0;
    ls_fault_plan(NULL);
    if (train(c, HASHES, &c->clean, &steps, err) != LS_OK || steps != STEPS)
        return 0;
    for (int kind = 0; kind < LS_FAULT_KINDS; kind++)
        c->counts[kind] = (int64_t)ls_fault_seen((enum ls_fault_kind)kind);
    return 1;
}

/* The same on all ranks; the element lies among what passes on the rank that is struck. */
static struct ls_fault draw(struct campaign *c, const struct tally *tally, int64_t trial)
{
    const struct ls_bits128 bits = ls_random(
        20, LS_PURPOSE_SYNTHETIC, (uint64_t)tally->kind * 2 + (uint64_t)tally->every, (uint64_t)trial);
    struct ls_fault fault = {.kind = tally->kind,
                             .step = 1 + bits.word[0] % STEPS,
                             .rank = (int)(bits.word[1] % (uint32_t)ls_comm_size(c->comm)),
                             .bit = (int)(bits.word[2] % 32),
                             .every = tally->every};
    uint64_t count = fault.rank == ls_comm_rank(c->comm) ? (uint64_t)c->counts[tally->kind] : 0;
    ls_comm_take_largest(c->comm, &count, 1);
    fault.element = bits.word[3] % (count > 0 ? count : 1);
    /* The last number of a message is what ranks ask of one another: damaged, it ends the job at once. */
    const uint64_t whole = (uint64_t)c->net.n_floats + 2;
    if (tally->kind == LS_FAULT_MESSAGE && fault.element % whole == whole - 1)
        fault.element--;
    return fault;
}

static int run_trial(struct campaign *c, struct tally *tally, int64_t trial)
{
    const struct ls_fault fault = draw(c, tally, trial);
    int harmful = 1;
    for (int mode = 0; mode < MODES; mode++) {
        struct ls_error err;
        struct ls_hash hash;
        int64_t steps;
        ls_fault_plan(&fault);
        const enum ls_code code = train(c, mode, &hash, &steps, &err);
        int64_t flips = ls_fault_struck();
        ls_comm_sum_counts(c->comm, &flips, 1, NULL);
        if (flips == 0 || (code != LS_OK && code != LS_REPLICA && code != LS_NONFINITE))
            return complain(c->comm, "%s, trial %lld: %lld flips, code %d %s", tally->name, (long long)trial,
                            (long long)flips, (int)code, err.text);
        if (mode == HASHES) {
            harmful = code != LS_OK || !ls_hash_equal(hash, c->clean);
            *(harmful ? &tally->n_harmful : &tally->n_harmless) += 1;
        }
        if (!harmful)
            break;
        tally->n_found[mode] += code == LS_REPLICA;
        tally->n_not_finite[mode] += code == LS_NONFINITE;
        if (mode == EACH && code == LS_REPLICA)
            tally->n_steps += steps - fault.step + 1;
    }
    return 0;
}

static void report(const struct tally *t)
{
    const double all = t->n_harmful > 0 ? (double)t->n_harmful / 100.0 : 1.0;
    printf("%-26s %6lld %9lld |", t->name, (long long)(t->n_harmful + t->n_harmless),
           (long long)t->n_harmless);
    for (int mode = 0; mode < MODES; mode++)
        printf(" %6.1f %% %5.1f %% |", (double)t->n_found[mode] / all, (double)t->n_not_finite[mode] / all);
    printf(" %.2f\n", t->n_found[EACH] ? (double)t->n_steps / (double)t->n_found[EACH] : 0.0);
    fflush(stdout);
}

static int run_campaign(struct ls_comm *comm, int n_args, char **args)
{
    struct tally tallies[] = {{.name = "weight, once", .kind = LS_FAULT_WEIGHT},
                              {.name = "message, once", .kind = LS_FAULT_MESSAGE},
                              {.name = "gradient, once", .kind = LS_FAULT_GRADIENT},
                              {.name = "activation, once", .kind = LS_FAULT_ACTIVATION},
                              {.name = "gradient, faulty core", .kind = LS_FAULT_GRADIENT, .every = 1},
                              {.name = "activation, faulty core", .kind = LS_FAULT_ACTIVATION, .every = 1}};
    const int64_t trials = n_args > 0 ? atoll(args[0]) : 1000;
    struct campaign c = {.comm = comm};
    struct ls_error err = {.code = LS_OK};
    int failed = set_up(&c, &err) ? 0 : complain(comm, "%s", err.text);
    if (!failed && ls_comm_rank(comm) == 0)
        printf("%d ranks, %d leaves an update, %d updates; of the harmful flips: found, ended as non-finite\n"
               "%-26s %6s %9s | %-16s | %-16s | %-16s | steps to find\n",
               ls_comm_size(comm), BATCH / LEAF, STEPS, "", "flips", "harmless", "hashes alone",
               "--cross-check 1", "--cross-check 3");
    for (size_t i = 0; !failed && i < sizeof tallies / sizeof *tallies; i++) {
        for (int64_t trial = 0; !failed && trial < trials; trial++)
            failed = run_trial(&c, &tallies[i], trial);
        if (!failed && ls_comm_rank(comm) == 0)
            report(&tallies[i]);
        const int certain = tallies[i].kind == LS_FAULT_WEIGHT || tallies[i].kind == LS_FAULT_MESSAGE;
        const int64_t noticed = tallies[i].n_found[EACH] + tallies[i].n_not_finite[EACH];
        if (!failed && certain && noticed != tallies[i].n_harmful)
            failed = complain(comm, "%s: %lld of %lld were missed with --cross-check 1", tallies[i].name,
                              (long long)(tallies[i].n_harmful - noticed), (long long)tallies[i].n_harmful);
    }
    ls_fault_plan(NULL);
    ls_free(c.start);
    ls_free(c.weights);
    ls_net_release(&c.net);
    ls_data_release(&c.data);
    return failed;
}

enum { PIECES = LS_COMM_FLIGHTS, PIECE_N = 40, STRUCK = 7 };

/* Sums of all pieces side by side, in which element STRUCK of one's messages flips on rank 1: there it is,
 * and nowhere else. */
static int check_flight(struct ls_comm *comm, struct ls_vectors *vectors, int flight)
{
    const int rank = ls_comm_rank(comm), size = ls_comm_size(comm);
    const struct ls_fault fault = {
        .kind = LS_FAULT_MESSAGE, .step = 1, .rank = 1, .element = STRUCK, .flight = flight, .bit = 31};
    const float *sum = NULL;
    for (int i = 0; i < PIECES * PIECE_N; i++)
        vectors->at[0][i] = 1.0f;
    ls_fault_plan(&fault);
    ls_fault_step(1, rank);
    for (int piece = 0; piece < PIECES; piece++)
        ls_comm_start(comm, vectors, size, (struct ls_range){piece * PIECE_N, (piece + 1) * PIECE_N},
                      vectors->at, 1);
    ls_comm_finish(comm, vectors, vectors->at, 1, &sum);
    int64_t flips = ls_fault_struck();
    ls_comm_sum_counts(comm, &flips, 1, NULL);
    if (flips != 1)
        return complain(comm, "sum %d: %lld flips", flight, (long long)flips);
    for (int i = 0; rank == 1 && i < PIECES * PIECE_N; i++)
        if ((sum[i] != (float)size) != (i == (flight - 1) * PIECE_N + STRUCK))
            return complain(comm, "sum %d: element %d is %g", flight, i, (double)sum[i]);
    return 0;
}

/* On two ranks, each on a host of its own: which message comes first is chance, so each plan is tried often.
 */
static int run_fault_flights(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    struct ls_vectors vectors;
    struct ls_error err = {.code = LS_OK};
    int failed = 0;
    err.code = ls_comm_flights_create(comm, PIECE_N, &err);
    if (ls_comm_vectors_create(comm, 1, PIECES * PIECE_N, &vectors, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    for (int round = 0; !failed && round < 20; round++)
        for (int flight = 1; !failed && flight <= PIECES; flight++)
            failed = check_flight(comm, &vectors, flight);
    ls_fault_plan(NULL);
    ls_comm_vectors_destroy(comm, &vectors);
    return failed;
}

const struct mpi_case fault_campaign_cases[] = {
    {"fault-campaign", run_campaign}, {"fault-flights", run_fault_flights}, {0}};

#else

const struct mpi_case fault_campaign_cases[] = {{0}};

#endif
