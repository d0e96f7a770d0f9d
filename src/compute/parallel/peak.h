/* The two inner loops that machine.c times, one of each an ISA. */
#ifndef LS_COMPUTE_PARALLEL_PEAK_H
#define LS_COMPUTE_PARALLEL_PEAK_H

#include <stddef.h>

struct ls_peak {
    const char *name;
    /* `rounds` rounds of independent fused multiply-adds; *flops is how many operations that were. */
    float (*multiply_add)(long rounds, double *flops);
    /* The sum of n floats, n a multiple of 256, in no particular order: this result goes nowhere. */
    float (*read)(size_t n, const float *v);
};

extern const struct ls_peak ls_peak_portable;
#ifdef __x86_64__
extern const struct ls_peak ls_peak_avx2, ls_peak_avx512;
#endif

#endif
