/* .npz archives: which arrays are meant, test data that come along, the same bits as out of other formats,
 * and archives that are broken or lie. */
#include <criterion/criterion.h>

#include "clean.h"
#include "files.h"
#include "lockstep.h"
#include "streams.h"

TestSuite(npz, .timeout = 60);

CLEAN_TEST(npz, the_same_samples_as_idx)
{
    static const char *const specs[] = {DATA_FIXTURES "packed.npz", DATA_FIXTURES "unnamed.npz",
                                        "npz:" DATA_FIXTURES "odd.npz,x=foo,y=bar",
                                        "npz:" DATA_FIXTURES "numbers.npz"};
    struct samples first = samples_of("npz:" DATA_FIXTURES "pair.npz");
    size_t n;
    char *idx = read_file(DATA_FIXTURES "pixels.idx", &n);
    cr_assert_eq(n, 16 + 90 * 20);
    for (int i = 0; i < 90 * 20; i++)
        cr_assert_eq(first.x[i], (float)(uint8_t)idx[16 + i] / 255.0f);
    free(idx);
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct samples other = samples_of(specs[i]);
        cr_expect(samples_equal(&first, &other), "%s", specs[i]);
        samples_release(&other);
    }
    samples_release(&first);
}

CLEAN_TEST(npz, test_data_come_along)
{
    struct ls_stream stream;
    struct ls_data data;
    struct ls_error err = {.text = ""};
    cr_assert_eq(ls_data_open(&data, "npz:" DATA_FIXTURES "keras.npz", NULL, &err), LS_OK, "%s", err.text);
    cr_expect(data.train.n_samples == 60 && data.test.n_samples == 30);
    ls_data_release(&data);
    cr_assert_eq(ls_data_open(&data, "npz:" DATA_FIXTURES "keras.npz,part=test", NULL, &err), LS_OK, "%s",
                 err.text);
    cr_expect(data.train.n_samples == 30 && data.test.n_samples == 0);
    ls_data_release(&data);
    cr_assert_eq(ls_data_open(&data, "npz:" DATA_FIXTURES "pair.npz", "npz:" DATA_FIXTURES "keras.npz", &err),
                 LS_OK, "%s", err.text);
    cr_expect(data.train.n_samples == 90 && data.test.n_samples == 30);
    ls_data_release(&data);
    stream = stream_ok("npz:" DATA_FIXTURES "pair.npz");
    cr_expect_not(stream.facts.has_test);
    ls_stream_close(&stream);
}

CLEAN_TEST(npz, seeking)
{
    expect_seekable("npz:" DATA_FIXTURES "numbers.npz");
    expect_seekable("npz:" DATA_FIXTURES "pair.npz");
}

CLEAN_TEST(npz, refused)
{
    static const struct {
        enum ls_code code;
        const char *spec, *parts;
    } cases[] = {
        {LS_FAILED, "npz:" DATA_FIXTURES "odd.npz", "odd.npz\" has no arrays x and y|it has foo, bar|x=NAME"},
        {LS_FAILED, "npz:" DATA_FIXTURES "pair.npz,x=z,y=y", "x=z is no array|it has x, y"},
        {LS_FAILED, "npz:" DATA_FIXTURES "pair.npz,x=x,y=z", "y=z is no array"},
        {LS_FAILED, "npz:" DATA_FIXTURES "pair.npz,part=test", "x_test and y_test|it has x, y"},
        {LS_FAILED, "npz:" DATA_FIXTURES "keras.npz,x=x_train,y=y_test", "has 60 samples|has 30"},
        {LS_USAGE, "npz:" DATA_FIXTURES "keras.npz,part=dev", "part=dev|train, val and test"},
        {LS_USAGE, "npz:" DATA_FIXTURES "keras.npz,part=test,x=x_test,y=y_test", "x= and part="},
        {LS_USAGE, "npz:" DATA_FIXTURES "pair.npz,y=y", "without x="},
        {LS_USAGE, "npz:" DATA_FIXTURES "pair.npz,x=x", "without y=|y=none"},
        {LS_USAGE, "npz:" DATA_FIXTURES "pair.npz,label=y", "label=|x, y, part"},
        {LS_FAILED, "npz:" DATA_FIXTURES "x_f4.npy", "cannot be opened as an .npz archive"},
        {LS_FAILED, "npz:/dev/null", "not a regular file"},
        {LS_FAILED, "npz:nothing.npz", "cannot open \"nothing.npz\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_stream_refused(cases[i].code, cases[i].spec, cases[i].parts);
}

/* A little-endian number of n bytes at the k-th place where the four bytes of a signature stand. */
static size_t find_signature(const char *bytes, size_t n, const char *signature, int k)
{
    for (size_t i = 0; i + 4 <= n; i++)
        if (memcmp(bytes + i, signature, 4) == 0 && k-- == 0)
            return i;
    cr_assert_fail("no signature");
    return 0;
}

/* The directory says other sizes than there are, or another packing: refused before memory is taken. */
CLEAN_TEST(npz, directories_that_lie)
{
    enum { METHOD = 10, PACKED = 20, PLAIN = 24 };
    static const struct {
        int at;
        uint32_t value;
        const char *parts;
    } cases[] = {
        {PLAIN, 0x7fffffff, "cannot be"},   {PLAIN, 1929, "by the directory; its header promises"},
        {PLAIN, 5, "only 5 bytes"},         {PACKED, 0x7fffffff, ""},
        {METHOD, 12, "method 12|np.savez"},
    };
    struct folder folder = folder_create();
    const struct place place = in_folder(&folder, "x.npz");
    char spec[600];
    snprintf(spec, sizeof spec, "npz:%s", place.path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n;
        char *bytes = read_file(DATA_FIXTURES "packed.npz", &n);
        const size_t entry = find_signature(bytes, n, "PK\1\2", 0) + (size_t)cases[i].at;
        memcpy(bytes + entry, &cases[i].value, cases[i].at == METHOD ? 2 : 4);
        write_file(place.path, bytes, n);
        expect_stream_refused(LS_FAILED, spec, cases[i].parts);
        free(bytes);
    }
    folder_destroy(&folder);
}

/* A changed pixel of a stored member: only the archive's checksum can tell. */
CLEAN_TEST(npz, checksums_are_compared)
{
    struct folder folder = folder_create();
    const struct place place = in_folder(&folder, "x.npz");
    char spec[600];
    size_t n;
    char *bytes = read_file(DATA_FIXTURES "pair.npz", &n);
    bytes[1000] ^= 1;
    write_file(place.path, bytes, n);
    snprintf(spec, sizeof spec, "npz:%s", place.path);
    expect_stream_refused(LS_FAILED, spec, "member \"x\" cannot be used|CRC");
    free(bytes);
    folder_destroy(&folder);
}

CLEAN_TEST(npz, cut_and_flipped)
{
    struct folder folder = folder_create();
    const struct place place = in_folder(&folder, "x.npz");
    char spec[600];
    size_t n;
    char *bytes = read_file(DATA_FIXTURES "packed.npz", &n);
    snprintf(spec, sizeof spec, "npz:%s", place.path);
    for (size_t cut = 0; cut < n; cut += cut < 300 || cut + 300 > n ? 1 : 17) {
        write_file(place.path, bytes, cut);
        cr_expect_eq(survive(spec), LS_FAILED, "cut at %zu", cut);
    }
    for (size_t at = 0; at < n; at += at < 200 || at + 200 > n ? 1 : 23) {
        bytes[at] ^= (char)0xff;
        write_file(place.path, bytes, n);
        survive(spec);
        bytes[at] ^= (char)0xff;
    }
    free(bytes);
    folder_destroy(&folder);
}

/* The hash after training says that every number is the same bit for bit, and in the same order. */
Test(npz, every_format_trains_to_the_same_hash)
{
    static const char *const specs[] = {
        "npz:" DATA_FIXTURES "packed.npz",
        "npz:" DATA_FIXTURES "numbers.npz",
#if LS_WITH_HDF5
        "hdf5:" DATA_FIXTURES "pair.h5",
        "hdf5:" DATA_FIXTURES "grouped.h5,x=in,y=a/out",
#endif
    };
    const char *run = "train --quiet --epochs 2 --batch 16 --data";
    const struct hash_text idx =
        last_hash(lockstep(1, "%s idx:%spixels.idx,%slabels.idx", run, DATA_FIXTURES, DATA_FIXTURES)->out);
    cr_assert_eq(strlen(idx.text), 32);
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        cr_expect_str_eq(last_hash(lockstep(1, "%s %s", run, specs[i])->out).text, idx.text, "%s", specs[i]);
    const char *two = "npz:" DATA_FIXTURES "keras.npz";
    cr_expect_str_eq(last_hash(lockstep(3, "%s %s", run, two)->out).text,
                     last_hash(lockstep(1, "%s %s", run, two)->out).text);
}
