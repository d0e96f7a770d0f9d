/* Owns NumPy's .npz archives as data: a zip file of .npy members, by libzip.
 *
 * Members are unpacked while they are read and never kept.  What the zip directory says about sizes is
 * believed only where the member's own header and the archive's length agree with it, so no number in the
 * file asks for more memory than DEFLATE could fill.  Going back in a member means unpacking it from its
 * beginning. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "base/memory.h"
#include "data/array_names.h"
#include "data/formats.h"
#include "data/npy_header.h"

enum { MAX_MEMBERS = 4096, DEFLATE_RATIO = 1032 };

/* The state of an array: its member.  Each has an archive of its own, so that neither moves the other. */
struct npz {
    zip_t *archive;
    zip_file_t *member;
    zip_uint64_t index;
    int64_t next; /* the byte, of the elements, that is read next; -1: unknown */
    int64_t archive_bytes;
};

static enum ls_code zip_error(const struct ls_array *array, const char *doing, zip_error_t *error,
                              struct ls_error *err)
{
    return ls_fail(err, LS_FAILED, "%s cannot be %s: %s", array->where, doing, zip_error_strerror(error));
}

/* Exactly n bytes of the open member. */
static enum ls_code read_member(struct ls_array *array, size_t n, uint8_t *to, struct ls_error *err)
{
    struct npz *npz = array->state;
    for (size_t done = 0; done < n;) {
        const size_t most = (size_t)1 << 30, now = n - done < most ? n - done : most;
        const zip_int64_t got = zip_fread(npz->member, to + done, now);
        if (got < 0)
            return zip_error(array, "read", zip_file_get_error(npz->member), err);
        if (got == 0)
            return ls_fail(err, LS_FAILED, "%s ends %zu bytes before what its header promises", array->where,
                           n - done);
        done += (size_t)got;
    }
    return LS_OK;
}

/* Behind the last element: the archive's checksum is compared only now. */
static enum ls_code check_end(struct ls_array *array, struct ls_error *err)
{
    struct npz *npz = array->state;
    uint8_t more;
    const zip_int64_t got = zip_fread(npz->member, &more, 1);
    if (got < 0)
        return zip_error(array, "used", zip_file_get_error(npz->member), err);
    return got == 0 ? LS_OK
                    : ls_fail(err, LS_FAILED, "%s unpacks to more than its header promises", array->where);
}

/* Opens the member anew, at its first byte. */
static enum ls_code rewind_member(struct ls_array *array, struct ls_error *err)
{
    struct npz *npz = array->state;
    if (npz->member)
        zip_fclose(npz->member);
    npz->next = -1;
    npz->member = zip_fopen_index(npz->archive, npz->index, 0);
    return npz->member ? LS_OK : zip_error(array, "opened", zip_get_error(npz->archive), err);
}

/* Throws n bytes away. */
static enum ls_code skip(struct ls_array *array, int64_t n, struct ls_error *err)
{
    uint8_t unwanted[16384];
    enum ls_code code = LS_OK;
    for (int64_t now; n > 0 && code == LS_OK; n -= now) {
        now = n < (int64_t)sizeof unwanted ? n : (int64_t)sizeof unwanted;
        code = read_member(array, (size_t)now, unwanted, err);
    }
    return code;
}

static enum ls_code move_to(struct ls_array *array, int64_t byte, struct ls_error *err)
{
    struct npz *npz = array->state;
    enum ls_code code = LS_OK;
    if (npz->next < 0 || npz->next > byte) {
        code = rewind_member(array, err);
        if (code == LS_OK)
            code = skip(array, array->first_byte, err);
        npz->next = 0;
    }
    if (code == LS_OK)
        code = skip(array, byte - npz->next, err);
    npz->next = code == LS_OK ? byte : -1;
    return code;
}

static enum ls_code read_rows(struct ls_array *array, int64_t first, int64_t n, uint8_t *raw,
                              struct ls_error *err)
{
    struct npz *npz = array->state;
    const int64_t bytes = n * (int64_t)array->row_bytes;
    enum ls_code code = move_to(array, first * (int64_t)array->row_bytes, err);
    if (code == LS_OK)
        code = read_member(array, (size_t)bytes, raw, err);
    npz->next = code == LS_OK ? npz->next + bytes : -1;
    if (code == LS_OK && npz->next == ls_array_bytes(array))
        code = check_end(array, err);
    return code;
}

static void close_member(struct ls_array *array)
{
    struct npz *npz = array->state;
    if (npz->member)
        zip_fclose(npz->member);
    if (npz->archive)
        zip_discard(npz->archive);
    ls_free(npz);
}

/* What the directory says of the member must be possible. */
static enum ls_code check_entry(const struct ls_array *array, const zip_stat_t *entry, struct ls_error *err)
{
    const struct npz *npz = array->state;
    if (entry->encryption_method != ZIP_EM_NONE)
        return ls_fail(err, LS_FAILED, "%s is encrypted", array->where);
    if (entry->comp_method != ZIP_CM_STORE && entry->comp_method != ZIP_CM_DEFLATE)
        return ls_fail(
            err, LS_FAILED,
            "%s is packed by method %d; allowed are 0 (stored) and 8 (deflate), which np.savez and "
            "np.savez_compressed write",
            array->where, entry->comp_method);
    if (entry->comp_size > (zip_uint64_t)npz->archive_bytes)
        return ls_fail(err, LS_FAILED, "%s has %llu packed bytes by the directory, the whole archive %lld",
                       array->where, (unsigned long long)entry->comp_size, (long long)npz->archive_bytes);
    if (entry->size / DEFLATE_RATIO > entry->comp_size ||
        (entry->comp_method == ZIP_CM_STORE && entry->size != entry->comp_size))
        return ls_fail(err, LS_FAILED,
                       "%s: the directory says %llu bytes out of %llu packed ones, which "
                       "cannot be",
                       array->where, (unsigned long long)entry->size, (unsigned long long)entry->comp_size);
    return LS_OK;
}

/* Reads the .npy header, at the member's beginning. */
static enum ls_code read_header(struct ls_array *array, const zip_stat_t *entry, struct ls_error *err)
{
    uint8_t prefix[LS_NPY_PREFIX];
    if (entry->size < LS_NPY_PREFIX)
        return ls_fail(err, LS_FAILED, "%s has only %llu bytes; an .npy file has more than %d", array->where,
                       (unsigned long long)entry->size, LS_NPY_PREFIX);
    enum ls_code code = read_member(array, sizeof prefix, prefix, err);
    const size_t n = code == LS_OK ? ls_npy_header_bytes(prefix, array->where, err) : 0;
    uint8_t *header = n > 0 ? ls_alloc(n, 1, array->where, err) : NULL;
    if (!header)
        return LS_FAILED;
    memcpy(header, prefix, sizeof prefix);
    code = read_member(array, n - sizeof prefix, header + sizeof prefix, err);
    if (code == LS_OK)
        code = ls_npy_header_parse(array, header, n, err);
    ls_free(header);
    if (code != LS_OK)
        return code;
    const int64_t needed = array->first_byte + ls_array_bytes(array);
    if (entry->size != (zip_uint64_t)needed)
        return ls_fail(err, LS_FAILED, "%s has %llu bytes by the directory; its header promises %lld",
                       array->where, (unsigned long long)entry->size, (long long)needed);
    ((struct npz *)array->state)->next = 0;
    return LS_OK;
}

/* The index of member NAME or NAME.npy, or -1. */
static zip_int64_t find_member(zip_t *archive, const char *name)
{
    char ending[LS_ARRAY_NAME + 4];
    snprintf(ending, sizeof ending, "%s.npy", name);
    const zip_int64_t index = zip_name_locate(archive, ending, 0);
    return index >= 0 ? index : zip_name_locate(archive, name, 0);
}

static enum ls_code open_member(struct ls_array *array, zip_t *archive, const char *path,
                                int64_t archive_bytes, const char *name, struct ls_error *err)
{
    *array = (struct ls_array){.read = read_rows, .close = close_member};
    snprintf(array->where, sizeof array->where, "\"%.300s\" member \"%.180s\"", path, name);
    struct npz *npz = ls_alloc(1, sizeof *npz, path, err);
    if (!npz) {
        array->close = NULL;
        zip_discard(archive);
        return LS_FAILED;
    }
    array->state = npz;
    *npz = (struct npz){.archive = archive, .next = -1, .archive_bytes = archive_bytes};
    npz->index = (zip_uint64_t)find_member(archive, name);
    zip_stat_t entry;
    const zip_uint64_t needed =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if (zip_stat_index(archive, npz->index, 0, &entry) != 0 || (entry.valid & needed) != needed)
        return zip_error(array, "found", zip_get_error(archive), err);
    enum ls_code code = check_entry(array, &entry, err);
    if (code == LS_OK)
        code = rewind_member(array, err);
    return code == LS_OK ? read_header(array, &entry, err) : code;
}

static enum ls_code open_archive(zip_t **archive, const char *path, int64_t *bytes, struct ls_error *err)
{
    struct stat status;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *archive = NULL;
    if (file < 0 || fstat(file, &status) != 0) {
        const enum ls_code code = ls_fail_errno(err, LS_FAILED, "cannot open \"%s\"", path);
        if (file >= 0)
            close(file);
        return code;
    }
    int number = 0;
    if (S_ISREG(status.st_mode))
        *archive = zip_fdopen(file, 0, &number); /* closes the file when it succeeds */
    *bytes = status.st_size;
    if (*archive)
        return LS_OK;
    close(file);
    if (!S_ISREG(status.st_mode))
        return ls_fail(err, LS_FAILED, "\"%s\" is not a regular file", path);
    zip_error_t error;
    zip_error_init_with_code(&error, number);
    const enum ls_code code = ls_fail(err, LS_FAILED, "\"%s\" cannot be opened as an .npz archive: %s", path,
                                      zip_error_strerror(&error));
    zip_error_fini(&error);
    return code;
}

static int has_member(void *context, const char *name)
{
    return find_member(context, name) >= 0;
}

/* "x, y and 3 more", without ".npy" behind each. */
static void list_members(void *context, char *text, size_t size)
{
    const zip_int64_t n = zip_get_num_entries(context, 0);
    size_t used = 0;
    snprintf(text, size, "nothing");
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(context, (zip_uint64_t)i, 0);
        const size_t length = name ? strlen(name) : 0;
        const int shown = (int)(length > 4 && strcmp(name + length - 4, ".npy") == 0 ? length - 4 : length);
        if (used + (size_t)shown + 30 > size) {
            snprintf(text + used, size - used, " and %lld more", (long long)(n - i));
            return;
        }
        used +=
            (size_t)snprintf(text + used, size - used, "%s%.*s", used ? ", " : "", shown, name ? name : "");
    }
}

static enum ls_code choose(struct ls_array_names *names, zip_t *archive, struct ls_source *source,
                           int test_part, struct ls_error *err)
{
    char what[300];
    snprintf(what, sizeof what, "\"%.290s\"", source->files[0]);
    const struct ls_array_directory directory = {
        .what = what, .has = has_member, .list = list_members, .context = archive};
    if (zip_get_num_entries(archive, 0) > MAX_MEMBERS)
        return ls_fail(err, LS_FAILED, "%s has %lld members; allowed are up to %d", what,
                       (long long)zip_get_num_entries(archive, 0), MAX_MEMBERS);
    return ls_array_names_choose(names, source, test_part, &directory, err);
}

/* Opens the archive again for one member. */
static enum ls_code open_array(struct ls_array *array, const char *path, const char *name,
                               struct ls_error *err)
{
    zip_t *archive = NULL;
    int64_t bytes = 0;
    const enum ls_code code = open_archive(&archive, path, &bytes, err);
    return code == LS_OK ? open_member(array, archive, path, bytes, name, err) : code;
}

static enum ls_code open_named(struct ls_array *x, struct ls_array *y, struct ls_array_names *names,
                               struct ls_source *source, const struct ls_stream_request *request,
                               struct ls_error *err)
{
    static const char *const known[] = {"x", "y", "part", "divisor", "targets", NULL};
    zip_t *archive = NULL;
    int64_t bytes = 0;
    enum ls_code code = open_archive(&archive, source->files[0], &bytes, err);
    if (code != LS_OK)
        return code;
    code = choose(names, archive, source, request->test_part, err);
    zip_discard(archive);
    if (code == LS_OK)
        code = ls_source_check(source, known, 1, 1, err);
    if (code == LS_OK)
        code = open_array(x, source->files[0], names->x, err);
    if (code == LS_OK && names->y[0])
        code = open_array(y, source->files[0], names->y, err);
    return code;
}

static enum ls_code open_npz(struct ls_stream *stream, struct ls_source *source,
                             const struct ls_stream_request *request, struct ls_error *err)
{
    struct ls_array x = {.n_dims = 0}, y = {.n_dims = 0};
    struct ls_array_options options;
    struct ls_array_names names;
    enum ls_code code = ls_array_options_read(&options, source, request, err);
    if (code == LS_OK)
        code = open_named(&x, &y, &names, source, request, err);
    if (code == LS_OK) {
        stream->facts.has_test = names.has_test;
        return ls_array_stream(stream, &x, &y, &options, err);
    }
    ls_array_close(&x);
    ls_array_close(&y);
    return code;
}

static const char *const endings[] = {".npz", NULL};

const struct ls_format ls_format_npz = {
    .name = "npz",
    .endings = endings,
    .usage = "npz:FILE[,part=train|val|test][,x=NAME,y=NAME][,divisor=1|16|255][,targets=labels|values]",
    .open = open_npz,
};
