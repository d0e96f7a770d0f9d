/* Owns how vectors are added.  See add.h. */
#include "comm/add.h"

static inline __attribute__((always_inline)) void add(float *sum, const float *left, const float *right,
                                                      ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        sum[i] = left[i] + right[i];
}

#if defined __x86_64__
/* The file's baseline is SSE2, which adds what is in cache at two thirds of this speed: 4 % of an allreduce
 * of 1 MB. */
__attribute__((target("avx2"))) static void add_avx2(float *sum, const float *left, const float *right,
                                                     ptrdiff_t n)
{
    add(sum, left, right, n);
}
#endif

void ls_plan_add(float *sum, const float *left, const float *right, ptrdiff_t n)
{
#if defined __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        add_avx2(sum, left, right, n);
        return;
    }
#endif
    add(sum, left, right, n);
}
