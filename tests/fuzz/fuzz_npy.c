/* NumPy's .npy: by turns the input as inputs beside good labels, and as targets beside good inputs, of three
 * samples. */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

/* An array of three bytes: 128 bytes in front of them, as numpy pads it. */
static const char *good(int slot)
{
    uint8_t file[128 + 3] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0};
    static const char text[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }";
    memset(file + 10, ' ', 118);
    memcpy(file + 10, text, sizeof text - 1);
    file[127] = '\n';
    memcpy(file + 128, (const uint8_t[]){2, 0, 1}, 3);
    return fuzz_file(slot, file, sizeof file);
}

FUZZ_TARGET(npy)
{
    char spec[100];
    const char *input = fuzz_file(0, bytes, n), *other = good(1);
    const int as_inputs = n > 0 && bytes[n - 1] % 2;
    snprintf(spec, sizeof spec, "npy:%s,%s", as_inputs ? input : other, as_inputs ? other : input);
    fuzz_check_stream(spec, 0);
}
