/* NumPy's .npy files: what NumPy wrote is read as NumPy reads it, of every type, byte order and version; what
 * is broken or hostile is refused with its place. */
#include <criterion/criterion.h>

#include "clean.h"
#include "files.h"
#include "lockstep.h"
#include "streams.h"

TestSuite(npy, .timeout = 60);

/* scripts/make_data_fixtures.py has the same list. */
static const char *const types[] = {"b1",    "u1",    "i1",    "u2",    "u2_be", "i2",    "i2_be",
                                    "u4",    "u4_be", "i4",    "i4_be", "u8",    "u8_be", "i8",
                                    "i8_be", "f2",    "f2_be", "f4",    "f4_be", "f8",    "f8_be"};
enum { N_TYPES = sizeof types / sizeof types[0], ELEMENTS = 36 };

CLEAN_TEST(npy, numbers_are_those_of_numpy)
{
    size_t n;
    char *expected = read_file(DATA_FIXTURES "expected.f4", &n);
    cr_assert_eq(n, N_TYPES * ELEMENTS * sizeof(float));
    for (int i = 0; i < N_TYPES; i++) {
        char spec[200];
        const int bytes = i < 2; /* b1 and u1 */
        snprintf(spec, sizeof spec, "npy:%sx_%s.npy,%sy_u1.npy%s", DATA_FIXTURES, types[i], DATA_FIXTURES,
                 bytes ? ",divisor=1" : "");
        struct samples found = samples_of(spec);
        cr_assert_eq(found.facts.n_samples, 6);
        cr_assert(found.facts.n_dims == 2 && found.facts.dims[0] == 2 && found.facts.dims[1] == 3);
        cr_assert_eq(found.facts.is_bytes, bytes);
        const float *of_numpy = (const float *)(expected + (size_t)i * ELEMENTS * sizeof(float));
        for (int k = 0; k < ELEMENTS; k++)
            cr_expect_eq(memcmp(&found.x[k], &of_numpy[k], sizeof(float)), 0, "%s[%d]: %a, NumPy says %a",
                         types[i], k, (double)found.x[k], (double)of_numpy[k]);
        samples_release(&found);
    }
    free(expected);
}

CLEAN_TEST(npy, versions_of_the_header)
{
    struct samples v1 = samples_of("npy:" DATA_FIXTURES "x_u1.npy," DATA_FIXTURES "y_u1.npy");
    for (int v = 2; v <= 3; v++) {
        char spec[200];
        snprintf(spec, sizeof spec, "npy:%sv%d.npy,%sy_u1.npy", DATA_FIXTURES, v, DATA_FIXTURES);
        struct samples other = samples_of(spec);
        cr_expect(samples_equal(&v1, &other), "version %d", v);
        samples_release(&other);
    }
    cr_expect_eq(v1.facts.divisor, 255.0f);
    samples_release(&v1);
}

CLEAN_TEST(npy, targets)
{
    static const int32_t labels[] = {3, 0, 2, 1, 2, 0};
    static const struct {
        const char *file;
        int labels, n_values;
    } cases[] = {
        {"y_u1.npy", 1, 0},
        {"y_i8_column.npy", 1, 0},
        {"y_i2_be.npy", 1, 0},
        {"y_f8_whole.npy", 0, 1},
        {"y_f4_two.npy", 0, 2},
        {"y_f8_whole.npy,targets=labels", 1, 0},
        {"y_u1.npy,targets=values", 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char spec[200];
        snprintf(spec, sizeof spec, "%sx_f4.npy,%s%s", DATA_FIXTURES, DATA_FIXTURES, cases[i].file);
        struct samples found = samples_of(spec);
        cr_expect_eq(found.facts.n_classes, cases[i].labels ? 4 : 0, "%s", spec);
        cr_expect_eq(found.facts.n_values, cases[i].n_values, "%s", spec);
        for (int k = 0; k < 6; k++) {
            if (cases[i].labels)
                cr_expect_eq(found.labels[k], labels[k], "%s", spec);
            for (int j = 0; j < cases[i].n_values; j++)
                cr_expect_eq(found.values[k * cases[i].n_values + j],
                             j ? -(float)labels[k] / 4 : (float)labels[k], "%s", spec);
        }
        samples_release(&found);
    }
    struct ls_stream without = stream_ok("npy:" DATA_FIXTURES "x_f4.npy");
    cr_expect(without.facts.n_classes == 0 && without.facts.n_values == 0);
    ls_stream_close(&without);
}

CLEAN_TEST(npy, seeking)
{
    expect_seekable("npy:" DATA_FIXTURES "x_i2_be.npy," DATA_FIXTURES "y_u1.npy");
    expect_seekable("npy:" DATA_FIXTURES "x_u1.npy," DATA_FIXTURES "y_f4_two.npy");
}

#define X "npy:" DATA_FIXTURES "x_f4.npy," DATA_FIXTURES
#define Y "," DATA_FIXTURES "y_u1.npy"

CLEAN_TEST(npy, refused)
{
    static const struct {
        enum ls_code code;
        const char *spec, *parts;
    } cases[] = {
        {LS_FAILED, "npy:" DATA_FIXTURES "nan.npy" Y, "nan.npy\": byte 236|feature 3 of sample 4|nan|finite"},
        {LS_FAILED, "npy:" DATA_FIXTURES "beyond.npy" Y, "byte 128|feature 0 of sample 0|1e+39"},
        {LS_FAILED, "npy:" DATA_FIXTURES "fortran.npy" Y, "Fortran|np.ascontiguousarray"},
        {LS_FAILED, "npy:" DATA_FIXTURES "objects.npy" Y, "pickled|never loaded"},
        {LS_FAILED, "npy:" DATA_FIXTURES "records.npy" Y, "structured|a['field']"},
        {LS_FAILED, "npy:" DATA_FIXTURES "complex.npy" Y, "'<c8'|f4"},
        {LS_FAILED, "npy:" DATA_FIXTURES "text.npy" Y, "'<U2'"},
        {LS_FAILED, "npy:" DATA_FIXTURES "scalar.npy" Y, "0 dimensions|1 to 5"},
        {LS_FAILED, "npy:" DATA_FIXTURES "empty.npy" Y, "dimension 1 is 0"},
        {LS_FAILED, X "y_negative.npy", "byte 136|label -1 of sample 1|0 to 65535"},
        {LS_FAILED, X "y_large.npy", "label 98304 of sample 0"},
        {LS_FAILED, X "y_f4.npy,targets=labels", "label 3.25 of sample 0|whole"},
        {LS_FAILED, X "y_f4_two.npy,targets=labels", "2 numbers a sample"},
        {LS_FAILED, X "x_f4.npy", "3 dimensions|targets"},
        {LS_FAILED, X "pixels.idx", "is not .npy: byte 0"},
        {LS_FAILED, X "nothing.npy", "cannot open|nothing.npy"},
        {LS_FAILED, "npy:/dev/zero" Y, "not a regular file"},
        {LS_FAILED, "npy:" DATA_FIXTURES Y, "not a regular file"},
        {LS_USAGE, X "y_u1.npy,divisor=16", "float32|divisor= is for uint8"},
        {LS_USAGE, X "y_u1.npy,divisor=7", "divisor=7|1, 16 and 255"},
        {LS_USAGE, X "y_u1.npy,targets=both", "targets=both|labels and values"},
        {LS_USAGE, X "y_u1.npy,header=yes", "header=|divisor, targets"},
        {LS_USAGE, X "y_u1.npy,third.npy", "3 files"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_stream_refused(cases[i].code, cases[i].spec, cases[i].parts);
}

/* A version 1 file whose dictionary is `text`, and which has `n` bytes behind it. */
static void write_npy(const char *path, const char *text, size_t n)
{
    uint8_t bytes[2000] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    const size_t length = strlen(text);
    bytes[8] = (uint8_t)length;
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + 10, text, length);
    cr_assert_leq(10 + length + n, sizeof bytes);
    write_file(path, bytes, 10 + length + n);
}

CLEAN_TEST(npy, dictionaries)
{
    static const struct {
        const char *text;
        size_t n;
        const char *parts; /* NULL: it is read */
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24, NULL},
        {"{'shape': (2L, 3L), 'descr': \"<f4\", 'fortran_order': False}", 24, NULL}, /* Python 2 */
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (6,), }\n", 24, NULL},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (6, 1), }\n", 24, NULL},
        {"{'descr':'<u1','fortran_order':False,'shape':(6,)}", 6, NULL},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 23, "cut short"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 25, "something follows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }x", 24, "found 'x'|blanks"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6), }", 24,
         "found ','|behind a tuple's only number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-6,), }", 24, "found '-'|a dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6 6), }", 24, "found '6'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': [6], }", 24, "a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,", 24, "the header's end"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1), }", 24, "more than 5"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807), }",
         24, "dimension 1 is 9223372036854775807|addressed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4), }", 24, "addressed"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 24, "19 digits"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846, 4), }", 24, "cut short"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (6,), }", 24, "True or False"},
        {"{'descr': '<f4', 'shape': (6,), }", 24, "no 'fortran_order'"},
        {"{'fortran_order': False, 'shape': (6,), }", 24, "no 'descr'"},
        {"{'descr': '<f4', 'fortran_order': False}", 24, "no 'shape'"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", 24, "repeats 'descr'"},
        {"{'evil': 1, 'descr': '<f4'}", 24, "a key 'evil'"},
        {"{'descr': '=f4', 'fortran_order': False, 'shape': (6,)}", 24, "'=f4'"},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (6,)}", 24, "'|f4'"},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': (6,)}", 24, "'<f3'"},
        {"{'descr': '<b4', 'fortran_order': False, 'shape': (6,)}", 24, "'<b4'"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (6,)}", 96, "'<f16'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (6,)}", 24, "type ''"},
        {"{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (6,)}", 24, "plain character"},
        {"{'descr': '<f4 and then a text that does not end for a long time, longer than any", 24,
         "short text"},
        {"", 24, "a header of 10 bytes"},
        {"  ", 24, "the header's end|'{'"},
        {"{ }", 24, "no 'descr'"},
    };
    struct folder folder = folder_create();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char spec[600];
        const struct place x = in_folder(&folder, "x.npy");
        write_npy(x.path, cases[i].text, cases[i].n);
        snprintf(spec, sizeof spec, "npy:%s", x.path);
        if (cases[i].parts)
            expect_stream_refused(LS_FAILED, spec, cases[i].parts);
        else
            cr_expect_eq(survive(spec), LS_OK, "%s", cases[i].text);
    }
    folder_destroy(&folder);
}

/* Every prefix of a file, and every bit of its header turned: an answer each time, and of the prefixes never
 * a good one. */
CLEAN_TEST(npy, cut_and_flipped)
{
    struct folder folder = folder_create();
    const struct place x = in_folder(&folder, "x.npy");
    char spec[600];
    size_t n;
    char *bytes = read_file(DATA_FIXTURES "x_f8_be.npy", &n);
    snprintf(spec, sizeof spec, "npy:%s", x.path);
    for (size_t cut = 0; cut < n; cut++) {
        write_file(x.path, bytes, cut);
        cr_expect_eq(survive(spec), LS_FAILED, "cut at %zu", cut);
    }
    for (size_t bit = 0; bit < 8 * (size_t)128; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        write_file(x.path, bytes, n);
        survive(spec);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    free(bytes);
    folder_destroy(&folder);
}

/* Labels are read twice: first to count the classes, which is what memory is taken by. */
CLEAN_TEST(npy, labels_that_change_between_readings)
{
    struct folder folder = folder_create();
    const struct place y = in_folder(&folder, "y.npy");
    char spec[600];
    size_t n;
    char *bytes = read_file(DATA_FIXTURES "y_u1.npy", &n);
    write_file(y.path, bytes, n);
    snprintf(spec, sizeof spec, "npy:%sx_f4.npy,%s", DATA_FIXTURES, y.path);
    struct ls_stream stream = stream_ok(spec);
    struct ls_dataset dataset = {.n_samples = 0};
    struct ls_error err = {.text = ""};
    bytes[n - 2] = 77;
    write_file(y.path, bytes, n);
    cr_expect_eq(ls_stream_load(&stream, &dataset, &err), LS_FAILED);
    cr_expect(strstr(err.text, "label 77 of sample 4; the largest was 3: it was changed"), "%s", err.text);
    ls_dataset_release(&dataset);
    ls_stream_close(&stream);
    free(bytes);
    folder_destroy(&folder);
}

Test(npy, training_needs_targets)
{
    const struct ls_outcome *out = lockstep(1, "train --steps 1 --data npy:" DATA_FIXTURES "x_f4.npy");
    cr_assert_eq(out->status, LS_USAGE);
    cr_assert_not_null(strstr(out->err, "neither labels nor target values"), "%s", out->err);
}
