/* CIFAR's binary files: by turns the input as it is, and 64 bytes of it in front of each record of zeros. */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

enum { PIXELS = 3 * 32 * 32, PIECE = 64, MOST_RECORDS = 4 };

FUZZ_TARGET(cifar)
{
    static uint8_t records[MOST_RECORDS * (PIXELS + 2)];
    char spec[100];
    const int is_100 = n > 0 && bytes[0] & 1;
    const size_t record = PIXELS + 1 + (size_t)is_100;
    size_t n_records = 0;
    memset(records, 0, sizeof records);
    for (size_t at = 0; at < n && n_records < MOST_RECORDS; at += PIECE, n_records++)
        memcpy(records + n_records * record, bytes + at, n - at < PIECE ? n - at : PIECE);
    const char *path = n % 4 ? fuzz_file(0, records, n_records * record) : fuzz_file(0, bytes, n);
    snprintf(spec, sizeof spec, n % 4 == 1 ? "cifar%s:%s,%s" : "cifar%s:%s", is_100 ? "100" : "10", path,
             path);
    fuzz_check_stream(spec, 0);
}
