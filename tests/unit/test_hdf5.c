/* HDF5 files: what h5py wrote is read as NumPy reads it; datasets that lead out of the file, or promise more
 * than is stored, are refused. */
#include <criterion/criterion.h>

#include "clean.h"
#include "files.h"
#include "streams.h"

#if LS_WITH_HDF5
TestSuite(hdf5, .timeout = 120);

/* scripts/make_data_fixtures.py has the same list. */
static const char *const types[] = {"b1",    "u1",    "i1",    "u2",    "u2_be", "i2",    "i2_be",
                                    "u4",    "u4_be", "i4",    "i4_be", "u8",    "u8_be", "i8",
                                    "i8_be", "f2",    "f2_be", "f4",    "f4_be", "f8",    "f8_be"};
enum { N_TYPES = sizeof types / sizeof types[0], ELEMENTS = 36 };

/* The library keeps files of its own nowhere, but is loaded by the first file: that is not a leak. */
static void load_library(void)
{
    struct ls_stream stream = stream_ok("hdf5:" DATA_FIXTURES "pair.h5");
    ls_stream_close(&stream);
}

CLEAN_TEST(hdf5, numbers_are_those_of_numpy)
{
    size_t n;
    char *expected = read_file(DATA_FIXTURES "expected.f4", &n);
    for (int i = 0; i < N_TYPES; i++) {
        char spec[200];
        snprintf(spec, sizeof spec, "hdf5:%stypes.h5,x=x_%s,y=y%s", DATA_FIXTURES, types[i],
                 i < 2 ? ",divisor=1" : "");
        struct samples found = samples_of(spec);
        cr_assert(found.facts.n_samples == 6 && found.facts.n_features == 6 && found.labels[0] == 3);
        cr_expect_eq(
            memcmp(found.x, expected + (size_t)i * ELEMENTS * sizeof(float), ELEMENTS * sizeof(float)), 0,
            "%s", types[i]);
        samples_release(&found);
    }
    free(expected);
}

CLEAN_TEST(hdf5, storage_of_every_kind)
{
    struct samples npz = samples_of("npz:" DATA_FIXTURES "pair.npz");
    static const char *const specs[] = {DATA_FIXTURES "pair.h5", DATA_FIXTURES "latest.h5",
                                        "hdf5:" DATA_FIXTURES "grouped.h5,x=/in,y=/a/out",
                                        "hdf5:" DATA_FIXTURES "grouped.h5,x=a/b/in,y=a/out"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct samples other = samples_of(specs[i]);
        cr_expect(samples_equal(&npz, &other), "%s", specs[i]);
        samples_release(&other);
        expect_seekable(specs[i]);
    }
    samples_release(&npz);
    struct ls_data data;
    struct ls_error err = {.text = ""};
    cr_assert_eq(ls_data_open(&data, DATA_FIXTURES "keras.h5", NULL, &err), LS_OK, "%s", err.text);
    cr_expect(data.train.n_samples == 60 && data.test.n_samples == 30);
    ls_data_release(&data);
}

CLEAN_TEST(hdf5, refused)
{
    static const struct {
        const char *x, *parts;
    } cases[] = {
        {"elsewhere", "x=elsewhere is no array|elsewhere (in another file, which is not opened)"},
        {"soft", "x=soft is no array"},
        {"loop", "x=loop is no array"},
        {"folder", "x=folder is no array"},
        {"../pair", "is no array"},
        {"virtual", "\"virtual\" keeps its data in other files (a virtual dataset)"},
        {"external", "(external storage)|h5repack"},
        {"lzf", "filter 32000 'lzf'|gzip"},
        {"hole", "0 chunks are stored|1048576"},
        {"unwritten", "0 bytes are stored, its shape needs 1440"},
        {"half", "5 chunks are stored, its shape needs 9"},
        {"text", "holds text"},
        {"records", "a compound type"},
        {"complex", "a compound type"},
        {"scalar", "0 dimensions"},
        {"null", "is empty"},
        {"six", "6 dimensions|1 to 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char spec[200];
        snprintf(spec, sizeof spec, "hdf5:" DATA_FIXTURES "refused.h5,x=%s,y=y", cases[i].x);
        expect_stream_refused(LS_FAILED, spec, cases[i].parts);
    }
    expect_stream_refused(LS_FAILED, "hdf5:" DATA_FIXTURES "pair.npz", "cannot be opened as HDF5|signature");
    expect_stream_refused(LS_FAILED, "hdf5:/dev/null", "not a regular file");
    expect_stream_refused(LS_FAILED, "hdf5:nothing.h5", "cannot open \"nothing.h5\"");
    expect_stream_refused(LS_FAILED, "hdf5:" DATA_FIXTURES "refused.h5", "no arrays x and y|and");
}

CLEAN_TEST(hdf5, cut)
{
    struct folder folder = folder_create();
    const struct place place = in_folder(&folder, "x.h5");
    char spec[600];
    size_t n;
    char *bytes = read_file(DATA_FIXTURES "keras.h5", &n);
    load_library();
    snprintf(spec, sizeof spec, "hdf5:%s", place.path);
    for (size_t cut = 0; cut < n; cut += cut < 200 ? 1 : 97) {
        write_file(place.path, bytes, cut);
        cr_expect_eq(survive(spec), LS_FAILED, "cut at %zu", cut);
    }
    free(bytes);
    folder_destroy(&folder);
}
#endif
