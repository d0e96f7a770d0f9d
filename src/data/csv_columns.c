/* Owns how a user says which columns are inputs and which is the label, and what is taken when nothing is
 * said. */
#include "data/csv_columns.h"

#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/quote.h"

int ls_csv_is_missing(const char *text, size_t n)
{
    static const char *const words[] = {"?", "na", "n/a", "nan", "null", "none", NULL};
    if (n == 0)
        return 1;
    for (int i = 0; n <= 4 && words[i]; i++)
        if (strcasecmp(text, words[i]) == 0)
            return 1;
    return 0;
}

const char *ls_csv_column_text(const struct ls_csv_columns *columns, ptrdiff_t c,
                               char text[LS_CSV_COLUMN_TEXT])
{
    if (columns->header)
        snprintf(text, LS_CSV_COLUMN_TEXT, "column %td '%.60s'", c + 1,
                 ls_quote(columns->column[c].name).text);
    else
        snprintf(text, LS_CSV_COLUMN_TEXT, "column %td", c + 1);
    return text;
}

enum ls_code ls_csv_columns_add(struct ls_csv_columns *columns, const char *text, struct ls_error *err)
{
    if (columns->n == LS_CSV_COLUMNS)
        return ls_fail(err, LS_FAILED, "more than %d columns", LS_CSV_COLUMNS);
    if (columns->n == columns->room) {
        const ptrdiff_t room = columns->room ? 2 * columns->room : 16;
        struct ls_csv_column *column = ls_alloc((size_t)room, sizeof *column, "columns", err);
        if (!column)
            return LS_FAILED;
        if (columns->n > 0)
            memcpy(column, columns->column, (size_t)columns->n * sizeof *column);
        ls_free(columns->column);
        columns->column = column;
        columns->room = room;
    }
    char *name = ls_copy_text(text, err);
    if (!name)
        return LS_FAILED;
    columns->column[columns->n++] = (struct ls_csv_column){.name = name};
    return LS_OK;
}

void ls_csv_columns_release(struct ls_csv_columns *columns)
{
    for (ptrdiff_t c = 0; c < columns->n; c++)
        ls_free(columns->column[c].name);
    ls_free(columns->column);
    *columns = (struct ls_csv_columns){.n = 0};
}

/* Names have no numbers among them, and no word for a missing value; an empty one is what some programs call
 * a column of row numbers. */
static int looks_like_header(const struct ls_csv_columns *columns)
{
    int any = 0;
    for (ptrdiff_t c = 0; c < columns->n; c++) {
        const char *text = columns->column[c].name;
        const size_t n = strlen(text);
        float number;
        if (n > 0 && (ls_csv_is_missing(text, n) || ls_decimal_to_float(text, n, &number) != LS_DECIMAL_NONE))
            return 0;
        any |= n > 0;
    }
    return any;
}

static enum ls_code assign_header(struct ls_csv_columns *columns, struct ls_source *source,
                                  struct ls_error *err)
{
    const char *value = ls_source_setting(source, "header");
    if (!value || strcmp(value, "auto") == 0)
        columns->header = looks_like_header(columns);
    else if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0)
        columns->header = *value == 'y';
    else
        return ls_fail(err, LS_USAGE, "data \"%s\": header=%.40s: allowed are yes, no and auto",
                       source->files[0], value);
    return LS_OK;
}

static enum ls_code no_such_column(const struct ls_csv_columns *columns, const struct ls_source *source,
                                   const char *setting, const char *word, struct ls_error *err)
{
    char list[300] = "";
    size_t used = 0;
    for (ptrdiff_t c = 0; columns->header && c < columns->n && c < 12; c++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.20s", c ? ", " : ": ",
                                 ls_quote(columns->column[c].name).text);
    return ls_fail(err, LS_USAGE,
                   "data \"%s\": %s=%.60s: no column has this name or number; the file has %td column%s, "
                   "numbered from 1, or from the last by -1%s%s%s",
                   source->files[0], setting, word, columns->n, columns->n == 1 ? "" : "s",
                   columns->header ? "" : ", without names", list,
                   columns->header && columns->n > 12 ? ", ..." : "");
}

/* The column of that name, else of that number, or -1 with *err filled. */
static ptrdiff_t find(const struct ls_csv_columns *columns, const struct ls_source *source,
                      const char *setting, const char *word, struct ls_error *err)
{
    ptrdiff_t found = -1;
    int64_t number = 0;
    for (ptrdiff_t c = 0; columns->header && c < columns->n; c++) {
        if (strcmp(columns->column[c].name, word) != 0)
            continue;
        if (found >= 0) {
            ls_fail(err, LS_USAGE,
                    "data \"%s\": %s=%.60s: columns %td and %td both have this name; give the number",
                    source->files[0], setting, word, found + 1, c + 1);
            return -1;
        }
        found = c;
    }
    if (found >= 0)
        return found;
    if (ls_text_to_int64(word, &number) && number != 0 && number <= columns->n && number >= -columns->n)
        return (ptrdiff_t)(number > 0 ? number - 1 : columns->n + number);
    no_such_column(columns, source, setting, word, err);
    return -1;
}

static enum ls_code assign(struct ls_csv_columns *columns, const struct ls_source *source,
                           const char *setting, const char *word, enum ls_csv_role role, struct ls_error *err)
{
    static const char *const names[] = {"an input", "the label", "a target", "ignored"};
    const ptrdiff_t c = find(columns, source, setting, word, err);
    if (c < 0)
        return LS_USAGE;
    struct ls_csv_column *column = &columns->column[c];
    if (column->role != LS_CSV_INPUT)
        return ls_fail(err, LS_USAGE, "data \"%s\": %s=%.60s: this column is %s already", source->files[0],
                       setting, word, names[column->role]);
    column->role = role;
    column->slot = role == LS_CSV_VALUE ? columns->n_values++ : 0;
    columns->label = role == LS_CSV_LABEL ? c : columns->label;
    return LS_OK;
}

/* The columns of a setting such as ignore=a+b+7. */
static enum ls_code assign_list(struct ls_csv_columns *columns, struct ls_source *source, const char *setting,
                                enum ls_csv_role role, struct ls_error *err)
{
    const char *value = ls_source_setting(source, setting);
    char *copy = value ? ls_copy_text(value, err) : NULL;
    if (!value)
        return LS_OK;
    enum ls_code code = copy ? LS_OK : LS_FAILED;
    for (char *rest = copy; rest && code == LS_OK;)
        code = assign(columns, source, setting, strsep(&rest, "+"), role, err);
    ls_free(copy);
    return code;
}

/* Without label= and target=: the column called label or class, else the last. */
static void assign_usual_label(struct ls_csv_columns *columns)
{
    ptrdiff_t last = -1, called = -1;
    for (ptrdiff_t c = 0; c < columns->n; c++) {
        if (columns->column[c].role != LS_CSV_INPUT)
            continue;
        last = c;
        if (columns->header && called < 0 &&
            (strcasecmp(columns->column[c].name, "label") == 0 ||
             strcasecmp(columns->column[c].name, "class") == 0))
            called = c;
    }
    columns->label = called >= 0 ? called : last;
    if (columns->label >= 0)
        columns->column[columns->label].role = LS_CSV_LABEL;
    char text[LS_CSV_COLUMN_TEXT];
    if (columns->label >= 0)
        snprintf(columns->how, sizeof columns->how, "the label is %s, %s (label=, target= name another)",
                 ls_csv_column_text(columns, columns->label, text), called >= 0 ? "by its name" : "the last");
}

static enum ls_code assign_targets(struct ls_csv_columns *columns, struct ls_source *source,
                                   struct ls_error *err)
{
    const char *label = ls_source_setting(source, "label"), *target = ls_source_setting(source, "target");
    columns->label = -1;
    if (label && target)
        return ls_fail(err, LS_USAGE,
                       "data \"%s\": label= and target=: classes and numbers to predict exclude each other",
                       source->files[0]);
    if (target)
        return assign_list(columns, source, "target", LS_CSV_VALUE, err);
    if (!label)
        assign_usual_label(columns);
    else if (strcmp(label, "none") != 0)
        return assign(columns, source, "label", label, LS_CSV_LABEL, err);
    return LS_OK;
}

enum ls_code ls_csv_columns_assign(struct ls_csv_columns *columns, struct ls_source *source,
                                   struct ls_error *err)
{
    enum ls_code code = assign_header(columns, source, err);
    if (code == LS_OK)
        code = assign_list(columns, source, "ignore", LS_CSV_IGNORED, err);
    if (code == LS_OK)
        code = assign_targets(columns, source, err);
    if (code != LS_OK)
        return code;
    for (ptrdiff_t c = 0; c < columns->n; c++)
        if (columns->column[c].role == LS_CSV_INPUT)
            columns->column[c].slot = columns->n_inputs++;
    if (columns->n_inputs == 0)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": no column is left for inputs: the file has %td, of which %td are targets; is "
                       "the delimiter right (delimiter=tab, semicolon, ...)?",
                       source->files[0], columns->n, columns->n_values + (columns->label >= 0));
    return LS_OK;
}
