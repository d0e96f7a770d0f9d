/* The list of layer kinds, and shapes as text. */
#include "layers/layer.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct ls_layer_kind *const kinds[] = {&ls_layer_dense, &ls_layer_relu, &ls_layer_tanh,
                                                    &ls_layer_sigmoid};

enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

const struct ls_layer_kind *ls_layer_find(const char *name, struct ls_error *err)
{
    const char *names[N_KINDS + 1] = {NULL};
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(name, kinds[i]->name) == 0)
            return kinds[i];
        names[i] = kinds[i]->name;
    }
    char known[256];
    ls_fail(err, LS_USAGE, "unknown layer '%s': did you mean '%s'? Known layers: %s", name,
            ls_text_nearest(name, names), ls_text_join(names, known, sizeof known));
    return NULL;
}

struct ls_shape ls_shape_of(int n_dims, const ptrdiff_t *dims)
{
    struct ls_shape shape = {.n_dims = n_dims, .count = 1};
    for (int d = 0; d < n_dims; d++) {
        shape.dims[d] = dims[d];
        shape.count *= dims[d];
    }
    return shape;
}

const char *ls_shape_format(const struct ls_shape *shape, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int d = 0; d < shape->n_dims && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%td", d ? "x" : "", shape->dims[d]);
    return text;
}
