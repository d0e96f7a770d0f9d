/* Owns the copies that a checked step keeps, and the second reduction.  See probe.h. */
#include "train/probe.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "train/replica.h"

/* A layer across samples sums twice forward and once backward, at most sync_floats in all each way. */
static ptrdiff_t most_sync(const struct ls_net *net)
{
    ptrdiff_t n_layers = 0;
    for (int i = 0; i < net->n_layers; i++)
        n_layers += net->layers[i].kind->across_samples;
    return 2 * n_layers * net->sync_floats;
}

enum ls_code ls_probe_create(struct ls_probe *probe, const struct ls_net *net, int most_roots,
                             ptrdiff_t slot_floats, struct ls_error *err)
{
    *probe = (struct ls_probe){.leaf = -1, .n_floats = net->n_floats + 1, .most_sync = most_sync(net)};
    probe->leaf_sums = ls_alloc((size_t)slot_floats, sizeof(float), "a leaf's gradient to check", err);
    probe->sync = ls_alloc((size_t)probe->most_sync, sizeof(float), "sums across samples to check", err);
    if (!probe->leaf_sums || !probe->sync)
        return LS_FAILED;
    return ls_roots_create(&probe->copies, most_roots, slot_floats, err);
}

void ls_probe_release(struct ls_probe *probe)
{
    ls_free(probe->leaf_sums);
    ls_free(probe->sync);
    ls_roots_release(&probe->copies);
}

void ls_probe_keep_leaf(struct ls_probe *probe, const struct ls_roots *roots, int old, int added)
{
    for (int i = old; i < old + added; i++) {
        const struct ls_range leaves = ls_node_leaves(roots->nodes[i], roots->n_leaves);
        if (leaves.begin != probe->leaf)
            continue;
        assert(leaves.end == probe->leaf + 1);
        memcpy(probe->leaf_sums, roots->slots[i], (size_t)probe->n_floats * sizeof(float));
        probe->has_leaf = 1;
    }
}

void ls_probe_keep_sums(struct ls_probe *probe, const float *sums, ptrdiff_t n)
{
    assert(probe->n_sync + n <= probe->most_sync);
    memcpy(probe->sync + probe->n_sync, sums, (size_t)n * sizeof *sums);
    probe->n_sync += n;
}

const float *ls_probe_replay_sums(void *context, ptrdiff_t n)
{
    struct ls_probe *probe = context;
    assert(probe->replayed + n <= probe->n_sync);
    probe->replayed += n;
    return probe->sync + probe->replayed - n;
}

void ls_probe_keep_roots(struct ls_probe *probe, const struct ls_roots *roots, ptrdiff_t n)
{
    assert(roots->n <= probe->copies.n_slots);
    ls_roots_start(&probe->copies, roots->n_leaves);
    for (int i = 0; i < roots->n; i++)
        memcpy(probe->copies.slots[i], roots->slots[i], (size_t)n * sizeof(float));
    probe->copies.n = roots->n;
}

/* One rank's two sums are not the same, or two ranks' are not: which, and where. */
static enum ls_code explain(struct ls_comm *comm, const struct ls_net *net, uint64_t step, ptrdiff_t n,
                            const float *sum, const float *again, struct ls_error *err)
{
    struct ls_difference difference = {0};
    ls_difference_add(&difference, 0, n, sum, again);
    /* The lowest rank that has a difference, as the largest of numbers that fall with the rank. */
    uint64_t which = difference.n_different > 0 ? (uint64_t)(ls_comm_size(comm) - ls_comm_rank(comm)) : 0;
    ls_comm_take_largest(comm, &which, 1);
    char what[64], element[LS_ELEMENT_TEXT], first[LS_VALUE_TEXT], second[LS_VALUE_TEXT];
    snprintf(what, sizeof what, "gradients of step %llu", (unsigned long long)step);
    if (which == 0) /* all have the same twice, so they differ from one another, or only in NaNs */
        return ls_replica_compare(comm, net, sum, ls_hash_bytes(sum, (size_t)net->n_floats * sizeof *sum),
                                  what, err);
    const int rank = ls_comm_size(comm) - (int)which;
    ls_comm_broadcast(comm, &difference, sizeof difference, rank);
    return ls_fail(
        err, LS_REPLICA,
        "the allreduce of the %s is wrong: on rank %d, on %s, %s is %s, and reduced a second time "
        "from the same subtree sums %s; %lld of %td numbers differ. A message, memory or a core of "
        "some rank changed bits",
        what, rank, ls_comm_host_of(comm, rank), ls_describe_element(net, difference.first, element),
        ls_describe_value(difference.mine, first), ls_describe_value(difference.other, second),
        (long long)difference.n_different, n);
}

enum ls_code ls_probe_check_sum(struct ls_probe *probe, struct ls_comm *comm, const struct ls_net *net,
                                uint64_t step, ptrdiff_t n, const float *sum, struct ls_error *err)
{
    float *again = probe->copies.slots[0];
    const enum ls_code code = ls_comm_allreduce(comm, LS_ALLREDUCE_TREE_DIRECT, probe->copies.n_leaves, n,
                                                again, probe->copies.slots, probe->copies.n, err);
    if (code != LS_OK)
        return code;
    const struct ls_hash h = ls_hash_bytes(sum, (size_t)n * sizeof *sum),
                         g = ls_hash_bytes(again, (size_t)n * sizeof *again);
    /* Each rank's two and all ranks' are equal exactly when the largest is the smallest. */
    uint64_t most[8] = {h.high, h.low, ~h.high, ~h.low, g.high, g.low, ~g.high, ~g.low};
    ls_comm_take_largest(comm, most, 8);
    if (most[0] == ~most[2] && most[1] == ~most[3] && most[4] == ~most[6] && most[5] == ~most[7] &&
        most[0] == most[4] && most[1] == most[5])
        return LS_OK;
    return explain(comm, net, step, n, sum, again, err);
}
