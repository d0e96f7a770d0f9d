/* `lockstep bench kernels`: the dense products and convolutions against the oracle, then against the
 * machine's peak. */
#ifndef LS_CLI_BENCH_KERNELS_H
#define LS_CLI_BENCH_KERNELS_H

#include "base/status.h"
#include "cli/session.h"

/* Verifies every product of every benchmarked shape bit for bit against the serial oracle, then times it on
 * one thread and on the session's: GFLOP/s, best and median, and the share of the FMA peak measured in the
 * same seconds.  Prints a table to stdout; the dense products take about `seconds`, the convolutions
 * as long, plus the oracle's time.  Local.
 * LS_DIFFERENT when a product differs from the oracle, LS_FAILED when out of memory. */
enum ls_code ls_bench_kernels(struct ls_session *session, double seconds, struct ls_error *err);

/* The parts that its two files share. */

/* The convolutions' half of the table; top[0] and top[1] are the best peaks seen so far, of one thread and of
 * `threads`. */
enum ls_code ls_bench_convolutions(const struct ls_ops *ops, int threads, double seconds, double top[2],
                                   struct ls_error *err);

typedef void ls_bench_run(const struct ls_ops *ops, const void *context);

/* Times body(ops, context), `flops` operations, for about `seconds` and prints its half of a row.  A best is
 * compared with the best peak of the whole bench so far, *top; a median with the median peak of these
 * seconds. */
void ls_bench_time(const struct ls_ops *ops, ls_bench_run *body, const void *context, double flops,
                   int threads, double seconds, double *top);

/* n numbers in [-1, 1), the same for the same `which`; NULL when out of memory. */
float *ls_bench_floats(ptrdiff_t n, uint64_t which, struct ls_error *err);

#endif
