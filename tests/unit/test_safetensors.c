/* safetensors: what is saved comes back, other programs' files are read, damaged and hostile ones are refused
 * with a message that names the trouble, and a save that fails leaves nothing behind. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "clean.h"
#include "files.h"
#include "formats/safetensors.h"

static struct folder folder;

static void set_up(void)
{
    folder = folder_create();
}

static void tear_down(void)
{
    folder_destroy(&folder);
}

TestSuite(safetensors, .init = set_up, .fini = tear_down, .timeout = 120);

/* A file made by hand: header as given, then n_data bytes 0, 1, 2, ... */
static struct place by_hand(const char *header, size_t n_data)
{
    const struct place place = in_folder(&folder, "hand.safetensors");
    const uint64_t n = strlen(header);
    char *bytes = calloc(8 + n + n_data, 1);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n + i] = (char)i;
    write_file(place.path, bytes, 8 + n + n_data);
    free(bytes);
    return place;
}

/* Opening fails, and the message holds the file's name and `words`. */
static void refuses(const char *path, const char *words)
{
    struct ls_safetensors *file = NULL;
    struct ls_error err = {0};
    cr_expect_eq(ls_safetensors_open(&file, path, &err), LS_FAILED, "opened; expected: %s", words);
    cr_expect_null(file);
    cr_expect_not_null(strstr(err.text, path), "'%s' does not name the file", err.text);
    cr_expect_not_null(strstr(err.text, words), "'%s' does not say '%s'", err.text, words);
    ls_safetensors_close(&file);
}

static void refuses_header(const char *header, size_t n_data, const char *words)
{
    refuses(by_hand(header, n_data).path, words);
}

static struct ls_safetensors *must_open(const char *path)
{
    struct ls_safetensors *file = NULL;
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_open(&file, path, &err), LS_OK, "%s", err.text);
    return file;
}

/* A small net: (in,out) = (3,2) in memory, stored (2,3). */
static float weight[6] = {1, 2, 3, 4, 5, -0.0f}, bias[2] = {7, 8}, scale[1] = {9};
static const struct ls_tensor net[] = {
    {.name = "0.weight", .n_dims = 2, .dims = {2, 3}, .transposed = 1, .data = weight},
    {.name = "0.bias", .n_dims = 1, .dims = {2}, .data = bias},
    {.name = "scale", .data = scale},
};
static const struct ls_metadata about[] = {{"net", "dense 2"}, {"loss", "softmax \"x\"\n\xc3\xa9"}};

static struct place save_net(const char *name)
{
    const struct place place = in_folder(&folder, name);
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_save(place.path, net, 3, about, 2, &err), LS_OK, "%s", err.text);
    return place;
}

CLEAN_TEST(safetensors, bytes_are_the_formats)
{
    size_t n;
    char *bytes = read_file(save_net("m").path, &n);
    const char *header = "{\"__metadata__\":{\"net\":\"dense 2\",\"loss\":\"softmax \\\"x\\\"\\n\xc3\xa9\"},"
                         "\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                         "\"0.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[24,32]},"
                         "\"scale\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[32,36]}}";
    uint64_t length;
    memcpy(&length, bytes, 8);
    cr_assert_eq(length % 8, 0);
    cr_assert(length >= strlen(header) && length < strlen(header) + 8);
    cr_assert_eq(memcmp(bytes + 8, header, strlen(header)), 0, "%s", bytes + 8);
    for (size_t i = strlen(header); i < length; i++)
        cr_assert_eq(bytes[8 + i], ' ');
    const float stored[] = {1, 3, 5, 2, 4, -0.0f, 7, 8, 9};
    cr_assert_eq(n, 8 + length + sizeof stored);
    cr_assert_eq(memcmp(bytes + 8 + length, stored, sizeof stored), 0);
    free(bytes);
    cr_assert_eq(folder_count(&folder), 1);
}

CLEAN_TEST(safetensors, same_input_same_bytes)
{
    size_t n, m;
    char *one = read_file(save_net("one").path, &n), *two = read_file(save_net("two").path, &m);
    cr_assert_eq(n, m);
    cr_assert_eq(memcmp(one, two, n), 0);
    free(one);
    free(two);
}

CLEAN_TEST(safetensors, round_trip)
{
    struct ls_safetensors *file = must_open(save_net("m").path);
    cr_assert_eq(ls_safetensors_count(file), 3);
    cr_assert_str_eq(ls_safetensors_tensor(file, 0)->name, "0.weight");
    cr_assert_str_eq(ls_safetensors_tensor(file, 2)->name, "scale");
    cr_assert_eq(ls_safetensors_tensor(file, 2)->n_dims, 0);
    cr_assert_eq(ls_safetensors_tensor(file, 2)->n_elements, 1);
    cr_assert_str_eq(ls_safetensors_metadata(file, "net"), about[0].value);
    cr_assert_str_eq(ls_safetensors_metadata(file, "loss"), about[1].value);
    cr_assert_null(ls_safetensors_metadata(file, "seed"));
    cr_assert_null(ls_safetensors_find(file, "0.weigh"));
    for (int i = 0; i < 3; i++) {
        float back[6] = {0};
        struct ls_tensor tensor = net[i];
        tensor.data = back;
        struct ls_error err = {0};
        cr_assert_eq(ls_safetensors_read(file, &tensor, &err), LS_OK, "%s", err.text);
        cr_assert_eq(memcmp(back, net[i].data, (size_t)ls_safetensors_tensor(file, i)->n_elements * 4), 0);
    }
    ls_safetensors_close(&file);
    cr_assert_null(file);
}

static void append_key(void *context, const char *key, const char *value)
{
    strcat(strcat(strcat(context, key), value), ";");
}

CLEAN_TEST(safetensors, metadata_in_file_order)
{
    struct ls_safetensors *file = must_open(by_hand("{\"__metadata__\":{\"z\":\"1\",\"a\":\"2\"}}", 0).path);
    char text[20] = "";
    ls_safetensors_each_metadata(file, append_key, text);
    cr_assert_str_eq(text, "z1;a2;");
    ls_safetensors_close(&file);
    file = must_open(by_hand("{}", 0).path);
    ls_safetensors_each_metadata(file, append_key, text);
    cr_assert_str_eq(text, "z1;a2;");
    cr_assert_null(ls_safetensors_metadata(file, "z"));
    cr_assert_null(ls_safetensors_find(file, "x"));
    cr_assert_eq(ls_safetensors_count(file), 0);
    ls_safetensors_close(&file);
}

/* Every shape around the writer's block of 16 rows. */
CLEAN_TEST(safetensors, transposition)
{
    static float memory[40 * 40], back[40 * 40], stored[40 * 40];
    for (int i = 0; i < 40 * 40; i++)
        memory[i] = (float)i + 0.5f;
    const ptrdiff_t sizes[] = {0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 40};
    const int n_sizes = (int)(sizeof sizes / sizeof *sizes);
    const struct place place = in_folder(&folder, "t");
    for (int i = 0; i < n_sizes * n_sizes; i++) {
        const ptrdiff_t R = sizes[i / n_sizes], C = sizes[i % n_sizes];
        struct ls_tensor tensor = {.name = "w", .n_dims = 2, .dims = {R, C}, .transposed = 1, .data = memory};
        struct ls_error err = {0};
        cr_assert_eq(ls_safetensors_save(place.path, &tensor, 1, NULL, 0, &err), LS_OK, "%s", err.text);
        struct ls_safetensors *file = must_open(place.path);
        cr_assert_eq(
            ls_safetensors_read_elements(file, ls_safetensors_tensor(file, 0), 0, R * C, stored, &err),
            LS_OK);
        for (ptrdiff_t r = 0; r < R; r++)
            for (ptrdiff_t c = 0; c < C; c++)
                cr_assert_eq(stored[r * C + c], memory[c * R + r], "[%td,%td] of [%td,%td]", r, c, R, C);
        memset(back, 0, sizeof back);
        tensor.data = back;
        cr_assert_eq(ls_safetensors_read(file, &tensor, &err), LS_OK, "%s", err.text);
        cr_assert_eq(memcmp(back, memory, (size_t)(R * C) * 4), 0, "[%td,%td]", R, C);
        ls_safetensors_close(&file);
    }
}

CLEAN_TEST(safetensors, elements_from_the_middle)
{
    struct ls_safetensors *file = must_open(save_net("m").path);
    float two[2];
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_read_elements(file, ls_safetensors_find(file, "0.weight"), 2, 2, two, &err),
                 LS_OK);
    cr_assert(two[0] == 5 && two[1] == 2);
    ls_safetensors_close(&file);
}

/* Offsets need not follow the order of the header; the order of the file is that of the data. */
CLEAN_TEST(safetensors, another_writers_file)
{
    struct ls_safetensors *file =
        must_open(by_hand("{\"b\":{\"shape\":[1],\"dtype\":\"F32\",\"data_offsets\":[4,8]},\n"
                          "\"e\":{\"shape\":[3,0],\"dtype\":\"F32\",\"data_offsets\":[4,4]},"
                          "\"a\":{\"data_offsets\":[0,4],\"shape\":[1,1],\"dtype\":\"F32\"}}  ",
                          8)
                      .path);
    cr_assert_str_eq(ls_safetensors_tensor(file, 0)->name, "a");
    cr_assert_str_eq(ls_safetensors_tensor(file, 1)->name, "e");
    cr_assert_str_eq(ls_safetensors_tensor(file, 2)->name, "b");
    float number;
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_read_elements(file, ls_safetensors_find(file, "b"), 0, 1, &number, &err),
                 LS_OK);
    cr_assert_eq(memcmp(&number, "\4\5\6\7", 4), 0);
    ls_safetensors_close(&file);
}

CLEAN_TEST(safetensors, another_net)
{
    struct ls_safetensors *file = must_open(save_net("m").path);
    float data[6];
    struct ls_error err = {0};
    struct ls_tensor tensor = {.name = "1.weight", .n_dims = 1, .dims = {1}, .data = data};
    cr_assert_eq(ls_safetensors_read(file, &tensor, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "has no tensor '1.weight' among its 3"), "%s", err.text);
    tensor = (struct ls_tensor){.name = "0.weight", .n_dims = 2, .dims = {3, 2}, .data = data};
    cr_assert_eq(ls_safetensors_read(file, &tensor, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "tensor '0.weight' has shape [2,3]; [3,2] is needed"), "%s",
                       err.text);
    tensor = (struct ls_tensor){.name = "0.bias", .n_dims = 2, .dims = {2, 1}, .data = data};
    cr_assert_eq(ls_safetensors_read(file, &tensor, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "has shape [2]; [2,1] is needed"), "%s", err.text);
    ls_safetensors_close(&file);
}

/* As torch.nn.BatchNorm1d is saved. */
CLEAN_TEST(safetensors, a_count_of_batches_is_passed_over)
{
    struct ls_safetensors *file = must_open(
        by_hand("{\"1.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[4,12]},"
                "\"1.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                12)
            .path);
    cr_expect_eq(ls_safetensors_count(file), 1);
    cr_expect_null(ls_safetensors_find(file, "1.num_batches_tracked"));
    cr_expect_not_null(ls_safetensors_find(file, "1.bias"));
    ls_safetensors_close(&file);
    refuses_header("{\"1.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
                   "only F32");
    refuses_header("{\"1.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
                   "4 bytes, but its shape [] needs 8");
}

CLEAN_TEST(safetensors, not_a_file)
{
    refuses(in_folder(&folder, "missing").path, "No such file");
    refuses(folder.path, "not a regular file");
    const struct place pipe = in_folder(&folder, "pipe");
    cr_assert_eq(mkfifo(pipe.path, 0600), 0);
    refuses(pipe.path, "not a regular file");
}

CLEAN_TEST(safetensors, length_of_header)
{
    const struct place place = in_folder(&folder, "f");
    write_file(place.path, "", 0);
    refuses(place.path, "too short for a safetensors file: 0 bytes");
    write_file(place.path, "\2\0\0\0\0\0\0", 7);
    refuses(place.path, "7 bytes");
    write_file(place.path, "\0\0\0\0\0\0\0\0", 8);
    refuses(place.path, "does not begin with '{'");
    write_file(place.path, "\3\0\0\0\0\0\0\0{}", 10);
    refuses(place.path, "its header has 3 bytes, and 2 are left");
    write_file(place.path, "\0\341\365\5\0\0\0\0{}", 10);
    refuses(place.path, "its header has 100000000 bytes, and 2 are left");
    write_file(place.path, "\1\341\365\5\0\0\0\0{}", 10);
    refuses(place.path, "100000001 bytes; at most 100000000");
    write_file(place.path, "\377\377\377\377\377\377\377\377{}", 10);
    refuses(place.path, "18446744073709551615 bytes; at most 100000000");
    write_file(place.path, "{\"event\":\"start\"}\n", 18);
    refuses(place.path, "is not a safetensors file");
}

CLEAN_TEST(safetensors, not_json)
{
    refuses_header("[]", 0, "does not begin with '{'");
    refuses_header(" {}", 0, "does not begin with '{'");
    refuses_header("{", 0, "not valid JSON at its byte 1");
    refuses_header("{\"a\":nul}", 0, "not valid JSON at its byte 8");
    refuses_header("{} x", 0, "not valid JSON at its byte 4");
    refuses_header("{\"\xff\":{}}", 0, "not valid JSON");
    refuses_header("{\"a\\u0000b\":{}}", 0, "not valid JSON");
    refuses_header("{\"a\":{},\"a\":{}}", 0, "duplicate object key");
    refuses_header("{\"__metadata__\":{\"x\":\"1\",\"x\":\"2\"}}", 0, "duplicate object key");
    refuses_header("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
                   "duplicate object key");
}

#define ENTRY(dtype, shape, offsets)                                                                         \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

CLEAN_TEST(safetensors, entries)
{
    refuses_header("{\"t\":7}", 0, "tensor 't' is described by a whole number; allowed is an object");
    refuses_header("{\"t\":{}}", 0, "tensor 't' has nothing as its dtype");
    refuses_header("{\"t\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}", 0,
                   "tensor 't' has nothing as its shape");
    refuses_header("{\"t\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0,
                   "tensor 't' has nothing as its data_offsets");
    refuses_header("{\"t\":{\"dtype\":\"F32\",\"shape\":[0],\"offsets\":[0,0]}}", 0,
                   "tensor 't' has the unknown key 'offsets'; allowed are dtype, shape, data_offsets");
    refuses_header(ENTRY("32", "[1]", "[0,4]"), 4, "tensor 't' has a whole number as its dtype");
    refuses_header(ENTRY("\"BF16\"", "[2]", "[0,4]"), 4, "tensor 't' has dtype 'BF16'; only F32");
    refuses_header(ENTRY("\"F32\"", "1", "[0,4]"), 4, "tensor 't' has a whole number as its shape");
    refuses_header(ENTRY("\"F32\"", "[1.0]", "[0,4]"), 4, "a number with a fraction at shape[0]");
    refuses_header(ENTRY("\"F32\"", "[1,\"1\"]", "[0,4]"), 4, "a string at shape[1]");
    refuses_header(ENTRY("\"F32\"", "[-1]", "[0,4]"), 4, "negative number -1 at shape[0]");
    refuses_header(ENTRY("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "has 9 dimensions; at most 8");
    refuses_header(ENTRY("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0,
                   "more bytes than 63 bits can count");
    refuses_header(ENTRY("\"F32\"", "[4611686018427387904]", "[0,0]"), 0,
                   "more bytes than 63 bits can count");
    refuses_header(ENTRY("\"F32\"", "[9223372036854775808]", "[0,0]"), 0, "too big integer");
    refuses_header(ENTRY("\"F32\"", "[1]", "4"), 4,
                   "a whole number as its data_offsets; allowed is an array of two");
    refuses_header(ENTRY("\"F32\"", "[1]", "[0]"), 4, "an array of another length as its data_offsets");
    refuses_header(ENTRY("\"F32\"", "[1]", "[0,4,8]"), 8, "an array of another length");
    refuses_header(ENTRY("\"F32\"", "[1]", "[0,null]"), 4, "null at data_offsets[1]");
    refuses_header(ENTRY("\"F32\"", "[1]", "[-4,0]"), 4, "negative number -4 at data_offsets[0]");
    refuses_header(ENTRY("\"F32\"", "[1]", "[4,0]"), 4,
                   "data_offsets [4,0]; allowed are 0 <= begin <= end <= 4");
    refuses_header(ENTRY("\"F32\"", "[1]", "[0,4]"), 3,
                   "data_offsets [0,4]; allowed are 0 <= begin <= end <= 3");
    refuses_header(ENTRY("\"F32\"", "[1]", "[9223372036854775804,9223372036854775807]"), 4, "<= end <= 4");
    refuses_header(ENTRY("\"F32\"", "[2]", "[0,4]"), 4, "[0,4], 4 bytes, but its shape [2] needs 8");
    refuses_header(ENTRY("\"F32\"", "[1]", "[0,8]"), 8, "[0,8], 8 bytes, but its shape [1] needs 4");
}

#define TENSOR(name, shape, offsets)                                                                         \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

CLEAN_TEST(safetensors, layout)
{
    refuses_header("{" TENSOR("a", "[2]", "[0,8]") "," TENSOR("b", "[2]", "[4,12]") "}", 12,
                   "tensor 'b' begins at byte 4 of the data and overlaps tensor 'a', which ends at 8");
    refuses_header("{" TENSOR("a", "[2]", "[0,8]") "," TENSOR("b", "[2]", "[0,8]") "}", 8,
                   "overlaps tensor 'a'");
    refuses_header("{" TENSOR("b", "[1]", "[8,12]") "," TENSOR("a", "[1]", "[0,4]") "}", 12,
                   "bytes 4 to 8 of the data, before tensor 'b', belong to no tensor");
    refuses_header("{" TENSOR("a", "[1]", "[4,8]") "}", 8, "bytes 0 to 4 of the data, before tensor 'a'");
    refuses_header("{" TENSOR("a", "[1]", "[0,4]") "}", 5,
                   "bytes 4 to 5 of the data, at its end, belong to no tensor");
    refuses_header("{}", 1, "bytes 0 to 1 of the data, at its end");
    refuses_header("{" TENSOR("a", "[2]", "[0,8]") "," TENSOR("e", "[0]", "[4,4]") "}", 8,
                   "tensor 'e' begins at byte 4");
}

CLEAN_TEST(safetensors, metadata)
{
    refuses_header("{\"__metadata__\":[]}", 0, "__metadata__ is an array; allowed is an object of strings");
    refuses_header("{\"__metadata__\":{\"seed\":1}}", 0,
                   "metadata 'seed' is a whole number; allowed are strings");
    refuses_header("{\"__metadata__\":{\"x\":{}}}", 0, "metadata 'x' is an object; allowed are strings");
}

CLEAN_TEST(safetensors, names)
{
    char header[600], long_name[LS_TENSOR_NAME + 2];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    snprintf(header, sizeof header, "{" TENSOR("%s", "[1]", "[0,4]") "}", long_name);
    refuses_header(header, 4, "a name of 256 bytes; at most 255 are allowed");
    snprintf(header, sizeof header, "{" TENSOR("%s", "[1]", "[0,4]") "}", long_name + 1);
    struct ls_safetensors *file = must_open(by_hand(header, 4).path);
    cr_assert_not_null(ls_safetensors_find(file, long_name + 1));
    ls_safetensors_close(&file);
    snprintf(header, sizeof header, "{\"__metadata__\":{\"%s\":\"\"}}", long_name);
    refuses_header(header, 0, "a name of 256 bytes");
    refuses_header("{" TENSOR("a\\u001b[2J", "[1]", "[0,4]") "}", 4,
                   "'a?[2J' has a control character (code 27)");
    refuses_header("{\"a\\u001b[2J\":{\"dtype\":\"\\u0007\"}}", 4, "'a?[2J'");
    refuses_header(ENTRY("\"F\\u0007\"", "[1]", "[0,4]"), 4, "has dtype 'F?'");
}

/* A header of n bytes may cost jansson some multiple of n, whatever is in it, and nothing else more than n.
 */
static void expect_modest(const char *path, size_t file_bytes)
{
    json_peak_bytes = 0;
    struct ls_safetensors *file = NULL;
    struct ls_error err = {0};
    ls_safetensors_open(&file, path, &err);
    ls_safetensors_close(&file);
    cr_assert(json_peak_bytes <= 24 * file_bytes + 4096, "%zu bytes of JSON for a file of %zu",
              json_peak_bytes, file_bytes);
    expect_nothing_left();
}

static void expect_modest_filling(const char *before, const char *fill, const char *after)
{
    const size_t most = 1 << 20;
    char *header = calloc(most + 64, 1);
    strcpy(header, before);
    for (size_t used = strlen(header); used < most; used += strlen(fill))
        strcpy(header + used, fill);
    strcpy(header + strlen(header), after);
    expect_modest(by_hand(header, 0).path, strlen(header));
    free(header);
}

CLEAN_TEST(safetensors, crowded_headers_cost_little)
{
    expect_modest_filling("{\"t\":[", "[],", "[]]}");
    expect_modest_filling("{\"t\":[", "{},", "{}]}");
    expect_modest_filling("{\"t\":[", "0,", "0]}");
    expect_modest_filling("{\"t\":[", "\"\",", "0]}");
    expect_modest_filling("{\"t\":", "[", "");
    expect_modest_filling("{\"t\":", "{\"\":", "");
    expect_modest_filling("{\"t\":[", "[],\"..........................\",", "0]}");
    expect_modest_filling("{\"t\":[", "1,  ", "0]}");
    refuses_header("{\"t\":[[],[],[],[],[],[],[],[],[],[],[]]}", 0, "too many parts");
}

/* The densest valid headers are not refused for it, and cost little too. */
CLEAN_TEST(safetensors, many_tensors)
{
    enum { N = 20000 };
    const struct place place = in_folder(&folder, "many");
    struct ls_tensor *tensors = calloc(N, sizeof *tensors);
    char(*names)[8] = calloc(N, sizeof *names);
    float one[1] = {1};
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "%x", i);
        tensors[i] = (struct ls_tensor){.name = names[i], .n_dims = i % 9, .dims = {0}, .data = one};
        if (i % 3 == 0)
            for (int d = 0; d < 8; d++)
                tensors[i].dims[d] = 1;
    }
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_save(place.path, tensors, N, NULL, 0, &err), LS_OK, "%s", err.text);
    struct ls_safetensors *file = must_open(place.path);
    cr_assert_eq(ls_safetensors_count(file), N);
    for (int i = 0; i < N; i++)
        cr_assert_str_eq(ls_safetensors_find(file, names[i])->name, names[i]);
    ls_safetensors_close(&file);
    size_t n;
    free(read_file(place.path, &n));
    expect_modest(place.path, n);
    free(tensors);
    free(names);
}

CLEAN_TEST(safetensors, dense_valid_metadata)
{
    char *header = calloc(1 << 20, 1);
    size_t used = (size_t)sprintf(header, "{\"__metadata__\":{\"\":\"\"");
    for (int i = 0; i < 60000; i++)
        used += (size_t)sprintf(header + used, ",\"%x\":\"\"", i);
    strcpy(header + used, "}}");
    const struct place place = by_hand(header, 0);
    struct ls_safetensors *file = must_open(place.path);
    ls_safetensors_close(&file);
    expect_modest(place.path, strlen(header));
    free(header);
}

/* A valid file cut anywhere is refused; its parts are never read as something else. */
CLEAN_TEST(safetensors, cut_files)
{
    size_t n;
    char *bytes = read_file(save_net("m").path, &n);
    const struct place cut = in_folder(&folder, "cut");
    for (size_t at = 0; at < n; at++) {
        write_file(cut.path, bytes, at);
        refuses(cut.path, "");
        expect_modest(cut.path, at);
    }
    free(bytes);
}

/* 100 places in a file of 300 kB. */
CLEAN_TEST(safetensors, cut_large_file)
{
    static float numbers[300][256];
    const struct ls_tensor tensor = {
        .name = "w", .n_dims = 2, .dims = {256, 300}, .transposed = 1, .data = *numbers};
    const struct place place = in_folder(&folder, "large");
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_save(place.path, &tensor, 1, about, 2, &err), LS_OK);
    size_t n;
    free(read_file(place.path, &n));
    uint32_t random = 1;
    for (int i = 0; i < 100; i++) {
        random = random * 1664525u + 1013904223u;
        const size_t shorter = (size_t)((uint64_t)random * n >> 32);
        cr_assert_eq(ls_safetensors_save(place.path, &tensor, 1, about, 2, &err), LS_OK);
        cr_assert_eq(truncate(place.path, (off_t)shorter), 0);
        refuses(place.path, "");
    }
}

/* Cut while it is open. */
CLEAN_TEST(safetensors, cut_after_opening)
{
    const struct place place = save_net("m");
    struct ls_safetensors *file = must_open(place.path);
    size_t n;
    free(read_file(place.path, &n));
    cr_assert_eq(truncate(place.path, (off_t)n - 30), 0); /* of 36 bytes of data */
    float data[6];
    struct ls_tensor tensor = net[0];
    tensor.data = data;
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_read(file, &tensor, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "while it was read: something cut it"), "%s", err.text);
    ls_safetensors_close(&file);
}

/* Each bit of the length and the header flipped: refused, or opened as a file that can be read to its end. */
CLEAN_TEST(safetensors, flipped_bits)
{
    size_t n;
    char *bytes = read_file(save_net("m").path, &n);
    uint64_t length;
    memcpy(&length, bytes, 8);
    const struct place flipped = in_folder(&folder, "flipped");
    int opened = 0;
    for (size_t bit = 0; bit < (8 + length) * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        write_file(flipped.path, bytes, n);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        expect_modest(flipped.path, n);
        struct ls_safetensors *file = NULL;
        struct ls_error err = {0};
        if (ls_safetensors_open(&file, flipped.path, &err) != LS_OK) {
            cr_assert(err.text[0] && err.code == LS_FAILED);
            continue;
        }
        opened++;
        for (ptrdiff_t i = 0; i < ls_safetensors_count(file); i++) {
            const struct ls_stored_tensor *tensor = ls_safetensors_tensor(file, i);
            float data[9];
            cr_assert(tensor->n_elements <= 9);
            cr_assert_eq(ls_safetensors_read_elements(file, tensor, 0, tensor->n_elements, data, &err),
                         LS_OK);
        }
        ls_safetensors_close(&file);
    }
    cr_assert_lt(opened, (int)(8 + length) * 8 / 2, "%d of %d damaged headers were accepted", opened,
                 (int)(8 + length) * 8);
    free(bytes);
}

/* --- saves that fail --- */

static void save_fails(const char *path, const char *words)
{
    struct ls_error err = {0};
    cr_expect_eq(ls_safetensors_save(path, net, 3, about, 2, &err), LS_FAILED, "%s: saved", path);
    cr_expect_not_null(strstr(err.text, path), "'%s' does not name '%s'", err.text, path);
    cr_expect_not_null(strstr(err.text, words), "'%s' does not say '%s'", err.text, words);
}

CLEAN_TEST(safetensors, unwritable_paths)
{
    const struct place missing = in_folder(&folder, "missing/m"), plain = in_folder(&folder, "plain");
    save_fails(missing.path, "No such file or directory");
    write_file(plain.path, "old", 3);
    save_fails(in_folder(&folder, "plain/m").path, "Not a directory");
    save_fails(folder.path, "not a regular file");
    /* Stands for /dev/null too, which no test may name here: run as root with this check broken, it would
     * replace it. */
    const struct place pipe = in_folder(&folder, "pipe");
    cr_assert_eq(mkfifo(pipe.path, 0600), 0);
    save_fails(pipe.path, "not a regular file");
    struct stat status;
    cr_assert(stat(pipe.path, &status) == 0 && S_ISFIFO(status.st_mode));
    struct place long_name = in_folder(&folder, "");
    memset(long_name.path + strlen(long_name.path), 'n', 300);
    save_fails(long_name.path, "File name too long");
    cr_assert_eq(folder_count(&folder), 2);
}

static void limit_file_size(rlim_t bytes)
{
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, RLIM_INFINITY}), 0);
}

/* The disk is full after each possible number of bytes: the old file stays, no temporary does. */
CLEAN_TEST(safetensors, full_disk)
{
    size_t n, m;
    const struct place place = save_net("m");
    free(read_file(place.path, &n));
    write_file(place.path, "the old one", 11);
    for (size_t room = 0; room < n; room++) {
        limit_file_size(room);
        struct ls_error err = {0};
        const enum ls_code code = ls_safetensors_save(place.path, net, 3, about, 2, &err);
        limit_file_size(RLIM_INFINITY);
        cr_assert_eq(code, LS_FAILED, "saved %zu bytes in %zu", n, room);
        cr_assert_not_null(strstr(err.text, place.path));
        cr_assert_not_null(strstr(err.text, "File too large"), "%s", err.text);
        cr_assert_eq(folder_count(&folder), 1);
        char *old = read_file(place.path, &m);
        cr_assert(m == 11 && memcmp(old, "the old one", 11) == 0);
        free(old);
    }
    limit_file_size(n);
    save_net("m");
    limit_file_size(RLIM_INFINITY);
    free(read_file(place.path, &m));
    cr_assert_eq(m, n);
}

CLEAN_TEST(safetensors, text_that_is_not_utf8)
{
    const struct place place = in_folder(&folder, "m");
    struct ls_error err = {0};
    const struct ls_metadata bad[] = {{"net", "dense \xff"}};
    cr_assert_eq(ls_safetensors_save(place.path, net, 3, bad, 1, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "metadata 'net' cannot be stored: its text is not UTF-8"), "%s",
                       err.text);
    const struct ls_tensor odd = {.name = "\xff", .n_dims = 1, .dims = {1}, .data = scale};
    cr_assert_eq(ls_safetensors_save(place.path, &odd, 1, about, 2, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "its name is not UTF-8"), "%s", err.text);
    cr_assert_eq(folder_count(&folder), 0);
}

CLEAN_TEST(safetensors, mode_and_links)
{
    umask(022);
    const struct place place = save_net("m"), link = in_folder(&folder, "link");
    struct stat status;
    cr_assert_eq(stat(place.path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0644);
    cr_assert_eq(symlink("m", link.path), 0);
    write_file(place.path, "old", 3);
    save_net("link");
    cr_assert(lstat(link.path, &status) == 0 && S_ISLNK(status.st_mode));
    struct ls_safetensors *file = must_open(place.path);
    ls_safetensors_close(&file);
}
