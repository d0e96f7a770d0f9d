/* The register tile of convolutions: like tile.h's, but the left operand is found by offsets, element (row r,
 * depth k) at left[r][offsets[k]].  Forward and input gradient have pixels as rows and taps as depth, the
 * weight gradient taps as rows and pixels as depth.  `lanes` VEC reads a vector there, for depthwise
 * convolutions, instead of one number for all columns. */
#ifndef LS_COMPUTE_PARALLEL_CONV_TILE_H
#define LS_COMPUTE_PARALLEL_CONV_TILE_H

#include "compute/parallel/tile.h"

LS_ALWAYS_INLINE void gather_fold(const int rows, const int vectors, const int lanes, tile acc,
                                  ptrdiff_t depth, const float *const left[TILE_ROWS], const int32_t *offsets,
                                  struct tile_right right)
{
    for (ptrdiff_t k = 0; k < depth; k++) {
        vec b[PANEL_VECTORS];
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

#endif
