/* `lockstep bench load`. */
#ifndef LS_CLI_BENCH_LOAD_H
#define LS_CLI_BENCH_LOAD_H

#include "cli/session.h"

struct ls_bench_load_options {
    const char *data; /* pixels with labels */
    double seconds;
};

/* On one rank.  Writes the data as gzip IDX files and as an .lsd file into a folder of its own in $TMPDIR, or
 * /tmp, compares what loading gives with the data, and times loading beside the bare work of each: inflating,
 * mapping the file and touching its pages, reading and hashing it.  The files lie in the page cache.
 * LS_DIFFERENT when what was loaded is not the data. */
enum ls_code ls_bench_load(const struct ls_session *session, const struct ls_bench_load_options *options,
                           struct ls_error *err);

#endif
