/* Owns the deadline and the roll call.  See comm_mpi_wait.h. */
#include "comm/comm_mpi.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/timer.h"
#include "comm/fiber.h"

/* Between two looks of who waits for sums under way; a simulation lets time pass here. */
#ifndef LS_IDLE
#    define LS_IDLE() ((void)0)
#endif

enum { TAG_PING = 1, TAG_ANSWER = 2, POLLS_A_LOOK = 64 };

struct roll_call {
    uint64_t number; /* which of the asker's roll calls */
};

/* Time in which this rank was running: a long gap between two looks is time in which it was not. */
struct patience {
    double last_s, waited_s, answered_s;
};

static double look(struct patience *patience)
{
    const double longest_gap_s = 0.5, now = ls_now_s(), gap = now - patience->last_s;
    patience->waited_s += gap < longest_gap_s ? gap : longest_gap_s;
    patience->last_s = now;
    return patience->waited_s;
}

static struct patience begin_patience(void)
{
    return (struct patience){.last_s = ls_now_s()};
}

/* Roll calls begin so long before the timeout is over. */
static double grace_s(const struct ls_mpi_watch *watch)
{
    const double most = 5.0, half = watch->timeout_s / 2;
    return half < most ? half : most;
}

enum ls_code ls_mpi_watch_init(struct ls_mpi_watch *watch, struct ls_comm *comm, MPI_Comm world,
                               struct ls_error *err)
{
    const size_t n = (size_t)comm->size;
    *watch = (struct ls_mpi_watch){.comm = comm, .roll = MPI_COMM_NULL};
    if (MPI_Comm_dup(world, &watch->roll) != MPI_SUCCESS)
        return ls_fail(err, LS_FAILED, "MPI_Comm_dup failed: no communicator for roll calls");
    watch->requests = ls_alloc(n, sizeof *watch->requests, "roll calls", err);
    watch->sent = ls_alloc(n, sizeof *watch->sent, "roll calls", err);
    watch->answered = ls_alloc(n, 1, "roll calls", err);
    return watch->requests && watch->sent && watch->answered ? LS_OK : LS_FAILED;
}

void ls_mpi_watch_release(struct ls_mpi_watch *watch)
{
    if (watch->roll != MPI_COMM_NULL)
        MPI_Comm_free(&watch->roll);
    ls_free(watch->requests);
    ls_free(watch->sent);
    ls_free(watch->answered);
}

/* Answers all pings that are there, and notes answers to roll call number `calls`.  Errors are left to the
 * call that is waited for. */
static void answer(struct ls_mpi_watch *watch)
{
    for (;;) {
        int there = 0;
        MPI_Status status;
        struct roll_call call = {0};
        if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, watch->roll, &there, &status) != MPI_SUCCESS || !there)
            return;
        MPI_Recv(&call, sizeof call, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, watch->roll,
                 MPI_STATUS_IGNORE);
        if (status.MPI_TAG == TAG_PING) /* few enough bytes to be on their way at once */
            MPI_Send(&call, sizeof call, MPI_BYTE, status.MPI_SOURCE, TAG_ANSWER, watch->roll);
        else if (call.number == watch->calls)
            watch->answered[status.MPI_SOURCE] = 1;
    }
}

static int missing(const struct ls_mpi_watch *watch)
{
    int n = 0;
    for (int rank = 0; rank < watch->comm->size; rank++)
        n += !watch->answered[rank];
    return n;
}

static void send_pings(struct ls_mpi_watch *watch)
{
    const struct ls_comm *comm = watch->comm;
    watch->calls++;
    for (int rank = 0; rank < comm->size; rank++) {
        watch->answered[rank] = rank == comm->rank;
        watch->requests[rank] = MPI_REQUEST_NULL;
        watch->sent[rank].number = watch->calls;
        if (rank != comm->rank)
            MPI_Isend(&watch->sent[rank], sizeof watch->sent[rank], MPI_BYTE, rank, TAG_PING, watch->roll,
                      &watch->requests[rank]);
    }
}

/* "rank 2 on n1, rank 3 on n1 and 4 more" */
static void list_missing(const struct ls_mpi_watch *watch, char *text, size_t size)
{
    enum { MOST_NAMED = 6 };
    size_t at = 0;
    int named = 0;
    for (int rank = 0; rank < watch->comm->size && named < MOST_NAMED; rank++)
        if (!watch->answered[rank])
            at += (size_t)snprintf(text + at, size - at, "%srank %d on %s", named++ ? ", " : "", rank,
                                   watch->comm->hosts[rank]);
    const int more = missing(watch) - named;
    if (more > 0)
        snprintf(text + at, size - at, " and %d more", more);
}

static void blame(struct ls_mpi_watch *watch, const char *call) __attribute__((noreturn));
static void blame(struct ls_mpi_watch *watch, const char *call)
{
    char names[6 * (LS_HOST_TEXT + 32)];
    list_missing(watch, names, sizeof names);
    fprintf(
        stderr,
        "lockstep: %s, of %d ranks, did not answer for %g s (--stall-timeout): stopped, its node or the "
        "network hangs, or it works on something that takes longer; rank %d on %s waits in %s and ends the "
        "job\n",
        names, watch->comm->size, watch->timeout_s, watch->comm->rank, watch->comm->hosts[watch->comm->rank],
        call);
    ls_comm_abort(watch->comm, LS_FAILED);
}

static int lowest_of_the_living(const struct ls_mpi_watch *watch)
{
    int rank = 0;
    while (!watch->answered[rank])
        rank++;
    return rank == watch->comm->rank;
}

/* Whether what is waited for came meanwhile, else all have answered.  The lowest rank that answers speaks;
 * the others give it time to. */
static int call_the_roll(struct ls_mpi_watch *watch, int (*done)(void *context), void *context,
                         const char *call)
{
    const double head_start_s = 2.0, grace = grace_s(watch);
    struct patience patience = begin_patience();
    int is_done = 0;
    send_pings(watch);
    while (!is_done && missing(watch) > 0) {
        answer(watch);
        is_done = done(context);
        ls_mpi_flights_progress(ls_mpi_of(watch->comm));
        if (look(&patience) >= grace + (lowest_of_the_living(watch) ? 0.0 : head_start_s) && missing(watch))
            blame(watch, call);
    }
    /* Pings to those who answered have arrived; the others' are let go, they may still be on their way. */
    for (int rank = 0; rank < watch->comm->size; rank++)
        if (watch->requests[rank] != MPI_REQUEST_NULL && watch->answered[rank])
            MPI_Wait(&watch->requests[rank], MPI_STATUS_IGNORE);
        else if (watch->requests[rank] != MPI_REQUEST_NULL)
            MPI_Request_free(&watch->requests[rank]);
    return is_done;
}

/* The slow part of waiting, once in a while: whether it is time to call the roll. */
static int is_late(struct ls_mpi_watch *watch, struct patience *patience)
{
    const double answer_every_s = 0.01;
    if (patience->last_s == 0.0)
        *patience = begin_patience();
    const double waited = look(patience);
    if (waited >= patience->answered_s + answer_every_s) {
        answer(watch);
        patience->answered_s = waited;
    }
    return waited >= watch->timeout_s - grace_s(watch);
}

void ls_mpi_wait_until(struct ls_mpi_watch *watch, int (*done)(void *context), void *context,
                       const char *call)
{
    struct patience patience = {0};
    if (ls_fiber_is_inside()) {
        while (!done(context))
            ls_fiber_yield();
        return;
    }
    for (unsigned polls = 1; !done(context); polls++) {
        ls_mpi_flights_progress(ls_mpi_of(watch->comm));
        LS_IDLE();
        if (watch->timeout_s <= 0.0 || polls % POLLS_A_LOOK != 0 || !is_late(watch, &patience))
            continue;
        if (call_the_roll(watch, done, context, call))
            return;
        patience = begin_patience();
    }
}

struct tested {
    MPI_Request *request;
    int code;
};

static int test(void *context)
{
    struct tested *tested = context;
    int done = 0;
    tested->code = MPI_Test(tested->request, &done, MPI_STATUS_IGNORE);
    return done || tested->code != MPI_SUCCESS;
}

int ls_mpi_wait(struct ls_mpi_watch *watch, MPI_Request *request, const char *call)
{
    struct tested tested = {request, MPI_SUCCESS};
    if (watch->timeout_s <= 0.0 && !ls_mpi_flights_are_running(ls_mpi_of(watch->comm)))
        return MPI_Wait(request, MPI_STATUS_IGNORE); /* nothing else to see to */
    ls_mpi_wait_until(watch, test, &tested, call);
    return tested.code;
}

static int test_and_sleep(void *context)
{
    const struct timespec a_while = {.tv_nsec = 1000000};
    const int done = test(context);
    if (!done)
        nanosleep(&a_while, NULL);
    return done;
}

int ls_mpi_wait_asleep(struct ls_mpi_watch *watch, MPI_Request *request, const char *call)
{
    struct tested tested = {request, MPI_SUCCESS};
    ls_mpi_wait_until(watch, test_and_sleep, &tested, call);
    return tested.code;
}

/* On the communicator of roll calls, so that it matches no call of ranks that are elsewhere. */
int ls_mpi_meet(struct ls_mpi_watch *watch, double seconds)
{
    struct patience patience = begin_patience();
    MPI_Request request;
    int done = 0;
    if (MPI_Ibarrier(watch->roll, &request) != MPI_SUCCESS)
        return 0;
    while (!done && look(&patience) < seconds) {
        answer(watch);
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return 0;
    }
    return done;
}
