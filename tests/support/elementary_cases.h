/* The elementary functions as a table, for the unit test and for the exhaustive sweep: each with its binary64
 * reference and with the array loop that kernels write, compiled for every ISA of this architecture.
 *
 * The loops use target attributes, so that one file holds scalar and vector code of the same source and can
 * compare their bits.  libm in binary64 is a fair judge: its error is 2^-29 of what is measured here. */
#ifndef LS_TESTS_ELEMENTARY_CASES_H
#define LS_TESTS_ELEMENTARY_CASES_H

#include <math.h>
#include <stddef.h>

#include "base/elementary.h"

enum case_isa { CASE_PLAIN, CASE_AVX2, CASE_AVX512, CASE_ISAS };

typedef void case_loop(ptrdiff_t n, float *restrict y, const float *restrict x);

struct elementary_case {
    const char *name;
    float (*one)(float x);
    double (*exact)(double x);
    case_loop *loop[CASE_ISAS]; /* NULL: this architecture has no such ISA */
};

#define CASE_LOOP(function, isa, target_attribute)                                                           \
    target_attribute static void function##_##isa(ptrdiff_t n, float *restrict y, const float *restrict x)   \
    {                                                                                                        \
        for (ptrdiff_t i = 0; i < n; i++)                                                                    \
            y[i] = ls_##function(x[i]);                                                                      \
    }
#ifdef __x86_64__
#    define CASE_LOOPS(function)                                                                             \
        CASE_LOOP(function, plain, )                                                                         \
        CASE_LOOP(function, avx2, __attribute__((target("avx2,fma"))))                                       \
        CASE_LOOP(function, avx512, __attribute__((target("avx512f,avx512dq,avx512bw,fma"))))
#    define CASE_TABLE(function)                                                                             \
        {                                                                                                    \
            function##_plain, function##_avx2, function##_avx512                                             \
        }
#else
#    define CASE_LOOPS(function) CASE_LOOP(function, plain, )
#    define CASE_TABLE(function)                                                                             \
        {                                                                                                    \
            function##_plain                                                                                 \
        }
#endif

CASE_LOOPS(exp)
CASE_LOOPS(log)
CASE_LOOPS(log1p)
CASE_LOOPS(tanh)
CASE_LOOPS(sigmoid)
CASE_LOOPS(erf)

static double exact_sigmoid(double x)
{
    return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}

static const struct elementary_case elementary_cases[] = {
    {"exp", ls_exp, exp, CASE_TABLE(exp)},
    {"log", ls_log, log, CASE_TABLE(log)},
    {"log1p", ls_log1p, log1p, CASE_TABLE(log1p)},
    {"tanh", ls_tanh, tanh, CASE_TABLE(tanh)},
    {"sigmoid", ls_sigmoid, exact_sigmoid, CASE_TABLE(sigmoid)},
    {"erf", ls_erf, erf, CASE_TABLE(erf)},
};
enum { N_ELEMENTARY_CASES = sizeof elementary_cases / sizeof elementary_cases[0] };

static inline int case_isa_runs_here(enum case_isa isa)
{
#ifdef __x86_64__
    if (isa == CASE_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == CASE_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
#endif
    return isa == CASE_PLAIN;
}

/* The loop for the best ISA of this machine. */
static inline case_loop *case_fastest_loop(const struct elementary_case *function)
{
    for (int isa = CASE_AVX512; isa > CASE_PLAIN; isa--)
        if (function->loop[isa] && case_isa_runs_here((enum case_isa)isa))
            return function->loop[isa];
    return function->loop[CASE_PLAIN];
}

/* |y - exact| in units in the last place of binary32 at `exact` (of the subnormal spacing, where that is
 * coarser). Infinite when the two are of different kinds: NaN and number, infinity and a number that is not
 * about to overflow, zeros of different sign.  An exact NaN asks for the one NaN the functions promise. */
static inline double case_ulp_error(float y, double exact)
{
    const double wrong = (double)INFINITY;
    if (isnan(exact))
        return ls_bits(y) == LS_NAN_BITS ? 0 : wrong;
    if (isnan(y))
        return wrong;
    if (isinf(exact) || exact == 0)
        return (double)y == exact && !signbit(y) == !signbit(exact) ? 0 : wrong;
    int exponent;
    frexp(exact, &exponent);
    /* An infinite y stands for the number that binary32 would have next, were its exponents unbounded. */
    const double reached = isinf(y) ? copysign(0x1p128, (double)y) : (double)y;
    if (isinf(y) && exponent > 128)
        return signbit(exact) == signbit(reached) ? 0 : wrong;
    const int spacing = exponent - 24 < -149 ? -149 : exponent - 24;
    return ldexp(fabs(reached - exact), -spacing);
}

#endif
