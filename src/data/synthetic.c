/* Owns data that is computed instead of stored: any sample of any count, by index, on any rank, without a
 * file.
 *
 * Each class has a prototype of random bytes; a sample is the prototype of its class plus a random byte a
 * feature, x[k] = (prototype_byte + noise_byte) / 512, whole numbers and a power of two, so the bits are the
 * same everywhere.  Two classes differ from one another by about sqrt(2 K) standard deviations of the noise:
 * easy for K = 784, and worth learning at K = 2.
 *
 * Random bits: stream = 4 * what + is_test; element = sample for the class, sample * blocks + block for
 * noise, class * blocks + block for prototypes, a block being 16 features.  Prototypes are shared by training
 * and test data. Recomputing the prototype beats a table: it costs as much as the noise, and a table of 1,000
 * classes of 224x224x3 is 150 MB a rank. */
#include <string.h>

#include "base/memory.h"
#include "base/philox.h"
#include "base/text.h"
#include "data/readers.h"

enum stream { STREAM_CLASS = 0, STREAM_PROTOTYPE = 4, STREAM_NOISE = 8, STREAM_IS_TEST = 1 };
enum { BLOCK = 16 }; /* features of one Philox block, a byte each */

/* What the functions of a sample know. */
struct synthetic {
    uint64_t seed;
    uint64_t is_test;
    uint64_t n_classes;
    ptrdiff_t n_features;
    uint64_t n_blocks;
};

struct options {
    uint64_t n, classes, seed, test;
    int n_dims;
    ptrdiff_t dims[LS_MAX_DIMS];
};

static int32_t label_of(const void *context, int64_t index)
{
    const struct synthetic *s = context;
    const struct ls_bits128 bits =
        ls_random(s->seed, LS_PURPOSE_SYNTHETIC, STREAM_CLASS + s->is_test, (uint64_t)index);
    return (int32_t)(bits.word[0] * s->n_classes >> 32);
}

/* Feature `i` of a block. */
static inline float feature(const struct ls_bits128 *prototype, const struct ls_bits128 *noise, ptrdiff_t i)
{
    const int shift = (int)(i % 4) * 8;
    const uint32_t a = prototype->word[i / 4] >> shift & 255, b = noise->word[i / 4] >> shift & 255;
    return (float)(int32_t)(a + b) * 0x1p-9f;
}

static void generate(const void *context, int64_t index, float *x)
{
    const struct synthetic *s = context;
    const uint64_t first_prototype = (uint64_t)label_of(context, index) * s->n_blocks;
    const uint64_t first_noise = (uint64_t)index * s->n_blocks;
    for (uint64_t block = 0; block < s->n_blocks; block++) {
        const struct ls_bits128 prototype =
            ls_random(s->seed, LS_PURPOSE_SYNTHETIC, STREAM_PROTOTYPE, first_prototype + block);
        const struct ls_bits128 noise =
            ls_random(s->seed, LS_PURPOSE_SYNTHETIC, STREAM_NOISE + s->is_test, first_noise + block);
        const ptrdiff_t at = (ptrdiff_t)block * BLOCK, left = s->n_features - at;
        if (left >= BLOCK)
            for (ptrdiff_t i = 0; i < BLOCK; i++)
                x[at + i] = feature(&prototype, &noise, i);
        else
            for (ptrdiff_t i = 0; i < left; i++)
                x[at + i] = feature(&prototype, &noise, i);
    }
}

/* `text` as a whole number in [least, most]. */
static enum ls_code read_count(const char *name, const char *text, uint64_t least, uint64_t most,
                               uint64_t *value, struct ls_error *err)
{
    if (!ls_text_to_uint64(text, value) || *value < least || *value > most)
        return ls_fail(err, LS_USAGE, "synthetic data: %s=%s; allowed are whole numbers from %llu to %llu",
                       name, text, (unsigned long long)least, (unsigned long long)most);
    return LS_OK;
}

/* AxBxC; cuts `text` at each x. */
static enum ls_code read_shape(struct options *options, char *text, struct ls_error *err)
{
    uint64_t most = (uint64_t)1 << 31; /* features of a sample */
    options->n_dims = 0;
    for (char *rest = text; rest;) {
        const char *number = strsep(&rest, "x");
        uint64_t dim;
        if (options->n_dims == LS_MAX_DIMS)
            return ls_fail(err, LS_USAGE, "synthetic data: shape has more than %d dimensions", LS_MAX_DIMS);
        const enum ls_code code = read_count("shape", number, 1, most, &dim, err);
        if (code != LS_OK)
            return code;
        most /= dim;
        options->dims[options->n_dims++] = (ptrdiff_t)dim;
    }
    return LS_OK;
}

/* One NAME=VALUE; *seen has a bit for each name that was there before. */
static enum ls_code read_option(struct options *options, char *text, unsigned *seen, struct ls_error *err)
{
    static const char *const names[] = {"n", "shape", "classes", "seed", "test", NULL};
    const uint64_t most_samples = (uint64_t)1 << 40;
    char *value = text;
    const char *name = strsep(&value, "=");
    int option = 0;
    while (names[option] && strcmp(name, names[option]) != 0)
        option++;
    if (!names[option])
        return ls_fail(
            err, LS_USAGE,
            "synthetic data: unknown \"%s\"; did you mean %s?  Known are n=N, shape=AxBxC, classes=C, seed=S "
            "and test=N",
            name, ls_text_nearest(name, names));
    if (!value)
        return ls_fail(err, LS_USAGE, "synthetic data: %s needs a value, %s=...", name, name);
    if (*seen & 1u << option)
        return ls_fail(err, LS_USAGE, "synthetic data: %s is given twice", name);
    *seen |= 1u << option;
    switch (option) {
    case 0:
        return read_count(name, value, 1, most_samples, &options->n, err);
    case 1:
        return read_shape(options, value, err);
    case 2:
        return read_count(name, value, 1, LS_MAX_LABEL + 1, &options->classes, err);
    case 3:
        return read_count(name, value, 0, UINT64_MAX, &options->seed, err);
    default:
        return read_count(name, value, 0, most_samples, &options->test, err);
    }
}

/* `text` is cut into pieces. */
static enum ls_code read_options(struct options *options, char *text, struct ls_error *err)
{
    unsigned seen = 0;
    enum ls_code code = LS_OK;
    *options =
        (struct options){.n = 10000, .classes = 10, .seed = 1, .test = 0, .n_dims = 2, .dims = {28, 28}};
    for (char *rest = *text ? text : NULL; rest && code == LS_OK;)
        code = read_option(options, strsep(&rest, ","), &seen, err);
    return code;
}

static enum ls_code set_up(struct ls_dataset *dataset, const struct options *options, int is_test,
                           struct ls_error *err)
{
    struct synthetic *s = ls_alloc(1, sizeof *s, "synthetic data", err);
    if (!s)
        return LS_FAILED;
    dataset->owned[0] = s;
    dataset->context = s;
    ls_dataset_set_shape(dataset, options->n_dims, options->dims);
    dataset->n_samples = (int64_t)(is_test ? options->test : options->n);
    dataset->n_classes = (int32_t)options->classes;
    dataset->generate = generate;
    dataset->label_of = label_of;
    *s = (struct synthetic){.seed = options->seed,
                            .is_test = is_test ? STREAM_IS_TEST : 0,
                            .n_classes = options->classes,
                            .n_features = dataset->n_features,
                            .n_blocks = ((uint64_t)dataset->n_features + BLOCK - 1) / BLOCK};
    return LS_OK;
}

enum ls_code ls_read_synthetic(struct ls_data *data, const char *text, struct ls_error *err)
{
    struct options options;
    char *pieces = ls_copy_text(text, err);
    if (!pieces)
        return LS_FAILED;
    enum ls_code code = read_options(&options, pieces, err);
    ls_free(pieces);
    if (code == LS_OK)
        code = set_up(&data->train, &options, 0, err);
    if (code == LS_OK && options.test > 0)
        code = set_up(&data->test, &options, 1, err);
    return code;
}
