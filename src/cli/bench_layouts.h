/* Layouts of a job that are measured beside each other: how many ranks, with how many threads each. */
#ifndef LS_CLI_BENCH_LAYOUTS_H
#define LS_CLI_BENCH_LAYOUTS_H

#include "base/status.h"

struct ls_layout {
    int ranks, threads;
};

enum { LS_MOST_LAYOUTS = 64 };

/* Ascending by threads, then ranks; each once. */
struct ls_layouts {
    int n;
    struct ls_layout at[LS_MOST_LAYOUTS];
};

/* Local.  Of a job of n_ranks: those that `text` has, as "1x1,1x2,2x1", ranks x threads; NULL: 1, 2, 4 ...
 * and all ranks, with `threads` each.  What each is compared with comes along: one rank with as many threads,
 * and one with one. */
enum ls_code ls_layouts_choose(struct ls_layouts *layouts, const char *text, int n_ranks, int threads,
                               struct ls_error *err);

#endif
