/* Owns the averaged weights. */
#include "optim/average.h"

#include <string.h>

#include "base/memory.h"

enum ls_code ls_average_create(struct ls_average *average, ptrdiff_t n, float decay, const float *w,
                               struct ls_error *err)
{
    *average = (struct ls_average){.n = n, .weight = 1.0f - decay};
    average->flat = ls_alloc((size_t)n, sizeof(float), "averaged parameters", err);
    if (!average->flat)
        return LS_FAILED;
    memcpy(average->flat, w, (size_t)n * sizeof(float));
    return LS_OK;
}

void ls_average_release(struct ls_average *average)
{
    ls_free(average->flat);
    *average = (struct ls_average){0};
}

void ls_average_follow(struct ls_average *average, const struct ls_ops *ops, const float *w)
{
    ops->blend(average->n, average->flat, w, average->weight);
}
