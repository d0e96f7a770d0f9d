/* Waiting for MPI with a deadline, and finding out who is to blame when it passes.  Private to comm_mpi*.c.
 *
 * MPI has no time limit: when one rank stops answering, all others wait for ever.  Here every wait is a loop
 * of MPI_Test that looks at the clock once in some polls, so it is as quick as MPI_Wait.  A rank that
 * has waited for long calls the roll: it sends each other rank a few bytes on a communicator of their own,
 * which whoever waits in such a loop answers at once.  Who does not answer within the grace is named, and the
 * job ends; when all answer, waiting goes on.
 *
 * Only time in which this rank itself was running counts: a job that was stopped as a whole and continued
 * blames nobody. */
#ifndef LS_COMM_COMM_MPI_WAIT_H
#define LS_COMM_COMM_MPI_WAIT_H

#include <mpi.h>

#include "comm/comm_backend.h"

struct roll_call; /* a ping or its answer */

struct ls_mpi_watch {
    struct ls_comm *comm;
    MPI_Comm roll;         /* for roll calls only */
    double timeout_s;      /* 0: for ever */
    uint64_t calls;        /* roll calls made; an answer to an old one does not count */
    MPI_Request *requests; /* one for each rank */
    struct roll_call *sent;
    unsigned char *answered;
};

/* Collective over `world`.  Takes a communicator and memory; *watch may be released also after failure. */
enum ls_code ls_mpi_watch_init(struct ls_mpi_watch *watch, struct ls_comm *comm, MPI_Comm world,
                               struct ls_error *err);
void ls_mpi_watch_release(struct ls_mpi_watch *watch);

/* Waits until the request is done, and returns MPI's code.  `call` is named when it takes too long.  Ends the
 * job when a rank does not answer. */
int ls_mpi_wait(struct ls_mpi_watch *watch, MPI_Request *request, const char *call);

/* The same for a rank whose core others need: it sleeps between two looks. */
int ls_mpi_wait_asleep(struct ls_mpi_watch *watch, MPI_Request *request, const char *call);

/* The same until done(context) is not 0; `call` is what is waited for.  A sum under way, which all of these
 * may be called by, gives way between two looks, and leaves the time limit to whoever waits for it. */
void ls_mpi_wait_until(struct ls_mpi_watch *watch, int (*done)(void *context), void *context,
                       const char *call);

/* Whether all ranks come here within so many seconds.  When not, nothing collective can follow. */
int ls_mpi_meet(struct ls_mpi_watch *watch, double seconds);

#endif
