#include "compare.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int agree(struct compare how, float found, float expected)
{
    if (!isfinite(found) || !isfinite(expected)) {
        if (!how.allow_non_finite)
            return 0;
        return isnan(found) || isnan(expected) ? isnan(found) && isnan(expected) : found == expected;
    }
    if (how.exact)
        return memcmp(&found, &expected, sizeof found) == 0;
    return fabs((double)found - (double)expected) <= how.atol + how.rtol * fabs((double)expected);
}

int compare_floats(struct compare how, const char *name, size_t n, const float *found, const float *expected,
                   char *message, size_t message_bytes)
{
    size_t wrong = 0, first = 0;
    for (size_t i = 0; i < n; i++)
        if (!agree(how, found[i], expected[i]) && wrong++ == 0)
            first = i;
    if (wrong == 0)
        return 1;
    snprintf(message, message_bytes, "%s[%zu]: %a (%.9g), expected %a (%.9g); %zu of %zu differ", name, first,
             (double)found[first], (double)found[first], (double)expected[first], (double)expected[first],
             wrong, n);
    return 0;
}
