/* Where a run went to infinity, for the person who has to mend it. */
#ifndef LS_TRAIN_DIVERGENCE_H
#define LS_TRAIN_DIVERGENCE_H

#include "model/net.h"

/* "first in parameter '0.weight' [3,7]", or of the gradient, or the largest gradient when all are finite. */
void ls_describe_overflow(const struct ls_net *net, const float *parameters, const float *sum, char *text,
                          size_t size);

#endif
