/* Part of a transpose, on this thread. */
#ifndef LS_COMPUTE_PARALLEL_TRANSPOSE_H
#define LS_COMPUTE_PARALLEL_TRANSPOSE_H

#include "compute/parallel/team.h"
#include "compute/parallel/vec.h"

/* Rows [j.begin, j.end) of one result (columns, rows) of `from` (rows, columns). */
void LS_PER_ISA(ls_transpose_rows)(ptrdiff_t rows, ptrdiff_t columns, struct range j, float *to,
                                   const float *from);

#endif
