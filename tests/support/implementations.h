/* What tests of operations share: buffers of awkward values, and a loop over every implementation. */
#ifndef TESTS_SUPPORT_IMPLEMENTATIONS_H
#define TESTS_SUPPORT_IMPLEMENTATIONS_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "compute/ops.h"
#include "compute/team.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint64_t random_state = 1;

static inline uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

/* Memory of just that size, so that a build with SAN=address sees any step beyond. */
static inline void *exactly(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    cr_assert(p);
    return p;
}

/* n floats to write into; NaN: what is in an output must not matter. */
static inline float *unset(ptrdiff_t n)
{
    float *v = exactly((size_t)n * sizeof *v);
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = NAN;
    return v;
}

/* Values in [-1, 1).  special: 0 none; 1 one in `rarity` is a zero, a subnormal, huge, infinite or NaN; 2 the
 * same without what is not finite, as everything becoming NaN would prove little; 3 few different values, so
 * that many are equal, zeros of both signs among them. */
static inline float *values_with(ptrdiff_t n, int special, uint32_t rarity)
{
    static const float specials[] = {0.0f,      -0.0f,    0x1p-149f, -0x1.8p-130f, 0x1p-126f, 0x1.fffffep127f,
                                     -0x1p100f, INFINITY, -INFINITY, NAN};
    static const float few[] = {-0.5f, -0.0f, 0.0f, 0.5f};
    float *v = unset(n);
    for (ptrdiff_t i = 0; i < n; i++) {
        v[i] = (float)(int32_t)(random_bits() % 65536) / 32768.0f - 1.0f;
        if (special == 3)
            v[i] = few[random_bits() % COUNT(few)];
        else if (special && random_bits() % rarity == 0)
            v[i] = specials[random_bits() % COUNT(specials)];
        if (special == 2 && !isfinite(v[i]))
            v[i] = -0.0f;
    }
    return v;
}

static inline float *values(ptrdiff_t n, int special)
{
    return values_with(n, special, 8);
}

static inline float *copy_of(ptrdiff_t n, const float *v)
{
    float *c = unset(n);
    memcpy(c, v, (size_t)n * sizeof *c);
    return c;
}

static inline void free_all(size_t n, float *const *all)
{
    for (size_t i = 0; i < n; i++)
        free(all[i]);
}
#define FREE(...) free_all(COUNT(((float *[]){__VA_ARGS__})), (float *[]){__VA_ARGS__})

static inline void expect_same(const char *op, const struct ls_ops *ops, int threads, const char *shape,
                               ptrdiff_t n, const float *found, const float *expected)
{
    char message[300];
    cr_assert(compare_floats(COMPARE_BITS_OR_NAN, op, (size_t)n, found, expected, message, sizeof message),
              "%s, %d threads, %s: %s", ops->name, threads, shape, message);
}

/* Sanitizers look at accesses, not at bits, and are slow: the most threads have the most edges between them.
 */
#if defined __SANITIZE_ADDRESS__
static const int thread_counts[] = {4, 0};
#else
static const int thread_counts[] = {1, 2, 3, 4, 0};
#endif

/* Runs the body with `ops` and `threads` set to each implementation in turn, on each number of threads,
 * however small an operation is.  Four threads cut outputs both ways, 2 x 2; prime numbers of threads never
 * do. */
#define FOR_EACH_IMPLEMENTATION(ops, threads)                                                                \
    for (const char *const *isa = (ls_worth_a_team_ns = 0, ls_ops_isas()); *isa; isa++)                      \
        for (int of = 0, threads; (threads = thread_counts[of]) > 0; of++)                                   \
            for (const struct ls_ops *ops = (ls_ops_set_threads(threads), ls_ops_parallel(*isa)),            \
                                     *once = ops;                                                            \
                 once; once = NULL)

#endif
