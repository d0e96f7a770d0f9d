/* The register tile: up to MOST_ROWS x PANEL columns of an output, one accumulator an element, folded over
 * depth in ascending order.  Everything here is inlined with constant `rows` and `vectors`, so that the tile
 * lives in registers.
 *
 * One tile serves all three dense products; they differ in the strides of the left matrix, in how a panel of
 * the right one is packed, and in what happens to a finished accumulator. */
#ifndef LS_COMPUTE_PARALLEL_TILE_H
#define LS_COMPUTE_PARALLEL_TILE_H

#include <stdbool.h>

#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

enum { MOST_ROWS = 12, TILE_FLOATS = TILE_VECTORS * VEC };
typedef vec tile[MOST_ROWS][PANEL_VECTORS];

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

/* Rows of the panel that are fetched ahead of use: it streams from L2, and hardware does not keep up with two
 * lines every twelve cycles. */
enum { AHEAD = 8 };

/* tile_fold with the row of the panel `ahead` rows from the one in use fetched, none with 0. */
LS_ALWAYS_INLINE void tile_fold_ahead(const int rows, const int vectors, const int ahead, tile acc,
                                      ptrdiff_t depth, struct tile_left left, struct tile_right right)
{
    for (ptrdiff_t k = 0; k < depth; k++) {
        vec b[PANEL_VECTORS];
        LS_UNROLL
        for (int v = 0; v < vectors && ahead; v += LINE / VEC)
            __builtin_prefetch(right.p + ahead * right.step + v * VEC);
        LS_UNROLL
        for (int v = 0; v < vectors - 1; v++)
            b[v] = vec_load(right.p + v * VEC);
        b[vectors - 1] = some_load(right.p + (vectors - 1) * VEC, right.last);
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

/* The same of a left matrix with its depths side by side and its rows at a stride that is not known here:
 * kept is the address of every third row, and a load's own address says "one or two strides behind it".  With
 * an offset for each row, as compilers want it, there are too few registers, and reloading them takes as many
 * loads again as the columns of the left matrix. */
enum { ROWS_AN_ADDRESS = 3 };
_Static_assert((int)MOST_ROWS % (int)ROWS_AN_ADDRESS == 0, "an address for each three rows of a tile");

LS_ALWAYS_INLINE void tile_fold_rows(const int rows, const int vectors, const int ahead, tile acc,
                                     ptrdiff_t depth, const float *left, ptrdiff_t row,
                                     struct tile_right right)
{
    const float *from[MOST_ROWS / ROWS_AN_ADDRESS], *fetched = right.p + ahead * right.step;
    LS_UNROLL
    for (int i = 0; i * ROWS_AN_ADDRESS < rows; i++)
        from[i] = left + i * ROWS_AN_ADDRESS * row;
    for (ptrdiff_t k = 0; k < depth; k++) {
        vec b[PANEL_VECTORS];
        LS_UNROLL
        for (int v = 0; v < vectors && ahead; v += LINE / VEC)
            __builtin_prefetch(fetched + v * VEC);
        LS_UNROLL
        for (int v = 0; v < vectors; v++)
            b[v] = vec_load(right.p + v * VEC);
        LS_UNROLL
        for (int i = 0; i * ROWS_AN_ADDRESS < rows; i++)
            __asm__("" : "+r"(from[i])); /* not to be derived from another one */
        LS_UNROLL
        for (int r = 0; r < rows; r++) {
            const vec a = vec_all(from[r / ROWS_AN_ADDRESS][r % ROWS_AN_ADDRESS * row]);
            LS_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vec_fma(a, b[v], acc[r][v]);
        }
        LS_UNROLL
        for (int i = 0; i * ROWS_AN_ADDRESS < rows; i++)
            from[i]++;
        right.p += right.step;
        fetched += right.step;
    }
}

/* acc = from + acc, where a tile lies at `from` row after row. */
LS_ALWAYS_INLINE void tile_add(const int rows, const int vectors, tile acc, const float *from)
{
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[r][v] = vec_load(from + (r * vectors + v) * VEC) + acc[r][v];
}

/* Ends a leaf, in `acc`, of the contract's tree over leaves; nth: its number.  Digits of it that are set hold
 * finished subtrees to its left, a tile each, at that level of the stack: the lowest ones are carried into
 * acc; the last leaf takes all, whatever gaps lie between.  Returns the level for the result. */
LS_ALWAYS_INLINE float *tile_push(const int rows, const int vectors, tile acc, ptrdiff_t nth, bool final,
                                  float *stack)
{
    for (ptrdiff_t digits = nth; digits && (final || digits & 1); digits >>= 1, stack += TILE_FLOATS)
        if (digits & 1)
            tile_add(rows, vectors, acc, stack);
    return stack;
}

/* acc[r][v] = fma(left(r, k), right(k, v), acc[r][v]) for k = 0 .. depth-1. */
LS_ALWAYS_INLINE void tile_fold(const int rows, const int vectors, tile acc, ptrdiff_t depth,
                                struct tile_left left, struct tile_right right)
{
    tile_fold_ahead(rows, vectors, AHEAD, acc, depth, left, right);
}

/* One row of a tile in memory, the last vector `last` columns wide. */
LS_ALWAYS_INLINE void row_load(const int vectors, vec row[PANEL_VECTORS], const float *p, int last)
{
    LS_UNROLL
    for (int v = 0; v < vectors - 1; v++)
        row[v] = vec_load(p + v * VEC);
    row[vectors - 1] = some_load(p + (vectors - 1) * VEC, last);
}

LS_ALWAYS_INLINE void row_store(const int vectors, float *p, const vec row[PANEL_VECTORS], int last)
{
    LS_UNROLL
    for (int v = 0; v < vectors - 1; v++)
        vec_store(p + v * VEC, row[v]);
    some_store(p + (vectors - 1) * VEC, row[vectors - 1], last);
}

/* DO(rows, vectors) for every shape of tile, in the order of tile_index; tile_rows is the highest of a width.
 */
#define LS_EACH_HEIGHT_6(DO, V) DO(1, V) DO(2, V) DO(3, V) DO(4, V) DO(5, V) DO(6, V)
#define LS_EACH_HEIGHT_8(DO, V) LS_EACH_HEIGHT_6(DO, V) DO(7, V) DO(8, V)
#define LS_EACH_HEIGHT_12(DO, V) LS_EACH_HEIGHT_8(DO, V) DO(9, V) DO(10, V) DO(11, V) DO(12, V)
#define LS_EACH_LOW_TILE(DO) LS_EACH_HEIGHT_12(DO, 1)
#ifdef __AVX2__
#    ifdef __AVX512F__
#        define LS_WIDE_TILES
#    endif
#else
#    define LS_WIDE_TILES
#endif
#ifdef LS_WIDE_TILES
#    define LS_EACH_TILE(DO)                                                                                 \
        LS_EACH_HEIGHT_12(DO, 1) LS_EACH_HEIGHT_12(DO, 2) LS_EACH_HEIGHT_8(DO, 3) LS_EACH_HEIGHT_6(DO, 4)
static const int tile_heights[] = {0, 12, 12, 8, 6}, tile_firsts[] = {0, 0, 12, 24, 32};
#else
#    define LS_EACH_TILE(DO) LS_EACH_HEIGHT_12(DO, 1) LS_EACH_HEIGHT_6(DO, 2)
static const int tile_heights[] = {0, 12, 6}, tile_firsts[] = {0, 0, 12};
#endif

static inline int tile_rows(int vectors)
{
    return tile_heights[vectors];
}

static inline ptrdiff_t tile_index(ptrdiff_t rows, int vectors)
{
    return tile_firsts[vectors] + rows - 1;
}

/* Tiles that cover `rows` rows; tile i of them is range_part(rows, 1, i, tiles), so heights differ by one at
 * most. */
static inline ptrdiff_t tiles_of(ptrdiff_t rows, int vectors)
{
    return (rows + tile_rows(vectors) - 1) / tile_rows(vectors);
}

/* Panels that cover `columns` columns; panel i is range_part(columns, VEC, i, panels). */
static inline int panels_of(int columns)
{
    return (columns + PANEL - 1) / PANEL;
}

#endif
