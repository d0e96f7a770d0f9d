/* The register tile of convolutions' weight gradients, over the pixels of one piece of a leaf: where its
 * folds begin, how they go on, and where they go at the end of piece and leaf. */
#ifndef LS_COMPUTE_PARALLEL_CONV_GRADIENT_TILE_H
#define LS_COMPUTE_PARALLEL_CONV_GRADIENT_TILE_H

#include <stdbool.h>

#include "compute/parallel/conv_tile.h"

struct gradient_tile {
    ptrdiff_t depth, run;         /* pixels, and how many are neighbours */
    const float *left[MOST_ROWS]; /* of each row; sliding, of each group of rows */
    const int32_t *pixels;
    struct tile_right dz;
    float *to[MOST_ROWS];
    int last;
    bool resume, push, final; /* an unfinished leaf waits in `to`; this ends a leaf; it ends the last one */
    ptrdiff_t leaf;
    float *stack;
};

LS_ALWAYS_INLINE void gradient_start(const int rows, const int vectors, tile acc,
                                     const struct gradient_tile *t)
{
    LS_UNROLL
    for (int r = 0; r < rows; r++) {
        LS_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = vec_zero();
        if (t->resume)
            row_load(vectors, acc[r], t->to[r], t->last);
    }
}

LS_ALWAYS_INLINE void gradient_end(const int rows, const int vectors, tile acc, const struct gradient_tile *t)
{
    if (t->push) {
        float *level = tile_push(rows, vectors, acc, t->leaf, t->final, t->stack);
        if (!t->final) {
            LS_UNROLL
            for (int r = 0; r < rows; r++)
                row_store(vectors, level + r * vectors * VEC, acc[r], VEC);
            return;
        }
    }
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        row_store(vectors, t->to[r], acc[r], t->last);
}

LS_ALWAYS_INLINE void gradient_tile(const int rows, const int vectors, const int lanes,
                                    const struct gradient_tile *t)
{
    tile acc;
    gradient_start(rows, vectors, acc, t);
    if (vectors == 1 && lanes == 1 && t->last <= HALF)
        gather_fold_half(rows, acc, t->depth, t->left, t->pixels, t->dz);
    else if (t->dz.last == VEC)
        gather_fold(rows, vectors, lanes, acc, t->depth, t->left, t->pixels,
                    (struct tile_right){t->dz.p, t->dz.step, VEC});
    else
        gather_fold(rows, vectors, lanes, acc, t->depth, t->left, t->pixels, t->dz);
    gradient_end(rows, vectors, acc, t);
}

#define DEFINE_GRADIENT(R, V)                                                                                \
    static void gradient_##R##x##V(const struct gradient_tile *t)                                            \
    {                                                                                                        \
        gradient_tile(R, V, 1, t);                                                                           \
    }
#define ENTRY_GRADIENT(R, V) gradient_##R##x##V,
LS_EACH_TILE(DEFINE_GRADIENT)
static void (*const gradient_tiles[])(const struct gradient_tile *) = {LS_EACH_TILE(ENTRY_GRADIENT)};

#define DEFINE_LANES(R, V)                                                                                   \
    static void depthwise_##R##x##V(const struct gradient_tile *t)                                           \
    {                                                                                                        \
        gradient_tile(R, V, VEC, t);                                                                         \
    }
#define ENTRY_LANES(R, V) depthwise_##R##x##V,
LS_EACH_LOW_TILE(DEFINE_LANES)
static void (*const depthwise_tiles[])(const struct gradient_tile *) = {LS_EACH_LOW_TILE(ENTRY_LANES)};

#ifdef LS_SLIDING_TILES
/* Rows are groups of SLIDE taps, and behind them, with a `bias`, its row. */
LS_ALWAYS_INLINE void gradient_slide(const int groups, const int bias, const int vectors,
                                     const struct gradient_tile *t)
{
    const int rows = groups * SLIDE + bias;
    tile acc;
    gradient_start(rows, vectors, acc, t);
    const struct tile_right whole = {t->dz.p, t->dz.step, VEC};
    if (t->dz.last == VEC && t->run % SLIDE_PIXELS == 0)
        slide_gradient_fold(SLIDE_PIXELS, groups, bias, vectors, acc, t->depth, t->left, t->pixels, whole);
    else if (t->dz.last == VEC)
        slide_gradient_fold(1, groups, bias, vectors, acc, t->depth, t->left, t->pixels, whole);
    else
        slide_gradient_fold(1, groups, bias, vectors, acc, t->depth, t->left, t->pixels, t->dz);
    gradient_end(rows, vectors, acc, t);
}

/* Groups of a tile, its bias counted as one: as many as leave registers for pixels and dz. */
static const int slide_groups[] = {0, 4, 3};
/* DO(groups, bias, vectors). */
#    define LS_EACH_SLIDING_GRADIENT_1(DO)                                                                   \
        DO(0, 1, 1) DO(1, 1, 1) DO(2, 1, 1) DO(3, 1, 1) DO(1, 0, 1) DO(2, 0, 1) DO(3, 0, 1) DO(4, 0, 1)
#    define LS_EACH_SLIDING_GRADIENT_2(DO)                                                                   \
        DO(0, 1, 2) DO(1, 1, 2) DO(2, 1, 2) DO(1, 0, 2) DO(2, 0, 2) DO(3, 0, 2)
#    define LS_EACH_SLIDING_GRADIENT(DO) LS_EACH_SLIDING_GRADIENT_1(DO) LS_EACH_SLIDING_GRADIENT_2(DO)
#    define DEFINE_SLIDE(G, BIAS, V)                                                                         \
        static void gradient_slide_##G##_##BIAS##_##V(const struct gradient_tile *t)                         \
        {                                                                                                    \
            gradient_slide(G, BIAS, V, t);                                                                   \
        }
#    define ENTRY_SLIDE(G, BIAS, V) [V - 1][BIAS][G] = gradient_slide_##G##_##BIAS##_##V,
LS_EACH_SLIDING_GRADIENT(DEFINE_SLIDE)
static void (*const gradient_slides[2][2][5])(const struct gradient_tile *) = {
    LS_EACH_SLIDING_GRADIENT(ENTRY_SLIDE)};
#endif

#endif
