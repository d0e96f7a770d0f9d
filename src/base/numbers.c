/* Owns the spelling of lists of numbers. */
#include "base/numbers.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

char *ls_numbers_to_text(ptrdiff_t n, const float *numbers, const char *what, struct ls_error *err)
{
    char *text = ls_alloc((size_t)n, LS_FLOAT_TEXT + 1, what, err), *at = text;
    for (ptrdiff_t k = 0; text && k < n; k++) {
        char number[LS_FLOAT_TEXT];
        if (k > 0)
            *at++ = ',';
        at = stpcpy(at, ls_text_of_float(numbers[k], number));
    }
    return text;
}

ptrdiff_t ls_numbers_count(const char *text)
{
    ptrdiff_t n = 1;
    for (; *text; text++)
        n += *text == ',';
    return n;
}

enum ls_code ls_numbers_of_text(const char *text, const char *what, ptrdiff_t n, float *numbers,
                                struct ls_error *err)
{
    ptrdiff_t found = 0;
    for (const char *at = text; at; found++) {
        const size_t length = strcspn(at, ",");
        char word[LS_FLOAT_TEXT + 20];
        snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), at);
        if (found < n && !ls_text_to_float(word, &numbers[found]))
            return ls_fail(err, LS_FAILED, "%s: number %td is '%s'; allowed are finite numbers", what,
                           found + 1, word);
        at = at[length] ? at + length + 1 : NULL;
    }
    if (found == n)
        return LS_OK;
    return ls_fail(err, LS_FAILED, "%s has %td numbers, a sample has %td features", what, found, n);
}
