/* Owns the way from a stream's samples to the blocks of an .lsd file.  See lsd_write.h. */
#include "data/lsd_write.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

/* ---- what the file will be ---- */

static enum ls_code check_parts(const struct ls_lsd_plan *plan, const struct ls_stream_facts *a,
                                const struct ls_stream_facts *b, struct ls_error *err)
{
    if (a->n_features != b->n_features)
        return ls_fail(err, LS_FAILED, "\"%s\": training samples have %td features, test samples %td",
                       plan->path, a->n_features, b->n_features);
    if ((a->n_classes > 0) != (b->n_classes > 0) || a->n_values != b->n_values)
        return ls_fail(
            err, LS_FAILED,
            "\"%s\": training samples have %d classes and %td target numbers, test samples %d and %td: "
            "one file holds one kind",
            plan->path, a->n_classes, a->n_values, b->n_classes, b->n_values);
    if (plan->type == LS_LSD_KEEP &&
        (a->is_bytes != b->is_bytes || (a->is_bytes && a->divisor != b->divisor)))
        return ls_fail(
            err, LS_USAGE,
            "\"%s\": training and test inputs are kept in different ways (bytes over %g, 0: numbers; "
            "and over %g): give --type",
            plan->path, a->is_bytes ? (double)a->divisor : 0, b->is_bytes ? (double)b->divisor : 0);
    return LS_OK;
}

static void choose_type(struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                        const struct ls_stream_facts *facts)
{
    header->is_bytes = plan->type == LS_LSD_U8 || (plan->type == LS_LSD_KEEP && facts->is_bytes);
    const float usual = facts->is_bytes ? facts->divisor : 1.0f;
    if (header->is_bytes)
        header->divisor = plan->divisor != 0.0f ? plan->divisor : usual;
}

static enum ls_code collect_names(struct ls_lsd_header *header, const struct ls_class_names *classes,
                                  char **names, struct ls_error *err)
{
    size_t bytes = 0, at = 0;
    for (int32_t i = 0; i < classes->n; i++)
        bytes += strlen(classes->name[i]) + 1;
    *names = NULL;
    if (classes->n == 0 || classes->n != header->n_classes) /* labels beyond the names: then none */
        return LS_OK;
    if (!(*names = ls_alloc(bytes, 1, "class names", err)))
        return LS_FAILED;
    for (int32_t i = 0; i < classes->n; i++) {
        const size_t n = strlen(classes->name[i]) + 1;
        memcpy(*names + at, classes->name[i], n);
        at += n;
    }
    header->n_names = classes->n;
    header->names_bytes = (int64_t)bytes;
    header->names = ls_hash_bytes(*names, bytes);
    return LS_OK;
}

enum ls_code ls_lsd_prepare(struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                            const struct ls_stream_facts *train, const struct ls_stream_facts *test,
                            char **names, struct ls_error *err)
{
    *header = (struct ls_lsd_header){.n_dims = train->n_dims,
                                     .n_features = train->n_features,
                                     .n_classes = train->n_classes,
                                     .n_values = train->n_values};
    *names = NULL;
    if (test && check_parts(plan, train, test, err) != LS_OK)
        return err ? err->code : LS_FAILED;
    if (test && test->n_classes > header->n_classes)
        header->n_classes = test->n_classes;
    for (int i = 0; i < train->n_dims; i++)
        header->dims[i] = train->dims[i];
    choose_type(header, plan, train);
    const struct ls_stream_facts *const both[] = {train, test};
    for (int i = 0; i < 2; i++)
        if (both[i] && header->is_bytes && both[i]->is_bytes && both[i]->divisor != header->divisor)
            return ls_fail(
                err, LS_USAGE,
                "\"%s\": %s inputs are bytes over %g already, which bytes over %g cannot hold: leave "
                "--divisor out, or give --type f32",
                plan->path, i ? "test" : "training", (double)both[i]->divisor, (double)header->divisor);
    header->part[0].n_samples = train->n_samples;
    header->part[1].n_samples = test ? test->n_samples : 0;
    const int64_t sample = ls_lsd_stride(header) + (header->n_classes > 0 ? 4 : 0) + 4 * header->n_values;
    header->block_samples = plan->block_bytes > sample ? plan->block_bytes / sample : 1;
    const enum ls_code code = collect_names(header, &train->classes, names, err);
    return code == LS_OK ? ls_lsd_lay_out(header, plan->path, err) : code;
}

/* ---- blocks ---- */

struct block {
    struct ls_stream_rows rows; /* as they are read */
    void *inputs;               /* as they are written: rows' own, or `converted` */
    void *converted;
    int64_t first, n; /* samples */
};

static void release_block(struct block *block)
{
    ls_free(block->rows.pixels);
    ls_free(block->rows.numbers);
    ls_free(block->rows.labels);
    ls_free(block->rows.values);
    ls_free(block->converted);
}

static enum ls_code create_block(struct block *block, const struct ls_lsd_header *header,
                                 const struct ls_stream_facts *facts, int64_t n, struct ls_error *err)
{
    const size_t K = (size_t)header->n_features, rows = (size_t)n;
    struct ls_stream_rows *r = &block->rows;
    *block = (struct block){.inputs = NULL};
    if (facts->is_bytes)
        r->pixels = ls_alloc(rows, K, "a block of inputs", err);
    else
        r->numbers = ls_alloc(rows, K * sizeof(float), "a block of inputs", err);
    if (header->n_classes > 0)
        r->labels = ls_alloc(rows, sizeof *r->labels, "a block of labels", err);
    if (header->n_values > 0)
        r->values = ls_alloc(rows, (size_t)header->n_values * sizeof *r->values, "a block of targets", err);
    if (facts->is_bytes != header->is_bytes)
        block->converted = ls_alloc(rows, (size_t)ls_lsd_stride(header), "a block of inputs", err);
    block->inputs = facts->is_bytes != header->is_bytes ? block->converted
                    : facts->is_bytes                   ? (void *)r->pixels
                                                        : (void *)r->numbers;
    if (block->inputs && (r->pixels || r->numbers) && (header->n_classes == 0 || r->labels) &&
        (header->n_values == 0 || r->values))
        return LS_OK;
    release_block(block);
    return LS_FAILED;
}

static enum ls_code refuse_value(const struct ls_lsd_header *header, const struct ls_lsd_plan *plan, int part,
                                 int64_t at, float value, struct ls_error *err)
{
    char text[LS_FLOAT_TEXT], divisor[LS_FLOAT_TEXT];
    return ls_fail(
        err, LS_FAILED,
        "\"%s\": --type u8: feature %lld of %s sample %lld is %s%s, which is none of 0/%s to 255/%s: "
        "give another --divisor, or --type f32",
        plan->path, (long long)(at % header->n_features), part ? "test" : "training",
        (long long)(at / header->n_features), ls_text_of_float(value, text),
        value == 0.0f ? " with a minus sign" : "", ls_text_of_float(header->divisor, divisor), divisor);
}

/* Bytes over the divisor that are the very bits of the numbers, or a refusal. */
static enum ls_code to_bytes(struct block *block, const struct ls_lsd_header *header,
                             const struct ls_lsd_plan *plan, int part, struct ls_error *err)
{
    uint8_t *bytes = block->converted;
    const float *x = block->rows.numbers;
    for (int64_t i = 0; i < block->n * header->n_features; i++) {
        const float scaled = x[i] * header->divisor;
        bytes[i] = scaled > 0.0f ? scaled < 255.0f ? (uint8_t)(scaled + 0.5f) : 255 : 0;
        const float back = (float)bytes[i] / header->divisor;
        if (memcmp(&back, &x[i], sizeof back) != 0)
            return refuse_value(header, plan, part, block->first * header->n_features + i, x[i], err);
    }
    return LS_OK;
}

/* The inputs as they are written. */
static enum ls_code convert(struct block *block, const struct ls_lsd_header *header,
                            const struct ls_lsd_plan *plan, const struct ls_stream_facts *facts, int part,
                            struct ls_error *err)
{
    const int64_t n = block->n * header->n_features;
    if (!block->converted)
        return LS_OK;
    if (header->is_bytes)
        return to_bytes(block, header, plan, part, err);
    float *numbers = block->converted;
    for (int64_t i = 0; i < n; i++)
        numbers[i] = (float)block->rows.pixels[i] / facts->divisor;
    return LS_OK;
}

static enum ls_code write_at(int fd, int64_t offset, const void *bytes, size_t n, const char *path,
                             struct ls_error *err)
{
    const char *at = bytes;
    while (n > 0) {
        const ssize_t wrote = pwrite(fd, at, n, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return ls_fail_errno(err, LS_FAILED, "cannot write '%s'", path);
        at += wrote;
        offset += wrote;
        n -= (size_t)wrote;
    }
    return LS_OK;
}

/* Writes the block's part of a section and adds its checksum to the line at *line. */
static enum ls_code write_section(int fd, const struct block *block, int64_t section, int64_t stride,
                                  const void *bytes, uint8_t **line, const char *path, struct ls_error *err)
{
    if (section == 0)
        return LS_OK;
    const size_t n = (size_t)(block->n * stride);
    ls_lsd_put_hash(*line, ls_hash_bytes(bytes, n));
    *line += LS_LSD_HASH_BYTES;
    return write_at(fd, section + block->first * stride, bytes, n, path, err);
}

static enum ls_code write_block(int fd, const struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                                int part, const struct block *block, uint8_t *line, struct ls_error *err)
{
    const struct ls_lsd_part *p = &header->part[part];
    enum ls_code code =
        write_section(fd, block, p->inputs, ls_lsd_stride(header), block->inputs, &line, plan->path, err);
    if (code == LS_OK)
        code = write_section(fd, block, p->labels, 4, block->rows.labels, &line, plan->path, err);
    if (code == LS_OK)
        code = write_section(fd, block, p->values, 4 * header->n_values, block->rows.values, &line,
                             plan->path, err);
    return code;
}

enum ls_code ls_lsd_write_blocks(int fd, const struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                                 int part, struct ls_stream *stream, int64_t begin, int64_t end,
                                 uint8_t *table, const struct ls_lsd_watch *watch, struct ls_error *err)
{
    const int64_t n_samples = header->part[part].n_samples;
    struct block block;
    if (begin >= end)
        return LS_OK;
    const int64_t most = header->block_samples < n_samples ? header->block_samples : n_samples;
    enum ls_code code = create_block(&block, header, &stream->facts, most, err);
    if (code != LS_OK)
        return code;
    code = ls_stream_seek(stream, begin * header->block_samples, err);
    for (int64_t b = begin; b < end && code == LS_OK; b++) {
        block.first = b * header->block_samples;
        block.n = n_samples - block.first < most ? n_samples - block.first : most;
        code = ls_stream_read(stream, (ptrdiff_t)block.n, &block.rows, err);
        if (code == LS_OK)
            code = convert(&block, header, plan, &stream->facts, part, err);
        if (code == LS_OK)
            code =
                write_block(fd, header, plan, part, &block, table + (b - begin) * ls_lsd_line(header), err);
        if (code == LS_OK && watch && watch->wrote)
            watch->wrote(watch->context, block.n, block.n * ls_lsd_stride(header));
    }
    release_block(&block);
    return code;
}

enum ls_code ls_lsd_write_frame(int fd, struct ls_lsd_header *header, const struct ls_lsd_plan *plan,
                                const char *names, const uint8_t *tables, struct ls_error *err)
{
    const size_t first = (size_t)(ls_lsd_blocks(header, 0) * ls_lsd_line(header));
    const size_t both = (size_t)ls_lsd_table_bytes(header);
    uint8_t bytes[LS_LSD_PAGE];
    header->tables = ls_hash_bytes(tables, both);
    ls_lsd_encode(header, bytes);
    enum ls_code code = write_at(fd, 0, bytes, sizeof bytes, plan->path, err);
    if (code == LS_OK && names)
        code = write_at(fd, LS_LSD_PAGE, names, (size_t)header->names_bytes, plan->path, err);
    if (code == LS_OK)
        code = write_at(fd, header->part[0].table, tables, first, plan->path, err);
    if (code == LS_OK && both > first)
        code = write_at(fd, header->part[1].table, tables + first, both - first, plan->path, err);
    return code;
}

enum ls_code ls_lsd_reserve(int fd, int64_t n, const char *path, struct ls_error *err)
{
    struct statvfs disk;
    if (fallocate(fd, 0, 0, (off_t)n) == 0)
        return LS_OK;
    const int cannot = errno == EOPNOTSUPP || errno == ENOSYS; /* a file system that knows no reserving */
    if (!cannot && errno != ENOSPC)
        return ls_fail_errno(err, LS_FAILED, "cannot reserve %lld bytes for '%s'", (long long)n, path);
    const uint64_t free_bytes =
        fstatvfs(fd, &disk) == 0 ? (uint64_t)disk.f_bavail * disk.f_frsize : UINT64_MAX;
    if (!cannot || free_bytes < (uint64_t)n)
        return ls_fail(err, LS_FAILED, "'%s' needs %lld bytes; its disk has %llu free", path, (long long)n,
                       (unsigned long long)free_bytes);
    return ftruncate(fd, (off_t)n) == 0 ? LS_OK : ls_fail_errno(err, LS_FAILED, "cannot write '%s'", path);
}
