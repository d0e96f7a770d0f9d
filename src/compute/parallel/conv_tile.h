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

/* The same for at most HALF columns, where vectors of half the width come two at a time: on processors whose
 * 512-bit fma takes two cycles, convolutions to or from 6 channels are 1.4 times as fast. */
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
