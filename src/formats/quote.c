/* Owns how foreign text looks in messages. */
#include "formats/quote.h"

#include <jansson.h>
#include <string.h>

struct ls_quoted ls_quote(const char *text)
{
    const size_t most = sizeof(struct ls_quoted) - 4;
    struct ls_quoted quoted = {""};
    size_t n = strlen(text);
    const int cut = n > most;
    if (cut)
        for (n = most; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80;)
            n--; /* not in the middle of a UTF-8 character */
    for (size_t i = 0; i < n; i++)
        quoted.text[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    if (cut)
        memcpy(quoted.text + n, "...", 4);
    return quoted;
}

const char *ls_json_kind(const struct json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_NULL:
        return "null";
    case JSON_TRUE:
    case JSON_FALSE:
        break;
    }
    return "true or false";
}
