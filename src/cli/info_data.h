/* What `lockstep info` says of data. */
#ifndef LS_CLI_INFO_DATA_H
#define LS_CLI_INFO_DATA_H

#include "base/status.h"

/* Whether the word names data that --data takes, and not a model: by what a file holds before what it is
 * called. */
int ls_info_is_data(const char *word);

/* Says format, samples, shape, classes and their balance, ranges and missing values: prints them, or writes
 * them as JSON to the file `json` ("-": standard output) when that is not NULL. */
enum ls_code ls_info_data(const char *spec, const char *json, struct ls_error *err);

/* Lists what --data takes. */
enum ls_code ls_info_formats(struct ls_error *err);

/* The message for a file that is neither data nor a model, when `word` is that. */
enum ls_code ls_info_check_file(const char *word, struct ls_error *err);

#endif
