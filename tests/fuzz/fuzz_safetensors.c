/* safetensors: opened, and every tensor and key read. */
#include <stdlib.h>
#include <string.h>

#include "formats/safetensors.h"
#include "fuzz.h"

static void look(void *context, const char *key, const char *value)
{
    *(size_t *)context += strlen(key) + strlen(value);
}

static void read_tensor(const struct ls_safetensors *file, const struct ls_stored_tensor *stored)
{
    struct ls_error err = {.code = LS_OK};
    struct ls_tensor tensor = {.name = stored->name, .n_dims = stored->n_dims};
    fuzz_require(ls_safetensors_find(file, stored->name) == stored, "a tensor is not found by its name");
    memcpy(tensor.dims, stored->dims, sizeof tensor.dims);
    tensor.data = malloc((size_t)stored->n_elements * sizeof(float) + 1);
    if (!tensor.data)
        return;
    for (tensor.transposed = 0; tensor.transposed <= (stored->n_dims >= 2); tensor.transposed++)
        fuzz_require(ls_safetensors_read(file, &tensor, &err) == LS_OK, "a checked tensor cannot be read");
    free(tensor.data);
}

FUZZ_TARGET(safetensors)
{
    struct ls_safetensors *file;
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code = ls_safetensors_open(&file, fuzz_file(0, bytes, n), &err);
    size_t length = 0;
    fuzz_require_message(code, &err);
    fuzz_require((code == LS_OK) == (file != NULL), "a file that failed is open");
    if (!file)
        return;
    for (ptrdiff_t i = 0; i < ls_safetensors_count(file); i++)
        read_tensor(file, ls_safetensors_tensor(file, i));
    ls_safetensors_each_metadata(file, look, &length);
    fuzz_require(length <= n, "more metadata than the file holds");
    ls_safetensors_close(&file);
}
