/* One dataset of an HDF5 file as an array.  What the file says is checked first: that all of it is there, in
 * this file, in a type and a packing that are allowed. */
#ifndef LS_DATA_HDF5_ARRAY_H
#define LS_DATA_HDF5_ARRAY_H

#include "data/array.h"
#include "data/hdf5_library.h"

/* Opens dataset `name` of `file`, which stays open as long as the array; `file_bytes` bound what can be
 * there. `array` is left for ls_array_close, also after failure. */
enum ls_code ls_hdf5_array_open(struct ls_array *array, const struct ls_hdf5_library *h5, hid_t file,
                                const char *path, int64_t file_bytes, const char *name, struct ls_error *err);

#endif
