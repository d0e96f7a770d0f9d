/* Owns the words of "lsd:FILE[,part=training|test][,read=mmap|pread|memory][,prefetch=on|off]", for training
 * and as a stream.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "data/formats.h"
#include "data/lsd_file.h"
#include "data/readers.h"

static const char *const settings[] = {"part", "read", "prefetch", NULL};
static const char *const ways[] = {"auto", "mmap", "pread", "memory", NULL};
static const char *const parts[] = {"training", "test", NULL};

/* The index of a setting's value among `names`, or `otherwise` when it is not given. */
static enum ls_code choose(struct ls_source *source, const char *name, const char *const *names,
                           int otherwise, int *chosen, struct ls_error *err)
{
    const char *value = ls_source_setting(source, name);
    char list[100];
    *chosen = otherwise;
    for (int i = 0; value && names[i]; i++)
        if (strcmp(value, names[i]) == 0) {
            *chosen = i;
            return LS_OK;
        }
    return value ? ls_fail(err, LS_USAGE, "data \"%s\": %s=%.40s; allowed are %s", source->files[0], name,
                           value, ls_text_join(names, list, sizeof list))
                 : LS_OK;
}

/* Opens the file that a parsed specification names; *part is -1 for both. */
static enum ls_code open_source(struct ls_lsd_file **file, struct ls_source *source, int *part,
                                struct ls_error *err)
{
    static const char *const off_on[] = {"off", "on", NULL};
    int way = LS_LSD_AUTO, prefetch = 1;
    *file = NULL;
    enum ls_code code =
        source->n_files > 0
            ? LS_OK
            : ls_fail(err, LS_USAGE, "data \"lsd\": a file name is needed behind it, lsd:FILE");
    if (code == LS_OK)
        code = choose(source, "part", parts, -1, part, err);
    if (code == LS_OK)
        code = choose(source, "read", ways, LS_LSD_AUTO, &way, err);
    if (code == LS_OK)
        code = choose(source, "prefetch", off_on, 1, &prefetch, err);
    if (code == LS_OK)
        code = ls_source_check(source, settings, 1, 1, err);
    if (code == LS_OK)
        code = ls_lsd_open(file, source->files[0], (enum ls_lsd_way)way, err);
    if (code == LS_OK)
        (*file)->no_prefetch = !prefetch;
    if (code == LS_OK && *part == 1 && (*file)->header.part[1].n_samples == 0)
        code = ls_fail(err, LS_FAILED, "\"%s\" has no test part", source->files[0]);
    return code;
}

static enum ls_code read_source(struct ls_data *data, struct ls_source *source, struct ls_error *err)
{
    struct ls_lsd_file *file;
    int part;
    enum ls_code code = open_source(&file, source, &part, err);
    if (code == LS_OK)
        code = ls_lsd_show(file, part == 1, &data->train, err);
    if (code == LS_OK && part < 0 && file->header.part[1].n_samples > 0)
        code = ls_lsd_show(file, 1, &data->test, err);
    ls_lsd_close(&file);
    return code;
}

int ls_lsd_is_meant(const char *spec)
{
    struct ls_source source;
    unsigned char bytes[8];
    int meant = ls_source_parse(&source, spec, NULL) == LS_OK;
    if (meant && source.format) {
        meant = strcmp(source.format, "lsd") == 0;
    } else if (meant) {
        const int fd = source.n_files > 0 ? open(source.files[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
        const ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : 0;
        meant = n > 0 && ls_lsd_is_magic(bytes, (size_t)n);
        if (fd >= 0)
            close(fd);
    }
    ls_source_release(&source);
    return meant;
}

enum ls_code ls_read_lsd(struct ls_data *data, const char *spec, struct ls_error *err)
{
    struct ls_source source;
    enum ls_code code = ls_source_parse(&source, spec, err);
    if (code == LS_OK)
        code = read_source(data, &source, err);
    ls_source_release(&source);
    return code;
}

/* ---- as a stream ---- */

static enum ls_code check_classes(const struct ls_stream *stream, const struct ls_class_names *wanted,
                                  const char *path, struct ls_error *err)
{
    const struct ls_class_names *found = &stream->facts.classes;
    if (found->n == 0 || wanted->n == 0 || ls_class_names_equal(found, wanted))
        return LS_OK;
    return ls_fail(err, LS_FAILED, "\"%s\": its class names are not those of the other data, in this order",
                   path);
}

static enum ls_code open_stream(struct ls_stream *stream, struct ls_source *source,
                                const struct ls_stream_request *request, struct ls_error *err)
{
    struct ls_data data = {.train = {.n_samples = 0}};
    enum ls_code code = read_source(&data, source, err);
    if (code == LS_OK)
        code = ls_data_check(&data, LS_CHECK_OFF, 0, 1, err); /* labels */
    if (code == LS_OK)
        code = ls_stream_of_dataset(stream, &data.train, &data, err);
    if (code == LS_OK && request->classes)
        code = check_classes(stream, request->classes, source->files[0], err);
    ls_data_release(&data);
    return code;
}

static const char *const endings[] = {".lsd", NULL};

const struct ls_format ls_format_lsd = {
    .name = "lsd",
    .endings = endings,
    .usage = "lsd:FILE[,part=training|test][,read=mmap|pread|memory][,prefetch=on|off]",
    .recognises = ls_lsd_is_magic,
    .open = open_stream,
};
