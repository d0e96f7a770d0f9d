/* Bytes as numbers. */
#ifndef LS_COMPUTE_PARALLEL_PIXELS_H
#define LS_COMPUTE_PARALLEL_PIXELS_H

#include "base/contract.h"
#include "compute/parallel/vec.h"

/* p / divisor, rounded once, for p in 0..255; inverse = 1.0f / divisor.  With a hardware fma the quotient
 * comes from a multiplication and one correction, three times as fast as dividing; tests/unit/test_ops.c
 * proves it equal for every pixel and divisor. */
LS_ALWAYS_INLINE float pixel_quotient(uint8_t pixel, float divisor, float inverse)
{
    const float p = (float)pixel;
#if defined(__FMA__) || defined(__aarch64__)
    const float quotient = p * inverse;
    return ls_fma(ls_fma(-quotient, divisor, p), inverse, quotient);
#else
    (void)inverse;
    return p / divisor;
#endif
}

/* to[k] = from[k] / divisor. */
static inline void scale_row(ptrdiff_t K, float *restrict to, const uint8_t *restrict from, float divisor)
{
    const float inverse = 1.0f / divisor;
    for (ptrdiff_t k = 0; k < K; k++)
        to[k] = pixel_quotient(from[k], divisor, inverse);
}

#endif
