/* Owns how JSON looks.  jansson prints the numbers, whatever the locale. */
#include "cli/json_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/quote.h"
#include "formats/savefile.h"

enum { DIGITS = 9 };

json_t *ls_json_number(double value)
{
    if (!isfinite(value))
        return json_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    return json_real(value);
}

void ls_json_put(json_t **all, const char *key, json_t *value)
{
    if (json_object_set_new(*all, key, value) == 0)
        return;
    json_decref(*all);
    *all = NULL;
}

enum ls_code ls_json_put_name(json_t **all, const char *key, const char *name, const char *what,
                              struct ls_error *err)
{
    json_t *text = json_string(name);
    if (!text)
        return ls_fail(err, LS_FAILED, "cannot write JSON: %s '%.60s' is not UTF-8", what,
                       ls_quote(name).text);
    ls_json_put(all, key, text);
    return LS_OK;
}

static int is_list(const json_t *value)
{
    const json_t *first = json_array_get(value, 0);
    return json_is_array(first) || json_is_object(first);
}

static int holds_list(json_t *value)
{
    const char *key;
    json_t *member;
    json_object_foreach (value, key, member)
        if (is_list(member))
            return 1;
    return 0;
}

static void print_value(json_t *value, int indent, int spread, FILE *out)
{
    const char *key, *separator = "\n";
    size_t i;
    json_t *member;
    if (!spread && !is_list(value) && !holds_list(value)) {
        json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS));
        return;
    }
    fputc(json_is_array(value) ? '[' : '{', out);
    json_array_foreach (value, i, member) {
        fprintf(out, "%s%*s", separator, indent + 2, "");
        json_dumpf(member, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(DIGITS));
        separator = ",\n";
    }
    json_object_foreach (value, key, member) {
        fprintf(out, "%s%*s\"%s\": ", separator, indent + 2, "", key);
        print_value(member, indent + 2, 0, out);
        separator = ",\n";
    }
    fprintf(out, "\n%*s%c", indent, "", json_is_array(value) ? ']' : '}');
}

/* The whole text; the caller frees it.  NULL when memory is out. */
static char *print_object(json_t *all, size_t *length)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, length);
    if (!out)
        return NULL;
    print_value(all, 0, 1, out);
    fputc('\n', out);
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

enum ls_code ls_json_write(json_t *all, const char *path, const char *what, struct ls_error *err)
{
    size_t length = 0;
    char *text = all ? print_object(all, &length) : NULL;
    const enum ls_code code = text ? write_text(path, text, length, err)
                                   : ls_fail(err, LS_FAILED, "out of memory for the JSON of %s", what);
    free(text);
    json_decref(all);
    return code;
}
