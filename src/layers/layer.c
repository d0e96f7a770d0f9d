/* The list of layer kinds, shapes, and what kinds share in reading their words. */
#include "layers/layer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct ls_layer_kind *const kinds[] = {
    &ls_layer_dense,         &ls_layer_conv,    &ls_layer_maxpool,   &ls_layer_avgpool,
    &ls_layer_globalavgpool, &ls_layer_flatten, &ls_layer_dropout,   &ls_layer_batchnorm,
    &ls_layer_layernorm,     &ls_layer_relu,    &ls_layer_leakyrelu, &ls_layer_gelu,
    &ls_layer_tanh,          &ls_layer_sigmoid, &ls_layer_softplus,  &ls_layer_softmax};

enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

const struct ls_layer_kind *ls_layer_kind_at(int i)
{
    return i < N_KINDS ? kinds[i] : NULL;
}

const struct ls_layer_kind *ls_layer_find(const char *name, struct ls_error *err)
{
    const char *names[N_KINDS + 2] = {NULL};
    for (int i = 0; i < N_KINDS; i++) {
        if (strcmp(name, kinds[i]->name) == 0)
            return kinds[i];
        names[i] = kinds[i]->name;
    }
    names[N_KINDS] = "residual"; /* a block, which the net's language knows */
    char known[256];
    ls_fail(err, LS_USAGE, "unknown layer '%s': did you mean '%s'? Known layers: %s", name,
            ls_text_nearest(name, names), ls_text_join(names, known, sizeof known));
    return NULL;
}

ptrdiff_t ls_parameter_columns(const struct ls_parameter *tensor)
{
    return tensor->transposed ? tensor->dims[0] : tensor->count;
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

int ls_shape_equal(const struct ls_shape *a, const struct ls_shape *b)
{
    return a->n_dims == b->n_dims && memcmp(a->dims, b->dims, (size_t)a->n_dims * sizeof *a->dims) == 0;
}

struct ls_image ls_shape_image(const struct ls_shape *shape)
{
    const ptrdiff_t *d = shape->dims;
    if (shape->n_dims == 3)
        return (struct ls_image){d[0], d[1], d[2]};
    if (shape->n_dims == 2)
        return (struct ls_image){1, d[0], d[1]};
    return (struct ls_image){shape->count, 1, 1};
}

struct ls_shape ls_shape_of_image(ptrdiff_t C, ptrdiff_t H, ptrdiff_t W)
{
    return ls_shape_of(3, (const ptrdiff_t[]){C, H, W});
}

int ls_shape_parse(const char *text, struct ls_shape *shape)
{
    ptrdiff_t dims[LS_SHAPE_DIMS], count = 1;
    int n = 0;
    for (const char *at = text; at; n++) {
        char word[24];
        int64_t dim = 0;
        const size_t length = strcspn(at, "x");
        if (n == LS_SHAPE_DIMS || length >= sizeof word)
            return 0;
        memcpy(word, at, length);
        word[length] = '\0';
        if (!ls_text_to_int64(word, &dim) || dim < 1 || dim > INT32_MAX || count > INT32_MAX / (ptrdiff_t)dim)
            return 0;
        dims[n] = (ptrdiff_t)dim;
        count *= (ptrdiff_t)dim;
        at = at[length] ? at + length + 1 : NULL;
    }
    *shape = ls_shape_of(n, dims);
    return 1;
}

const char *ls_shape_format(const struct ls_shape *shape, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int d = 0; d < shape->n_dims && used < size; d++)
        used += (size_t)snprintf(text + used, size - used, "%s%td", d ? "x" : "", shape->dims[d]);
    return text;
}

enum ls_code ls_word_to_count(const char *word, const char *what, ptrdiff_t *count, struct ls_error *err)
{
    int64_t number = 0;
    if (!ls_text_to_int64(word, &number) || number < 1 || number > INT32_MAX)
        return ls_fail(err, LS_USAGE, "'%s' is no %s: allowed are whole numbers from 1 to %d", word, what,
                       INT32_MAX);
    *count = (ptrdiff_t)number;
    return LS_OK;
}

enum ls_code ls_word_to_pair(const char *word, const char *what, int64_t least, ptrdiff_t *y, ptrdiff_t *x,
                             struct ls_error *err)
{
    enum { MOST = 65535 };
    char copy[32];
    const char *second = NULL;
    int64_t numbers[2] = {0};
    if (snprintf(copy, sizeof copy, "%s", word) < (int)sizeof copy) {
        char *by = strchr(copy, 'x');
        second = copy;
        if (by) {
            *by = '\0';
            second = by + 1;
        }
    }
    if (!second || !ls_text_to_int64(copy, &numbers[0]) || !ls_text_to_int64(second, &numbers[1]) ||
        numbers[0] < least || numbers[1] < least || numbers[0] > MOST || numbers[1] > MOST)
        return ls_fail(err, LS_USAGE,
                       "'%s' is no %s: allowed is HEIGHTxWIDTH or one number for both, from %" PRId64
                       " to %d",
                       word, what, least, MOST);
    *y = (ptrdiff_t)numbers[0];
    *x = (ptrdiff_t)numbers[1];
    return LS_OK;
}

enum ls_code ls_word_to_float(const char *word, const char *what, float least, float most, float *number,
                              struct ls_error *err)
{
    char from[LS_FLOAT_TEXT], to[LS_FLOAT_TEXT];
    if (!ls_text_to_float(word, number) || *number < least || *number >= most)
        return ls_fail(err, LS_USAGE, "'%s' is no %s: allowed are numbers from %s to below %s", word, what,
                       ls_text_of_float(least, from), ls_text_of_float(most, to));
    return LS_OK;
}

enum ls_code ls_layer_no_words(struct ls_layer *layer, int n_words, char *const *words, struct ls_error *err)
{
    if (n_words > 0)
        return ls_fail(err, LS_USAGE, "'%s' takes no words behind it, found '%s'", layer->kind->name,
                       words[0]);
    return LS_OK;
}

enum ls_code ls_layer_infer_same(struct ls_layer *layer, struct ls_parameter tensors[LS_LAYER_TENSORS],
                                 struct ls_error *err)
{
    (void)tensors;
    (void)err;
    layer->out = layer->in;
    return LS_OK;
}
