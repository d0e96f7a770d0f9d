/* One vector of floats of the ISA this file is compiled for: load, store, the first few elements of either,
 * and fma.
 *
 * The Makefile compiles every file of this folder once an ISA with -DLS_ISA=portable, avx2 or avx512.
 * LS_PER_ISA(name) makes an exported symbol that ISA's own; everything else in the folder is static.
 * Arithmetic on a `vec` is GNU C's elementwise operators; only fma, comparison and partial access need to
 * know the ISA.  `portable` is what the compiler's baseline has, so on x86-64 its fma is a call of libm:
 * correct, and slow. */
#ifndef LS_COMPUTE_PARALLEL_VEC_H
#define LS_COMPUTE_PARALLEL_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#    include <immintrin.h>
#elif defined(__aarch64__)
#    include <arm_neon.h>
#endif

#define LS_JOIN_(a, b) a##_##b
#define LS_JOIN(a, b) LS_JOIN_(a, b)
#define LS_PER_ISA(name) LS_JOIN(name, LS_ISA)
#define LS_TEXT_(a) #a
#define LS_TEXT(a) LS_TEXT_(a)

#define LS_ALWAYS_INLINE static inline __attribute__((always_inline))
/* Loops over a register tile must disappear, or the tile lives in memory. */
#ifdef __clang__
#    define LS_UNROLL _Pragma("unroll")
#else
#    define LS_UNROLL _Pragma("GCC unroll 16")
#endif

/* Register tiles (tile.h): up to PANEL_VECTORS vectors wide, and as high as leaves registers for one row of
 * the panel and a broadcast.  The wider, the fewer loads a multiplication. */
#if defined(__AVX512F__)
enum { VEC = 16, PANEL_VECTORS = 4, TILE_VECTORS = 24 };
#elif defined(__AVX2__)
enum { VEC = 8, PANEL_VECTORS = 2, TILE_VECTORS = 12 };
#else
enum { VEC = 4, PANEL_VECTORS = 4, TILE_VECTORS = 24 };
#endif
enum { PANEL = VEC * PANEL_VECTORS };

typedef float vec __attribute__((vector_size(VEC * sizeof(float))));
typedef int32_t vec_bits __attribute__((vector_size(VEC * sizeof(int32_t))));

LS_ALWAYS_INLINE vec vec_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

LS_ALWAYS_INLINE void vec_store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

LS_ALWAYS_INLINE vec vec_zero(void)
{
    return (vec){0};
}

LS_ALWAYS_INLINE vec vec_all(float a)
{
    return a - vec_zero(); /* not a + 0, which would turn -0 into +0 */
}

#if defined(__AVX512F__)

LS_ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* +0 where y <= 0, else v: a NaN in y lets v through. */
LS_ALWAYS_INLINE vec vec_if_positive(vec y, vec v)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_NLE_UQ), v);
}

/* The first n elements, 0 <= n <= VEC; the rest read as +0 and are never touched. */
LS_ALWAYS_INLINE vec vec_load_first(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

LS_ALWAYS_INLINE void vec_store_first(float *p, vec v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}

#elif defined(__AVX2__)

LS_ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

LS_ALWAYS_INLINE vec vec_if_positive(vec y, vec v)
{
    return _mm256_and_ps(_mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_NLE_UQ), v);
}

LS_ALWAYS_INLINE __m256i vec_first_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

LS_ALWAYS_INLINE vec vec_load_first(const float *p, int n)
{
    return _mm256_maskload_ps(p, vec_first_mask(n));
}

LS_ALWAYS_INLINE void vec_store_first(float *p, vec v, int n)
{
    _mm256_maskstore_ps(p, vec_first_mask(n), v);
}

#else

LS_ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
#    ifdef __aarch64__
    return vfmaq_f32(c, a, b);
#    else
    return (vec){__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]),
                 __builtin_fmaf(a[2], b[2], c[2]), __builtin_fmaf(a[3], b[3], c[3])};
#    endif
}

LS_ALWAYS_INLINE vec vec_if_positive(vec y, vec v)
{
    vec_bits bits, stopped = (vec_bits)(y <= vec_zero());
    memcpy(&bits, &v, sizeof bits);
    bits &= ~stopped;
    memcpy(&v, &bits, sizeof v);
    return v;
}

LS_ALWAYS_INLINE vec vec_load_first(const float *p, int n)
{
    vec v = vec_zero();
    if (n == VEC)
        return vec_load(p);
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

LS_ALWAYS_INLINE void vec_store_first(float *p, vec v, int n)
{
    memcpy(p, &v, (size_t)n * sizeof *p);
}

#endif

/* All of a vector, or its first n elements. */
LS_ALWAYS_INLINE vec some_load(const float *p, int n)
{
    return n == VEC ? vec_load(p) : vec_load_first(p, n);
}

LS_ALWAYS_INLINE void some_store(float *p, vec v, int n)
{
    if (n == VEC)
        vec_store(p, v);
    else
        vec_store_first(p, v, n);
}

LS_ALWAYS_INLINE int some_of(ptrdiff_t left)
{
    return left < VEC ? (int)left : VEC;
}

#endif
