/* Lists of binary32 numbers as text, "0.5,-1,3e-05": what models store of features, exact. */
#ifndef LS_BASE_NUMBERS_H
#define LS_BASE_NUMBERS_H

#include <stddef.h>

#include "base/status.h"

/* On the heap for ls_free; NULL with *err filled.  `what` is for the message. */
char *ls_numbers_to_text(ptrdiff_t n, const float *numbers, const char *what, struct ls_error *err);

/* How many there are, by the commas. */
ptrdiff_t ls_numbers_count(const char *text);

/* Reads all numbers of `text`, which must be n finite ones; `what` names them for the message. */
enum ls_code ls_numbers_of_text(const char *text, const char *what, ptrdiff_t n, float *numbers,
                                struct ls_error *err);

#endif
