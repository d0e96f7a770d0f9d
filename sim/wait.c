/* Waiting without polling.
 *
 * Simulated time passes only in calls that take some, and each poll of each rank is an event of the
 * simulator: a rank that waits for sums under way would make millions of them.  Instead the requests that its
 * polls found unfinished are remembered, and when none of them was finished the rank waits for any: it sees a
 * message at the moment when it is there, as one that polls without pause does. */
#include <smpi/smpi.h>
#include <stdlib.h>

#include "sim/time.h"

#undef MPI_Test

enum { MOST = 64 };

/* Of this rank: SMPI keeps globals apart. */
static MPI_Request *unfinished[MOST];
static int n_unfinished, has_news;

int sim_test(MPI_Request *request, int *done, MPI_Status *status)
{
    /* SimGrid 3.32 says nothing of a request that is none when nobody wants a status. */
    const int code = *request == MPI_REQUEST_NULL ? MPI_SUCCESS : MPI_Test(request, done, status);
    if (*request == MPI_REQUEST_NULL)
        *done = 1;
    has_news |= *done;
    for (int i = 0; i < n_unfinished; i++)
        if (unfinished[i] == request)
            return code;
    if (!*done && n_unfinished == MOST)
        abort();
    if (!*done)
        unfinished[n_unfinished++] = request;
    return code;
}

void sim_forget(void)
{
    n_unfinished = has_news = 0;
}

void sim_idle(void)
{
    MPI_Request requests[MOST];
    int index = MPI_UNDEFINED;
    if (!has_news && n_unfinished > 0) {
        for (int i = 0; i < n_unfinished; i++)
            requests[i] = *unfinished[i];
        MPI_Waitany(n_unfinished, requests, &index, MPI_STATUS_IGNORE);
        if (index != MPI_UNDEFINED)
            *unfinished[index] = MPI_REQUEST_NULL;
    }
    has_news = index != MPI_UNDEFINED; /* which who polls must see before it waits again */
    n_unfinished = 0;
}
