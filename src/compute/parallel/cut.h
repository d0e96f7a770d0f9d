/* How an output matrix is cut: into one rectangle a thread, a rectangle into panels, a panel into tiles. */
#ifndef LS_COMPUTE_PARALLEL_CUT_H
#define LS_COMPUTE_PARALLEL_CUT_H

#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

struct rectangle {
    struct range rows, columns;
};

/* Which of two equally good grids: a product's has most cuts between columns, as such rectangles share no
 * panel; a gradient's and its update's has most cuts between rows, as such rectangles lie in one piece.  (Cut
 * between columns, the update's short pieces had prefetchers fetch the other core's lines: 230 us a step of
 * 784-128-10 instead of 185.) */
enum preferred_cut { CUT_BETWEEN_COLUMNS, CUT_BETWEEN_ROWS };

/* The rectangle of `thread`: a grid of all threads whose largest rectangle, in rows times vectors, is
 * smallest. */
static inline struct rectangle rectangle_of(int thread, int threads, ptrdiff_t rows, ptrdiff_t columns,
                                            enum preferred_cut preferred)
{
    const ptrdiff_t vectors = (columns + VEC - 1) / VEC;
    int best = 1;
    ptrdiff_t best_cost = PTRDIFF_MAX;
    for (int down = 1; down <= threads; down++) {
        const int across = threads / down;
        if (down * across != threads)
            continue;
        const ptrdiff_t cost = ((rows + down - 1) / down) * ((vectors + across - 1) / across);
        if (cost < best_cost || (cost == best_cost && preferred == CUT_BETWEEN_ROWS)) {
            best_cost = cost;
            best = down;
        }
    }
    const int across = threads / best;
    return (struct rectangle){range_part(rows, 1, thread / across, best),
                              range_part(columns, VEC, thread % across, across)};
}

/* Columns whose panels are packed together, so that each tile of the left matrix is fetched once for all of
 * them. */
enum { GROUP = 128 };

/* The next `most` columns from `at`, or all that are left. */
static inline int next_columns(ptrdiff_t at, ptrdiff_t end, int most)
{
    return end - at < most ? (int)(end - at) : most;
}

static inline int whole_vectors(int columns)
{
    return (columns + VEC - 1) / VEC * VEC;
}

#endif
