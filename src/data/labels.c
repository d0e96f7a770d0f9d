/* Owns how the texts of labels become classes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/class_names.h"
#include "data/readers.h"
#include "data/source.h"
#include "data/stream.h"

static enum ls_label_kind of_number(double number, char label[LS_LABEL_TEXT])
{
    const double exact = 9007199254740992.0; /* 2^53 */
    if (!(number > -exact && number < exact) || number != (double)(int64_t)number)
        return LS_LABEL_FRACTION;
    snprintf(label, LS_LABEL_TEXT, "%lld", (long long)number);
    return LS_LABEL_WHOLE;
}

enum ls_label_kind ls_label_normalise(const char *text, size_t n, char label[LS_LABEL_TEXT])
{
    for (; n > 0 && (*text == ' ' || *text == '\t'); n--)
        text++;
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    if (n >= LS_LABEL_TEXT)
        return LS_LABEL_UNFIT;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return LS_LABEL_UNFIT;
    memcpy(label, text, n);
    label[n] = '\0';
    if (n == 1 && *label >= '0' && *label <= '9')
        return LS_LABEL_WHOLE;
    float rounded;
    return ls_decimal_to_float(label, n, &rounded) == LS_DECIMAL_NONE ? LS_LABEL_NAME
                                                                      : of_number(strtod(label, NULL), label);
}

/* Where `label` stands in the table, or the empty slot where it would. */
static size_t slot_of(const struct ls_labels *labels, const char *label)
{
    size_t at = (size_t)ls_hash_bytes(label, strlen(label)).low & (labels->n_slots - 1);
    while (labels->slot[at] && strcmp(labels->names.name[labels->slot[at] - 1], label) != 0)
        at = (at + 1) & (labels->n_slots - 1);
    return at;
}

int32_t ls_labels_find(const struct ls_labels *labels, const char *label)
{
    return labels->slot[slot_of(labels, label)] - 1;
}

/* All names into the table again, which is empty. */
static void fill_slots(struct ls_labels *labels)
{
    memset(labels->slot, 0, labels->n_slots * sizeof *labels->slot);
    for (int32_t i = 0; i < labels->names.n; i++)
        labels->slot[slot_of(labels, labels->names.name[i])] = i + 1;
}

/* Room for twice as many names; the table stays at most half full. */
static enum ls_code make_room(struct ls_labels *labels, int32_t room, struct ls_error *err)
{
    char **name = ls_alloc((size_t)room, sizeof *name, "class names", err);
    int32_t *slot = ls_alloc(2 * (size_t)room, sizeof *slot, "class names", err);
    if (!name || !slot) {
        ls_free(name);
        ls_free(slot);
        return LS_FAILED;
    }
    if (labels->names.n > 0)
        memcpy(name, labels->names.name, (size_t)labels->names.n * sizeof *name);
    ls_free(labels->names.name);
    ls_free(labels->slot);
    labels->names.name = name;
    labels->slot = slot;
    labels->n_slots = 2 * (size_t)room;
    labels->room = room;
    fill_slots(labels);
    return LS_OK;
}

enum ls_code ls_labels_init(struct ls_labels *labels, const struct ls_class_names *known,
                            struct ls_error *err)
{
    *labels = (struct ls_labels){.room = 0};
    int32_t room = 16;
    while (known && room < known->n)
        room *= 2;
    enum ls_code code = make_room(labels, room, err);
    for (int32_t i = 0; code == LS_OK && known && i < known->n; i++)
        code = ls_labels_find(labels, known->name[i]) >= 0
                   ? ls_fail(err, LS_FAILED, "the class name '%.60s' is given twice", known->name[i])
                   : ls_labels_add(labels, known->name[i], err);
    labels->closed = known != NULL;
    if (code != LS_OK)
        ls_labels_release(labels);
    return code;
}

void ls_labels_release(struct ls_labels *labels)
{
    ls_class_names_release(&labels->names);
    ls_free(labels->slot);
    *labels = (struct ls_labels){.room = 0};
}

enum ls_code ls_labels_add(struct ls_labels *labels, const char *label, struct ls_error *err)
{
    if (ls_labels_find(labels, label) >= 0)
        return LS_OK;
    if (labels->names.n > LS_MAX_LABEL)
        return ls_fail(err, LS_FAILED, "more than %d different labels", LS_MAX_LABEL + 1);
    if (labels->names.n == labels->room && make_room(labels, 2 * labels->room, err) != LS_OK)
        return LS_FAILED;
    char *copy = ls_copy_text(label, err);
    if (!copy)
        return LS_FAILED;
    const size_t at = slot_of(labels, label);
    labels->names.name[labels->names.n++] = copy;
    labels->slot[at] = labels->names.n;
    return LS_OK;
}

/* A|B|.. as an open set that is then closed in this order. */
static enum ls_code read_list(struct ls_labels *labels, const char *value, struct ls_error *err)
{
    enum ls_code code = ls_labels_init(labels, NULL, err);
    for (const char *at = value; code == LS_OK && at;) {
        char label[LS_LABEL_TEXT];
        const size_t n = strcspn(at, "|");
        char word[LS_LABEL_TEXT] = "";
        memcpy(word, at, n < sizeof word ? n : sizeof word - 1);
        if (n == 0 || n >= sizeof word || ls_label_normalise(word, n, label) == LS_LABEL_UNFIT)
            code = ls_fail(err, LS_USAGE, "classes=: '%.60s' is no class name", word);
        else if (ls_labels_find(labels, label) >= 0)
            code = ls_fail(err, LS_USAGE, "classes=: '%.60s' is given twice", label);
        else
            code = ls_labels_add(labels, label, err);
        at = at[n] ? at + n + 1 : NULL;
    }
    labels->closed = 1;
    return code;
}

static enum ls_code check_setting(const struct ls_source *source, const char *value,
                                  const struct ls_labels *labels, const struct ls_class_names *known,
                                  struct ls_error *err)
{
    char list[400];
    if (ls_class_names_equal(known, &labels->names))
        return LS_OK;
    return ls_fail(err, LS_USAGE,
                   "data \"%s\": classes=%.200s: the model or the training data have the classes %s; leave "
                   "the setting out",
                   source->files[0], value, ls_class_names_list(known, list, sizeof list));
}

enum ls_code ls_labels_of_setting(struct ls_labels *labels, struct ls_source *source,
                                  const struct ls_stream_request *request, struct ls_error *err)
{
    const char *value = ls_source_setting(source, "classes");
    const struct ls_class_names *known =
        request->classes && request->classes->n > 0 ? request->classes : NULL;
    struct ls_class_names numbers = {.n = 0};
    struct ls_error inner = {.code = LS_OK};
    if (!known && request->n_numbered > 0) {
        known = &numbers;
        if (ls_class_names_count(&numbers, request->n_numbered, err) != LS_OK)
            return LS_FAILED;
    }
    enum ls_code code = value ? read_list(labels, value, &inner) : ls_labels_init(labels, known, &inner);
    if (code != LS_OK)
        code = ls_fail(err, code, "data \"%s\": %.600s", source->files[0], inner.text);
    else if (value && known)
        code = check_setting(source, value, labels, known, err);
    ls_class_names_release(&numbers);
    return code;
}

static int by_number(const void *a, const void *b)
{
    const long long x = strtoll(*(char *const *)a, NULL, 10), y = strtoll(*(char *const *)b, NULL, 10);
    return (x > y) - (x < y);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void ls_labels_close(struct ls_labels *labels)
{
    char again[LS_LABEL_TEXT];
    int whole = 1;
    if (labels->closed)
        return;
    for (int32_t i = 0; i < labels->names.n; i++)
        whole &=
            ls_label_normalise(labels->names.name[i], strlen(labels->names.name[i]), again) == LS_LABEL_WHOLE;
    qsort(labels->names.name, (size_t)labels->names.n, sizeof *labels->names.name,
          whole ? by_number : by_bytes);
    fill_slots(labels);
    labels->closed = 1;
}

enum ls_code ls_labels_names(const struct ls_labels *labels, struct ls_class_names *names,
                             struct ls_error *err)
{
    char number[24];
    for (int32_t i = 0; i < labels->names.n; i++) {
        snprintf(number, sizeof number, "%d", i);
        if (strcmp(number, labels->names.name[i]) != 0)
            return ls_class_names_copy(names, &labels->names, err);
    }
    *names = (struct ls_class_names){0};
    return LS_OK;
}
