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

/* Simulated time passes only in calls that take some. */
#define LS_IDLE() smpi_usleep(5)

#endif
