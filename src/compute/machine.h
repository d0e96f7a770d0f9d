/* What this machine can do at best, measured: the denominators of every share that a benchmark prints. */
#ifndef LS_COMPUTE_MACHINE_H
#define LS_COMPUTE_MACHINE_H

#include <stddef.h>

#include "compute/ops.h"

struct ls_machine {
    double fma_one_gflops, fma_all_gflops;   /* on one thread, on ls_ops_threads() */
    double read_one_gbytes, read_all_gbytes; /* 10^9 bytes a second from memory */
};

/* All four, within about a second and a half.  Local. */
void ls_machine_measure(struct ls_machine *machine, const struct ls_ops *ops);

/* Peak of fused multiply-adds in GFLOP/s (two an fma): the widest vectors of the ISA that `ops` uses (for the
 * serial operations, the best ISA here), independent accumulators in registers, no memory.  All `threads` at
 * once, until the last is done.  The best of repeats within about `seconds`.  Local. */
double ls_machine_fma_gflops(const struct ls_ops *ops, int threads, double seconds);

/* 10^9 bytes a second at which `threads` threads together read and add up their own `bytes` each, again and
 * again, the best repeat within about `seconds`: memory bandwidth for a buffer well beyond the caches, else
 * that of the cache it fits in. Local.  0 when out of memory. */
double ls_machine_read_gbytes(const struct ls_ops *ops, int threads, size_t bytes, double seconds);

#endif
