/* NumPy's .npz, as training opens it, and by turns as a stream. */
#include <stdio.h>

#include "fuzz.h"

FUZZ_TARGET(npz)
{
    char spec[100];
    struct ls_data data;
    struct ls_error err = {.code = LS_OK};
    snprintf(spec, sizeof spec, "npz:%s", fuzz_file(0, bytes, n));
    if (n % 2)
        fuzz_check_stream(spec, 0);
    else
        fuzz_check_data(ls_data_open(&data, spec, NULL, &err), &data, &err);
}
