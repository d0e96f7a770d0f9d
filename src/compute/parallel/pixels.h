/* Bytes as numbers. */
#ifndef LS_COMPUTE_PARALLEL_PIXELS_H
#define LS_COMPUTE_PARALLEL_PIXELS_H

#include "base/contract.h"
#include "compute/parallel/vec.h"

/* 1 / divisor, to twice the precision of a float where that is of use. */
struct pixel_unit {
    float divisor, high, low;
};

static inline struct pixel_unit pixel_unit_of(float divisor)
{
    const float high = 1.0f / divisor;
    return (struct pixel_unit){divisor, high, ls_fma(-high, divisor, 1.0f) / divisor};
}

/* p / divisor, rounded once, for p in 0..255.  With a hardware fma it comes from a multiplication and an fma,
 * a fifth of a division's time; tests/unit/test_ops.c proves it equal for every pixel and divisor. */
LS_ALWAYS_INLINE float pixel_quotient(uint8_t pixel, struct pixel_unit unit)
{
    const float p = (float)pixel;
#if defined(__FMA__) || defined(__aarch64__)
    return ls_fma(p, unit.high, p * unit.low);
#else
    return p / unit.divisor;
#endif
}

/* As numbers: compilers widen bytes in two steps, and take them apart in between. */
#if defined(__AVX512F__)
LS_ALWAYS_INLINE vec vec_of_bytes(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
#elif defined(__AVX2__)
LS_ALWAYS_INLINE vec vec_of_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
#endif

/* to[k] = from[k] / divisor. */
static inline void scale_row(ptrdiff_t K, float *restrict to, const uint8_t *restrict from,
                             struct pixel_unit unit)
{
    ptrdiff_t k = 0;
#if defined(__AVX512F__) || defined(__AVX2__)
    for (; k + VEC <= K; k += VEC) {
        const vec p = vec_of_bytes(from + k);
        vec_store(to + k, vec_fma(p, vec_all(unit.high), p * vec_all(unit.low)));
    }
#endif
    for (; k < K; k++)
        to[k] = pixel_quotient(from[k], unit);
}

#endif
