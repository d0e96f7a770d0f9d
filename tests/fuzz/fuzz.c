/* Owns the watch over an input: memory, open files, paths.
 *
 * The linker's --wrap puts the allocating functions and those that open files behind the ones here, for the
 * project's own objects; open() itself is defined here, so libraries that are loaded get this one too.
 * libFuzzer's own limit on malloc works only together with a sanitizer, which makes it too slow for ten
 * million inputs. */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/stream.h"

size_t fuzz_limit_bytes = FUZZ_LIMIT_BYTES;
int fuzz_hides_files, fuzz_shows;

/* Where libFuzzer writes an input that crashed, while it is still being watched. */
static const char findings[] = "build/fuzz-findings/";

static struct {
    int fd;
    size_t bytes;
    char path[32];
    char alias[64];
} files[FUZZ_FILES];

static char disk_path[64];
static int disk_fd;

static int is_watching;
static long n_blocks;
static size_t json_bytes;
static int lowest_fd;

void fuzz_require(int holds, const char *what)
{
    if (holds)
        return;
    is_watching = 0;
    fprintf(stderr, "fuzz: finding: %s\n", what);
    abort();
}

/* --- what is watched --- */

static void check_request(size_t bytes)
{
    if (!is_watching || bytes <= fuzz_limit_bytes)
        return;
    char what[100];
    snprintf(what, sizeof what, "%zu bytes of memory asked for at once; allowed are %zu", bytes,
             fuzz_limit_bytes);
    fuzz_require(0, what);
}

static size_t product(size_t a, size_t b)
{
    size_t bytes;
    return __builtin_mul_overflow(a, b, &bytes) ? SIZE_MAX : bytes;
}

/* The path to open in its place, or NULL. */
static const char *check_path(const char *path)
{
    if (!is_watching || strncmp(path, findings, sizeof findings - 1) == 0 || strcmp(path, disk_path) == 0)
        return path;
    for (int i = 0; i < FUZZ_FILES; i++)
        if (files[i].fd > 0 && (strcmp(path, files[i].path) == 0 || strcmp(path, files[i].alias) == 0))
            return files[i].path;
    if (fuzz_hides_files) {
        errno = ENOENT;
        return NULL;
    }
    char what[300];
    snprintf(what, sizeof what, "\"%.200s\" is opened, a path that no one gave", path);
    fuzz_require(0, what);
    return NULL;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
FILE *__real_fopen(const char *path, const char *mode);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
FILE *__wrap_fopen(const char *path, const char *mode);

void *__wrap_malloc(size_t bytes)
{
    check_request(bytes);
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t size)
{
    check_request(product(count, size));
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t bytes)
{
    check_request(bytes);
    return __real_realloc(block, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    check_request(bytes);
    return __real_aligned_alloc(alignment, bytes);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    path = check_path(path);
    return path ? __real_fopen(path, mode) : NULL;
}

/* Replaces the C library's for this program and for what it loads. */
int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    const int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    path = check_path(path);
    return path ? (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode) : -1;
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

static void *json_malloc(size_t n)
{
    check_request(n);
    void *block = __real_malloc(n);
    json_bytes += malloc_usable_size(block);
    return block;
}

static void json_free(void *block)
{
    json_bytes -= block ? malloc_usable_size(block) : 0;
    free(block);
}

static int next_fd(void)
{
    const int fd = dup(STDERR_FILENO);
    close(fd);
    return fd;
}

static void set_up(void)
{
    json_set_alloc_funcs(json_malloc, json_free);
    /* Blocks of up to a megabyte, which readers take for each file, without a system call. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    json_object_seed(1); /* the same order each time; and without it, jansson opens /dev/urandom */
    for (int i = 0; i < FUZZ_FILES; i++) {
        files[i].fd = memfd_create("fuzz", MFD_CLOEXEC);
        fuzz_require(files[i].fd > 0, "memfd_create failed");
        snprintf(files[i].path, sizeof files[i].path, "/proc/self/fd/%d", files[i].fd);
    }
}

void fuzz_begin(void)
{
    if (files[0].fd == 0)
        set_up();
    n_blocks = ls_memory_balance();
    lowest_fd = next_fd();
    fuzz_limit_bytes = FUZZ_LIMIT_BYTES;
    fuzz_hides_files = 0;
    is_watching = 1;
}

void fuzz_end(void)
{
    is_watching = 0;
    for (int i = 0; i < FUZZ_FILES; i++)
        files[i].alias[0] = '\0';
    fuzz_require(ls_memory_balance() == n_blocks, "memory was not released");
    fuzz_require(json_bytes == 0, "JSON was not released");
    fuzz_require(next_fd() == lowest_fd, "a file was left open");
}

/* --- for targets --- */

const char *fuzz_file(int slot, const void *bytes, size_t n)
{
    const ssize_t written = n ? pwrite(files[slot].fd, bytes, n, 0) : 0;
    fuzz_require(written == (ssize_t)n, "cannot write the input");
    if (files[slot].bytes > n) /* longer files are cut; shorter ones have grown */
        fuzz_require(ftruncate(files[slot].fd, (off_t)n) == 0, "cannot cut the input");
    files[slot].bytes = n;
    return files[slot].path;
}

static void remove_disk_file(void)
{
    unlink(disk_path);
}

const char *fuzz_disk_file(const void *bytes, size_t n)
{
    if (!disk_path[0]) {
        snprintf(disk_path, sizeof disk_path, "/dev/shm/lockstep-fuzz-%d", (int)getpid());
        disk_fd = open(disk_path, O_RDWR | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
        fuzz_require(disk_fd >= 0, "cannot make a file in /dev/shm");
        atexit(remove_disk_file);
        lowest_fd = next_fd();
    }
    fuzz_require(n == 0 || pwrite(disk_fd, bytes, n, 0) == (ssize_t)n, "cannot write the input");
    fuzz_require(ftruncate(disk_fd, (off_t)n) == 0, "cannot cut the input");
    return disk_path;
}

void fuzz_alias(int slot, const char *path)
{
    snprintf(files[slot].alias, sizeof files[slot].alias, "%s", path);
}

char *fuzz_text(const uint8_t *bytes, size_t n)
{
    static char text[FUZZ_TEXT];
    n = n < sizeof text ? n : sizeof text - 1;
    if (n > 0)
        memcpy(text, bytes, n);
    text[n] = '\0';
    return text;
}

void fuzz_require_message(enum ls_code code, const struct ls_error *err)
{
    if (code == LS_OK)
        return;
    if (fuzz_shows)
        printf("    status %d: %s\n", (int)code, err->text);
    fuzz_require(code == err->code, "the code that is returned is not the error's");
    fuzz_require(memchr(err->text, '\0', sizeof err->text) != NULL && err->text[0],
                 "a failure without words");
}

enum { MOST_FEATURES = 1 << 16 };

static void check_sample(const struct ls_dataset *dataset, int64_t index, float *x)
{
    int32_t label = 0;
    ls_dataset_gather_raw(dataset, index, x);
    for (ptrdiff_t k = 0; k < dataset->n_features; k++)
        fuzz_require(isfinite(x[k]), "an input that is not finite");
    if (dataset->labels)
        label = dataset->labels[index];
    else if (dataset->label_of)
        label = dataset->label_of(dataset->context, index);
    if (ls_dataset_has_labels(dataset))
        fuzz_require(label >= 0 && label < dataset->n_classes, "a label outside of the classes");
    for (ptrdiff_t v = 0; v < dataset->n_values; v++)
        fuzz_require(isfinite(dataset->values[index * dataset->n_values + v]), "a target that is not finite");
}

static void check_dataset(const struct ls_dataset *dataset)
{
    struct ls_error err;
    ptrdiff_t n = 1;
    if (dataset->n_samples == 0)
        return;
    fuzz_require(dataset->n_samples > 0 && dataset->n_dims >= 1 && dataset->n_dims <= LS_MAX_DIMS,
                 "no shape");
    for (int d = 0; d < dataset->n_dims; d++)
        fuzz_require(!__builtin_mul_overflow(n, dataset->dims[d], &n), "dimensions that overflow");
    fuzz_require(n == dataset->n_features && n > 0, "features that are not the product of the dimensions");
    if (n > MOST_FEATURES) /* of synthetic data: nothing is held */
        return;
    float *x = ls_alloc((size_t)n, sizeof *x, "a sample", &err);
    const int64_t some = dataset->n_samples < 1000 || !dataset->generate ? dataset->n_samples : 3;
    for (int64_t i = 0; x && i < some; i++)
        check_sample(dataset, i, x);
    check_sample(dataset, dataset->n_samples - 1, x);
    ls_free(x);
}

static int is_zero(const struct ls_data *data)
{
    static const struct ls_data zero;
    return memcmp(data, &zero, sizeof zero) == 0;
}

void fuzz_check_data(enum ls_code code, struct ls_data *data, const struct ls_error *err)
{
    fuzz_require_message(code, err);
    if (code != LS_OK) {
        fuzz_require(is_zero(data), "data that could not be opened is not all zero");
        return;
    }
    fuzz_require(data->train.n_samples > 0, "data without a sample");
    check_dataset(&data->train);
    check_dataset(&data->test);
    ls_data_release(data);
}

/* --- streams --- */

/* Wider samples, which sparse text can have, are opened and not read: zeroing them would take all the time.
 */
enum { MOST_ROWS = 64, MOST_NUMBERS = 1 << 16 };

static void check_rows(const struct ls_stream_facts *facts, ptrdiff_t n, const struct ls_stream_rows *rows,
                       int keep_missing)
{
    for (ptrdiff_t i = 0; rows->numbers && i < n * facts->n_features; i++)
        fuzz_require(isfinite(rows->numbers[i]) || (keep_missing && isnan(rows->numbers[i])),
                     "an input that is not finite");
    for (ptrdiff_t i = 0; rows->labels && i < n; i++)
        fuzz_require(rows->labels[i] >= 0 && rows->labels[i] < facts->n_classes,
                     "a label outside of the classes");
    for (ptrdiff_t i = 0; rows->values && i < n * facts->n_values; i++)
        fuzz_require(isfinite(rows->values[i]), "a target that is not finite");
}

/* Blocks of their size, so that a sanitizer sees their end. */
static struct ls_stream_rows take_rows(const struct ls_stream_facts *facts, ptrdiff_t n)
{
    struct ls_stream_rows rows = {.pixels = NULL};
    const size_t elements = (size_t)(n * facts->n_features);
    if (facts->is_bytes)
        rows.pixels = malloc(elements);
    else
        rows.numbers = malloc(elements * sizeof(float));
    if (facts->n_classes > 0)
        rows.labels = malloc((size_t)n * sizeof(int32_t));
    if (facts->n_values > 0)
        rows.values = malloc((size_t)(n * facts->n_values) * sizeof(float));
    return rows;
}

static void free_rows(struct ls_stream_rows *rows)
{
    free(rows->pixels);
    free(rows->numbers);
    free(rows->labels);
    free(rows->values);
}

static int same_inputs(const struct ls_stream_facts *facts, ptrdiff_t n, const struct ls_stream_rows *a,
                       const struct ls_stream_rows *b)
{
    const size_t elements = (size_t)(n * facts->n_features);
    return facts->is_bytes ? memcmp(a->pixels, b->pixels, elements) == 0
                           : memcmp(a->numbers, b->numbers, elements * sizeof(float)) == 0;
}

/* Goes back to the second sample of the first block, if there is one. */
static void read_again(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *first)
{
    const struct ls_stream_facts *facts = &stream->facts;
    struct ls_error err;
    if (n < 2)
        return;
    struct ls_stream_rows again = take_rows(facts, 1), second = *first;
    if (facts->is_bytes)
        second.pixels += facts->n_features;
    else
        second.numbers += facts->n_features;
    fuzz_require(ls_stream_seek(stream, 1, &err) == LS_OK && ls_stream_read(stream, 1, &again, &err) == LS_OK,
                 "a sample cannot be read a second time");
    fuzz_require(same_inputs(facts, 1, &second, &again), "a sample is another the second time");
    free_rows(&again);
}

static void check_open_stream(struct ls_stream *stream, int keep_missing)
{
    const struct ls_stream_facts *facts = &stream->facts;
    struct ls_error err = {.code = LS_OK};
    ptrdiff_t n_features = 1;
    fuzz_require(facts->n_samples > 0 && facts->n_dims >= 1 && facts->n_dims <= LS_MAX_DIMS, "no shape");
    for (int d = 0; d < facts->n_dims; d++)
        fuzz_require(!__builtin_mul_overflow(n_features, facts->dims[d], &n_features), "dimensions overflow");
    fuzz_require(n_features == facts->n_features && n_features > 0,
                 "features are not the dimensions' product");
    ptrdiff_t most = MOST_NUMBERS / (n_features + facts->n_values);
    most = most < MOST_ROWS ? most : MOST_ROWS;
    const ptrdiff_t block = facts->n_samples < most ? (ptrdiff_t)facts->n_samples : most;
    if (block == 0)
        return;
    struct ls_stream_rows rows = take_rows(facts, block);
    enum ls_code code = ls_stream_read(stream, block, &rows, &err);
    if (code == LS_OK) {
        check_rows(facts, block, &rows, keep_missing);
        read_again(stream, block, &rows);
        code = ls_stream_seek(stream, block, &err);
    }
    for (int64_t left = facts->n_samples - block; left > 0 && code == LS_OK; left -= block) {
        const ptrdiff_t n = left < block ? (ptrdiff_t)left : block;
        code = ls_stream_read(stream, n, &rows, &err);
        if (code == LS_OK)
            check_rows(facts, n, &rows, keep_missing);
    }
    fuzz_require_message(code, &err);
    free_rows(&rows);
}

void fuzz_check_stream(const char *spec, int keep_missing)
{
    static const struct ls_stream none;
    struct ls_stream stream;
    struct ls_error err = {.code = LS_OK};
    const struct ls_stream_request request = {.keep_missing = keep_missing};
    const enum ls_code code = ls_stream_open(&stream, spec, &request, &err);
    fuzz_require_message(code, &err);
    if (code == LS_OK)
        check_open_stream(&stream, keep_missing);
    else
        fuzz_require(memcmp(&stream, &none, sizeof none) == 0,
                     "a stream that could not be opened is not all zero");
    ls_stream_close(&stream);
}
