/* How often threads have told each other something.  Test programs are linked so that every ls_bell_ring of
 * the library passes here (the linker's --wrap): which way an operation took can be seen without asking it.
 */
#ifndef LS_TESTS_BELLS_H
#define LS_TESTS_BELLS_H

/* Rings so far, of all bells and threads of this process. */
long bells_rung(void);

#endif
