/* Owns what training data says of itself: mean and deviation of each channel. */
#include "data/normalise.h"

#include <math.h>

#include "base/contract.h"
#include "base/memory.h"
#include "data/dataset.h"

enum { LEAF = LS_DEFAULT_MICROBATCH };

__extension__ typedef unsigned __int128 wide;

static enum ls_code check_channels(const struct ls_dataset *dataset, struct ls_error *err)
{
    const ptrdiff_t C = ls_dataset_image(dataset).C;
    if (C <= LS_MAX_CHANNELS)
        return LS_OK;
    return ls_fail(err, LS_USAGE, "normalisation: a sample of \"%s\" has %td channels; allowed are 1 to %d",
                   dataset->name, C, LS_MAX_CHANNELS);
}

enum ls_code ls_normalise_check(struct ls_normalise *normalise, const struct ls_dataset *dataset,
                                struct ls_error *err)
{
    const ptrdiff_t C = ls_dataset_image(dataset).C;
    if (normalise->n_channels != 0 && normalise->n_channels != C)
        return ls_fail(err, LS_USAGE,
                       "normalisation: %d numbers for the mean, but a sample of \"%s\" has %td channel%s",
                       normalise->n_channels, dataset->name, C, C == 1 ? "" : "s");
    for (int c = 0; c < normalise->n_channels; c++)
        normalise->inverse[c] = 1.0f / normalise->deviation[c];
    return LS_OK;
}

/* Sums of one channel's bytes and of their squares, exact: fewer than 2^63 / 255^2 = 2^47 pixels fit. */
struct sums {
    uint64_t values, squares;
};

static struct sums sum_plane(const uint8_t *p, ptrdiff_t n)
{
    struct sums sums = {0, 0};
    for (ptrdiff_t at = 0; at < n;) {
        const ptrdiff_t end = n - at < 1 << 15 ? n : at + (1 << 15);
        uint32_t values = 0, squares = 0; /* of a stretch they cannot overflow on */
        for (; at < end; at++) {
            values += p[at];
            squares += (uint32_t)p[at] * p[at];
        }
        sums.values += values;
        sums.squares += squares;
    }
    return sums;
}

/* From whole numbers to binary32 through binary64, each step rounded as IEEE says; the variance's numerator
 * n * sum(p^2) - sum(p)^2 is exact. */
static enum ls_code measure_bytes(struct ls_normalise *normalise, const struct ls_dataset *dataset,
                                  struct ls_error *err)
{
    const struct ls_image_view image = ls_dataset_image(dataset);
    const ptrdiff_t plane = image.H * image.W;
    struct sums total[LS_MAX_CHANNELS] = {{0, 0}};
    uint8_t *row = ls_alloc((size_t)dataset->n_features, sizeof *row, "a sample", err);
    if (!row)
        return LS_FAILED;
    for (int64_t i = 0; i < dataset->n_samples; i++) {
        const int64_t stored = ls_dataset_stored(dataset, i);
        const uint8_t *pixels = dataset->pixels ? dataset->pixels + stored * dataset->n_features : row;
        if (!dataset->pixels)
            dataset->fetch(dataset->context, stored, row);
        for (ptrdiff_t c = 0; c < image.C; c++) {
            const struct sums sums = sum_plane(pixels + c * plane, plane);
            total[c].values += sums.values;
            total[c].squares += sums.squares;
        }
    }
    ls_free(row);
    const uint64_t n = (uint64_t)(dataset->n_samples * plane);
    const double scale = (double)n * (double)dataset->pixel_divisor;
    for (ptrdiff_t c = 0; c < image.C; c++) {
        const wide spread = (wide)n * total[c].squares - (wide)total[c].values * total[c].values;
        normalise->mean[c] = (float)((double)total[c].values / scale);
        normalise->deviation[c] = (float)(sqrt((double)spread) / scale);
    }
    return LS_OK;
}

/* v[k] = (v[k] - mean)^2. */
static void square_plane(ptrdiff_t n, float *v, float mean)
{
    for (ptrdiff_t k = 0; k < n; k++) {
        const float d = v[k] - mean;
        v[k] = d * d;
    }
}

/* One pass: the sums over all samples of each channel's values or, with means, of (v - mean)^2. */
static void sum_values(const struct ls_dataset *dataset, float *row, const float *mean,
                       float sum[LS_MAX_CHANNELS])
{
    const struct ls_image_view image = ls_dataset_image(dataset);
    const ptrdiff_t plane = image.H * image.W;
    struct ls_tree tree[LS_MAX_CHANNELS] = {{.count = 0}};
    float leaf[LS_MAX_CHANNELS] = {0};
    for (int64_t i = 0; i < dataset->n_samples; i++) {
        const int ends = (i + 1) % LEAF == 0 || i + 1 == dataset->n_samples;
        ls_dataset_gather_raw(dataset, i, row);
        for (ptrdiff_t c = 0; c < image.C; c++) {
            if (mean)
                square_plane(plane, row + c * plane, mean[c]);
            leaf[c] = leaf[c] + ls_lanesum(row + c * plane, plane);
            if (ends) {
                ls_tree_push(&tree[c], leaf[c]);
                leaf[c] = 0.0f;
            }
        }
    }
    for (ptrdiff_t c = 0; c < image.C; c++)
        sum[c] = ls_tree_sum(&tree[c]);
}

/* Whether a channel has two values.  Rounding could give one value a deviation that is not 0. */
static int varies(const struct ls_dataset *dataset, float *row, ptrdiff_t c)
{
    const struct ls_image_view image = ls_dataset_image(dataset);
    const ptrdiff_t plane = image.H * image.W;
    ls_dataset_gather_raw(dataset, 0, row);
    const float first = row[c * plane];
    for (int64_t i = 0; i < dataset->n_samples; i++) {
        ls_dataset_gather_raw(dataset, i, row);
        for (ptrdiff_t k = 0; k < plane; k++)
            if (row[c * plane + k] != first)
                return 1; /* of nearly all data, the first sample says so */
    }
    return 0;
}

static enum ls_code measure_values(struct ls_normalise *normalise, const struct ls_dataset *dataset,
                                   struct ls_error *err)
{
    const struct ls_image_view image = ls_dataset_image(dataset);
    const float r = 1.0f / (float)(dataset->n_samples * image.H * image.W);
    float *row = ls_alloc((size_t)dataset->n_features, sizeof *row, "a sample", err), sum[LS_MAX_CHANNELS];
    if (!row)
        return LS_FAILED;
    sum_values(dataset, row, NULL, sum);
    for (ptrdiff_t c = 0; c < image.C; c++)
        normalise->mean[c] = sum[c] * r;
    sum_values(dataset, row, normalise->mean, sum);
    for (ptrdiff_t c = 0; c < image.C; c++)
        normalise->deviation[c] = varies(dataset, row, c) ? sqrtf(sum[c] * r) : 0.0f;
    ls_free(row);
    return LS_OK;
}

enum ls_code ls_normalise_measure(struct ls_normalise *normalise, const struct ls_dataset *dataset,
                                  struct ls_error *err)
{
    *normalise = (struct ls_normalise){.n_channels = 0};
    enum ls_code code = check_channels(dataset, err);
    if (code == LS_OK && (dataset->pixels || dataset->fetch))
        code = measure_bytes(normalise, dataset, err);
    else if (code == LS_OK)
        code = measure_values(normalise, dataset, err);
    if (code == LS_OK)
        code = ls_dataset_failed(dataset, err);
    if (code != LS_OK)
        return code;
    normalise->n_channels = (int)ls_dataset_image(dataset).C;
    for (int c = 0; c < normalise->n_channels; c++) {
        if (normalise->deviation[c] == 0.0f)
            normalise->deviation[c] = 1.0f;
        if (!isfinite(normalise->mean[c]) || !isfinite(normalise->deviation[c]))
            return ls_fail(
                err, LS_FAILED,
                "normalisation: the values of channel %d of \"%s\" are too large to have a mean and "
                "a standard deviation: give them, or --normalise none",
                c, dataset->name);
    }
    return ls_normalise_check(normalise, dataset, err);
}
