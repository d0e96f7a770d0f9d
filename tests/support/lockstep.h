/* Runs the real program, as a user would type it, on one rank or under mpirun. */
#ifndef LS_TESTS_LOCKSTEP_H
#define LS_TESTS_LOCKSTEP_H

#include "launch.h"

#define LOCKSTEP LS_BUILD "/lockstep"

enum { LOCKSTEP_LIMIT_S = 60 };

/* The words are what a shell would be given behind `lockstep`; redirections may follow.  ranks == 1: without
 * mpirun. Returns the outcome, valid until the next call. */
const struct ls_outcome *lockstep(int ranks, const char *words, ...) __attribute__((format(printf, 2, 3)));

/* The same with a shell's words in front of the program, such as "ulimit -f 1;" or "LOCKSTEP_ISA=avx2". */
const struct ls_outcome *lockstep_after(int ranks, const char *before, const char *words, ...)
    __attribute__((format(printf, 3, 4)));

/* How many lines of the text begin so. */
int lines_beginning(const char *text, const char *beginning);

/* The hash in the last row of the table that train prints, or "" . */
struct hash_text {
    char text[33];
};
struct hash_text last_hash(const char *out);

#endif
