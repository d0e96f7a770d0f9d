/* Numbers as binary files hold them: which types there are, and what they become.
 *
 * NumPy and HDF5 files share this, so the same numbers become the same bits out of either, on any processor.
 */
#ifndef LS_DATA_ELEMENTS_H
#define LS_DATA_ELEMENTS_H

#include <stddef.h>
#include <stdint.h>

struct ls_element {
    char kind; /* 'b' a truth value of one byte, 'u' unsigned, 'i' signed, 'f' IEEE 754 */
    int bytes; /* 1; 1, 2, 4, 8; 1, 2, 4, 8; 2, 4, 8 */
    int big_endian;
};

/* Whether there is such a type. */
int ls_element_is_known(const struct ls_element *type);

/* One element.  Exact, but integers beyond 2^53 are rounded. */
double ls_element_value(const struct ls_element *type, const void *raw);

/* n elements as binary32, rounded once.  raw and x may not overlap, and raw need not be aligned. */
void ls_elements_to_floats(const struct ls_element *type, size_t n, const void *raw, float *x);

/* Whether elements in a file are this machine's own binary32. */
int ls_element_is_native_float(const struct ls_element *type);

/* "float32", "big-endian int16"; for messages.  Returns text. */
enum { LS_ELEMENT_TEXT = 32 };
const char *ls_element_name(const struct ls_element *type, char text[LS_ELEMENT_TEXT]);

#endif
