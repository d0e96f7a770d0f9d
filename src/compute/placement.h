/* Which NUMA node memory lies on: that of the thread which writes to a page first.
 *
 * Blocks of ls_alloc come untouched, so activations, gradients and optimizer state are placed by the kernels
 * that write them first.  What one thread would fill alone (first parameters, a data set that is read) goes
 * through ls_place before. */
#ifndef LS_COMPUTE_PLACEMENT_H
#define LS_COMPUTE_PLACEMENT_H

#include <stddef.h>

/* Touches a new block of ls_alloc, n bytes: each thread of the team its part of the whole, in order, as
 * elementwise passes are cut; the block stays zero.  A block within one huge page is left alone: it has only
 * one place.  NULL is left alone too.  Must not be called by a job of the team. */
void ls_place(void *block, size_t n);

#endif
