/* Run logs: every line is valid JSON, floats come back as the same bits, a full disk leaves whole lines, and
 * a damaged log is refused by file and line. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "clean.h"
#include "files.h"
#include "formats/runlog.h"

static struct folder folder;

static void set_up(void)
{
    folder = folder_create();
}

static void tear_down(void)
{
    folder_destroy(&folder);
}

TestSuite(runlog, .init = set_up, .fini = tear_down, .timeout = 60);

static struct ls_runlog *must_open(const char *path)
{
    struct ls_runlog *log;
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_open(&log, path, &err), LS_OK, "%s", err.text);
    return log;
}

static void must_end(struct ls_runlog *log)
{
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_end(log, &err), LS_OK, "%s", err.text);
}

static void must_close(struct ls_runlog **log)
{
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_close(log, &err), LS_OK, "%s", err.text);
    cr_assert_null(*log);
}

static struct ls_runlog_line must_read(struct ls_runlog_reader *reader)
{
    struct ls_runlog_line line;
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_next(reader, &line, &err), LS_OK, "%s", err.text);
    return line;
}

static struct ls_runlog_reader *must_open_reader(const char *path)
{
    struct ls_runlog_reader *reader;
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_reader_open(&reader, path, &err), LS_OK, "%s", err.text);
    return reader;
}

static const char *const names[] = {"0.weight", "0.bias"};
static const struct ls_hash hashes[] = {{1, 2}, {UINT64_MAX, 0x0123456789abcdefu}};

CLEAN_TEST(runlog, lines_to_the_byte)
{
    const struct place place = in_folder(&folder, "log");
    struct ls_runlog *log = must_open(place.path);
    ls_runlog_begin(log, "start");
    ls_runlog_text(log, "net", "dense 2, \"relu\"\n\xc3\xa9");
    ls_runlog_integer(log, "seed", INT64_MIN);
    ls_runlog_texts(log, "layers", names, 2);
    ls_runlog_texts(log, "none", NULL, 0);
    must_end(log);
    ls_runlog_begin(log, "step");
    ls_runlog_integer(log, "step", 1);
    ls_runlog_float(log, "loss", 0.1f);
    ls_runlog_double(log, "rate", 0.1);
    ls_runlog_hash(log, "hash", hashes[1]);
    ls_runlog_hashes(log, "tensors", names, hashes, 2);
    must_end(log);
    must_close(&log);
    const char *expected =
        "{\"event\":\"start\",\"net\":\"dense 2, \\\"relu\\\"\\n\xc3\xa9\",\"seed\":-9223372036854775808,"
        "\"layers\":[\"0.weight\",\"0.bias\"],\"none\":[]}\n"
        "{\"event\":\"step\",\"step\":1,\"loss\":0.100000001,\"rate\":0.10000000000000001,"
        "\"hash\":\"ffffffffffffffff0123456789abcdef\","
        "\"tensors\":{\"0.weight\":\"00000000000000010000000000000002\","
        "\"0.bias\":\"ffffffffffffffff0123456789abcdef\"}}\n";
    size_t n;
    char *text = read_file(place.path, &n);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* Every exponent with awkward mantissas, both signs; and the special values. */
CLEAN_TEST(runlog, floats_come_back)
{
    const struct place place = in_folder(&folder, "log");
    const uint32_t mantissas[] = {0, 1, 2, 0x400000, 0x2aaaaa, 0x555555, 0x7fffff, 0x19999a};
    struct ls_runlog *log = must_open(place.path);
    for (uint32_t high = 0; high < 0x1fe; high++)
        for (int m = 0; m < 8; m++) {
            const uint32_t bits = (high / 2 | (high & 1) << 8) << 23 | mantissas[m];
            float value;
            memcpy(&value, &bits, 4);
            ls_runlog_begin(log, "x");
            ls_runlog_integer(log, "bits", bits);
            ls_runlog_float(log, "float", value);
            ls_runlog_double(log, "double", (double)value / 3);
            must_end(log);
        }
    must_close(&log);
    struct ls_runlog_reader *reader = must_open_reader(place.path);
    for (int i = 0; i < 0x1fe * 8; i++) {
        const struct ls_runlog_line line = must_read(reader);
        const uint32_t bits = (uint32_t)json_integer_value(json_object_get(line.fields, "bits"));
        const json_t *number = json_object_get(line.fields, "float");
        cr_assert(json_is_real(number));
        const float back = (float)json_real_value(number);
        cr_assert_eq(memcmp(&back, &bits, 4), 0, "bits %08x", bits);
        const double third = json_real_value(json_object_get(line.fields, "double"));
        cr_assert_eq(third, (double)back / 3);
    }
    cr_assert_null(must_read(reader).event);
    ls_runlog_reader_close(&reader);
}

CLEAN_TEST(runlog, what_json_has_no_number_for)
{
    const struct place place = in_folder(&folder, "log");
    struct ls_runlog *log = must_open(place.path);
    ls_runlog_begin(log, "x");
    ls_runlog_float(log, "a", NAN);
    ls_runlog_float(log, "b", INFINITY);
    ls_runlog_double(log, "c", -(double)INFINITY);
    ls_runlog_float(log, "d", -0.0f);
    must_end(log);
    must_close(&log);
    size_t n;
    char *text = read_file(place.path, &n);
    cr_assert_str_eq(text, "{\"event\":\"x\",\"a\":\"nan\",\"b\":\"inf\",\"c\":\"-inf\",\"d\":-0.0}\n");
    free(text);
}

CLEAN_TEST(runlog, each_line_is_there_when_it_ends)
{
    const struct place place = in_folder(&folder, "log");
    struct ls_runlog *log = must_open(place.path);
    for (size_t i = 1; i <= 3; i++) {
        size_t n;
        ls_runlog_begin(log, "x");
        free(read_file(place.path, &n));
        cr_assert_eq(n, 14 * (i - 1));
        must_end(log);
        free(read_file(place.path, &n));
        cr_assert_eq(n, 14 * i);
    }
    must_close(&log);
}

CLEAN_TEST(runlog, old_content_goes_with_the_first_line)
{
    const struct place place = in_folder(&folder, "log");
    write_file(place.path, "{\"event\":\"of an old and longer run\"}\n", 37);
    struct ls_runlog *log = must_open(place.path);
    ls_runlog_begin(log, "begun and never ended");
    must_close(&log);
    size_t n;
    free(read_file(place.path, &n));
    cr_assert_eq(n, 37);
    log = must_open(place.path);
    ls_runlog_begin(log, "x");
    must_end(log);
    must_close(&log);
    char *text = read_file(place.path, &n);
    cr_assert_str_eq(text, "{\"event\":\"x\"}\n");
    free(text);
}

CLEAN_TEST(runlog, no_log)
{
    struct ls_runlog *log = NULL;
    struct ls_error err = {0};
    ls_runlog_begin(log, "x");
    ls_runlog_text(log, "a", "b");
    ls_runlog_integer(log, "a", 1);
    ls_runlog_float(log, "a", 1);
    ls_runlog_double(log, "a", 1);
    ls_runlog_hash(log, "a", hashes[0]);
    ls_runlog_texts(log, "a", names, 2);
    ls_runlog_hashes(log, "a", names, hashes, 2);
    cr_assert_eq(ls_runlog_end(log, &err), LS_OK);
    cr_assert_eq(ls_runlog_close(&log, &err), LS_OK);
    cr_assert_eq(ls_runlog_close(NULL, &err), LS_OK);
}

static void expect_line_fails(struct ls_runlog *log, const char *words)
{
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_end(log, &err), LS_FAILED);
    cr_assert_eq(err.code, LS_FAILED);
    cr_assert_not_null(strstr(err.text, words), "'%s' does not say '%s'", err.text, words);
}

/* A line that cannot be written is not in the file, and nothing is after it. */
CLEAN_TEST(runlog, text_that_is_not_utf8)
{
    const struct place place = in_folder(&folder, "log");
    const char *const bad[] = {"good", "\xff"};
    for (int kind = 0; kind < 3; kind++) {
        struct ls_runlog *log = must_open(place.path);
        ls_runlog_begin(log, "x");
        must_end(log);
        ls_runlog_begin(log, "x");
        if (kind == 0)
            ls_runlog_text(log, "net", bad[1]);
        else if (kind == 1)
            ls_runlog_texts(log, "net", bad, 2);
        else
            ls_runlog_hashes(log, "net", bad, hashes, 2);
        ls_runlog_integer(log, "more", 1);
        expect_line_fails(log, "cannot write line 2 of the log");
        ls_runlog_begin(log, "x");
        expect_line_fails(log, "'net' is not UTF-8 text");
        must_close(&log);
        size_t n;
        free(read_file(place.path, &n));
        cr_assert_eq(n, 14);
    }
}

CLEAN_TEST(runlog, line_too_long)
{
    char *text = calloc(LS_RUNLOG_LINE_BYTES + 1, 1);
    memset(text, 'x', LS_RUNLOG_LINE_BYTES);
    struct ls_runlog *log = must_open(in_folder(&folder, "log").path);
    ls_runlog_begin(log, "x");
    ls_runlog_text(log, "t", text);
    expect_line_fails(log, "at most 1048576 are read back");
    must_close(&log);
    free(text);
}

static void expect_cannot_open(const char *path, const char *words)
{
    struct ls_runlog *log;
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_open(&log, path, &err), LS_FAILED);
    cr_assert_null(log);
    cr_assert(strstr(err.text, path) && strstr(err.text, words), "%s", err.text);
}

CLEAN_TEST(runlog, unwritable_paths)
{
    expect_cannot_open(in_folder(&folder, "missing/log").path, "No such file or directory");
    expect_cannot_open(folder.path, "Is a directory");
    write_file(in_folder(&folder, "plain").path, "", 0);
    expect_cannot_open(in_folder(&folder, "plain/log").path, "Not a directory");
}

CLEAN_TEST(runlog, full_device)
{
    struct ls_runlog *log = must_open("/dev/full");
    ls_runlog_begin(log, "x");
    expect_line_fails(log, "cannot write line 1 of the log '/dev/full': No space left on device");
    ls_runlog_begin(log, "x");
    expect_line_fails(log, "cannot write line 1 of the log '/dev/full': No space left on device");
    must_close(&log);
}

CLEAN_TEST(runlog, full_disk)
{
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 14; room < 28; room++) {
        const struct place place = in_folder(&folder, "log");
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){room, RLIM_INFINITY});
        struct ls_runlog *log = must_open(place.path);
        ls_runlog_begin(log, "x");
        must_end(log);
        ls_runlog_begin(log, "x");
        expect_line_fails(log, "cannot write line 2 of the log");
        must_close(&log);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
        size_t n;
        free(read_file(place.path, &n));
        cr_assert_eq(n, 14, "%zu bytes in room for %d", n, (int)room);
    }
}

/* Reads `text` until it fails; the message names the file and line. */
static void refuses(const char *text, size_t n_text, const char *line_number, const char *words)
{
    const struct place place = in_folder(&folder, "bad");
    write_file(place.path, text, n_text);
    struct ls_runlog_reader *reader = must_open_reader(place.path);
    struct ls_runlog_line line;
    struct ls_error err = {0};
    enum ls_code code;
    while ((code = ls_runlog_next(reader, &line, &err)) == LS_OK && line.event)
        continue;
    cr_expect_eq(code, LS_FAILED, "read; expected: %s", words);
    char where[600];
    snprintf(where, sizeof where, "'%s:%s'", place.path, line_number);
    cr_expect_not_null(strstr(err.text, where), "'%s' does not name %s", err.text, where);
    cr_expect_not_null(strstr(err.text, words), "'%s' does not say '%s'", err.text, words);
    ls_runlog_reader_close(&reader);
}

#define GOOD "{\"event\":\"x\"}\n"

CLEAN_TEST(runlog, damaged_logs)
{
    refuses(GOOD "\n", 15, "2", "not valid JSON");
    refuses(GOOD GOOD "{\"event\":\"x\",\n" GOOD, 56, "3", "not valid JSON at byte 13");
    refuses(GOOD "{\"event\":\"x\",\"lo", 30, "2", "which has no end: the file was cut");
    refuses(GOOD "[]\n", 17, "2", "an array; allowed is an object whose \"event\" is a string");
    refuses(GOOD "{}\n", 17, "2", "no event; allowed is an object");
    refuses("{\"event\":1}\n", 12, "1", "no event; allowed is an object");
    refuses("{\"event\":\"x\",\"event\":\"x\"}\n", 26, "1", "duplicate");
    refuses("{\"event\":\"\0\"}\n", 14, "1", "not valid JSON");
    refuses("{\"event\":\"\xff\"}\n", 14, "1", "not valid JSON");
    char *text = calloc(LS_RUNLOG_LINE_BYTES + 100, 1);
    memset(text, ' ', LS_RUNLOG_LINE_BYTES + 100);
    refuses(text, LS_RUNLOG_LINE_BYTES + 100, "1", "longer than the 1048576 bytes");
    memset(text, '[', LS_RUNLOG_LINE_BYTES);
    refuses(text, LS_RUNLOG_LINE_BYTES, "1", "not valid JSON");
    free(text);
}

CLEAN_TEST(runlog, files_that_are_no_logs)
{
    struct ls_runlog_reader *reader;
    struct ls_error err = {0};
    cr_assert_eq(ls_runlog_reader_open(&reader, folder.path, &err), LS_FAILED);
    cr_assert_null(reader);
    cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
    cr_assert_eq(ls_runlog_reader_open(&reader, in_folder(&folder, "missing").path, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "No such file"), "%s", err.text);
    const struct place pipe = in_folder(&folder, "pipe");
    cr_assert_eq(mkfifo(pipe.path, 0600), 0);
    cr_assert_eq(ls_runlog_reader_open(&reader, pipe.path, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "not a regular file"), "%s", err.text);
}

CLEAN_TEST(runlog, reading)
{
    const struct place place = in_folder(&folder, "log");
    write_file(place.path, "{\"event\":\"a\"}\n{\"x\":1,\"event\":\"b\"}\r\n{\"event\":\"c\"}", 48);
    struct ls_runlog_reader *reader = must_open_reader(place.path);
    cr_assert_str_eq(must_read(reader).event, "a");
    struct ls_runlog_line line = must_read(reader);
    cr_assert_str_eq(line.event, "b");
    cr_assert_eq(line.number, 2);
    cr_assert_eq(json_integer_value(json_object_get(line.fields, "x")), 1);
    cr_assert_str_eq(must_read(reader).event, "c");
    line = must_read(reader);
    cr_assert_null(line.event);
    cr_assert_eq(line.number, 3);
    cr_assert_null(must_read(reader).event);
    ls_runlog_reader_close(&reader);
    write_file(place.path, "", 0);
    reader = must_open_reader(place.path);
    cr_assert_null(must_read(reader).event);
    ls_runlog_reader_close(&reader);
}
