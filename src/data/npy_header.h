/* The header of NumPy's .npy files, versions 1.0, 2.0 and 3.0 (numpy.lib.format, NEP 1): what lies in front
 * of the elements, in a file of its own or in a member of an .npz archive. */
#ifndef LS_DATA_NPY_HEADER_H
#define LS_DATA_NPY_HEADER_H

#include "data/array.h"

enum {
    LS_NPY_PREFIX = 12, /* magic, version and length, of the longer kind; no .npy file is shorter */
    LS_NPY_MAX_HEADER =
        64 * 1024 /* all in front of the elements; numpy itself writes 128 bytes, reads 10,000 */
};

/* Whether the bytes begin as an .npy file does. */
int ls_npy_is_meant(const unsigned char *bytes, size_t n);

/* The bytes in front of the elements, by the file's first LS_NPY_PREFIX; 0 with *err filled.  `where` names
 * the file for messages. */
size_t ls_npy_header_bytes(const uint8_t prefix[LS_NPY_PREFIX], const char *where, struct ls_error *err);

/* Sets type and shape of an array, whose `where` is set, by the whole header of `n` bytes. */
enum ls_code ls_npy_header_parse(struct ls_array *array, const uint8_t *header, size_t n,
                                 struct ls_error *err);

#endif
