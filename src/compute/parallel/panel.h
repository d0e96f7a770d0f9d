/* Panels: PANEL columns of the right-hand matrix, packed row after row into a thread's scratch and padded
 * with +0, so that tiles read them with full vectors, one stream, and no conflict of cache sets or TLB
 * entries whatever the matrix's stride. */
#ifndef LS_COMPUTE_PARALLEL_PANEL_H
#define LS_COMPUTE_PARALLEL_PANEL_H

#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

/* panel[k][j] = b[k * step + j] for j < columns, +0 up to a whole vector. */
static inline void panel_pack(float *panel, ptrdiff_t depth, const float *b, ptrdiff_t step, int columns)
{
    const int vectors = (columns + VEC - 1) / VEC, last = columns - (vectors - 1) * VEC;
    if (columns == PANEL) {
        for (ptrdiff_t k = 0; k < depth; k++)
            LS_UNROLL
        for (int v = 0; v < PANEL_VECTORS; v++)
            vec_store(panel + k * PANEL + v * VEC, vec_load(b + k * step + v * VEC));
        return;
    }
    for (ptrdiff_t k = 0; k < depth; k++) {
        float *row = panel + k * vectors * VEC;
        for (int v = 0; v < vectors - 1; v++)
            vec_store(row + v * VEC, vec_load(b + k * step + v * VEC));
        vec_store(row + (vectors - 1) * VEC, vec_load_first(b + k * step + (vectors - 1) * VEC, last));
    }
}

#if defined(__AVX2__)
typedef float quad __attribute__((vector_size(16)));
typedef float octet __attribute__((vector_size(32)));
enum { BLOCK = 8 };

/* to[j * to_step + i] = from[i * step + j] for i, j < 8.  Halves of two rows four apart are joined on
 * loading, which needs no shuffle unit; that makes 16 shuffles a block, half as many per element as a 16x16
 * transpose of full AVX-512 vectors. */
LS_ALWAYS_INLINE void block_transpose(float *to, ptrdiff_t to_step, const float *from, ptrdiff_t step)
{
    octet r[8], s[8];
    LS_UNROLL
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++)
            r[i + 4 * half] =
                _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + i * step + 4 * half)),
                                     _mm_loadu_ps(from + (i + 4) * step + 4 * half), 1);
    LS_UNROLL
    for (int h = 0; h < 8; h += 4) {
        s[h + 0] = _mm256_unpacklo_ps(r[h + 0], r[h + 1]);
        s[h + 1] = _mm256_unpackhi_ps(r[h + 0], r[h + 1]);
        s[h + 2] = _mm256_unpacklo_ps(r[h + 2], r[h + 3]);
        s[h + 3] = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
        _mm256_storeu_ps(to + (h + 0) * to_step, _mm256_shuffle_ps(s[h + 0], s[h + 2], 0x44));
        _mm256_storeu_ps(to + (h + 1) * to_step, _mm256_shuffle_ps(s[h + 0], s[h + 2], 0xee));
        _mm256_storeu_ps(to + (h + 2) * to_step, _mm256_shuffle_ps(s[h + 1], s[h + 3], 0x44));
        _mm256_storeu_ps(to + (h + 3) * to_step, _mm256_shuffle_ps(s[h + 1], s[h + 3], 0xee));
    }
}
#else
enum { BLOCK = 4 };

LS_ALWAYS_INLINE void block_transpose(float *to, ptrdiff_t to_step, const float *from, ptrdiff_t step)
{
    LS_UNROLL
    for (int j = 0; j < BLOCK; j++)
        LS_UNROLL
    for (int i = 0; i < BLOCK; i++)
        to[j * to_step + i] = from[i * step + j];
}
#endif

/* panel[k * row + j] = b[j * step + k] for j < columns, +0 up to a whole vector.  LINE depths at a time, so
 * that each line of b is read once however few sets its rows share. */
static inline void panel_pack_transposed(float *panel, ptrdiff_t row, ptrdiff_t depth, const float *b,
                                         ptrdiff_t step, int columns)
{
    const int width = (columns + VEC - 1) / VEC * VEC, whole = columns / BLOCK * BLOCK;
    const ptrdiff_t deep = depth / BLOCK * BLOCK;
    for (ptrdiff_t k = 0; k < deep; k += LINE)
        for (int j = 0; j < whole; j += BLOCK)
            for (ptrdiff_t i = k; i < deep && i < k + LINE; i += BLOCK)
                block_transpose(panel + i * row + j, row, b + j * step + i, step);
    for (ptrdiff_t k = deep; k < depth; k++)
        for (int j = 0; j < whole; j++)
            panel[k * row + j] = b[j * step + k];
    for (ptrdiff_t k = 0; k < depth; k++)
        for (int j = whole; j < width; j++)
            panel[k * row + j] = j < columns ? b[j * step + k] : 0.0f;
}

#endif
