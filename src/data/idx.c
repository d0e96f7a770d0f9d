/* Owns the IDX format of MNIST (Y. LeCun, C. Cortes, C. Burges: the page of the MNIST database states it):
 * two zero bytes, the element type, the rank, that many 32-bit sizes, then the elements, all big-endian.
 *
 * Bytes stay as they lie behind the header; other types become binary32, rounded once.  Every size is checked
 * against the file before memory is asked for. */
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "compute/team.h"
#include "data/inflate.h"
#include "data/readers.h"

enum { IDX_U8 = 0x08, IDX_I8 = 0x09, IDX_I16 = 0x0B, IDX_I32 = 0x0C, IDX_F32 = 0x0D, IDX_F64 = 0x0E };
enum { IDX_MAX_RANK = 1 + LS_MAX_DIMS };
enum { MOST_FILES = 4 };

/* A whole IDX file in memory. */
struct idx {
    const char *path;
    int type;
    size_t element_bytes;
    int rank;
    size_t dims[IDX_MAX_RANK];
    size_t n_elements;   /* product of dims */
    size_t header_bytes; /* the elements begin here */
    size_t total_bytes;
    uint8_t *block; /* header and elements; owned */
};

static uint32_t big_endian32(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
}

static size_t element_bytes(int type)
{
    switch (type) {
    case IDX_U8:
    case IDX_I8:
        return 1;
    case IDX_I16:
        return 2;
    case IDX_I32:
    case IDX_F32:
        return 4;
    case IDX_F64:
        return 8;
    default:
        return 0;
    }
}

static int is_float(const struct idx *idx)
{
    return idx->type == IDX_F32 || idx->type == IDX_F64;
}

/* Element i.  Binary64 holds every value of every type. */
static inline double element(const struct idx *idx, size_t i)
{
    const uint8_t *b = idx->block + idx->header_bytes + i * idx->element_bytes;
    float narrow;
    double wide;
    uint32_t word = 0;
    uint64_t words;
    switch (idx->type) {
    case IDX_U8:
        return b[0];
    case IDX_I8:
        return (int8_t)b[0];
    case IDX_I16:
        return (int16_t)(b[0] << 8 | b[1]);
    case IDX_I32:
        return (int32_t)big_endian32(b);
    case IDX_F32:
        word = big_endian32(b);
        memcpy(&narrow, &word, sizeof narrow);
        return (double)narrow;
    default:
        words = (uint64_t)big_endian32(b) << 32 | big_endian32(b + 4);
        memcpy(&wide, &words, sizeof wide);
        return wide;
    }
}

static enum ls_code parse_magic(struct idx *idx, const uint8_t *bytes, size_t n, struct ls_error *err)
{
    if (n < 4)
        return ls_fail(err, LS_FAILED, "\"%s\" has only %zu bytes; an IDX file begins with 4 and its sizes",
                       idx->path, n);
    if (bytes[0] != 0 || bytes[1] != 0)
        return ls_fail(
            err, LS_FAILED,
            "\"%s\" is not an IDX file: byte 0: found %02x %02x %02x %02x, expected 00 00, a type and a rank",
            idx->path, bytes[0], bytes[1], bytes[2], bytes[3]);
    idx->type = bytes[2];
    idx->rank = bytes[3];
    idx->element_bytes = element_bytes(idx->type);
    if (idx->element_bytes == 0)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": byte 2: unknown IDX element type 0x%02x; known are 08 (uint8), 09 (int8), 0b "
                       "(int16), 0c "
                       "(int32), 0d (float32), 0e (float64)",
                       idx->path, (unsigned)idx->type);
    if (idx->rank < 1 || idx->rank > IDX_MAX_RANK)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": byte 3: rank %d; allowed are 1 to %d (samples, then at most %d sizes)",
                       idx->path, idx->rank, IDX_MAX_RANK, LS_MAX_DIMS);
    return LS_OK;
}

static enum ls_code parse_header(struct idx *idx, const uint8_t *bytes, size_t n, struct ls_error *err)
{
    const enum ls_code code = parse_magic(idx, bytes, n, err);
    if (code != LS_OK)
        return code;
    idx->header_bytes = 4 + 4 * (size_t)idx->rank;
    if (n < idx->header_bytes)
        return ls_fail(err, LS_FAILED, "\"%s\" is cut short in its header: %zu bytes, rank %d needs %zu",
                       idx->path, n, idx->rank, idx->header_bytes);
    const size_t most_elements = PTRDIFF_MAX / sizeof(double) - 64; /* so that their bytes can be addressed */
    idx->n_elements = 1;
    for (int i = 0; i < idx->rank; i++) {
        const size_t at = 4 + 4 * (size_t)i;
        idx->dims[i] = big_endian32(bytes + at);
        if (idx->dims[i] == 0)
            return ls_fail(err, LS_FAILED, "\"%s\": byte %zu: %s", idx->path, at,
                           i ? "a dimension of 0; a sample needs at least one number"
                             : "0 samples; at least 1 is needed");
        if (idx->dims[i] > most_elements / idx->n_elements)
            return ls_fail(err, LS_FAILED,
                           "\"%s\": byte %zu: dimension %zu makes more elements than can be addressed",
                           idx->path, at, idx->dims[i]);
        idx->n_elements *= idx->dims[i];
    }
    idx->total_bytes = idx->header_bytes + idx->n_elements * idx->element_bytes;
    return LS_OK;
}

static void release_idx(struct idx *idx)
{
    ls_free(idx->block);
    idx->block = NULL;
}

/* A file on its way into memory. */
struct load {
    struct idx *idx;
    struct ls_content content;
    uint8_t prefix[LS_PEEK_BYTES];
    struct ls_error err;
};

static enum ls_code make_room(struct load *load, const char *path, struct ls_error *err)
{
    struct idx *idx = load->idx;
    size_t n;
    *idx = (struct idx){.path = path};
    enum ls_code code = ls_content_open(&load->content, path, err);
    if (code == LS_OK)
        code = ls_content_peek(&load->content, load->prefix, &n, err);
    if (code == LS_OK)
        code = parse_header(idx, load->prefix, n, err);
    if (code != LS_OK)
        return code;
    idx->block = ls_content_room(&load->content, idx->total_bytes, err);
    return idx->block ? LS_OK : LS_FAILED;
}

static void fill_room(struct load *load)
{
    const struct idx *idx = load->idx;
    struct ls_error *err = &load->err;
    err->code = ls_content_fill(&load->content, idx->block, idx->total_bytes, err);
    if (err->code == LS_OK && memcmp(idx->block, load->prefix, idx->header_bytes) != 0)
        ls_fail(err, LS_FAILED, "\"%s\": its header inflates to different bytes the second time", idx->path);
    ls_content_release(&load->content);
}

/* Files that a team fills, each by one thread: inflating cannot be cut. */
struct filling {
    struct load *loads;
    int n;
    atomic_int *next;
};

static int64_t fill_some(const void *job, int thread, int threads)
{
    const struct filling *filling = job;
    (void)thread, (void)threads;
    for (int i; (i = atomic_fetch_add(filling->next, 1)) < filling->n;)
        fill_room(&filling->loads[i]);
    return 0;
}

static enum ls_code load_files(struct idx *files, const char *const *paths, int n, struct ls_error *err)
{
    struct load loads[MOST_FILES] = {{.idx = NULL}};
    atomic_int next = 0;
    enum ls_code code = LS_OK;
    for (int i = 0; i < n && code == LS_OK; i++) {
        loads[i].idx = &files[i];
        code = make_room(&loads[i], paths[i], err);
    }
    if (code == LS_OK)
        ls_team_run(fill_some, &(struct filling){loads, n, &next});
    for (int i = 0; i < n; i++) {
        if (code == LS_OK && loads[i].err.code != LS_OK) {
            *err = loads[i].err;
            code = err->code;
        }
        ls_content_release(&loads[i].content);
    }
    return code;
}

/* The elements as binary32, in a new block. */
static float *to_floats(const struct idx *idx, const char *what, struct ls_error *err)
{
    float *floats = ls_alloc(idx->n_elements, sizeof *floats, idx->path, err);
    if (!floats)
        return NULL;
    for (size_t i = 0; i < idx->n_elements; i++) {
        const double value = element(idx, i);
        floats[i] = (float)value;
        if (isfinite(floats[i]))
            continue;
        const size_t row = idx->n_elements / idx->dims[0];
        ls_fail(err, LS_FAILED,
                "\"%s\": byte %zu: %s %zu of sample %zu is %g; finite binary32 numbers are needed", idx->path,
                idx->header_bytes + i * idx->element_bytes, what, i % row, i / row, value);
        ls_free(floats);
        return NULL;
    }
    return floats;
}

/* Takes the images over into the dataset. */
static enum ls_code set_inputs(struct ls_dataset *dataset, struct idx *images, struct ls_error *err)
{
    ptrdiff_t dims[LS_MAX_DIMS] = {1};
    for (int i = 1; i < images->rank; i++)
        dims[i - 1] = (ptrdiff_t)images->dims[i];
    dataset->n_samples = (int64_t)images->dims[0];
    ls_dataset_set_shape(dataset, images->rank > 1 ? images->rank - 1 : 1, dims);
    if (images->type == IDX_U8) {
        dataset->owned[0] = images->block;
        dataset->pixels = images->block + images->header_bytes;
        dataset->pixel_divisor = 255.0f;
        images->block = NULL;
        return LS_OK;
    }
    float *numbers = to_floats(images, "feature", err);
    dataset->owned[0] = numbers;
    dataset->numbers = numbers;
    return numbers ? LS_OK : LS_FAILED;
}

static enum ls_code set_values(struct ls_dataset *dataset, const struct idx *targets, struct ls_error *err)
{
    if (targets->rank > 2)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": byte 3: target values of rank %d; allowed are 1 (samples) and 2 (samples, "
                       "numbers)",
                       targets->path, targets->rank);
    float *values = to_floats(targets, "target", err);
    dataset->owned[1] = values;
    dataset->values = values;
    dataset->n_values = targets->rank == 2 ? (ptrdiff_t)targets->dims[1] : 1;
    return values ? LS_OK : LS_FAILED;
}

static enum ls_code set_labels(struct ls_dataset *dataset, const struct idx *targets, struct ls_error *err)
{
    if (targets->rank != 1)
        return ls_fail(err, LS_FAILED,
                       "\"%s\": byte 3: class labels of rank %d; whole-number labels have rank 1",
                       targets->path, targets->rank);
    int32_t *labels = ls_alloc(targets->n_elements, sizeof *labels, targets->path, err);
    dataset->owned[1] = labels;
    dataset->labels = labels;
    if (!labels)
        return LS_FAILED;
    for (size_t i = 0; i < targets->n_elements; i++) {
        const int32_t label = (int32_t)element(targets, i);
        if (label < 0 || label > LS_MAX_LABEL)
            return ls_fail(err, LS_FAILED, "\"%s\": byte %zu: label %d of sample %zu; allowed are 0 to %d",
                           targets->path, targets->header_bytes + i * targets->element_bytes, label, i,
                           LS_MAX_LABEL);
        labels[i] = label;
        dataset->n_classes = label >= dataset->n_classes ? label + 1 : dataset->n_classes;
    }
    return LS_OK;
}

static enum ls_code assemble(struct ls_dataset *dataset, struct idx *images, const struct idx *targets,
                             struct ls_error *err)
{
    if (images->dims[0] != targets->dims[0])
        return ls_fail(err, LS_FAILED, "\"%s\" has %zu samples, but \"%s\" has %zu labels", images->path,
                       images->dims[0], targets->path, targets->dims[0]);
    const enum ls_code code = set_inputs(dataset, images, err);
    if (code != LS_OK)
        return code;
    return is_float(targets) ? set_values(dataset, targets, err) : set_labels(dataset, targets, err);
}

enum ls_code ls_read_idx(struct ls_data *data, const struct ls_idx_paths *paths, struct ls_error *err)
{
    const char *const names[] = {paths->train_images, paths->train_labels, paths->test_images,
                                 paths->test_labels};
    const int n_files = paths->test_images ? 4 : 2;
    struct idx files[MOST_FILES] = {{.path = NULL}};
    enum ls_code code = load_files(files, names, n_files, err);
    if (code == LS_OK)
        code = assemble(&data->train, &files[0], &files[1], err);
    if (code == LS_OK && n_files == 4)
        code = assemble(&data->test, &files[2], &files[3], err);
    for (int i = 0; i < n_files; i++)
        release_idx(&files[i]);
    return code;
}
