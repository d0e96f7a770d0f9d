/* IDX labels or target values, plain or gzip, beside good images of three samples. */
#include "data/readers.h"
#include "fuzz.h"

FUZZ_TARGET(idx_labels)
{
    static const uint8_t images[] = {0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, 9, 8, 7, 6, 5, 4};
    const struct ls_idx_paths paths = {fuzz_file(1, images, sizeof images), fuzz_file(0, bytes, n), NULL,
                                       NULL};
    struct ls_data data = {.train = {.n_samples = 0}};
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code = ls_read_idx(&data, &paths, &err);
    if (code != LS_OK)
        ls_data_release(&data);
    fuzz_check_data(code, &data, &err);
}
