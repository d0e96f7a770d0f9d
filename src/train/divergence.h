/* Where a run went to infinity, for the person who has to mend it. */
#ifndef LS_TRAIN_DIVERGENCE_H
#define LS_TRAIN_DIVERGENCE_H

#include "model/net.h"

/* "first in parameter '0.weight' [3,7]", or of the gradient, or the largest gradient when all are finite. */
void ls_describe_overflow(const struct ls_net *net, const float *parameters, const float *sum, char *text,
                          size_t size);

/* Running averages are in no update: a batch whose variance overflows leaves them infinite although the loss
 * is finite, as batch norm makes zeros of what it divides by infinity. */
int ls_averages_are_finite(const struct ls_net *net, const float *parameters);

#endif
