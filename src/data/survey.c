/* Owns the figures that describe data to a person.  No result depends on them: they are binary64 sums in the
 * order of the samples, less each column's first value, so that a large offset costs no digits. */
#include "data/survey.h"

#include <math.h>

#include "base/memory.h"

enum { BLOCK_BYTES = 1 << 20 };

/* While reading, `mean` and `deviation` are the sums of d and d * d, d = x - shift. */
struct reading {
    struct ls_survey *survey;
    const struct ls_stream_facts *facts;
    double *shift; /* (n_features + n_values) */
    struct ls_stream_rows rows;
    void *owned[3];
    ptrdiff_t block; /* samples */
};

static inline void add(struct ls_survey_column *column, double *shift, double x)
{
    if (isnan(x)) {
        column->n_missing++;
        return;
    }
    if (column->n++ == 0)
        *shift = column->least = column->largest = x;
    const double d = x - *shift;
    column->mean += d;
    column->deviation += d * d;
    column->least = x < column->least ? x : column->least;
    column->largest = x > column->largest ? x : column->largest;
}

static void add_block(struct reading *r, ptrdiff_t n)
{
    const ptrdiff_t K = r->facts->n_features, V = r->facts->n_values;
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t k = 0; k < K; k++)
            add(&r->survey->inputs[k], &r->shift[k],
                r->rows.pixels ? (double)((float)r->rows.pixels[i * K + k] / r->facts->divisor)
                               : (double)r->rows.numbers[i * K + k]);
        for (ptrdiff_t v = 0; v < V; v++)
            add(&r->survey->values[v], &r->shift[K + v], (double)r->rows.values[i * V + v]);
        if (r->rows.labels)
            r->survey->n_of_class[r->rows.labels[i]]++;
    }
}

/* Sums become mean and deviation. */
static void finish(struct ls_survey_column *column, double shift)
{
    if (column->n == 0)
        return;
    const double d = column->mean / (double)column->n;
    const double variance = column->deviation / (double)column->n - d * d;
    column->mean = shift + d;
    column->deviation = column->least < column->largest && variance > 0 ? sqrt(variance) : 0;
}

static void pool(struct ls_survey *survey, ptrdiff_t K)
{
    struct ls_survey_column *all = &survey->all;
    double sum = 0, squares = 0;
    for (ptrdiff_t k = 0; k < K; k++) {
        const struct ls_survey_column *c = &survey->inputs[k];
        all->n_missing += c->n_missing;
        if (c->n == 0)
            continue;
        all->least = all->n == 0 || c->least < all->least ? c->least : all->least;
        all->largest = all->n == 0 || c->largest > all->largest ? c->largest : all->largest;
        all->n += c->n;
        sum += (double)c->n * c->mean;
    }
    all->mean = all->n > 0 ? sum / (double)all->n : 0;
    for (ptrdiff_t k = 0; k < K; k++) {
        const struct ls_survey_column *c = &survey->inputs[k];
        const double d = c->mean - all->mean;
        squares += c->n > 0 ? (double)c->n * (c->deviation * c->deviation + d * d) : 0;
    }
    all->deviation = all->n > 0 ? sqrt(squares / (double)all->n) : 0;
}

static enum ls_code take_memory(struct reading *r, struct ls_error *err)
{
    const struct ls_stream_facts *f = r->facts;
    struct ls_survey *s = r->survey;
    const size_t K = (size_t)f->n_features, V = (size_t)f->n_values;
    const size_t sample = K * (f->is_bytes ? 1 : sizeof(float)) + V * sizeof(float) + sizeof(int32_t);
    r->block = sample < BLOCK_BYTES ? (ptrdiff_t)(BLOCK_BYTES / sample) : 1;
    const size_t n = (size_t)r->block;
    s->inputs = ls_alloc(K, sizeof *s->inputs, "figures of inputs", err);
    r->shift = ls_alloc(K + V, sizeof *r->shift, "figures of inputs", err);
    r->owned[0] = ls_alloc(n * K, f->is_bytes ? 1 : sizeof(float), "a block of samples", err);
    *(f->is_bytes ? (void **)&r->rows.pixels : (void **)&r->rows.numbers) = r->owned[0];
    int whole = s->inputs && r->shift && r->owned[0];
    if (whole && f->n_classes > 0) {
        s->n_of_class = ls_alloc((size_t)f->n_classes, sizeof *s->n_of_class, "counts of classes", err);
        r->owned[1] = r->rows.labels = ls_alloc(n, sizeof *r->rows.labels, "a block of labels", err);
        whole = s->n_of_class && r->rows.labels;
    }
    if (whole && V > 0) {
        s->values = ls_alloc(V, sizeof *s->values, "figures of values", err);
        r->owned[2] = r->rows.values = ls_alloc(n * V, sizeof(float), "a block of values", err);
        whole = s->values && r->rows.values;
    }
    return whole ? LS_OK : LS_FAILED;
}

enum ls_code ls_survey_stream(struct ls_survey *survey, struct ls_stream *stream, struct ls_error *err)
{
    *survey = (struct ls_survey){.inputs = NULL};
    struct reading r = {.survey = survey, .facts = &stream->facts};
    const int64_t n = stream->facts.n_samples;
    const ptrdiff_t K = stream->facts.n_features;
    enum ls_code code = take_memory(&r, err);
    if (code == LS_OK)
        code = ls_stream_seek(stream, 0, err);
    for (int64_t at = 0; code == LS_OK && at < n; at += r.block) {
        const ptrdiff_t take = n - at < r.block ? (ptrdiff_t)(n - at) : r.block;
        code = ls_stream_read(stream, take, &r.rows, err);
        if (code == LS_OK)
            add_block(&r, take);
    }
    for (ptrdiff_t k = 0; code == LS_OK && k < K; k++)
        finish(&survey->inputs[k], r.shift[k]);
    for (ptrdiff_t v = 0; code == LS_OK && v < stream->facts.n_values; v++)
        finish(&survey->values[v], r.shift[K + v]);
    if (code == LS_OK)
        pool(survey, K);
    for (int i = 0; i < 3; i++)
        ls_free(r.owned[i]);
    ls_free(r.shift);
    return code;
}

void ls_survey_release(struct ls_survey *survey)
{
    ls_free(survey->inputs);
    ls_free(survey->values);
    ls_free(survey->n_of_class);
    *survey = (struct ls_survey){.inputs = NULL};
}
