/* What classes are called: class k by name[k].
 *
 * Labels that are the whole numbers 0, 1, ..., n-1 need no names, and have none. */
#ifndef LS_DATA_CLASS_NAMES_H
#define LS_DATA_CLASS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The texts that stand for classes 0, 1, ...; n == 0: labels are numbers.  Released by
 * ls_class_names_release.
 */
struct ls_class_names {
    int32_t n;
    char **name; /* each of ls_alloc, and the list too */
};

void ls_class_names_release(struct ls_class_names *classes);

/* "0", "1", ..., "n-1". */
enum ls_code ls_class_names_count(struct ls_class_names *classes, int32_t n, struct ls_error *err);

enum ls_code ls_class_names_copy(struct ls_class_names *to, const struct ls_class_names *from,
                                 struct ls_error *err);
int ls_class_names_equal(const struct ls_class_names *a, const struct ls_class_names *b);

/* Refuses names that a model could not carry, or that are no names: not UTF-8, without characters or with
 * control characters among them, longer than a label may be, twice.  Files say what they like. */
enum ls_code ls_class_names_check(const struct ls_class_names *classes, struct ls_error *err);

/* The name of class k, into `text`: its number when there are no names. */
enum { LS_LABEL_TEXT = 128 }; /* the longest label, with its NUL */
const char *ls_class_name(const struct ls_class_names *classes, int32_t k, char text[LS_LABEL_TEXT]);

/* "a, b, c", at most 12 of them, for messages.  Returns text. */
const char *ls_class_names_list(const struct ls_class_names *classes, char *text, size_t size);

/* A JSON list of the names, on the heap for ls_free; NULL with *err filled.  Reading refuses what is no list
 * of up to 65,536 different texts. */
char *ls_class_names_to_json(const struct ls_class_names *classes, struct ls_error *err);
enum ls_code ls_class_names_of_json(struct ls_class_names *classes, const char *json, struct ls_error *err);

/* The same list of any texts, for what is no class: up to LS_MOST_NAMES, also the same twice. */
enum { LS_MOST_NAMES = 1000000 };
enum ls_code ls_names_of_json(struct ls_class_names *names, const char *json, struct ls_error *err);

/* Whether JSON can carry the text. */
int ls_name_is_utf8(const char *text);

/* Labels of a file while it is read: which texts there are, and which class each is. */
struct ls_labels {
    struct ls_class_names names; /* capacity: `room` */
    int32_t room;
    int32_t *slot; /* a hash table of 1 + index into names, 0 where nothing is */
    size_t n_slots;
    int closed; /* no text may be added */
};

/* With `known` (or NULL) the names and their order are given, and the set is closed. */
enum ls_code ls_labels_init(struct ls_labels *labels, const struct ls_class_names *known,
                            struct ls_error *err);
void ls_labels_release(struct ls_labels *labels);

/* The set that classes=A|B|.. of a source and what the caller of a stream asks for mean together: a request
 * closes it, and a setting beside it must say the same. */
struct ls_source;
struct ls_stream_request;
enum ls_code ls_labels_of_setting(struct ls_labels *labels, struct ls_source *source,
                                  const struct ls_stream_request *request, struct ls_error *err);

enum ls_label_kind {
    LS_LABEL_NAME,     /* a text */
    LS_LABEL_WHOLE,    /* a whole number: +1, 01 and 1.0 are 1 */
    LS_LABEL_FRACTION, /* a number, but none of a class */
    LS_LABEL_UNFIT     /* longer than LS_LABEL_TEXT, or with control characters */
};

/* The n characters as labels are compared: without blanks around, whole numbers in their shortest form.
 * text[n] is as in base/decimal.h. */
enum ls_label_kind ls_label_normalise(const char *text, size_t n, char label[LS_LABEL_TEXT]);

/* The class of a normalised label, or -1 when it is not there. */
int32_t ls_labels_find(const struct ls_labels *labels, const char *label);

/* Adds a normalised label, if it is not there; refused beyond 65,536. */
enum ls_code ls_labels_add(struct ls_labels *labels, const char *label, struct ls_error *err);

/* Ends an open set: whole numbers in their order when all are, else texts in the order of their bytes. */
void ls_labels_close(struct ls_labels *labels);

/* Takes the names out, for facts; none when they are 0, 1, ..., n-1.  The set stays as it is. */
enum ls_code ls_labels_names(const struct ls_labels *labels, struct ls_class_names *names,
                             struct ls_error *err);

#endif
