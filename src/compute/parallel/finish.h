/* Where a tile of results begins its folds, and what happens to finished sums before they are stored: an
 * activation, or the derivative of the one below. */
#ifndef LS_COMPUTE_PARALLEL_FINISH_H
#define LS_COMPUTE_PARALLEL_FINISH_H

#include "compute/ops.h"
#include "compute/parallel/tile.h"

/* Done in registers. */
enum finish { FINISH_NONE, FINISH_RELU, FINISH_RELU_GRADIENT, FINISH_TANH_GRADIENT, FINISH_SIGMOID_GRADIENT };

LS_ALWAYS_INLINE vec finished(const enum finish finish, vec z, vec y)
{
    switch (finish) {
    case FINISH_RELU:
        return vec_if_positive(z, z);
    case FINISH_RELU_GRADIENT:
        return vec_if_positive(y, z);
    case FINISH_TANH_GRADIENT:
#ifdef LS_MUTANT_BROKEN_TANH
        return z * vec_fma(-y, vec_all(0.9f), vec_all(1.0f));
#endif
        return z * vec_fma(-y, y, vec_all(1.0f));
    case FINISH_SIGMOID_GRADIENT:
        return z * vec_fma(-y, y, y);
    case FINISH_NONE:
        break;
    }
    return z;
}

/* A tile's rows lie at to + places[r], those of y alike; the last vector is `last` columns wide. */
struct tile_result {
    float *to;
    const float *bias, *y;
    int last;
    int resume; /* start from `to` instead of the bias */
    enum finish finish;
};

LS_ALWAYS_INLINE void tile_start(const int rows, const int vectors, tile acc, const struct tile_result *t,
                                 const ptrdiff_t *places)
{
    if (t->resume) {
        LS_UNROLL
        for (int r = 0; r < rows; r++)
            row_load(vectors, acc[r], t->to + places[r], t->last);
        return;
    }
    vec bias[PANEL_VECTORS] = {vec_zero()};
    if (t->bias)
        row_load(vectors, bias, t->bias, t->last);
    LS_UNROLL
    for (int r = 0; r < rows; r++)
        LS_UNROLL
    for (int v = 0; v < vectors; v++)
        acc[r][v] = t->bias ? bias[v] : vec_zero();
}

LS_ALWAYS_INLINE void tile_store(const int rows, const int vectors, const enum finish finish, tile acc,
                                 const struct tile_result *t, const ptrdiff_t *places)
{
    LS_UNROLL
    for (int r = 0; r < rows; r++) {
        vec y[PANEL_VECTORS] = {vec_zero()};
        if (finish > FINISH_RELU)
            row_load(vectors, y, t->y + places[r], t->last);
        LS_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[r][v] = finished(finish, acc[r][v], y[v]);
        row_store(vectors, t->to + places[r], acc[r], t->last);
    }
}

/* The same with a finish that is not known when this is compiled. */
LS_ALWAYS_INLINE void tile_end(const int rows, const int vectors, tile acc, const struct tile_result *t,
                               const ptrdiff_t *places)
{
    switch (t->finish) {
    case FINISH_NONE:
        tile_store(rows, vectors, FINISH_NONE, acc, t, places);
        break;
    case FINISH_RELU:
        tile_store(rows, vectors, FINISH_RELU, acc, t, places);
        break;
    case FINISH_RELU_GRADIENT:
        tile_store(rows, vectors, FINISH_RELU_GRADIENT, acc, t, places);
        break;
    case FINISH_TANH_GRADIENT:
        tile_store(rows, vectors, FINISH_TANH_GRADIENT, acc, t, places);
        break;
    case FINISH_SIGMOID_GRADIENT:
        tile_store(rows, vectors, FINISH_SIGMOID_GRADIENT, acc, t, places);
        break;
    }
}

/* A fused activation: what of it is done in registers, and what on finished rows in cache (tanh and sigmoid).
 */
static inline enum finish finish_forward(enum ls_activation act)
{
    return act == LS_ACT_RELU ? FINISH_RELU : FINISH_NONE;
}

static inline enum ls_activation finish_after(enum ls_activation act)
{
    return act == LS_ACT_RELU ? LS_ACT_NONE : act;
}

static inline enum finish finish_gradient(enum ls_activation act)
{
    static const enum finish derivative[] = {[LS_ACT_NONE] = FINISH_NONE,
                                             [LS_ACT_RELU] = FINISH_RELU_GRADIENT,
                                             [LS_ACT_TANH] = FINISH_TANH_GRADIENT,
                                             [LS_ACT_SIGMOID] = FINISH_SIGMOID_GRADIENT};
    return derivative[act];
}

#endif
