/* The feature scaling that a model stores: its kind, offsets and factors, a line each, for three features. */
#include <math.h>
#include <string.h>

#include "data/scaling.h"
#include "fuzz.h"

FUZZ_TARGET(scaling)
{
    struct ls_scaling scaling;
    struct ls_error err = {.code = LS_OK};
    char *rest = fuzz_text(bytes, n);
    const char *kind = strsep(&rest, "\n"), *offsets = rest ? strsep(&rest, "\n") : "",
               *factors = rest ? rest : "";
    const enum ls_code code = ls_scaling_read(&scaling, 3, kind, offsets, factors, &err);
    fuzz_require_message(code, &err);
    for (int k = 0; code == LS_OK && scaling.kind != LS_SCALE_NONE && k < 3; k++)
        fuzz_require(isfinite(scaling.offset[k]) && isfinite(scaling.factor[k]),
                     "a scaling that is not finite");
    if (code == LS_OK)
        ls_scaling_release(&scaling);
}
