/* lanesum of a row whose terms are computed one by one and stored nowhere: contract rule 4 for the oracle. */
#ifndef LS_COMPUTE_SERIAL_ROW_SUM_H
#define LS_COMPUTE_SERIAL_ROW_SUM_H

#include <stddef.h>

#include "base/contract.h"

/* Begins as {.count = 0}; terms come in ascending order, which is each lane's order too. */
struct row_sum {
    ptrdiff_t count;
    float lane[LS_LANES];
    struct ls_tree blocks;
};

static inline void row_sum_close_block(struct row_sum *sum)
{
    ls_tree_push(&sum->blocks, ls_lanesum_block(sum->lane, LS_LANES));
    for (int l = 0; l < LS_LANES; l++)
        sum->lane[l] = 0.0f;
}

static inline void row_sum_add(struct row_sum *sum, float term)
{
    const ptrdiff_t lane = sum->count % LS_LANES;
    sum->lane[lane] = ls_fma(term, 1.0f, sum->lane[lane]);
    if (++sum->count % LS_LANESUM_BLOCK == 0)
        row_sum_close_block(sum);
}

static inline float row_sum_end(struct row_sum *sum)
{
    if (sum->count % LS_LANESUM_BLOCK != 0 || sum->count == 0)
        row_sum_close_block(sum);
    return ls_tree_sum(&sum->blocks);
}

#endif
