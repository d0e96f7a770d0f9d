/* Owns what a dataset does once it is open: giving samples by index, and being released. */
#include "data/dataset.h"

#include <string.h>

#include "base/memory.h"
#include "data/lsd_file.h"
#include "data/readers.h"

void ls_dataset_set_shape(struct ls_dataset *dataset, int n_dims, const ptrdiff_t *dims)
{
    dataset->n_dims = n_dims;
    dataset->n_features = 1;
    for (int i = 0; i < n_dims; i++) {
        dataset->dims[i] = dims[i];
        dataset->n_features *= dims[i];
    }
}

void ls_dataset_release(struct ls_dataset *dataset)
{
    if (!dataset)
        return;
    for (size_t i = 0; i < sizeof dataset->owned / sizeof dataset->owned[0]; i++)
        ls_free(dataset->owned[i]);
    if (dataset->holds_file)
        ls_lsd_close(&dataset->file);
    memset(dataset, 0, sizeof *dataset);
}

void ls_data_release(struct ls_data *data)
{
    if (!data)
        return;
    ls_dataset_release(&data->train);
    ls_dataset_release(&data->test);
    ls_dataset_release(&data->validation);
    ls_free(data->order);
    data->order = NULL;
    ls_class_names_release(&data->classes);
    ls_features_release(&data->inputs);
    data->how[0] = '\0';
    ls_scaling_release(&data->scaling);
}

void ls_data_scale(struct ls_data *data, const struct ls_scaling *scaling)
{
    ls_scaling_release(&data->scaling);
    data->scaling = *scaling;
    data->train.scaling = data->test.scaling = data->validation.scaling =
        scaling->kind == LS_SCALE_NONE ? NULL : &data->scaling;
}

/* But for where they go. */
static struct ls_gather rows_of(const struct ls_dataset *dataset, ptrdiff_t B, const int64_t *index)
{
    return (struct ls_gather){.B = B,
                              .K = dataset->n_features,
                              .pixels = dataset->pixels,
                              .divisor = dataset->pixel_divisor,
                              .numbers = dataset->numbers,
                              .index = index};
}

static void gather_as_it_is(const struct ls_dataset *dataset, const struct ls_ops *ops, ptrdiff_t B,
                            const int64_t *index, float *x, struct ls_copies copies)
{
    const ptrdiff_t K = dataset->n_features;
    if (dataset->pixels || dataset->numbers) {
        struct ls_gather rows = rows_of(dataset, B, index);
        rows.x = x;
        rows.copies = copies;
        ops->gather(&rows);
        return;
    }
    ops->gather_rows(B, K, x, index, dataset->generate, dataset->context);
}

static void gather_views(const struct ls_dataset *dataset, const struct ls_augment *augment,
                         const struct ls_ops *ops, ptrdiff_t B, const int64_t *index, float *x,
                         struct ls_copies copies)
{
    struct ls_image_view view = ls_dataset_image(dataset);
    if (augment && ls_augment_is_on(augment)) {
        view.move = ls_augment_move;
        view.context = augment;
    }
    const int viewed = view.move || view.mean;
    if (viewed && dataset->pixels) {
        ops->gather_images(&view, B, x, dataset->pixels, index, dataset->pixel_divisor);
        return;
    }
    gather_as_it_is(dataset, ops, B, index, x, copies);
    if (viewed)
        ops->view_images(&view, B, x, index);
}

static void gather_inputs(const struct ls_dataset *dataset, const struct ls_augment *augment,
                          const struct ls_ops *ops, ptrdiff_t B, const int64_t *index, float *x,
                          struct ls_copies copies)
{
    gather_views(dataset, augment, ops, B, index, x, copies);
    if (dataset->scaling)
        ops->scale_rows(B, dataset->n_features, x, dataset->scaling->offset, dataset->scaling->factor);
}

struct ls_image_view ls_dataset_image(const struct ls_dataset *dataset)
{
    const struct ls_normalise *normalise = &dataset->normalise;
    const ptrdiff_t *dims = dataset->dims, K = dataset->n_features;
    const int n = dataset->n_dims;
    return (struct ls_image_view){
        .C = n > 2 ? dims[0] : 1,
        .H = n == 2   ? dims[0]
             : n == 3 ? dims[1]
                      : 1,
        .W = n == 2   ? dims[1]
             : n == 3 ? dims[2]
             : n > 3  ? K / dims[0]
                      : K,
        .mean = normalise->n_channels > 0 ? normalise->mean : NULL,
        .inverse = normalise->n_channels > 0 ? normalise->inverse : NULL,
    };
}

static int32_t stored_label(const struct ls_dataset *dataset, int64_t index)
{
    const int32_t label =
        dataset->labels ? dataset->labels[index] : dataset->label_of(dataset->context, index);
    if (!dataset->file || (label >= 0 && label < dataset->n_classes))
        return label;
    ls_lsd_bad_label(dataset->file, dataset->file_part, index,
                     label); /* the file changed since it was checked */
    return 0;
}

int32_t ls_dataset_label(const struct ls_dataset *dataset, int64_t index)
{
    return stored_label(dataset, ls_dataset_stored(dataset, index));
}

enum ls_code ls_dataset_failed(const struct ls_dataset *dataset, struct ls_error *err)
{
    return dataset->file ? ls_lsd_failed(dataset->file, err) : LS_OK;
}

enum ls_code ls_data_check(const struct ls_data *data, enum ls_check_data check, int share, int n_shares,
                           struct ls_error *err)
{
    const struct ls_lsd_file *const files[] = {data->train.file, data->test.file};
    enum ls_code code = LS_OK;
    for (int i = 0; i < 2 && code == LS_OK; i++)
        if (files[i] && (i == 0 || files[i] != files[0])) {
            const int bytes = check == LS_CHECK_ON ||
                              (check == LS_CHECK_AUTO && files[i]->header.file_bytes <= LS_CHECK_BYTES);
            code = ls_lsd_check(files[i], bytes, share, n_shares, err);
        }
    return code;
}

void ls_data_expect(const struct ls_data *data, int random)
{
    if (data->train.file)
        ls_lsd_expect(data->train.file, data->train.file_part, random);
}

/* The same by where samples are stored. */
static void gather_stored(const struct ls_dataset *dataset, const struct ls_augment *augment,
                          const struct ls_ops *ops, ptrdiff_t B, const int64_t *index, float *x,
                          struct ls_copies copies, int32_t *labels, float *values)
{
    const ptrdiff_t N = dataset->n_values;
    if (x)
        gather_inputs(dataset, augment, ops, B, index, x, copies);
    if (labels && ls_dataset_has_labels(dataset))
        for (ptrdiff_t b = 0; b < B; b++)
            labels[b] = stored_label(dataset, index[b]);
    if (values && dataset->values)
        for (ptrdiff_t b = 0; b < B; b++)
            memcpy(values + b * N, dataset->values + index[b] * N, (size_t)N * sizeof *values);
}

int ls_dataset_fills_copies(const struct ls_dataset *dataset, const struct ls_augment *augment)
{
    return (dataset->pixels || dataset->numbers) && !dataset->scaling && dataset->normalise.n_channels == 0 &&
           !(augment && ls_augment_is_on(augment));
}

int ls_dataset_rows(const struct ls_dataset *dataset, const struct ls_augment *augment, ptrdiff_t B,
                    const int64_t *index, int64_t *stored, struct ls_gather *rows)
{
    if (!ls_dataset_fills_copies(dataset, augment) || (dataset->file && dataset->file->way == LS_LSD_MMAP))
        return 0;
    for (ptrdiff_t b = 0; dataset->subset && b < B; b++)
        stored[b] = dataset->subset[index[b]];
    *rows = rows_of(dataset, B, dataset->subset ? stored : index);
    return 1;
}

void ls_dataset_gather_copies(const struct ls_dataset *dataset, const struct ls_augment *augment,
                              const struct ls_ops *ops, ptrdiff_t B, const int64_t *index, float *x,
                              struct ls_copies copies, int32_t *labels, float *values)
{
    enum { CHUNK = 1024 };
    if (!dataset->subset) {
        gather_stored(dataset, augment, ops, B, index, x, copies, labels, values);
        return;
    }
    int64_t stored[CHUNK];
    for (ptrdiff_t first = 0; first < B; first += CHUNK) {
        const ptrdiff_t n = B - first < CHUNK ? B - first : CHUNK;
        for (ptrdiff_t b = 0; b < n; b++)
            stored[b] = dataset->subset[index[first + b]];
        gather_stored(dataset, augment, ops, n, stored, x ? x + first * dataset->n_features : NULL, copies,
                      labels ? labels + first : NULL, values ? values + first * dataset->n_values : NULL);
    }
}

void ls_dataset_gather_augmented(const struct ls_dataset *dataset, const struct ls_augment *augment,
                                 const struct ls_ops *ops, ptrdiff_t B, const int64_t *index, float *x,
                                 int32_t *labels, float *values)
{
    ls_dataset_gather_copies(dataset, augment, ops, B, index, x, (struct ls_copies){0}, labels, values);
}

void ls_dataset_count_classes(const struct ls_dataset *dataset, int64_t *counts)
{
    int32_t label;
    for (int64_t i = 0; i < dataset->n_samples; i++) {
        ls_dataset_gather(dataset, NULL, 1, &i, NULL, &label, NULL);
        counts[label]++;
    }
}

void ls_dataset_gather(const struct ls_dataset *dataset, const struct ls_ops *ops, ptrdiff_t B,
                       const int64_t *index, float *x, int32_t *labels, float *values)
{
    ls_dataset_gather_augmented(dataset, NULL, ops, B, index, x, labels, values);
}

void ls_dataset_gather_raw(const struct ls_dataset *dataset, int64_t index, float *x)
{
    const ptrdiff_t K = dataset->n_features;
    index = ls_dataset_stored(dataset, index);
    if (dataset->numbers)
        memcpy(x, dataset->numbers + index * K, (size_t)K * sizeof *x);
    else if (dataset->generate)
        dataset->generate(dataset->context, index, x);
    else
        for (ptrdiff_t k = 0; k < K; k++)
            x[k] = (float)dataset->pixels[index * K + k] / dataset->pixel_divisor;
}

struct ls_hash ls_dataset_hash(const struct ls_dataset *dataset)
{
    /* Generated data is a function of its specification, which is its name. */
    struct {
        int64_t sizes[4];
        ptrdiff_t dims[LS_MAX_DIMS];
        struct ls_hash parts[4];
    } summary;
    memset(&summary, 0, sizeof summary);
    const int64_t n_stored = dataset->subset ? dataset->n_stored : dataset->n_samples;
    const size_t n = (size_t)n_stored, K = (size_t)dataset->n_features;
    summary.sizes[0] = n_stored;
    summary.sizes[1] = dataset->n_dims;
    summary.sizes[2] = dataset->n_classes;
    summary.sizes[3] = dataset->n_values;
    memcpy(summary.dims, dataset->dims, sizeof summary.dims);
    if (dataset->file) { /* its checksums stand for its bytes: nothing is read for this */
        summary.parts[0] = dataset->file->header.identity;
        summary.parts[1].low = (uint64_t)dataset->file_part;
        return ls_hash_bytes(&summary, sizeof summary);
    }
    if (dataset->pixels)
        summary.parts[0] = ls_hash_bytes(dataset->pixels, n * K);
    if (dataset->numbers)
        summary.parts[1] = ls_hash_bytes(dataset->numbers, n * K * sizeof(float));
    if (dataset->labels)
        summary.parts[2] = ls_hash_bytes(dataset->labels, n * sizeof *dataset->labels);
    if (dataset->values)
        summary.parts[3] = ls_hash_bytes(dataset->values, n * (size_t)dataset->n_values * sizeof(float));
    if (dataset->generate)
        summary.parts[0] = ls_hash_bytes(dataset->name, strlen(dataset->name));
    return ls_hash_bytes(&summary, sizeof summary);
}

struct ls_hash ls_data_hash(const struct ls_data *data)
{
    const struct ls_hash both[2] = {ls_dataset_hash(&data->train), ls_dataset_hash(&data->test)};
    return ls_hash_bytes(both, sizeof both);
}
