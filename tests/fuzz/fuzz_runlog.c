/* Run logs, as `lockstep verify` compares them: by turns the input with itself, and the half of it up to a
 * line's end with the rest. */
#include <stdio.h>
#include <string.h>

#include "formats/compare.h"
#include "fuzz.h"

static enum ls_code compare(const char *a, const char *b)
{
    static char room[1 << 16];
    static FILE *out; /* nothing is kept of what is printed */
    struct ls_error err = {.code = LS_OK};
    if (!out)
        out = fmemopen(room, sizeof room, "w");
    fuzz_require(out != NULL, "no memory to print to");
    rewind(out);
    const enum ls_code code = ls_compare_logs(a, b, out, &err);
    if (code != LS_DIFFERENT)
        fuzz_require_message(code, &err);
    return code;
}

FUZZ_TARGET(runlog)
{
    const uint8_t *middle = n % 2 ? memchr(bytes + n / 2, '\n', n - n / 2) : NULL;
    if (middle) {
        const size_t first = (size_t)(middle + 1 - bytes);
        compare(fuzz_file(1, bytes, first), fuzz_file(2, middle + 1, n - first));
    } else {
        const char *whole = fuzz_file(0, bytes, n);
        fuzz_require(compare(whole, whole) != LS_DIFFERENT, "a log differs from itself");
    }
}
