/* The elementary functions of contract rule 5: exp, log, log1p, tanh, erf, sigmoid, and the normal quantile
 * that initialisation uses.
 *
 * Each is one fixed sequence of IEEE binary32 operations (+ - * / sqrt fma) and of unsigned integer
 * operations on bit patterns: no tables, no branches, no libm.  Both implementations of compute/ops.h include
 * this file, so the serial and the vector result are the same bits by construction.  A plain loop `y[i] =
 * ls_exp(x[i])` becomes vector code: choices are written `condition ? a : b` with both sides already
 * computed.
 *
 * Domain: all of binary32, subnormal arguments and results included.  Every NaN that comes out is the same
 * quiet NaN, LS_NAN_BITS: what processors make of a NaN themselves differs in sign and payload.
 *
 * Errors are in units in the last place of the true value, the largest over all 2^32 arguments as `make
 * exhaustive` measures it.  Polynomials are minimax fits (Remez exchange at 120 bits) in the metric of the
 * final relative error, with coefficients rounded to binary32; "fit" is what that leaves before rounding. */
#ifndef LS_BASE_ELEMENTARY_H
#define LS_BASE_ELEMENTARY_H

#include <float.h>
#include <stdint.h>
#include <string.h>

#include "base/contract.h"

#if defined __FAST_MATH__ || __FINITE_MATH_ONLY__ || FLT_EVAL_METHOD != 0
#    error "these sequences need IEEE binary32 arithmetic as written: no -ffast-math, no x87"
#endif

#define LS_NAN_BITS 0x7fc00000u

static inline uint32_t ls_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float ls_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* `y`, or the one NaN where `x` is any NaN. */
static inline float ls_keep_nan(float x, float y)
{
    return x != x ? ls_float(LS_NAN_BITS) : y;
}

/* r and n with x = n ln2 + r, |r| <= 0.347, n whole; |x| < 2^22.  Adding 1.5 * 2^23 rounds to the nearest
 * whole number and leaves n in the low bits.  ln2 is split in two (Cody and Waite): n times the high part,
 * which has 21 bits, cancels exactly against x. */
static inline float ls_exp_reduce(float x, uint32_t *n)
{
    const float shift = 0x1.8p23f;
    const float shifted = ls_fma(x, 0x1.715476p+0f, shift);
    const float whole = shifted - shift;
    *n = ls_bits(shifted) - ls_bits(shift);
    const float r = ls_fma(whole, -0x1.62e43p-1f, x);
    return ls_fma(whole, 0x1.05c61p-29f, r);
}

/* exp(r), |r| <= 0.347: 1 + r + r^2 q(r), q of degree 4; fit 2^-28.2. */
static inline float ls_exp_core(float r)
{
    float q = 0x1.6ac74cp-10f;
    q = ls_fma(q, r, 0x1.123dep-7f);
    q = ls_fma(q, r, 0x1.555858p-5f);
    q = ls_fma(q, r, 0x1.55548cp-3f);
    q = ls_fma(q, r, 0x1.fffffcp-2f);
    q = ls_fma(q, r, 1.0f);
    return ls_fma(q, r, 1.0f);
}

/* e^x.  x = n ln2 + r, e^x = 2^n e^r; 2^n is applied as two factors, so that overflow and subnormal results
 * come out of the last multiplication, rounded once there.  Beyond the clamp the result is inf or +0 anyway.
 * Error 0.892 ulp, at x = -5.849. */
static inline float ls_exp(float x)
{
    const float low = x < -105.0f ? -105.0f : x;
    const float clamped = low > 89.0f ? 89.0f : low;
    uint32_t n;
    const float y = ls_exp_core(ls_exp_reduce(clamped, &n));
    /* n + 256 is not negative, so the shift is a floor; half is floor(n / 2) + 127, a biased exponent. */
    const uint32_t half = ((n + 256u) >> 1) - 1u;
    const uint32_t rest = n + 254u - half;
    return ls_keep_nan(x, y * ls_float(half << 23) * ls_float(rest << 23));
}

/* log(1 + f) + k ln2 for 1 + f in [2/3, 4/3]: f - f^2/2 + f^3 p(f), p of degree 7; fit 2^-26.8.  The small
 * terms are added up first; k times the high part of ln2 is exact. */
static inline float ls_log_core(float f, float k)
{
    float p = -0x1.04cba2p-3f;
    p = ls_fma(p, f, 0x1.20822cp-3f);
    p = ls_fma(p, f, -0x1.f4ded6p-4f);
    p = ls_fma(p, f, 0x1.1e848ep-3f);
    p = ls_fma(p, f, -0x1.5589b4p-3f);
    p = ls_fma(p, f, 0x1.99d28ep-3f);
    p = ls_fma(p, f, -0x1.ffff78p-3f);
    p = ls_fma(p, f, 0x1.55550cp-2f);
    p = ls_fma(p, f, -0.5f);
    const float tail = ls_fma(p, f * f, k * -0x1.05c61p-29f);
    return ls_fma(k, 0x1.62e43p-1f, f + tail);
}

/* The exponent k, as a multiple of 2^23, that brings a positive normal number with these bits into [2/3, 4/3)
 * when subtracted; and k as a float. */
static inline uint32_t ls_log_exponent(uint32_t bits, float *k)
{
    const uint32_t biased = (bits + (0x3f800000u - 0x3f2aaaabu)) & 0xff800000u;
    *k = (float)(int32_t)(biased >> 23) - 127.0f;
    return biased - 0x3f800000u;
}

/* log x.  x = 2^k (1 + f); a subnormal is first multiplied by 2^24.  -inf at zeros, NaN below.
 * Error 0.895 ulp, at x = 1.284. */
static inline float ls_log(float x)
{
    const int small = x < 0x1p-126f;
    const uint32_t bits = ls_bits(small ? x * 0x1p24f : x);
    float k;
    const uint32_t exponent = ls_log_exponent(bits, &k);
    const float y = ls_log_core(ls_float(bits - exponent) - 1.0f, small ? k - 24.0f : k);
    const float finite = x < __builtin_inff() ? y : x;
    const float above = x > 0.0f ? finite : ls_float(LS_NAN_BITS);
    return x == 0.0f ? -__builtin_inff() : above;
}

/* log(1 + x).  The rounded 1 + x only chooses k; then f = (1 + x) 2^-k - 1 is found from x itself with one
 * rounding, as x 2^-k + (2^-k - 1), so nothing of a small x is lost.  -inf at -1, NaN below.
 * Error 1.618 ulp, at x = 0.355, where f has been rounded and k ln2 partly cancels. */
static inline float ls_log1p(float x)
{
    float k;
    const uint32_t exponent = ls_log_exponent(ls_bits(1.0f + x), &k);
    const float four_scale = ls_float(0x40800000u - exponent); /* 4 * 2^-k: normal even for k = 128 */
    const float f = ls_float(ls_bits(x) - exponent) + ls_fma(four_scale, 0.25f, -1.0f);
    const float y = ls_log_core(f, k);
    const float finite = x < __builtin_inff() ? y : x;
    const float above = x > -1.0f ? finite : ls_float(LS_NAN_BITS);
    const float edge = x == -1.0f ? -__builtin_inff() : above;
    return x == 0.0f ? x : edge; /* -0 stays itself */
}

/* tanh x, odd by construction.  |x| < 0.55: x + x^3 p(x^2), p of degree 4, fit 2^-29.7; beyond,
 * 1 - 2 / (e^(2|x|) + 1), where the quotient is below 1/2 and its error shrinks against the 1; from 10 on the
 * argument is held, the result has long been 1.  Error 1.590 ulp, at x = 0.554. */
static inline float ls_tanh(float x)
{
    const uint32_t sign = ls_bits(x) & 0x80000000u;
    const float a = ls_float(ls_bits(x) ^ sign);
    const float square = a * a;
    float p = -0x1.9c6032p-8f;
    p = ls_fma(p, square, 0x1.5979acp-6f);
    p = ls_fma(p, square, -0x1.b9310cp-5f);
    p = ls_fma(p, square, 0x1.110d66p-3f);
    p = ls_fma(p, square, -0x1.55554cp-2f);
    const float small = ls_fma(p, square * a, a);
    uint32_t n;
    const float y = ls_exp_core(ls_exp_reduce(a > 10.0f ? 20.0f : a + a, &n));
    const float power = ls_float(ls_bits(y) + (n << 23)); /* 0 <= n <= 29 */
    const float large = 1.0f - 2.0f / (power + 1.0f);
    const float t = a < 0.55f ? small : large;
    return ls_keep_nan(x, ls_float(ls_bits(t) | sign));
}

/* erf x, odd by construction.  |x| < 0.96: x + x q(x^2), q of degree 6, fit 2^-30.4; beyond,
 * 1 - e^-(|x| + |x| p(|x|)) with p of degree 6, fit 2^-30.8, where the exponential is below 0.18 and its
 * error shrinks against the 1; from 4 on the argument is held, the result has long been 1.  Error 1.026 ulp,
 * at x = 1.059. */
static inline float ls_erf(float x)
{
    const uint32_t sign = ls_bits(x) & 0x80000000u;
    const float a = ls_float(ls_bits(x) ^ sign);
    const float square = a * a;
    float q = 0x1.4faa52p-14f;
    q = ls_fma(q, square, -0x1.a61842p-11f);
    q = ls_fma(q, square, 0x1.544b0ap-8f);
    q = ls_fma(q, square, -0x1.b80124p-6f);
    q = ls_fma(q, square, 0x1.ce2d64p-4f);
    q = ls_fma(q, square, -0x1.812740p-2f);
    q = ls_fma(q, square, 0x1.06eba8p-3f);
    const float small = ls_fma(q, a, a);
    const float held = a > 4.0f ? 4.0f : a;
    float p = 0x1.a9b642p-17f;
    p = ls_fma(p, held, -0x1.61e2cap-12f);
    p = ls_fma(p, held, 0x1.e551cap-9f);
    p = ls_fma(p, held, -0x1.876c9ep-6f);
    p = ls_fma(p, held, 0x1.b3c388p-4f);
    p = ls_fma(p, held, 0x1.45267ap-1f);
    p = ls_fma(p, held, 0x1.0784e4p-3f);
    uint32_t n;
    const float y = ls_exp_core(ls_exp_reduce(-ls_fma(p, held, held), &n));
    const float power = ls_float(ls_bits(y) + (n << 23)); /* -24 <= n < 0 */
    const float t = a < 0.96f ? small : 1.0f - power;
    return ls_keep_nan(x, ls_float(ls_bits(t) | sign));
}

/* 1 / (1 + e^-x).  With e = e^-|x| <= 1: 1 / (1 + e) for x >= 0, e / (1 + e) below; nothing overflows, and
 * far below zero the result is e itself, down to the smallest subnormal.  A plain quotient is up to 2.3 ulp
 * off, so one Newton step corrects it for its own rounding and for what 1 + e lost.  Error 1.480 ulp, at x =
 * -4.846. */
static inline float ls_sigmoid(float x)
{
    const float e = ls_exp(ls_float(ls_bits(x) | 0x80000000u));
    const float top = x < 0.0f ? e : 1.0f;
    const float bottom = 1.0f + e;
    const float lost = e - (bottom - 1.0f);
    const float inverse = 1.0f / bottom;
    const float quotient = top * inverse;
    const float residue = ls_fma(-quotient, lost, ls_fma(-quotient, bottom, top));
    return ls_keep_nan(x, ls_fma(residue, inverse, quotient));
}

/* The z with P(Z <= z) = u for a standard normal Z; 0 < u < 1, outside the result means nothing.
 * M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 37
 * (1988), 477-484, routine PPND7: three rational functions, good to about one part in 10^7 in exact
 * arithmetic. Error 4e-7 relative.  Odd about 1/2 by construction. */
static inline float ls_normal_quantile(float u)
{
    const float q = u - 0.5f;
    const int central = q <= 0.425f && q >= -0.425f;
    const float side = q < 0.0f ? -1.0f : 1.0f;
    const float r = ls_fma(-q, q, 0.180625f);
    const float central_top =
        ls_fma(ls_fma(ls_fma(59.109374720f, r, 159.29113202f), r, 50.434271938f), r, 3.3871327179f);
    const float central_bottom =
        ls_fma(ls_fma(ls_fma(67.187563600f, r, 78.757757664f), r, 17.895169469f), r, 1.0f);

    const float tail = __builtin_sqrtf(-ls_log(q < 0.0f ? u : 1.0f - u));
    const float s = tail - 1.6f;
    const float near_top =
        ls_fma(ls_fma(ls_fma(0.17023821103f, s, 1.3067284816f), s, 2.7568153900f), s, 1.4234372777f);
    const float near_bottom = ls_fma(ls_fma(0.12021132975f, s, 0.73700164250f), s, 1.0f);
    const float t = tail - 5.0f;
    const float far_top =
        ls_fma(ls_fma(ls_fma(0.017337203997f, t, 0.42868294337f), t, 3.0812263860f), t, 6.6579051150f);
    const float far_bottom = ls_fma(ls_fma(0.012258202635f, t, 0.24197894225f), t, 1.0f);

    const float tail_top = tail <= 5.0f ? near_top : far_top;
    const float tail_bottom = tail <= 5.0f ? near_bottom : far_bottom;
    const float top = (central ? q : side) * (central ? central_top : tail_top);
    return top / (central ? central_bottom : tail_bottom);
}

/* cos(pi x) for 0 <= x <= 1; outside the result means nothing.  About 1/2 it is the sine of what is left, an
 * exact difference, so the zero there is exact and its surroundings are as good as the rest; beyond 3/4 it is
 * minus the cosine of what is left to 1.  Error 1.573 ulp, at x = 0.334. */
static inline float ls_cospi(float x)
{
    const float side = 0.5f - x, past = 1.0f - x;
    const float r = x > 0.75f ? past : x;
    const float near = r * r, square = side * side;
    float c = 0x1.d9f7bcp-3f;
    c = ls_fma(c, near, -0x1.55c664p+0f);
    c = ls_fma(c, near, 0x1.03c1dep+2f);
    c = ls_fma(c, near, -0x1.3bd3ccp+2f);
    const float cosine = ls_fma(c, near, 1.0f);
    float s = 0x1.4be68ep-4f;
    s = ls_fma(s, square, -0x1.32cb24p-1f);
    s = ls_fma(s, square, 0x1.466bbcp+1f);
    s = ls_fma(s, square, -0x1.4abbcep+2f);
    const float low = ls_fma(s, square, -0x1.777a5cp-24f); /* pi is split in two */
    const float sine = ls_fma(side, low, side * 0x1.921fb6p+1f);
    const float outer = x > 0.75f ? -cosine : cosine;
    return x >= 0.25f && x <= 0.75f ? sine : outer;
}

#endif
