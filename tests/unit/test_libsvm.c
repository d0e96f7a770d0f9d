/* LIBSVM's sparse text: what a line means, and what is refused. */
#include "text_data.h"

static struct folder folder;

static void set_up(void)
{
    folder = folder_create();
}

static void tear_down(void)
{
    folder_destroy(&folder);
}

TestSuite(libsvm, .init = set_up, .fini = tear_down, .timeout = 120);

static struct place spec_of(const char *text, const char *settings)
{
    write_file(in_folder(&folder, "a.svm").path, text, strlen(text));
    return spec_of_file(&folder, "libsvm", "a.svm", settings);
}

struct readable {
    const char *text, *settings, *samples, *classes;
};

static const struct readable readable[] = {
    {"+1 1:0.5 3:2\n-1 2:1e-3\n", "", "0.5 0 2>1;0 0.001 0>0", "-1|1"},
    {"0 1:1\n1\n", "", "1>0;0>1", ""}, /* a sample of zeros */
    {"# a comment\n\n 2 1:1 # more\n  \n1 2:3\r\n", "", "1 0>1;0 3>0", "1|2"},
    {"1 1:1\t2:2   3:3 \n", "", "1 2 3>0", "1"},
    {"1.0 1:1\n1 1:2", "", "1>0;2>0", "1"},
    {"1 1:1\n", "features=3", "1 0 0>0", "1"},
    {"1 0:1 2:5\n", "base=0", "1 0 5>0", "1"},
    {"-0.25 1:1\n3e2 1:2\n", "target=value", "1>-0.25;2>300", ""},
    {"1 qid:7 1:1\n", "qid=ignore", "1>0", "1"},
    {"-1 1:1\n+1 1:2\n", "classes=1|-1", "1>1;2>0", "1|-1"},
};

CLEAN_TEST(libsvm, files_are_read_as_they_are_meant)
{
    for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++) {
        struct ls_stream stream;
        struct ls_error err = {.text = ""};
        char text[300];
        const struct place spec = spec_of(readable[i].text, readable[i].settings);
        cr_assert_eq(ls_stream_open(&stream, spec.path, NULL, &err), LS_OK, "%s: %s", readable[i].text,
                     err.text);
        describe(&stream, text, sizeof text);
        cr_expect_str_eq(text, readable[i].samples, "%s: found %s", readable[i].text, text);
        list_names(&stream.facts.classes, text, sizeof text);
        cr_expect_str_eq(text, readable[i].classes, "%s: classes %s", readable[i].text, text);
        ls_stream_close(&stream);
    }
}

struct refused {
    const char *text, *settings;
    enum ls_code code;
    const char *parts;
};

static const struct refused refused[] = {
    {"", "", LS_FAILED, "empty"},
    {"\n# nothing\n", "", LS_FAILED, "no samples"},
    {"1\n2\n", "", LS_FAILED, "no sample has a feature~features=N"},
    {"1 1:1\n1:2 2:3\n", "", LS_FAILED, "a.svm\":2: found '1:2'~label"},
    {"1 1:1\nx 1:3\n", "", LS_FAILED, "a.svm\":2: found 'x'~label"},
    {"1 1:1\n0.5 1:3\n", "", LS_FAILED, "a.svm\":2: found '0.5'~target=value"},
    {"1,2 1:3\n", "", LS_FAILED, "found '1,2'"},
    {"1 0:1\n", "", LS_FAILED, "found '0:1'~base=0"},
    {"1 2:1 2:3\n", "", LS_FAILED, "found '2:3'~must rise~is 2"},
    {"1 2:1 1:3\n", "", LS_FAILED, "found '1:3'~must rise"},
    {"1 -1:1\n", "", LS_FAILED, "found '-1:1'~whole number"},
    {"1 :1\n", "", LS_FAILED, "found ':1'~whole number"},
    {"1 99999999999999999999:1\n", "", LS_FAILED, "whole number"},
    {"1 2000000000:1\n", "", LS_FAILED, "found '2000000000:1'~features=N"},
    {"1 5:1\n", "features=4", LS_FAILED, "found '5:1'~features=4"},
    {"1 4:1\n", "features=4,base=0", LS_FAILED, "found '4:1'~features=4"},
    {"1 1:\n", "", LS_FAILED, "found '1:'~finite number"},
    {"1 1:x\n", "", LS_FAILED, "found '1:x'~finite number"},
    {"1 1:nan\n", "", LS_FAILED, "finite number"},
    {"1 1:1e39\n", "", LS_FAILED, "finite number"},
    {"1 1:2:3\n", "", LS_FAILED, "found '1:2:3'~finite number"},
    {"1 1\n", "", LS_FAILED, "found '1'~INDEX:VALUE"},
    {"1 qid:3 1:1\n", "", LS_FAILED, "qid=ignore"},
    {"inf 1:1\n", "target=value", LS_FAILED, "found 'inf'"},
    {"1 1:1\n", "features=0", LS_USAGE, "features=0"},
    {"1 1:1\n", "features=1e3", LS_USAGE, "features=1e3"},
    {"1 1:1\n", "base=2", LS_USAGE, "base=2"},
    {"1 1:1\n", "target=y", LS_USAGE, "target=y~value"},
    {"1 1:1\n", "label=1", LS_USAGE, "label="},
};

CLEAN_TEST(libsvm, what_is_wrong_is_said)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct place spec = spec_of(refused[i].text, refused[i].settings);
        expect_stream_refused(spec.path, NULL, refused[i].code, refused[i].parts);
    }
    write_file(in_folder(&folder, "a.svm").path, "1 1:1\n1\0 1:1\n", 13);
    expect_stream_refused(spec_of_file(&folder, "libsvm", "a.svm", "").path, NULL, LS_FAILED,
                          "a.svm\":2: a NUL byte");
}

CLEAN_TEST(libsvm, a_width_that_is_known_is_taken)
{
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    const struct ls_stream_request wide = {.n_features = 5};
    const struct place spec = spec_of("1 2:1\n", "");
    cr_assert_eq(ls_stream_open(&stream, spec.path, &wide, &err), LS_OK, "%s", err.text);
    cr_assert_eq(stream.facts.n_features, 5);
    ls_stream_close(&stream);
}

CLEAN_TEST(libsvm, reading_begins_at_any_sample)
{
    enum { ROWS = 7001 };
    char *text = calloc(ROWS, 64);
    size_t used = 0;
    for (int i = 0; i < ROWS; i++)
        used += (size_t)sprintf(text + used, "%s%d 1:%d %d:0.%d\n", i % 13 ? "" : "# x\n\n", i % 7 - 3, i,
                                2 + i % 5, i % 1000);
    write_file(in_folder(&folder, "a.svm").path, text, used);
    write_gzip(in_folder(&folder, "a.svm.gz").path, text, used);
    expect_seekable(spec_of_file(&folder, "libsvm", "a.svm", "").path, ROWS, 6);
    expect_seekable(spec_of_file(&folder, "libsvm", "a.svm.gz", "").path, ROWS, 6);
    free(text);
}
