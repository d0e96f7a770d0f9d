/* Owns the reading of numbers: nothing else in the project calls strtol and its kin on what a user typed. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_WORD = 48 };

/* From a to b or, at the price of one, to a beginning of b. */
static int levenshtein(const char *a, const char *b)
{
    int row[LONGEST_WORD + 1] = {0};
    const int na = (int)strnlen(a, LONGEST_WORD), nb = (int)strnlen(b, LONGEST_WORD);
    for (int j = 0; j <= nb; j++)
        row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    int least = row[nb];
    for (int j = 0; j < nb; j++)
        if (row[j] + 1 < least)
            least = row[j] + 1;
    return least;
}

const char *ls_text_nearest(const char *word, const char *const *names)
{
    const char *best = names[0];
    for (int i = 1; names[i]; i++)
        if (levenshtein(word, names[i]) < levenshtein(word, best))
            best = names[i];
    return best;
}

const char *ls_text_join(const char *const *names, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; names[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i]);
    return text;
}

/* strto* accept leading blanks and an empty rest; a whole word may have neither. */
static int whole(const char *word, const char *end)
{
    return *word && !isspace((unsigned char)*word) && end != word && *end == '\0';
}

int ls_text_to_int64(const char *word, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(word, &end, 10);
    if (!whole(word, end) || errno)
        return 0;
    *value = number;
    return 1;
}

int ls_text_to_uint64(const char *word, uint64_t *value)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(word, &end, 0);
    if (!whole(word, end) || errno || *word == '-')
        return 0;
    *value = number;
    return 1;
}

int ls_text_to_float(const char *word, float *value)
{
    char *end = NULL;
    errno = 0;
    const float number = strtof(word, &end);
    if (!whole(word, end) || !isfinite(number))
        return 0;
    *value = number;
    return 1;
}

const char *ls_text_of_float(float value, char text[LS_FLOAT_TEXT])
{
    if (value != value) /* its sign differs between processors, and printf shows it */
        return strcpy(text, "nan");
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, LS_FLOAT_TEXT, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return text;
}

int ls_text_to_any_float(const char *word, float *value)
{
    char *end = NULL;
    const float number = strtof(word, &end);
    if (!whole(word, end))
        return 0;
    *value = number;
    return 1;
}

const char *ls_text_grouped(int64_t number, char text[32])
{
    char plain[24];
    const int n = snprintf(plain, sizeof plain, "%lld", (long long)number);
    int used = 0;
    for (int i = 0; i < n; i++) {
        text[used++] = plain[i];
        if (i + 1 < n && (n - 1 - i) % 3 == 0 && plain[i] != '-')
            text[used++] = ',';
    }
    text[used] = '\0';
    return text;
}
