/* The register tiles of forward and input-gradient convolutions. */
#ifndef LS_COMPUTE_PARALLEL_CONV_PRODUCT_TILE_H
#define LS_COMPUTE_PARALLEL_CONV_PRODUCT_TILE_H

#include "compute/parallel/conv_tile.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/finish.h"

struct product_tile {
    ptrdiff_t depth, tiles;
    const int32_t *taps;
    const float *panel, *from;
    ptrdiff_t step; /* between neighbouring pixels */
    const int32_t *pixels;
    const ptrdiff_t *places;
    struct tile_result result;
    int columns;
};

/* t->tiles tiles of neighbouring pixels. */
LS_ALWAYS_INLINE void conv_tiles(const int rows, const int vectors, const int lanes,
                                 const struct product_tile *shared)
{
    const struct product_tile own = *shared, *t = &own; /* no store to a result can change it */
    const int32_t *pixels = t->pixels;
    const ptrdiff_t *places = t->places;
    for (ptrdiff_t i = 0; i < t->tiles; i++, pixels += rows, places += rows) {
        tile acc;
        const float *left[MOST_ROWS];
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            left[r] = t->from + pixels[r];
        if (t->result.finish > FINISH_RELU && i + 1 < t->tiles)
            LS_UNROLL
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++)
                __builtin_prefetch(t->result.y + places[rows + r] + v * VEC);
        tile_start(rows, vectors, acc, &t->result, places);
        const struct tile_right right = {t->panel, vectors * VEC, VEC};
        if (vectors == 1 && lanes == 1 && t->columns <= HALF)
            gather_fold_half(rows, acc, t->depth, left, t->taps, right);
        else
            gather_fold(rows, vectors, lanes, acc, t->depth, left, t->taps, right);
        tile_end(rows, vectors, acc, &t->result, places);
    }
}

#define DEFINE(R, V)                                                                                         \
    static void product_##R##x##V(const struct product_tile *t)                                              \
    {                                                                                                        \
        conv_tiles(R, V, 1, t);                                                                              \
    }
#define ENTRY(R, V) product_##R##x##V,
LS_EACH_TILE(DEFINE)
static void (*const product_tiles[])(const struct product_tile *) = {LS_EACH_TILE(ENTRY)};

#define DEFINE_LANES(R, V)                                                                                   \
    static void depthwise_##R##x##V(const struct product_tile *t)                                            \
    {                                                                                                        \
        conv_tiles(R, V, VEC, t);                                                                            \
    }
#define ENTRY_LANES(R, V) depthwise_##R##x##V,
LS_EACH_LOW_TILE(DEFINE_LANES)
static void (*const depthwise_tiles[])(const struct product_tile *) = {LS_EACH_LOW_TILE(ENTRY_LANES)};

#ifdef LS_SLIDING_TILES
/* One tile of neighbouring pixels. */
LS_ALWAYS_INLINE void slide_tile(const int rows, const int vectors, const int back,
                                 const struct product_tile *t)
{
    tile acc;
    tile_start(rows, vectors, acc, &t->result, t->places);
    slide_fold(rows, vectors, back, acc, t->depth, t->from + t->pixels[0], t->step, t->taps, t->panel);
    tile_end(rows, vectors, acc, &t->result, t->places);
}

/* As high as leaves registers for the pixels, and down to half of that: any longer run is cut into such. */
#    define LS_EACH_SLIDE_1(DO) DO(6, 1) DO(7, 1) DO(8, 1) DO(9, 1) DO(10, 1) DO(11, 1)
#    define LS_EACH_SLIDE_2(DO) DO(5, 2) DO(6, 2) DO(7, 2) DO(8, 2) DO(9, 2)
#    define DEFINE_SLIDE(R, V)                                                                               \
        static void slide_##R##x##V(const struct product_tile *t)                                            \
        {                                                                                                    \
            slide_tile(R, V, 0, t);                                                                          \
        }                                                                                                    \
        static void slide_back_##R##x##V(const struct product_tile *t)                                       \
        {                                                                                                    \
            slide_tile(R, V, 1, t);                                                                          \
        }
#    define ENTRY_SLIDE(R, V) {slide_##R##x##V, slide_back_##R##x##V},
LS_EACH_SLIDE_1(DEFINE_SLIDE)
LS_EACH_SLIDE_2(DEFINE_SLIDE)
typedef void slide_body(const struct product_tile *t);
static const struct {
    int least, most;
    slide_body *const (*bodies)[2];
} slides[] = {{6, 11, (slide_body *const[][2]){LS_EACH_SLIDE_1(ENTRY_SLIDE)}},
              {5, 9, (slide_body *const[][2]){LS_EACH_SLIDE_2(ENTRY_SLIDE)}}};
#endif

#endif
