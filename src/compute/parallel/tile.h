/* The register tile: up to TILE_ROWS x PANEL columns of an output, one accumulator an element, folded over
 * depth in ascending order.  Everything here is inlined with constant `rows` and `vectors`, so that the tile
 * lives in registers.
 *
 * One tile serves all three dense products; they differ in the strides of the left matrix, in how a panel of
 * the right one is packed, and in what happens to a finished accumulator. */
#ifndef LS_COMPUTE_PARALLEL_TILE_H
#define LS_COMPUTE_PARALLEL_TILE_H

#include "compute/parallel/vec.h"

typedef vec tile[TILE_ROWS][PANEL_VECTORS];

/* Left operand: element (row r, depth k) is at p[r * row + k * step].  Right operand: row k of the panel is
 * at p[k * step], its last vector has `last` columns. */
struct tile_left {
    const float *p;
    ptrdiff_t row, step;
};
struct tile_right {
    const float *p;
    ptrdiff_t step;
    int last;
};

/* acc[r][v] = fma(left(r, k), right(k, v), acc[r][v]) for k = 0 .. depth-1. */
LS_ALWAYS_INLINE void tile_fold(const int rows, const int vectors, tile acc, ptrdiff_t depth,
                                struct tile_left left, struct tile_right right)
{
    for (ptrdiff_t k = 0; k < depth; k++) {
        vec b[PANEL_VECTORS];
        LS_UNROLL
        for (int v = 0; v < vectors - 1; v++)
            b[v] = vec_load(right.p + v * VEC);
        b[vectors - 1] = right.last == VEC ? vec_load(right.p + (vectors - 1) * VEC)
                                           : vec_load_first(right.p + (vectors - 1) * VEC, right.last);
        LS_UNROLL
        for (int r = 0; r < rows; r++) {
            const vec a = vec_all(left.p[r * left.row]);
            LS_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vec_fma(a, b[v], acc[r][v]);
        }
        left.p += left.step;
        right.p += right.step;
    }
}

/* One row of a tile in memory, the last vector `last` columns wide. */
LS_ALWAYS_INLINE void row_load(const int vectors, vec row[PANEL_VECTORS], const float *p, int last)
{
    LS_UNROLL
    for (int v = 0; v < vectors - 1; v++)
        row[v] = vec_load(p + v * VEC);
    p += (vectors - 1) * VEC;
    row[vectors - 1] = last == VEC ? vec_load(p) : vec_load_first(p, last);
}

LS_ALWAYS_INLINE void row_store(const int vectors, float *p, const vec row[PANEL_VECTORS], int last)
{
    LS_UNROLL
    for (int v = 0; v < vectors - 1; v++)
        vec_store(p + v * VEC, row[v]);
    p += (vectors - 1) * VEC;
    if (last == VEC)
        vec_store(p, row[vectors - 1]);
    else
        vec_store_first(p, row[vectors - 1], last);
}

/* DO(rows, vectors) for every shape of tile, in the order of tile_index. */
#define LS_EACH_HEIGHT_6(DO, V) DO(1, V) DO(2, V) DO(3, V) DO(4, V) DO(5, V) DO(6, V)
#define LS_EACH_HEIGHT_8(DO, V) LS_EACH_HEIGHT_6(DO, V) DO(7, V) DO(8, V)
#if defined(__AVX512F__)
#    define LS_EACH_TILE(DO) LS_EACH_HEIGHT_8(DO, 1) LS_EACH_HEIGHT_8(DO, 2)
#elif defined(__AVX2__)
#    define LS_EACH_TILE(DO) LS_EACH_HEIGHT_6(DO, 1) LS_EACH_HEIGHT_6(DO, 2)
#else
#    define LS_EACH_TILE(DO)                                                                                 \
        LS_EACH_HEIGHT_6(DO, 1) LS_EACH_HEIGHT_6(DO, 2) LS_EACH_HEIGHT_6(DO, 3) LS_EACH_HEIGHT_6(DO, 4)
#endif

/* DO(rows, 1) for every height. */
#if defined(__AVX512F__)
#    define LS_EACH_LOW_TILE(DO) LS_EACH_HEIGHT_8(DO, 1)
#else
#    define LS_EACH_LOW_TILE(DO) LS_EACH_HEIGHT_6(DO, 1)
#endif

static inline ptrdiff_t tile_index(ptrdiff_t rows, int vectors)
{
    return (vectors - 1) * TILE_ROWS + rows - 1;
}

#endif
