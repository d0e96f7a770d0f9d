/* Owns reading how cores are grouped.  See topology.h. */
#include "base/topology.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file's list, "0-3,8", as a set of marks; how many. */
static int read_list(const char *path, char marks[LS_MOST_CORES])
{
    char text[4096] = "";
    int n = 0;
    memset(marks, 0, LS_MOST_CORES);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (!fgets(text, sizeof text, file))
        text[0] = '\0';
    fclose(file);
    for (char *at = text; *at >= '0' && *at <= '9';) {
        const long first = strtol(at, &at, 10), last = *at == '-' ? strtol(at + 1, &at, 10) : first;
        for (long core = first; core <= last && core < LS_MOST_CORES; core++, n++)
            marks[core] = 1;
        at += *at == ',';
    }
    return n;
}

static void read_node(struct ls_topology *topology, const char *root, int node)
{
    char path[PATH_MAX], marks[LS_MOST_CORES];
    snprintf(path, sizeof path, "%s/node/node%d/cpulist", root, node);
    if (read_list(path, marks) == 0)
        return; /* memory without cores */
    topology->n_nodes++;
    for (int core = 0; core < LS_MOST_CORES; core++)
        if (marks[core])
            topology->node[core] = (short)node;
}

void ls_topology_read(struct ls_topology *topology, const struct ls_cores *cores, const char *root)
{
    char path[PATH_MAX], marks[LS_MOST_CORES];
    topology->n_nodes = 0;
    for (int core = 0; core < LS_MOST_CORES; core++) {
        topology->node[core] = -1;
        topology->leader[core] = (short)core;
    }
    snprintf(path, sizeof path, "%s/node", root);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        int node, length = 0;
        if (sscanf(entry->d_name, "node%d%n", &node, &length) == 1 && !entry->d_name[length] && node >= 0 &&
            node <= SHRT_MAX)
            read_node(topology, root, node);
    }
    if (folder)
        closedir(folder);
    for (int i = 0; i < cores->n; i++) {
        const int core = cores->core[i];
        snprintf(path, sizeof path, "%s/cpu/cpu%d/topology/thread_siblings_list", root, core);
        const char *first = read_list(path, marks) ? memchr(marks, 1, sizeof marks) : NULL;
        if (first && marks[core])
            topology->leader[core] = (short)(first - marks);
    }
}

int ls_topology_nodes(const struct ls_topology *topology, const struct ls_cores *cores)
{
    char seen[SHRT_MAX + 1] = {0};
    int n = 0;
    for (int i = 0; i < cores->n; i++) {
        const int node = topology->node[cores->core[i]];
        n += node >= 0 && !seen[node];
        if (node >= 0)
            seen[node] = 1;
    }
    return n;
}

int ls_topology_whole_cores(const struct ls_topology *topology, const struct ls_cores *cores)
{
    char seen[LS_MOST_CORES] = {0};
    int n = 0;
    for (int i = 0; i < cores->n; i++) {
        char *core = &seen[topology->leader[cores->core[i]]];
        n += !*core;
        *core = 1;
    }
    return n;
}
