/* Owns an evaluation as JSON.  jansson prints the numbers, whatever the locale. */
#include "cli/eval_report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/savefile.h"

enum { DIGITS = 9 };

/* What JSON has no number for is a text, as in run logs. */
static json_t *number(double value)
{
    if (!isfinite(value))
        return json_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    return json_real(value);
}

static json_t *class_scores(const struct ls_class_scores *s)
{
    return json_pack("{s:o, s:o, s:o}", "precision", number(s->precision), "recall", number(s->recall), "f1",
                     number(s->f1));
}

static json_t *number_scores(const struct ls_number_scores *s)
{
    return json_pack("{s:o, s:o, s:o}", "rmse", number((double)s->rmse), "mae", number((double)s->mae), "r2",
                     number((double)s->r2));
}

static json_t *classes(const struct ls_metrics *m, const struct ls_class_names *names)
{
    json_t *array = json_array();
    for (int32_t c = 0; c < m->n_classes; c++) {
        const struct ls_class_scores s = ls_metrics_of_class(m, c);
        json_t *one =
            json_pack("{s:i, s:I, s:I, s:I}", "class", (int)c, "support", (json_int_t)m->n_support[c],
                      "predicted", (json_int_t)m->n_predicted[c], "right", (json_int_t)m->n_right[c]);
        json_t *scores = class_scores(&s);
        json_object_update(one, scores);
        if (c < names->n)
            json_object_set_new(one, "name", json_string(names->name[c]));
        json_decref(scores);
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *confusion(const struct ls_metrics *m)
{
    json_t *rows = json_array();
    for (int32_t label = 0; label < m->n_classes; label++) {
        json_t *row = json_array();
        for (int32_t c = 0; c < m->n_classes; c++)
            json_array_append_new(row, json_integer(m->confusion[(ptrdiff_t)label * m->n_classes + c]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *outputs(const struct ls_metrics *m)
{
    json_t *array = json_array();
    for (ptrdiff_t j = 0; j < m->n_outputs; j++) {
        const struct ls_number_scores s = ls_metrics_of_output(m, j);
        json_array_append_new(array, number_scores(&s));
    }
    return array;
}

/* Adds a member; with no memory for it the whole object goes, and *all is NULL from then on. */
static void put(json_t **all, const char *key, json_t *value)
{
    if (json_object_set_new(*all, key, value) == 0)
        return;
    json_decref(*all);
    *all = NULL;
}

static void add_classes(json_t **all, const struct ls_eval_report *report)
{
    const struct ls_metrics *m = report->metrics;
    const double n = (double)report->result->n_samples;
    const struct ls_class_scores macro = ls_metrics_macro(m);
    put(all, "correct", json_integer(report->result->n_correct));
    put(all, "accuracy", number((double)report->result->n_correct / n));
    if (m->top_k > 0)
        put(all, "top_k",
            json_pack("{s:i, s:I, s:o}", "k", (int)m->top_k, "correct", (json_int_t)m->n_in_top[0],
                      "accuracy", number((double)m->n_in_top[0] / n)));
    put(all, "macro", class_scores(&macro));
    put(all, "classes", classes(m, report->names));
    if (m->confusion)
        put(all, "confusion", confusion(m));
}

static void add_numbers(json_t **all, const struct ls_eval_report *report)
{
    const struct ls_number_scores mean = ls_metrics_of_outputs(report->metrics);
    put(all, "rmse", number((double)mean.rmse));
    put(all, "mae", number((double)mean.mae));
    put(all, "r2", number((double)mean.r2));
    put(all, "outputs", outputs(report->metrics));
}

/* A member a line, and a line an element of arrays: 100 classes stay readable, and can be compared by lines.
 */
static void print_member(const char *key, json_t *value, FILE *out)
{
    const size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS);
    fprintf(out, "  \"%s\": ", key);
    if (!json_is_array(value)) {
        json_dumpf(value, out, flags);
        return;
    }
    size_t i;
    json_t *element;
    fprintf(out, "[");
    json_array_foreach (value, i, element) {
        fprintf(out, i ? ",\n    " : "\n    ");
        json_dumpf(element, out, flags);
    }
    fprintf(out, "\n  ]");
}

/* The whole text; the caller frees it.  NULL when memory is out. */
static char *print_object(json_t *all, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (!out)
        return NULL;
    const char *key, *separator = "{\n";
    json_t *value;
    json_object_foreach (all, key, value) {
        fprintf(out, "%s", separator);
        print_member(key, value, out);
        separator = ",\n";
    }
    fprintf(out, "\n}\n");
    const int failed = ferror(out);
    if (fclose(out) == 0 && !failed)
        return text;
    free(text);
    return NULL;
}

static enum ls_code write_text(const char *path, const char *text, size_t length, struct ls_error *err)
{
    if (strcmp(path, "-") == 0) {
        fwrite(text, 1, length, stdout); /* main.c sees what became of it */
        return LS_OK;
    }
    struct ls_savefile file = {0};
    enum ls_code code = ls_savefile_open(&file, path, err);
    if (code == LS_OK)
        code = ls_savefile_write(&file, text, length, err);
    if (code == LS_OK)
        code = ls_savefile_commit(&file, err);
    ls_savefile_release(&file);
    return code;
}

enum ls_code ls_eval_write_json(const struct ls_eval_report *report, const char *path, struct ls_error *err)
{
    json_t *name = json_string(report->samples);
    if (!name)
        return ls_fail(err, LS_FAILED, "cannot write JSON: the data's name '%.60s' is not UTF-8",
                       report->samples);
    json_t *all = json_object();
    put(&all, "data", name);
    if (report->part) {
        put(&all, "part", json_string(report->part));
        put(&all, "split", json_string(report->split));
    }
    put(&all, "samples", json_integer(report->result->n_samples));
    put(&all, "loss", number((double)report->result->loss));
    if (report->metrics->n_classes > 0)
        add_classes(&all, report);
    if (report->metrics->n_outputs > 0)
        add_numbers(&all, report);
    size_t length = 0;
    char *text = all ? print_object(all, &length) : NULL;
    const enum ls_code code = text ? write_text(path, text, length, err)
                                   : ls_fail(err, LS_FAILED, "out of memory for the JSON of an evaluation");
    free(text);
    json_decref(all);
    return code;
}
