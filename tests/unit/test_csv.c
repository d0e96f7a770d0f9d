/* Delimited text: what a file means, and what is refused with a message that says where, what and what else.
 * Numbers that are read are those of strtof, at whatever sample reading begins. */
#include <stdint.h>

#include "base/decimal.h"
#include "base/philox.h"
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

TestSuite(csv, .init = set_up, .fini = tear_down, .timeout = 120);

/* "csv:FOLDER/a.csv" and settings, of a file with these bytes. */
static struct place spec_of(const char *bytes, size_t n, const char *settings)
{
    write_file(in_folder(&folder, "a.csv").path, bytes, n);
    return spec_of_file(&folder, "csv", "a.csv", settings);
}

struct readable {
    const char *text, *settings, *samples, *classes, *inputs;
};

static const struct readable readable[] = {
    {"a,b,kind\n1,2,x\n3,4,y\n", "", "1 2>0;3 4>1", "x|y", "a|b"},
    {"1,2,x\n3,4,y", "", "1 2>0;3 4>1", "x|y", ""}, /* no last line end */
    {"\xEF\xBB\xBF"
     "a,b\r\n1,y\r\n2,x\r\n",
     "", "1>1;2>0", "x|y", "a"},                             /* byte order mark, CRLF */
    {"\n\n1,7\n \n\n2,5\r\n\r\n", "", "1>1;2>0", "5|7", ""}, /* empty lines */
    {" 1 , 2 ,\t x\n", "", "1 2>0", "x", ""},                /* blanks */
    {"\"a, b\",\"q \"\"z\"\"\",c\n1,\"2\",\" x\ny \"\n", "ignore=c,label=none", "1 2", "", "a, b|q \"z\""},
    {"1,0\n2,1\n3,2\n", "", "1>0;2>1;3>2", "", ""},          /* numbers need no names */
    {"1,10\n2,9\n3,-1\n", "", "1>2;2>1;3>0", "-1|9|10", ""}, /* in the order of numbers */
    {"1,10\n2,9\n3,b\n", "", "1>0;2>1;3>2", "10|9|b", ""},   /* of bytes */
    {"1,+1\n2,01\n3,1.0\n4,1e0\n5,2\n", "", "1>0;2>0;3>0;4>0;5>1", "1|2",
     ""}, /* one number, many spellings */
    {"1,a\n2,b\n", "classes=b|a|c", "1>1;2>0", "b|a|c", ""},
    {"1,0.5\n2,1.5\n", "classes=1.5|0.5", "1>1;2>0", "1.5|0.5", ""},
    {"label,x,y\n3,1,2\n1,4,5\n", "", "1 2>1;4 5>0", "1|3", "x|y"}, /* by its name */
    {"x,Class,y\n1,b,2\n", "", "1 2>0", "b", "x|y"},
    {"label,x\n1,2\n", "label=-1", "1>0", "2", "label"},
    {"x,y,z\n1,2,3\n", "label=2", "1 3>0", "2", "x|z"},
    {"2,1\n5,6\n", "header=yes,label=2", "6>0", "5", "1"}, /* a name goes before a number */
    {"x,y,z\n1,2,3\n4,5,6\n", "target=z", "1 2>3;4 5>6", "", "x|y"},
    {"x,y,z\n1,2,3\n4,5,6\n", "target=z+x", "2>3 1;5>6 4", "", "y"},
    {"x,y,z\n1,2,3\n", "label=none", "1 2 3", "", "x|y|z"},
    {"id,x,y\nfoo,2,3\n", "ignore=id", "2>0", "3", "x"},
    {"x,y\n1,a\n,a\n4,a\n?,b\nNA,b\nnull,b\nNaN,b\nN/A,b\nNone,b\n", "missing=-2",
     "1>0;-2>0;4>0;-2>1;-2>1;-2>1;-2>1;-2>1;-2>1", "a|b", "x"},
    {"x,y\n1,a\n,a\n4,a\n", "missing=mean", "1>0;2.5>0;4>0", "a", "x"},
    {"1;2,5;x\n", "delimiter=semicolon,ignore=2", "1>0", "x", ""},
    {"1|2|x\n", "delimiter=|", "1 2>0", "x", ""},
    {"1\t2\tx\n", "delimiter=tab", "1 2>0", "x", ""},
    {"1 2 x\n", "delimiter=space", "1 2>0", "x", ""},
    {"1 a\n \n\n2 a\n", "delimiter=space,label=none,ignore=2,missing=0", "1;0;2", "",
     ""}, /* a row of two empty fields */
    {"1,2,3,4,5,6,k\n", "shape=2x3", "1 2 3 4 5 6>0", "k", ""},
    {",x,y\n0,2,3\n", "ignore=1", "2>0", "3", "x"}, /* a table with row numbers */
    {"x,y\n1e38,a\n-.5e-3,a\n5.,a\n-0,a\n1e-60,a\n", "", "1e+38>0;-0.0005>0;5>0;-0>0;0>0", "a", "x"},
};

CLEAN_TEST(csv, files_are_read_as_they_are_meant)
{
    for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++) {
        const struct readable *one = &readable[i];
        struct ls_stream stream;
        struct ls_error err = {.text = ""};
        char text[1000];
        const struct place spec = spec_of(one->text, strlen(one->text), one->settings);
        cr_assert_eq(ls_stream_open(&stream, spec.path, NULL, &err), LS_OK, "%s: %s", one->text, err.text);
        describe(&stream, text, sizeof text);
        cr_expect_str_eq(text, one->samples, "%s: found %s, expected %s", one->text, text, one->samples);
        list_names(&stream.facts.classes, text, sizeof text);
        cr_expect_str_eq(text, one->classes, "%s: classes %s, expected %s", one->text, text, one->classes);
        list_names(&stream.facts.inputs.names, text, sizeof text);
        cr_expect_str_eq(text, one->inputs, "%s: inputs %s, expected %s", one->text, text, one->inputs);
        ls_stream_close(&stream);
    }
}

struct refused {
    const char *text, *settings;
    enum ls_code code;
    const char *parts; /* of the message, separated by ~ */
};

static const struct refused refused[] = {
    {"x,y\n1,a\n2\n", "", LS_FAILED, "a.csv\":3: the row has 1 field~first row has 2"},
    {"x,y\n1,a\n2,b,c\n", "", LS_FAILED, "a.csv\":3: the row has 3 fields"},
    {"x,y\n1,a\nq,r,c\n", "", LS_FAILED, "a.csv\":3: the row has 3 fields"},
    {"x,y\n1,a\noops,b\n", "", LS_FAILED, "a.csv\":3: column 1 'x': found 'oops'~number is needed"},
    {"1,a\noops,b\n", "", LS_FAILED, "a.csv\":2: column 1: found 'oops'"},
    {"x,y\n1,a\n\"2\n3\",b\n", "", LS_FAILED, "a.csv\":4: column 1 'x': found '2?3'"},
    {"x,y\n1,a\n0x10,b\n", "", LS_FAILED, "0x10~number is needed"},
    {"x,y\n1,a\n1e39,b\n", "", LS_FAILED, "1e39~finite"},
    {"x,y\n1,a\ninf,b\n", "", LS_FAILED, "inf~number is needed"},
    {"x,y\n1,a\n1 2,b\n", "", LS_FAILED, "1 2~number is needed"},
    {"x,y\n1,a\n,b\n", "", LS_FAILED, "a.csv\":3: column 1 'x': found ''~missing=mean~ignore="},
    {"x,y\n,a\n,b\n", "missing=mean", LS_FAILED, "column 1 'x' has no value at all"},
    {"x,y\n1,a\n1,\n", "", LS_FAILED, "a.csv\":3: column 2 'y'~the label is missing"},
    {"x,y\n1,a\n1,?\n", "missing=0", LS_FAILED, "the label is missing"},
    {"x,y\n1,2\n1,\n", "target=y,missing=0", LS_FAILED, "number to predict is missing"},
    {"x,y\n1,2.5\n", "", LS_FAILED, "a.csv\":2: column 2 'y': found '2.5'~target="},
    {"x,y\n1,a\n1,c\n", "classes=a|b", LS_FAILED, "a.csv\":3: column 2 'y': found 'c'~known are a, b"},
    {"x,y\n", "", LS_FAILED, "no samples"},
    {"\n\n", "", LS_FAILED, "has no rows"},
    {"", "", LS_FAILED, "empty"},
    {"x,y\n1,\"a\n", "", LS_FAILED, "a.csv\":2: column 2: a quote that is never closed"},
    {"x,y\n1,\"a\"b\n", "", LS_FAILED, "a.csv\":2: column 2: a stray \""},
    {"x,y\n1,a\"b\n", "", LS_FAILED, "a.csv\":2: column 2: a stray \""},
    {"y\na\n", "", LS_FAILED, "no column is left for inputs"},
    {"\xFF\xFEx\0,\0", "", LS_FAILED, "UTF-16"},
    {"a,b\r1,y\r2,x\r", "", LS_FAILED, "a.csv\":1: ~CR alone"},
    {"1,y\n2,x\r3,y\n", "", LS_FAILED, "a.csv\":2: ~CR alone"},
    {"x,y\n1,a\n", "label=z", LS_USAGE, "label=z~x, y"},
    {"x,y\n1,a\n", "label=3", LS_USAGE, "label=3~2 columns"},
    {"x,y\n1,a\n", "label=0", LS_USAGE, "label=0"},
    {"x,x\n1,a\n", "label=x", LS_USAGE, "columns 1 and 2 both"},
    {"x,y\n1,2\n", "label=x,target=y", LS_USAGE, "exclude each other"},
    {"x,y\n1,2\n", "target=y+y", LS_USAGE, "a target already"},
    {"x,y\n1,2\n", "label=y,ignore=y", LS_USAGE, "ignored already"},
    {"x,y\n1,2\n", "header=maybe", LS_USAGE, "header=maybe~yes, no and auto"},
    {"x,y\n1,2\n", "missing=median", LS_USAGE, "missing=median~mean"},
    {"x,y\n1,2\n", "missing=nan", LS_USAGE, "missing=nan"},
    {"x,y\n1,2\n", "delimiter=ab", LS_USAGE, "delimiter=ab"},
    {"x,y\n1,2\n", "delimiter=.", LS_USAGE, "delimiter=."},
    {"x,y\n1,2\n", "shape=2x2", LS_USAGE, "shape=2x2 takes 4~1 column"},
    {"x,y\n1,2\n", "shape=2xx", LS_USAGE, "shape=2xx"},
    {"x,y\n1,caf\xE9\n", "", LS_FAILED, "a.csv\": class 0 is called 'caf~not UTF-8~iconv"},
    {"x,y\n1,2\n", "classes=a|a", LS_USAGE, "'a' is given twice"},
    {"x,y\n1,2\n", "classes=a|", LS_USAGE, "no class name"},
    {"x,y\n1,2\n", "clases=a|b", LS_USAGE, "clases"},
};

CLEAN_TEST(csv, what_is_wrong_is_said)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const size_t n = refused[i].text[0] == '\xFF' ? 6 : strlen(refused[i].text);
        const struct place spec = spec_of(refused[i].text, n, refused[i].settings);
        expect_stream_refused(spec.path, NULL, refused[i].code, refused[i].parts);
    }
}

/* ---- numbers ---- */

/* Decimals of every length and exponent, ties and their neighbours: the bits of strtof. */
CLEAN_TEST(csv, numbers_are_rounded_once)
{
    char text[80];
    for (uint64_t i = 0; i < 400000; i++) {
        const struct ls_bits128 bits = ls_random(1, LS_PURPOSE_SYNTHETIC, 0, i);
        const uint64_t digits = (uint64_t)bits.word[0] << 32 | bits.word[1];
        const int shift = (int)(bits.word[2] % 64);
        if (i % 4 == 0) { /* halfway between two binary32 values, and one digit beside it */
            const double tie = (double)(((uint64_t)1 << 24) + (digits >> 40)) + 0.5;
            snprintf(text, sizeof text, i % 8 ? "%.1f" : "%.1f00000001", tie);
        } else if (i % 4 == 1) {
            snprintf(text, sizeof text, "%llue%d", (unsigned long long)(digits >> shift),
                     (int)(bits.word[3] % 64) - 40);
        } else {
            snprintf(text, sizeof text, "%s%llu.%0*llu", i % 8 == 2 ? "-" : "",
                     (unsigned long long)(digits >> (shift | 32)), 1 + (int)(bits.word[3] % 20),
                     (unsigned long long)(digits >> shift) % 100000);
        }
        float found = NAN;
        const float expected = strtof(text, NULL);
        cr_assert_eq(ls_decimal_to_float(text, strlen(text), &found),
                     isfinite(expected) ? LS_DECIMAL_OK : LS_DECIMAL_HUGE, "%s", text);
        cr_assert(memcmp(&found, &expected, sizeof found) == 0, "%s: %a, strtof says %a", text, (double)found,
                  (double)expected);
    }
}

CLEAN_TEST(csv, what_is_no_number)
{
    static const char *const none[] = {"",    "-",  "+",   ".",     "e5",  "1e",   "1e+",
                                       "--1", "1-", "0x1", "inf",   "nan", "1..2", "1.2.3",
                                       "1,5", " 1", "1 ",  "1e5.0", "one", "1f"};
    float number;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        cr_expect_eq(ls_decimal_to_float(none[i], strlen(none[i]), &number), LS_DECIMAL_NONE, "'%s'",
                     none[i]);
}

/* ---- long files ---- */

/* More rows than the table of line offsets has entries, some with line ends in quotes. */
static size_t write_rows(char *text, int n)
{
    size_t used = (size_t)sprintf(text, "id,x,y,label\n");
    for (int i = 0; i < n; i++)
        used +=
            (size_t)sprintf(text + used, i % 11 ? "r%d,%d.5,%de-3,c%d\n" : "\"r\n%d\",%d.5,%de-3,c%d\r\n\n",
                            i, i, i * 7 % 1000, i % 5);
    return used;
}

CLEAN_TEST(csv, reading_begins_at_any_sample)
{
    enum { ROWS = 9001 };
    char *text = calloc(ROWS, 64);
    const size_t n = write_rows(text, ROWS);
    write_file(in_folder(&folder, "a.csv").path, text, n);
    write_gzip(in_folder(&folder, "a.csv.gz").path, text, n);
    expect_seekable(spec_of_file(&folder, "csv", "a.csv", "ignore=id").path, ROWS, 2);
    expect_seekable(spec_of_file(&folder, "csv", "a.csv.gz", "ignore=id").path, ROWS, 2);
    free(text);
}

CLEAN_TEST(csv, damaged_gzip_is_refused)
{
    enum { ROWS = 3000 };
    char *text = calloc(ROWS, 64);
    const size_t n = write_rows(text, ROWS);
    const struct place path = in_folder(&folder, "a.csv.gz");
    const struct place spec = spec_of_file(&folder, "csv", "a.csv.gz", "ignore=id");
    write_gzip(path.path, text, n);
    size_t packed;
    char *bytes = read_file(path.path, &packed);
    for (size_t cut = 3; cut < packed; cut += packed / 7) {
        write_file(path.path, bytes, cut);
        struct ls_stream stream;
        struct ls_error err = {.text = ""};
        cr_expect_eq(ls_stream_open(&stream, spec.path, NULL, &err), LS_FAILED, "cut at %zu", cut);
        ls_stream_close(&stream);
    }
    write_file(path.path, bytes, packed - 5);
    expect_stream_refused(spec.path, NULL, LS_FAILED, "cut short");
    bytes[packed - 6] ^= 1; /* the checksum */
    write_file(path.path, bytes, packed);
    expect_stream_refused(spec.path, NULL, LS_FAILED, "damaged");
    free(bytes);
    free(text);
}

/* Nothing grows with what stands between two quotes, or with how many labels there are. */
CLEAN_TEST(csv, fields_and_labels_are_bounded)
{
    enum { LONG = 3 << 20, LABELS = 65537 };
    char *text = malloc(LONG);
    memset(text, 'x', LONG);
    memcpy(text, "a,b\n1,\"", 7);
    write_file(in_folder(&folder, "a.csv").path, text, LONG);
    expect_stream_refused(spec_of_file(&folder, "csv", "a.csv", "").path, NULL, LS_FAILED,
                          "a.csv\":2: column 2~longer than 1048576 bytes");
    size_t used = 0;
    for (int i = 0; i < LABELS; i++)
        used += (size_t)sprintf(text + used, "1,%d\n", i);
    write_file(in_folder(&folder, "a.csv").path, text, used);
    expect_stream_refused(spec_of_file(&folder, "csv", "a.csv", "").path, NULL, LS_FAILED,
                          "a.csv\":65537: column 2~more than 65536 different labels~target=");
    memset(text, 'y', 300);
    memcpy(text, "1,", 2);
    write_file(in_folder(&folder, "a.csv").path, text, 300);
    expect_stream_refused(spec_of_file(&folder, "csv", "a.csv", "").path, NULL, LS_FAILED, "127 bytes");
    write_file(in_folder(&folder, "a.csv").path, "1,a\n2\0,b\n", 9);
    expect_stream_refused(spec_of_file(&folder, "csv", "a.csv", "").path, NULL, LS_FAILED,
                          "a.csv\":2: ~NUL byte");
    free(text);
}

/* A file that shrinks between the passes is an error, not memory beyond it. */
CLEAN_TEST(csv, a_file_that_changes_is_refused)
{
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    float x[8];
    int32_t y[8];
    const struct ls_stream_rows rows = {.numbers = x, .labels = y};
    const struct place spec = spec_of_file(&folder, "csv", "a.csv", "");
    write_file(in_folder(&folder, "a.csv").path, "1,a\n2,b\n3,c\n", 12);
    cr_assert_eq(ls_stream_open(&stream, spec.path, NULL, &err), LS_OK, "%s", err.text);
    cr_assert_eq(ls_stream_read(&stream, 1, &rows, &err), LS_OK);
    write_file(in_folder(&folder, "a.csv").path, "1,a\n", 4);
    cr_assert_eq(ls_stream_seek(&stream, 0, &err), LS_FAILED);
    cr_assert_not_null(strstr(err.text, "changed"), "%s", err.text);
    ls_stream_close(&stream);
}

/* ---- missing values, and labels that are known beforehand ---- */

CLEAN_TEST(csv, missing_values_can_be_kept)
{
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    char text[100];
    const struct ls_stream_request request = {.keep_missing = 1};
    const struct place spec = spec_of("x,z,y\n1,2,a\n,3,a\nNA,?,a\n", 24, "");
    cr_assert_eq(ls_stream_open(&stream, spec.path, &request, &err), LS_OK, "%s", err.text);
    cr_assert_eq(stream.facts.n_missing, 3);
    describe(&stream, text, sizeof text);
    cr_assert_str_eq(text, "1 2>0;nan 3>0;nan nan>0");
    ls_stream_close(&stream);
}

CLEAN_TEST(csv, classes_that_are_known_are_used)
{
    char *names[] = {"b", "a"};
    const struct ls_class_names known = {.n = 2, .name = names};
    const struct ls_stream_request named = {.classes = &known}, numbered = {.n_numbered = 3};
    struct ls_stream stream;
    struct ls_error err = {.text = ""};
    char text[100];
    struct place spec = spec_of("1,a\n2,b\n", 8, "");
    cr_assert_eq(ls_stream_open(&stream, spec.path, &named, &err), LS_OK, "%s", err.text);
    describe(&stream, text, sizeof text);
    cr_assert_str_eq(text, "1>1;2>0");
    ls_stream_close(&stream);
    expect_stream_refused(spec.path, &numbered, LS_FAILED, "a.csv\":1: ~found 'a'~known are 0, 1, 2");
    spec = spec_of("1,a\n2,b\n", 8, "classes=a|b");
    expect_stream_refused(spec.path, &named, LS_USAGE, "classes=a|b~have the classes b, a");
    spec = spec_of("1,2\n2,2\n", 8, "");
    cr_assert_eq(ls_stream_open(&stream, spec.path, &numbered, &err), LS_OK, "%s", err.text);
    cr_assert_eq(stream.facts.n_classes, 3);
    describe(&stream, text, sizeof text);
    cr_assert_str_eq(text, "1>2;2>2");
    ls_stream_close(&stream);
}
