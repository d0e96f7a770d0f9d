/* The one comparator of floats in tests.
 *
 * Bits, where the contract promises bits; else |a - b| <= atol + rtol * |b|.  Anything not finite fails
 * before it is compared, unless the case says that its data hold such values: then a NaN equals any NaN (what
 * a processor makes of a NaN's sign and payload is its own), and an infinity equals itself. */
#ifndef TESTS_SUPPORT_COMPARE_H
#define TESTS_SUPPORT_COMPARE_H

#include <stddef.h>

struct compare {
    int exact; /* by bits; atol and rtol are not used */
    int allow_non_finite;
    double atol, rtol;
};

#define COMPARE_BITS ((struct compare){.exact = 1})
#define COMPARE_BITS_OR_NAN ((struct compare){.exact = 1, .allow_non_finite = 1})
#define COMPARE_CLOSE(a, r) ((struct compare){.atol = (a), .rtol = (r)})

/* 1 when all n floats agree.  Otherwise 0, and `message` says "name[index]: value, expected value" of the
 * first that does not, and how many do not. */
int compare_floats(struct compare how, const char *name, size_t n, const float *found, const float *expected,
                   char *message, size_t message_bytes);

#endif
