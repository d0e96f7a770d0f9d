/* What commands say as one JSON object, for programs to read. */
#ifndef LS_CLI_JSON_REPORT_H
#define LS_CLI_JSON_REPORT_H

#include <jansson.h>

#include "base/status.h"

/* What JSON has no number for is a text, as in run logs. */
json_t *ls_json_number(double value);

/* Adds a member, whose reference it takes; with no memory for it the whole object goes, and *all is NULL from
 * then on. */
void ls_json_put(json_t **all, const char *key, json_t *value);

/* Adds the text of a name that a user or a file chose.  LS_FAILED when it is not UTF-8; `what` says in the
 * message whose it is. */
enum ls_code ls_json_put_name(json_t **all, const char *key, const char *name, const char *what,
                              struct ls_error *err);

/* Writes the object and lets it go: to standard output when path is "-", else as a file that replaces an old
 * one.  A member a line, and a line an element of lists of objects: 100 classes stay readable, and can be
 * compared by lines.  Numbers have 9 digits: a binary32 reads back as it was.  `all` may be NULL: memory is
 * out.  Local. */
enum ls_code ls_json_write(json_t *all, const char *path, const char *what, struct ls_error *err);

#endif
