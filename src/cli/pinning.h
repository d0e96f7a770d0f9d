/* Which core each thread of a rank runs on, where nothing else has said so.
 *
 * A thread that moves finds another core's cache, and two of a team that meet on one core let all others
 * wait.  So threads get cores of their own, as long as these are the rank's alone: what the ranks of a host
 * may use is compared, ranks that may use the same cores share them out in the order of ranks. */
#ifndef LS_CLI_PINNING_H
#define LS_CLI_PINNING_H

#include <stdint.h>

#include "base/topology.h"
#include "comm/comm.h"

enum ls_pin { LS_PIN_AUTO, LS_PIN_ON, LS_PIN_OFF };
extern const char *const ls_pin_names[];

/* What a rank is given, as all ranks know it. */
struct ls_pin_rank {
    uint64_t cores[LS_MOST_CORES / 64]; /* a bit a core */
    uint64_t threads;
    uint64_t host; /* the same number on the ranks of a host */
};

struct ls_pinning {
    int n;                   /* threads that are pinned; 0: none */
    int core[LS_MOST_CORES]; /* of each */
    const char *why_not;     /* n 0: "off", "OMP_PROC_BIND is set", ... */
    int nodes;               /* NUMA nodes on which the threads may be; 0: the kernel does not tell */
    int host_cores;          /* that any of the host's ranks may use */
    int host_threads;        /* of all of them */
};

/* Local.  How many threads rank `rank` of n has unless somebody says: the cores that it may use, each divided
 * among the ranks that may use it; at least 1.  Hardware threads of a core count once, since they share its
 * arithmetic. */
int ls_pinning_share(const struct ls_pin_rank *ranks, int n, int rank, const struct ls_topology *topology);

/* Collective, and ends in agreement.  The same of this rank. */
enum ls_code ls_pinning_find_share(int *share, const struct ls_topology *topology, struct ls_comm *comm,
                                   struct ls_error *err);

/* Local.  What rank `rank` of n does; `set_by` names the variable of the environment that binds threads, or
 * NULL.
 *
 * AUTO pins when the threads take all cores that the rank has: with cores to spare, other programs are likely
 * to be on some of them, and the kernel can tell which.  ON pins them also then, spread over the rank's
 * cores. */
void ls_pinning_choose(struct ls_pinning *pinning, enum ls_pin wish, const struct ls_pin_rank *ranks, int n,
                       int rank, const struct ls_topology *topology, const char *set_by);

/* Collective, and ends in agreement.  Finds all of this, chooses, and lets base/cores pin the threads.  ON
 * where it cannot be is refused. */
enum ls_code ls_pinning_start(struct ls_pinning *pinning, enum ls_pin wish, int threads,
                              const struct ls_topology *topology, struct ls_comm *comm, struct ls_error *err);

#endif
