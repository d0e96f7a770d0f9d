/* Owns the process's mask and where its threads go.  See cores.h. */
#include "base/cores.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef _OPENMP
#    include <omp.h>
#endif

static struct ls_cores mine;

static struct {
    int generation; /* counts calls of ls_cores_pin */
    int n;
    int core[LS_MOST_CORES];
} pinned;

static _Thread_local int generation; /* that this thread has followed */

/* A runtime that binds threads has bound this one, before main, to the first of its places. */
static void add_places(cpu_set_t *set)
{
#ifdef _OPENMP
    static int ids[LS_MOST_CORES];
    for (int place = 0; place < omp_get_num_places(); place++) {
        const int n = omp_get_place_num_procs(place);
        if (n > LS_MOST_CORES)
            continue;
        omp_get_place_proc_ids(place, ids);
        for (int i = 0; i < n; i++)
            if (ids[i] >= 0 && ids[i] < LS_MOST_CORES)
                CPU_SET((size_t)ids[i], set);
    }
#else
    (void)set;
#endif
}

const struct ls_cores *ls_cores_mine(void)
{
    cpu_set_t set;
    if (mine.n > 0)
        return &mine;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) { /* or more cores than a set has */
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        for (long core = 0; core < online && core < LS_MOST_CORES; core++)
            CPU_SET((size_t)core, &set);
    }
    add_places(&set);
    for (int core = 0; core < LS_MOST_CORES; core++)
        if (CPU_ISSET((size_t)core, &set))
            mine.core[mine.n++] = core;
    if (mine.n == 0)
        mine.n = 1;
    return &mine;
}

const char *ls_cores_text(const struct ls_cores *cores, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "%s", cores->n == 1 ? "core" : "cores");
    for (int i = 0, last; i < cores->n && used < size; i = last + 1) {
        for (last = i; last + 1 < cores->n && cores->core[last + 1] == cores->core[last] + 1;)
            last++;
        used += (size_t)snprintf(text + used, size - used, last > i ? "%s%d-%d" : "%s%d", i ? "," : " ",
                                 cores->core[i], cores->core[last]);
    }
    return text;
}

void ls_cores_pin(const int *core, int n)
{
    if (n == 0 && pinned.n == 0)
        return; /* whoever placed the threads, it was not us */
    pinned.n = n < LS_MOST_CORES ? n : LS_MOST_CORES;
    for (int i = 0; i < pinned.n; i++)
        pinned.core[i] = core[i];
    pinned.generation++;
}

/* Where a mask is refused the thread stays where it is: that costs time, never a result. */
static void go_to(const int *core, int n)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < n; i++)
        CPU_SET((size_t)core[i], &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

void ls_cores_take(int thread)
{
    if (generation == pinned.generation)
        return;
    generation = pinned.generation;
    if (thread < pinned.n)
        go_to(&pinned.core[thread], 1);
    else
        go_to(mine.core, mine.n);
}

void ls_cores_leave(void)
{
    if (pinned.generation > 0)
        go_to(mine.core, mine.n);
}
