/* The words of --data and --test-data, a line each.  Files that they name are not there; other targets have
 * files. */
#include <string.h>

#include "fuzz.h"

FUZZ_TARGET(spec)
{
    struct ls_data data;
    struct ls_error err = {.code = LS_OK};
    char *spec = fuzz_text(bytes, n), *test = strchr(spec, '\n');
    if (test)
        *test++ = '\0';
    fuzz_hides_files = 1;
    fuzz_check_data(ls_data_open(&data, spec, test, &err), &data, &err);
}
