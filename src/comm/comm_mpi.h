/* What the files comm_mpi*.c share.  Private to them. */
#ifndef LS_COMM_COMM_MPI_H
#define LS_COMM_COMM_MPI_H

#include <mpi.h>

#include "comm/comm_backend.h"
#include "comm/comm_mpi_wait.h"
#include "comm/shared.h"

struct ls_mpi;

/* The tree over messages: between all ranks, or between the same lane of all hosts. */
struct ls_mpi_reducer {
    struct ls_mpi *mpi;
    const int *first;      /* of each host: its first rank; NULL: between all ranks */
    int lane, tag;         /* added to each message's channel */
    MPI_Request *requests; /* the slots of the wire */
    struct ls_reducer tree;
};

/* Which ranks can share memory. */
struct ls_mpi_hosts {
    MPI_Comm comm; /* this host's ranks */
    struct ls_members members;
    int *first;
    struct ls_place place;
    int share;    /* some host has several ranks, and every host's follow one another */
    int has_told; /* that there was no room to share */
    struct ls_mpi_reducer across;
};

/* A sum under way. */
struct ls_mpi_flight {
    struct ls_mpi *mpi;
    int slot; /* of shared vectors, and in its messages' tags */
    struct ls_fiber *fiber;
    struct ls_mpi_reducer reducer, across; /* over all ranks; between hosts, for shared vectors */
    struct ls_piece piece;
};

struct ls_mpi {
    struct ls_comm base; /* first, so a pointer to one is a pointer to the other */
    MPI_Comm world;
    int owns_mpi;
    struct ls_reduce_tuning tuning; /* of the sums that are waited for */
    struct ls_mpi_reducer reducer;
    struct ls_mpi_hosts hosts;
    struct ls_mpi_watch watch;
    struct ls_mpi_flight *flights; /* (LS_COMM_FLIGHTS), or NULL */
    ptrdiff_t most_flying_n;       /* elements of a piece that they have room for */
    int64_t n_started;
};

static inline struct ls_mpi *ls_mpi_of(struct ls_comm *comm)
{
    return (struct ls_mpi *)comm;
}

/* Ends the job unless the call succeeded; names it. */
void ls_mpi_check(struct ls_mpi *mpi, const char *call, int code);

/* Collective over `world`, which becomes the communication's own.  Ends in agreement. */
enum ls_code ls_mpi_create_on(struct ls_comm **comm, MPI_Comm world, int owns_mpi, struct ls_error *err);

/* Local.  Between all ranks.  *reducer stays where it is; it may be released also after failure. */
enum ls_code ls_mpi_reducer_create(struct ls_mpi_reducer *reducer, struct ls_mpi *mpi,
                                   const struct ls_reduce_tuning *tuning, struct ls_error *err);
void ls_mpi_reducer_release(struct ls_mpi_reducer *reducer);

/* Collective.  Finds out who shares memory with whom.  LOCKSTEP_RANKS_PER_HOST=N takes every N consecutive
 * ranks of a host for a host of their own. */
void ls_mpi_hosts_find(struct ls_mpi *mpi);
void ls_mpi_hosts_release(struct ls_mpi *mpi);

/* Local.  The same for sums of shared vectors between hosts, on this rank's lane; nothing when it has none. A
 * sum takes this one or `beside`, whose scratch both use. */
enum ls_code ls_mpi_lane_create(struct ls_mpi_reducer *reducer, struct ls_mpi *mpi,
                                const struct ls_reduce_tuning *tuning, const struct ls_mpi_reducer *beside,
                                struct ls_error *err);

/* Local.  Resumes all sums under way once; nothing inside one. */
void ls_mpi_flights_progress(struct ls_mpi *mpi);
int ls_mpi_flights_are_running(const struct ls_mpi *mpi);
void ls_mpi_flights_release(struct ls_mpi *mpi);

/* struct ls_comm_ops's. */
enum ls_code ls_mpi_flights_create(struct ls_comm *comm, ptrdiff_t most_n, struct ls_error *err);
int64_t ls_mpi_start(struct ls_comm *comm, const struct ls_piece *piece);
void ls_mpi_await(struct ls_comm *comm, int64_t piece);
int ls_mpi_can_start(struct ls_comm *comm);
void ls_mpi_progress(struct ls_comm *comm);
void ls_mpi_finish(struct ls_comm *comm);
int ls_mpi_travels(const struct ls_comm *comm);
enum ls_code ls_mpi_vectors_create(struct ls_comm *comm, struct ls_vectors *vectors, struct ls_error *err);
void ls_mpi_vectors_destroy(struct ls_comm *comm, struct ls_vectors *vectors);

#endif
