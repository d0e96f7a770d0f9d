/* What the walk over layers (execute.c) and its buffers (activations.c) know of each other; all others see
 * model/execute.h. */
#ifndef LS_MODEL_ACTIVATIONS_H
#define LS_MODEL_ACTIVATIONS_H

#include "model/execute.h"

/* A free slot, `width` floats a row, which now has one user.  The dry walk makes slots where there are none,
 * and wider where they are too narrow. */
int ls_slot_take(struct ls_activations *act, ptrdiff_t width);

/* Walks back without numbers, which finds how many slots there must be and how wide. */
void ls_backward_dry(struct ls_activations *act, int input_gradient);

#endif
