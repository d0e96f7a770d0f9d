/* Owns the draw, the second computation and the verdict.  See cross_check.h. */
#include "train/cross_check.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "train/replica.h"

enum ls_code ls_cross_check_create(struct ls_cross_check *check, int64_t every, int64_t batch,
                                   struct ls_engine *engine, struct ls_error *err)
{
    *check = (struct ls_cross_check){
        .every = every, .batch = batch, .seed = engine->seed, .engine = engine, .probe.leaf = -1};
    if (every == 0)
        return LS_OK;
    const ptrdiff_t n_floats = engine->net->n_floats + LS_SLOT_EXTRA;
    check->again = ls_alloc((size_t)n_floats, sizeof(float), "a leaf's gradient to check", err);
    if (!check->again ||
        ls_probe_create(&check->probe, engine->net, engine->gradients.n_slots, n_floats, err) != LS_OK)
        return LS_FAILED;
    engine->probe = &check->probe;
    return LS_OK;
}

void ls_cross_check_release(struct ls_cross_check *check)
{
    ls_free(check->again);
    ls_probe_release(&check->probe);
}

int ls_cross_check_is_due(const struct ls_cross_check *check)
{
    return check->probe.leaf >= 0;
}

static int owner_of(int64_t leaf, int64_t n_leaves, int size)
{
    int rank = 0;
    while (ls_leaves_of_rank(n_leaves, size, rank).end <= leaf)
        rank++;
    return rank;
}

static uint64_t join(uint32_t high, uint32_t low)
{
    return (uint64_t)high << 32 | low;
}

void ls_cross_check_begin(struct ls_cross_check *check, int64_t step, int64_t B)
{
    check->probe.leaf = -1;
    if (check->every == 0 || step % check->every != 0)
        return;
    const struct ls_engine *engine = check->engine;
    const int size = ls_comm_size(engine->comm);
    const int64_t m = engine->microbatch, whole = ls_count_leaves(check->batch, m);
    const int64_t n_batches = (B - 1) / check->batch + 1;
    const int64_t rest = ls_count_leaves(B - (n_batches - 1) * check->batch, m);
    const struct ls_bits128 bits = ls_random(check->seed, LS_PURPOSE_CROSS_CHECK, (uint64_t)step, 0);
    const int64_t drawn =
        (int64_t)(join(bits.word[0], bits.word[1]) % (uint64_t)((n_batches - 1) * whole + rest));
    const int64_t batch = drawn / whole < n_batches ? drawn / whole : n_batches - 1;
    check->first_row = batch * check->batch;
    check->n_rows = B - check->first_row < check->batch ? B - check->first_row : check->batch;
    check->probe.row_offset = check->first_row;
    check->probe.leaf = drawn - batch * whole;
    check->probe.has_leaf = 0;
    check->probe.n_sync = 0;
    check->owner = owner_of(check->probe.leaf, ls_count_leaves(check->n_rows, m), size);
    check->checker = check->owner;
    if (size > 1)
        check->checker = (check->owner + 1 + (int)(bits.word[2] % (uint32_t)(size - 1))) % size;
}

/* The leaf's sums on this rank, into check->again. */
static void compute_again(struct ls_cross_check *check, float *parameters, const struct ls_dataset *data,
                          const struct ls_sampler *sampler, int64_t first)
{
    struct ls_engine *engine = check->engine;
    const int64_t m = engine->microbatch, begin = check->probe.leaf * m;
    const int64_t rows = check->n_rows - begin < m ? check->n_rows - begin : m;
    const struct ls_gradient_part part = {.begin = 0, .end = (ptrdiff_t)rows, .flat = check->again};
    const struct ls_pass pass = {.seed = engine->seed,
                                 .step = engine->step,
                                 .first_row = check->first_row + begin,
                                 .global_batch = check->n_rows,
                                 .m = (ptrdiff_t)m,
                                 .n_parts = 1,
                                 .parts = &part,
                                 .sums = engine->sync.slots,
                                 .finish_sums = ls_probe_replay_sums,
                                 .context = &check->probe};
    check->probe.replayed = 0;
    ls_engine_run_rows(engine, parameters, data, sampler, first + check->first_row + begin, &pass,
                       (ptrdiff_t)rows);
}

static struct ls_hash hash_of(const struct ls_cross_check *check, const float *sums)
{
    return ls_hash_bytes(sums, (size_t)check->probe.n_floats * sizeof *sums);
}

/* What two ranks found, known to all. */
struct findings {
    struct ls_hash owner, checker;
};

static struct findings exchange(const struct ls_cross_check *check)
{
    struct ls_comm *comm = check->engine->comm;
    const int rank = ls_comm_rank(comm);
    const struct ls_hash owned =
        rank == check->owner ? hash_of(check, check->probe.leaf_sums) : (struct ls_hash){0, 0};
    const struct ls_hash again =
        rank == check->checker ? hash_of(check, check->again) : (struct ls_hash){0, 0};
    uint64_t most[4] = {owned.high, owned.low, again.high, again.low};
    ls_comm_take_largest(comm, most, 4);
    return (struct findings){{most[0], most[1]}, {most[2], most[3]}};
}

static struct ls_difference find_difference(const struct ls_cross_check *check)
{
    struct ls_comm *comm = check->engine->comm;
    const ptrdiff_t n = check->probe.n_floats;
    struct ls_difference difference = {0};
    if (check->owner == check->checker)
        ls_difference_add(&difference, 0, n, check->again, check->probe.leaf_sums);
    else
        difference =
            ls_difference_from(comm, check->owner, n,
                               ls_comm_rank(comm) == check->owner ? check->probe.leaf_sums : check->again);
    ls_comm_broadcast(comm, &difference, sizeof difference, check->checker);
    return difference;
}

/* The lowest rank that was neither; of two the owner once more. */
static int arbiter_of(const struct ls_cross_check *check)
{
    for (int rank = 0; rank < ls_comm_size(check->engine->comm); rank++)
        if (rank != check->owner && rank != check->checker)
            return rank;
    return check->owner;
}

static void judge(const struct ls_cross_check *check, const struct findings *found, struct ls_hash third,
                  int arbiter, char *text, size_t size)
{
    const struct ls_comm *comm = check->engine->comm;
    const int for_owner = ls_hash_equal(third, found->owner);
    const int wrong = for_owner ? check->checker : check->owner;
    if (!for_owner && !ls_hash_equal(third, found->checker))
        snprintf(text, size, "a third computation, by rank %d on %s, agrees with neither", arbiter,
                 ls_comm_host_of(comm, arbiter));
    else
        snprintf(text, size,
                 "a third computation, by rank %d on %s, agrees with the %s: rank %d on %s was wrong",
                 arbiter, ls_comm_host_of(comm, arbiter), for_owner ? "first" : "second", wrong,
                 ls_comm_host_of(comm, wrong));
}

static enum ls_code say(const struct ls_cross_check *check, const struct ls_difference *difference,
                        const char *verdict, struct ls_error *err)
{
    const struct ls_comm *comm = check->engine->comm;
    char element[LS_ELEMENT_TEXT], first[LS_VALUE_TEXT], second[LS_VALUE_TEXT];
    return ls_fail(
        err, LS_REPLICA,
        "cross-check of step %llu: leaf %lld of the batch at its sample %lld has two gradients: %s is %s by "
        "rank "
        "%d on %s, whose leaf it is, and %s by rank %d on %s, which computed it again; %lld of %td numbers "
        "differ; %s. Compute without that core or host, from the last checkpoint",
        (unsigned long long)check->engine->step + 1, (long long)check->probe.leaf,
        (long long)check->first_row, ls_describe_element(check->engine->net, difference->first, element),
        ls_describe_value(difference->other, first), check->owner, ls_comm_host_of(comm, check->owner),
        ls_describe_value(difference->mine, second), check->checker, ls_comm_host_of(comm, check->checker),
        (long long)difference->n_different, check->probe.n_floats, verdict);
}

enum ls_code ls_cross_check_end(struct ls_cross_check *check, float *parameters,
                                const struct ls_dataset *data, const struct ls_sampler *sampler,
                                int64_t first, struct ls_error *err)
{
    if (!ls_cross_check_is_due(check))
        return LS_OK;
    struct ls_comm *comm = check->engine->comm;
    if (ls_comm_rank(comm) == check->checker)
        compute_again(check, parameters, data, sampler, first);
    err->code = ls_comm_rank(comm) == check->checker ? ls_dataset_failed(data, err) : LS_OK;
    if (ls_comm_agree(comm, err) != LS_OK)
        return err->code;
    const struct findings found = exchange(check);
    if (ls_hash_equal(found.owner, found.checker))
        return LS_OK;
    const struct ls_difference difference = find_difference(check);
    if (difference.n_different == 0) /* NaNs of different bits: the run is about to end anyway */
        return LS_OK;
    const int arbiter = arbiter_of(check);
    struct ls_hash third = {0, 0};
    if (ls_comm_rank(comm) == arbiter) {
        compute_again(check, parameters, data, sampler, first);
        third = hash_of(check, check->again);
    }
    ls_comm_broadcast(comm, &third, sizeof third, arbiter);
    char verdict[300];
    judge(check, &found, third, arbiter, verdict, sizeof verdict);
    return say(check, &difference, verdict, err);
}
