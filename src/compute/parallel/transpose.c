/* Transposes of many small matrices, in blocks that vector registers hold. */
#include "compute/parallel/transpose.h"

#include "compute/parallel/elementwise.h"
#include "compute/parallel/panel.h"
#include "compute/parallel/team.h"

struct transposition {
    ptrdiff_t B, rows, columns;
    float *to;
    const float *from;
};

void LS_PER_ISA(ls_transpose_rows)(ptrdiff_t rows, ptrdiff_t columns, struct range j, float *to,
                                   const float *from)
{
    const ptrdiff_t whole_j = j.begin + (j.end - j.begin) / BLOCK * BLOCK, whole_i = rows / BLOCK * BLOCK;
    /* A line's worth of columns for all rows: each line of `from` is read once. */
    for (ptrdiff_t line = j.begin; line < whole_j; line += LINE)
        for (ptrdiff_t i = 0; i < whole_i; i += BLOCK)
            for (ptrdiff_t at = line; at < whole_j && at < line + LINE; at += BLOCK)
                block_transpose(to + at * rows + i, rows, from + i * columns + at, columns);
    for (ptrdiff_t at = j.begin; at < j.end; at++)
        for (ptrdiff_t i = at < whole_j ? whole_i : 0; i < rows; i++)
            to[at * rows + i] = from[i * columns + at];
}

/* The same for few rows, such as the colours of an image, whose lines the compiler's shuffles interleave. */
LS_ALWAYS_INLINE void interleave(const int rows, ptrdiff_t columns, struct range j, float *restrict to,
                                 const float *restrict from)
{
    for (ptrdiff_t at = j.begin; at < j.end; at++)
        for (int i = 0; i < rows; i++)
            to[at * rows + i] = from[i * columns + at];
}

static int64_t transpose_part(const void *job, int thread, int threads)
{
    const struct transposition *p = job;
    const ptrdiff_t blocks = (p->columns + LINE - 1) / LINE;
    const struct range r = range_part(p->B * blocks, 1, thread, threads);
    for (ptrdiff_t at = r.begin; at < r.end;) {
        const ptrdiff_t b = at / blocks, first = at % blocks, left = r.end - at;
        const ptrdiff_t some = blocks - first < left ? blocks - first : left, end = (first + some) * LINE;
        const struct range j = {first * LINE, end < p->columns ? end : p->columns};
        float *to = p->to + b * p->rows * p->columns;
        const float *from = p->from + b * p->rows * p->columns;
        if (p->rows == 3)
            interleave(3, p->columns, j, to, from);
        else
            LS_PER_ISA(ls_transpose_rows)(p->rows, p->columns, j, to, from);
        at += some;
    }
    return 0;
}

void LS_PER_ISA(ls_transpose)(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t columns, float *to, const float *from)
{
    const struct transposition p = {B, rows, columns, to, from};
    team_run((double)B * (double)rows * (double)columns * 0.3, transpose_part, &p);
}
