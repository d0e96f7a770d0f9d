#ifndef M_H
#define M_H
#include "compute/ops.h"
struct ls_machine {
    double fma_one_gflops, fma_all_gflops, read_one_gbytes, read_all_gbytes;
};
static inline void ls_machine_measure(struct ls_machine *m, const struct ls_ops *o)
{
    (void)o;
    *m = (struct ls_machine){0};
}
static inline double ls_machine_fma_gflops(const struct ls_ops *o, int t, double s)
{
    (void)o;
    (void)t;
    (void)s;
    return 1;
}
#endif
