/* Ranks that stop answering, on purpose. */
#include "cases.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void doze(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) != 0)
        continue;
}

/* stall RANK: that rank stops, the others wait for it in an allreduce. */
static int run_stall(struct ls_comm *comm, int n_args, char **args)
{
    enum { N = 5000 };
    static float values[N];
    float *root = values;
    const int size = ls_comm_size(comm);
    const int odd = n_args > 0 ? atoi(args[0]) : 0;
    ls_comm_set_stall_timeout(comm, 1.0);
    ls_comm_barrier(comm, NULL);
    if (ls_comm_rank(comm) == odd)
        raise(SIGSTOP);
    ls_comm_allreduce(comm, LS_ALLREDUCE_TREE, size, N, values, &root, 1, NULL);
    return complain(comm, "went on without rank %d", odd);
}

/* A rank that is late but waits for another is not blamed; the one that is awaited is. */
static int run_chain(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    char bytes[4] = "", all[64];
    ls_comm_set_stall_timeout(comm, 2.0);
    ls_comm_barrier(comm, NULL);
    if (ls_comm_rank(comm) == 1) /* gets to the others when half of their patience is gone, then waits too */
        doze(0.8);
    if (ls_comm_rank(comm) == 2)
        raise(SIGSTOP);
    ls_comm_gather(comm, bytes, sizeof bytes, all, NULL);
    ls_comm_barrier(comm, NULL);
    return complain(comm, "went on without rank 2");
}

/* The whole job is stopped for longer than the limit, and continued: nobody is to blame. */
static int run_suspended(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    ls_comm_set_stall_timeout(comm, 1.0);
    ls_comm_barrier(comm, NULL);
    const pid_t rank = getpid(), helper = fork();
    if (helper == 0) {
        doze(0.3);
        kill(rank, SIGSTOP);
        doze(2.0);
        kill(rank, SIGCONT);
        _exit(0);
    }
    int over = 0;
    for (int64_t all_over = 0; all_over < ls_comm_size(comm);) {
        over = over || waitpid(helper, NULL, WNOHANG) == helper;
        all_over = over;
        ls_comm_sum_counts(comm, &all_over, 1, NULL);
    }
    return 0;
}

const struct mpi_case fault_cases[] = {
    {"stall", run_stall}, {"chain", run_chain}, {"suspended", run_suspended}, {0}};
