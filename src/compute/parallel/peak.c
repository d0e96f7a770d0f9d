/* The two inner loops that machine.c times: as many fused multiply-adds as the units take, and reading
 * memory. */
#include "compute/parallel/peak.h"

#include "compute/parallel/vec.h"

/* More chains than latency times throughput of any processor so far (4 cycles x 2 a cycle). */
enum { CHAINS = 12 };

static float multiply_add(long rounds, double *flops)
{
    vec chain[CHAINS], a = vec_all(0.999f), b = vec_all(0.001f);
    for (int i = 0; i < CHAINS; i++)
        chain[i] = vec_all((float)i);
    for (long round = 0; round < rounds; round++) {
        LS_UNROLL
        for (int i = 0; i < CHAINS; i++)
            chain[i] = vec_fma(chain[i], a, b);
    }
    vec sum = vec_zero();
    for (int i = 0; i < CHAINS; i++)
        sum += chain[i];
    *flops = 2.0 * VEC * CHAINS * (double)rounds;
    return sum[0];
}

static float read_all(size_t n, const float *v)
{
    enum { STREAMS = 8 };
    vec sum[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        sum[i] = vec_zero();
    for (size_t at = 0; at < n; at += STREAMS * VEC)
        LS_UNROLL
    for (int i = 0; i < STREAMS; i++)
        sum[i] += vec_load(v + at + (size_t)(i * VEC));
    for (int i = 1; i < STREAMS; i++)
        sum[0] += sum[i];
    return sum[0][0];
}

const struct ls_peak LS_PER_ISA(ls_peak) = {LS_TEXT(LS_ISA), multiply_add, read_all};
