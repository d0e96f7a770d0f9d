/* Allocations that fail on purpose.  Test programs are linked so that every ls_alloc of the library passes
 * here (the linker's --wrap). */
#ifndef LS_TESTS_ALLOCATIONS_H
#define LS_TESTS_ALLOCATIONS_H

/* The n-th ls_alloc from now on fails, of whichever thread; 0: none will. */
void fail_allocation(long n);

/* Whether the one that was to fail has. */
int allocation_failed(void);

#endif
