/* lockstep info FILE: describes data of any kind that --data takes, in memory that does not grow with it. */
#include "cli/info_data.h"
#include "cli/info_data_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/formats.h"
#include "data/readers.h"
#include "data/survey.h"
#include "formats/quote.h"
#include "layers/layer.h"

enum { LISTED_FEATURES = 32, LISTED_CLASSES = 24, ENDS_OF_CLASSES = 8 };

/* A safetensors file begins with the length of its header, then the header's JSON object. */
static int is_model(const char *path)
{
    unsigned char bytes[9] = {0};
    struct stat facts;
    if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode))
        return 0;
    FILE *file = fopen(path, "rb");
    const size_t n = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    return n == sizeof bytes && bytes[8] == '{' && bytes[7] == 0 && bytes[6] == 0;
}

int ls_info_is_data(const char *word)
{
    return !is_model(word) && ls_data_knows(word);
}

enum ls_code ls_info_check_file(const char *word, struct ls_error *err)
{
    struct stat facts;
    const size_t n = strlen(word), n_ending = strlen(".safetensors");
    const int called_model = n > n_ending && strcmp(word + n - n_ending, ".safetensors") == 0;
    if (stat(word, &facts) != 0 || !S_ISREG(facts.st_mode) || called_model || is_model(word))
        return LS_OK;
    if (!S_ISREG(facts.st_mode))
        return ls_fail(err, LS_FAILED,
                       "cannot describe '%s': it is not a regular file; of a folder of data say the format, "
                       "as cifar10:%s",
                       word, word);
    return ls_fail(
        err, LS_FAILED,
        "'%s' is no model (safetensors), and neither its name nor its first bytes say which data it "
        "is: put the format in front, as csv:%s; 'lockstep info formats' lists them",
        word, word);
}

enum ls_code ls_info_formats(struct ls_error *err)
{
    (void)err;
    printf("what --data takes; the ending or the first bytes of a file tell its format too:\n"
           "  digits                        the UCI digits, in this binary\n"
           "  fashion-mnist                 in $LOCKSTEP_DATA, or where Debian puts it\n"
           "  idx:IMAGES,LABELS             plain or gzip\n"
           "  synthetic:n=N,shape=AxB,classes=C,seed=S,test=N\n"
           "  inline:X..=Y..;X..=Y..\n");
    for (const struct ls_format *const *f = ls_formats; *f; f++) {
        char endings[100] = "";
        if ((*f)->endings)
            ls_text_join((*f)->endings, endings, sizeof endings);
        printf("  %s\n", (*f)->usage);
        if (*endings)
            printf("%32s%s\n", "", endings);
    }
    return LS_OK;
}

static const char *real(double x, char text[32])
{
    snprintf(text, 32, "%.6g", x);
    return text;
}

static void print_row(const char *name, ptrdiff_t number, const struct ls_survey_column *c)
{
    char least[32], largest[32], mean[32], deviation[32];
    printf("  %7td  %-20.20s", number, ls_quote(name).text);
    if (c->n > 0)
        printf(" %12s %12s %12s %12s", real(c->least, least), real(c->largest, largest), real(c->mean, mean),
               real(c->deviation, deviation));
    else
        printf(" %12s %12s %12s %12s", "-", "-", "-", "-");
    printf(" %10lld\n", (long long)c->n_missing);
}

static const char *name_of(const struct ls_class_names *names, ptrdiff_t k)
{
    return k < names->n ? names->name[k] : "";
}

static void print_head(const char *what)
{
    printf("\n  %7s  %-20s %12s %12s %12s %12s %10s\n", what, "name", "least", "largest", "mean", "deviation",
           "missing");
}

/* All features of a small sample; of a large one those that lack something. */
static void print_features(const struct ls_stream_facts *facts, const struct ls_survey *survey)
{
    const ptrdiff_t K = facts->n_features;
    ptrdiff_t n_constant = 0, n_lacking = 0;
    for (ptrdiff_t k = 0; k < K; k++) {
        const struct ls_survey_column *c = &survey->inputs[k];
        n_constant += c->n > 0 && c->least >= c->largest;
        n_lacking += c->n_missing > 0;
    }
    if (n_constant > 0 && facts->n_samples > 1)
        printf("constant    %td of %td features have one value in all samples\n", n_constant, K);
    if (K > LISTED_FEATURES && n_lacking == 0)
        return;
    print_head("feature");
    ptrdiff_t n_printed = 0;
    for (ptrdiff_t k = 0; k < K && n_printed < LISTED_FEATURES; k++)
        if (K <= LISTED_FEATURES || survey->inputs[k].n_missing > 0) {
            print_row(name_of(&facts->inputs.names, k), k + 1, &survey->inputs[k]);
            n_printed++;
        }
    if (K > LISTED_FEATURES && n_lacking > n_printed)
        printf("  ... and %td more features that lack values\n", n_lacking - n_printed);
}

/* Classes by count, the largest first; of equal ones the first. */
struct counted {
    int64_t n;
    int32_t class;
};

static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : (x->class > y->class) - (x->class < y->class);
}

static void print_class(const struct ls_stream_facts *facts, struct counted one)
{
    printf("  %7d  %-20.40s %12lld %10.2f %%\n", one.class, name_of(&facts->classes, one.class),
           (long long)one.n, 100.0 * (double)one.n / (double)facts->n_samples);
}

static enum ls_code print_classes(const struct ls_stream_facts *facts, const struct ls_survey *survey,
                                  struct ls_error *err)
{
    const int32_t C = facts->n_classes;
    struct counted *all = ls_alloc((size_t)C, sizeof *all, "classes", err);
    if (!all)
        return LS_FAILED;
    for (int32_t c = 0; c < C; c++)
        all[c] = (struct counted){survey->n_of_class[c], c};
    const int listed = C <= LISTED_CLASSES;
    printf("\n  %7s  %-20s %12s %12s\n", "class", "name", "samples", "share");
    for (int32_t c = 0; listed && c < C; c++)
        print_class(facts, all[c]);
    qsort(all, (size_t)C, sizeof *all, by_count);
    for (int32_t c = 0; !listed && c < C; c++) {
        if (c < ENDS_OF_CLASSES || c >= C - ENDS_OF_CLASSES)
            print_class(facts, all[c]);
        else if (c == ENDS_OF_CLASSES)
            printf("  ... %d more ...\n", C - 2 * ENDS_OF_CLASSES);
    }
    int32_t n_empty = 0;
    while (n_empty < C && all[C - 1 - n_empty].n == 0)
        n_empty++;
    if (n_empty > 0)
        printf("balance     %d of %d classes have no samples\n", n_empty, C);
    else
        printf("balance     the largest class has %.3g times the samples of the smallest\n",
               (double)all[0].n / (double)all[C - 1].n);
    ls_free(all);
    return LS_OK;
}

static void print_summary(const struct ls_stream_facts *facts, const struct ls_survey *survey)
{
    const struct ls_shape shape = ls_shape_of(facts->n_dims, facts->dims);
    const struct ls_survey_column *all = &survey->all;
    char text[100], a[32], b[32], c[32], d[32];
    printf("samples     %s\n", ls_text_grouped(facts->n_samples, a));
    printf("shape       %s, ", ls_shape_format(&shape, text, sizeof text));
    if (facts->is_bytes)
        printf("bytes / %g\n", (double)facts->divisor);
    else
        printf("binary32 numbers\n");
    if (facts->n_classes > 0)
        printf("labels      %d class%s\n", facts->n_classes, facts->n_classes == 1 ? "" : "es");
    if (facts->n_values > 0)
        printf("targets     %td number%s a sample\n", facts->n_values, facts->n_values == 1 ? "" : "s");
    if (facts->n_classes == 0 && facts->n_values == 0)
        printf("labels      none\n");
    if (all->n > 0)
        printf("inputs      from %s to %s, mean %s, deviation %s\n", real(all->least, a),
               real(all->largest, b), real(all->mean, c), real(all->deviation, d));
    printf("missing     %s of %s input values\n", ls_text_grouped(all->n_missing, a),
           ls_text_grouped(all->n_missing + all->n, b));
}

/* Where a description goes: a JSON object, or standard output. */
struct report {
    int as_json;
    json_t *json; /* NULL also when memory is out */
};

static enum ls_code begin(struct report *report, const char *spec, const char *format, size_t n_format,
                          struct ls_error *err)
{
    if (!report->as_json) {
        printf("data        %s\nformat      %.*s\n", spec, (int)n_format, format);
        return LS_OK;
    }
    report->json = json_object();
    const enum ls_code code = ls_json_put_name(&report->json, "data", spec, "the data's name", err);
    ls_json_put(&report->json, "format", json_stringn(format, n_format));
    return code;
}

static enum ls_code print_part(const struct ls_stream_facts *facts, const struct ls_survey *survey,
                               const char *part, struct ls_error *err)
{
    if (part)
        printf("\n%s data\n", part);
    if (*facts->how)
        printf("read as     %s\n", facts->how);
    print_summary(facts, survey);
    print_features(facts, survey);
    if (facts->n_values > 0)
        print_head("target");
    for (ptrdiff_t v = 0; v < facts->n_values; v++)
        print_row("", v + 1, &survey->values[v]);
    return facts->n_classes > 0 ? print_classes(facts, survey, err) : LS_OK;
}

/* `part` is "training" or "test"; text names it only where there are both. */
static enum ls_code describe(struct report *report, struct ls_stream *stream, const char *part, int of_two,
                             struct ls_error *err)
{
    struct ls_survey survey;
    enum ls_code code = ls_survey_stream(&survey, stream, err);
    if (code == LS_OK)
        code = report->as_json ? ls_info_data_json(&report->json, part, &stream->facts, &survey, err)
                               : print_part(&stream->facts, &survey, of_two ? part : NULL, err);
    ls_survey_release(&survey);
    return code;
}

static enum ls_code describe_file(struct report *report, const char *spec, struct ls_error *err)
{
    struct ls_stream stream;
    struct ls_stream_request request = {.keep_missing = 1};
    enum ls_code code = ls_stream_open(&stream, spec, &request, err);
    const int has_test = code == LS_OK && stream.facts.has_test;
    if (code == LS_OK)
        code = begin(report, spec, stream.format, strlen(stream.format), err);
    if (code == LS_OK)
        code = describe(report, &stream, "training", has_test, err);
    ls_stream_close(&stream);
    if (code != LS_OK || !has_test)
        return code;
    request.test_part = 1;
    code = ls_stream_open(&stream, spec, &request, err);
    if (code == LS_OK)
        code = describe(report, &stream, "test", 1, err);
    ls_stream_close(&stream);
    return code;
}

static enum ls_code describe_dataset(struct report *report, const char *spec, struct ls_error *err)
{
    struct ls_data data;
    enum ls_code code = ls_data_open(&data, spec, NULL, err);
    if (code == LS_OK) /* figures of a damaged file would mislead */
        code = ls_data_check(&data, LS_CHECK_ON, 0, 1, err);
    if (code == LS_OK)
        code = begin(report, spec, data.train.file ? "lsd" : spec, data.train.file ? 3 : strcspn(spec, ":"),
                     err);
    const struct ls_dataset *const parts[] = {&data.train, &data.test};
    const char *const names[] = {"training", "test"};
    for (int i = 0; i < 2 && code == LS_OK; i++) {
        struct ls_stream stream;
        if (parts[i]->n_samples == 0)
            continue;
        code = ls_stream_of_dataset(&stream, parts[i], NULL, err);
        if (code == LS_OK)
            code = describe(report, &stream, names[i], data.test.n_samples > 0, err);
        ls_stream_close(&stream);
    }
    if (code == LS_OK)
        code = ls_dataset_failed(&data.train, err);
    ls_data_release(&data);
    return code;
}

enum ls_code ls_info_data(const char *spec, const char *json, struct ls_error *err)
{
    struct report report = {.as_json = json != NULL};
    const enum ls_code code =
        ls_data_streams(spec) ? describe_file(&report, spec, err) : describe_dataset(&report, spec, err);
    if (code == LS_OK && json)
        return ls_json_write(report.json, json, "a description of data", err);
    json_decref(report.json);
    return code;
}
