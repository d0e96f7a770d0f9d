/* How an output matrix is cut: into one rectangle a thread, a rectangle into panels, a panel into tiles. */
#ifndef LS_COMPUTE_PARALLEL_CUT_H
#define LS_COMPUTE_PARALLEL_CUT_H

#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

struct rectangle {
    struct range rows, columns;
};

/* The rectangle of `thread`: a grid of all threads whose largest rectangle, in rows times vectors, is
 * smallest; among equals the one with most cuts between columns, which share no panel. */
static inline struct rectangle rectangle_of(int thread, int threads, ptrdiff_t rows, ptrdiff_t columns)
{
    const ptrdiff_t vectors = (columns + VEC - 1) / VEC;
    int best = 1;
    ptrdiff_t best_cost = PTRDIFF_MAX;
    for (int down = 1; down <= threads; down++) {
        const int across = threads / down;
        if (down * across != threads)
            continue;
        const ptrdiff_t cost = ((rows + down - 1) / down) * ((vectors + across - 1) / across);
        if (cost < best_cost) {
            best_cost = cost;
            best = down;
        }
    }
    const int across = threads / best;
    return (struct rectangle){range_part(rows, 1, thread / across, best),
                              range_part(columns, VEC, thread % across, across)};
}

/* Tiles that cover `rows` rows; tile i of them is range_part(rows, 1, i, tiles), so heights differ by one at
 * most. */
static inline ptrdiff_t tiles_of(ptrdiff_t rows)
{
    return (rows + TILE_ROWS - 1) / TILE_ROWS;
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
