/* Owns the search for where a run went to infinity. */
#include "train/divergence.h"

#include <stdio.h>

/* The element of the flat gradient that is largest: where it blows up when only the loss has overflowed. */
static const struct ls_parameter *find_largest(const struct ls_net *net, const float *flat,
                                               ptrdiff_t *element)
{
    const struct ls_parameter *largest = NULL;
    float most = -1.0f;
    for (int t = 0; t < net->n_tensors; t++)
        for (ptrdiff_t i = 0; i < net->tensors[t].count; i++) {
            const float size = __builtin_fabsf(flat[net->tensors[t].offset + i]);
            if (size > most) {
                most = size;
                largest = &net->tensors[t];
                *element = i;
            }
        }
    return largest;
}

void ls_describe_overflow(const struct ls_net *net, const float *parameters, const float *sum, char *text,
                          size_t size)
{
    ptrdiff_t element = 0;
    char where[128] = "", index[60];
    const char *what = "first in parameter ";
    const struct ls_parameter *tensor = ls_net_find_nonfinite(net, parameters, &element);
    if (!tensor) {
        what = "first in the gradient of ";
        tensor = ls_net_find_nonfinite(net, sum, &element);
    }
    if (!tensor) {
        what = "the gradients are still finite, the largest is that of ";
        tensor = find_largest(net, sum, &element);
    }
    if (tensor) {
        ls_parameter_index(tensor, element, index, sizeof index);
        snprintf(where, sizeof where, "'%s' %s", tensor->name, index);
    }
    snprintf(text, size, "%s%s", tensor ? what : "the net has no parameters", where);
}

int ls_averages_are_finite(const struct ls_net *net, const float *parameters)
{
    int finite = 1;
    for (int t = 0; t < net->n_tensors; t++)
        for (ptrdiff_t i = 0; net->tensors[t].is_state && i < net->tensors[t].count; i++)
            finite &= __builtin_isfinite(parameters[net->tensors[t].offset + i]) != 0;
    return finite;
}
