/* Owns LIBSVM's sparse text (C.-C. Chang and C.-J. Lin; SVMlight's before it): a line a sample,
 *     LABEL INDEX:VALUE INDEX:VALUE ...   # comment
 * with rising indices from 1 on; what is not there is 0.  Two passes, as csv.c: the first counts samples, and
 * finds the labels and the largest index.  In memory samples are dense, so the width is bounded. */
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/formats.h"
#include "data/lines.h"
#include "data/readers.h"
#include "formats/quote.h"

/* Without features=: a stray index must not ask for gigabytes. */
enum { USUAL_MOST_FEATURES = 1 << 20, MOST_FEATURES = 1 << 28 };

struct libsvm {
    struct ls_lines lines;
    struct ls_labels labels;
    struct ls_line_marks marks;
    int values; /* what stands first is a number to predict */
    int ignore_qid;
    int64_t base;    /* the index of the first feature */
    int64_t stated;  /* features=; 0: not given */
    int64_t largest; /* index found, of the first pass */
    int64_t width;   /* known after the first pass */
    int counting;
};

/* A word of a line that ends with '\n', for messages and numbers. */
struct word {
    const char *at;
    size_t n;
};

static int next_word(const char **at, struct word *word)
{
    *at += strspn(*at, " \t\r");
    word->at = *at;
    word->n = strcspn(*at, " \t\r\n#");
    *at += word->n;
    return word->n > 0;
}

static enum ls_code word_error(const struct libsvm *svm, struct word word, const char *what,
                               struct ls_error *err)
{
    char text[100];
    snprintf(text, sizeof text, "%.*s", (int)(word.n < 80 ? word.n : 80), word.at);
    return ls_fail(err, LS_FAILED, "\"%s\":%lld: found '%s': %s", svm->lines.path, (long long)svm->lines.line,
                   ls_quote(text).text, what);
}

static enum ls_code add_label(struct libsvm *svm, struct word word, const char *label,
                              enum ls_label_kind kind, struct ls_error *err)
{
    char what[500], list[400];
    struct ls_error inner = {.code = LS_OK};
    if (svm->labels.closed) {
        snprintf(what, sizeof what, "an unknown class; known are %s",
                 ls_class_names_list(&svm->labels.names, list, sizeof list));
        return word_error(svm, word, what, err);
    }
    if (kind != LS_LABEL_WHOLE)
        return word_error(
            svm, word,
            kind == LS_LABEL_FRACTION
                ? "no label: a whole number is needed; target=value makes it a number to predict"
                : "a line begins with its label, one number",
            err);
    if (ls_labels_add(&svm->labels, label, &inner) == LS_OK)
        return LS_OK;
    snprintf(what, sizeof what, "%.120s; target=value makes them numbers to predict", inner.text);
    return word_error(svm, word, what, err);
}

static enum ls_code take_target(struct libsvm *svm, struct word word, int32_t *class, float *value,
                                struct ls_error *err)
{
    char label[LS_LABEL_TEXT];
    float number;
    if (memchr(word.at, ':', word.n))
        return word_error(svm, word, "a line begins with its label, and none stands here", err);
    if (svm->values) {
        if (ls_decimal_to_float(word.at, word.n, &number) != LS_DECIMAL_OK)
            return word_error(svm, word, "a finite number to predict is needed", err);
        if (value)
            *value = number;
        return LS_OK;
    }
    const enum ls_label_kind kind = ls_label_normalise(word.at, word.n, label);
    const int32_t found = kind == LS_LABEL_UNFIT ? -1 : ls_labels_find(&svm->labels, label);
    if (found < 0)
        return add_label(svm, word, label, kind, err);
    if (class)
        *class = found;
    return LS_OK;
}

static enum ls_code check_index(struct libsvm *svm, struct word word, int64_t index, int64_t last,
                                struct ls_error *err)
{
    char what[200];
    const int64_t most = svm->stated ? svm->stated + svm->base - 1 : USUAL_MOST_FEATURES;
    if (index < svm->base)
        snprintf(what, sizeof what, "indices begin at %lld%s", (long long)svm->base,
                 svm->base && index == 0 ? "; base=0 is for files that begin at 0" : "");
    else if (index <= last)
        snprintf(what, sizeof what, "indices must rise, and the one before is %lld", (long long)last);
    else if (index > most && svm->stated)
        snprintf(what, sizeof what, "features=%lld is less", (long long)svm->stated);
    else if (index > most)
        snprintf(what, sizeof what, "indices beyond %lld need features=N, as samples are dense in memory",
                 (long long)most);
    else
        return LS_OK;
    return word_error(svm, word, what, err);
}

/* INDEX:VALUE */
static enum ls_code take_feature(struct libsvm *svm, struct word word, int64_t *last, float *x,
                                 struct ls_error *err)
{
    const char *colon = memchr(word.at, ':', word.n);
    if (!colon)
        return word_error(svm, word, "INDEX:VALUE is needed", err);
    if (word.n > 4 && memcmp(word.at, "qid:", 4) == 0) {
        if (svm->ignore_qid)
            return LS_OK;
        return word_error(svm, word, "ranking by qid: is not learnt here; qid=ignore passes over it", err);
    }
    const size_t n_digits = (size_t)(colon - word.at);
    int64_t index = n_digits > 0 && n_digits <= 18 ? 0 : -1; /* so many always fit */
    for (size_t i = 0; i < n_digits && index >= 0; i++)
        index = word.at[i] >= '0' && word.at[i] <= '9' ? 10 * index + (word.at[i] - '0') : -1;
    if (index < 0)
        return word_error(svm, word, "the index is no whole number", err);
    const enum ls_code code = check_index(svm, word, index, *last, err);
    if (code != LS_OK)
        return code;
    float value;
    if (ls_decimal_to_float(colon + 1, word.n - n_digits - 1, &value) != LS_DECIMAL_OK)
        return word_error(svm, word, "the value is no finite number", err);
    *last = index;
    if (x && index - svm->base < svm->width)
        x[index - svm->base] = value;
    return LS_OK;
}

static enum ls_code take_line(struct libsvm *svm, const char *at, float *x, int32_t *class, float *value,
                              struct ls_error *err)
{
    struct word word;
    int64_t last = svm->base - 1;
    next_word(&at, &word);
    enum ls_code code = take_target(svm, word, class, value, err);
    if (x)
        memset(x, 0, (size_t)svm->width * sizeof *x);
    while (code == LS_OK && next_word(&at, &word))
        code = take_feature(svm, word, &last, x, err);
    if (code == LS_OK && svm->counting)
        svm->largest = last > svm->largest ? last : svm->largest;
    return code == LS_OK && !svm->counting && last - svm->base >= svm->width
               ? ls_fail(err, LS_FAILED, "\"%s\" was changed while it was read", svm->lines.path)
               : code;
}

/* The next line that holds a sample; *text is NULL when there is none. */
static enum ls_code next_sample(struct libsvm *svm, const char **text, int64_t *offset, struct ls_error *err)
{
    for (size_t n = 1; n > 0;) {
        *offset = svm->lines.offset;
        const enum ls_code code = ls_lines_next(&svm->lines, text, &n, err);
        if (code != LS_OK)
            return code;
        if (n > 0 && memchr(*text, '\0', n))
            return ls_fail(err, LS_FAILED, "\"%s\":%lld: a NUL byte; this is no text file", svm->lines.path,
                           (long long)svm->lines.line);
        if (n > 0 && !strchr("\n#", (*text)[strspn(*text, " \t\r")]))
            return LS_OK;
    }
    *text = NULL;
    return LS_OK;
}

static enum ls_code libsvm_read(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                                struct ls_error *err)
{
    struct libsvm *svm = stream->state;
    for (ptrdiff_t i = 0; i < n; i++) {
        const char *text;
        int64_t offset;
        enum ls_code code = next_sample(svm, &text, &offset, err);
        if (code == LS_OK && !text)
            code = ls_fail(err, LS_FAILED, "\"%s\" was changed while it was read: it ends after %lld samples",
                           svm->lines.path, (long long)(stream->next + i));
        if (code == LS_OK)
            code = take_line(svm, text, rows->numbers ? rows->numbers + i * svm->width : NULL,
                             rows->labels ? rows->labels + i : NULL, rows->values ? rows->values + i : NULL,
                             err);
        if (code != LS_OK)
            return code;
    }
    return LS_OK;
}

static enum ls_code libsvm_seek(struct ls_stream *stream, int64_t first, struct ls_error *err)
{
    struct libsvm *svm = stream->state;
    const struct ls_line_mark mark = ls_line_marks_find(&svm->marks, first);
    enum ls_code code = ls_lines_seek(&svm->lines, mark.offset, mark.line, err);
    for (int64_t sample = mark.sample; code == LS_OK && sample < first; sample++) {
        const char *text;
        int64_t offset;
        code = next_sample(svm, &text, &offset, err);
    }
    return code;
}

static void libsvm_close(struct ls_stream *stream)
{
    struct libsvm *svm = stream->state;
    ls_lines_release(&svm->lines);
    ls_labels_release(&svm->labels);
    ls_free(svm);
}

static enum ls_code count(struct libsvm *svm, struct ls_stream_facts *facts, struct ls_error *err)
{
    svm->counting = 1;
    for (const char *text = "";;) {
        int64_t offset;
        enum ls_code code = next_sample(svm, &text, &offset, err);
        if (code == LS_OK && !text)
            break;
        if (code == LS_OK)
            code = take_line(svm, text, NULL, NULL, NULL, err);
        if (code != LS_OK)
            return code;
        ls_line_marks_note(&svm->marks, facts->n_samples, offset, svm->lines.line - 1);
        facts->n_samples++;
    }
    svm->counting = 0;
    return facts->n_samples > 0 ? LS_OK : ls_fail(err, LS_FAILED, "\"%s\" has no samples", svm->lines.path);
}

static enum ls_code find_facts(struct ls_stream *stream, struct libsvm *svm,
                               const struct ls_stream_request *request, struct ls_error *err)
{
    struct ls_stream_facts *facts = &stream->facts;
    enum ls_code code = count(svm, facts, err);
    if (code != LS_OK)
        return code;
    const int64_t found = svm->largest - svm->base + 1;
    svm->width = svm->stated ? svm->stated : found > request->n_features ? found : request->n_features;
    if (svm->width < 1)
        return ls_fail(err, LS_FAILED, "\"%s\": no sample has a feature; features=N says how many there are",
                       svm->lines.path);
    facts->n_dims = 1;
    facts->dims[0] = facts->n_features = (ptrdiff_t)svm->width;
    facts->divisor = 1.0f;
    facts->n_values = svm->values;
    snprintf(facts->how, sizeof facts->how, "the largest index is %lld%s", (long long)svm->largest,
             svm->width > found ? "; samples are made wider" : "");
    if (!svm->values) {
        ls_labels_close(&svm->labels);
        facts->n_classes = svm->labels.names.n;
        code = ls_labels_names(&svm->labels, &facts->classes, err);
    }
    return code == LS_OK ? libsvm_seek(stream, 0, err) : code;
}

/* A setting that has one word, or none. */
static enum ls_code read_word(struct ls_source *source, const char *setting, const char *word, int *found,
                              struct ls_error *err)
{
    const char *value = ls_source_setting(source, setting);
    *found = value != NULL;
    if (value && strcmp(value, word) != 0)
        return ls_fail(err, LS_USAGE, "data \"%s\": %s=%.40s: allowed is %s", source->files[0], setting,
                       value, word);
    return LS_OK;
}

static enum ls_code read_number(struct ls_source *source, const char *setting, int64_t least, int64_t most,
                                int64_t usual, int64_t *number, struct ls_error *err)
{
    const char *value = ls_source_setting(source, setting);
    *number = usual;
    if (value && (!ls_text_to_int64(value, number) || *number < least || *number > most))
        return ls_fail(err, LS_USAGE, "data \"%s\": %s=%.40s: allowed are whole numbers from %lld to %lld",
                       source->files[0], setting, value, (long long)least, (long long)most);
    return LS_OK;
}

static enum ls_code read_settings(struct libsvm *svm, struct ls_source *source,
                                  const struct ls_stream_request *request, struct ls_error *err)
{
    static const char *const known[] = {"target", "classes", "features", "base", "qid", NULL};
    enum ls_code code = read_word(source, "target", "value", &svm->values, err);
    if (code == LS_OK)
        code = read_word(source, "qid", "ignore", &svm->ignore_qid, err);
    if (code == LS_OK)
        code = read_number(source, "features", 1, MOST_FEATURES, 0, &svm->stated, err);
    if (code == LS_OK)
        code = read_number(source, "base", 0, 1, 1, &svm->base, err);
    if (code == LS_OK)
        code = ls_labels_of_setting(&svm->labels, source, request, err);
    svm->largest = svm->base - 1;
    return code == LS_OK ? ls_source_check(source, known, 1, 1, err) : code;
}

static enum ls_code open_libsvm(struct ls_stream *stream, struct ls_source *source,
                                const struct ls_stream_request *request, struct ls_error *err)
{
    static const struct ls_stream_ops ops = {libsvm_read, libsvm_seek, libsvm_close};
    struct libsvm *svm = ls_alloc(1, sizeof *svm, "a LIBSVM file", err);
    if (!svm)
        return LS_FAILED;
    stream->state = svm;
    stream->ops = &ops;
    enum ls_code code = read_settings(svm, source, request, err);
    if (code == LS_OK)
        code = ls_lines_open(&svm->lines, source->files[0], err);
    return code == LS_OK ? find_facts(stream, svm, request, err) : code;
}

static const char *const endings[] = {".libsvm",   ".libsvm.gz",   ".svm", ".svm.gz",
                                      ".svmlight", ".svmlight.gz", NULL};

const struct ls_format ls_format_libsvm = {
    .name = "libsvm",
    .endings = endings,
    .usage = "libsvm:FILE[,target=value][,features=N][,classes=A|B|..][,base=0|1][,qid=ignore]",
    .open = open_libsvm};
