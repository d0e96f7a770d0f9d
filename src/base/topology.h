/* How the machine's cores are grouped, as the kernel tells in /sys/devices/system. */
#ifndef LS_BASE_TOPOLOGY_H
#define LS_BASE_TOPOLOGY_H

#include "base/cores.h"

struct ls_topology {
    int n_nodes;                 /* NUMA nodes that have cores; 0: the kernel does not tell */
    short node[LS_MOST_CORES];   /* of each core; -1: none is told */
    short leader[LS_MOST_CORES]; /* of the hardware threads of one core, the lowest; itself where none is told
                                  */
};

/* Of the cores in question; the others' entries say nothing.  `root` is "/sys/devices/system". */
void ls_topology_read(struct ls_topology *topology, const struct ls_cores *cores, const char *root);

/* On how many NUMA nodes these cores are; 0: the kernel does not tell. */
int ls_topology_nodes(const struct ls_topology *topology, const struct ls_cores *cores);

/* How many they are when the hardware threads of a core count once. */
int ls_topology_whole_cores(const struct ls_topology *topology, const struct ls_cores *cores);

#endif
