/* Data sets: what a specification means, facts about the built-in data, files read as they were written, and
 * damaged, hostile or mismatched ones refused with a message that names the file, the place, what was found
 * and what is allowed. Every test ends with nothing on the heap. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <math.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "data/dataset.h"
#include "data/readers.h"
#include "files.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define SANITIZER_RESERVES_MEMORY 1
#elif defined(__has_feature)
#    define SANITIZER_RESERVES_MEMORY (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#    define SANITIZER_RESERVES_MEMORY 0
#endif

static struct folder folder;

static void set_up(void)
{
    folder = folder_create();
}

static void tear_down(void)
{
    folder_destroy(&folder);
    cr_assert_eq(ls_memory_balance(), 0, "%ld blocks were not released", ls_memory_balance());
}

TestSuite(data, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- support: bytes, files, expectations ---- */

struct bytes {
    uint8_t at[4096];
    size_t n;
};

static void put(struct bytes *bytes, const void *what, size_t n)
{
    cr_assert_leq(bytes->n + n, sizeof bytes->at);
    memcpy(bytes->at + bytes->n, what, n);
    bytes->n += n;
}

static void put_big_endian(struct bytes *bytes, uint64_t word, int n)
{
    for (int i = n - 1; i >= 0; i--)
        put(bytes, &(uint8_t){(uint8_t)(word >> (8 * i))}, 1);
}

/* The header of an IDX file. */
static struct bytes idx(int type, int rank, const uint32_t *dims)
{
    struct bytes bytes = {.n = 0};
    put_big_endian(&bytes, (uint64_t)(type << 8 | rank), 4);
    for (int i = 0; i < rank; i++)
        put_big_endian(&bytes, dims[i], 4);
    return bytes;
}

/* `n` images of 2x3 bytes: 0, 1, 2, ... */
static struct bytes images(uint32_t n)
{
    struct bytes bytes = idx(8, 3, (const uint32_t[]){n, 2, 3});
    for (uint32_t i = 0; i < 6 * n; i++)
        put_big_endian(&bytes, i, 1);
    return bytes;
}

static struct bytes labels(uint32_t n, const uint8_t *label)
{
    struct bytes bytes = idx(8, 1, &n);
    put(&bytes, label, n);
    return bytes;
}

static const uint8_t four_labels[] = {0, 2, 1, 2};

static struct bytes gzip(const struct bytes *plain)
{
    struct bytes packed = {.n = 0};
    struct libdeflate_compressor *engine = libdeflate_alloc_compressor(9);
    packed.n = libdeflate_gzip_compress(engine, plain->at, plain->n, packed.at, sizeof packed.at);
    libdeflate_free_compressor(engine);
    cr_assert_gt(packed.n, 0);
    return packed;
}

static void save(const char *name, struct bytes bytes)
{
    write_file(in_folder(&folder, name).path, bytes.at, bytes.n);
}

struct spec {
    char text[1200];
};

/* idx:FOLDER/images,FOLDER/labels */
static struct spec pair(const char *images_name, const char *labels_name)
{
    struct spec spec;
    snprintf(spec.text, sizeof spec.text, "idx:%s/%s,%s/%s", folder.path, images_name, folder.path,
             labels_name);
    return spec;
}

static struct ls_data open_ok(const char *spec, const char *test_spec)
{
    struct ls_data data;
    struct ls_error err = {.text = ""};
    const enum ls_code code = ls_data_open(&data, spec, test_spec, &err);
    cr_assert_eq(code, LS_OK, "\"%s\": %s", spec, err.text);
    return data;
}

/* Opening fails with `code`, a message that has all the parts (separated by '|'), nothing held and all zero.
 */
static void expect_refused(enum ls_code code, const char *spec, const char *test_spec, const char *parts)
{
    static const struct ls_data zero;
    const long balance = ls_memory_balance();
    struct ls_data data;
    struct ls_error err = {.text = ""};
    memset(&data, 0xA5, sizeof data);
    const enum ls_code found = ls_data_open(&data, spec, test_spec, &err);
    cr_assert_eq(found, code, "\"%s\": code %d, expected %d (%s)", spec, (int)found, (int)code, err.text);
    cr_assert_eq(err.code, code);
    char copy[600];
    snprintf(copy, sizeof copy, "%s", parts);
    for (char *rest = copy, *part; (part = strsep(&rest, "|"));)
        cr_assert_not_null(strstr(err.text, part), "no \"%s\" in: %s", part, err.text);
    cr_assert_eq(memcmp(&data, &zero, sizeof data), 0, "\"%s\" left something behind", spec);
    cr_assert_eq(ls_memory_balance(), balance);
    cr_assert_eq(ls_data_open(&data, spec, test_spec, NULL), code, "without an error to fill");
    cr_assert_eq(ls_memory_balance(), balance);
}

/* A file of these bytes as images beside four good labels, plain and gzipped, is refused; `parts` beside its
 * name. */
static void expect_bad_images(struct bytes bytes, const char *parts)
{
    save("bad", bytes);
    save("labels", labels(4, four_labels));
    char all[600];
    snprintf(all, sizeof all, "%s/bad|%s", folder.path, parts);
    expect_refused(LS_FAILED, pair("bad", "labels").text, NULL, all);
}

static void expect_bad_labels(struct bytes bytes, const char *parts)
{
    save("images", images(4));
    save("bad", bytes);
    char all[600];
    snprintf(all, sizeof all, "%s/bad|%s", folder.path, parts);
    expect_refused(LS_FAILED, pair("images", "bad").text, NULL, all);
    save("bad", gzip(&bytes));
    expect_refused(LS_FAILED, pair("images", "bad").text, NULL, all);
}

/* ---- built-in data ---- */

/* Facts from scikit-learn: load_digits().data.sum() is 561718, and bincount(target) as below. */
Test(data, digits_are_the_known_ones)
{
    static const int64_t known[10] = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
    struct ls_data data = open_ok("digits", NULL);
    const struct ls_dataset *parts[] = {&data.train, &data.test};
    int64_t sum = 0, counts[10] = {0};
    cr_assert_eq(data.train.n_samples, 1500);
    cr_assert_eq(data.test.n_samples, 297);
    for (int part = 0; part < 2; part++) {
        cr_assert_eq(parts[part]->n_dims, 2);
        cr_assert(parts[part]->dims[0] == 8 && parts[part]->dims[1] == 8 && parts[part]->n_features == 64);
        cr_assert(parts[part]->n_classes == 10 && parts[part]->n_values == 0);
        cr_assert_float_eq(parts[part]->pixel_divisor, 16.0f, 0.0f);
        cr_assert_str_eq(parts[part]->name, "digits");
        for (int64_t i = 0; i < parts[part]->n_samples; i++)
            counts[parts[part]->labels[i]]++;
        for (int64_t i = 0; i < parts[part]->n_samples * 64; i++) {
            cr_assert_leq(parts[part]->pixels[i], 16);
            sum += parts[part]->pixels[i];
        }
    }
    cr_assert_eq(sum, 561718);
    cr_assert_arr_eq(counts, known, sizeof counts);
    const uint8_t first_row[8] = {0, 0, 5, 13, 9, 1, 0, 0};
    cr_assert_arr_eq(data.train.pixels, first_row, 8);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(data.train.labels[i], i);
    cr_assert_eq(data.test.labels[296], 8);
    ls_data_release(&data);
}

Test(data, fashion_mnist_is_the_known_one)
{
    if (access("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", R_OK) != 0)
        cr_skip("Debian's dataset-fashion-mnist is not installed");
    unsetenv("LOCKSTEP_DATA");
    struct ls_data data = open_ok("fashion-mnist", NULL);
    cr_assert(data.train.n_samples == 60000 && data.test.n_samples == 10000);
    cr_assert(data.train.n_features == 784 && data.train.n_classes == 10 && data.test.n_classes == 10);
    cr_assert(data.train.n_dims == 2 && data.train.dims[0] == 28 && data.train.dims[1] == 28);
    int counts[2][10] = {{0}};
    for (int i = 0; i < 60000; i++)
        counts[0][data.train.labels[i]]++;
    for (int i = 0; i < 10000; i++)
        counts[1][data.test.labels[i]]++;
    for (int label = 0; label < 10; label++)
        cr_assert(counts[0][label] == 6000 && counts[1][label] == 1000, "label %d", label);
    int64_t sum = 0;
    for (int64_t i = 0; i < 60000 * 784; i++)
        sum += data.train.pixels[i];
    cr_assert_float_eq((double)sum / (60000.0 * 784) / 255, 0.2860405969887955,
                       1e-12); /* the mean everybody prints */
    cr_assert_eq(data.train.labels[0], 9);
    ls_data_release(&data);
}

Test(data, fashion_mnist_is_looked_for_where_the_user_says)
{
    const struct place inner = in_folder(&folder, "fashion-mnist");
    setenv("LOCKSTEP_DATA", folder.path, 1);
    save("train-images-idx3-ubyte", images(4));
    save("train-labels-idx1-ubyte", labels(4, four_labels));
    const struct bytes plain = images(2);
    save("t10k-images-idx3-ubyte.gz", gzip(&plain));
    char parts[200];
    snprintf(parts, sizeof parts, "fashion-mnist|\"%s\"|t10k-labels-idx1-ubyte", folder.path);
    expect_refused(LS_FAILED, "fashion-mnist", NULL, parts);
    save("t10k-labels-idx1-ubyte", labels(2, four_labels));
    struct ls_data data = open_ok("fashion-mnist", NULL);
    cr_assert(data.train.n_samples == 4 && data.test.n_samples == 2);
    ls_data_release(&data);
    /* A folder of that name inside wins. */
    cr_assert_eq(mkdir(inner.path, 0700), 0);
    save("fashion-mnist/train-images-idx3-ubyte", images(1));
    expect_refused(LS_FAILED, "fashion-mnist", NULL, inner.path);
    unlink(in_folder(&folder, "fashion-mnist/train-images-idx3-ubyte").path);
    rmdir(inner.path);
}

Test(data, missing_fashion_mnist_says_where_it_looked)
{
    struct ls_data data = {.train = {.n_samples = 0}};
    struct ls_error err;
    char parts[3][300];
    snprintf(parts[0], sizeof parts[0], "\"%s/fashion-mnist\", \"%s\" (LOCKSTEP_DATA) or \"%s/system\"",
             folder.path, folder.path, folder.path);
    snprintf(parts[1], sizeof parts[1], "\"%s/system\", and LOCKSTEP_DATA names no other folder",
             folder.path);
    snprintf(parts[2], sizeof parts[2], "%s/system", folder.path);
    for (int named = 1; named >= 0; named--) {
        setenv("LOCKSTEP_DATA", named ? folder.path : "", 1);
        cr_assert_eq(ls_read_fashion_mnist(&data, parts[2], &err), LS_FAILED);
        cr_assert_not_null(strstr(err.text, parts[1 - named]), "%s", err.text);
        cr_assert_not_null(strstr(err.text, "apt-get install dataset-fashion-mnist"), "%s", err.text);
    }
}

/* ---- IDX ---- */

Test(data, idx_bytes_and_labels)
{
    save("images", images(4));
    save("labels", labels(4, four_labels));
    struct ls_data data = open_ok(pair("images", "labels").text, NULL);
    const struct ls_dataset *train = &data.train;
    cr_assert(train->n_samples == 4 && train->n_dims == 2 && train->dims[0] == 2 && train->dims[1] == 3);
    cr_assert(train->n_features == 6 && train->n_classes == 3 && train->n_values == 0 && !train->values);
    cr_assert_eq(data.test.n_samples, 0);
    const int64_t index[] = {3, 0, 3};
    float x[18];
    int32_t label[3];
    ls_dataset_gather(train, &ls_ops_serial, 3, index, x, label, NULL);
    for (int b = 0; b < 3; b++) {
        cr_assert_eq(label[b], four_labels[index[b]]);
        for (int k = 0; k < 6; k++)
            cr_assert_eq(x[b * 6 + k], (float)(index[b] * 6 + k) / 255.0f);
    }
    ls_dataset_gather(train, &ls_ops_serial, 3, index, NULL, label, NULL);
    ls_dataset_gather(train, &ls_ops_serial, 3, index, x, NULL, NULL);
    ls_dataset_gather(train, &ls_ops_serial, 0, NULL, NULL, NULL, NULL);
    ls_data_release(&data);
    ls_data_release(&data);
    ls_data_release(NULL);
}

Test(data, ranks_one_to_five)
{
    const uint32_t dims[5] = {2, 3, 1, 2, 2};
    const uint8_t zeros[64] = {0};
    ptrdiff_t features = 1;
    save("labels", labels(2, four_labels));
    for (int rank = 1; rank <= 5; rank++) {
        features *= rank > 1 ? (ptrdiff_t)dims[rank - 1] : 1;
        struct bytes bytes = idx(8, rank, dims);
        put(&bytes, zeros, (size_t)(2 * features));
        save("images", bytes);
        struct ls_data data = open_ok(pair("images", "labels").text, NULL);
        cr_assert(data.train.n_samples == 2 && data.train.n_features == features, "rank %d", rank);
        cr_assert_eq(data.train.n_dims, rank > 1 ? rank - 1 : 1);
        for (int i = 1; i < rank; i++)
            cr_assert_eq(data.train.dims[i - 1], dims[i]);
        ls_data_release(&data);
    }
}

/* The bits of the numbers, big-endian, in each type; what they must become. */
static const struct number_case {
    const char *name;
    int type, bytes;
    uint64_t bits[4];
    float expected[4];
} number_cases[] = {
    {"int8", 0x09, 1, {0x00, 0x7F, 0x80, 0xFF}, {0, 127, -128, -1}},
    {"int16", 0x0B, 2, {0x0000, 0x7FFF, 0x8000, 0x0102}, {0, 32767, -32768, 258}},
    {"int32",
     0x0C,
     4,
     {0x7FFFFFFF, 0x80000000, 0x01000001, 0xFFFFFFFE},
     {2147483648.0f, -2147483648.0f, 16777216, -2}},
    {"float32", 0x0D, 4, {0x3FC00000, 0x00000001, 0x80000000, 0xC2F70000}, {1.5f, 0x1p-149f, -0.0f, -123.5f}},
    {"float64",
     0x0E,
     8,
     {0x3FF8000000000000, 0x3FB999999999999A, 0x3FF0000010000000, 0xC05EE00000000000},
     {1.5f, 0.1f, 1.0f, -123.5f}},
};

static struct bytes number_file(const struct number_case *c, int rank, const uint32_t *dims)
{
    struct bytes bytes = idx(c->type, rank, dims);
    for (int i = 0; i < 4; i++)
        put_big_endian(&bytes, c->bits[i], c->bytes);
    return bytes;
}

Test(data, every_type_of_number)
{
    save("labels", labels(2, four_labels));
    for (size_t i = 0; i < sizeof number_cases / sizeof *number_cases; i++) {
        const struct number_case *c = &number_cases[i];
        save("images", number_file(c, 2, (const uint32_t[]){2, 2}));
        struct ls_data data = open_ok(pair("images", "labels").text, NULL);
        float x[4];
        ls_dataset_gather(&data.train, &ls_ops_serial, 2, (const int64_t[]){1, 0}, x, NULL, NULL);
        cr_assert_arr_eq(x, c->expected + 2, 8, "%s", c->name);
        cr_assert_arr_eq(x + 2, c->expected, 8, "%s", c->name);
        ls_data_release(&data);
    }
}

Test(data, float_labels_are_values_of_one_or_several_numbers)
{
    save("images", images(4));
    save("two", images(2));
    for (size_t i = 3; i < 5; i++) {
        save("labels", number_file(&number_cases[i], 1, (const uint32_t[]){4}));
        struct ls_data data = open_ok(pair("images", "labels").text, NULL);
        cr_assert(data.train.n_values == 1 && data.train.n_classes == 0 &&
                  !ls_dataset_has_labels(&data.train));
        float values[4];
        ls_dataset_gather(&data.train, &ls_ops_serial, 4, (const int64_t[]){0, 1, 2, 3}, NULL, NULL, values);
        cr_assert_arr_eq(values, number_cases[i].expected, sizeof values);
        ls_data_release(&data);
        save("labels", number_file(&number_cases[i], 2, (const uint32_t[]){2, 2}));
        data = open_ok(pair("two", "labels").text, NULL);
        cr_assert_eq(data.train.n_values, 2);
        ls_dataset_gather(&data.train, &ls_ops_serial, 1, (const int64_t[]){1}, NULL, NULL, values);
        cr_assert_arr_eq(values, number_cases[i].expected + 2, 8);
        ls_data_release(&data);
    }
}

Test(data, labels_of_every_integer_type)
{
    static const struct {
        int type, bytes;
    } types[] = {{0x08, 1}, {0x09, 1}, {0x0B, 2}, {0x0C, 4}};
    save("images", images(4));
    for (size_t i = 0; i < 4; i++) {
        struct bytes bytes = idx(types[i].type, 1, &(uint32_t){4});
        for (uint64_t label = 0; label < 4; label++)
            put_big_endian(&bytes, label == 2 ? 100 : label, types[i].bytes);
        save("labels", bytes);
        struct ls_data data = open_ok(pair("images", "labels").text, NULL);
        cr_assert_arr_eq(data.train.labels, ((const int32_t[]){0, 1, 100, 3}), 16);
        cr_assert_eq(data.train.n_classes, 101);
        ls_data_release(&data);
    }
    struct bytes bytes = idx(0x0C, 1, &(uint32_t){4});
    for (int i = 0; i < 4; i++)
        put_big_endian(&bytes, 65535, 4);
    save("labels", bytes);
    struct ls_data data = open_ok(pair("images", "labels").text, NULL);
    cr_assert_eq(data.train.n_classes, 65536);
    ls_data_release(&data);
}

Test(data, broken_headers)
{
    struct bytes bytes = {.n = 0};
    expect_bad_images(bytes, "is empty");
    put(&bytes, "\0\0\x08", 3);
    expect_bad_images(bytes, "3 bytes");
    bytes = images(4);
    bytes.at[0] = 'P';
    bytes.at[1] = 'K';
    expect_bad_images(bytes, "not an IDX file|byte 0|found 50 4b 08 03|expected 00 00");
    bytes = images(4);
    bytes.at[2] = 0x0A;
    expect_bad_images(bytes, "byte 2|0x0a|08 (uint8)");
    bytes = images(4);
    bytes.at[3] = 0;
    expect_bad_images(bytes, "byte 3|rank 0|1 to 5");
    bytes.at[3] = 6;
    expect_bad_images(bytes, "byte 3|rank 6|1 to 5");
    bytes.at[3] = 255;
    expect_bad_images(bytes, "byte 3|rank 255|1 to 5");
    bytes = images(4);
    bytes.n = 15;
    expect_bad_images(bytes, "cut short in its header|15 bytes|rank 3|16");
    bytes = images(0);
    expect_bad_images(bytes, "byte 4|0 samples");
    bytes = images(4);
    bytes.at[11] = 0;
    expect_bad_images(bytes, "byte 8|dimension of 0");
}

Test(data, sizes_that_disagree)
{
    struct bytes bytes = images(4);
    bytes.n--;
    expect_bad_images(bytes, "has 39 bytes|fewer than the 40");
    bytes.n += 2;
    expect_bad_images(bytes, "has 41 bytes|more than the 40");
    bytes = images(3);
    expect_bad_images(bytes, "has 3 samples|labels|4 labels");
    const uint32_t huge[5] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    expect_bad_images(idx(8, 5, huge), "byte 8|dimension 4294967295|addressed");
    const uint32_t wrapping[5] = {1 << 16, 1 << 16, 1 << 16, 1 << 16, 1}; /* 2^64 */
    expect_bad_images(idx(8, 5, wrapping), "byte 16|dimension 65536|addressed");
    expect_bad_images(idx(14, 2, huge), "byte 8|dimension 4294967295|addressed");
    expect_bad_images(idx(8, 1, huge), "fewer than the 4294967303");
}

/* With 1 GB of address space, a header that promises 4 GB must be refused for the file's size, not
 * for memory. */
Test(data, no_memory_is_asked_for_on_a_headers_word)
{
    if (SANITIZER_RESERVES_MEMORY)
        cr_skip("this sanitizer reserves more address space than any limit");
    const uint32_t dims[3] = {1000, 1000, 4000};
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_AS, &limit), 0);
    const struct bytes header = idx(8, 3, dims);
    save("bad", header);
    save("packed", gzip(&header));
    save("labels", labels(4, four_labels));
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)1 << 30; /* Criterion itself has mapped some hundred megabytes */
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    expect_refused(LS_FAILED, pair("bad", "labels").text, NULL, "has 16 bytes, fewer than the 4000000016");
    expect_refused(LS_FAILED, pair("packed", "labels").text, NULL,
                   "promises 4000000016 bytes, more than|of gzip can hold");
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

Test(data, labels_out_of_range)
{
    struct bytes bytes = idx(0x09, 1, &(uint32_t){4});
    put(&bytes, "\x00\x01\xFF\x01", 4);
    expect_bad_labels(bytes, "byte 10|label -1 of sample 2|0 to 65535");
    bytes = idx(0x0C, 1, &(uint32_t){4});
    put(&bytes, "\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0", 16);
    expect_bad_labels(bytes, "byte 12|label 65536 of sample 1|0 to 65535");
    bytes = idx(8, 2, (const uint32_t[]){4, 1});
    put(&bytes, four_labels, 4);
    expect_bad_labels(bytes, "byte 3|rank 2|rank 1");
    bytes = idx(0x0D, 3, (const uint32_t[]){4, 1, 1});
    put(&bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    expect_bad_labels(bytes, "byte 3|rank 3|1 (samples)");
}

Test(data, numbers_that_are_not_finite)
{
    struct bytes bytes = idx(0x0D, 2, (const uint32_t[]){4, 3});
    for (int i = 0; i < 12; i++)
        put_big_endian(&bytes, i == 7 ? 0x7FC00000 : 0, 4);
    expect_bad_images(bytes, "byte 40|feature 1 of sample 2|nan");
    bytes = idx(0x0E, 2, (const uint32_t[]){4, 1});
    for (int i = 0; i < 4; i++)
        put_big_endian(&bytes, i == 3 ? 0x47F0000000000000 : 0, 8); /* 2^128: finite there, not in binary32 */
    expect_bad_images(bytes, "byte 36|feature 0 of sample 3|3.40282e+38|binary32");
    bytes = idx(0x0D, 1, &(uint32_t){4});
    for (int i = 0; i < 4; i++)
        put_big_endian(&bytes, i == 1 ? 0xFF800000 : 0, 4);
    expect_bad_labels(bytes, "byte 12|target 0 of sample 1|-inf");
}

Test(data, things_that_are_not_files)
{
    save("labels", labels(4, four_labels));
    expect_refused(LS_FAILED, pair("nothing", "labels").text, NULL, "cannot open|/nothing\"|No such file");
    expect_refused(LS_FAILED, pair(".", "labels").text, NULL, "/.\"|a directory|regular file");
    const struct place pipe = in_folder(&folder, "pipe");
    cr_assert_eq(mkfifo(pipe.path, 0600), 0);
    expect_refused(LS_FAILED, pair("pipe", "labels").text, NULL, "/pipe\"|a pipe or a device|regular file");
    if (geteuid() == 0)
        cr_skip("root reads any file; the rest passed");
    save("secret", images(4));
    cr_assert_eq(chmod(in_folder(&folder, "secret").path, 0), 0);
    expect_refused(LS_FAILED, pair("secret", "labels").text, NULL, "cannot open|/secret\"|Permission denied");
}

/* ---- gzip ---- */

Test(data, gzip_is_known_by_its_content)
{
    const struct bytes plain = images(4), plain_labels = labels(4, four_labels);
    save("images", gzip(&plain));
    save("labels.gz", plain_labels);
    struct ls_data data = open_ok(pair("images", "labels.gz").text, NULL);
    cr_assert_eq(data.train.n_samples, 4);
    cr_assert_arr_eq(data.train.pixels, plain.at + 16, 24);
    ls_data_release(&data);
}

/* Header, numbers, in members cut at every place; also with every optional field of a gzip header. */
Test(data, gzip_of_several_members)
{
    const struct bytes plain = images(4);
    save("labels", labels(4, four_labels));
    for (size_t cut = 0; cut <= plain.n; cut++) {
        struct bytes first = {.n = 0}, second = {.n = 0};
        put(&first, plain.at, cut);
        put(&second, plain.at + cut, plain.n - cut);
        struct bytes both = gzip(&first);
        const struct bytes tail = gzip(&second);
        put(&both, tail.at, tail.n);
        save("images", both);
        struct ls_data data = open_ok(pair("images", "labels").text, NULL);
        cr_assert_arr_eq(data.train.pixels, plain.at + 16, 24, "cut at %zu", cut);
        ls_data_release(&data);
    }
    const struct bytes packed = gzip(&plain);
    struct bytes rich = {.n = 0};
    put(&rich, "\x1F\x8B\x08\x1E\0\0\0\0\0\xFF", 10);
    put(&rich, "\5\0extra", 7);
    put(&rich, "name\0comment\0", 13);
    put(&rich, "\0\0", 2);
    const size_t header = rich.n;
    put(&rich, packed.at + 10, packed.n - 10);
    save("images", rich);
    struct ls_data data = open_ok(pair("images", "labels").text, NULL);
    cr_assert_arr_eq(data.train.pixels, plain.at + 16, 24);
    ls_data_release(&data);
    for (size_t n = 2; n <= header; n++) {
        rich.n = n;
        expect_bad_images(rich, "byte 0|gzip header");
    }
}

Test(data, gzip_cut_anywhere_is_refused)
{
    const struct bytes plain = images(30);
    struct bytes packed = gzip(&plain);
    const size_t whole = packed.n;
    for (packed.n = 1; packed.n < whole; packed.n++)
        expect_bad_images(packed, packed.n < 2           ? "1 bytes"
                                  : packed.n < 11        ? "byte 0|gzip header"
                                  : packed.n + 8 < whole ? "member at byte 0|damaged or cut short"
                                                         : "cut short in the gzip checksum");
}

Test(data, gzip_damaged_anywhere_is_refused)
{
    const struct bytes plain = images(4);
    save("labels", labels(4, four_labels));
    const struct bytes packed = gzip(&plain);
    for (size_t at = 0; at < packed.n; at++)
        for (int bit = 0; bit < 8; bit++) {
            if (at >= 3 && at < 10 && (at > 3 || bit == 0))
                continue; /* time, hints, system and the text flag say nothing about the content */
            struct bytes damaged = packed;
            damaged.at[at] ^= (uint8_t)(1 << bit);
            save("bad", damaged);
            struct ls_data data;
            if (at == packed.n - 9 && ls_data_open(&data, pair("bad", "labels").text, NULL, NULL) == LS_OK) {
                cr_assert_arr_eq(data.train.pixels, plain.at + 16,
                                 24); /* a bit that fills the last byte up */
                ls_data_release(&data);
                continue;
            }
            expect_refused(LS_FAILED, pair("bad", "labels").text, NULL, "/bad\"");
        }
    struct bytes damaged = packed;
    damaged.at[packed.n - 8] ^= 1;
    char parts[100];
    snprintf(parts, sizeof parts, "gzip CRC at byte %zu|the data's is", packed.n - 8);
    expect_bad_images(damaged, parts);
    damaged = packed;
    damaged.at[packed.n - 4] ^= 1;
    snprintf(parts, sizeof parts, "gzip length at byte %zu is 41|40 bytes", packed.n - 4);
    expect_bad_images(damaged, parts);
    damaged = packed;
    put(&damaged, "trailing", 8);
    snprintf(parts, sizeof parts, "byte %zu|not another gzip member", packed.n);
    expect_bad_images(damaged, parts);
}

Test(data, gzip_whose_size_disagrees)
{
    struct bytes plain = images(4);
    plain.n--;
    expect_bad_images(gzip(&plain), "inflates to 39 bytes|fewer than the 40");
    plain.n += 2;
    expect_bad_images(gzip(&plain), "inflates to over 40 bytes|more than the 40");
    plain = images(4);
    plain.n = 15;
    expect_bad_images(gzip(&plain), "cut short in its header|15 bytes");
}

/* Contents beyond the peek's room, in stored blocks and in compressed ones: what a peek relies on. */
Test(data, gzip_of_large_files)
{
    const uint32_t dims[3] = {500, 20, 30};
    const size_t n = 16 + 500 * 20 * 30, room = 400000;
    uint8_t *plain = calloc(n, 1), *packed = calloc(room, 1);
    const struct bytes header = idx(8, 3, dims);
    memcpy(plain, header.at, 16);
    for (size_t i = 16; i < n; i++)
        plain[i] = (uint8_t)(i * i >> 7);
    struct bytes label_file = idx(8, 1, dims);
    put(&label_file, plain, 0);
    for (int i = 0; i < 500; i++)
        put(&label_file, &(uint8_t){(uint8_t)(i % 7)}, 1);
    save("labels", label_file);
    for (int level = 0; level <= 12; level++) {
        struct libdeflate_compressor *engine = libdeflate_alloc_compressor(level);
        const size_t packed_bytes = libdeflate_gzip_compress(engine, plain, n, packed, room);
        libdeflate_free_compressor(engine);
        cr_assert_gt(packed_bytes, 0);
        write_file(in_folder(&folder, "images").path, packed, packed_bytes);
        struct ls_data data = open_ok(pair("images", "labels").text, NULL);
        cr_assert_arr_eq(data.train.pixels, plain + 16, n - 16, "level %d", level);
        cr_assert_eq(data.train.n_classes, 7);
        ls_data_release(&data);
        write_file(in_folder(&folder, "images").path, packed, packed_bytes / 2);
        expect_refused(LS_FAILED, pair("images", "labels").text, NULL, "/images\"|damaged or cut short");
    }
    free(plain);
    free(packed);
}

/* ---- training and test data ---- */

Test(data, test_data_of_its_own)
{
    const uint8_t test_labels[] = {1, 5};
    save("images", images(4));
    save("labels", labels(4, four_labels));
    save("test-images", images(2));
    save("test-labels", labels(2, test_labels));
    const struct spec spec = pair("images", "labels"), test_spec = pair("test-images", "test-labels");
    struct ls_data data = open_ok(spec.text, test_spec.text);
    cr_assert(data.train.n_classes == 6 && data.test.n_classes == 6, "the largest label is in the test data");
    cr_assert(data.train.n_samples == 4 && data.test.n_samples == 2);
    char name[160];
    snprintf(name, sizeof name, "%.159s", test_spec.text);
    cr_assert_str_eq(data.test.name, name);
    ls_data_release(&data);
    /* Inline data can stand beside IDX labels. */
    data = open_ok(spec.text, "inline:0 0 0 0 0 0=7");
    cr_assert(data.train.n_classes == 8 && data.test.n_values == 0 && !data.test.values &&
              data.test.labels[0] == 7);
    ls_data_release(&data);
    expect_refused(LS_FAILED, spec.text, "inline:1 2=0", "6 features|2");
    expect_refused(LS_FAILED, spec.text, "inline:0 0 0 0 0 0=0.5", "class labels|target values");
    expect_refused(LS_FAILED, spec.text, pair("nothing", "test-labels").text, "/nothing\"");
    expect_refused(LS_USAGE, spec.text, "digits", "\"digits\"|idx:IMAGES,LABELS|inline:");
    expect_refused(LS_USAGE, "digits", test_spec.text, "\"digits\" carries its own");
    expect_refused(LS_FAILED, "inline:1=1 2", "inline:1=1 2 3", "2 target numbers|3");
}

Test(data, words_that_mean_nothing)
{
    expect_refused(LS_USAGE, "digit", NULL,
                   "\"digit\"|did you mean digits?|fashion-mnist|idx:IMAGES,LABELS|synthetic:|inline:");
    expect_refused(LS_USAGE, "fashon", NULL, "did you mean fashion-mnist?");
    expect_refused(LS_USAGE, "mnist", NULL, "\"mnist\"|Known are digits");
    expect_refused(LS_USAGE, "", NULL, "unknown data \"\"");
    expect_refused(LS_USAGE, "digits:3", NULL, "\"digits:3\"|nothing may follow");
    expect_refused(LS_USAGE, "idx:only-one", NULL, "idx:IMAGES,LABELS");
    expect_refused(LS_USAGE, "idx:", NULL, "idx:IMAGES,LABELS");
    expect_refused(LS_USAGE, "idx:a,b,c", NULL, "one comma");
    expect_refused(LS_USAGE, "idx:,b", NULL, "idx:IMAGES,LABELS");
    expect_refused(LS_USAGE, "idx:a,", NULL, "idx:IMAGES,LABELS");
}

/* ---- inline ---- */

Test(data, inline_samples)
{
    struct ls_data data = open_ok("inline:1=3", NULL);
    cr_assert(data.train.n_samples == 1 && data.train.n_features == 1 && data.train.n_values == 1);
    cr_assert(data.train.numbers[0] == 1.0f && data.train.values[0] == 3.0f && data.train.labels[0] == 3);
    cr_assert_eq(data.train.n_classes, 4);
    ls_data_release(&data);

    data = open_ok("inline:0 0=0;0 1=1;1 0=1;1 1=0", NULL);
    cr_assert(data.train.n_samples == 4 && data.train.n_features == 2 && data.train.n_classes == 2);
    float x[8], values[4];
    int32_t label[4];
    ls_dataset_gather(&data.train, &ls_ops_serial, 4, (const int64_t[]){0, 1, 2, 3}, x, label, values);
    cr_assert_arr_eq(x, ((const float[]){0, 0, 0, 1, 1, 0, 1, 1}), sizeof x);
    cr_assert_arr_eq(values, ((const float[]){0, 1, 1, 0}), sizeof values);
    cr_assert_arr_eq(label, ((const int32_t[]){0, 1, 1, 0}), sizeof label);
    ls_data_release(&data);

    data = open_ok("inline: -1.5e2,  0x1p-3 = 1 2,3 ; .25 7=4,5,6 ", NULL);
    cr_assert(data.train.n_samples == 2 && data.train.n_features == 2 && data.train.n_values == 3);
    cr_assert_arr_eq(data.train.numbers, ((const float[]){-150, 0.125f, 0.25f, 7}), 16);
    cr_assert_arr_eq(data.train.values, ((const float[]){1, 2, 3, 4, 5, 6}), 24);
    cr_assert(data.train.n_classes == 0 && !ls_dataset_has_labels(&data.train));
    ls_data_release(&data);
}

/* Labels need whole numbers 0..65535 written so, in every sample of training and test data. */
Test(data, inline_targets_that_are_not_labels)
{
    static const char *const specs[] = {"inline:1=1;2=1.0", "inline:1=-1", "inline:1=65536", "inline:1=1e0",
                                        "inline:1=+1"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct ls_data data = open_ok(specs[i], NULL);
        cr_assert(!ls_dataset_has_labels(&data.train) && data.train.n_classes == 0, "%s", specs[i]);
        cr_assert_eq(data.train.n_values, 1);
        ls_data_release(&data);
    }
    struct ls_data data = open_ok("inline:1=1", "inline:1=0.5");
    cr_assert(!ls_dataset_has_labels(&data.train) && data.train.n_classes == 0 && data.train.n_values == 1);
    ls_data_release(&data);
    data = open_ok("inline:1=65535", NULL);
    cr_assert_eq(data.train.n_classes, 65536);
    ls_data_release(&data);
}

Test(data, inline_mistakes)
{
    expect_refused(LS_USAGE, "inline:", NULL, "character 1|sample 0 has no input");
    expect_refused(LS_USAGE, "inline:1", NULL, "character 2|no '='");
    expect_refused(LS_USAGE, "inline:1=", NULL, "character 3|no target");
    expect_refused(LS_USAGE, "inline:=1", NULL, "character 1|no input");
    expect_refused(LS_USAGE, "inline:1=1;", NULL, "character 5|sample 1 has no input");
    expect_refused(LS_USAGE, "inline:1=2=3", NULL, "character 4|second '='");
    expect_refused(LS_USAGE, "inline:1 2=3;4=5", NULL, "sample 1 has 1 input numbers|first has 2");
    expect_refused(LS_USAGE, "inline:1=3;4=5 6", NULL, "sample 1 has 2 target numbers|first has 1");
    expect_refused(LS_USAGE, "inline:1=3;x4=5", NULL, "character 5|\"x4\" is not a finite number");
    expect_refused(LS_USAGE, "inline:1e50=3", NULL, "character 1|\"1e50\"");
    expect_refused(LS_USAGE, "inline:nan=3", NULL, "\"nan\"");
    expect_refused(LS_USAGE, "inline:1=inf", NULL, "character 3|\"inf\"");
}

/* ---- synthetic ---- */

/* From a second implementation, in Python's integers, of what synthetic.c's first comment says. */
Test(data, synthetic_bits_are_fixed_for_ever)
{
    struct ls_data data = open_ok("synthetic:n=100,shape=3x7,classes=5,seed=81985529216486895,test=10", NULL);
    float x[21];
    int32_t label;
    const int64_t index = 42;
    static const float train_row[21] = {350, 255, 155, 318, 177, 276, 192, 425, 244, 141, 337,
                                        350, 336, 243, 349, 349, 222, 285, 377, 160, 279};
    static const float test_row[21] = {362, 296, 411, 418, 308, 193, 162, 342, 98,  276, 333,
                                       448, 225, 285, 176, 265, 125, 332, 288, 297, 410};
    ls_dataset_gather(&data.train, &ls_ops_serial, 1, &index, x, &label, NULL);
    for (int k = 0; k < 21; k++)
        cr_assert_eq(x[k] * 512, train_row[k], "feature %d: %g", k, (double)x[k] * 512);
    cr_assert_eq(label, 4);
    ls_dataset_gather(&data.test, &ls_ops_serial, 1, &(int64_t){7}, x, &label, NULL);
    for (int k = 0; k < 21; k++)
        cr_assert_eq(x[k] * 512, test_row[k], "feature %d: %g", k, (double)x[k] * 512);
    cr_assert_eq(label, 0);
    ls_data_release(&data);
}

Test(data, synthetic_options)
{
    struct ls_data data = open_ok("synthetic:", NULL);
    cr_assert(data.train.n_samples == 10000 && data.train.n_features == 784 && data.train.n_classes == 10);
    cr_assert(data.train.n_dims == 2 && data.test.n_samples == 0);
    ls_data_release(&data);
    data = open_ok("synthetic:test=5,seed=18446744073709551615,classes=65536,shape=3x4x5x6,n=1099511627776",
                   NULL);
    cr_assert(data.train.n_samples == (int64_t)1 << 40 && data.test.n_samples == 5);
    cr_assert(data.train.n_dims == 4 && data.train.n_features == 360 && data.train.dims[3] == 6);
    float x[360];
    int32_t label;
    ls_dataset_gather(&data.train, &ls_ops_serial, 1, &(int64_t){((int64_t)1 << 40) - 1}, x, &label, NULL);
    cr_assert(label >= 0 && label < 65536);
    ls_data_release(&data);
    expect_refused(LS_USAGE, "synthetic:n=0", NULL, "n=0|1 to 1099511627776");
    expect_refused(LS_USAGE, "synthetic:n=-5", NULL, "n=-5|1 to");
    expect_refused(LS_USAGE, "synthetic:n=1e3", NULL, "n=1e3|whole numbers");
    expect_refused(LS_USAGE, "synthetic:n=", NULL, "n=|whole numbers");
    expect_refused(LS_USAGE, "synthetic:n", NULL, "n needs a value");
    expect_refused(LS_USAGE, "synthetic:classes=65537", NULL, "classes=65537|65536");
    expect_refused(LS_USAGE, "synthetic:shape=3x", NULL, "shape=|whole numbers");
    expect_refused(LS_USAGE, "synthetic:shape=3x0", NULL, "shape=0|from 1");
    expect_refused(LS_USAGE, "synthetic:shape=65536x65536", NULL, "shape=65536");
    expect_refused(LS_USAGE, "synthetic:shape=1x1x1x1x1", NULL, "more than 4 dimensions");
    expect_refused(LS_USAGE, "synthetic:seed=18446744073709551616", NULL, "seed=18446744073709551616");
    expect_refused(LS_USAGE, "synthetic:clases=3", NULL, "\"clases\"|did you mean classes?|shape=AxBxC");
    expect_refused(LS_USAGE, "synthetic:n=3,n=4", NULL, "n is given twice");
    expect_refused(LS_USAGE, "synthetic:n=3,,seed=4", NULL, "unknown \"\"");
}

/* A sample is a function of its index alone, test samples are not training samples, seeds differ, and the
 * classes are about equally frequent. */
Test(data, synthetic_samples)
{
    enum { N = 2000, K = 20 };
    struct ls_data data = open_ok("synthetic:n=2000,shape=20,classes=4,seed=3,test=2000", NULL);
    struct ls_data other = open_ok("synthetic:n=2000,shape=20,classes=4,seed=4", NULL);
    static float x[N * K], again[N * K], test[N * K], seed4[N * K];
    static int32_t label[N];
    static int64_t index[N], reversed[N];
    int counts[4] = {0};
    for (int i = 0; i < N; i++) {
        index[i] = i;
        reversed[i] = N - 1 - i;
    }
    ls_dataset_gather(&data.train, &ls_ops_serial, N, index, x, label, NULL);
    ls_dataset_gather(&data.train, &ls_ops_serial, N, reversed, again, NULL, NULL);
    ls_dataset_gather(&data.test, &ls_ops_serial, N, index, test, NULL, NULL);
    ls_dataset_gather(&other.train, &ls_ops_serial, N, index, seed4, NULL, NULL);
    for (int i = 0; i < N; i++) {
        counts[label[i]]++;
        cr_assert_arr_eq(x + i * K, again + (N - 1 - i) * K, K * sizeof *x);
        cr_assert_arr_neq(x + i * K, test + i * K, K * sizeof *x);
        cr_assert_arr_neq(x + i * K, seed4 + i * K, K * sizeof *x);
        for (int k = 0; k < K; k++)
            cr_assert(x[i * K + k] >= 0 && x[i * K + k] < 1);
    }
    for (int c = 0; c < 4; c++)
        cr_assert(abs(counts[c] - N / 4) < 120, "class %d comes %d times", c, counts[c]);
    ls_data_release(&data);
    ls_data_release(&other);
}

/* The mean of each class over the training data recognises nearly all of the test data. */
Test(data, synthetic_classes_can_be_learnt)
{
    enum { N = 4000, K = 24, C = 10 };
    struct ls_data data = open_ok("synthetic:n=4000,shape=24,classes=10,seed=1,test=1000", NULL);
    static double mean[C][K];
    int counts[C] = {0}, right = 0;
    float x[K];
    int32_t label;
    for (int64_t i = 0; i < N; i++) {
        ls_dataset_gather(&data.train, &ls_ops_serial, 1, &i, x, &label, NULL);
        counts[label]++;
        for (int k = 0; k < K; k++)
            mean[label][k] += (double)x[k];
    }
    for (int64_t i = 0; i < 1000; i++) {
        ls_dataset_gather(&data.test, &ls_ops_serial, 1, &i, x, &label, NULL);
        int best = 0;
        double best_distance = INFINITY;
        for (int c = 0; c < C; c++) {
            double distance = 0;
            for (int k = 0; k < K; k++)
                distance += pow((double)x[k] - mean[c][k] / counts[c], 2);
            best = distance < best_distance ? c : best;
            best_distance = fmin(distance, best_distance);
        }
        right += best == label;
    }
    cr_assert_gt(right, 970, "%d of 1000", right);
    ls_data_release(&data);
}
