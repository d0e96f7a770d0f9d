/* Owns opening an .lsd file and giving its samples.  See lsd_file.h. */
#include "data/lsd_file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/memory.h"
#include "base/read_at.h"
#include "data/readers.h"

const char *const ls_lsd_part_names[] = {"training", "test"};

/* The first failure of a row, and what row functions get as their context. */
struct ls_lsd_trouble {
    atomic_flag taken;
    atomic_int told; /* error is whole */
    struct ls_error error;
    struct row_context {
        const struct ls_lsd_file *file;
        int part;
    } rows[LS_LSD_PARTS];
};

enum ls_code ls_lsd_read(const struct ls_lsd_file *file, int64_t offset, void *bytes, size_t n,
                         struct ls_error *err)
{
    const ptrdiff_t got = ls_read_at(file->fd, offset, bytes, n);
    if (got < 0)
        return ls_fail_errno(err, LS_FAILED, "cannot read \"%s\" at byte %lld", file->path,
                             (long long)offset);
    if ((size_t)got < n)
        return ls_fail(err, LS_FAILED,
                       "\"%s\" has become shorter since it was opened: it ends at or before byte %lld",
                       file->path, (long long)(offset + got));
    return LS_OK;
}

/* ---- rows by pread ---- */

static void remember(const struct ls_lsd_file *file, const struct ls_error *error)
{
    if (atomic_flag_test_and_set(&file->trouble->taken))
        return;
    file->trouble->error = *error;
    atomic_store(&file->trouble->told, 1);
}

enum ls_code ls_lsd_failed(const struct ls_lsd_file *file, struct ls_error *err)
{
    if (!atomic_load(&file->trouble->told))
        return LS_OK;
    if (err)
        *err = file->trouble->error;
    return LS_FAILED;
}

static int64_t place_of(const struct row_context *row, int64_t index)
{
    return row->file->header.part[row->part].inputs + index * ls_lsd_stride(&row->file->header);
}

static void fetch_pixels(const void *context, int64_t index, uint8_t *pixels)
{
    const struct row_context *row = context;
    const size_t n = (size_t)row->file->header.n_features;
    struct ls_error error;
    if (ls_lsd_read(row->file, place_of(row, index), pixels, n, &error) == LS_OK)
        return;
    memset(pixels, 0, n);
    remember(row->file, &error);
}

/* Bytes to numbers, as operations on pixels in memory do it: one division. */
static void read_pixels(const void *context, int64_t index, float *x)
{
    const struct row_context *row = context;
    const float divisor = row->file->header.divisor;
    const int64_t place = place_of(row, index), K = row->file->header.n_features;
    uint8_t piece[16384];
    struct ls_error error;
    enum ls_code code = LS_OK;
    for (int64_t k = 0; k < K;) {
        const int64_t n = K - k < (int64_t)sizeof piece ? K - k : (int64_t)sizeof piece;
        if (code == LS_OK)
            code = ls_lsd_read(row->file, place + k, piece, (size_t)n, &error);
        if (code != LS_OK)
            memset(piece, 0, sizeof piece);
        for (int64_t i = 0; i < n; i++)
            x[k + i] = (float)piece[i] / divisor;
        k += n;
    }
    if (code != LS_OK)
        remember(row->file, &error);
}

static void read_numbers(const void *context, int64_t index, float *x)
{
    const struct row_context *row = context;
    const size_t n = (size_t)row->file->header.n_features * sizeof *x;
    struct ls_error error;
    if (ls_lsd_read(row->file, place_of(row, index), x, n, &error) == LS_OK)
        return;
    memset(x, 0, n);
    remember(row->file, &error);
}

static int32_t read_label(const void *context, int64_t index)
{
    const struct row_context *row = context;
    int32_t label = 0;
    struct ls_error error;
    if (ls_lsd_read(row->file, row->file->header.part[row->part].labels + index * 4, &label, sizeof label,
                    &error) != LS_OK) {
        remember(row->file, &error);
        return 0;
    }
    return label;
}

void ls_lsd_bad_label(const struct ls_lsd_file *file, int part, int64_t index, int32_t label)
{
    struct ls_error error;
    ls_fail(&error, LS_FAILED, "\"%s\": byte %lld: label %d of %s sample %lld; allowed are 0 to %d",
            file->path, (long long)(file->header.part[part].labels + 4 * index), label,
            ls_lsd_part_names[part], (long long)index, file->header.n_classes - 1);
    remember(file, &error);
}

/* ---- opening ---- */

static enum ls_code read_header(struct ls_lsd_file *file, struct ls_error *err)
{
    struct stat status;
    file->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* of a pipe: do not wait */
    if (file->fd < 0 || fstat(file->fd, &status) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot open \"%s\"", file->path);
    if (!S_ISREG(status.st_mode))
        return ls_fail(err, LS_FAILED, "\"%s\" is not a regular file", file->path);
    uint8_t bytes[LS_LSD_PAGE];
    const size_t n = status.st_size < LS_LSD_PAGE ? (size_t)status.st_size : LS_LSD_PAGE;
    const enum ls_code code = ls_lsd_read(file, 0, bytes, n, err);
    return code == LS_OK ? ls_lsd_decode(&file->header, bytes, n, (int64_t)status.st_size, file->path, err)
                         : code;
}

/* Every name ends, and none is missing. */
static enum ls_code read_names(struct ls_lsd_file *file, struct ls_error *err)
{
    const size_t n = (size_t)file->header.names_bytes;
    if (n == 0)
        return LS_OK;
    file->names = ls_alloc(n, 1, "class names", err);
    if (!file->names || ls_lsd_read(file, LS_LSD_PAGE, file->names, n, err) != LS_OK)
        return LS_FAILED;
    int32_t ends = 0;
    for (size_t i = 0; i < n; i++)
        ends += file->names[i] == '\0';
    if (!ls_hash_equal(ls_hash_bytes(file->names, n), file->header.names) || ends != file->header.n_names ||
        file->names[n - 1] != '\0')
        return ls_fail(
            err, LS_FAILED,
            "\"%s\" is damaged: bytes %d to %zu are not the %d class names that were written; convert "
            "or copy it again",
            file->path, LS_LSD_PAGE, LS_LSD_PAGE + n - 1, file->header.n_names);
    return LS_OK;
}

/* Whether a limit on address space leaves the file less than half of it: what comes later needs some too. */
static int address_space_is_short(int64_t bytes)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           (uint64_t)bytes > limit.rlim_cur / 2;
}

static enum ls_code choose_way(struct ls_lsd_file *file, enum ls_lsd_way way, struct ls_error *err)
{
    file->way = way;
    if (way == LS_LSD_AUTO && address_space_is_short(file->header.file_bytes))
        file->way = LS_LSD_PREAD;
    if (file->way != LS_LSD_AUTO && file->way != LS_LSD_MMAP)
        return LS_OK;
    void *map = mmap(NULL, (size_t)file->header.file_bytes, PROT_READ, MAP_SHARED, file->fd, 0);
    file->way = map == MAP_FAILED ? LS_LSD_PREAD : LS_LSD_MMAP;
    file->map = map == MAP_FAILED ? NULL : map;
    if (file->map) /* what a disk error, or a file cut under the map, will be told by */
        ls_crash_describe_range(file->map, (size_t)file->header.file_bytes, file->path, 0);
    if (map == MAP_FAILED && way == LS_LSD_MMAP)
        return ls_fail_errno(err, LS_FAILED, "cannot map the %lld bytes of \"%s\": give read=pread",
                             (long long)file->header.file_bytes, file->path);
    return LS_OK;
}

enum ls_code ls_lsd_open(struct ls_lsd_file **out, const char *path, enum ls_lsd_way way,
                         struct ls_error *err)
{
    struct ls_lsd_file *file = *out = ls_alloc(1, sizeof *file, "a data file", err);
    if (!file)
        return LS_FAILED;
    file->fd = -1;
    file->references = 1;
    file->path = ls_copy_text(path, err);
    file->trouble = file->path ? ls_alloc(1, sizeof *file->trouble, "a data file", err) : NULL;
    enum ls_code code = file->trouble ? read_header(file, err) : LS_FAILED;
    if (code == LS_OK)
        code = read_names(file, err);
    if (code == LS_OK)
        code = choose_way(file, way, err);
    if (code != LS_OK) {
        ls_lsd_close(out);
        return code;
    }
    atomic_flag_clear(&file->trouble->taken);
    for (int p = 0; p < LS_LSD_PARTS; p++)
        file->trouble->rows[p] = (struct row_context){file, p};
    return LS_OK;
}

void ls_lsd_close(struct ls_lsd_file **out)
{
    struct ls_lsd_file *file = out ? *out : NULL;
    if (!file)
        return;
    *out = NULL;
    if (--file->references > 0)
        return;
    ls_crash_forget_range(file->map);
    if (file->map)
        munmap((void *)(uintptr_t)file->map, (size_t)file->header.file_bytes);
    if (file->fd >= 0)
        close(file->fd);
    ls_free(file->names);
    ls_free(file->trouble);
    ls_free(file->path);
    ls_free(file);
}

enum ls_code ls_lsd_names(const struct ls_lsd_file *file, struct ls_class_names *names, struct ls_error *err)
{
    *names = (struct ls_class_names){0};
    if (file->header.n_names == 0)
        return LS_OK;
    names->name = ls_alloc((size_t)file->header.n_names, sizeof *names->name, "class names", err);
    const char *at = file->names;
    while (names->name && names->n < file->header.n_names) {
        if (!(names->name[names->n] = ls_copy_text(at, err)))
            break;
        at += strlen(at) + 1;
        names->n++;
    }
    struct ls_error inner = {.code = LS_OK};
    enum ls_code code = names->n == file->header.n_names ? LS_OK : LS_FAILED;
    if (code == LS_OK && (code = ls_class_names_check(names, &inner)) != LS_OK)
        ls_fail(err, code, "\"%s\": %.600s", file->path, inner.text);
    if (code != LS_OK)
        ls_class_names_release(names);
    return code;
}

/* ---- datasets ---- */

/* A section in memory: where it is mapped, or a copy that the dataset owns. */
static const void *section(struct ls_lsd_file *file, int64_t offset, int64_t n, int64_t size,
                           struct ls_dataset *dataset, int slot, const char *what, struct ls_error *err)
{
    if (file->map)
        return file->map + offset;
    void *copy = dataset->owned[slot] = ls_alloc((size_t)n, (size_t)size, what, err);
    return copy && ls_lsd_read(file, offset, copy, (size_t)(n * size), err) == LS_OK ? copy : NULL;
}

static enum ls_code show_inputs(struct ls_lsd_file *file, int part, struct ls_dataset *dataset,
                                struct ls_error *err)
{
    const struct ls_lsd_header *header = &file->header;
    const struct ls_lsd_part *p = &header->part[part];
    dataset->pixel_divisor = header->is_bytes ? header->divisor : 0.0f;
    if (file->way == LS_LSD_PREAD) {
        dataset->generate = header->is_bytes ? read_pixels : read_numbers;
        dataset->fetch = header->is_bytes ? fetch_pixels : NULL;
        dataset->context = &file->trouble->rows[part];
        return LS_OK;
    }
    const void *inputs =
        section(file, p->inputs, p->n_samples, ls_lsd_stride(header), dataset, 0, "the data's inputs", err);
    if (header->is_bytes)
        dataset->pixels = inputs;
    else
        dataset->numbers = inputs;
    return inputs ? LS_OK : LS_FAILED;
}

static enum ls_code show_targets(struct ls_lsd_file *file, int part, struct ls_dataset *dataset,
                                 struct ls_error *err)
{
    const struct ls_lsd_header *header = &file->header;
    const struct ls_lsd_part *p = &header->part[part];
    dataset->n_classes = header->n_classes;
    dataset->n_values = (ptrdiff_t)header->n_values;
    if (header->n_classes > 0 && file->way == LS_LSD_PREAD)
        dataset->label_of = read_label;
    else if (header->n_classes > 0 && !(dataset->labels = section(file, p->labels, p->n_samples, 4, dataset,
                                                                  1, "the data's labels", err)))
        return LS_FAILED;
    if (header->n_values > 0 &&
        !(dataset->values = section(file, p->values, p->n_samples, 4 * header->n_values, dataset, 2,
                                    "the data's target values", err)))
        return LS_FAILED;
    return LS_OK;
}

enum ls_code ls_lsd_show(struct ls_lsd_file *file, int part, struct ls_dataset *dataset, struct ls_error *err)
{
    const struct ls_lsd_header *header = &file->header;
    ptrdiff_t dims[LS_MAX_DIMS];
    assert(header->part[part].n_samples > 0);
    for (int i = 0; i < LS_MAX_DIMS; i++)
        dims[i] = (ptrdiff_t)header->dims[i];
    dataset->n_samples = header->part[part].n_samples;
    ls_dataset_set_shape(dataset, header->n_dims, dims);
    dataset->file = file;
    dataset->file_part = part;
    dataset->holds_file = 1;
    file->references++;
    const enum ls_code code = show_inputs(file, part, dataset, err);
    return code == LS_OK ? show_targets(file, part, dataset, err) : code;
}

void ls_lsd_expect(const struct ls_lsd_file *file, int part, int random)
{
    const struct ls_lsd_header *header = &file->header;
    const int64_t begin = header->part[part].inputs,
                  bytes = header->part[part].n_samples * ls_lsd_stride(header);
    if (file->map)
        madvise((void *)(uintptr_t)(file->map + begin), (size_t)bytes, random ? MADV_RANDOM : MADV_NORMAL);
    else if (file->way == LS_LSD_PREAD)
        posix_fadvise(file->fd, 0, 0, random ? POSIX_FADV_RANDOM : POSIX_FADV_NORMAL);
}
