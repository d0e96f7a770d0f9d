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

/* The rank's cores, hardware threads of one core side by side. */
static int list_cores(const struct ls_pin_rank *mine, const struct ls_topology *topology, int *list)
{
    int n = 0;
    for (int core = 0; core < LS_MOST_CORES; core++) {
        if (!has(mine, core))
            continue;
        int at = n++;
        for (; at > 0 && topology->leader[list[at - 1]] > topology->leader[core]; at--)
            list[at] = list[at - 1];
        list[at] = core;
    }
    return n;
}

/* The first hardware threads of all cores in front, the rest behind; how many are in front. */
static int leaders_first(const struct ls_topology *topology, const int *list, int n, int *ordered)
{
    int n_leaders = 0, at = 0;
    for (int second = 0; second < 2; second++) {
        for (int i = 0; i < n; i++) {
            const int is_second = i > 0 && topology->leader[list[i]] == topology->leader[list[i - 1]];
            if (is_second == second)
                ordered[at++] = list[i];
        }
        n_leaders = second ? n_leaders : at;
    }
    return n_leaders;
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
    const int begin = n_all * sharers.number / sharers.n, end = n_all * (sharers.number + 1) / sharers.n;
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
    if (pinning->why_not)
        return;
    pinning->n = T;
    for (int t = 0; t < T; t++)
        pinning->core[t] = T <= n_leaders ? ordered[t * n_leaders / T] : ordered[t];
}

/* Rows of numbers, one a rank, on all ranks: each adds its own to zeros. */
static enum ls_code tell_all(struct ls_comm *comm, const struct ls_pin_rank *mine, struct ls_pin_rank **ranks,
                             struct ls_error *err)
{
    const int P = ls_comm_size(comm), words = (int)(sizeof *mine / sizeof(int64_t));
    *ranks = ls_alloc((size_t)P, sizeof **ranks, "cores of the ranks", err);
    err->code = *ranks ? LS_OK : LS_FAILED;
    const enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK)
        return code;
    (*ranks)[ls_comm_rank(comm)] = *mine;
    return ls_comm_sum_counts(comm, (int64_t *)(void *)*ranks, P * words, err);
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
    const struct ls_cores *cores = ls_cores_mine();
    const char *host = ls_comm_host(comm);
    struct ls_pin_rank mine = {.threads = (uint64_t)threads, .host = ls_hash_bytes(host, strlen(host)).low},
                       *ranks;
    for (int i = 0; i < cores->n; i++)
        mine.cores[cores->core[i] / 64] |= (uint64_t)1 << (cores->core[i] % 64);
    const enum ls_code code = tell_all(comm, &mine, &ranks, err);
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
