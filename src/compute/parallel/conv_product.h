/* What forward and input-gradient convolutions have in common, and how to compute one without any scratch. */
#ifndef LS_COMPUTE_PARALLEL_CONV_PRODUCT_H
#define LS_COMPUTE_PARALLEL_CONV_PRODUCT_H

#include "base/contract.h"
#include "compute/parallel/conv_frame.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/finish.h"

struct conv_product {
    struct walk walk;
    ptrdiff_t B, groups, depth, columns; /* of a group: source channels, columns; depthwise all is one */
    int panel;                           /* columns at a time: a vector depthwise, else CONV_PANEL */
    ptrdiff_t to_channels;               /* all columns */
    float *to;
    const float *w; /* (taps of a column, N) */
    ptrdiff_t KH, KW, N;
    int transposed; /* columns are inputs */
    const float *bias, *y;
    enum finish finish;            /* done in registers */
    enum ls_activation after;      /* done on finished pixels in cache */
    const struct ls_maxpool *pool; /* of `to`, or NULL */
    int *threads;                  /* how many there were, from thread 0 */
};

/* The fold of one result; y, x are a position and its phase. */
static float result_plainly(const struct conv_product *p, ptrdiff_t b, const ptrdiff_t y[2],
                            const ptrdiff_t x[2], ptrdiff_t column)
{
    const struct walk *w = &p->walk;
    const ptrdiff_t group = column / p->columns, row = column % p->columns;
    float sum = p->bias ? p->bias[column] : 0.0f;
    for (ptrdiff_t d = 0; d < p->depth; d++)
        for (ptrdiff_t ty = 0; ty < axis_taps(&w->y, y[1]); ty++)
            for (ptrdiff_t tx = 0; tx < axis_taps(&w->x, x[1]); tx++) {
                const ptrdiff_t tap = (y[1] + ty * w->y.phases) * p->KW + x[1] + tx * w->x.phases;
                const ptrdiff_t channel = w->order == VECTORS ? column : group * p->depth + d;
                const ptrdiff_t at_y = (y[0] * w->y.stride + w->y.direction * ty) * w->y.every + w->y.shift,
                                at_x = (x[0] * w->x.stride + w->x.direction * tx) * w->x.every + w->x.shift;
                const int inside = at_y >= 0 && at_y < w->y.from && at_x >= 0 && at_x < w->x.from;
                const float value =
                    inside ? w->from[((b * w->y.from + at_y) * w->x.from + at_x) * w->from_channels + channel]
                           : 0.0f;
                const float weight = w->order == VECTORS ? p->w[tap * p->N + column]
                                     : p->transposed     ? p->w[(row * p->KH * p->KW + tap) * p->N + channel]
                                                         : p->w[(d * p->KH * p->KW + tap) * p->N + column];
                sum = ls_fma(value, weight, sum);
            }
    return sum;
}

/* One number after the other, for windows that are larger than the scratch. */
static void product_plainly(const struct conv_product *p, struct rectangle mine)
{
    const struct axis *y = &p->walk.y, *x = &p->walk.x;
    for (ptrdiff_t row = mine.rows.begin * y->phases; row < mine.rows.end * y->phases; row++) {
        const ptrdiff_t b = row / y->phases / axis_length(y);
        const ptrdiff_t at_y[2] = {y->positions.begin + row / y->phases % axis_length(y), row % y->phases};
        const ptrdiff_t to_y = at_y[0] * y->phases + at_y[1] - y->shift_to;
        for (ptrdiff_t to_x = 0; to_x < x->to && to_y >= 0 && to_y < y->to; to_x++) {
            const ptrdiff_t at_x[2] = {(to_x + x->shift_to) / x->phases, (to_x + x->shift_to) % x->phases};
            const ptrdiff_t pixel = ((b * y->to + to_y) * x->to + to_x) * p->to_channels;
            for (ptrdiff_t j = mine.columns.begin; j < mine.columns.end; j++) {
                const vec z = vec_all(result_plainly(p, b, at_y, at_x, j));
                const vec before = vec_all(p->y ? p->y[pixel + j] : 0.0f);
                p->to[pixel + j] = finished(p->finish, z, before)[0];
            }
            activate(p->after, 0.0f, mine.columns.end - mine.columns.begin,
                     p->to + pixel + mine.columns.begin, p->to + pixel + mine.columns.begin);
        }
    }
}

#endif
