/* Owns the sums that are under way while the rank computes: each is the blocking allreduce in a fiber, with
 * messages, scratch and flags of its own, so that several of them and blocking calls keep out of each other's
 * way. */
#include <assert.h>
#include <sched.h>

#include "base/fault.h"
#include "base/memory.h"
#include "comm/comm_mpi.h"
#include "comm/fiber.h"

_Static_assert((int)LS_COMM_FLIGHTS == (int)LS_SHARED_SLOTS - 1, "a slot for each");
_Static_assert((int)LS_FAULT_FLIGHTS == (int)LS_SHARED_SLOTS, "faults know each");

enum { TAGS = 4 }; /* room for a sum's channels */

static enum ls_code create_flight(struct ls_mpi_flight *flight, struct ls_mpi *mpi, int slot,
                                  ptrdiff_t most_n, struct ls_error *err)
{
    const struct ls_reduce_tuning tuning = ls_reduce_flight_tuning(&mpi->tuning, most_n);
    *flight = (struct ls_mpi_flight){.mpi = mpi, .slot = slot};
    enum ls_code code = ls_fiber_create(&flight->fiber, err);
    if (code == LS_OK)
        code = ls_mpi_reducer_create(&flight->reducer, mpi, &tuning, err);
    if (code == LS_OK)
        code = ls_mpi_lane_create(&flight->across, mpi, &tuning, &flight->reducer, err);
    /* A sum takes the one or the other, on all ranks. */
    flight->reducer.tag = flight->across.tag = TAGS * slot;
    flight->reducer.tree.flight = flight->across.tree.flight = slot;
    return code;
}

enum ls_code ls_mpi_flights_create(struct ls_comm *comm, ptrdiff_t most_n, struct ls_error *err)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    enum ls_code code = LS_OK;
    if (mpi->flights && most_n <= mpi->most_flying_n)
        return LS_OK;
    ls_mpi_flights_release(mpi);
    mpi->most_flying_n = most_n;
    mpi->flights = ls_alloc(LS_COMM_FLIGHTS, sizeof *mpi->flights, "sums under way", err);
    if (!mpi->flights)
        return LS_FAILED;
    for (int i = 0; code == LS_OK && i < LS_COMM_FLIGHTS; i++)
        code = create_flight(&mpi->flights[i], mpi, LS_SHARED_WAITED + 1 + i, most_n, err);
    if (code != LS_OK)
        ls_mpi_flights_release(mpi);
    return code;
}

void ls_mpi_flights_release(struct ls_mpi *mpi)
{
    for (int i = 0; mpi->flights && i < LS_COMM_FLIGHTS; i++) {
        ls_fiber_destroy(mpi->flights[i].fiber);
        ls_mpi_reducer_release(&mpi->flights[i].reducer);
        ls_mpi_reducer_release(&mpi->flights[i].across);
    }
    ls_free(mpi->flights);
    mpi->flights = NULL;
}

/* The body of a flight's fiber. */
static void fly(void *argument)
{
    struct ls_mpi_flight *flight = argument;
    struct ls_piece *piece = &flight->piece;
    struct ls_vectors *vectors = piece->vectors;
    const struct ls_range range = piece->range;
    if (vectors->shared) {
        struct ls_shared *shared = vectors->shared;
        shared->slots[flight->slot].across = &flight->across.tree;
        if (piece->cuts)
            ls_shared_scatter(shared, flight->slot, piece->n_leaves, piece->cuts, piece->roots,
                              piece->n_roots);
        else
            ls_shared_reduce(shared, flight->slot, piece->n_leaves, range, piece->roots, piece->n_roots);
        return;
    }
    float *sum = piece->n_roots > 0 ? piece->roots[0] : vectors->at[0];
    if (piece->cuts) {
        ls_tree_scatter(&flight->reducer.tree, piece->n_leaves, &(struct ls_slices){piece->cuts, 1, 0}, sum,
                        piece->roots, piece->n_roots);
        return;
    }
    sum += range.begin;
    for (int i = 0; i < piece->n_roots; i++)
        piece->roots[i] += range.begin;
    ls_tree_allreduce(&flight->reducer.tree, piece->n_leaves, (ptrdiff_t)(range.end - range.begin), sum,
                      piece->roots, piece->n_roots);
}

void ls_mpi_flights_progress(struct ls_mpi *mpi)
{
    if (!mpi->flights || ls_fiber_is_inside())
        return;
    for (int i = 0; i < LS_COMM_FLIGHTS; i++)
        ls_fiber_resume(mpi->flights[i].fiber);
}

int ls_mpi_flights_are_running(const struct ls_mpi *mpi)
{
    int running = 0;
    for (int i = 0; mpi->flights && i < LS_COMM_FLIGHTS; i++)
        running |= ls_fiber_is_running(mpi->flights[i].fiber);
    return running;
}

static int has_landed(void *context)
{
    const struct ls_mpi_flight *flight = context;
    const int running = ls_fiber_is_running(flight->fiber);
    if (running)
        sched_yield(); /* it may wait for a rank of this core, which no call of MPI tells */
    return !running;
}

static void await_flight(struct ls_mpi_flight *flight)
{
    ls_mpi_wait_until(&flight->mpi->watch, has_landed, flight, "the allreduce of a part of the gradients");
}

int64_t ls_mpi_start(struct ls_comm *comm, const struct ls_piece *piece)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    assert(mpi->flights && piece->range.end - piece->range.begin <= mpi->most_flying_n);
    struct ls_mpi_flight *flight = &mpi->flights[mpi->n_started % LS_COMM_FLIGHTS];
    await_flight(flight);
    flight->piece = *piece;
    ls_fiber_start(flight->fiber, fly, flight);
    return mpi->n_started++;
}

void ls_mpi_await(struct ls_comm *comm, int64_t piece)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    assert(piece < mpi->n_started);
    if (piece >= mpi->n_started - LS_COMM_FLIGHTS) /* else another has its place, and waited for it */
        await_flight(&mpi->flights[piece % LS_COMM_FLIGHTS]);
}

int ls_mpi_can_start(struct ls_comm *comm)
{
    const struct ls_mpi *mpi = ls_mpi_of(comm);
    return !ls_fiber_is_running(mpi->flights[mpi->n_started % LS_COMM_FLIGHTS].fiber);
}

void ls_mpi_progress(struct ls_comm *comm)
{
    ls_mpi_flights_progress(ls_mpi_of(comm));
}

void ls_mpi_finish(struct ls_comm *comm)
{
    struct ls_mpi *mpi = ls_mpi_of(comm);
    for (int i = 0; mpi->flights && i < LS_COMM_FLIGHTS; i++)
        await_flight(&mpi->flights[i]);
}

int ls_mpi_travels(const struct ls_comm *comm)
{
    const struct ls_mpi *mpi = (const struct ls_mpi *)comm;
    return comm->size > 1 && (!mpi->hosts.share || mpi->hosts.place.n_lanes > 0);
}
