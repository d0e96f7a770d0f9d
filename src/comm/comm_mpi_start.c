/* Owns the start of MPI itself: by whom, with which threads, and whether it is the MPI that the ranks were
 * started with.  Communication on it is comm_mpi.c's. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/comm_mpi.h"

int ls_comm_mpi_is_running(void)
{
    int initialized = 0, finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    return initialized && !finalized;
}

/* "Open MPI v4.1.4" of "Open MPI v4.1.4, package: …", "MPICH Version: 4.0.2" of "MPICH Version:\t4.0.2\nMPICH
 * …". */
void ls_comm_mpi_library(char *name, size_t size)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\t')
            *c = ' ';
    snprintf(name, size, "%s", text);
}

/* Starts MPI unless the program around us has.  *owns_mpi tells who must end it. */
static enum ls_code start_mpi(int *owns_mpi, int n_expected, const char *claim, struct ls_error *err)
{
    int granted = MPI_THREAD_SINGLE, finalized = 0, size = 0;
    MPI_Finalized(&finalized);
    if (finalized)
        return ls_fail(err, LS_FAILED,
                       "MPI has already been finalized in this process, and cannot start again");
    *owns_mpi = !ls_comm_mpi_is_running();
    if (*owns_mpi)
        MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED,
                        &granted); /* a failure here ends the job with MPI's message */
    else
        MPI_Query_thread(&granted);
    char library[80];
    ls_comm_mpi_library(library, sizeof library);
    if (granted < MPI_THREAD_FUNNELED)
        return ls_fail(
            err, LS_FAILED,
            "%s allows no threads here (level %d granted, MPI_THREAD_FUNNELED is %d and is needed)", library,
            granted, MPI_THREAD_FUNNELED);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (*owns_mpi && n_expected > 0 && n_expected != size)
        return ls_fail(
            err, LS_USAGE,
            "started as one of %d ranks (%s=%s), but %s sees %d: start it with the mpirun of that MPI, or "
            "with `srun --mpi=pmix`",
            n_expected, claim, getenv(claim), library, size);
    return LS_OK;
}

enum ls_code ls_comm_create_mpi(struct ls_comm **comm, int n_expected, const char *claim,
                                struct ls_error *err)
{
    *comm = NULL;
    int owns_mpi = 0;
    const enum ls_code started = start_mpi(&owns_mpi, n_expected, claim, err);
    if (started != LS_OK) {
        if (owns_mpi)
            MPI_Finalize();
        return started;
    }
    MPI_Comm world = MPI_COMM_NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &world);
    return ls_mpi_create_on(comm, world, owns_mpi, err);
}
