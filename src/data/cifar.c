/* Owns the binary version of CIFAR-10 and CIFAR-100 (A. Krizhevsky, "Learning Multiple Layers of Features
 * from Tiny Images", 2009): records of one label byte (CIFAR-100: two, coarse and fine) and 3 x 32 x 32
 * pixels, in a folder with training and test data, or in files that are named.
 *
 * Nothing but a block of records is held in memory: a record is found by its index. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/read_at.h"
#include "data/formats.h"

enum { PIXELS = 3 * 32 * 32, BLOCK_RECORDS = 64, MAX_FILES = 8 };

struct kind {
    const char *word;
    int label_bytes;                /* in front of the pixels */
    int coarse, fine;               /* which of them; both 0 for CIFAR-10 */
    int32_t n_classes[2];           /* by label byte */
    const char *names[2];           /* files with the classes' names, by label byte */
    const char *train[6], *test[2]; /* the files in a folder, NULL-terminated */
};

static const struct kind cifar10 = {
    .word = "cifar10",
    .label_bytes = 1,
    .n_classes = {10},
    .names = {"batches.meta.txt"},
    .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
              "data_batch_5.bin"},
    .test = {"test_batch.bin"},
};
static const struct kind cifar100 = {
    .word = "cifar100",
    .label_bytes = 2,
    .coarse = 0,
    .fine = 1,
    .n_classes = {20, 100},
    .names = {"coarse_label_names.txt", "fine_label_names.txt"},
    .train = {"train.bin"},
    .test = {"test.bin"},
};

struct cifar {
    const struct kind *kind;
    int label; /* the label byte that counts */
    int record_bytes;
    int n_files;
    struct {
        char path[PATH_MAX];
        int file;
        int64_t n_records;
    } files[MAX_FILES];
    uint8_t block[BLOCK_RECORDS * (PIXELS + 2)];
};

static enum ls_code add_file(struct cifar *cifar, const char *folder, const char *name, struct ls_error *err)
{
    const int i = cifar->n_files;
    char *path = cifar->files[i].path;
    struct stat status;
    const int n =
        folder ? snprintf(path, PATH_MAX, "%s/%s", folder, name) : snprintf(path, PATH_MAX, "%s", name);
    if (n >= PATH_MAX)
        return ls_fail(err, LS_FAILED, "%s: the path \"%.200s...\" is too long", cifar->kind->word, path);
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return ls_fail_errno(err, LS_FAILED, "%s: cannot open \"%s\"", cifar->kind->word, path);
    cifar->files[cifar->n_files++].file = file;
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return ls_fail(err, LS_FAILED, "%s: \"%s\" is not a regular file", cifar->kind->word, path);
    if (status.st_size == 0 || status.st_size % cifar->record_bytes != 0)
        return ls_fail(err, LS_FAILED,
                       "%s: \"%s\" has %lld bytes; whole records of %d (%d for labels, %d pixels) are needed",
                       cifar->kind->word, path, (long long)status.st_size, cifar->record_bytes,
                       cifar->kind->label_bytes, PIXELS);
    cifar->files[i].n_records = status.st_size / cifar->record_bytes;
    return LS_OK;
}

/* Records first .. first + n - 1 of file i into the block. */
static enum ls_code read_block(struct cifar *cifar, int i, int64_t first, int64_t n, struct ls_error *err)
{
    const size_t bytes = (size_t)(n * cifar->record_bytes);
    const ptrdiff_t got = ls_read_at(cifar->files[i].file, first * cifar->record_bytes, cifar->block, bytes);
    if (got < 0)
        return ls_fail_errno(err, LS_FAILED, "\"%s\": record %lld cannot be read", cifar->files[i].path,
                             (long long)first);
    if ((size_t)got < bytes)
        return ls_fail(err, LS_FAILED, "\"%s\" became shorter while it was read", cifar->files[i].path);
    return LS_OK;
}

/* All label bytes are checked, the one that is not used as well: a wrong one says that the file is no such.
 */
static enum ls_code check_labels(const struct cifar *cifar, int i, int64_t record, const uint8_t *bytes,
                                 struct ls_error *err)
{
    for (int k = 0; k < cifar->kind->label_bytes; k++)
        if (bytes[k] >= cifar->kind->n_classes[k])
            return ls_fail(err, LS_FAILED, "\"%s\": byte %lld: %slabel %d of record %lld; %s has 0 to %d",
                           cifar->files[i].path, (long long)(record * cifar->record_bytes + k),
                           cifar->kind->label_bytes == 1 ? ""
                           : k                           ? "fine "
                                                         : "coarse ",
                           bytes[k], (long long)record, cifar->kind->word, cifar->kind->n_classes[k] - 1);
    return LS_OK;
}

/* Records of one file, into place `at` of the rows. */
static enum ls_code read_file(struct cifar *cifar, int i, int64_t first, int64_t n, int64_t at,
                              const struct ls_stream_rows *rows, struct ls_error *err)
{
    enum ls_code code = LS_OK;
    for (int64_t now; n > 0 && code == LS_OK; n -= now, first += now) {
        now = n < BLOCK_RECORDS ? n : BLOCK_RECORDS;
        code = read_block(cifar, i, first, now, err);
        for (int64_t k = 0; k < now && code == LS_OK; k++, at++) {
            const uint8_t *record = cifar->block + k * cifar->record_bytes;
            code = check_labels(cifar, i, first + k, record, err);
            if (rows->labels)
                rows->labels[at] = record[cifar->label];
            if (rows->pixels)
                memcpy(rows->pixels + at * PIXELS, record + cifar->kind->label_bytes, PIXELS);
        }
    }
    return code;
}

static enum ls_code read_records(struct ls_stream *stream, ptrdiff_t n, const struct ls_stream_rows *rows,
                                 struct ls_error *err)
{
    struct cifar *cifar = stream->state;
    int64_t first = stream->next, done = 0;
    enum ls_code code = LS_OK;
    for (int i = 0; i < cifar->n_files && done < n && code == LS_OK; i++) {
        const int64_t left = cifar->files[i].n_records - first, now = left < n - done ? left : n - done;
        if (now > 0) {
            code = read_file(cifar, i, first, now, done, rows, err);
            done += now;
            first += now;
        }
        first -= cifar->files[i].n_records;
    }
    return code;
}

/* Records are read by index; nothing has to be moved. */
static enum ls_code seek_record(struct ls_stream *stream, int64_t first, struct ls_error *err)
{
    (void)stream, (void)first, (void)err;
    return LS_OK;
}

static void close_files(struct ls_stream *stream)
{
    struct cifar *cifar = stream->state;
    for (int i = 0; i < cifar->n_files; i++)
        close(cifar->files[i].file);
    ls_free(cifar);
}

static const struct ls_stream_ops cifar_ops = {
    .read = read_records, .seek = seek_record, .close = close_files};

static int is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* The names of classes, one a line, if the file is there and has one for each class; else the classes stay
 * numbers. */
static enum ls_code read_names(struct ls_class_names *classes, const char *folder, const char *name,
                               int32_t n, struct ls_error *err)
{
    char path[PATH_MAX], text[8192], *rest = text;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= PATH_MAX)
        return LS_OK;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const ssize_t bytes = file >= 0 ? read(file, text, sizeof text - 1) : -1;
    if (file >= 0)
        close(file);
    if (bytes <= 0)
        return LS_OK;
    text[bytes] = '\0';
    classes->name = ls_alloc((size_t)n, sizeof *classes->name, "names of classes", err);
    if (!classes->name)
        return LS_FAILED;
    for (char *line; classes->n < n && (line = strsep(&rest, "\r\n"));) {
        if (*line == '\0')
            continue;
        classes->name[classes->n] = ls_copy_text(line, err);
        if (!classes->name[classes->n])
            return LS_FAILED;
        classes->n++;
    }
    if (classes->n < n)
        ls_class_names_release(classes);
    return LS_OK;
}

static enum ls_code open_folder(struct ls_stream *stream, struct cifar *cifar, const char *folder,
                                const char *part, int test_part, struct ls_error *err)
{
    const struct kind *kind = cifar->kind;
    char path[PATH_MAX];
    const int test = part ? strcmp(part, "test") == 0 : test_part;
    enum ls_code code = LS_OK;
    for (const char *const *name = test ? kind->test : kind->train; *name && code == LS_OK; name++)
        code = add_file(cifar, folder, *name, err);
    snprintf(path, sizeof path, "%s/%s", folder, kind->test[0]);
    stream->facts.has_test = !part && !test_part && access(path, F_OK) == 0;
    return code == LS_OK ? read_names(&stream->facts.classes, folder, kind->names[cifar->label],
                                      kind->n_classes[cifar->label], err)
                         : code;
}

static enum ls_code choose_label(struct cifar *cifar, const char *label, struct ls_error *err)
{
    cifar->label = cifar->kind->fine;
    if (!label || strcmp(label, "fine") == 0)
        return LS_OK;
    if (strcmp(label, "coarse") != 0)
        return ls_fail(err, LS_USAGE, "%s: label=%s; allowed are fine (the default) and coarse",
                       cifar->kind->word, label);
    cifar->label = cifar->kind->coarse;
    return LS_OK;
}

static void set_facts(struct ls_stream_facts *facts, const struct cifar *cifar)
{
    for (int i = 0; i < cifar->n_files; i++)
        facts->n_samples += cifar->files[i].n_records;
    facts->n_dims = 3;
    facts->dims[0] = 3;
    facts->dims[1] = facts->dims[2] = 32;
    facts->n_features = PIXELS;
    facts->is_bytes = 1;
    facts->divisor = 255.0f;
    facts->n_classes = cifar->kind->n_classes[cifar->label];
}

static enum ls_code open_files(struct ls_stream *stream, struct cifar *cifar, struct ls_source *source,
                               const struct ls_stream_request *request, struct ls_error *err)
{
    static const char *const known10[] = {"part", NULL}, *const known100[] = {"part", "label", NULL};
    const int two = cifar->kind->label_bytes == 2,
              folder = source->n_files > 0 && is_folder(source->files[0]);
    const char *label = two ? ls_source_setting(source, "label") : NULL,
               *part = ls_source_setting(source, "part");
    enum ls_code code = choose_label(cifar, label, err);
    if (code == LS_OK)
        code = ls_source_check(source, two ? known100 : known10, 1, folder ? 1 : MAX_FILES, err);
    if (code == LS_OK && part && strcmp(part, "train") != 0 && strcmp(part, "test") != 0)
        code = ls_fail(err, LS_USAGE, "%s: part=%s; allowed are train and test", cifar->kind->word, part);
    if (code == LS_OK && part && !folder)
        code = ls_fail(err, LS_USAGE, "%s: part=%s chooses files in a folder; \"%s\" is none",
                       cifar->kind->word, part, source->files[0]);
    if (code == LS_OK && folder)
        return open_folder(stream, cifar, source->files[0], part, request->test_part, err);
    for (int i = 0; i < source->n_files && code == LS_OK; i++)
        code = add_file(cifar, NULL, source->files[i], err);
    return code;
}

static enum ls_code open_kind(struct ls_stream *stream, const struct kind *kind, struct ls_source *source,
                              const struct ls_stream_request *request, struct ls_error *err)
{
    struct cifar *cifar = ls_alloc(1, sizeof *cifar, kind->word, err);
    if (!cifar)
        return LS_FAILED;
    cifar->kind = kind;
    cifar->record_bytes = kind->label_bytes + PIXELS;
    stream->state = cifar;
    stream->ops = &cifar_ops;
    const enum ls_code code = open_files(stream, cifar, source, request, err);
    if (code == LS_OK)
        set_facts(&stream->facts, cifar);
    return code;
}

static enum ls_code open_cifar10(struct ls_stream *stream, struct ls_source *source,
                                 const struct ls_stream_request *request, struct ls_error *err)
{
    return open_kind(stream, &cifar10, source, request, err);
}

static enum ls_code open_cifar100(struct ls_stream *stream, struct ls_source *source,
                                  const struct ls_stream_request *request, struct ls_error *err)
{
    return open_kind(stream, &cifar100, source, request, err);
}

const struct ls_format ls_format_cifar10 = {
    .name = "cifar10",
    .usage = "cifar10:FOLDER[,part=train|test] or cifar10:FILE[,FILE...]",
    .open = open_cifar10,
};

const struct ls_format ls_format_cifar100 = {
    .name = "cifar100",
    .usage = "cifar100:FOLDER[,part=train|test][,label=fine|coarse] or cifar100:FILE[,FILE...][,label=...]",
    .open = open_cifar100,
};
