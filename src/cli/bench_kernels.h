/* `lockstep bench kernels`: the dense products against the oracle, then against the machine's peak. */
#ifndef LS_CLI_BENCH_KERNELS_H
#define LS_CLI_BENCH_KERNELS_H

#include "base/status.h"
#include "cli/session.h"

/* Verifies every product of every benchmarked shape bit for bit against the serial oracle, then times it on
 * one thread and on the session's: GFLOP/s, best and median, and the share of the FMA peak measured in the
 * same seconds.  Prints a table to stdout; all of it takes about `seconds` plus the oracle's time.  Local.
 * LS_DIFFERENT when a product differs from the oracle, LS_FAILED when out of memory. */
enum ls_code ls_bench_kernels(struct ls_session *session, double seconds, struct ls_error *err);

#endif
