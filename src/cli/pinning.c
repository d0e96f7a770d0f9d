/* Owns the choice of cores.  See pinning.h. */
#include "cli/pinning.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"

const char *const ls_pin_names[] = {"auto", "on", "off", NULL};

enum { WORDS = LS_MOST_CORES / 64 };

static int has(const struct ls_pin_rank *rank, int core)
{
    return (int)(rank->cores[core / 64] >> (core % 64) & 1);
}

/* Ranks that may use exactly the same cores as this one. */
struct sharers {
    int n, threads; /* with this one */
    int number;     /* of this one among them */
};

/* The host as a whole, and whether this rank's cores are its own but for its sharers. */
static int find_sharers(struct ls_pinning *pinning, const struct ls_pin_rank *ranks, int n, int rank,
                        struct sharers *sharers)
{
    const struct ls_pin_rank *mine = &ranks[rank];
    uint64_t all[WORDS] = {0};
    int clean = 1;
    *sharers = (struct sharers){0};
    for (int r = 0; r < n; r++) {
        uint64_t common = 0;
        if (ranks[r].host != mine->host)
            continue;
        for (int w = 0; w < WORDS; w++) {
            all[w] |= ranks[r].cores[w];
            common |= ranks[r].cores[w] & mine->cores[w];
        }
        pinning->host_threads += (int)ranks[r].threads;
        const int same = memcmp(ranks[r].cores, mine->cores, sizeof mine->cores) == 0;
        sharers->number += same && r < rank;
        sharers->n += same;
        sharers->threads += same ? (int)ranks[r].threads : 0;
        clean = clean && (same || !common);
    }
    for (int w = 0; w < WORDS; w++)
        pinning->host_cores += __builtin_popcountll(all[w]);
    return clean;
}

/* Whether core a comes before core b: node by node, and the hardware threads of one core side by side, so
 * that ranks which cut the list into consecutive parts get neither parts of two nodes, as far as they fit,
 * nor of one core. */
static int precedes(const struct ls_topology *topology, int a, int b)
{
    if (topology->node[a] != topology->node[b])
        return topology->node[a] < topology->node[b];
    return topology->leader[a] != topology->leader[b] ? topology->leader[a] < topology->leader[b] : a < b;
}

static int same_core(const struct ls_topology *topology, int a, int b)
{
    return topology->node[a] == topology->node[b] && topology->leader[a] == topology->leader[b];
}

/* What the rank may use, in that order. */
static int list_cores(const struct ls_pin_rank *mine, const struct ls_topology *topology, int *list)
{
    int n = 0;
    for (int core = 0; core < LS_MOST_CORES; core++) {
        if (!has(mine, core))
            continue;
        int at = n++;
        for (; at > 0 && precedes(topology, core, list[at - 1]); at--)
            list[at] = list[at - 1];
        list[at] = core;
    }
    return n;
}

static int starts_core(const struct ls_topology *topology, const int *list, int i)
{
    return i == 0 || !same_core(topology, list[i], list[i - 1]);
}

/* Where part number `part` of so many begins in the list: with a whole core while there is one for each. */
static int part_begin(const struct ls_topology *topology, const int *list, int n, int part, int parts)
{
    int n_cores = 0, at = 0;
    for (int i = 0; i < n; i++)
        n_cores += starts_core(topology, list, i);
    if (parts > n_cores)
        return n * part / parts;
    for (int before = n_cores * part / parts; at < n; at++)
        if (starts_core(topology, list, at) && before-- == 0)
            break;
    return at;
}

/* The first hardware threads of all cores in front, the rest behind; how many are in front. */
static int leaders_first(const struct ls_topology *topology, const int *list, int n, int *ordered)
{
    int n_leaders = 0, at = 0;
    for (int second = 0; second < 2; second++) {
        for (int i = 0; i < n; i++) {
            if (starts_core(topology, list, i) != second)
                ordered[at++] = list[i];
        }
        n_leaders = second ? n_leaders : at;
    }
    return n_leaders;
}

int ls_pinning_share(const struct ls_pin_rank *ranks, int n, int rank, const struct ls_topology *topology)
{
    static int list[LS_MOST_CORES];
    const int n_all = list_cores(&ranks[rank], topology, list);
    double share = 1e-6; /* a third three times is one */
    for (int i = 0; i < n_all; i++) {
        int n_with = 0;
        for (int r = 0; r < n; r++)
            n_with += ranks[r].host == ranks[rank].host && has(&ranks[r], list[i]);
        share += starts_core(topology, list, i) ? 1.0 / n_with : 0.0;
    }
    return share > 1.0 ? (int)share : 1;
}

static int count_nodes(const struct ls_topology *topology, const int *list, int n)
{
    static struct ls_cores cores;
    cores.n = n;
    memcpy(cores.core, list, (size_t)n * sizeof *list);
    return ls_topology_nodes(topology, &cores);
}

void ls_pinning_choose(struct ls_pinning *pinning, enum ls_pin wish, const struct ls_pin_rank *ranks, int n,
                       int rank, const struct ls_topology *topology, const char *set_by)
{
    static int list[LS_MOST_CORES], ordered[LS_MOST_CORES];
    const int T = (int)ranks[rank].threads;
    struct sharers sharers;
    *pinning = (struct ls_pinning){.why_not = NULL};
    const int clean = find_sharers(pinning, ranks, n, rank, &sharers);
    const int n_all = list_cores(&ranks[rank], topology, list);
    const int begin = part_begin(topology, list, n_all, sharers.number, sharers.n),
              end = part_begin(topology, list, n_all, sharers.number + 1, sharers.n);
    const int n_leaders = leaders_first(topology, list + begin, end - begin, ordered);
    if (wish == LS_PIN_OFF)
        pinning->why_not = "off";
    else if (set_by && wish == LS_PIN_AUTO)
        pinning->why_not = set_by;
    else if (!clean)
        pinning->why_not = "ranks share some cores, not all";
    else if (T > end - begin || sharers.threads > n_all)
        pinning->why_not = "more threads than cores";
    else if (wish == LS_PIN_AUTO && T < n_leaders)
        pinning->why_not = "cores to spare";
    pinning->n = pinning->why_not ? 0 : T;
    for (int t = 0; t < pinning->n; t++)
        pinning->core[t] = T <= n_leaders ? ordered[t * n_leaders / T] : ordered[t];
    pinning->nodes = pinning->n > 0 ? count_nodes(topology, pinning->core, pinning->n)
                                    : count_nodes(topology, list, n_all);
}

/* What all ranks may use and have, on all ranks: each adds its own row of numbers to zeros.  The caller frees
 * them. */
static enum ls_code tell_all(struct ls_comm *comm, int threads, struct ls_pin_rank **ranks,
                             struct ls_error *err)
{
    const struct ls_cores *cores = ls_cores_mine();
    const char *host = ls_comm_host(comm);
    struct ls_pin_rank mine = {.threads = (uint64_t)threads, .host = ls_hash_bytes(host, strlen(host)).low};
    for (int i = 0; i < cores->n; i++)
        mine.cores[cores->core[i] / 64] |= (uint64_t)1 << (cores->core[i] % 64);
    const int P = ls_comm_size(comm), words = (int)(sizeof mine / sizeof(int64_t));
    *ranks = ls_alloc((size_t)P, sizeof **ranks, "cores of the ranks", err);
    err->code = *ranks ? LS_OK : LS_FAILED;
    const enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK)
        return code;
    (*ranks)[ls_comm_rank(comm)] = mine;
    return ls_comm_sum_counts(comm, (int64_t *)(void *)*ranks, P * words, err);
}

enum ls_code ls_pinning_find_share(int *share, const struct ls_topology *topology, struct ls_comm *comm,
                                   struct ls_error *err)
{
    struct ls_pin_rank *ranks;
    const enum ls_code code = tell_all(comm, 0, &ranks, err);
    if (code == LS_OK)
        *share = ls_pinning_share(ranks, ls_comm_size(comm), ls_comm_rank(comm), topology);
    ls_free(ranks);
    return code;
}

static const char *variable_that_binds(void)
{
    static const char *const names[][2] = {{"OMP_PROC_BIND", "OMP_PROC_BIND is set"},
                                           {"OMP_PLACES", "OMP_PLACES is set"},
                                           {"GOMP_CPU_AFFINITY", "GOMP_CPU_AFFINITY is set"},
                                           {"KMP_AFFINITY", "KMP_AFFINITY is set"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i][0]))
            return names[i][1];
    return NULL;
}

enum ls_code ls_pinning_start(struct ls_pinning *pinning, enum ls_pin wish, int threads,
                              const struct ls_topology *topology, struct ls_comm *comm, struct ls_error *err)
{
    struct ls_pin_rank *ranks;
    const enum ls_code code = tell_all(comm, threads, &ranks, err);
    if (code == LS_OK) {
        ls_pinning_choose(pinning, wish, ranks, ls_comm_size(comm), ls_comm_rank(comm), topology,
                          variable_that_binds());
        ls_cores_pin(pinning->core, pinning->n);
        err->code =
            wish == LS_PIN_ON && pinning->n == 0
                ? ls_fail(err, LS_USAGE,
                          "--pin on: %s (%d threads on this host, %s %d cores): give fewer --threads, or "
                          "--pin auto",
                          pinning->why_not, pinning->host_threads, "whose ranks may use", pinning->host_cores)
                : LS_OK;
    }
    ls_free(ranks);
    return code == LS_OK ? ls_comm_agree(comm, err) : code;
}
