/* Samples become rows of a matrix; see compute/ops.h. */
#ifndef LS_COMPUTE_PARALLEL_GATHER_H
#define LS_COMPUTE_PARALLEL_GATHER_H

#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

void LS_PER_ISA(ls_gather)(const struct ls_gather *g);
void LS_PER_ISA(ls_gather_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const int64_t *index,
                                void (*row)(const void *context, int64_t index, float *x),
                                const void *context);

/* These rows and columns alone, of the copy at x, on this thread; rows behind them are fetched. */
void LS_PER_ISA(ls_gather_rectangle)(const struct ls_gather *g, float *x, struct range rows,
                                     struct range columns);

#endif
