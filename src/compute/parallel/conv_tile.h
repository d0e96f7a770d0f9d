/* The register tile of convolutions: like tile.h's, but the left operand is found by offsets, element (row r,
 * depth k) at left[r][offsets[k]].  Forward and input gradient have pixels as rows and taps as depth, the
 * weight gradient taps as rows and pixels as depth.  `lanes` VEC reads a vector there, for depthwise
 * convolutions, instead of one number for all columns. */
#ifndef LS_COMPUTE_PARALLEL_CONV_TILE_H
#define LS_COMPUTE_PARALLEL_CONV_TILE_H

#include "compute/parallel/tile.h"

/* Each row has a pointer of its own, which lives in a register: no more than eight of them.  So on AVX-512
 * wide tiles bring nothing (measured), and a convolution's panel is at most two vectors there. */
#ifdef __AVX2__
enum { CONV_PANEL = 2 * VEC };
#else
enum { CONV_PANEL = PANEL };
#endif
static inline int conv_rows(int vectors)
{
    return tile_rows(vectors) < 8 ? tile_rows(vectors) : 8;
}

/* Floats of packed columns: a larger share of L2 would leave less of it to the images. */
enum { CONV_PANELS = 64 * 1024 };
_Static_assert((int)CONV_PANELS <= (int)LS_SCRATCH_PANELS, "they lie in the scratch");

LS_ALWAYS_INLINE void gather_fold(const int rows, const int vectors, const int lanes, tile acc,
                                  ptrdiff_t depth, const float *const left[MOST_ROWS], const int32_t *offsets,
                                  struct tile_right right)
{
    for (ptrdiff_t k = 0; k < depth; k++) {
        vec b[PANEL_VECTORS];
        if (vectors > 1) /* one vector: loads are what there is too much of */
            LS_UNROLL
        for (int v = 0; v < vectors; v += LINE / VEC)
            __builtin_prefetch(right.p + AHEAD * right.step + v * VEC);
        row_load(vectors, b, right.p, right.last);
        const ptrdiff_t at = offsets[k];
        LS_UNROLL
        for (int r = 0; r < rows; r++) {
            const vec a = lanes == 1 ? vec_all(left[r][at]) : vec_load(left[r] + at);
            LS_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vec_fma(a, b[v], acc[r][v]);
        }
        right.p += right.step;
    }
}

/* Sliding tiles: taps of one row of a window, neighbours, meet neighbouring pixels, and what several of them
 * multiply is loaded once for all.  Without that a tile one vector wide needs a load a multiplication: 75 to
 * 78 % of the FMA peak with all in L1, 97 with it; two vectors, which cannot reach it either, 91 to 95, and
 * 97.  With 16 registers there is no room for what is shared. */
#ifdef __AVX512F__
#    define LS_SLIDING_TILES
enum { SLIDE = 3 /* taps of a row */, SLIDE_PIXELS = 2 };

/* Pixels are then addressed from p; else gcc keeps a register, or a place in memory, for each sum of indices.
 */
#    define LS_ONE_POINTER(p) __asm__("" : "+r"(p))

/* Rows are neighbouring pixels, `step` apart, depth are taps, whose threes go to the right, or (`back`) to
 * the left. */
LS_ALWAYS_INLINE void slide_fold(const int rows, const int vectors, const int back, tile acc, ptrdiff_t depth,
                                 const float *left, ptrdiff_t step, const int32_t *offsets,
                                 const float *right)
{
    enum { REACH = 4 /* pixels that are addressed from one pointer */ };
    for (ptrdiff_t k = 0; k < depth; k += SLIDE) {
        const float *from = left + offsets[k] - (back ? (SLIDE - 1) * step : 0);
        vec x[MOST_ROWS + SLIDE - 1];
        LS_UNROLL
        for (int r = 0; r < rows + SLIDE - 1; r++) {
            if (r % REACH == 0) {
                from += r > 0 ? REACH * step : 0;
                LS_ONE_POINTER(from);
            }
            x[r] = vec_all(from[r % REACH * step]);
        }
        LS_UNROLL
        for (int t = 0; t < SLIDE; t++, right += vectors * VEC) {
            vec b[PANEL_VECTORS];
            LS_UNROLL
            for (int v = 0; v < vectors; v++) {
                __builtin_prefetch(right + AHEAD * vectors * VEC + v * VEC);
                b[v] = vec_load(right + v * VEC);
            }
            LS_UNROLL
            for (int r = 0; r < rows; r++)
                LS_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[r][v] = vec_fma(x[back ? r + SLIDE - 1 - t : r + t], b[v], acc[r][v]);
        }
    }
}

/* S neighbouring pixels, at most SLIDE_PIXELS: rows are SLIDE taps of each group, from left[group] + at on,
 * and behind them, with a `bias`, its row. */
LS_ALWAYS_INLINE void slide_pixels(const int S, const int groups, const int bias, const int vectors, tile acc,
                                   const float *const left[MOST_ROWS], ptrdiff_t at, struct tile_right right)
{
    vec b[SLIDE_PIXELS][PANEL_VECTORS];
    LS_UNROLL
    for (int s = 0; s < S; s++, right.p += right.step) {
        LS_UNROLL
        for (int v = 0; v < vectors; v++)
            __builtin_prefetch(right.p + AHEAD * right.step + v * VEC);
        row_load(vectors, b[s], right.p, right.last);
    }
    LS_UNROLL
    for (int g = 0; g < groups; g++) {
        const float *from = left[g] + at;
        LS_ONE_POINTER(from);
        vec x[SLIDE_PIXELS + SLIDE - 1];
        LS_UNROLL
        for (int i = 0; i < S + SLIDE - 1; i++)
            x[i] = vec_all(from[i]);
        LS_UNROLL
        for (int s = 0; s < S; s++)
            LS_UNROLL
        for (int tap = 0; tap < SLIDE; tap++)
            LS_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[g * SLIDE + tap][v] = vec_fma(x[s + tap], b[s][v], acc[g * SLIDE + tap][v]);
    }
    LS_UNROLL
    for (int s = 0; bias && s < S; s++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[groups * SLIDE][v] = acc[groups * SLIDE][v] + b[s][v];
}

/* Depth are pixels, of which S at a time are neighbours. */
LS_ALWAYS_INLINE void slide_gradient_fold(const int S, const int groups, const int bias, const int vectors,
                                          tile acc, ptrdiff_t depth, const float *const left[MOST_ROWS],
                                          const int32_t *offsets, struct tile_right right)
{
    for (ptrdiff_t k = 0; k < depth; k += S, right.p += S * right.step)
        slide_pixels(S, groups, bias, vectors, acc, left, offsets[k], right);
}
#endif

/* The same as gather_fold for at most HALF columns whose pixels cannot be the lanes (conv_few_columns.h),
 * where vectors of half the width come two at a time on processors whose 512-bit fma takes two cycles. */
#if defined(__AVX512F__)
enum { HALF = VEC / 2 };

LS_ALWAYS_INLINE void gather_fold_half(const int rows, tile acc, ptrdiff_t depth,
                                       const float *const left[MOST_ROWS], const int32_t *offsets,
                                       struct tile_right right)
{
    const __mmask8 mask = (__mmask8)((1u << (right.last < HALF ? right.last : HALF)) - 1);
    __m256 sum[MOST_ROWS];
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        sum[r] = _mm512_castps512_ps256(acc[r][0]);
    for (ptrdiff_t k = 0; k < depth; k++, right.p += right.step) {
        const __m256 b = _mm256_maskz_loadu_ps(mask, right.p);
        const ptrdiff_t at = offsets[k];
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            sum[r] = _mm256_fmadd_ps(_mm256_set1_ps(left[r][at]), b, sum[r]);
    }
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        acc[r][0] = _mm512_zextps256_ps512(sum[r]);
}
#else
enum { HALF = 0 };

LS_ALWAYS_INLINE void gather_fold_half(const int rows, tile acc, ptrdiff_t depth,
                                       const float *const left[MOST_ROWS], const int32_t *offsets,
                                       struct tile_right right)
{
    gather_fold(rows, 1, 1, acc, depth, left, offsets, right);
}
#endif

#endif
