/* cli/pinning.c, base/cores.c and base/topology.c: a core for each thread where the rank has it to itself. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#ifdef _OPENMP
#    include <omp.h>
#endif

#include "cli/pinning.h"
#include "compute/ops.h"
#include "compute/team.h"
#include "files.h"
#include "lockstep.h"

static struct ls_topology topology;

/* Cores without hardware threads, unless `step` tells how far apart those of a core are. */
static void make_topology(int step)
{
    topology.n_nodes = 1;
    for (int core = 0; core < LS_MOST_CORES; core++) {
        topology.node[core] = 0;
        topology.leader[core] = (short)(step ? core % step : core);
    }
}

static struct ls_pin_rank rank_of(uint64_t cores, uint64_t threads, uint64_t host)
{
    return (struct ls_pin_rank){.cores = {cores}, .threads = threads, .host = host};
}

/* What rank r of the n does, as text: "0,2", or the reason why not. */
static const char *chosen(enum ls_pin wish, const struct ls_pin_rank *ranks, int n, int r, const char *set_by)
{
    static struct ls_pinning pinning;
    static char text[200];
    ls_pinning_choose(&pinning, wish, ranks, n, r, &topology, set_by);
    if (pinning.n == 0)
        return pinning.why_not;
    text[0] = '\0';
    for (int t = 0; t < pinning.n; t++)
        snprintf(text + strlen(text), sizeof text - strlen(text), t ? ",%d" : "%d", pinning.core[t]);
    return text;
}

#define EXPECT(is, ...) cr_expect_str_eq(chosen(__VA_ARGS__), is, "%s", chosen(__VA_ARGS__))

Test(pinning, one_rank_fills_its_cores)
{
    make_topology(0);
    const struct ls_pin_rank fills[] = {rank_of(0xf0, 4, 1)}, spares[] = {rank_of(0xf0, 2, 1)},
                             many[] = {rank_of(0xf0, 5, 1)};
    EXPECT("4,5,6,7", LS_PIN_AUTO, fills, 1, 0, NULL);
    EXPECT("off", LS_PIN_OFF, fills, 1, 0, NULL);
    EXPECT("OMP_PLACES is set", LS_PIN_AUTO, fills, 1, 0, "OMP_PLACES is set");
    EXPECT("4,5,6,7", LS_PIN_ON, fills, 1, 0, "OMP_PLACES is set");
    EXPECT("cores to spare", LS_PIN_AUTO, spares, 1, 0, NULL);
    EXPECT("4,6", LS_PIN_ON, spares, 1, 0, NULL);
    EXPECT("more threads than cores", LS_PIN_AUTO, many, 1, 0, NULL);
    EXPECT("more threads than cores", LS_PIN_ON, many, 1, 0, NULL);
}

Test(pinning, ranks_share_out_the_same_cores)
{
    make_topology(0);
    const struct ls_pin_rank two[] = {rank_of(0xf, 2, 1), rank_of(0xf, 2, 1)};
    EXPECT("0,1", LS_PIN_AUTO, two, 2, 0, NULL);
    EXPECT("2,3", LS_PIN_AUTO, two, 2, 1, NULL);
    /* Too many threads together, though this rank's would fit in its share. */
    const struct ls_pin_rank uneven[] = {rank_of(0x3, 1, 1), rank_of(0x3, 2, 1)};
    EXPECT("more threads than cores", LS_PIN_AUTO, uneven, 2, 0, NULL);
    const struct ls_pin_rank five[] = {rank_of(0x3, 1, 1), rank_of(0x3, 1, 1), rank_of(0x3, 1, 1),
                                       rank_of(0x3, 1, 1), rank_of(0x3, 1, 1)};
    for (int r = 0; r < 5; r++)
        EXPECT("more threads than cores", LS_PIN_AUTO, five, 5, r, NULL);
    /* The same numbers of cores on two hosts are two sets of cores. */
    const struct ls_pin_rank hosts[] = {rank_of(0x3, 2, 1), rank_of(0x3, 2, 2)};
    EXPECT("0,1", LS_PIN_AUTO, hosts, 2, 0, NULL);
    EXPECT("0,1", LS_PIN_AUTO, hosts, 2, 1, NULL);
    /* Bound apart by the launcher, and overlapping. */
    const struct ls_pin_rank apart[] = {rank_of(0x3, 2, 1), rank_of(0xc, 2, 1)};
    EXPECT("2,3", LS_PIN_AUTO, apart, 2, 1, NULL);
    const struct ls_pin_rank overlap[] = {rank_of(0x3, 1, 1), rank_of(0x6, 1, 1)};
    EXPECT("ranks share some cores, not all", LS_PIN_AUTO, overlap, 2, 1, NULL);
    struct ls_pinning pinning;
    ls_pinning_choose(&pinning, LS_PIN_AUTO, overlap, 2, 0, &topology, NULL);
    cr_expect(pinning.host_cores == 3 && pinning.host_threads == 2, "%d cores, %d threads",
              pinning.host_cores, pinning.host_threads);
}

/* Cores 0-3 have second hardware threads 4-7. */
Test(pinning, hardware_threads_of_a_core_are_taken_last)
{
    make_topology(4);
    const struct ls_pin_rank whole[] = {rank_of(0xff, 4, 1)}, all[] = {rank_of(0xff, 8, 1)},
                             three[] = {rank_of(0xff, 3, 1)};
    EXPECT("0,1,2,3", LS_PIN_AUTO, whole, 1, 0, NULL);
    EXPECT("0,1,2,3,4,5,6,7", LS_PIN_AUTO, all, 1, 0, NULL);
    EXPECT("cores to spare", LS_PIN_AUTO, three, 1, 0, NULL);
    const struct ls_pin_rank two[] = {rank_of(0xff, 2, 1), rank_of(0xff, 4, 1)};
    EXPECT("0,1", LS_PIN_AUTO, two, 2, 0, NULL);
    EXPECT("2,3,6,7", LS_PIN_AUTO, two, 2, 1, NULL);
}

/* Two nodes of four cores, the kernel's numbers dealt out in turn: 0, 2, 4, 6 are on node 0. */
Test(pinning, ranks_that_share_two_nodes_have_one_each)
{
    make_topology(0);
    for (int core = 0; core < LS_MOST_CORES; core++)
        topology.node[core] = (short)(core % 2);
    const struct ls_pin_rank two[] = {rank_of(0xff, 4, 1), rank_of(0xff, 4, 1)};
    EXPECT("0,2,4,6", LS_PIN_AUTO, two, 2, 0, NULL);
    EXPECT("1,3,5,7", LS_PIN_AUTO, two, 2, 1, NULL);
    const struct ls_pin_rank four[] = {rank_of(0xff, 2, 1), rank_of(0xff, 2, 1), rank_of(0xff, 2, 1),
                                       rank_of(0xff, 2, 1)};
    EXPECT("4,6", LS_PIN_AUTO, four, 4, 1, NULL);
    EXPECT("1,3", LS_PIN_AUTO, four, 4, 2, NULL);
    /* With second hardware threads 8 to 15. */
    for (int core = 0; core < LS_MOST_CORES; core++)
        topology.leader[core] = (short)(core % 8);
    const struct ls_pin_rank doubled[] = {rank_of(0xffff, 4, 1), rank_of(0xffff, 8, 1)};
    EXPECT("0,2,4,6", LS_PIN_AUTO, doubled, 2, 0, NULL);
    EXPECT("1,3,5,7,9,11,13,15", LS_PIN_AUTO, doubled, 2, 1, NULL);
}

/* Four cores with two hardware threads each, cut in three: no core is on both sides of a cut. */
Test(pinning, ranks_get_whole_cores)
{
    make_topology(4);
    const struct ls_pin_rank three[] = {rank_of(0xff, 2, 1), rank_of(0xff, 2, 1), rank_of(0xff, 4, 1)};
    EXPECT("0,4", LS_PIN_AUTO, three, 3, 0, NULL);
    EXPECT("1,5", LS_PIN_AUTO, three, 3, 1, NULL);
    EXPECT("2,3,6,7", LS_PIN_AUTO, three, 3, 2, NULL);
    /* More ranks than cores share a core. */
    struct ls_pin_rank eight[8];
    for (int r = 0; r < 8; r++)
        eight[r] = rank_of(0xff, 1, 1);
    EXPECT("0", LS_PIN_AUTO, eight, 8, 0, NULL);
    EXPECT("4", LS_PIN_AUTO, eight, 8, 1, NULL);
    EXPECT("7", LS_PIN_AUTO, eight, 8, 7, NULL);
}

/* Ranks whose threads nobody counted, on two nodes of four cores. */
static int share(const struct ls_pin_rank *ranks, int n, int r)
{
    return ls_pinning_share(ranks, n, r, &topology);
}

Test(pinning, ranks_share_what_they_may_all_use)
{
    make_topology(0);
    const struct ls_pin_rank alone[] = {rank_of(0xff, 0, 1)};
    cr_expect(share(alone, 1, 0) == 8);
    /* As mpirun binds four ranks: two to each node. */
    const struct ls_pin_rank nodes[] = {rank_of(0xf, 0, 1), rank_of(0xf0, 0, 1), rank_of(0xf, 0, 1),
                                        rank_of(0xf0, 0, 1)};
    for (int r = 0; r < 4; r++)
        cr_expect(share(nodes, 4, r) == 2, "%d", share(nodes, 4, r));
    /* Bound apart: each has its own, also beside others with more; another host's ranks are elsewhere. */
    const struct ls_pin_rank apart[] = {rank_of(0x7, 0, 1), rank_of(0xf8, 0, 1), rank_of(0xff, 0, 2)};
    cr_expect(share(apart, 3, 0) == 3 && share(apart, 3, 1) == 5 && share(apart, 3, 2) == 8);
    /* Some of them shared: 2 + 2 / 2. */
    const struct ls_pin_rank overlap[] = {rank_of(0xf, 0, 1), rank_of(0x3c, 0, 1)};
    cr_expect(share(overlap, 2, 0) == 3 && share(overlap, 2, 1) == 3);
    const struct ls_pin_rank three[] = {rank_of(0x7, 0, 1), rank_of(0x7, 0, 1), rank_of(0x7, 0, 1)};
    cr_expect(share(three, 3, 2) == 1, "three thirds are one core: %d", share(three, 3, 2));
    const struct ls_pin_rank many[] = {rank_of(0x3, 0, 1), rank_of(0x3, 0, 1), rank_of(0x3, 0, 1)};
    cr_expect(share(many, 3, 1) == 1);
}

/* Cores 0-3 have second hardware threads 4-7: a thread a core, whatever else the mask holds. */
Test(pinning, hardware_threads_are_not_shared_out)
{
    make_topology(4);
    const struct ls_pin_rank alone[] = {rank_of(0xff, 0, 1)},
                             two[] = {rank_of(0xff, 0, 1), rank_of(0xff, 0, 1)},
                             bound[] = {rank_of(0x11, 0, 1), rank_of(0x66, 0, 1)},
                             second[] = {rank_of(0xf0, 0, 1)};
    cr_expect(share(alone, 1, 0) == 4 && share(two, 2, 1) == 2);
    cr_expect(share(bound, 2, 0) == 1 && share(bound, 2, 1) == 2);
    cr_expect(share(second, 1, 0) == 4);
    const struct ls_cores some = {5, {0, 1, 4, 5, 6}};
    cr_expect(ls_topology_whole_cores(&topology, &some) == 3);
}

static int nodes_of(enum ls_pin wish, const struct ls_pin_rank *ranks, int n, int r)
{
    static struct ls_pinning pinning;
    ls_pinning_choose(&pinning, wish, ranks, n, r, &topology, NULL);
    return pinning.nodes;
}

/* Pinned threads are on the nodes of their cores, others on all that the mask allows. */
Test(pinning, nodes_are_those_of_the_threads)
{
    make_topology(0);
    for (int core = 0; core < LS_MOST_CORES; core++)
        topology.node[core] = (short)(core % 8 / 4);
    const struct ls_pin_rank two[] = {rank_of(0xff, 4, 1), rank_of(0xff, 4, 1)},
                             one[] = {rank_of(0xff, 8, 1)}, spares[] = {rank_of(0xff, 2, 1)};
    cr_expect(nodes_of(LS_PIN_AUTO, two, 2, 0) == 1 && nodes_of(LS_PIN_AUTO, two, 2, 1) == 1);
    cr_expect(nodes_of(LS_PIN_OFF, two, 2, 0) == 2);
    cr_expect(nodes_of(LS_PIN_AUTO, one, 1, 0) == 2);
    cr_expect(nodes_of(LS_PIN_AUTO, spares, 1, 0) == 2 && nodes_of(LS_PIN_ON, spares, 1, 0) == 2);
}

/* --- what the kernel tells --- */

static void write_text(const struct folder *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    for (char *slash = strchr(path + 6, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0, "%s", path);
}

Test(pinning, nodes_and_hardware_threads_are_read)
{
    struct folder folder = folder_create();
    write_text(&folder, "node/node0/cpulist", "0-1,4-5\n");
    write_text(&folder, "node/node2/cpulist", "2-3,6-7\n");
    write_text(&folder, "node/node3/cpulist", "\n"); /* memory alone */
    write_text(&folder, "node/possible", "0-3\n");
    write_text(&folder, "cpu/cpu5/topology/thread_siblings_list", "1,5\n");
    const struct ls_cores cores = {.n = 3, .core = {0, 3, 5}}, one = {.n = 2, .core = {6, 7}};
    ls_topology_read(&topology, &cores, folder.path);
    cr_expect(topology.n_nodes == 2, "%d nodes", topology.n_nodes);
    cr_expect(topology.node[5] == 0 && topology.node[6] == 2 && topology.node[8] == -1);
    cr_expect(topology.leader[5] == 1 && topology.leader[3] == 3, "%d %d", topology.leader[5],
              topology.leader[3]);
    cr_expect(ls_topology_nodes(&topology, &cores) == 2);
    cr_expect(ls_topology_nodes(&topology, &one) == 1);
    ls_topology_read(&topology, &cores, "/nowhere");
    cr_expect(topology.n_nodes == 0 && topology.leader[5] == 5);
    folder_destroy(&folder);
}

Test(pinning, cores_have_a_text)
{
    char text[100];
    const struct ls_cores one = {1, {7}}, some = {6, {0, 1, 2, 5, 8, 9}};
    cr_expect_str_eq(ls_cores_text(&one, text, sizeof text), "core 7", "%s", text);
    cr_expect_str_eq(ls_cores_text(&some, text, sizeof text), "cores 0-2,5,8-9", "%s", text);
    cr_expect_str_eq(ls_cores_text(&some, text, 9), "cores 0-", "cut, '%s'", text);
}

/* --- threads --- */

enum { THREADS = 3 };
struct masks {
    cpu_set_t of[THREADS];
};

static int64_t read_mask(const void *job, int thread, int threads)
{
    struct masks *masks = *(struct masks *const *)job;
    (void)threads;
    sched_getaffinity(0, sizeof masks->of[0], &masks->of[thread]);
    return 1;
}

static void run_team(void *masks)
{
    cr_assert(ls_team_run(read_mask, &masks) == ls_ops_threads());
}

#ifdef _OPENMP
static int64_t count_one(const void *job, int thread, int threads)
{
    (void)job;
    (void)thread;
    return threads == ls_ops_threads();
}

static void count_team(void *unused)
{
    (void)unused;
    cr_expect_eq(ls_team_run(count_one, NULL), ls_ops_threads());
}

/* OMP_DYNAMIC=true would give fewer threads than these, as they are more than the cores. */
Test(pinning, a_team_is_whole_whatever_openmp_thinks_of_the_load)
{
    ls_ops_set_threads(ls_cores_mine()->n + 2);
    for (int standing = 0; standing < 2; standing++) {
        omp_set_dynamic(1);
        if (standing)
            ls_team_with(count_team, NULL);
        else
            count_team(NULL);
        cr_expect(omp_get_dynamic(), "standing %d: the program's own setting is lost", standing);
    }
}
#endif

static int is_only(const cpu_set_t *set, int core)
{
    return CPU_COUNT(set) == 1 && CPU_ISSET((size_t)core, set);
}

static void *read_beside(void *set)
{
    ls_cores_leave();
    sched_getaffinity(0, sizeof(cpu_set_t), set);
    return NULL;
}

Test(pinning, threads_go_where_they_are_told)
{
    const struct ls_cores *mine = ls_cores_mine();
    const int last = mine->core[mine->n - 1], first = mine->core[0], to[] = {last, first};
    struct masks masks;
    cpu_set_t beside;
    pthread_t helper;
    for (int standing = 0; standing < 2; standing++) {
        ls_ops_set_threads(THREADS);
        ls_cores_pin(to, 2);
        if (standing)
            ls_team_with(run_team, &masks);
        else
            run_team(&masks);
        if (ls_ops_threads() == 1) {
            cr_expect(is_only(&masks.of[0], last), "a build without threads, standing %d", standing);
            ls_cores_pin(NULL, 0);
            continue;
        }
        cr_expect(is_only(&masks.of[0], last) && is_only(&masks.of[1], first), "standing %d", standing);
        cr_expect(CPU_COUNT(&masks.of[2]) == mine->n, "the third is anywhere, on %d",
                  CPU_COUNT(&masks.of[2]));
        cr_expect(ls_cores_mine()->n == mine->n, "what the process may use stays");
        cr_assert(pthread_create(&helper, NULL, read_beside, &beside) == 0);
        pthread_join(helper, NULL);
        cr_expect(CPU_COUNT(&beside) == mine->n, "a helper is on %d cores", CPU_COUNT(&beside));
        /* A smaller team may end threads, and a larger one start others, which inherit this one's mask. */
        ls_ops_set_threads(2);
        run_team(&masks);
        ls_ops_set_threads(THREADS);
        run_team(&masks);
        cr_expect(is_only(&masks.of[1], first) && CPU_COUNT(&masks.of[2]) == mine->n);
        ls_cores_pin(NULL, 0);
        run_team(&masks);
        for (int t = 0; t < THREADS; t++)
            cr_expect(CPU_COUNT(&masks.of[t]) == mine->n, "thread %d is anywhere again", t);
    }
}

/* --- the command --- */

static void expect_run_line(const struct ls_outcome *o, const char *part)
{
    const char *run = strstr(o->out, "\nrun ");
    cr_assert(o->status == 0 && run, "status %d\n%s%s", o->status, o->out, o->err);
    const char *found = strstr(run + 1, part);
    cr_expect(found && found < strchr(run + 1, '\n'), "'%s' is not in '%.200s'", part, run + 1);
}

Test(pinning, a_run_says_where_its_threads_are, .timeout = 5 * LOCKSTEP_LIMIT_S)
{
    const int n = ls_cores_mine()->n;
    expect_run_line(lockstep(1, "train --steps 1 --threads %d", n), ", a core for each thread");
    expect_run_line(lockstep(1, "train --steps 1 --threads %d --pin off", n), ", not pinned: off");
    expect_run_line(lockstep(1, "train --steps 1 --threads %d", n + 1),
                    ", not pinned: more threads than cores");
    expect_run_line(lockstep_after(1, "OMP_PROC_BIND=close", "train --steps 1 --threads %d", n),
                    ", not pinned: OMP_PROC_BIND is set");
    const struct ls_outcome *o = lockstep(1, "train --steps 1 --threads %d --pin on", n + 1);
    cr_expect(o->status == 2 && strstr(o->err, "--pin on: more threads than cores"), "%d\n%s", o->status,
              o->err);
    o = lockstep(1, "train --steps 1 --serial --pin on");
    cr_expect(o->status == 0, "%s", o->err);
}

/* Whoever places threads by OpenMP's own variables finds them there: from the last core to the first here. */
Test(pinning, what_the_environment_places_stays, .timeout = LOCKSTEP_LIMIT_S)
{
#ifdef _OPENMP
    static struct ls_outcome o;
    char places[2 * LS_MOST_CORES * 4], *at = places + sprintf(places, "OMP_PLACES=");
    const struct ls_cores *mine = ls_cores_mine();
    for (int i = mine->n - 1; i >= 0; i--)
        at += sprintf(at, i ? "{%d}," : "{%d}", mine->core[i]);
    ls_launch(&o, LOCKSTEP_LIMIT_S, NULL,
              LS_ARGV("env", "OMP_PROC_BIND=close", places, LS_BUILD "/mpi-cases", "placed", "1"));
    cr_expect(o.status == 0, "status %d\n%s%s", o.status, o.out, o.err);
#else
    cr_skip_test("a build without threads");
#endif
}
