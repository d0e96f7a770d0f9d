/* Owns which part a sample belongs to.  See split.h. */
#include "data/split.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "data/permutation.h"

enum { CHUNK = 512 };

static enum ls_code refuse(const char *text, const char *why, struct ls_error *err)
{
    return ls_fail(err, LS_USAGE,
                   "--split %.100s: %s; allowed are two or three shares whose sum is 1, such as 0.8,0.2 or "
                   "0.8,0.1,0.1, or as many numbers of samples",
                   text, why);
}

/* Reads the words; returns how many, 0 when one is no number above 0. */
static int read_shares(struct ls_split *split, const char *text)
{
    int n = 0;
    split->are_counts = 1;
    for (const char *at = text; at; n++) {
        const size_t length = strcspn(at, ",");
        char word[40];
        float share;
        int64_t count;
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), at);
        if (n == LS_SPLIT_PARTS || !ls_text_to_float(word, &share) || !(share > 0.0f))
            return 0;
        split->are_counts &= ls_text_to_int64(word, &count);
        split->share[n] = strtod(word, NULL); /* the shares of 10^9 samples want its digits */
        at = at[length] ? at + length + 1 : NULL;
    }
    return n;
}

enum ls_code ls_split_parse(struct ls_split *split, const char *text, struct ls_error *err)
{
    *split = (struct ls_split){.n_parts = 0};
    if (strlen(text) >= sizeof split->text)
        return refuse(text, "too long", err);
    snprintf(split->text, sizeof split->text, "%s", text);
    const int n = read_shares(split, text);
    if (n < 2)
        return refuse(text, n == 1 ? "one share splits nothing" : "not two or three numbers above 0", err);
    double sum = 0;
    for (int p = 0; p < n; p++)
        sum += split->share[p];
    if (!split->are_counts && fabs(sum - 1.0) > 1e-5)
        return refuse(text, "the sum is not 1", err);
    for (int p = 0; p < n && !split->are_counts; p++)
        split->share[p] /= sum;
    split->n_parts = n;
    return LS_OK;
}

/* n samples shared out by largest remainder: sizes[p] is share[p] * n rounded up or down, their sum n. */
static void share_out(int64_t n, int n_parts, const double *share, int64_t *sizes)
{
    double remainder[LS_SPLIT_PARTS];
    int64_t left = n;
    for (int p = 0; p < n_parts; p++) {
        const double exact = share[p] * (double)n, below = floor(exact + 1e-9);
        sizes[p] = (int64_t)below;
        remainder[p] = exact - below;
        left -= sizes[p];
    }
    while (left > 0) {
        int most = 0;
        for (int p = 1; p < n_parts; p++)
            if (remainder[p] > remainder[most] + 1e-9)
                most = p;
        sizes[most]++;
        remainder[most] -= 1;
        left--;
    }
}

/* A walk over all samples in the order of their places. */
struct walk {
    const struct ls_dataset *dataset;
    struct ls_permutation places;
    int stratify;
    int64_t *seen; /* of each class so far (n_classes), or of all */
};

static enum ls_code walk_begin(struct walk *walk, const struct ls_dataset *dataset, int stratify,
                               uint64_t seed, struct ls_error *err)
{
    *walk = (struct walk){.dataset = dataset, .stratify = stratify};
    if (stratify && !ls_dataset_has_labels(dataset))
        return ls_fail(err, LS_USAGE, "--stratify needs classes: '%s' has none; leave it out", dataset->name);
    ls_permutation_init(&walk->places, dataset->n_samples);
    ls_permutation_key(&walk->places, seed, LS_PURPOSE_SPLIT, 0, 0);
    walk->seen =
        ls_alloc(stratify ? (size_t)dataset->n_classes : 1, sizeof *walk->seen, "samples of each class", err);
    return walk->seen ? LS_OK : LS_FAILED;
}

/* Calls take(context, sample, class, how many of the class came before) for each sample; class 0 unless
 * stratified. */
static void walk_all(struct walk *walk,
                     void (*take)(void *context, int64_t sample, int32_t class, int64_t rank), void *context)
{
    const int64_t n = walk->dataset->n_samples;
    int64_t index[CHUNK];
    int32_t labels[CHUNK] = {0};
    for (int64_t first = 0; first < n; first += CHUNK) {
        const ptrdiff_t B = (ptrdiff_t)(n - first < CHUNK ? n - first : CHUNK);
        ls_permutation_run(&walk->places, first, B, index);
        if (walk->stratify)
            ls_dataset_gather(walk->dataset, NULL, B, index, NULL, labels, NULL);
        for (ptrdiff_t b = 0; b < B; b++)
            take(context, index[b], labels[b], walk->seen[labels[b]]++);
    }
}

/* What marks samples with their part. */
struct marks {
    uint8_t *part; /* (n_samples) */
    /* Of each class: rank r is in the first part p with r < ends[p]; of folds, ends[0] is the fold before
     * that of rank 0, so that a class goes on where the one before it stopped, and folds differ by one
     * sample. */
    int64_t (*ends)[LS_SPLIT_PARTS];
    int n_parts;
    int64_t n_folds, fold;
};

static void mark_part(void *context, int64_t sample, int32_t class, int64_t rank)
{
    struct marks *marks = context;
    int part = 0;
    while (part + 1 < marks->n_parts && rank >= marks->ends[class][part]) /* the last takes the rest */
        part++;
    marks->part[sample] = (uint8_t)part;
}

static void mark_fold(void *context, int64_t sample, int32_t class, int64_t rank)
{
    struct marks *marks = context;
    marks->part[sample] = (marks->ends[class][0] + rank) % marks->n_folds == marks->fold;
}

static void set_class_ends(struct marks *marks, const struct ls_split *split, int64_t n, int32_t classes,
                           const int64_t *counts)
{
    double share[LS_SPLIT_PARTS];
    int64_t before = 0;
    for (int p = 0; p < split->n_parts; p++)
        share[p] = split->are_counts ? split->share[p] / (double)n : split->share[p];
    for (int32_t c = 0; c < classes; before += counts[c++]) {
        int64_t *ends = marks->ends[c];
        if (split->n_parts == 0) {
            ends[0] = before % marks->n_folds;
            continue;
        }
        share_out(counts[c], split->n_parts, share, ends);
        for (int p = 1; p < split->n_parts; p++)
            ends[p] += ends[p - 1];
    }
}

/* How many of each class go to each part, as ends of ranges of ranks. */
static enum ls_code set_ends(struct marks *marks, const struct ls_dataset *dataset,
                             const struct ls_split *split, struct ls_error *err)
{
    const int32_t classes = split->stratify ? dataset->n_classes : 1;
    int64_t *counts = ls_alloc((size_t)classes, sizeof *counts, "samples of each class", err);
    marks->ends = ls_alloc((size_t)classes, sizeof *marks->ends, "parts of each class", err);
    const enum ls_code code = counts && marks->ends ? LS_OK : LS_FAILED;
    if (code == LS_OK && split->stratify)
        ls_dataset_count_classes(dataset, counts);
    else if (code == LS_OK)
        counts[0] = dataset->n_samples;
    if (code == LS_OK)
        set_class_ends(marks, split, dataset->n_samples, classes, counts);
    ls_free(counts);
    return code;
}

/* The samples of each part, in the data's order, one part behind the other; sizes get how many. */
static void collect(const uint8_t *part, int64_t n, int n_parts, int64_t *order, int64_t *sizes)
{
    int64_t used = 0;
    for (int p = 0; p < n_parts; p++) {
        const int64_t before = used;
        for (int64_t i = 0; i < n; i++)
            if (part[i] == p)
                order[used++] = i;
        sizes[p] = used - before;
    }
}

/* `dataset` seen through an index; owns nothing. */
static struct ls_dataset view(const struct ls_dataset *dataset, const int64_t *subset, int64_t n)
{
    struct ls_dataset part = *dataset;
    memset(part.owned, 0, sizeof part.owned);
    part.holds_file = 0;
    part.subset = subset;
    part.n_stored = dataset->subset ? dataset->n_stored : dataset->n_samples;
    part.n_samples = n;
    return part;
}

/* The training data themselves become their first part: they go on owning their memory. */
static void narrow(struct ls_dataset *dataset, const int64_t *subset, int64_t n)
{
    if (!dataset->subset)
        dataset->n_stored = dataset->n_samples;
    dataset->subset = subset;
    dataset->n_samples = n;
}

static enum ls_code take_order(struct ls_data *data, uint8_t **part, int64_t n, struct ls_error *err)
{
    if (!data->order)
        data->order = ls_alloc((size_t)n, sizeof *data->order, "which sample is in which part", err);
    *part = ls_alloc((size_t)n, 1, "the part of each sample", err);
    return data->order && *part ? LS_OK : LS_FAILED;
}

static enum ls_code check_split(const struct ls_data *data, const struct ls_split *split,
                                struct ls_error *err)
{
    const int64_t n = data->train.n_samples;
    double sum = 0;
    for (int p = 0; p < split->n_parts; p++)
        sum += split->share[p];
    if (data->test.n_samples > 0 && split->n_parts == 3)
        return ls_fail(err, LS_USAGE,
                       "--split %s: '%s' has %lld test samples of its own: give two shares, of training and "
                       "validation",
                       split->text, data->train.name, (long long)data->test.n_samples);
    if (split->are_counts && sum != (double)n)
        return ls_fail(err, LS_USAGE, "--split %s: that is %.0f samples, '%s' has %lld to split", split->text,
                       sum, data->train.name, (long long)n);
    return LS_OK;
}

static enum ls_code mark_all(struct marks *marks, const struct ls_data *data, const struct ls_split *split,
                             struct ls_error *err)
{
    struct walk walk;
    marks->n_parts = split->n_parts;
    enum ls_code code = walk_begin(&walk, &data->train, split->stratify, split->seed, err);
    if (code == LS_OK)
        code = set_ends(marks, &data->train, split, err);
    if (code == LS_OK)
        walk_all(&walk, split->n_parts > 0 ? mark_part : mark_fold, marks);
    ls_free(walk.seen);
    ls_free(marks->ends);
    return code;
}

enum ls_code ls_data_split(struct ls_data *data, const struct ls_split *split, struct ls_error *err)
{
    const int64_t n = data->train.n_samples;
    int64_t sizes[LS_SPLIT_PARTS] = {0};
    struct marks marks = {.part = NULL};
    enum ls_code code = check_split(data, split, err);
    if (code == LS_OK)
        code = take_order(data, &marks.part, n, err);
    if (code == LS_OK)
        code = mark_all(&marks, data, split, err);
    if (code == LS_OK)
        collect(marks.part, n, split->n_parts, data->order, sizes);
    ls_free(marks.part);
    for (int p = 0; code == LS_OK && p < split->n_parts; p++)
        if (sizes[p] == 0)
            code = ls_fail(err, LS_USAGE, "--split %s%s leaves part %d without any of the %lld samples",
                           split->text, split->stratify ? " --stratify" : "", p + 1, (long long)n);
    if (code != LS_OK)
        return code;
    const int validates = split->n_parts == 3 || data->test.n_samples > 0;
    if (validates)
        data->validation = view(&data->train, data->order + sizes[0], sizes[1]);
    if (split->n_parts == 3)
        data->test = view(&data->train, data->order + sizes[0] + sizes[1], sizes[2]);
    else if (!validates)
        data->test = view(&data->train, data->order + sizes[0], sizes[1]);
    narrow(&data->train, data->order, sizes[0]);
    return LS_OK;
}

enum ls_code ls_data_fold(struct ls_data *data, int64_t n_folds, int64_t k, int stratify, uint64_t seed,
                          struct ls_error *err)
{
    struct ls_dataset *train = &data->train;
    if (train->subset) { /* of an earlier fold */
        train->n_samples = train->n_stored;
        train->subset = NULL;
        train->scaling = NULL;
        train->normalise = (struct ls_normalise){.n_channels = 0};
        data->test = (struct ls_dataset){.n_samples = 0};
    }
    const int64_t n = train->n_samples;
    if (n_folds > n)
        return ls_fail(err, LS_USAGE, "--folds %lld: '%s' has only %lld samples", (long long)n_folds,
                       train->name, (long long)n);
    const struct ls_split all = {.stratify = stratify, .seed = seed};
    struct marks marks = {.n_folds = n_folds, .fold = k};
    int64_t sizes[2] = {0};
    enum ls_code code = take_order(data, &marks.part, n, err);
    if (code == LS_OK)
        code = mark_all(&marks, data, &all, err);
    if (code == LS_OK)
        collect(marks.part, n, 2, data->order, sizes);
    ls_free(marks.part);
    if (code == LS_OK && (sizes[0] == 0 || sizes[1] == 0))
        code = ls_fail(err, LS_USAGE, "--folds %lld%s leaves fold %lld without samples: give fewer folds",
                       (long long)n_folds, stratify ? " --stratify" : "", (long long)k + 1);
    if (code != LS_OK)
        return code;
    ls_dataset_release(&data->test); /* test samples of its own are not used */
    data->test = view(train, data->order + sizes[0], sizes[1]);
    narrow(train, data->order, sizes[0]);
    return LS_OK;
}
