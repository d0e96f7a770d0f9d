/* One rank alone: every collective is the identity.  No stub that lies: abort ends the process, the host is
 * the real one. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/comm_backend.h"

static void destroy(struct ls_comm *comm)
{
    ls_comm_release_tables(comm);
    ls_free(comm);
}

static void barrier(struct ls_comm *comm)
{
    (void)comm;
}

static void end_process(struct ls_comm *comm, int exit_status) __attribute__((noreturn));
static void end_process(struct ls_comm *comm, int exit_status)
{
    (void)comm;
    fflush(NULL);
    _Exit(exit_status);
}

/* All leaves are this rank's, so the tree has one root, or none. */
static void reduce_tree(struct ls_comm *comm, int direct, int64_t n_leaves, ptrdiff_t n, float *sum,
                        float *const *roots, int n_roots)
{
    (void)comm, (void)direct;
    assert(n_roots == (n_leaves > 0));
    if (n_roots == 0)
        memset(sum, 0, (size_t)n * sizeof *sum);
    else if (roots[0] != sum)
        memcpy(sum, roots[0], (size_t)n * sizeof *sum);
}

/* Its slice is all of it. */
static void scatter(struct ls_comm *comm, int64_t n_leaves, const ptrdiff_t *cuts, float *sum,
                    float *const *roots, int n_roots)
{
    const ptrdiff_t at = cuts[0];
    float *const root = n_roots > 0 ? roots[0] + at : NULL;
    reduce_tree(comm, 0, n_leaves, cuts[1] - at, sum + at, &root, n_roots);
}

static void share(struct ls_comm *comm, const ptrdiff_t *cuts, float *values)
{
    (void)comm, (void)cuts, (void)values;
}

static void add_floats(struct ls_comm *comm, float *values, ptrdiff_t n)
{
    (void)comm, (void)values, (void)n;
}

static void add_counts(struct ls_comm *comm, int64_t *values, int n)
{
    (void)comm, (void)values, (void)n;
}

static void take_largest(struct ls_comm *comm, uint64_t *values, int n)
{
    (void)comm, (void)values, (void)n;
}

static void broadcast(struct ls_comm *comm, void *bytes, size_t n, int from)
{
    (void)comm, (void)bytes, (void)n, (void)from;
}

static void copy_bytes(void *to, const void *from, size_t n)
{
    if (n > 0)
        memcpy(to, from, n);
}

static void collect(struct ls_comm *comm, const void *mine, size_t n, void *all)
{
    (void)comm;
    copy_bytes(all, mine, n);
}

static void gather(struct ls_comm *comm, const void *mine, size_t mine_bytes, void *out, const size_t *sizes)
{
    (void)comm, (void)sizes;
    copy_bytes(out, mine, mine_bytes);
}

static enum ls_code tune(struct ls_comm *comm, const struct ls_reduce_tuning *tuning, struct ls_error *err)
{
    (void)comm, (void)tuning, (void)err;
    return LS_OK;
}

static void set_stall_timeout(struct ls_comm *comm, double seconds)
{
    (void)comm, (void)seconds; /* nobody to wait for */
}

static int meet(struct ls_comm *comm, double seconds)
{
    (void)comm, (void)seconds;
    return 1;
}

static const struct ls_comm_ops solo_ops = {
    .destroy = destroy,
    .barrier = barrier,
    .rest = barrier,
    .abort = end_process,
    .reduce_tree = reduce_tree,
    .scatter = scatter,
    .share = share,
    .add_floats = add_floats,
    .add_counts = add_counts,
    .take_largest = take_largest,
    .broadcast = broadcast,
    .collect = collect,
    .gather = gather,
    .tune = tune,
    .set_stall_timeout = set_stall_timeout,
    .meet = meet,
};

enum ls_code ls_comm_create_solo(struct ls_comm **comm, struct ls_error *err)
{
    *comm = NULL;
    struct ls_comm *solo = ls_alloc(1, sizeof *solo, "communication of one rank", err);
    if (!solo)
        return LS_FAILED;
    *solo = (struct ls_comm){.ops = &solo_ops,
                             .size = 1,
                             .ranks_on_host = 1,
                             .n_hosts = 1,
                             .most_bytes = SIZE_MAX,
                             .library = "none"};
    if (ls_comm_take_tables(solo, err) != LS_OK) {
        destroy(solo);
        return LS_FAILED;
    }
    ls_comm_name_host(solo->hosts[0]);
    *comm = solo;
    return LS_OK;
}
