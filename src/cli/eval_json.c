/* Owns an evaluation as JSON. */
#include "cli/eval_report.h"
#include "cli/json_report.h"

static json_t *class_scores(const struct ls_class_scores *s)
{
    return json_pack("{s:o, s:o, s:o}", "precision", ls_json_number(s->precision), "recall",
                     ls_json_number(s->recall), "f1", ls_json_number(s->f1));
}

static json_t *number_scores(const struct ls_number_scores *s)
{
    return json_pack("{s:o, s:o, s:o}", "rmse", ls_json_number((double)s->rmse), "mae",
                     ls_json_number((double)s->mae), "r2", ls_json_number((double)s->r2));
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

static void add_classes(json_t **all, const struct ls_eval_report *report)
{
    const struct ls_metrics *m = report->metrics;
    const double n = (double)report->result->n_samples;
    const struct ls_class_scores macro = ls_metrics_macro(m);
    ls_json_put(all, "correct", json_integer(report->result->n_correct));
    ls_json_put(all, "accuracy", ls_json_number((double)report->result->n_correct / n));
    if (m->top_k > 0)
        ls_json_put(all, "top_k",
                    json_pack("{s:i, s:I, s:o}", "k", (int)m->top_k, "correct", (json_int_t)m->n_in_top[0],
                              "accuracy", ls_json_number((double)m->n_in_top[0] / n)));
    ls_json_put(all, "macro", class_scores(&macro));
    ls_json_put(all, "classes", classes(m, report->names));
    if (m->confusion)
        ls_json_put(all, "confusion", confusion(m));
}

static void add_numbers(json_t **all, const struct ls_eval_report *report)
{
    const struct ls_number_scores mean = ls_metrics_of_outputs(report->metrics);
    ls_json_put(all, "rmse", ls_json_number((double)mean.rmse));
    ls_json_put(all, "mae", ls_json_number((double)mean.mae));
    ls_json_put(all, "r2", ls_json_number((double)mean.r2));
    ls_json_put(all, "outputs", outputs(report->metrics));
}

enum ls_code ls_eval_write_json(const struct ls_eval_report *report, const char *path, struct ls_error *err)
{
    json_t *all = json_object();
    if (ls_json_put_name(&all, "data", report->samples, "the data's name", err) != LS_OK) {
        json_decref(all);
        return LS_FAILED;
    }
    if (report->part) {
        ls_json_put(&all, "part", json_string(report->part));
        ls_json_put(&all, "split", json_string(report->split));
    }
    ls_json_put(&all, "samples", json_integer(report->result->n_samples));
    ls_json_put(&all, "loss", ls_json_number((double)report->result->loss));
    if (report->metrics->n_classes > 0)
        add_classes(&all, report);
    if (report->metrics->n_outputs > 0)
        add_numbers(&all, report);
    return ls_json_write(all, path, "an evaluation", err);
}
