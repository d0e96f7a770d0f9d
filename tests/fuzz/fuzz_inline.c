/* What stands behind inline: in --data. */
#include "data/readers.h"
#include "fuzz.h"

FUZZ_TARGET(inline)
{
    struct ls_data data = {.train = {.n_samples = 0}};
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code = ls_read_inline(&data.train, fuzz_text(bytes, n), &err);
    if (code != LS_OK)
        ls_data_release(&data);
    fuzz_check_data(code, &data, &err);
}
