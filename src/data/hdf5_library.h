/* libhdf5, loaded when a file of it is opened: Debian's brings 30 libraries for TLS, Kerberos and LDAP with
 * it, 5 ms that no other run should pay.  The only includer of hdf5.h. */
#ifndef LS_DATA_HDF5_LIBRARY_H
#define LS_DATA_HDF5_LIBRARY_H

#include <hdf5.h>

#include "base/status.h"

/* H5F_ACC_RDONLY, whose macro would call the library. */
#define LS_HDF5_READ_ONLY 0u

/* Every function that is used, once: h5->Fopen is H5Fopen. */
/* clang-format off */
#define LS_HDF5_FUNCTIONS(F) \
    F(open) F(get_libversion) \
    F(Eset_auto2) F(Eclear2) F(Ewalk2) \
    F(PLset_loading_state) F(Lunregister) \
    F(Pcreate) F(Pclose) F(Pset_fclose_degree) F(Pset_file_locking) F(Pset_chunk_cache) \
    F(Pget_layout) F(Pget_external_count) F(Pget_nfilters) F(Pget_filter2) F(Pget_chunk) \
    F(Fopen) F(Fclose) F(Lexists) F(Lget_info) F(Lget_name_by_idx) F(Gopen2) F(Gget_info) F(Gclose) \
    F(Oopen) F(Oclose) F(Iget_type) \
    F(Dopen2) F(Dclose) F(Dget_type) F(Dget_space) F(Dget_create_plist) F(Dget_storage_size) \
    F(Dget_num_chunks) F(Dread) \
    F(Screate_simple) F(Sclose) F(Sget_simple_extent_type) F(Sget_simple_extent_ndims) \
    F(Sget_simple_extent_dims) F(Sselect_hyperslab) \
    F(Tget_class) F(Tget_size) F(Tget_order) F(Tget_sign) F(Tget_precision) F(Tget_offset) F(Tget_super) \
    F(Tget_fields) F(Tget_ebias) F(Tget_norm) F(Tclose)
/* clang-format on */

struct ls_hdf5_library {
#define F(name) __typeof__(H5##name) *name;
    LS_HDF5_FUNCTIONS(F)
#undef F
    hid_t file_access, dataset_access; /* classes of property lists */
};

/* The library, loaded once: silent, without plug-ins, and without links to other files.  NULL with *err
 * filled when it cannot be had.  Not for several threads at once. */
const struct ls_hdf5_library *ls_hdf5_library(struct ls_error *err);

/* The library's own words for its last failure, the innermost; clears them.  Returns text. */
const char *ls_hdf5_complaint(const struct ls_hdf5_library *h5, char *text, size_t size);

#endif
