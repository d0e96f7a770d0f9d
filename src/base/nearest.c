/* Owns the distance between words: optimal string alignment, over the three last rows of its table. */
#include "base/nearest.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST_WORD = 63 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* From a to b or, at the price of one, to a beginning of b.  Both at most LONGEST_WORD letters. */
static int distance(const char *a, const char *b)
{
    const int n_a = (int)strlen(a), n_b = (int)strlen(b);
    int rows[3][LONGEST_WORD + 1] = {{0}};
    for (int j = 0; j <= n_b; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n_a; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n_b; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    const int *last = rows[n_a % 3];
    int result = last[n_b];
    for (int j = 0; j < n_b; j++)
        result = least(result, last[j] + 1);
    return result;
}

const char *ls_nearest(const char *word, const char *const *known)
{
    const char *nearest = NULL;
    int nearest_distance = LONGEST_WORD;
    if (strlen(word) > LONGEST_WORD)
        return NULL;
    for (; *known; known++) {
        if (strlen(*known) > LONGEST_WORD)
            continue;
        const int d = distance(word, *known);
        if (d < nearest_distance && 2 * d <= (int)strlen(word)) {
            nearest = *known;
            nearest_distance = d;
        }
    }
    return nearest;
}
