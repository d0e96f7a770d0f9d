/* Owns libhdf5 being there, quiet and tame.  See hdf5_library.h. */
#include "data/hdf5_library.h"

#include <dlfcn.h>
#include <stdio.h>

/* What a hostile file could make the library do beyond reading it: load code that the environment names, and
 * open other files behind links.  Both are switched off for the whole process, before the first file. */
static int tame(const struct ls_hdf5_library *h5)
{
    return h5->Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0 && h5->PLset_loading_state(0) >= 0 &&
           h5->Lunregister(H5L_TYPE_EXTERNAL) >= 0;
}

static enum ls_code check_version(const struct ls_hdf5_library *h5, struct ls_error *err)
{
    unsigned major = 0, minor = 0, release = 0;
    if (h5->get_libversion(&major, &minor, &release) < 0 || major != H5_VERS_MAJOR || minor != H5_VERS_MINOR)
        return ls_fail(err, LS_FAILED,
                       "this program was built for HDF5 %d.%d, but \"%s\" is %u.%u.%u: build it again",
                       H5_VERS_MAJOR, H5_VERS_MINOR, LS_HDF5_LIBRARY, major, minor, release);
    return LS_OK;
}

/* H5Lget_info and others are macros for the version that the headers are of; this is the name behind one. */
#define NAME(name) NAME_OF(H5##name)
#define NAME_OF(name) #name

static enum ls_code find_functions(struct ls_hdf5_library *h5, void *handle, struct ls_error *err)
{
    const char *missing = NULL;
    void *address;
#define F(name)                                                                                              \
    address = dlsym(handle, NAME(name));                                                                     \
    missing = address ? missing : NAME(name);                                                                \
    *(void **)&h5->name = address;
    LS_HDF5_FUNCTIONS(F)
#undef F
    if (missing)
        return ls_fail(err, LS_FAILED, "\"%s\" has no %s; HDF5 1.10.7 or newer is needed", LS_HDF5_LIBRARY,
                       missing);
    return LS_OK;
}

static enum ls_code load(struct ls_hdf5_library *h5, struct ls_error *err)
{
    void *handle = dlopen(LS_HDF5_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return ls_fail(err, LS_FAILED,
                       "HDF5 files need a library that cannot be loaded: %s; on Debian: apt-get install "
                       "libhdf5-103-1",
                       dlerror());
    enum ls_code code = find_functions(h5, handle, err);
    if (code == LS_OK)
        code = check_version(h5, err);
    if (code == LS_OK && (h5->open() < 0 || !tame(h5)))
        code = ls_fail(err, LS_FAILED, "\"%s\" cannot be set up", LS_HDF5_LIBRARY);
    if (code != LS_OK)
        return code;
    const hid_t *file_access = dlsym(handle, "H5P_CLS_FILE_ACCESS_ID_g"),
                *dataset_access = dlsym(handle, "H5P_CLS_DATASET_ACCESS_ID_g");
    if (!file_access || !dataset_access)
        return ls_fail(err, LS_FAILED, "\"%s\" has no property lists", LS_HDF5_LIBRARY);
    h5->file_access = *file_access;
    h5->dataset_access = *dataset_access;
    return LS_OK;
}

const struct ls_hdf5_library *ls_hdf5_library(struct ls_error *err)
{
    static struct ls_hdf5_library library;
    static int loaded;
    if (!loaded && load(&library, err) != LS_OK)
        return NULL;
    loaded = 1;
    return &library;
}

struct words {
    char *text;
    size_t size;
};

static herr_t take_words(unsigned n, const H5E_error2_t *error, void *context)
{
    const struct words *words = context;
    if (n == 0)
        snprintf(words->text, words->size, "%s", error->desc);
    return 0;
}

const char *ls_hdf5_complaint(const struct ls_hdf5_library *h5, char *text, size_t size)
{
    struct words words = {text, size};
    snprintf(text, size, "the library gives no reason");
    h5->Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_words, &words);
    h5->Eclear2(H5E_DEFAULT);
    return text;
}
