/* Everything wrong that a user can hand to the program, on one rank and on three.
 *
 * Each case must end with its status and with exactly one message, which names the file, the position and the
 * value; within the time limit; and leave the folder as it found it: no file written, half written,
 * overwritten or left over. */
#include <criterion/criterion.h>
#include <libdeflate.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "files.h"
#include "lockstep.h"

/* Most cases leave .before out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum { LIMIT_S = 240, RANKS = 3, USAGE = 2, FAILED = 3, REPLICA = 5, MOST_FILE = 4096, N = 4 };

/* A case: the words, in which {} stands for the folder of files, the status, and what the message must hold,
 * parts separated by '|'. */
struct bad {
    const char *words;
    int status;
    const char *parts;
    const char *before; /* a shell's words in front of the program */
};

static struct folder folder;

/* --- files --- */

static void make(const char *name, const void *bytes, size_t n)
{
    write_file(in_folder(&folder, name).path, bytes, n);
}

static size_t big_endian(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
    return 4;
}

/* An IDX file: a type, a rank, that many sizes, and n bytes of elements 0, 1, 2 ... */
static size_t idx(uint8_t file[MOST_FILE], uint8_t type, uint8_t rank, const uint32_t *dims, size_t n)
{
    size_t used = 4;
    memcpy(file, (uint8_t[]){0, 0, type, rank}, 4);
    for (int i = 0; i < rank; i++)
        used += big_endian(file + used, dims[i]);
    for (size_t i = 0; i < n; i++)
        file[used++] = (uint8_t)(i % 3);
    return used;
}

static void make_idx(const char *name, uint8_t type, uint8_t rank, const uint32_t *dims, size_t n)
{
    uint8_t file[MOST_FILE];
    make(name, file, idx(file, type, rank, dims, n));
}

#define DIMS(...) ((const uint32_t[]){__VA_ARGS__})

static size_t compress(const uint8_t *bytes, size_t n, uint8_t out[MOST_FILE])
{
    struct libdeflate_compressor *engine = libdeflate_alloc_compressor(6);
    const size_t used = libdeflate_gzip_compress(engine, bytes, n, out, MOST_FILE);
    libdeflate_free_compressor(engine);
    cr_assert(used > 18);
    return used;
}

/* 4 images of 2x3, their labels 0 1 2 0, and every way to spoil them. */
static void make_data(void)
{
    uint8_t file[MOST_FILE], packed[MOST_FILE];
    size_t n = idx(file, 8, 3, DIMS(N, 2, 3), N * 6);
    make("img", file, n);
    make("img-cut", file, n - 5);
    make("img-long", file, n + 7);
    make("img-header-cut", file, 10);
    make("img-tiny", file, 3);
    make("img-empty", file, 0);
    size_t m = compress(file, n, packed);
    make("img.gz", packed, m);
    make("img-cut.gz", packed, m - 20);
    make("img-checksum-cut.gz", packed, m - 3);
    packed[m - 8] ^= 1;
    make("img-crc.gz", packed, m);
    packed[m - 8] ^= 1;
    packed[m] = 'x';
    make("img-tail.gz", packed, m + 1);
    m = compress(file, n - 5, packed);
    make("img-short.gz", packed, m);
    m = compress(file, n + 7, packed);
    make("img-long.gz", packed, m);
    make("img-method.gz", "\x1f\x8b\x07garbage", 10);
    file[0] = 0x89;
    make("img-magic", file, n);
    make_idx("img-type", 0x0a, 3, DIMS(N, 2, 3), N * 6);
    make_idx("img-rank0", 8, 0, NULL, 9);
    make_idx("img-rank9", 8, 9, DIMS(1, 1, 1, 1, 1, 1, 1, 1, 1), 1);
    make_idx("img-none", 8, 3, DIMS(0, 2, 3), 0);
    make_idx("img-flat", 8, 3, DIMS(N, 0, 3), 0);
    make_idx("img-huge", 8, 4, DIMS(~0u, ~0u, ~0u, ~0u), 9);
    make_idx("img-promise", 8, 3, DIMS(60000, 28, 28), 9);
    make_idx("img-test", 8, 3, DIMS(N, 3, 3), N * 9);
    n = idx(file, 0x0d, 2, DIMS(N, 2), N * 2 * 4);
    memset(file + 12, 0, N * 2 * 4);
    memcpy(file + 12 + 5 * 4, "\x7f\xc0\x00\x00", 4);
    make("img-nan", file, n);
    make_idx("lab", 8, 1, DIMS(N), N);
    make_idx("lab-three", 8, 1, DIMS(3), 3);
    n = idx(file, 0x0c, 1, DIMS(N), N * 4);
    memset(file + 8, 0, N * 4);
    big_endian(file + 8 + 2 * 4, (uint32_t)-1);
    make("lab-negative", file, n);
    big_endian(file + 8 + 2 * 4, 70000);
    make("lab-large", file, n);
    make_idx("lab-float", 0x0d, 1, DIMS(N), N * 4);
}

/* A safetensors file of a header and n bytes 0. */
static void make_model(const char *name, const char *header, size_t n)
{
    uint8_t file[MOST_FILE] = {0};
    const size_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(length >> (8 * i));
    memcpy(file + 8, header, length);
    make(name, file, 8 + length + n);
}

#define ENTRY(name, shape, begin, end)                                                                       \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"
#define META(net, input, loss, version)                                                                      \
    "{\"__metadata__\":{\"contract_version\":\"" version "\",\"net\":\"" net "\",\"input_shape\":\"" input   \
    "\",\"loss\":\"" loss "\"},"
#define GOOD_META META("dense 3", "2x3", "softmax", "1")
#define WEIGHT ENTRY("0.weight", "3,6", "0", "72")
#define BIAS ENTRY("0.bias", "3", "72", "84")

/* A model of `dense 3` for the images above as the program saves it, and every way to spoil one. */
static void make_models(void)
{
    const struct ls_outcome *o =
        lockstep(1,
                 "train --data idx:%s/img,%s/lab --net 'dense 3' --batch 4 --epochs 0 "
                 "--quiet --save %s/model",
                 folder.path, folder.path, folder.path);
    cr_assert(o->status == 0, "%s", o->err);
    size_t n;
    char *model = read_file(in_folder(&folder, "model").path, &n);
    make("m-cut", model, n - 10);
    make("m-header-cut", model, 100);
    make("m-tiny", model, 5);
    make("m-empty", model, 0);
    model[n - 20] ^= 0x40;
    make("m-bit", model, n);
    model[n - 20] ^= 0x40;
    memcpy(model, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
    make("m-length", model, n);
    free(model);
    make_model("m-json", "{\"0.weight\":", 84);
    make_model("m-not", "hello, world", 84);
    make_model("m-foreign", "{" WEIGHT "," BIAS "}", 84);
    make_model("m-overlap", GOOD_META WEIGHT "," ENTRY("0.bias", "3", "60", "72") "}", 72);
    make_model("m-range", GOOD_META WEIGHT "," ENTRY("0.bias", "3", "72", "184") "}", 84);
    make_model("m-negative", GOOD_META WEIGHT "," ENTRY("0.bias", "3", "-12", "0") "}", 84);
    make_model("m-gap", GOOD_META WEIGHT "," ENTRY("0.bias", "3", "76", "88") "}", 88);
    make_model("m-shape", GOOD_META ENTRY("0.weight", "6,3", "0", "72") "," BIAS "}", 84);
    make_model("m-overflow", GOOD_META ENTRY("0.weight", "4294967296,4294967296", "0", "72") "," BIAS "}",
               84);
    make_model("m-dtype",
               GOOD_META "\"0.weight\":{\"dtype\":\"F16\",\"shape\":[3,6],\"data_offsets\":[0,36]}," BIAS "}",
               84);
    make_model("m-missing", GOOD_META WEIGHT "}", 72);
    make_model("m-extra", GOOD_META WEIGHT "," BIAS "," ENTRY("9.bias", "3", "84", "96") "}", 96);
    make_model("m-version", META("dense 3", "2x3", "softmax", "7") WEIGHT "," BIAS "}", 84);
    make_model("m-loss", META("dense 3", "2x3", "huger", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-smooth",
               META("dense 3", "2x3", "softmax\",\"label_smoothing\":\"1.5", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-delta", META("dense 3", "2x3", "huber\",\"huber_delta\":\"-1", "1") WEIGHT "," BIAS "}",
               84);
    make_model("m-weights",
               META("dense 3", "2x3", "softmax\",\"class_weights\":\"1,nan,1", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-few-weights",
               META("dense 3", "2x3", "softmax\",\"class_weights\":\"1", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-names",
               META("dense 3", "2x3", "softmax\",\"input_names\":\"[\\\"a\\\",7]", "1") WEIGHT "," BIAS "}",
               84);
    make_model("m-no-names",
               META("dense 3", "2x3", "softmax\",\"input_names\":\"a,b", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-means",
               META("dense 3", "2x3", "softmax\",\"input_means\":\"1,inf", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-more-means",
               META("dense 3", "2x3", "softmax\",\"input_names\":\"[\\\"a\\\"]\",\"input_means\":\"1,2", "1")
                   WEIGHT "," BIAS "}",
               84);
    make_model("m-net", META("conv 3", "2x3", "softmax", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-file", META("@/etc/passwd", "2x3", "softmax", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-input", META("dense 3", "2147483647x2147483647", "softmax", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-memory", META("dense 1000000", "1x1000000", "softmax", "1") WEIGHT "," BIAS "}", 84);
    make_model("m-other",
               META("dense 3", "7", "softmax", "1")
                   ENTRY("0.weight", "3,7", "0", "84") "," ENTRY("0.bias", "3", "84", "96") "}",
               96);
}

/* Nothing may change: names, sizes and content. */
struct picture {
    char text[16384];
};

static struct picture take_picture(void)
{
    struct picture picture = {""};
    size_t used = 0;
    struct dirent **entries;
    const int n = scandir(folder.path, &entries, NULL, alphasort);
    cr_assert(n >= 0);
    for (int i = 0; i < n; i++) {
        const struct place place = in_folder(&folder, entries[i]->d_name);
        struct stat status;
        if (stat(place.path, &status) == 0 && S_ISREG(status.st_mode) && access(place.path, R_OK) == 0) {
            size_t bytes;
            char hash[LS_HASH_TEXT], *content = read_file(place.path, &bytes);
            ls_hash_text(ls_hash_bytes(content, bytes), hash);
            used += (size_t)snprintf(picture.text + used, sizeof picture.text - used, "%s %zu %s\n",
                                     entries[i]->d_name, bytes, hash);
            free(content);
        }
        free(entries[i]);
    }
    free(entries);
    cr_assert(used < sizeof picture.text);
    return picture;
}

static void begin(void)
{
    folder = folder_create();
    make_data();
    make_models();
    make("kept", "bytes that must stay", 20);
    make("net-bad", "dense 8\n# a comment\nrelu\n\ndens 3\n", 33);
    make("net-zero", "dense\0 8\n", 9);
}

static void end(void)
{
    folder_destroy(&folder);
}

/* Criterion shows the reason only when it is verbose, and runs no .fini. */
static void skip(const char *why)
{
    fprintf(stderr, "skipped: %s\n", why);
    end();
    cr_skip_test("%s", why);
}

/* --- one case --- */

static void fill_in(char *to, size_t size, const char *text)
{
    size_t used = 0;
    to[0] = '\0';
    for (const char *at = text; *at && used < size; at++)
        if (at[0] == '{' && at[1] == '}') {
            used += (size_t)snprintf(to + used, size - used, "%s", folder.path);
            at++;
        } else {
            used += (size_t)snprintf(to + used, size - used, "%c", *at);
        }
    cr_assert(used < size);
}

static void check_message(const struct bad *bad, int ranks, const struct ls_outcome *o)
{
    const char *message = strstr(o->err, "lockstep: ");
    cr_assert(lines_beginning(o->err, "lockstep: ") == 1 && message, "'%s' on %d: not one message:\n%s",
              bad->words, ranks, o->err);
    if (ranks == 1)
        cr_assert(message == o->err && message[strcspn(message, "\n")] &&
                      !message[strcspn(message, "\n") + 1],
                  "'%s': more than the message:\n%s", bad->words, o->err);
    char line[2048], parts[1024];
    snprintf(line, sizeof line, "%.*s", (int)strcspn(message, "\n"), message);
    fill_in(parts, sizeof parts, bad->parts);
    char *rest = NULL;
    for (char *part = strtok_r(parts, "|", &rest); part; part = strtok_r(NULL, "|", &rest))
        cr_assert(strstr(line, part), "'%s' on %d: no '%s' in the message: %s", bad->words, ranks, part,
                  line);
    static const char *const crashes[] = {"ssertion", "egmentation", "ignal", "free()", "anitizer"};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        cr_assert(!strstr(o->err, crashes[i]), "'%s' on %d: %s", bad->words, ranks, o->err);
}

static void check_outcome(const struct bad *bad, int ranks, const struct ls_outcome *o)
{
    cr_assert(!o->timed_out, "'%s' on %d: still running after %.0f s\n%s", bad->words, ranks, o->seconds,
              o->err);
    cr_assert(o->status == bad->status, "'%s' on %d: status %d, expected %d\n%s%s", bad->words, ranks,
              o->status, bad->status, o->out, o->err);
    check_message(bad, ranks, o);
}

static void check_picture(const char *what, int ranks, const struct picture *old)
{
    const struct picture now = take_picture();
    size_t at = 0; /* of the line where the two part */
    for (size_t c = 0; old->text[c] && old->text[c] == now.text[c]; c++)
        at = old->text[c] == '\n' ? c + 1 : at;
    cr_assert(strcmp(old->text, now.text) == 0, "'%s' on %d changed files: '%.*s' was '%.*s'", what, ranks,
              (int)strcspn(now.text + at, "\n"), now.text + at, (int)strcspn(old->text + at, "\n"),
              old->text + at);
}

static void check(const struct bad *bad, int ranks)
{
    char words[2048], before[1024];
    fill_in(words, sizeof words, bad->words);
    fill_in(before, sizeof before, bad->before ? bad->before : "");
    const struct picture old = take_picture();
    const struct ls_outcome *o = lockstep_after(ranks, before, "%s", words);
    check_outcome(bad, ranks, o);
    check_picture(words, ranks, &old);
}

/* What the job of all cases said of case k. */
static struct ls_outcome outcome_of(const struct ls_outcome *all, size_t k)
{
    struct ls_outcome one = {.status = -1};
    char begin[32], end[32];
    snprintf(begin, sizeof begin, "#%zu\n", k);
    snprintf(end, sizeof end, "#%zu status ", k);
    const char *from = strstr(all->err, begin), *to = strstr(all->err, end);
    cr_assert(from && to && from < to, "case %zu of a job was not run:\n%s", k, all->err);
    from += strlen(begin);
    snprintf(one.err, sizeof one.err, "%.*s", (int)(to - from), from);
    one.status = atoi(to + strlen(end));
    return one;
}

/* All on three ranks, in one job (tests/mpi/case_commands.c): an mpirun each would take half a second each.
 */
static void check_together(const struct bad *cases, size_t n)
{
    static struct ls_outcome job;
    const struct picture old = take_picture();
    char name[] = "/tmp/lockstep-commands-XXXXXX", words[2048];
    const int fd = mkstemp(name);
    cr_assert(fd >= 0);
    for (size_t i = 0; i < n; i++) {
        fill_in(words, sizeof words, cases[i].words);
        dprintf(fd, "%s\n", words);
    }
    close(fd);
    ls_launch_mpi(&job, RANKS, LIMIT_S, (const char *const[]){"OMP_NUM_THREADS=1", NULL},
                  LS_ARGV(LS_MPI_CASES, "commands", "3", name));
    unlink(name);
    cr_assert(job.status == 0, "commands of one job: status %d\n%s%s", job.status, job.out, job.err);
    for (size_t i = 0; i < n; i++) {
        const struct ls_outcome one = outcome_of(&job, i);
        check_outcome(&cases[i], RANKS, &one);
    }
    check_picture("commands of one job", RANKS, &old);
}

/* A case that a shell has to prepare cannot share a job with others. */
static int needs_shell(const struct bad *bad)
{
    return bad->before || strpbrk(bad->words, "<>|&") != NULL;
}

/* Each on one rank; when this build has MPI, also on three. */
static void check_all(const struct bad *cases, size_t n)
{
    struct bad together[100];
    size_t n_together = 0;
    cr_assert(n <= sizeof together / sizeof together[0]);
    for (size_t i = 0; i < n; i++) {
        check(&cases[i], 1);
        if (!LS_WITH_MPI)
            continue;
        if (needs_shell(&cases[i]))
            check(&cases[i], RANKS);
        else
            together[n_together++] = cases[i];
    }
    if (n_together > 0)
        check_together(together, n_together);
}

#define CHECK_ALL(cases) check_all(cases, sizeof cases / sizeof cases[0])
#define BAD_TEST(name) Test(bad_input, name, .init = begin, .fini = end, .timeout = LIMIT_S)

/* --- data --- */

#define IMAGES(file) "train --batch 4 --data idx:{}/" file ",{}/lab"
#define LABELS(file) "train --batch 4 --data idx:{}/img," file

#define EVAL(file) "eval {}/" file " --data idx:{}/img,{}/lab"
#define LOAD(file) IMAGES("img") " --save {}/kept --load {}/" file

BAD_TEST(idx_files_that_are_none)
{
    static const struct bad cases[] = {
        {IMAGES("none"), FAILED, "cannot open \"{}/none\"|No such file"},
        {"train --data idx:{},{}/lab", FAILED, "\"{}\" is a directory"},
        {"train --data idx:/dev/null,{}/lab", FAILED, "\"/dev/null\" is a pipe or a device"},
        {IMAGES("img-empty"), FAILED, "{}/img-empty\" is empty"},
        {IMAGES("img-tiny"), FAILED, "{}/img-tiny\" has only 3 bytes"},
        {IMAGES("img-magic"), FAILED, "{}/img-magic\" is not an IDX file|byte 0: found 89 00 08 03"},
        {IMAGES("img-type"), FAILED, "{}/img-type\": byte 2: unknown IDX element type 0x0a|08 (uint8)"},
        {IMAGES("img-rank0"), FAILED, "{}/img-rank0\": byte 3: rank 0; allowed are 1 to 5"},
        {IMAGES("img-rank9"), FAILED, "{}/img-rank9\": byte 3: rank 9"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(idx_files_of_the_wrong_size)
{
    static const struct bad cases[] = {
        {IMAGES("img-header-cut"), FAILED,
         "{}/img-header-cut\" is cut short in its header: 10 bytes, rank 3 needs 16"},
        {IMAGES("img-none"), FAILED, "{}/img-none\": byte 4: 0 samples"},
        {IMAGES("img-flat"), FAILED, "{}/img-flat\": byte 8: a dimension of 0"},
        {IMAGES("img-cut"), FAILED, "{}/img-cut\" has 35 bytes, fewer than the 40"},
        {IMAGES("img-long"), FAILED, "{}/img-long\" has 47 bytes, more than the 40"},
        {IMAGES("img-huge"), FAILED, "{}/img-huge\": byte 8: dimension 4294967295 makes more elements"},
        {IMAGES("img-promise"), FAILED, "{}/img-promise\" has 25 bytes, fewer than the 47040016"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(gzip_files_that_are_damaged)
{
    static const struct bad cases[] = {
        {IMAGES("img-cut.gz"), FAILED, "{}/img-cut.gz\": the gzip member at byte 0 is damaged or cut short"},
        {IMAGES("img-checksum-cut.gz"), FAILED,
         "{}/img-checksum-cut.gz\": cut short in the gzip checksum at byte |5 of 8"},
        {IMAGES("img-crc.gz"), FAILED, "{}/img-crc.gz\": gzip CRC at byte | the file is damaged"},
        {IMAGES("img-tail.gz"), FAILED, "{}/img-tail.gz\": byte |not another gzip member"},
        {IMAGES("img-short.gz"), FAILED, "{}/img-short.gz\" inflates to 35 bytes, fewer than the 40"},
        {IMAGES("img-long.gz"), FAILED, "{}/img-long.gz\" inflates to over 40 bytes, more than the 40"},
        {IMAGES("img-method.gz"), FAILED, "{}/img-method.gz\": byte 0: broken or cut gzip header"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(labels_that_do_not_fit)
{
    static const struct bad cases[] = {
        {LABELS("{}/lab-three"), FAILED, "{}/img\" has 4 samples, but \"{}/lab-three\" has 3 labels"},
        {LABELS("{}/lab-negative"), FAILED,
         "{}/lab-negative\": byte 16: label -1 of sample 2; allowed are 0 to 65535"},
        {LABELS("{}/lab-large"), FAILED, "{}/lab-large\": byte 16: label 70000 of sample 2"},
        {LABELS("{}/img"), FAILED, "{}/img\": byte 3: class labels of rank 3"},
        {"train --batch 4 --data idx:{}/lab,{}/img", FAILED, "{}/img\": byte 3: class labels of rank 3"},
        {IMAGES("img-nan"), FAILED, "{}/img-nan\": byte 32: feature 1 of sample 2 is nan"},
        {IMAGES("img") " --net 'dense 2'", USAGE, "the net 'dense 2' has 2 outputs, the data 3 classes"},
        {IMAGES("img") " --test-data idx:{}/img-test,{}/lab", FAILED,
         "idx:{}/img,{}/lab|6 features|idx:{}/img-test,{}/lab\" has 9"},
        {IMAGES("img") " --test-data idx:{}/img,{}/lab-float", FAILED,
         "class labels|{}/lab-float\" has target values"},
        {"train --data idx:{}/img", USAGE, "two file names with one comma between"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(data_in_words)
{
    static const struct bad cases[] = {
        {"train --data mnist-fashion", USAGE, "unknown data \"mnist-fashion\""},
        {"train --data ''", USAGE, "--data: ''|not empty"},
        {"train --data inline:", USAGE, "character 1: sample 0 has no input"},
        {"train --data 'inline:1=2;3'", USAGE, "character 6: sample 1 has no '='"},
        {"train --data 'inline:1=2;x=3'", USAGE, "character 5: \"x\" is not a finite number"},
        {"train --data 'inline:1=2;1 2=3'", USAGE, "sample 1 has 2 input numbers, the first has 1"},
        {"train --data synthetic:n=0", USAGE, "n=0; allowed are whole numbers from 1"},
        {"train --data synthetic:shape=28x-1", USAGE, "shape=-1"},
        {"train --data synthetic:n=99999999999999999999", USAGE, "n=99999999999999999999"},
        {"train --test-data digits", USAGE, "\"digits\"|not needed"},
    };
    CHECK_ALL(cases);
}

/* --- nets and options --- */

BAD_TEST(nets_that_are_none)
{
    static const struct bad cases[] = {
        {"train --net ''", USAGE, "--net: ''"},
        {"train --net ' , '", USAGE, "--net, layer 1: nothing in front of the comma"},
        {"train --net '# only a comment'", USAGE, "no layer in '# only a comment'"},
        {"train --net 'dense 8, swish, dense 10'", USAGE, "--net, layer 2 ('swish')|unknown layer 'swish'"},
        {"train --net 'dense 0'", USAGE,
         "--net, layer 1 ('dense 0'): '0' is no number of outputs|1 to 2147483647"},
        {"train --net 'dense -3'", USAGE, "'-3' is no number of outputs"},
        {"train --net 'dense 1e2'", USAGE, "'1e2' is no number of outputs"},
        {"train --net 'dense 99999999999999999999'", USAGE, "'99999999999999999999' is no number"},
        {"train --net 'dense'", USAGE, "'dense' needs its number of outputs"},
        {"train --net 'dense 10 nobais'", USAGE, "'nobais' is no option of dense"},
        {"train --net 'dense 10, relu 3'", USAGE, "--net, layer 2 ('relu 3')|'relu' takes no words"},
        {"train --net 'dense 10, dense 9'", USAGE, "'dense 10, dense 9' has 9 outputs, the data 10 classes"},
        {"train --net 'dense 1'", USAGE, "has 1 outputs, the data 10 classes"},
        {"train --net 'dense 2147483647, dense 2147483647'", USAGE, "more weights than memory can hold"},
        {"train --net 'dense 2000000000' --loss bce", USAGE, "has 2000000000 outputs, the data 10 classes"},
        {"train --net @{}/none", USAGE, "cannot read the net file '{}/none': No such file"},
        {"train --net @{}/net-bad", USAGE,
         "{}/net-bad:5 ('dens 3')|unknown layer 'dens'|did you mean 'dense'?"},
        {"train --net @{}/net-zero", USAGE, "the net file '{}/net-zero' holds a zero byte"},
        {"train --net @{}", FAILED, "cannot read the net file '{}': Is a directory"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(options_that_are_no_numbers)
{
    static const struct bad cases[] = {
        {"train --batch 0", USAGE, "--batch: '0' is not allowed: give a whole number from 1 to |, or all"},
        {"train --batch -1", USAGE, "--batch: '-1'"},
        {"train --batch 6.4", USAGE, "--batch: '6.4'"},
        {"train --batch 1501", USAGE, "--batch 1501 is more than the 1500 training samples"},
        {"train --microbatch 0", USAGE, "--microbatch: '0'|from 1 to 1048576"},
        {"train --epochs three", USAGE, "--epochs: 'three'"},
        {"train --epochs 99999999999999999999", USAGE, "--epochs: '99999999999999999999'"},
        {"train --epochs=", USAGE, "--epochs: ''"},
        {"train --epochs", USAGE, "--epochs needs a value: --epochs N"},
        {"train --steps -2", USAGE, "--steps: '-2'"},
        {"train --lr fast", USAGE, "--lr: 'fast'|a finite number from 0 to 1e+30"},
        {"train --lr 0,1", USAGE, "--lr: '0,1'"},
        {"train --lr nan", USAGE, "--lr: 'nan'"},
        {"train --lr -1", USAGE, "--lr: '-1'"},
        {"train --lr 1e99", USAGE, "--lr: '1e99'"},
        {"train --momentum 1", USAGE, "--momentum: '1'"},
        {"train --weight-decay ' 1'", USAGE, "--weight-decay: ' 1'"},
        {"train --nesterov", USAGE, "--nesterov needs --momentum"},
        {"train --optimizer Adam", USAGE, "--optimizer: unknown 'Adam': did you mean 'adam'?|lars, lamb"},
        {"train --beta1 0.5", USAGE, "--beta1 means nothing to --optimizer sgd: it is an option of adam"},
        {"train --optimizer adam --momentum 0.9", USAGE, "--momentum means nothing|sgd, rmsprop, lars"},
        {"train --optimizer lamb --nesterov", USAGE, "--nesterov means nothing|an option of sgd"},
        {"train --optimizer lars --clip-value 1", USAGE, "--clip-value means nothing to --optimizer lars"},
        {"train --optimizer lars --decoupled-decay", USAGE, "--decoupled-decay means nothing"},
        {"train --trust-skips-vectors on", USAGE, "--trust-skips-vectors means nothing|lars, lamb"},
        {"train --decay-skips-vectors", USAGE, "--decay-skips-vectors needs --weight-decay above 0"},
        {"train --clip-norm 0", USAGE, "--clip-norm: '0'"},
        {"train --ema 1", USAGE, "--ema: '1'"},
        {"train --schedule cosin", USAGE, "--schedule: unknown schedule 'cosin': did you mean 'cosine'?"},
        {"train --schedule 'step every=3x'", USAGE, "--schedule: every: '3x' is no length"},
        {"train --warmup 5k", USAGE, "--warmup: '5k' is no length"},
        {"train --scale-lr-to 0", USAGE, "--scale-lr-to: '0'"},
        {"train --seed 18446744073709551616", USAGE, "--seed: '18446744073709551616'|2^64 - 1"},
        {"train --threads 0", USAGE, "--threads: '0'|from 1 to 4096"},
        {"train --init constant=x", USAGE, "'x' is no finite number"},
        {"train --quiet=yes", USAGE, "--quiet takes no value, found 'yes'"},
        {"train digits", USAGE, "unexpected 'digits'"},
        {"train -e 3", USAGE, "unknown option '-e'|two dashes"},
        {"eval", USAGE, "something is missing: usage: lockstep eval MODEL"},
        {"train", USAGE, "LOCKSTEP_ISA='mmx' is not possible here|portable", "LOCKSTEP_ISA=mmx"},
    };
    CHECK_ALL(cases);
}

/* Stopping, accumulation, averages, first weights. */
BAD_TEST(how_long_and_from_where)
{
    static const struct bad cases[] = {
        {"train --stop-at 0.5", USAGE, "--stop-at '0.5': allowed are loss=X|accuracy=X"},
        {"train --stop-at ''", USAGE, "--stop-at: '' is not allowed"},
        {"train --stop-at ,", USAGE, "--stop-at ','"},
        {"train --stop-at loss=1,", USAGE, "--stop-at 'loss=1,'"},
        {"train --stop-at loss=nan", USAGE, "--stop-at 'loss=nan'"},
        {"train --stop-at loss=1,loss=2", USAGE, "--stop-at 'loss=1,loss=2': loss is given twice"},
        {"train --stop-at accuracy=101%", USAGE, "--stop-at 'accuracy=101%'|from 0% to 100%"},
        {"train --stop-at accuracy=80", USAGE, "--stop-at 'accuracy=80'"},
        {"train --stop-at accuracy=-0.1", USAGE, "--stop-at 'accuracy=-0.1'"},
        {"train --data inline:1=3 --net 'dense 1' --loss squared --stop-at accuracy=1", USAGE,
         "--stop-at accuracy needs test data with classes|no test samples"},
        {"train --data inline:1=3 --net 'dense 1' --loss squared --monitor accuracy --patience 3", USAGE,
         "--monitor accuracy needs test data with classes"},
        {"train --eval-every 0 --patience 3 --save {}/kept", USAGE,
         "--eval-every 0 never looks at the test data"},
        {"train --eval-every 0 --keep best", USAGE, "--eval-every 0 never looks|--check-every"},
        {"train --patience 0", USAGE, "--patience: '0'"},
        {"train --patience 1.5", USAGE, "--patience: '1.5'"},
        {"train --check-every 0", USAGE, "--check-every: '0'"},
        {"train --keep first", USAGE, "--keep: unknown 'first'|last, best"},
        {"train --monitor time", USAGE, "--monitor: unknown 'time'|loss, accuracy"},
        {"train --gradient-tolerance 0", USAGE, "--gradient-tolerance: '0'"},
        {"train --gradient-tolerance -1", USAGE, "--gradient-tolerance: '-1'"},
        {"train --max-time 0", USAGE, "--max-time: '0'"},
        {"train --max-time forever", USAGE, "--max-time: 'forever'"},
        {"train --accumulate 0", USAGE, "--accumulate: '0'|from 1 to 1000000"},
        {"train --accumulate all", USAGE, "--accumulate: 'all'"},
        {"train --batch 512 --accumulate 3 --drop-last --log {}/new", USAGE,
         "--drop-last leaves nothing: an update takes 1536 samples, there are 1500"},
        {"train --ema 1", USAGE, "--ema: '1'"},
        {"train --ema -0.5", USAGE, "--ema: '-0.5'"},
        {"train --init-bias x", USAGE, "--init-bias: 'x'"},
        {"train --init truncated-normal=-1", USAGE, "--init: '-1' must not be negative"},
        {"train --init uniform=", USAGE, "--init: '' is no finite number in 'uniform='"},
        {"train --init truncated", USAGE,
         "unknown initialisation 'truncated': did you mean 'truncated-normal=S'?"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(random_search_and_what_it_is_not)
{
    static const struct bad cases[] = {
#define SEARCH "train --optimizer random-search --save {}/kept "
        {"train --trials 5", USAGE,
         "--trials means nothing to --optimizer sgd: it is an option of random-search"},
        {"train --optimizer adam --trials 5", USAGE, "--trials means nothing to --optimizer adam"},
        {SEARCH "--trials 0", USAGE, "--trials: '0'"},
        {SEARCH "--lr 0.1", USAGE,
         "--lr means nothing to --optimizer random-search: it is an option of sgd, adagrad"},
        {SEARCH "--momentum 0.9", USAGE, "--momentum means nothing to --optimizer random-search"},
        {SEARCH "--nesterov", USAGE, "--nesterov means nothing to --optimizer random-search"},
        {SEARCH "--weight-decay 0.1", USAGE, "--weight-decay means nothing"},
        {SEARCH "--clip-norm 1", USAGE, "--clip-norm means nothing"},
        {SEARCH "--decoupled-decay", USAGE, "--decoupled-decay means nothing"},
        {SEARCH "--trust-skips-vectors on", USAGE, "--trust-skips-vectors means nothing"},
        {SEARCH "--schedule cosine", USAGE, "--schedule means nothing"},
        {SEARCH "--warmup 1", USAGE, "--warmup means nothing"},
        {SEARCH "--scale-lr-to 64", USAGE, "--scale-lr-to means nothing"},
        {SEARCH "--ema 0.9", USAGE, "--ema means nothing"},
        {SEARCH "--epochs 3", USAGE, "--epochs means nothing to --optimizer random-search|give --trials"},
        {SEARCH "--steps 3", USAGE, "--steps means nothing"},
        {SEARCH "--batch all", USAGE, "--batch means nothing"},
        {SEARCH "--accumulate 2", USAGE, "--accumulate means nothing"},
        {SEARCH "--shuffle off", USAGE, "--shuffle means nothing"},
        {SEARCH "--drop-last", USAGE, "--drop-last means nothing"},
        {SEARCH "--augment flip", USAGE, "--augment means nothing"},
        {SEARCH "--eval-every 0", USAGE, "--eval-every means nothing"},
        {SEARCH "--hash-every 1", USAGE, "--hash-every means nothing"},
        {SEARCH "--stop-at loss=1", USAGE, "--stop-at means nothing"},
        {SEARCH "--patience 1", USAGE, "--patience means nothing"},
        {SEARCH "--monitor accuracy", USAGE, "--monitor means nothing"},
        {SEARCH "--check-every 1", USAGE, "--check-every means nothing"},
        {SEARCH "--gradient-tolerance 1", USAGE, "--gradient-tolerance means nothing"},
        {SEARCH "--max-time 1", USAGE, "--max-time means nothing"},
        {SEARCH "--keep best", USAGE, "--keep means nothing"},
        {SEARCH "--init zeros", USAGE, "--init zeros gives every trial|the same weights"},
        {SEARCH "--init constant=1", USAGE, "--init constant=1 gives every trial"},
        {SEARCH "--net 'dense 9'", USAGE, "'dense 9' has 9 outputs"},
#undef SEARCH
    };
    CHECK_ALL(cases);
}

BAD_TEST(range_tests_of_nothing)
{
    static const struct bad cases[] = {
        {"lrfind --from 1 --to 1 --csv {}/kept", USAGE, "--from 1 is not below --to 1"},
        {"lrfind --from 1 --to 0.1", USAGE, "--from 1 is not below --to 0.1"},
        {"lrfind --from 0", USAGE, "--from: '0'"},
        {"lrfind --to inf", USAGE, "--to: 'inf'"},
        {"lrfind --steps 9", USAGE, "--steps: '9'|from 10 to"},
        {"lrfind --smoothing 1", USAGE, "--smoothing: '1'"},
        {"lrfind --smoothing -0.1", USAGE, "--smoothing: '-0.1'"},
        {"lrfind --lr 0.1", USAGE, "unknown option '--lr'"},
        {"lrfind --schedule cosine", USAGE, "unknown option '--schedule'"},
        {"lrfind --epochs 3", USAGE, "unknown option '--epochs'"},
        {"lrfind --optimizer random-search", USAGE, "--optimizer: unknown 'random-search'|sgd, adagrad"},
        {"lrfind --momentum 0.9 --optimizer adam", USAGE, "--momentum means nothing to --optimizer adam"},
        {"lrfind --batch 1501 --csv {}/new", USAGE, "--batch 1501 is more than the 1500"},
        {"lrfind --net 'dense 9' --csv {}/new", USAGE, "'dense 9' has 9 outputs"},
        {"lrfind words", USAGE, "unexpected 'words'"},
        {"lrfind --csv {}", FAILED, "cannot save '{}'|not a regular file"},
        {"lrfind --csv {}/none/curve", FAILED, "cannot save '{}/none/curve'|No such file"},
        {"lrfind --load {}/m-cut --csv {}/new", FAILED, "'{}/m-cut'"},
        {"lrfind --init normal=1e30 --csv {}/kept", 4, "no update was made yet"},
    };
    CHECK_ALL(cases);
}

/* --- what is written --- */

BAD_TEST(paths_that_cannot_be_written)
{
    static const struct bad cases[] = {
        {"train --epochs 1 --save {}/none/model", FAILED, "cannot save '{}/none/model'|No such file"},
        {"train --epochs 1 --save {}/kept/model", FAILED, "cannot save '{}/kept/model'|Not a directory"},
        {"train --epochs 100000 --save {}", FAILED, "cannot save '{}'|not a regular file"},
        {"train --epochs 100000 --save /dev/full", FAILED, "cannot save '/dev/full'|not a regular file"},
        {"train --epochs 100000 --save /proc/model", FAILED, "cannot save '/proc/model'"},
        {"train --epochs 1 --log {}/none/log", FAILED, "cannot write the log '{}/none/log'|No such file"},
        {"train --epochs 1 --log {}", FAILED, "cannot write the log '{}': Is a directory"},
        {"train --epochs 1 --log /dev/full", FAILED,
         "cannot write line 1 of the log '/dev/full': No space left"},
        {"train --epochs 1 --log /dev/full --save {}/kept", FAILED,
         "cannot write line 1 of the log '/dev/full'"},
        {"train --epochs 1 --log {}/kept --save {}/kept", USAGE, "--log and --save both name '{}/kept'"},
        {IMAGES("img") " --log {}/model --load {}/model", USAGE,
         "--log would overwrite the model of --load, '{}/model'"},
        /* What fails before training costs neither an old model nor an old log. */
        {"train --net 'dense 9' --save {}/kept --log {}/lab", USAGE, "'dense 9' has 9 outputs"},
        {"train --data idx:{}/none,{}/lab --save {}/kept --log {}/new", FAILED, "cannot open \"{}/none\""},
    };
    CHECK_ALL(cases);
}

/* Root reads everything. */
BAD_TEST(a_file_that_may_not_be_read)
{
    static const struct bad cases[] = {
        {IMAGES("secret"), FAILED, "cannot open \"{}/secret\": Permission denied"},
        {EVAL("secret"), FAILED, "cannot open '{}/secret': Permission denied"}};
    make("secret", "x", 1);
    cr_assert_eq(chmod(in_folder(&folder, "secret").path, 0), 0);
    if (access(in_folder(&folder, "secret").path, R_OK) == 0) {
        skip("this user reads every file");
    }
    CHECK_ALL(cases);
}

/* A file size limit stands for a full disk where nothing may be mounted. */
BAD_TEST(a_disk_that_fills_up)
{
    static const struct bad cases[] = {
        {"train --epochs 1 --quiet --save {}/kept", FAILED, "cannot save '{}/kept': File too large",
         "ulimit -f 1;"},
        {"train --epochs 1 --quiet --save {}/new", FAILED, "cannot save '{}/new': File too large",
         "ulimit -f 1;"},
    };
    CHECK_ALL(cases);
}

static void on_a_small_disk(int ranks)
{
    const struct place disk = in_folder(&folder, "disk");
    const struct ls_outcome *o =
        lockstep(ranks, "train --epochs 1 --quiet --save %s/model --log %s/log", disk.path, disk.path);
    cr_assert(o->status == FAILED && lines_beginning(o->err, "lockstep: ") == 1 &&
                  strstr(o->err, "/model': No space left on device"),
              "%d ranks: status %d\n%s", ranks, o->status, o->err);
    o = lockstep(ranks, "train --epochs 40 --quiet --log %s/log", disk.path);
    cr_assert(o->status == FAILED && lines_beginning(o->err, "lockstep: ") == 1 &&
                  strstr(o->err, "cannot write line ") && strstr(o->err, "/log': No space left on device"),
              "%d ranks: status %d\n%s", ranks, o->status, o->err);
    const struct ls_outcome *lines =
        lockstep_after(1, "", "verify %s/log %s/log", disk.path, disk.path); /* only whole lines */
    cr_assert(lines->status == 0, "%s", lines->err);
    cr_assert(access(in_folder(&folder, "disk/model").path, F_OK) != 0);
}

BAD_TEST(a_disk_that_is_full)
{
    const struct place disk = in_folder(&folder, "disk");
    cr_assert_eq(mkdir(disk.path, 0755), 0);
    if (mount("none", disk.path, "tmpfs", 0, "size=12k") != 0) {
        rmdir(disk.path);
        skip("a small tmpfs cannot be mounted here: it takes root");
    }
    on_a_small_disk(1);
    if (LS_WITH_MPI)
        on_a_small_disk(RANKS);
    cr_assert_eq(umount2(disk.path, MNT_DETACH), 0);
    rmdir(disk.path);
}

/* --- models --- */

BAD_TEST(models_that_are_cut_or_corrupt)
{
    static const struct bad cases[] = {
        {EVAL("none"), FAILED, "cannot open '{}/none'"},
        {"eval {}", FAILED, "cannot read '{}': it is not a regular file"},
        {EVAL("m-empty"), FAILED, "'{}/m-empty' is too short|0 bytes"},
        {EVAL("m-tiny"), FAILED, "'{}/m-tiny' is too short|5 bytes"},
        {EVAL("m-header-cut"), FAILED, "'{}/m-header-cut' is cut short|92 are left"},
        {EVAL("m-cut"), FAILED, "'{}/m-cut': tensor '0.bias' has data_offsets [72,84]|<= 74"},
        {EVAL("m-bit"), FAILED, "'{}/m-bit' is corrupt: its parameters hash to "},
        {LOAD("m-cut") " --net 'dense 3'", FAILED, "'{}/m-cut': tensor '0.bias'"},
        {LOAD("m-bit") " --net 'dense 3'", FAILED, "'{}/m-bit' is corrupt"},
        {LOAD("m-bit"), FAILED, "'{}/m-bit' is corrupt"},
        {EVAL("img"), FAILED, "'{}/img'"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(models_that_are_hostile)
{
    static const struct bad cases[] = {
        {EVAL("m-length"), FAILED, "'{}/m-length' is not a safetensors file|9223372036854775807|100000000"},
        {EVAL("m-json"), FAILED, "'{}/m-json': the header is not valid JSON at its byte "},
        {EVAL("m-not"), FAILED, "'{}/m-not': the header of 12 bytes does not begin with '{'"},
        {EVAL("m-overlap"), FAILED,
         "'{}/m-overlap': tensor '0.bias' begins at byte 60|overlaps tensor '0.weight'"},
        {EVAL("m-range"), FAILED, "'{}/m-range': tensor '0.bias' has data_offsets [72,184]|<= 84"},
        {EVAL("m-negative"), FAILED, "'{}/m-negative': tensor '0.bias' has the negative number -12"},
        {EVAL("m-gap"), FAILED, "'{}/m-gap': bytes 72 to 76 of the data, before tensor '0.bias'"},
        {EVAL("m-overflow"), FAILED, "'{}/m-overflow': tensor '0.weight' has shape [4294967296,4294967296]"},
        {EVAL("m-file"), FAILED, "'{}/m-file': the net '@/etc/passwd' is no list of layers"},
        {EVAL("m-input"), FAILED, "'{}/m-input': the input_shape '2147483647x2147483647'"},
        {EVAL("m-memory"), FAILED, "'{}/m-memory'|needs a tensor '0.weight' of 1000000000000 numbers"},
    };
    CHECK_ALL(cases);
}

BAD_TEST(models_of_another_net)
{
    static const struct bad cases[] = {
        {EVAL("m-foreign"), FAILED,
         "'{}/m-foreign' is no lockstep model: its metadata has no 'contract_version'"},
        {EVAL("m-version"), FAILED, "'{}/m-version' follows contract version '7', this program version 1"},
        {EVAL("m-loss"), FAILED, "'{}/m-loss': unknown loss 'huger'"},
        {EVAL("m-smooth"), FAILED, "'{}/m-smooth': the label_smoothing '1.5' is no number from 0 to 0.999"},
        {EVAL("m-delta"), FAILED, "'{}/m-delta': the huber_delta '-1' is no number from 1e-30 to 1e+30"},
        {EVAL("m-weights"), FAILED, "'{}/m-weights': class_weights: 'nan' is no weight of class 1"},
        {EVAL("m-names"), FAILED,
         "'{}/m-names': what it says of input columns cannot be read: name 2 is no text"},
        {EVAL("m-no-names"), FAILED, "'{}/m-no-names'|names are no list of 1 to 1000000 texts"},
        {EVAL("m-means"), FAILED, "'{}/m-means'|input_means: number 2 is 'inf'; allowed are finite numbers"},
        {EVAL("m-more-means"), FAILED, "'{}/m-more-means'|input_names are 1, input_means 2"},
        {EVAL("m-few-weights"), USAGE, "there are 1 class weights, |classes: give one a class"},
        {EVAL("m-net"), FAILED,
         "'{}/m-net' holds a net that cannot be read|'conv' needs its output channels"},
        {EVAL("m-shape"), FAILED, "'{}/m-shape': tensor '0.weight' has shape [6,3]; [3,6] is needed"},
        {EVAL("m-dtype"), FAILED, "'{}/m-dtype': tensor '0.weight' has dtype 'F16'"},
        {EVAL("m-missing"), FAILED, "'{}/m-missing'|'0.bias'|none"},
        {EVAL("m-extra"), FAILED, "'{}/m-extra' is a model of another net: its tensor '9.bias'"},
        {EVAL("m-other"), USAGE, "the net takes 7 inputs a sample|has 6"},
        {"eval {}/model", USAGE, "the net takes 6 inputs a sample, 'digits' has 64"},
        {LOAD("model") " --net 'dense 3 nobias'", FAILED,
         "'{}/model' is a model of another net: its tensor '0.bias'"},
        {LOAD("model") " --net 'dense 4, relu, dense 3'", FAILED,
         "'{}/model': tensor '0.weight' has shape [3,6]; [4,6]"},
        {LOAD("m-other"), FAILED, "'{}/m-other': tensor '0.weight' has shape [3,7]; [3,6] is needed"},
        {EVAL("model") " --part test", USAGE, "--part test|has no test samples"},
    };
    CHECK_ALL(cases);
}

/* Commands of one rank: the same files, and the refusal of several ranks. */
BAD_TEST(commands_of_one_rank)
{
    static const struct bad alone[] = {
        {"predict {}/none", FAILED, "cannot open '{}/none'"},
        {"predict {}/m-bit --data idx:{}/img,{}/lab", FAILED, "'{}/m-bit' is corrupt"},
        {"predict {}/model", USAGE, "the net takes 6 inputs a sample, 'digits' has 64"},
        {"info {}/m-bit", FAILED, "'{}/m-bit' is corrupt"},
        {"info {}/m-overlap", FAILED, "overlaps"},
        {"info {}", FAILED, "not a regular file"},
        {"info ''", FAILED, "cannot open ''"},
        {"verify {}/model {}/m-cut", FAILED, "'{}/m-cut'"},
        {"verify {}/model {}/lab", FAILED, "{}/lab"},
        {"gradcheck --load {}/m-cut --net 'dense 3' --data idx:{}/img,{}/lab", FAILED, "'{}/m-cut'"},
        {"gradcheck --net 'dense 9'", USAGE, "'dense 9' has 9 outputs"},
        {"gradcheck --tolerance 2", USAGE, "--tolerance: '2'"},
    };
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++)
        check(&alone[i], 1);
    static const struct bad several[] = {
        {"predict {}/model", USAGE, "'lockstep predict' runs on one rank, found 3"},
        {"train --serial", USAGE, "--serial is one rank by definition, found 3 ranks"},
    };
    for (size_t i = 0; LS_WITH_MPI && i < sizeof several / sizeof several[0]; i++)
        check(&several[i], RANKS);
}

/* --- what only one rank sees --- */

#if LS_WITH_MPI

/* Four files that look like Fashion-MNIST, so that LOCKSTEP_DATA can name the folder. */
static void make_fashion(const struct folder *at, const char *images)
{
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    for (int i = 0; i < 4; i++) {
        size_t n;
        char *bytes = read_file(in_folder(&folder, i == 0 ? images : i == 2 ? "img" : "lab").path, &n);
        write_file(in_folder(at, names[i]).path, bytes, n);
        free(bytes);
    }
}

BAD_TEST(what_only_one_rank_cannot_read)
{
    const struct folder good = folder_create(), bad = folder_create(), other = folder_create();
    char host[256] = "", before[512], parts[512];
    gethostname(host, sizeof host - 1);
    make_fashion(&good, "img");
    make_fashion(&bad, "img-cut");
    size_t n;
    char *images = read_file(in_folder(&folder, "img").path, &n);
    images[n - 1] ^= 1;
    make("img-changed", images, n);
    free(images);
    make_fashion(&other, "img-changed");

    const char *const choose =
        "case $OMPI_COMM_WORLD_RANK in 1) LOCKSTEP_DATA=%s;; *) LOCKSTEP_DATA=%s;; esac; "
        "export LOCKSTEP_DATA;";
    struct bad one = {.words = "train --data fashion-mnist --batch 4 --save {}/kept --log {}/new",
                      .before = before,
                      .parts = parts};
    snprintf(before, sizeof before, choose, bad.path, good.path);
    snprintf(parts, sizeof parts,
             "%s/train-images-idx3-ubyte\" has 35 bytes, fewer than the 40|(rank 1 of 3, on %s)", bad.path,
             host);
    one.status = FAILED;
    check(&one, RANKS);

    snprintf(before, sizeof before, choose, other.path, good.path);
    snprintf(parts, sizeof parts,
             "the data read by each rank differ between ranks: rank 1 on %s has |2 of 3 ranks", host);
    one.status = REPLICA;
    check(&one, RANKS);
    folder_destroy(&good);
    folder_destroy(&bad);
    folder_destroy(&other);
}

/* A script that gives ranks different words. */
BAD_TEST(ranks_that_are_told_different_things)
{
    static const struct bad cases[] = {
        {"train --save {}/kept --lr $LR", USAGE, "--lr: 'x' is not allowed|(rank 1 of 3, on ",
         "LR=0.1; [ $OMPI_COMM_WORLD_RANK != 1 ] || LR=x;"},
        {"train --save {}/kept --lr $LR", REPLICA, "the options|differ between ranks: rank 2 on ",
         "LR=0.1; [ $OMPI_COMM_WORLD_RANK != 2 ] || LR=0.2;"},
        {"train --save {}/kept --batch $B", REPLICA, "the options|differ between ranks: rank 0 on ",
         "B=60; [ $OMPI_COMM_WORLD_RANK != 0 ] || B=61;"},
        {"train --log {}/new --net \"$NET\"", USAGE, "unknown layer 'dens'|(rank 1 of 3, on ",
         "NET='dense 10'; [ $OMPI_COMM_WORLD_RANK != 1 ] || NET='dens 10';"},
        {"train --save {}/kept", USAGE, "LOCKSTEP_ISA='mmx'|(rank 2 of 3, on ",
         "[ $OMPI_COMM_WORLD_RANK != 2 ] || export LOCKSTEP_ISA=mmx;"},
        {"eval {}/$MODEL --data idx:{}/img,{}/lab", FAILED, "cannot open '{}/none'|(rank 1 of 3, on ",
         "MODEL=model; [ $OMPI_COMM_WORLD_RANK != 1 ] || MODEL=none;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check(&cases[i], RANKS);
}

#endif
