/* IDX images, plain or gzip, beside good labels for three samples. */
#include "data/readers.h"
#include "fuzz.h"

FUZZ_TARGET(idx)
{
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 1};
    const struct ls_idx_paths paths = {fuzz_file(0, bytes, n), fuzz_file(1, labels, sizeof labels), NULL,
                                       NULL};
    struct ls_data data = {.train = {.n_samples = 0}};
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code = ls_read_idx(&data, &paths, &err);
    if (code != LS_OK)
        ls_data_release(&data);
    fuzz_check_data(code, &data, &err);
}
