/* Owns the comparison of two models: metadata, then names and shapes, then elements. */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "formats/compare.h"
#include "formats/quote.h"
#include "formats/safetensors.h"

enum { CHUNK = 1 << 16 }; /* elements compared at a time */

struct place {
    const struct ls_stored_tensor *tensor;
    ptrdiff_t element;
};

struct models {
    const char *path[2];
    struct ls_safetensors *file[2];
    float *chunk[2];
    FILE *out;

    /* What the elements showed. */
    int64_t n_elements, n_different, n_not_finite;
    ptrdiff_t n_tensors_different;
    struct place first, largest;
    float first_values[2];
    double largest_difference;
};

/* The two lines under a verdict. */
static void print_both(const struct models *models, const char *a, const char *b)
{
    const int width_a = (int)strlen(models->path[0]), width_b = (int)strlen(models->path[1]);
    const int width = width_a > width_b ? width_a : width_b;
    fprintf(models->out, "  %-*s   %s\n  %-*s   %s\n", width, models->path[0], a, width, models->path[1], b);
}

static enum ls_code compare_metadata(const struct models *models)
{
    static const char *const keys[] = {"contract_version", "net", "loss"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const char *a = ls_safetensors_metadata(models->file[0], keys[k]);
        const char *b = ls_safetensors_metadata(models->file[1], keys[k]);
        if (a == b || (a && b && strcmp(a, b) == 0))
            continue;
        fprintf(models->out, "different: %s\n", keys[k]);
        print_both(models, a ? ls_quote(a).text : "(not stored)", b ? ls_quote(b).text : "(not stored)");
        return LS_DIFFERENT;
    }
    return LS_OK;
}

/* Tensors of file `here` that the other lacks. */
static enum ls_code compare_names(const struct models *models, int here)
{
    for (ptrdiff_t i = 0; i < ls_safetensors_count(models->file[here]); i++) {
        const struct ls_stored_tensor *tensor = ls_safetensors_tensor(models->file[here], i);
        if (ls_safetensors_find(models->file[!here], tensor->name))
            continue;
        fprintf(models->out, "different: tensor '%s', of shape %s, is in %s and not in %s\n",
                ls_quote(tensor->name).text, ls_shape_text(tensor->n_dims, tensor->dims).text,
                models->path[here], models->path[!here]);
        return LS_DIFFERENT;
    }
    return LS_OK;
}

static enum ls_code compare_shapes(const struct models *models)
{
    for (ptrdiff_t i = 0; i < ls_safetensors_count(models->file[0]); i++) {
        const struct ls_stored_tensor *a = ls_safetensors_tensor(models->file[0], i);
        const struct ls_stored_tensor *b = ls_safetensors_find(models->file[1], a->name);
        if (a->n_dims == b->n_dims && memcmp(a->dims, b->dims, (size_t)a->n_dims * sizeof *a->dims) == 0)
            continue;
        fprintf(models->out, "different: the shape of tensor '%s'\n", ls_quote(a->name).text);
        print_both(models, ls_shape_text(a->n_dims, a->dims).text, ls_shape_text(b->n_dims, b->dims).text);
        return LS_DIFFERENT;
    }
    return LS_OK;
}

static void note_difference(struct models *models, struct place place, float a, float b)
{
    if (models->n_different++ == 0) {
        models->first = place;
        models->first_values[0] = a;
        models->first_values[1] = b;
    }
    const double difference = fabs((double)a - (double)b);
    if (!isfinite(difference)) {
        models->n_not_finite++;
    } else if (!models->largest.tensor || difference > models->largest_difference) {
        models->largest_difference = difference;
        models->largest = place;
    }
}

static enum ls_code compare_elements(struct models *models, const struct ls_stored_tensor *a,
                                     const struct ls_stored_tensor *b, struct ls_error *err)
{
    const int64_t before = models->n_different;
    for (ptrdiff_t at = 0; at < a->n_elements; at += CHUNK) {
        const ptrdiff_t n = a->n_elements - at < CHUNK ? a->n_elements - at : CHUNK;
        if (ls_safetensors_read_elements(models->file[0], a, at, n, models->chunk[0], err) != LS_OK ||
            ls_safetensors_read_elements(models->file[1], b, at, n, models->chunk[1], err) != LS_OK)
            return LS_FAILED;
        for (ptrdiff_t i = 0; i < n; i++)
            if (memcmp(&models->chunk[0][i], &models->chunk[1][i], sizeof(float)) != 0)
                note_difference(models, (struct place){a, at + i}, models->chunk[0][i], models->chunk[1][i]);
    }
    models->n_elements += a->n_elements;
    models->n_tensors_different += models->n_different != before;
    return LS_OK;
}

/* Index i of the flat array as "[row,column]". */
static struct ls_shape_text index_text(struct place place)
{
    ptrdiff_t index[LS_TENSOR_DIMS] = {0};
    for (int d = place.tensor->n_dims - 1; d >= 0; d--) {
        index[d] = place.element % place.tensor->dims[d];
        place.element /= place.tensor->dims[d];
    }
    return ls_shape_text(place.tensor->n_dims, index);
}

static void print_value(char text[static 64], float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    snprintf(text, 64, "%-15.9g 0x%08" PRIx32, (double)value, bits);
}

static enum ls_code print_differences(const struct models *models)
{
    char values[2][64];
    print_value(values[0], models->first_values[0]);
    print_value(values[1], models->first_values[1]);
    fprintf(models->out, "different: tensor '%s' at %s\n", ls_quote(models->first.tensor->name).text,
            index_text(models->first).text);
    print_both(models, values[0], values[1]);
    fprintf(models->out, "%" PRId64 " of %" PRId64 " elements differ, in %td of %td tensors",
            models->n_different, models->n_elements, models->n_tensors_different,
            ls_safetensors_count(models->file[0]));
    if (models->largest.tensor)
        fprintf(models->out, "; the largest difference is %.9g, in '%s' at %s", models->largest_difference,
                ls_quote(models->largest.tensor->name).text, index_text(models->largest).text);
    if (models->n_not_finite > 0)
        fprintf(models->out, "; in %" PRId64 " a value is not finite", models->n_not_finite);
    fprintf(models->out, "\n");
    return LS_DIFFERENT;
}

/* The hash that training printed is in the file's metadata; a file of another program may have none. */
static enum ls_code print_identical(const struct models *models)
{
    const char *hash = ls_safetensors_metadata(models->file[0], "hash");
    fprintf(models->out, "identical: %td tensors, %" PRId64 " elements%s%s\n",
            ls_safetensors_count(models->file[0]), models->n_elements, hash ? ", hash " : "",
            hash ? ls_quote(hash).text : "");
    return LS_OK;
}

static enum ls_code compare_open(struct models *models, struct ls_error *err)
{
    enum ls_code code = compare_metadata(models);
    for (int here = 0; here < 2 && code == LS_OK; here++)
        code = compare_names(models, here);
    if (code == LS_OK)
        code = compare_shapes(models);
    for (ptrdiff_t i = 0; i < ls_safetensors_count(models->file[0]) && code == LS_OK; i++) {
        const struct ls_stored_tensor *a = ls_safetensors_tensor(models->file[0], i);
        code = compare_elements(models, a, ls_safetensors_find(models->file[1], a->name), err);
    }
    if (code != LS_OK)
        return code;
    return models->n_different > 0 ? print_differences(models) : print_identical(models);
}

enum ls_code ls_compare_models(const char *a, const char *b, FILE *out, struct ls_error *err)
{
    struct models models = {.path = {a, b}, .out = out};
    enum ls_code code = LS_OK;
    for (int i = 0; i < 2 && code == LS_OK; i++) {
        models.chunk[i] = ls_alloc(CHUNK, sizeof(float), "elements to compare", err);
        code = models.chunk[i] ? ls_safetensors_open(&models.file[i], models.path[i], err) : LS_FAILED;
    }
    if (code == LS_OK)
        code = compare_open(&models, err);
    for (int i = 0; i < 2; i++) {
        ls_safetensors_close(&models.file[i]);
        ls_free(models.chunk[i]);
    }
    return code;
}
