/* Owns the words of --data: which reader a specification means, and that training and test data fit each
 * other. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/formats.h"
#include "data/lsd_file.h"
#include "data/readers.h"
#include "data/stream.h"

static const char *const known_names[] = {"digits", "fashion-mnist", "idx", "synthetic", "inline", NULL};

/* What stands behind "name:" in spec; "" for the bare name; NULL when it names something else. */
static const char *after_name(const char *spec, const char *name)
{
    const size_t n = strlen(name);
    if (strncmp(spec, name, n) != 0 || (spec[n] != ':' && spec[n] != '\0'))
        return NULL;
    return spec[n] == ':' ? spec + n + 1 : spec + n;
}

static enum ls_code unknown_name(const char *spec, struct ls_error *err)
{
    enum { N_NAMES = sizeof known_names / sizeof known_names[0] - 1, MOST_FORMATS = 32 };
    const char *names[N_NAMES + MOST_FORMATS + 1] = {NULL};
    char name[64] = "";
    const size_t n = strcspn(spec, ":");
    memcpy(names, known_names, N_NAMES * sizeof *names);
    for (int i = 0; ls_formats[i] && i < MOST_FORMATS; i++)
        names[N_NAMES + i] = ls_formats[i]->name;
    memcpy(name, spec, n < sizeof name ? n : sizeof name - 1);
    return ls_fail(
        err, LS_USAGE,
        "unknown data \"%s\"; did you mean %s?  Known are digits, fashion-mnist, idx:IMAGES,LABELS, "
        "synthetic:n=N,shape=AxB,classes=C,seed=S,test=N, inline:X..=Y..;X..=Y.. and files ('lockstep info "
        "formats' lists their kinds)%s",
        name, ls_text_nearest(name, names),
        strchr(spec, '/') || strchr(spec, '.')
            ? "; if this is a file's name, say its format in front: csv:FILE, libsvm:FILE"
            : "");
}

/* "IMAGES,LABELS" as two texts in one block of the heap, or NULL. */
static char *split_pair(const char *pair, const char **images, const char **labels, struct ls_error *err)
{
    const char *comma = strchr(pair, ',');
    if (!comma || comma == pair || !comma[1] || strchr(comma + 1, ',')) {
        ls_fail(err, LS_USAGE,
                "\"idx:%s\": two file names with one comma between are needed, idx:IMAGES,LABELS", pair);
        return NULL;
    }
    char *copy = ls_copy_text(pair, err);
    if (!copy)
        return NULL;
    copy[comma - pair] = '\0';
    *images = copy;
    *labels = copy + (comma - pair) + 1;
    return copy;
}

static enum ls_code read_pair(struct ls_dataset *dataset, const char *pair, struct ls_error *err)
{
    struct ls_idx_paths paths = {.train_images = NULL};
    char *names = split_pair(pair, &paths.train_images, &paths.train_labels, err);
    if (!names)
        return err && err->code == LS_USAGE ? LS_USAGE : LS_FAILED;
    struct ls_data one = {.train = {.n_samples = 0}};
    const enum ls_code code = ls_read_idx(&one, &paths, err);
    *dataset = one.train;
    ls_free(names);
    return code;
}

int ls_data_streams(const char *spec)
{
    for (int i = 0; known_names[i]; i++)
        if (after_name(spec, known_names[i]))
            return 0;
    return !ls_lsd_is_meant(spec) && ls_stream_knows(spec);
}

int ls_data_knows(const char *spec)
{
    for (int i = 0; known_names[i]; i++)
        if (after_name(spec, known_names[i]))
            return 1;
    return ls_lsd_is_meant(spec) || ls_stream_knows(spec);
}

/* Names that are known beforehand must be those of the file, when it has some. */
static enum ls_code check_names(const struct ls_class_names *known, const struct ls_class_names *found,
                                const char *spec, struct ls_error *err)
{
    char a[300], b[300];
    if (!known || known->n == 0 || found->n == 0 || ls_class_names_equal(known, found))
        return LS_OK;
    return ls_fail(err, LS_FAILED, "data \"%s\" has the classes %s; the model or the training data have %s",
                   spec, ls_class_names_list(found, a, sizeof a), ls_class_names_list(known, b, sizeof b));
}

/* What the first stream says of names stays with the data. */
static enum ls_code keep_names(struct ls_data *data, struct ls_stream_facts *facts, int is_train,
                               const struct ls_class_names *known, const char *spec, struct ls_error *err)
{
    enum ls_code code = check_names(known, &facts->classes, spec, err);
    if (code != LS_OK || !is_train)
        return code;
    data->classes = facts->classes;
    data->inputs = facts->inputs;
    facts->classes = (struct ls_class_names){.n = 0};
    facts->inputs = (struct ls_features){.n_means = 0};
    snprintf(data->how, sizeof data->how, "%s", facts->how);
    return LS_OK;
}

/* A file that is read as a stream, into memory; *has_test (or NULL): whether it carries test data as well. */
static enum ls_code read_stream(struct ls_data *data, int is_train, const char *spec,
                                const struct ls_data_use *use, int test_part, int *has_test,
                                struct ls_error *err)
{
    struct ls_stream stream;
    const struct ls_stream_request request = {.classes = use->classes,
                                              .n_numbered = use->n_classes,
                                              .n_features = use->n_features,
                                              .trained = use->trained,
                                              .test_part = test_part};
    enum ls_code code = ls_stream_open(&stream, spec, &request, err);
    if (code == LS_OK && !use->needs_no_targets && stream.facts.n_classes == 0 && stream.facts.n_values == 0)
        code = ls_fail(err, LS_USAGE, "data \"%s\" has neither labels nor target values", spec);
    if (code == LS_OK)
        code = ls_stream_load(&stream, is_train ? &data->train : &data->test, err);
    if (code == LS_OK)
        code = keep_names(data, &stream.facts, is_train, use->classes, spec, err);
    if (code == LS_OK && has_test)
        *has_test = stream.facts.has_test;
    ls_stream_close(&stream);
    return code;
}

static enum ls_code read_streams(struct ls_data *data, const char *spec, const struct ls_data_use *use,
                                 struct ls_error *err)
{
    int has_test = 0;
    const enum ls_code code = read_stream(data, 1, spec, use, 0, &has_test, err);
    return code == LS_OK && has_test ? read_stream(data, 0, spec, use, 1, NULL, err) : code;
}

static enum ls_code read_lsd_train(struct ls_data *data, const char *spec, const struct ls_data_use *use,
                                   struct ls_error *err)
{
    enum ls_code code = ls_read_lsd(data, spec, err);
    if (code == LS_OK && data->train.file)
        code = ls_lsd_names(data->train.file, &data->classes, err);
    return code == LS_OK ? check_names(use->classes, &data->classes, spec, err) : code;
}

static enum ls_code read_train(struct ls_data *data, const char *spec, const struct ls_data_use *use,
                               struct ls_error *err)
{
    const char *rest;
    if ((rest = after_name(spec, "digits")) || (rest = after_name(spec, "fashion-mnist"))) {
        if (*rest)
            return ls_fail(err, LS_USAGE, "data \"%s\": nothing may follow this name", spec);
        return *spec == 'd' ? ls_read_digits(data, err) : ls_read_fashion_mnist(data, LS_FASHION_FOLDER, err);
    }
    if ((rest = after_name(spec, "idx")))
        return read_pair(&data->train, rest, err);
    if ((rest = after_name(spec, "synthetic")))
        return ls_read_synthetic(data, rest, err);
    if ((rest = after_name(spec, "inline")))
        return ls_read_inline(&data->train, rest, err);
    if (ls_lsd_is_meant(spec))
        return read_lsd_train(data, spec, use, err);
    if (ls_stream_knows(spec))
        return read_streams(data, spec, use, err);
    return unknown_name(spec, err);
}

/* Its test part, or the only part that it has. */
static enum ls_code read_lsd_test(struct ls_dataset *test, const char *spec, const struct ls_data_use *use,
                                  struct ls_error *err)
{
    struct ls_data one = {.train = {.n_samples = 0}};
    const enum ls_code code = read_lsd_train(&one, spec, use, err);
    ls_class_names_release(&one.classes);
    const int has_test = one.test.n_samples > 0;
    *test = has_test ? one.test : one.train;
    ls_dataset_release(has_test ? &one.train : &one.test);
    return code;
}

/* What test data has to be like, once the training data is there. */
static struct ls_data_use use_of_test(const struct ls_data *data, const struct ls_data_use *use)
{
    const struct ls_class_names *named = use->classes && use->classes->n > 0 ? use->classes : &data->classes;
    return (struct ls_data_use){.classes = named,
                                .n_classes = use->n_classes ? use->n_classes : data->train.n_classes,
                                .n_features = data->train.n_features,
                                .trained = use->trained && ls_features_any(use->trained) ? use->trained
                                                                                         : &data->inputs,
                                .needs_no_targets = use->needs_no_targets};
}

static enum ls_code read_test(struct ls_data *data, const char *spec, const char *train_spec,
                              const struct ls_data_use *train_use, struct ls_error *err)
{
    const struct ls_data_use use = use_of_test(data, train_use);
    const char *rest;
    if (data->test.n_samples > 0)
        return ls_fail(err, LS_USAGE, "test data \"%s\" is not needed: \"%s\" carries its own", spec,
                       train_spec);
    if ((rest = after_name(spec, "idx")))
        return read_pair(&data->test, rest, err);
    if ((rest = after_name(spec, "inline")))
        return ls_read_inline(&data->test, rest, err);
    if (ls_lsd_is_meant(spec))
        return read_lsd_test(&data->test, spec, &use, err);
    if (ls_stream_knows(spec))
        return read_stream(data, 0, spec, &use, 1, NULL, err);
    return ls_fail(err, LS_USAGE,
                   "test data \"%s\": allowed are a file ('lockstep info formats' lists kinds), "
                   "idx:IMAGES,LABELS and inline:X..=Y..;X..=Y..",
                   spec);
}

static void drop_labels(struct ls_dataset *dataset)
{
    dataset->labels = NULL;
    dataset->label_of = NULL;
    dataset->n_classes = 0;
}

static void drop_values(struct ls_dataset *dataset)
{
    dataset->values = NULL;
    dataset->n_values = 0;
}

static const char *kind_of_targets(const struct ls_dataset *dataset)
{
    return !dataset->values && !ls_dataset_has_labels(dataset) ? "no targets"
           : !dataset->values                                  ? "class labels"
           : ls_dataset_has_labels(dataset)                    ? "labels or values"
                                                               : "target values";
}

/* Leaves the kinds of target that both have. */
static enum ls_code match_targets(struct ls_dataset *train, struct ls_dataset *test, struct ls_error *err)
{
    const int labels = ls_dataset_has_labels(train) && ls_dataset_has_labels(test);
    const int values = train->values && test->values && train->n_values == test->n_values;
    const int any =
        ls_dataset_has_labels(train) || ls_dataset_has_labels(test) || train->values || test->values;
    if (!any)
        return LS_OK;
    if (!labels && train->values && test->values && !values)
        return ls_fail(err, LS_FAILED,
                       "training data \"%s\" has %td target numbers a sample, test data \"%s\" has %td",
                       train->name, train->n_values, test->name, test->n_values);
    if (!labels && !values)
        return ls_fail(err, LS_FAILED, "training data \"%s\" has %s, test data \"%s\" has %s", train->name,
                       kind_of_targets(train), test->name, kind_of_targets(test));
    struct ls_dataset *const both[] = {train, test};
    const int32_t n_classes = train->n_classes > test->n_classes ? train->n_classes : test->n_classes;
    for (int i = 0; i < 2; i++) {
        both[i]->n_classes = n_classes;
        if (!labels)
            drop_labels(both[i]);
        if (!values)
            drop_values(both[i]);
    }
    return LS_OK;
}

static enum ls_code match(struct ls_data *data, struct ls_error *err)
{
    if (data->test.n_samples == 0)
        return LS_OK;
    if (data->train.n_features != data->test.n_features)
        return ls_fail(err, LS_FAILED,
                       "a training sample of \"%s\" has %td features, a test sample of \"%s\" has %td",
                       data->train.name, data->train.n_features, data->test.name, data->test.n_features);
    return match_targets(&data->train, &data->test, err);
}

static void set_name(struct ls_dataset *dataset, const char *spec)
{
    snprintf(dataset->name, sizeof dataset->name, "%.*s", (int)sizeof dataset->name - 1, spec);
}

enum ls_code ls_data_open(struct ls_data *data, const char *spec, const char *test_spec, struct ls_error *err)
{
    return ls_data_open_for(data, spec, test_spec, &(const struct ls_data_use){.n_classes = 0}, err);
}

enum ls_code ls_data_open_for(struct ls_data *data, const char *spec, const char *test_spec,
                              const struct ls_data_use *use, struct ls_error *err)
{
    struct ls_error own; /* so that a reader may always look at what it reported */
    err = err ? err : &own;
    memset(data, 0, sizeof *data);
    enum ls_code code = read_train(data, spec, use, err);
    if (code == LS_OK && test_spec)
        code = read_test(data, test_spec, spec, use, err);
    set_name(&data->train, spec);
    if (data->test.n_samples > 0)
        set_name(&data->test, test_spec ? test_spec : spec);
    if (code == LS_OK)
        code = match(data, err);
    if (code != LS_OK)
        ls_data_release(data);
    return code;
}
