/* Small things with words that several parts need: the nearest known name, lists for messages, strict
 * numbers. */
#ifndef LS_BASE_TEXT_H
#define LS_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* The name of the NULL-terminated list with the least Levenshtein distance to `word`, where a missing end
 * counts as one ("fashon" means "fashion-mnist"); the first of several.  The list has at least one name. */
const char *ls_text_nearest(const char *word, const char *const *names);

/* "a, b, c" in `text`, cut to size; returns text. */
const char *ls_text_join(const char *const *names, char *text, size_t size);

/* The whole of `word` as a number; 0 when it is not one, has trailing characters, or is out of the type's
 * range. */
int ls_text_to_int64(const char *word, int64_t *value);
int ls_text_to_uint64(const char *word, uint64_t *value);
int ls_text_to_float(const char *word, float *value); /* finite only, rounded once to binary32 */

enum { LS_FLOAT_TEXT = 20 };

/* The fewest digits that read back as the same binary32: 0.1, not 0.100000001; "nan", "inf", "-inf".  Returns
 * text. */
const char *ls_text_of_float(float value, char text[LS_FLOAT_TEXT]);

/* Reads what ls_text_of_float writes, of any value. */
int ls_text_to_any_float(const char *word, float *value);

/* 60000 -> "60,000".  Returns text. */
const char *ls_text_grouped(int64_t number, char text[32]);

#endif
