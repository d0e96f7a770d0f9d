/* Owns lists of class names, and their form in a model's metadata. */
#include "data/class_names.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "data/readers.h"
#include "formats/quote.h"

void ls_class_names_release(struct ls_class_names *classes)
{
    for (int32_t i = 0; i < classes->n; i++)
        ls_free(classes->name[i]);
    ls_free(classes->name);
    *classes = (struct ls_class_names){0};
}

/* A list of n texts that `text_of` gives; NULL from it is a failure that it has reported. */
static enum ls_code make(struct ls_class_names *classes, int32_t n,
                         const char *(*text_of)(const void *context, int32_t i, char text[LS_LABEL_TEXT],
                                                struct ls_error *err),
                         const void *context, struct ls_error *err)
{
    *classes =
        (struct ls_class_names){.name = ls_alloc((size_t)n, sizeof *classes->name, "class names", err)};
    for (int32_t i = 0; classes->name && i < n; i++) {
        char text[LS_LABEL_TEXT];
        const char *name = text_of(context, i, text, err);
        classes->name[i] = name ? ls_copy_text(name, err) : NULL;
        if (!classes->name[i])
            break;
        classes->n++;
    }
    if (classes->name && classes->n == n)
        return LS_OK;
    ls_class_names_release(classes);
    return LS_FAILED;
}

static const char *count(const void *context, int32_t i, char text[LS_LABEL_TEXT], struct ls_error *err)
{
    (void)context;
    (void)err;
    snprintf(text, LS_LABEL_TEXT, "%d", i);
    return text;
}

enum ls_code ls_class_names_count(struct ls_class_names *classes, int32_t n, struct ls_error *err)
{
    return make(classes, n, count, NULL, err);
}

static const char *name_of(const void *context, int32_t i, char text[LS_LABEL_TEXT], struct ls_error *err)
{
    (void)text;
    (void)err;
    return ((const struct ls_class_names *)context)->name[i];
}

enum ls_code ls_class_names_copy(struct ls_class_names *to, const struct ls_class_names *from,
                                 struct ls_error *err)
{
    if (from->n > 0)
        return make(to, from->n, name_of, from, err);
    *to = (struct ls_class_names){0};
    return LS_OK;
}

int ls_class_names_equal(const struct ls_class_names *a, const struct ls_class_names *b)
{
    if (a->n != b->n)
        return 0;
    for (int32_t i = 0; i < a->n; i++)
        if (strcmp(a->name[i], b->name[i]) != 0)
            return 0;
    return 1;
}

static int has_control_characters(const char *text)
{
    while (*text && (unsigned char)*text >= 0x20 && *text != 0x7F)
        text++;
    return *text != '\0';
}

int ls_name_is_utf8(const char *text)
{
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

enum ls_code ls_class_names_check(const struct ls_class_names *classes, struct ls_error *err)
{
    for (int32_t i = 0; i < classes->n; i++) {
        const char *name = classes->name[i], *why = NULL;
        if (strlen(name) >= LS_LABEL_TEXT || *name == '\0')
            why = "a name has 1 to 127 bytes";
        else if (has_control_characters(name))
            why = "control characters are no part of a name";
        else if (!ls_name_is_utf8(name))
            why = "it is not UTF-8: iconv -f LATIN1 -t UTF-8 makes it, if the text is Latin-1";
        if (why)
            return ls_fail(err, LS_FAILED, "class %d is called '%s': %s", i, ls_quote(name).text, why);
    }
    struct ls_labels labels;
    const enum ls_code code = ls_labels_init(&labels, classes, err); /* all are different */
    if (code == LS_OK)
        ls_labels_release(&labels);
    return code;
}

const char *ls_class_name(const struct ls_class_names *classes, int32_t k, char text[LS_LABEL_TEXT])
{
    if (k < classes->n)
        return classes->name[k];
    snprintf(text, LS_LABEL_TEXT, "%d", k);
    return text;
}

const char *ls_class_names_list(const struct ls_class_names *classes, char *text, size_t size)
{
    const int32_t shown = classes->n > 12 ? 12 : classes->n;
    size_t used = 0;
    text[0] = '\0';
    for (int32_t i = 0; i < shown && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.40s", i ? ", " : "", classes->name[i]);
    if (classes->n > shown && used < size)
        snprintf(text + used, size - used, ", ... (%d in all)", classes->n);
    return text;
}

char *ls_class_names_to_json(const struct ls_class_names *classes, struct ls_error *err)
{
    json_t *list = json_array();
    int whole = list != NULL;
    for (int32_t i = 0; whole && i < classes->n; i++)
        whole = json_array_append_new(list, json_string(classes->name[i])) == 0;
    const size_t n = whole ? json_dumpb(list, NULL, 0, 0) : 0;
    char *text = n ? ls_alloc(n + 1, 1, "class names", err) : NULL;
    if (text)
        json_dumpb(list, text, n, 0);
    else if (!n)
        ls_fail(err, LS_FAILED, "class names: out of memory, or a name is not UTF-8");
    json_decref(list);
    return text;
}

static const char *json_name(const void *context, int32_t i, char text[LS_LABEL_TEXT], struct ls_error *err)
{
    const json_t *element = json_array_get(context, (size_t)i);
    const char *name = json_string_value(element);
    (void)text;
    if (!name || json_string_length(element) >= LS_LABEL_TEXT ||
        strlen(name) != json_string_length(element)) {
        ls_fail(err, LS_FAILED, "class name %d is no text of at most %d bytes", i, LS_LABEL_TEXT - 1);
        return NULL;
    }
    return name;
}

enum ls_code ls_class_names_of_json(struct ls_class_names *classes, const char *json, struct ls_error *err)
{
    json_t *list = json_loads(json, 0, NULL);
    const size_t n = json_array_size(list);
    enum ls_code code =
        n < 1 || n > LS_MAX_LABEL + 1
            ? ls_fail(err, LS_FAILED, "class names are no list of 1 to %d texts", LS_MAX_LABEL + 1)
            : make(classes, (int32_t)n, json_name, list, err);
    json_decref(list);
    if (code == LS_OK)
        code = ls_class_names_check(classes, err);
    if (code != LS_OK)
        ls_class_names_release(classes);
    return code;
}

static const char *json_text(const void *context, int32_t i, char text[LS_LABEL_TEXT], struct ls_error *err)
{
    const json_t *element = json_array_get(context, (size_t)i);
    const char *name = json_string_value(element);
    (void)text;
    if (name && strlen(name) == json_string_length(element))
        return name;
    ls_fail(err, LS_FAILED, "name %d is no text", i + 1);
    return NULL;
}

enum ls_code ls_names_of_json(struct ls_class_names *names, const char *json, struct ls_error *err)
{
    json_t *list = json_loads(json, 0, NULL);
    const size_t n = json_array_size(list);
    *names = (struct ls_class_names){.n = 0};
    const enum ls_code code =
        n < 1 || n > LS_MOST_NAMES
            ? ls_fail(err, LS_FAILED, "names are no list of 1 to %d texts", LS_MOST_NAMES)
            : make(names, (int32_t)n, json_text, list, err);
    json_decref(list);
    return code;
}
