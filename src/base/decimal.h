/* Decimal numbers of data files: strict, whatever the locale, rounded once to binary32, and fast. */
#ifndef LS_BASE_DECIMAL_H
#define LS_BASE_DECIMAL_H

#include <stddef.h>

enum ls_decimal {
    LS_DECIMAL_OK,
    LS_DECIMAL_NONE, /* no number: digits with at most one point, a sign before, an exponent e+5 behind */
    LS_DECIMAL_HUGE  /* a number, but beyond the largest binary32 */
};

/* The n characters as one number, nearest binary32, ties to even; what is below the least subnormal is a zero
 * of its sign.  text[n] must exist, and be nothing that could go on a number (NUL, a blank, a colon). */
enum ls_decimal ls_decimal_to_float(const char *text, size_t n, float *value);

#endif
