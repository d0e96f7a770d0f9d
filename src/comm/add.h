/* The one thing that is done to numbers in this folder.  A file of its own, so that a simulation can count it
 * instead of doing it. */
#ifndef LS_COMM_ADD_H
#define LS_COMM_ADD_H

#include <stddef.h>

/* sum[i] = left[i] + right[i].  `sum` may be `left` or `right`, else no overlap.  Always in this order:
 * addition is commutative to the bit for numbers, and with the order kept it is for NaN payloads too. */
void ls_plan_add(float *sum, const float *left, const float *right, ptrdiff_t n);

#endif
