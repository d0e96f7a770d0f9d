/* Owns how samples become rows of a matrix: a gather of its own, or piece by piece in the product that reads
 * them (product.c). */
#include "compute/parallel/gather.h"

#include <string.h>

#include "compute/parallel/pixels.h"

/* Rows lie anywhere: nothing else would fetch them in time, and one of bytes is converted before the next has
 * come.  Of a long one the beginning: the rest is a stream. */
enum { ROWS_AHEAD = 4 };

static void fetch_row(const void *row, ptrdiff_t bytes)
{
    enum { MOST = 8192 };
    for (ptrdiff_t k = 0; k < bytes && k < MOST; k += 64)
        __builtin_prefetch((const char *)row + k);
}

void LS_PER_ISA(ls_gather_rectangle)(const struct ls_gather *g, float *x, struct range rows,
                                     struct range columns)
{
    const ptrdiff_t K = g->K, n = columns.end - columns.begin;
    const struct pixel_unit unit = pixel_unit_of(g->pixels ? g->divisor : 1.0f);
    for (ptrdiff_t b = rows.begin; b < rows.end; b++) {
        const ptrdiff_t from = g->index[b] * K + columns.begin,
                        later = g->index[b + ROWS_AHEAD < g->B ? b + ROWS_AHEAD : b] * K + columns.begin;
        float *to = x + b * K + columns.begin;
        if (g->pixels) {
            fetch_row(g->pixels + later, n);
            scale_row(n, to, g->pixels + from, unit);
        } else {
            fetch_row(g->numbers + later, n * (ptrdiff_t)sizeof *to);
            memcpy(to, g->numbers + from, (size_t)n * sizeof *to);
        }
    }
}

static int64_t gather_part(const void *job, int thread, int threads)
{
    const struct ls_gather *g = job;
    const struct range all = {0, g->B}, columns = {0, g->K};
    if (g->copies.n <= 1)
        LS_PER_ISA(ls_gather_rectangle)(g, g->x, range_part(g->B, 1, thread, threads), columns);
    for (int copy = thread; g->copies.n > 1 && copy < g->copies.n; copy += threads)
        LS_PER_ISA(ls_gather_rectangle)(g, g->x + copy * g->copies.step, all, columns);
    return 0;
}

void LS_PER_ISA(ls_gather)(const struct ls_gather *g)
{
    const double copy_ns = (double)g->B * (double)g->K * 0.2;
    team_run(g->copies.n > 1 ? copy_ns * g->copies.n : copy_ns, gather_part, g);
}

struct generated {
    ptrdiff_t B, K;
    float *x;
    const int64_t *index;
    void (*row)(const void *context, int64_t index, float *x);
    const void *context;
};

static int64_t generate_part(const void *job, int thread, int threads)
{
    const struct generated *g = job;
    const struct range r = range_part(g->B, 1, thread, threads);
    for (ptrdiff_t b = r.begin; b < r.end; b++)
        g->row(g->context, g->index[b], g->x + b * g->K);
    return 0;
}

void LS_PER_ISA(ls_gather_rows)(ptrdiff_t B, ptrdiff_t K, float *x, const int64_t *index,
                                void (*row)(const void *context, int64_t index, float *x),
                                const void *context)
{
    const struct generated g = {B, K, x, index, row, context};
    team_run((double)B * (double)K, generate_part, &g);
}
