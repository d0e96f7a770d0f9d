/* Register tiles of convolutions to or from few channels: lanes are neighbouring pixels of a plane, not
 * columns, of which there are not enough for a vector.  A column's weight of a tap is what all lanes are
 * multiplied with; each result is the same fold.  Finished vectors are turned over, pixel by pixel, as images
 * have them. */
#ifndef LS_COMPUTE_PARALLEL_CONV_FEW_COLUMNS_H
#define LS_COMPUTE_PARALLEL_CONV_FEW_COLUMNS_H

#include "compute/parallel/conv_frame.h"
#include "compute/parallel/finish.h"

/* More columns are better lanes themselves. */
enum { FEW_COLUMNS = VEC / 2 };

/* As many vectors of pixels as leave registers for them and a weight. */
#ifdef __AVX512F__
enum { FEW_VECTORS = 4 };
#    define LS_EACH_FEW_4(DO, C) DO(C, 1) DO(C, 2) DO(C, 3) DO(C, 4)
#    define LS_EACH_FEW_1_4(DO)                                                                              \
        LS_EACH_FEW_4(DO, 1) LS_EACH_FEW_4(DO, 2) LS_EACH_FEW_4(DO, 3) LS_EACH_FEW_4(DO, 4)
#    define LS_EACH_FEW_5_8(DO)                                                                              \
        LS_EACH_FEW_4(DO, 5) LS_EACH_FEW_4(DO, 6) LS_EACH_FEW_4(DO, 7) LS_EACH_FEW_4(DO, 8)
#    define LS_EACH_FEW(DO) LS_EACH_FEW_1_4(DO) LS_EACH_FEW_5_8(DO)
#else
enum { FEW_VECTORS = 2 };
#    define LS_EACH_FEW_2(DO) DO(1, 1) DO(1, 2) DO(2, 1) DO(2, 2)
#    ifdef __AVX2__
#        define LS_EACH_FEW(DO) LS_EACH_FEW_2(DO) DO(3, 1) DO(3, 2) DO(4, 1) DO(4, 2)
#    else
#        define LS_EACH_FEW(DO) LS_EACH_FEW_2(DO)
#    endif
#endif

static inline int few_vectors(int columns)
{
    return columns <= 6 ? FEW_VECTORS : FEW_VECTORS - 1;
}

_Static_assert((int)FEW_COLUMNS <= (int)BLOCK, "a block turns all columns of some pixels over");

/* `runs` stretches of `run` neighbouring pixels each, entries of `pixels` and `places` one after the other.
 */
struct few_columns {
    ptrdiff_t depth, runs, run;
    const int32_t *taps;
    const float *panel, *from;
    const int32_t *pixels;
    const ptrdiff_t *places;
    struct tile_result result; /* never resumed */
    int columns;
};

/* Up to a vector of neighbouring pixels. */
struct few_pixels {
    ptrdiff_t first;
    int n;
};

/* A row of a block that was just written: as wide as it was, or the load has to wait for the cache. */
LS_ALWAYS_INLINE vec few_row(const float *row)
{
#ifdef __AVX512F__
    return _mm512_zextps256_ps512(_mm256_loadu_ps(row));
#else
    return vec_load(row);
#endif
}

/* planes (BLOCK, VEC): of each column the sums of these pixels. */
__attribute__((noinline)) static void few_store(const struct few_columns *t, struct few_pixels at,
                                                const float *planes)
{
    const struct tile_result result = t->result; /* a copy, which no store can change */
    const int columns = t->columns;
    for (int i = 0; i < at.n; i += BLOCK) {
        float turned[BLOCK * BLOCK];
        block_transpose(turned, BLOCK, planes + i, VEC);
        for (int j = 0; j < BLOCK && i + j < at.n; j++) {
            const ptrdiff_t place = t->places[at.first + i + j];
            const vec z = few_row(turned + j * BLOCK);
            const vec y =
                result.finish > FINISH_RELU ? vec_load_first(result.y + place, columns) : vec_zero();
            vec_store_first(result.to + place, finished(result.finish, z, y), columns);
        }
    }
}

/* Reads whole vectors, up to VEC - 1 floats behind the last pixel; what they make is not stored. */
LS_ALWAYS_INLINE void few_tile(const int columns, const int vectors, const struct few_columns *t,
                               const struct few_pixels *at)
{
    vec acc[FEW_COLUMNS][FEW_VECTORS];
    const float *left[FEW_VECTORS], *weights = t->panel;
    LS_UNROLL
    for (int v = 0; v < vectors; v++)
        left[v] = t->from + t->pixels[at[v].first];
    LS_UNROLL
    for (int c = 0; c < columns; c++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[c][v] = t->result.bias ? vec_all(t->result.bias[c]) : vec_zero();
    for (ptrdiff_t k = 0; k < t->depth; k++, weights += VEC) {
        vec x[FEW_VECTORS];
        LS_UNROLL
        for (int v = 0; v < vectors; v++)
            x[v] = vec_load(left[v] + t->taps[k]);
        LS_UNROLL
        for (int c = 0; c < columns; c++) {
            const vec w = vec_all(weights[c]);
            LS_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[c][v] = vec_fma(x[v], w, acc[c][v]);
        }
    }
    for (int v = 0; v < vectors; v++) {
        float planes[BLOCK * VEC];
        LS_UNROLL
        for (int c = 0; c < BLOCK; c++)
            vec_store(planes + c * VEC, c < columns ? acc[c][v] : vec_zero());
        few_store(t, at[v], planes);
    }
}

#define DEFINE_FEW(C, V)                                                                                     \
    static void few_##C##x##V(const struct few_columns *t, const struct few_pixels *at)                      \
    {                                                                                                        \
        few_tile(C, V, t, at);                                                                               \
    }
#define ENTRY_FEW(C, V) few_##C##x##V,
LS_EACH_FEW(DEFINE_FEW)
static void (*const few_tiles[])(const struct few_columns *t,
                                 const struct few_pixels *at) = {LS_EACH_FEW(ENTRY_FEW)};

/* All pixels: vectors of a run, tiles of as many vectors, from as many runs as it takes. */
static void few_columns(const struct few_columns *t)
{
    const ptrdiff_t parts = (t->run + VEC - 1) / VEC, all = t->runs * parts, most = few_vectors(t->columns),
                    tiles = (all + most - 1) / most;
    for (ptrdiff_t i = 0; i < tiles; i++) {
        const struct range part = range_part(all, 1, i, tiles);
        const int vectors = (int)(part.end - part.begin);
        struct few_pixels at[FEW_VECTORS];
        for (int v = 0; v < vectors; v++) {
            const ptrdiff_t nth = part.begin + v;
            const struct range of = range_part(t->run, 1, nth % parts, parts);
            at[v] = (struct few_pixels){nth / parts * t->run + of.begin, (int)(of.end - of.begin)};
        }
        few_tiles[(t->columns - 1) * FEW_VECTORS + vectors - 1](t, at);
    }
}

#endif
