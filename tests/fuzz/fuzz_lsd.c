/* The trainer's own data file.  The input is the header's fields, then 64 bytes of each page behind it; the
 * checksums of the header and of the class names are made right, or nothing else of the file would ever be
 * looked at.  By turns mapped, read by position and copied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/lsd.h"
#include "fuzz.h"

enum {
    FIELDS = 216,
    PIECE = 64,
    MOST_PAGES = 1 + (1024 - FIELDS) / PIECE + 1,
    AT_NAMES_BYTES = 80,
    AT_NAMES = 184
};

static size_t make_file(uint8_t file[MOST_PAGES * LS_LSD_PAGE], const uint8_t *bytes, size_t n)
{
    size_t pages = 1;
    memset(file, 0, MOST_PAGES * LS_LSD_PAGE);
    memcpy(file, bytes, n < FIELDS ? n : FIELDS);
    for (size_t at = FIELDS; at < n && pages < MOST_PAGES; at += PIECE, pages++)
        memcpy(file + pages * LS_LSD_PAGE, bytes + at, n - at < PIECE ? n - at : PIECE);
    uint64_t names;
    memcpy(&names, file + AT_NAMES_BYTES, sizeof names);
    if (names > 0 && names <= (pages - 1) * LS_LSD_PAGE)
        ls_lsd_put_hash(file + AT_NAMES, ls_hash_bytes(file + LS_LSD_PAGE, names));
    ls_lsd_put_hash(file + LS_LSD_PAGE - LS_LSD_HASH_BYTES,
                    ls_hash_bytes(file, LS_LSD_PAGE - LS_LSD_HASH_BYTES));
    return pages * LS_LSD_PAGE;
}

static void touch(const struct ls_dataset *dataset)
{
    float x[1024], sum = 0.0f;
    for (int64_t i = 0; i < dataset->n_samples && dataset->n_features <= 1024; i++) {
        ls_dataset_gather_raw(dataset, i, x);
        sum += x[dataset->n_features - 1];
        if (ls_dataset_has_labels(dataset)) {
            const int32_t label = ls_dataset_label(dataset, i);
            fuzz_require(label >= 0 && label < dataset->n_classes, "a label outside of the classes");
        }
        for (ptrdiff_t v = 0; v < dataset->n_values; v++)
            sum += dataset->values[i * dataset->n_values + v];
    }
    volatile float kept = sum; /* so that everything is read */
    (void)kept;
}

FUZZ_TARGET(lsd)
{
    static uint8_t file[MOST_PAGES * LS_LSD_PAGE];
    static const char *const ways[] = {"mmap", "pread", "memory"};
    struct ls_data data;
    struct ls_error err = {.code = LS_OK};
    char spec[100];
    snprintf(spec, sizeof spec, "lsd:%s,read=%s", fuzz_file(0, file, make_file(file, bytes, n)), ways[n % 3]);
    enum ls_code code = ls_data_open(&data, spec, NULL, &err);
    if (code == LS_OK && (code = ls_data_check(&data, LS_CHECK_OFF, 0, 1, &err)) == LS_OK) {
        touch(&data.train);
        touch(&data.test);
    }
    fuzz_require_message(code, &err);
    if (code == LS_OK)
        ls_data_check(&data, LS_CHECK_ON, 0, 1, &err); /* mostly finds damage */
    ls_data_release(&data);
}
