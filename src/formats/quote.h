/* Text from a file that somebody else wrote, made fit for a message: short, and without control characters,
 * which could drive the reader's terminal. */
#ifndef LS_FORMATS_QUOTE_H
#define LS_FORMATS_QUOTE_H

struct ls_quoted {
    char text[164]; /* 160 bytes of the original, "..." when there was more */
};

struct ls_quoted ls_quote(const char *text);

/* "a string", "null", "nothing" for NULL, ...: what a JSON value is, for messages. */
struct json_t;
const char *ls_json_kind(const struct json_t *value);

#endif
