/* `lockstep bench step`. */
#ifndef LS_CLI_BENCH_STEP_H
#define LS_CLI_BENCH_STEP_H

#include "base/status.h"
#include "cli/bench_workload.h"
#include "cli/session.h"

struct ls_bench_step_options {
    struct ls_bench_net net;
    int64_t batch;
    float seconds;
    int json, compare, no_verify;
};

/* Collective.  Two steps against the oracle, then steps for about `seconds`, in turn with measurements of the
 * peak; prints on rank 0.  LS_DIFFERENT when the bits are not the oracle's. */
enum ls_code ls_bench_step(const struct ls_session *session, const struct ls_bench_step_options *options,
                           struct ls_error *err);

#endif
