/* Ranks that stop answering or run out of memory, on purpose. */
#include "cases.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "allocations.h"
#include "train/step.h"

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

/* An engine of which the n-th allocation fails on rank `odd` alone.  Returns whether it did. */
static int create_short_of_memory(struct ls_comm *comm, const struct ls_net *net, int odd, long n,
                                  int *is_wrong)
{
    const struct ls_engine_plan plan = {.microbatch = 4,
                                        .batch = {21, 6},
                                        .n_evaluated = 30,
                                        .bucket_bytes = 1,
                                        .shard_granule = 16,
                                        .with_gradients = 1};
    struct ls_engine engine;
    struct ls_error err = {.code = LS_OK};
    fail_allocation(ls_comm_rank(comm) == odd ? n : 0);
    err.code = ls_engine_create(&engine, net, ls_ops_parallel(NULL), comm, &plan, &err);
    int64_t failed = allocation_failed();
    fail_allocation(0);
    const enum ls_code code = ls_comm_agree(comm, &err);
    ls_engine_release(&engine);
    ls_comm_sum_counts(comm, &failed, 1, NULL);
    *is_wrong = code != (failed ? LS_FAILED : LS_OK);
    return failed != 0;
}

/* out-of-memory RANK: each allocation of an engine fails once, on that rank alone; the others hear of it, and
 * nobody waits.  The first round has those that are made once for all engines. */
static int run_out_of_memory(struct ls_comm *comm, int n_args, char **args)
{
    const int odd = n_args > 0 ? atoi(args[0]) : 0;
    struct ls_net net;
    struct ls_error err = {.code = LS_OK};
    int is_wrong = 0;
    if (ls_net_create(&net, "dense 9, relu, dense 7, batchnorm, dense 4", ls_shape_of(1, (ptrdiff_t[]){5}),
                      &err) != LS_OK)
        return complain(comm, "%s", err.text);
    for (int round = 0; !is_wrong && round < 2; round++) {
        long n = 1;
        while (create_short_of_memory(comm, &net, odd, n, &is_wrong) && !is_wrong)
            n++;
        if (!is_wrong && n < 20)
            is_wrong = complain(comm, "only %ld allocations", n);
        else if (is_wrong)
            complain(comm, "round %d, allocation %ld of rank %d: wrong code", round, n, odd);
    }
    ls_net_release(&net);
    return is_wrong;
}

const struct mpi_case fault_cases[] = {{"stall", run_stall},
                                       {"chain", run_chain},
                                       {"suspended", run_suspended},
                                       {"out-of-memory", run_out_of_memory},
                                       {0}};
