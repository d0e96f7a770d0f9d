/* Owns datasets of HDF5 files as arrays: types, storage and block reads.
 *
 * Elements are read as they lie in the file and decoded here (elements.h) rather than converted by the
 * library: the same numbers then become the same bits as out of .npy, and binary16 and big-endian cost no
 * surprise. */
#include "data/hdf5_array.h"

#include <stdio.h>

#include "base/memory.h"

/* A chunk is unpacked in memory as a whole; a row of chunks is kept, so that blocks of samples unpack each
 * once. */
#define MAX_CHUNK_BYTES ((uint64_t)1 << 30)
#define MAX_CACHE_BYTES ((uint64_t)256 << 20)
enum { DEFLATE_RATIO = 1032, CACHE_SLOTS = 12421 };

struct hdf5 {
    const struct ls_hdf5_library *h5;
    hid_t dataset, type, space; /* below 0: not open */
};

static enum ls_code complain(const struct ls_array *array, const char *what, struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    char text[300];
    return ls_fail(err, LS_FAILED, "%s: %s: %s", array->where, what,
                   ls_hdf5_complaint(own->h5, text, sizeof text));
}

static enum ls_code read_rows(struct ls_array *array, int64_t first, int64_t n, uint8_t *raw,
                              struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    hsize_t start[LS_ARRAY_DIMS] = {(hsize_t)first}, count[LS_ARRAY_DIMS] = {(hsize_t)n};
    for (int i = 1; i < array->n_dims; i++)
        count[i] = (hsize_t)array->dims[i];
    const hid_t memory = own->h5->Screate_simple(array->n_dims, count, NULL);
    enum ls_code code = LS_OK;
    if (memory < 0 || own->h5->Sselect_hyperslab(own->space, H5S_SELECT_SET, start, NULL, count, NULL) < 0 ||
        own->h5->Dread(own->dataset, own->type, memory, own->space, H5P_DEFAULT, raw) < 0) {
        char what[80];
        snprintf(what, sizeof what, "samples %lld to %lld cannot be read", (long long)first,
                 (long long)(first + n - 1));
        code = complain(array, what, err); /* before the next call clears it */
    }
    if (memory >= 0)
        own->h5->Sclose(memory);
    return code;
}

static void close_dataset(struct ls_array *array)
{
    struct hdf5 *own = array->state;
    if (own->space >= 0)
        own->h5->Sclose(own->space);
    if (own->type >= 0)
        own->h5->Tclose(own->type);
    if (own->dataset >= 0)
        own->h5->Dclose(own->dataset);
    ls_free(own);
}

/* ---- types ---- */

/* Whether a floating-point type of `bytes` is IEEE 754's, and no other with as many bits. */
static int is_ieee(const struct ls_hdf5_library *h5, hid_t type, int bytes)
{
    static const struct {
        int bytes;
        size_t exponent_bits, fraction_bits, bias;
    } layouts[] = {{2, 5, 10, 15}, {4, 8, 23, 127}, {8, 11, 52, 1023}};
    size_t sign = 0, exponent = 0, exponent_bits = 0, fraction = 1, fraction_bits = 0;
    if (h5->Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits) < 0)
        return 0;
    for (int i = 0; i < 3; i++)
        if (layouts[i].bytes == bytes)
            return exponent_bits == layouts[i].exponent_bits && fraction_bits == layouts[i].fraction_bits &&
                   fraction == 0 && exponent == fraction_bits && sign == exponent + exponent_bits &&
                   h5->Tget_ebias(type) == layouts[i].bias && h5->Tget_norm(type) == H5T_NORM_IMPLIED;
    return 0;
}

/* Whether all bits of the type's bytes count. */
static int is_whole(const struct ls_hdf5_library *h5, hid_t type, size_t bytes)
{
    return h5->Tget_precision(type) == 8 * bytes && h5->Tget_offset(type) == 0;
}

/* h5py stores truth values as an enumeration of int8. */
static int is_bool(const struct ls_hdf5_library *h5, hid_t type)
{
    const hid_t base = h5->Tget_super(type);
    const int yes = base >= 0 && h5->Tget_class(base) == H5T_INTEGER && h5->Tget_size(base) == 1;
    if (base >= 0)
        h5->Tclose(base);
    return yes;
}

static const char *class_name(H5T_class_t class)
{
    switch (class) {
    case H5T_STRING:
        return "text";
    case H5T_COMPOUND:
        return "records (a compound type)";
    case H5T_INTEGER:
    case H5T_FLOAT:
        return "numbers of an unusual layout";
    case H5T_VLEN:
        return "lists of different lengths";
    default:
        return "something else";
    }
}

static enum ls_code read_type(const struct ls_array *array, struct ls_element *element, struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    const struct ls_hdf5_library *h5 = own->h5;
    const H5T_class_t class = h5->Tget_class(own->type);
    const size_t bytes = h5->Tget_size(own->type);
    *element = (struct ls_element){.bytes = (int)(bytes > 8 ? 0 : bytes),
                                   .big_endian = h5->Tget_order(own->type) == H5T_ORDER_BE};
    int fits = 0;
    if (class == H5T_INTEGER) {
        element->kind = h5->Tget_sign(own->type) == H5T_SGN_NONE ? 'u' : 'i';
        fits = is_whole(h5, own->type, bytes);
    } else if (class == H5T_FLOAT) {
        element->kind = 'f';
        fits = is_whole(h5, own->type, bytes) && is_ieee(h5, own->type, element->bytes);
    } else if (class == H5T_ENUM) {
        element->kind = 'b';
        fits = is_bool(h5, own->type);
    }
    const H5T_order_t order = h5->Tget_order(own->type);
    if (fits && ls_element_is_known(element) &&
        (order == H5T_ORDER_LE || order == H5T_ORDER_BE || bytes == 1))
        return LS_OK;
    return ls_fail(err, LS_FAILED,
                   "%s holds %s, %zu bytes each; allowed are integers of 1, 2, 4 and 8 bytes, IEEE float16, "
                   "32 and 64, and bool",
                   array->where, class_name(class), bytes);
}

/* ---- storage ---- */

/* Whether a filter is known not to unpack to more than DEFLATE could; others need plug-ins or are rare. */
static enum ls_code check_filters(const struct ls_array *array, hid_t properties, int *deflated,
                                  struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    const int n = own->h5->Pget_nfilters(properties);
    *deflated = 0;
    for (int i = 0; i < n; i++) {
        char name[60] = "";
        unsigned flags, config;
        size_t n_values = 0;
        const H5Z_filter_t filter = own->h5->Pget_filter2(properties, (unsigned)i, &flags, &n_values, NULL,
                                                          sizeof name, name, &config);
        *deflated += filter == H5Z_FILTER_DEFLATE;
        if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32)
            return ls_fail(err, LS_FAILED,
                           "%s is packed by filter %d '%.50s'; allowed are gzip, shuffle and fletcher32: "
                           "repack it with h5repack -f GZIP=4 IN OUT",
                           array->where, (int)filter, name);
    }
    if (n < 0 || *deflated > 1)
        return ls_fail(err, LS_FAILED, "%s: %d filters, %d of them gzip; one is allowed", array->where, n,
                       *deflated);
    return LS_OK;
}

static enum ls_code missing_storage(const struct ls_array *array, uint64_t found, uint64_t needed,
                                    struct ls_error *err)
{
    return ls_fail(err, LS_FAILED,
                   "%s: %llu bytes are stored, its shape needs %llu: it was never written in full",
                   array->where, (unsigned long long)found, (unsigned long long)needed);
}

/* All chunks must be there, and hold what the shape says: what is not stored would be made up by the library,
 * without limit. */
static enum ls_code check_chunks(const struct ls_array *array, hid_t properties, uint64_t stored,
                                 uint64_t *cache_bytes, struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    hsize_t chunk[LS_ARRAY_DIMS], found = 0;
    int deflated;
    enum ls_code code = check_filters(array, properties, &deflated, err);
    if (code != LS_OK)
        return code;
    if (own->h5->Pget_chunk(properties, LS_ARRAY_DIMS, chunk) != array->n_dims ||
        own->h5->Dget_num_chunks(own->dataset, own->space, &found) < 0)
        return complain(array, "its chunks cannot be read", err);
    uint64_t bytes = (uint64_t)array->type.bytes, n_row = 1;
    for (int i = 0; i < array->n_dims; i++) {
        if (chunk[i] == 0 || chunk[i] > MAX_CHUNK_BYTES / bytes)
            return ls_fail(err, LS_FAILED, "%s is stored in chunks of more than %llu bytes", array->where,
                           (unsigned long long)MAX_CHUNK_BYTES);
        bytes *= chunk[i];
        if (i > 0)
            n_row *= ((uint64_t)array->dims[i] + chunk[i] - 1) / chunk[i];
    }
    const uint64_t n_rows = ((uint64_t)array->dims[0] + chunk[0] - 1) / chunk[0];
    if (found / n_row != n_rows || found % n_row != 0)
        return ls_fail(err, LS_FAILED,
                       "%s: %llu chunks are stored, its shape needs %llu times %llu: it was "
                       "never written in full",
                       array->where, (unsigned long long)found, (unsigned long long)n_rows,
                       (unsigned long long)n_row);
    const uint64_t most =
        deflated ? stored > UINT64_MAX / DEFLATE_RATIO ? UINT64_MAX : stored * DEFLATE_RATIO : stored;
    if (found > most / bytes)
        return ls_fail(err, LS_FAILED, "%s: %llu chunks of %llu bytes cannot be in %llu stored bytes",
                       array->where, (unsigned long long)found, (unsigned long long)bytes,
                       (unsigned long long)stored);
    *cache_bytes = n_row > MAX_CACHE_BYTES / bytes ? MAX_CACHE_BYTES : n_row * bytes;
    return LS_OK;
}

/* Before anything is asked about its shape: for that of a virtual dataset the library opens the other files.
 */
static enum ls_code check_own(const struct ls_array *array, hid_t properties, struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    const H5D_layout_t layout = own->h5->Pget_layout(properties);
    if (layout == H5D_VIRTUAL || own->h5->Pget_external_count(properties) != 0)
        return ls_fail(err, LS_FAILED,
                       "%s keeps its data in other files (%s), which are not opened; copy it with h5repack",
                       array->where, layout == H5D_VIRTUAL ? "a virtual dataset" : "external storage");
    return LS_OK;
}

static enum ls_code check_storage(const struct ls_array *array, hid_t properties, int64_t file_bytes,
                                  uint64_t *cache_bytes, struct ls_error *err)
{
    const struct hdf5 *own = array->state;
    const H5D_layout_t layout = own->h5->Pget_layout(properties);
    const uint64_t stored = own->h5->Dget_storage_size(own->dataset),
                   needed = (uint64_t)ls_array_bytes(array);
    if (stored > (uint64_t)file_bytes)
        return ls_fail(err, LS_FAILED, "%s has %llu bytes by its own account, the whole file %lld",
                       array->where, (unsigned long long)stored, (long long)file_bytes);
    if (layout == H5D_CHUNKED)
        return check_chunks(array, properties, stored, cache_bytes, err);
    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS)
        return complain(array, "unknown layout", err);
    return stored == needed ? LS_OK : missing_storage(array, stored, needed, err);
}

/* ---- opening ---- */

static enum ls_code read_shape(struct ls_array *array, const struct ls_element *element, struct ls_error *err)
{
    struct hdf5 *own = array->state;
    hsize_t found[H5S_MAX_RANK];
    uint64_t dims[LS_ARRAY_DIMS];
    own->space = own->h5->Dget_space(own->dataset);
    if (own->space < 0)
        return complain(array, "its shape cannot be read", err);
    const int n_dims = own->h5->Sget_simple_extent_ndims(own->space);
    if (n_dims < 0 || own->h5->Sget_simple_extent_type(own->space) == H5S_NULL)
        return ls_fail(err, LS_FAILED, "%s is empty", array->where);
    if (n_dims <= LS_ARRAY_DIMS && own->h5->Sget_simple_extent_dims(own->space, found, NULL) != n_dims)
        return complain(array, "its shape cannot be read", err);
    for (int i = 0; i < n_dims && i < LS_ARRAY_DIMS; i++)
        dims[i] = found[i];
    return ls_array_set_shape(array, element, n_dims, dims, err);
}

/* Opens the dataset again with room for a row of chunks. */
static enum ls_code set_cache(const struct ls_array *array, hid_t file, const char *name, uint64_t bytes,
                              struct ls_error *err)
{
    struct hdf5 *own = array->state;
    const hid_t access = own->h5->Pcreate(own->h5->dataset_access);
    enum ls_code code = LS_OK;
    own->h5->Dclose(own->dataset);
    own->dataset = -1;
    if (access >= 0 && own->h5->Pset_chunk_cache(access, CACHE_SLOTS, (size_t)bytes, 1.0) >= 0)
        own->dataset = own->h5->Dopen2(file, name, access);
    if (own->dataset < 0)
        code = complain(array, "cannot be opened", err);
    if (access >= 0)
        own->h5->Pclose(access);
    return code;
}

static enum ls_code open_parts(struct ls_array *array, hid_t file, int64_t file_bytes, const char *name,
                               struct ls_error *err)
{
    struct hdf5 *own = array->state;
    struct ls_element element;
    uint64_t cache_bytes = 0;
    own->dataset = own->h5->Dopen2(file, name, H5P_DEFAULT);
    own->type = own->dataset >= 0 ? own->h5->Dget_type(own->dataset) : -1;
    const hid_t properties = own->type >= 0 ? own->h5->Dget_create_plist(own->dataset) : -1;
    if (properties < 0)
        return complain(array, "cannot be opened", err);
    enum ls_code code = check_own(array, properties, err);
    if (code == LS_OK)
        code = read_type(array, &element, err);
    if (code == LS_OK)
        code = read_shape(array, &element, err);
    if (code == LS_OK)
        code = check_storage(array, properties, file_bytes, &cache_bytes, err);
    own->h5->Pclose(properties);
    return code == LS_OK && cache_bytes > 0 ? set_cache(array, file, name, cache_bytes, err) : code;
}

enum ls_code ls_hdf5_array_open(struct ls_array *array, const struct ls_hdf5_library *h5, hid_t file,
                                const char *path, int64_t file_bytes, const char *name, struct ls_error *err)
{
    *array = (struct ls_array){.read = read_rows, .first_byte = -1};
    snprintf(array->where, sizeof array->where, "\"%.300s\" dataset \"%.180s\"", path, name);
    struct hdf5 *own = ls_alloc(1, sizeof *own, path, err);
    if (!own)
        return LS_FAILED;
    *own = (struct hdf5){.h5 = h5, .dataset = -1, .type = -1, .space = -1};
    array->state = own;
    array->close = close_dataset;
    return open_parts(array, file, file_bytes, name, err);
}
