/* How threads share a convolution's weight gradient: each some outputs, or, where outputs are too few for
 * that, some leaves, or both. */
#include "compute/parallel/conv_gradient.h"
#include "compute/parallel/subtrees.h"

/* All leaves, each thread some outputs.  dz is there: all threads read it. */
static int64_t outputs_part(const void *job, int thread, int threads)
{
    const struct conv_gradient *g = job;
    LS_PER_ISA(ls_conv_gradient_in)(g, gradient_rectangle(g, thread, threads));
    return 0;
}

/* One thread for all. */
static void outputs_alone(const struct conv_gradient *g)
{
    struct conv_gradient own = *g;
    ptrdiff_t made = 0;
    own.made = &made;
    outputs_part(&own, 0, 1);
}

/* The same for all threads, after the maxpool behind. */
static void outputs_shared(const struct conv_gradient *g, double work_ns)
{
    const struct ls_maxpool_gradient *pool = g->pool;
    struct conv_gradient own = *g;
    own.pool = NULL;
    if (pool)
        make_all(pool);
    team_run(work_ns, outputs_part, &own);
}

enum { MOST_SUMS = 256 };

/* Threads share out leaves, and among the threads that have the same leaves outputs: what that needs. */
struct conv_shared {
    struct conv_gradient all;
    int threads, across; /* across: threads that have the same leaves */
    ptrdiff_t subtree;   /* leaves of one */
    float **sums;        /* [subtree][rectangle]: a dw and behind it a db, in the scratch of a thread */
};

/* Returns 0, or, when OpenMP gave fewer threads than were asked for, 1: nothing is done. */
static int64_t leaves_part(const void *job, int thread, int threads)
{
    const struct conv_shared *shared = job;
    const struct conv_gradient *all = &shared->all;
    if (threads != shared->threads)
        return 1;
    const ptrdiff_t weights = all->depth * all->KH * all->KW * all->N;
    const int across = shared->across, rectangle = thread % across;
    const struct range mine =
        range_part(subtrees_of(all->leaves.end, shared->subtree), 1, thread / across, threads / across);
    struct conv_gradient own = *all;
    ptrdiff_t made = mine.begin * shared->subtree * all->m;
    own.made = &made;
    own.dw = scratch_of_thread()->left;
    for (ptrdiff_t s = mine.begin; s < mine.end; s++, own.dw += rows_of(all) * all->N) {
        own.db = all->db ? own.dw + weights : NULL;
        own.leaves = subtree_leaves(all->leaves.end, shared->subtree, s);
        own.levels = levels_of(own.leaves.end - own.leaves.begin);
        LS_PER_ISA(ls_conv_gradient_in)(&own, gradient_rectangle(&own, rectangle, across));
        shared->sums[s * across + rectangle] = own.dw;
    }
    return 0;
}

/* Ends the tree, each thread for some rows. */
static int64_t finish_part(const void *job, int thread, int threads)
{
    const struct conv_shared *shared = job;
    const struct conv_gradient *g = &shared->all;
    const ptrdiff_t n = subtrees_of(g->leaves.end, shared->subtree), weights = g->depth * g->KH * g->KW;
    const struct range mine = range_part(rows_of(g), 1, thread, threads);
    for (int i = 0; i < shared->across; i++) {
        const struct rectangle r = gradient_rectangle(g, i, shared->across);
        const struct range rows = range_common(mine, r.rows);
        for (ptrdiff_t row = rows.begin; row < rows.end; row++)
            for (ptrdiff_t j = r.columns.begin; j < r.columns.end; j += STRETCH)
                tree_of(shared->sums + i, shared->across, 0, n, row * g->N + j,
                        next_columns(j, r.columns.end, STRETCH),
                        (row < weights ? g->dw + row * g->N : g->db) + j);
    }
    return 0;
}

/* What the slowest thread has to do when outputs are cut into `across` rectangles, of which the first is as
 * large as any; in fma of vectors a pixel.  A tile has no fewer than hide an fma's latency, and each line of
 * x and dz is read, which takes about as long as so many fma where it comes from memory. */
static ptrdiff_t rectangle_cost(const struct conv_gradient *g, int across)
{
    enum { LATENCY = 8, OF_A_LINE = 32 };
    const struct rectangle r = gradient_rectangle(g, 0, across);
    const ptrdiff_t window = g->KH * g->KW, rows = r.rows.end - r.rows.begin,
                    columns = r.columns.end - r.columns.begin, vectors = (columns + VEC - 1) / VEC,
                    wide = vectors < g->panel / VEC ? vectors : g->panel / VEC,
                    panels = (vectors + wide - 1) / wide,
                    high = (ptrdiff_t)tile_height(g, (int)wide) * g->slide, tiles = (rows + high - 1) / high,
                    fmas = rows * wide > tiles * LATENCY ? rows * wide : tiles * LATENCY;
    const ptrdiff_t lines = ((rows + window - 1) / window + LINE - 1) / LINE + (columns + LINE - 1) / LINE;
    return panels * fmas + lines * OF_A_LINE;
}

/* Whether leaves are to be shared out, and among how many rectangles of outputs: where that leaves the
 * slowest thread at most 19/20 of the work, and sums fit where a dense layer has its copy of x. */
static int worth_sharing(struct conv_shared *shared)
{
    const struct conv_gradient *g = &shared->all;
    const ptrdiff_t leaves = g->leaves.end, floats = rows_of(g) * g->N, room = LS_SCRATCH_LEFT / floats;
    double least = 0.95 * (double)leaves * (double)rectangle_cost(g, shared->threads);
    int found = 0;
    for (int along = 2; along <= shared->threads; along++) {
        if (shared->threads % along != 0)
            continue;
        const int across = shared->threads / along;
        const ptrdiff_t most = MOST_SUMS / across < room * along ? MOST_SUMS / across : room * along;
        const ptrdiff_t subtree = subtree_for(leaves, along, most);
        if (subtree >= leaves)
            continue;
        const double cost = (double)most_leaves(leaves, subtree, along) * (double)rectangle_cost(g, across);
        if (cost > least)
            continue;
        least = cost;
        found = 1;
        shared->across = across;
        shared->subtree = subtree;
    }
    return found;
}

void LS_PER_ISA(ls_conv_gradient_shared)(const struct conv_gradient *g, double work_ns)
{
    float *sums[MOST_SUMS] = {NULL};
    struct conv_shared shared = {.all = *g, .threads = team_threads(work_ns), .sums = sums};
    if (shared.threads == 1) {
        outputs_alone(g);
        return;
    }
    if (!worth_sharing(&shared)) {
        outputs_shared(g, work_ns);
        return;
    }
    if (g->pool && shared.across > 1) {
        make_all(g->pool);
        shared.all.pool = NULL;
    }
    if (team_run(work_ns, leaves_part, &shared) != 0) {
        outputs_shared(g, work_ns);
        return;
    }
    team_run((double)(rows_of(g) * g->N * subtrees_of(g->leaves.end, shared.subtree)) * 0.2, finish_part,
             &shared);
}
