/* Owns the description of data as JSON. */
#include "cli/info_data_json.h"

#include <stdio.h>

static void put_range(json_t **one, const struct ls_survey_column *c)
{
    if (c->n > 0) {
        ls_json_put(one, "least", ls_json_number(c->least));
        ls_json_put(one, "largest", ls_json_number(c->largest));
        ls_json_put(one, "mean", ls_json_number(c->mean));
        ls_json_put(one, "deviation", ls_json_number(c->deviation));
    }
    ls_json_put(one, "missing", json_integer(c->n_missing));
}

/* Features or targets, counted from 1 as columns are. */
static enum ls_code put_columns(json_t **part, const char *key, const char *what, ptrdiff_t n,
                                const struct ls_survey_column *columns, const struct ls_class_names *names,
                                struct ls_error *err)
{
    json_t *list = json_array();
    enum ls_code code = LS_OK;
    for (ptrdiff_t k = 0; k < n && code == LS_OK; k++) {
        json_t *one = json_object();
        ls_json_put(&one, what, json_integer(k + 1));
        if (names && k < names->n)
            code = ls_json_put_name(&one, "name", names->name[k], "the name of a column", err);
        put_range(&one, &columns[k]);
        json_array_append_new(list, one);
    }
    ls_json_put(part, key, list);
    return code;
}

static enum ls_code put_classes(json_t **part, const struct ls_stream_facts *facts,
                                const struct ls_survey *survey, struct ls_error *err)
{
    json_t *list = json_array();
    enum ls_code code = LS_OK;
    for (int32_t c = 0; c < facts->n_classes && code == LS_OK; c++) {
        json_t *one = json_object();
        ls_json_put(&one, "class", json_integer(c));
        if (c < facts->classes.n)
            code = ls_json_put_name(&one, "name", facts->classes.name[c], "the name of a class", err);
        ls_json_put(&one, "samples", json_integer(survey->n_of_class[c]));
        json_array_append_new(list, one);
    }
    ls_json_put(part, "classes", list);
    return code;
}

enum ls_code ls_info_data_json(json_t **all, const char *name, const struct ls_stream_facts *facts,
                               const struct ls_survey *survey, struct ls_error *err)
{
    json_t *part = json_object(), *shape = json_array();
    for (int i = 0; i < facts->n_dims; i++)
        json_array_append_new(shape, json_integer(facts->dims[i]));
    ls_json_put(&part, "samples", json_integer(facts->n_samples));
    ls_json_put(&part, "shape", shape);
    ls_json_put(&part, "type", json_string(facts->is_bytes ? "uint8" : "float32"));
    if (facts->is_bytes)
        ls_json_put(&part, "divisor", ls_json_number((double)facts->divisor));
    enum ls_code code = LS_OK;
    if (*facts->how)
        code = ls_json_put_name(&part, "read_as", facts->how, "how the data are read,", err);
    put_range(&part, &survey->all);
    if (code == LS_OK)
        code = put_columns(&part, "features", "feature", facts->n_features, survey->inputs,
                           &facts->inputs.names, err);
    if (code == LS_OK && facts->n_values > 0)
        code = put_columns(&part, "targets", "target", facts->n_values, survey->values, NULL, err);
    if (code == LS_OK && facts->n_classes > 0)
        code = put_classes(&part, facts, survey, err);
    ls_json_put(all, name, part);
    return code;
}
