/* `verify`: equal results are found equal whatever else differs, the first difference is named with both
 * values, and nothing unreadable or empty passes for equal. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>

#include "base/hash.h"
#include "clean.h"
#include "files.h"
#include "formats/compare.h"
#include "formats/runlog.h"
#include "formats/safetensors.h"

static struct folder folder;
static struct place a, b;
static char *said; /* by the last comparison */

static void set_up(void)
{
    folder = folder_create();
    a = in_folder(&folder, "a");
    b = in_folder(&folder, "b-longer");
}

static void tear_down(void)
{
    free(said);
    folder_destroy(&folder);
}

TestSuite(compare, .init = set_up, .fini = tear_down, .timeout = 60);

static enum ls_code compare(struct ls_error *err)
{
    size_t n;
    free(said);
    said = NULL;
    FILE *out = open_memstream(&said, &n);
    const enum ls_code code = ls_compare_files(a.path, b.path, out, err);
    fclose(out);
    return code;
}

/* The verdict and the whole text, in which A and B stand for the paths and the padding behind them. */
static void expect(enum ls_code code, const char *expected)
{
    struct ls_error err = {0};
    char text[4000];
    size_t used = 0;
    cr_expect_eq(compare(&err), code, "%s%s", said, err.text);
    for (const char *c = said; *c && used + 1 < sizeof text; c++) {
        const struct place *both[] = {&a, &b};
        char letter = *c;
        for (int i = 0; i < 2; i++)
            if (strncmp(c, both[i]->path, strlen(both[i]->path)) == 0) {
                c += strlen(both[i]->path) - 1;
                letter = "AB"[i];
            }
        text[used++] = letter;
        while (letter == 'A' && c[1] == ' ' && c[4] == ' ')
            c++; /* padding to the width of B */
    }
    text[used] = '\0';
    cr_expect_str_eq(text, expected, "said:\n%sexpected:\n%s", text, expected);
}

static void expect_failure(const char *words)
{
    struct ls_error err = {0};
    cr_expect_eq(compare(&err), LS_FAILED, "%s", said);
    cr_expect_not_null(strstr(err.text, words), "'%s' does not say '%s'", err.text, words);
    cr_expect_str_eq(said, "");
}

/* --- models --- */

static float weight[6] = {1, 2, 3, 4, 5, 6}, bias[2] = {7, 8}, one[1] = {9};
static struct ls_tensor net[] = {
    {.name = "0.weight", .n_dims = 2, .dims = {2, 3}, .transposed = 1, .data = weight},
    {.name = "0.bias", .n_dims = 1, .dims = {2}, .data = bias},
    {.name = "scale", .data = one},
};
static struct ls_metadata about[] = {{"net", "dense 2"},        {"loss", "softmax"},
                                     {"contract_version", "1"}, {"ranks", "1"},
                                     {"seconds", "2.5"},        {"hash", "0123456789abcdef0123456789abcdef"}};

static void save(const struct place *place, ptrdiff_t n_tensors)
{
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_save(place->path, net, n_tensors, about, 6, &err), LS_OK, "%s", err.text);
}

/* The hash is the one that the trainer printed and stored. */
CLEAN_TEST(compare, identical_models)
{
    save(&a, 3);
    about[3].value = "8";
    about[4].value = "0.5";
    save(&b, 3);
    expect(LS_OK, "identical: 3 tensors, 9 elements, hash 0123456789abcdef0123456789abcdef\n");
}

CLEAN_TEST(compare, one_element)
{
    save(&a, 3);
    weight[2 * 2 + 1] = 6.5f; /* memory (2,1) is stored [1,2] */
    save(&b, 3);
    expect(LS_DIFFERENT,
           "different: tensor '0.weight' at [1,2]\n"
           "  A   6               0x40c00000\n"
           "  B   6.5             0x40d00000\n"
           "1 of 9 elements differ, in 1 of 3 tensors; the largest difference is 0.5, in '0.weight' "
           "at [1,2]\n");
}

CLEAN_TEST(compare, several_elements)
{
    bias[1] = 0.1f;
    save(&a, 3);
    bias[1] = nextafterf(0.1f, 1);
    one[0] = -9;
    save(&b, 3);
    expect(LS_DIFFERENT,
           "different: tensor '0.bias' at [1]\n"
           "  A   0.100000001     0x3dcccccd\n"
           "  B   0.100000009     0x3dccccce\n"
           "2 of 9 elements differ, in 2 of 3 tensors; the largest difference is 18, in 'scale' at "
           "[]\n");
}

CLEAN_TEST(compare, signed_zero)
{
    one[0] = 0;
    save(&a, 3);
    one[0] = -0.0f;
    save(&b, 3);
    expect(LS_DIFFERENT,
           "different: tensor 'scale' at []\n"
           "  A   0               0x00000000\n"
           "  B   -0              0x80000000\n"
           "1 of 9 elements differ, in 1 of 3 tensors; the largest difference is 0, in 'scale' at []\n");
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

CLEAN_TEST(compare, nan_by_its_bits)
{
    bias[0] = from_bits(0x7fc00001);
    save(&a, 3);
    save(&b, 3);
    struct ls_error err = {0};
    cr_assert_eq(compare(&err), LS_OK);
    bias[0] = from_bits(0x7fc00002);
    save(&b, 3);
    expect(LS_DIFFERENT, "different: tensor '0.bias' at [0]\n"
                         "  A   nan             0x7fc00001\n"
                         "  B   nan             0x7fc00002\n"
                         "1 of 9 elements differ, in 1 of 3 tensors; in 1 a value is not finite\n");
    bias[1] = INFINITY;
    weight[0] = 2;
    save(&b, 3);
    expect(LS_DIFFERENT,
           "different: tensor '0.weight' at [0,0]\n"
           "  A   1               0x3f800000\n"
           "  B   2               0x40000000\n"
           "3 of 9 elements differ, in 2 of 3 tensors; the largest difference is 1, in '0.weight' at "
           "[0,0]; in 2 a value is not finite\n");
}

CLEAN_TEST(compare, metadata_that_defines_the_net)
{
    for (int i = 0; i < 3; i++) {
        save(&a, 3);
        const char *old = about[i].value;
        about[i].value = "another";
        save(&b, 3);
        about[i].value = old;
        char expected[200];
        snprintf(expected, sizeof expected, "different: %s\n  A   %s\n  B   another\n", about[i].key, old);
        expect(LS_DIFFERENT, expected);
        const char *key = about[i].key;
        about[i].key = "other";
        save(&b, 3);
        about[i].key = key;
        snprintf(expected, sizeof expected, "different: %s\n  A   %s\n  B   (not stored)\n", key, old);
        expect(LS_DIFFERENT, expected);
    }
}

CLEAN_TEST(compare, names_and_shapes)
{
    save(&a, 3);
    save(&b, 2);
    expect(LS_DIFFERENT, "different: tensor 'scale', of shape [], is in A and not in B\n");
    save(&a, 1);
    expect(LS_DIFFERENT, "different: tensor '0.bias', of shape [2], is in B and not in A\n");
    net[0].dims[0] = 3;
    net[0].dims[1] = 2;
    save(&b, 1);
    expect(LS_DIFFERENT, "different: the shape of tensor '0.weight'\n  A   [2,3]\n  B   [3,2]\n");
    net[0].n_dims = 1;
    net[0].dims[0] = 6;
    net[0].transposed = 0;
    save(&b, 1);
    expect(LS_DIFFERENT, "different: the shape of tensor '0.weight'\n  A   [2,3]\n  B   [6]\n");
}

/* More than one chunk; the last element of all. */
CLEAN_TEST(compare, large_tensor)
{
    static float numbers[3][100000];
    for (int i = 0; i < 3 * 100000; i++)
        numbers[i / 100000][i % 100000] = (float)i;
    const struct ls_tensor tensor = {.name = "t", .n_dims = 3, .dims = {3, 1, 100000}, .data = *numbers};
    struct ls_error err = {0};
    cr_assert_eq(ls_safetensors_save(a.path, &tensor, 1, NULL, 0, &err), LS_OK);
    numbers[2][99999]++;
    cr_assert_eq(ls_safetensors_save(b.path, &tensor, 1, NULL, 0, &err), LS_OK);
    expect(LS_DIFFERENT,
           "different: tensor 't' at [2,0,99999]\n"
           "  A   299999          0x48927be0\n"
           "  B   300000          0x48927c00\n"
           "1 of 300000 elements differ, in 1 of 1 tensors; the largest difference is 1, in 't' at "
           "[2,0,99999]\n");
}

/* --- logs --- */

#define H0 "00000000000000000000000000000000"
#define H1 "11111111111111111111111111111111"
#define STEP(step, loss, hash)                                                                               \
    "{\"event\":\"step\",\"step\":" step ",\"loss\":" loss ",\"hash\":\"" hash "\"}\n"
#define EPOCH(epoch, step, test_loss, accuracy)                                                              \
    "{\"event\":\"epoch\",\"epoch\":" epoch ",\"step\":" step ",\"loss\":1.5,\"test_loss\":" test_loss       \
    ",\"test_accuracy\":" accuracy ",\"samples_per_s\":1,\"hash\":\"" H1 "\"}\n"
#define TENSORS(hash0, hash1)                                                                                \
    "{\"event\":\"step\",\"step\":4,\"loss\":1.0,\"hash\":\"" hash0 "\",\"tensors\":{\"w\":\"" H0            \
    "\",\"v\":\"" hash1 "\"}}\n"
#define START(ranks) "{\"event\":\"start\",\"ranks\":" ranks "}\n"

static void write_logs(const char *text_a, const char *text_b)
{
    write_file(a.path, text_a, strlen(text_a));
    write_file(b.path, text_b, strlen(text_b));
}

CLEAN_TEST(compare, identical_logs)
{
    write_logs(START("1") STEP("1", "0.5", H0)
                   EPOCH("1", "2", "0.25", "0.5") "{\"event\":\"end\",\"seconds\":1}\n",
               STEP("1", "0.5", H0)
                   START("8") "{\"event\":\"warning\"}\n"
                              "{\"event\":\"epoch\",\"epoch\":1,\"loss\":1.5,\"step\":2,\"test_loss\":0.25,"
                              "\"test_accuracy\":0.5,"
                              "\"samples_per_s\":7,\"compute_share\":0.5,\"ranks\":4,\"hash\":\"" H1 "\"}");
    expect(LS_OK, "identical: 1 steps and 1 epochs, the last at step 2, hash " H1 "\n");
    write_logs("{\"event\":\"step\",\"step\":1,\"loss\":\"nan\"}\n",
               "{\"event\":\"step\",\"step\":1,\"loss\":\"nan\"}\n");
    expect(LS_OK, "identical: 1 steps and 0 epochs, the last at step 1, without hashes\n");
}

CLEAN_TEST(compare, first_step_that_differs)
{
    write_logs(START("1") STEP("1", "0.5", H0) STEP("2", "0.100000001", H0) STEP("3", "1.0", H0),
               STEP("1", "0.5", H0) STEP("2", "0.100000009", H1) STEP("3", "2.0", H1));
    expect(LS_DIFFERENT, "different: step 2, loss\n"
                         "  A:3   loss 0.100000001   hash " H0 "\n"
                         "  B:2   loss 0.100000009   hash " H1 "\n");
    write_logs(STEP("1", "0.5", H0), STEP("1", "0.5", H1));
    expect(LS_DIFFERENT, "different: step 1, hash\n"
                         "  A:1   loss 0.5   hash " H0 "\n"
                         "  B:1   loss 0.5   hash " H1 "\n");
    write_logs(STEP("1", "0.0", H0), STEP("1", "-0.0", H0));
    expect(LS_DIFFERENT, "different: step 1, loss\n"
                         "  A:1   loss 0   hash " H0 "\n"
                         "  B:1   loss -0   hash " H0 "\n");
    write_logs(STEP("1", "0.5", H0), STEP("1", "\"nan\"", H0));
    expect(LS_DIFFERENT, "different: step 1, loss\n"
                         "  A:1   loss 0.5   hash " H0 "\n"
                         "  B:1   loss nan   hash " H0 "\n");
    write_logs(STEP("1", "0.5", H0), "{\"event\":\"step\",\"step\":1,\"loss\":0.5}\n");
    expect(LS_DIFFERENT, "different: step 1, hash\n"
                         "  A:1   loss 0.5   hash " H0 "\n"
                         "  B:1   loss 0.5   hash (not logged)\n");
}

CLEAN_TEST(compare, epochs)
{
    write_logs(EPOCH("3", "9", "0.25", "0.5"), EPOCH("3", "9", "0.75", "0.5"));
    expect(LS_DIFFERENT, "different: epoch 3 (step 9), test_loss\n"
                         "  A:1   test_loss 0.25   loss 1.5   hash " H1 "\n"
                         "  B:1   test_loss 0.75   loss 1.5   hash " H1 "\n");
    write_logs(EPOCH("3", "9", "0.25", "0.5"), EPOCH("3", "9", "0.25", "0.625"));
    expect(LS_DIFFERENT, "different: epoch 3 (step 9), test_accuracy\n"
                         "  A:1   test_accuracy 0.5   loss 1.5   hash " H1 "\n"
                         "  B:1   test_accuracy 0.625   loss 1.5   hash " H1 "\n");
}

CLEAN_TEST(compare, first_tensor_that_differs)
{
    write_logs(TENSORS(H0, H0), TENSORS(H1, H1));
    expect(LS_DIFFERENT, "different: step 4, tensor 'v'\n"
                         "  A:1   v " H0 "   loss 1   hash " H0 "\n"
                         "  B:1   v " H1 "   loss 1   hash " H1 "\n");
    write_logs(TENSORS(H0, H0), "{\"event\":\"step\",\"step\":4,\"loss\":1.0,\"hash\":\"" H0
                                "\",\"tensors\":{\"w\":\"" H0 "\"}}");
    expect(LS_DIFFERENT, "different: step 4, tensor 'v'\n"
                         "  A:1   v " H0 "   loss 1   hash " H0 "\n"
                         "  B:1   v (not logged)   loss 1   hash " H0 "\n");
    write_logs("{\"event\":\"step\",\"step\":4,\"loss\":1.0,\"hash\":\"" H0 "\"}", TENSORS(H0, H0));
    expect(LS_DIFFERENT, "different: step 4, tensor 'w'\n"
                         "  A:1   w (not logged)   loss 1   hash " H0 "\n"
                         "  B:1   w " H0 "   loss 1   hash " H0 "\n");
}

CLEAN_TEST(compare, logs_that_part)
{
    write_logs(STEP("1", "0.5", H0) STEP("2", "0.5", H0), STEP("1", "0.5", H0) "{\"event\":\"end\"}\n");
    expect(LS_DIFFERENT, "different: after step 1 the logs go on differently\n"
                         "  A:2   step 2\n"
                         "  B:2   the log ends\n");
    write_logs(STEP("1", "0.5", H0), STEP("1", "0.5", H0) EPOCH("1", "2", "0.5", "0.5"));
    expect(LS_DIFFERENT, "different: after step 1 the logs go on differently\n"
                         "  A:1   the log ends\n"
                         "  B:2   epoch 1 (step 2)\n");
    write_logs(STEP("1", "0.5", H0), STEP("2", "0.5", H0));
    expect(LS_DIFFERENT, "different: the logs begin differently\n"
                         "  A:1   step 1\n"
                         "  B:1   step 2\n");
    write_logs(EPOCH("1", "2", "0.5", "0.5"), EPOCH("2", "2", "0.5", "0.5"));
    expect(LS_DIFFERENT, "different: the logs begin differently\n"
                         "  A:1   epoch 1 (step 2)\n"
                         "  B:1   epoch 2 (step 2)\n");
}

/* --- what cannot be compared --- */

CLEAN_TEST(compare, kinds)
{
    save(&a, 3);
    write_file(b.path, START("1"), strlen(START("1")));
    expect_failure("is a model and");
    expect_failure("is a run log; two of one kind can be compared");
    write_logs("", START("1"));
    expect_failure("(0 bytes) is neither a model nor a run log");
    write_logs("index,class\n1,2\n", START("1"));
    expect_failure("is neither a model nor a run log");
    save(&a, 3);
    cr_assert_eq(truncate(a.path, 8), 0);
    expect_failure("(8 bytes) is neither");
    a = in_folder(&folder, "missing");
    expect_failure("No such file or directory");
    a = in_folder(&folder, "");
    expect_failure("not a regular file");
}

/* A header of 123 bytes begins with '{' too. */
CLEAN_TEST(compare, model_that_begins_like_a_log)
{
    char bytes[8 + 123];
    memset(bytes, ' ', sizeof bytes);
    memcpy(bytes, "{\0\0\0\0\0\0\0{}", 10);
    write_file(a.path, bytes, sizeof bytes);
    write_file(b.path, bytes, sizeof bytes);
    expect(LS_OK, "identical: 0 tensors, 0 elements\n");
}

/* Byte 8 of this log is '{', as in a model. */
CLEAN_TEST(compare, log_that_looks_like_a_model)
{
    write_logs("{\"data\":{},\"event\":\"start\"}\n" STEP("1", "0.5", H0), STEP("1", "0.5", H0));
    expect(LS_OK, "identical: 1 steps and 0 epochs, the last at step 1, hash " H0 "\n");
}

CLEAN_TEST(compare, nothing_to_compare)
{
    write_logs(START("1") "{\"event\":\"end\"}\n", START("1"));
    expect_failure("has a step or an epoch: there is nothing to compare");
}

CLEAN_TEST(compare, damaged_files)
{
    save(&a, 3);
    save(&b, 3);
    cr_assert_eq(truncate(b.path, 200), 0);
    expect_failure("b-longer' is cut short");
    write_logs(STEP("1", "0.5", H0), STEP("1", "0.5", H0) "{\"event\":\"st");
    expect_failure("b-longer:2': not valid JSON");
    write_logs("{\"event\":\"step\"}", STEP("1", "0.5", H0));
    expect_failure("a:1': step is nothing; allowed is a whole number from 0");
    write_logs("{\"event\":\"step\",\"step\":1.5}", STEP("1", "0.5", H0));
    expect_failure("a:1': step is a number with a fraction");
    write_logs("{\"event\":\"epoch\",\"step\":1}", STEP("1", "0.5", H0));
    expect_failure("a:1': epoch is nothing");
    write_logs("{\"event\":\"step\",\"step\":1,\"loss\":[]}", STEP("1", "0.5", H0));
    expect_failure("a:1': loss is an array; allowed is a number or a string");
    write_logs("{\"event\":\"step\",\"step\":1,\"tensors\":[]}", STEP("1", "0.5", H0));
    expect_failure("a:1': tensors is an array; allowed is an object of hashes");
    write_logs("{\"event\":\"step\",\"step\":1,\"tensors\":{\"w\":1}}", STEP("1", "0.5", H0));
    expect_failure("a:1': a hash in tensors is a whole number; allowed is a string");
}
