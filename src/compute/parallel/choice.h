/* A vector of choices between floats: which of two is the larger, as maxpool means it (a NaN wins over all
 * that came before it, an equal does not), and what follows from that, element by element. */
#ifndef LS_COMPUTE_PARALLEL_CHOICE_H
#define LS_COMPUTE_PARALLEL_CHOICE_H

#include "compute/parallel/elementwise.h"

#if defined(__AVX512F__)
typedef __mmask16 vec_mask;
LS_ALWAYS_INLINE vec_mask wins(vec v, vec top)
{
    return _mm512_cmp_ps_mask(v, top, _CMP_GT_OQ) | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
}
LS_ALWAYS_INLINE vec choose(vec_mask mask, vec a, vec b)
{
    return _mm512_mask_mov_ps(b, mask, a);
}
LS_ALWAYS_INLINE vec_mask chose(vec_bits index, int tap)
{
    return _mm512_cmpeq_epi32_mask((__m512i)index, _mm512_set1_epi32(tap));
}
LS_ALWAYS_INLINE vec_bits choose_index(vec_mask mask, int tap, vec_bits index)
{
    return (vec_bits)_mm512_mask_mov_epi32((__m512i)index, mask, _mm512_set1_epi32(tap));
}
#else
typedef vec_bits vec_mask;
LS_ALWAYS_INLINE vec_mask wins(vec v, vec top)
{
    return (vec_mask)(v > top) | (vec_mask)(v != v);
}
LS_ALWAYS_INLINE vec choose(vec_mask mask, vec a, vec b)
{
    return (vec)((mask & (vec_bits)a) | (~mask & (vec_bits)b));
}
LS_ALWAYS_INLINE vec_mask chose(vec_bits index, int tap)
{
    return (vec_mask)(index == tap);
}
LS_ALWAYS_INLINE vec_bits choose_index(vec_mask mask, int tap, vec_bits index)
{
    return (mask & tap) | (~mask & index);
}
#endif

#endif
