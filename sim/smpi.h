/* What SMPI (SimGrid 3.32) does not have, for the sources of src/comm: included before each of them. */
#ifndef LS_SIM_SMPI_H
#define LS_SIM_SMPI_H

#include <mpi.h>

/* SMPI grants no threads; here each rank is one. */
static inline int sim_query_thread(int *granted)
{
    *granted = MPI_THREAD_FUNNELED;
    return MPI_SUCCESS;
}
#define MPI_Query_thread sim_query_thread

/* Nonblocking collectives are naive there, with messages that grow with the square of the ranks and time with
 * their square again; here only setting up needs any, and what is timed has none. */
static inline int sim_iallgather(const void *mine, int n, MPI_Datatype type, void *all, int n_each,
                                 MPI_Datatype type_of_all, MPI_Comm comm, MPI_Request *request)
{
    *request = MPI_REQUEST_NULL;
    return MPI_Allgather(mine, n, type, all, n_each, type_of_all, comm);
}
#define MPI_Iallgather sim_iallgather

static inline int sim_iallreduce(const void *mine, void *all, int n, MPI_Datatype type, MPI_Op op,
                                 MPI_Comm comm, MPI_Request *request)
{
    int rank = 0; /* not MPI_Allreduce: some of its algorithms take no integers */
    MPI_Comm_rank(comm, &rank);
    MPI_Reduce(mine == MPI_IN_PLACE && rank > 0 ? all : mine, all, n, type, op, 0, comm);
    *request = MPI_REQUEST_NULL;
    return MPI_Bcast(all, n, type, 0, comm);
}
#define MPI_Iallreduce sim_iallreduce

/* See wait.c. */
int sim_test(MPI_Request *request, int *done, MPI_Status *status);
void sim_idle(void);
#define MPI_Test sim_test
#define LS_IDLE sim_idle

#endif
