/* Threads: one job of the team (compute/team.h) per operation, and how its work is cut.
 *
 * Work is cut by *outputs*: every element has one writer and its formula fixes the order of its sum; or,
 * where those are few, by whole subtrees of leaves (subtrees.h); or, in a product of few rows, by depth, and
 * threads go on with each other's folds, one after the other (a relay, product.c).  So neither the number of
 * threads nor the cut can be seen in a result. */
#ifndef LS_COMPUTE_PARALLEL_TEAM_H
#define LS_COMPUTE_PARALLEL_TEAM_H

#include "compute/ops.h"
#include "compute/team.h"
#include <stddef.h>
#include <stdint.h>

/* Scratch of each thread, one for all ISAs, which it takes at its first operation and keeps
 * (compute/scratch.c).  Sizes in floats. */
enum {
    LS_SCRATCH_PANELS = 256 * 1024,
    LS_SCRATCH_STACK = 60 * 1024,
    LS_SCRATCH_IMAGE = 64 * 1024,
    LS_SCRATCH_LEFT = 1024 * 1024,
    LS_SCRATCH_TABLE = 4096
};
struct ls_scratch {
    /* Packed columns of the right-hand matrix. */
    _Alignas(64) float panels[LS_SCRATCH_PANELS];
    /* Partial tiles of the tree over leaves. */
    _Alignas(64) float stack[LS_SCRATCH_STACK];
    /* A convolution's padded piece of some images, and where in it and in the result its taps and pixels
     * are. */
    _Alignas(64) float image[LS_SCRATCH_IMAGE];
    int32_t taps[LS_SCRATCH_TABLE], pixels[LS_SCRATCH_TABLE];
    ptrdiff_t places[LS_SCRATCH_TABLE];
    /* A copy of the left-hand matrix's rows that many panels use; read in one stream, from any cache.  Of a
     * convolution's weight gradient, sums over a thread's leaves, which others read in the job after. */
    _Alignas(64) float left[LS_SCRATCH_LEFT];
};
extern _Thread_local struct ls_scratch *ls_scratch_taken;
struct ls_scratch *ls_scratch_take(void);

static inline struct ls_scratch *scratch_of_thread(void)
{
    return ls_scratch_taken ? ls_scratch_taken : ls_scratch_take();
}

/* Floats of packed columns that a product works on at a time: half an L2, at most LS_SCRATCH_PANELS.  Set
 * when the operations are chosen. */
extern ptrdiff_t ls_panel_floats;

enum { LINE = 16 }; /* floats of a cache line */

struct range {
    ptrdiff_t begin, end;
};

/* Part `part` of `parts` of 0..n, cut at multiples of `grain`, as evenly as that allows. */
static inline struct range range_part(ptrdiff_t n, ptrdiff_t grain, ptrdiff_t part, ptrdiff_t parts)
{
    const ptrdiff_t grains = (n + grain - 1) / grain, each = grains / parts, more = grains % parts;
    const ptrdiff_t first = part * each + (part < more ? part : more), count = each + (part < more);
    const ptrdiff_t begin = first * grain, end = (first + count) * grain;
    return (struct range){begin < n ? begin : n, end < n ? end : n};
}

/* The copy of x that a thread reads. */
static inline const float *copy_of_thread(const float *x, struct ls_copies copies, int thread)
{
    return copies.n > 1 ? x + thread % copies.n * copies.step : x;
}

typedef ls_team_body team_body;

/* Threads for a job that takes about `work_ns` on one core. */
static inline int team_threads(double work_ns)
{
    return work_ns < ls_worth_a_team_ns ? 1 : ls_ops_threads();
}

/* Runs body(job, t, T) for every t of a team; returns the sum of what they return.  `work_ns` is about what
 * it takes on one core. */
static inline int64_t team_run(double work_ns, team_body *body, const void *job)
{
    return team_threads(work_ns) == 1 ? body(job, 0, 1) : ls_team_run(body, job);
}

#endif
