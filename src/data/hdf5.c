/* Owns HDF5 files as data: opening them, and which datasets are meant.
 *
 * Nothing outside the file is ever opened for it: links to other files, external storage and virtual datasets
 * are refused, and filters that would be loaded from elsewhere too.  The library reads whatever else the file
 * says of itself; a file from a stranger is as safe as libhdf5 is. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/memory.h"
#include "data/array_names.h"
#include "data/formats.h"
#include "data/hdf5_array.h"

static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

/* An open file while its datasets are chosen; each dataset then keeps it open. */
struct opened {
    const struct ls_hdf5_library *h5;
    hid_t file;
    int64_t bytes;
};

static enum ls_code open_file(struct opened *opened, const char *path, struct ls_error *err)
{
    struct stat status;
    char text[300];
    if (stat(path, &status) != 0)
        return ls_fail_errno(err, LS_FAILED, "cannot open \"%s\"", path);
    if (!S_ISREG(status.st_mode))
        return ls_fail(err, LS_FAILED, "\"%s\" is not a regular file", path);
    opened->h5 = ls_hdf5_library(err);
    if (!opened->h5)
        return LS_FAILED;
    const hid_t access = opened->h5->Pcreate(opened->h5->file_access);
    /* Locks where the file system has them; the file closes with the last dataset. */
    if (access >= 0 && opened->h5->Pset_fclose_degree(access, H5F_CLOSE_WEAK) >= 0 &&
        opened->h5->Pset_file_locking(access, 1, 1) >= 0)
        opened->file = opened->h5->Fopen(path, LS_HDF5_READ_ONLY, access);
    if (opened->file < 0)
        ls_hdf5_complaint(opened->h5, text, sizeof text); /* before the next call clears it */
    if (access >= 0)
        opened->h5->Pclose(access);
    opened->bytes = status.st_size;
    if (opened->file >= 0)
        return LS_OK;
    return ls_fail(err, LS_FAILED, "\"%s\" cannot be opened as HDF5: %s", path, text);
}

/* Whether a dataset is there.  Each group on the way is asked for its link, since the library calls a path
 * through a missing one an error. */
static int has_dataset(void *context, const char *name)
{
    const struct opened *opened = context;
    char path[LS_ARRAY_NAME];
    const size_t n = strlen(name);
    for (size_t i = 1; i <= n; i++)
        if (name[i] == '\0' || name[i] == '/') {
            memcpy(path, name, i);
            path[i] = '\0';
            if (opened->h5->Lexists(opened->file, path, H5P_DEFAULT) <= 0)
                return 0;
        }
    const hid_t object = n > 0 ? opened->h5->Oopen(opened->file, name, H5P_DEFAULT) : -1;
    const int is_dataset = object >= 0 && opened->h5->Iget_type(object) == H5I_DATASET;
    if (object >= 0)
        opened->h5->Oclose(object);
    opened->h5->Eclear2(H5E_DEFAULT);
    return is_dataset;
}

/* "x, y, meta/, other (in another file)": links of the root. */
static void list_datasets(void *context, char *text, size_t size)
{
    const struct opened *opened = context;
    const struct ls_hdf5_library *h5 = opened->h5;
    const hid_t root = h5->Gopen2(opened->file, "/", H5P_DEFAULT);
    H5G_info_t group = {.nlinks = 0};
    size_t used = 0;
    snprintf(text, size, "nothing");
    if (root >= 0 && h5->Gget_info(root, &group) < 0)
        group.nlinks = 0;
    for (hsize_t i = 0; i < group.nlinks; i++) {
        char name[64] = "?";
        H5L_info_t link = {.type = H5L_TYPE_HARD};
        h5->Lget_name_by_idx(root, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
        h5->Lget_info(root, name, &link, H5P_DEFAULT);
        const char *mark = link.type == H5L_TYPE_EXTERNAL ? " (in another file, which is not opened)"
                           : has_dataset(context, name)   ? ""
                                                          : "/";
        if (used + strlen(name) + strlen(mark) + 30 > size) {
            snprintf(text + used, size - used, " and %llu more", (unsigned long long)(group.nlinks - i));
            break;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s%s", used ? ", " : "", name, mark);
    }
    if (root >= 0)
        h5->Gclose(root);
    h5->Eclear2(H5E_DEFAULT);
}

static enum ls_code open_arrays(struct ls_array *x, struct ls_array *y, struct ls_array_names *names,
                                struct opened *opened, struct ls_source *source, int test_part,
                                struct ls_error *err)
{
    static const char *const known[] = {"x", "y", "part", "divisor", "targets", NULL};
    const char *path = source->files[0];
    char what[300];
    snprintf(what, sizeof what, "\"%.290s\"", path);
    const struct ls_array_directory directory = {
        .what = what, .has = has_dataset, .list = list_datasets, .context = opened};
    enum ls_code code = ls_array_names_choose(names, source, test_part, &directory, err);
    if (code == LS_OK)
        code = ls_source_check(source, known, 1, 1, err);
    if (code == LS_OK)
        code = ls_hdf5_array_open(x, opened->h5, opened->file, path, opened->bytes, names->x, err);
    if (code == LS_OK && names->y[0])
        code = ls_hdf5_array_open(y, opened->h5, opened->file, path, opened->bytes, names->y, err);
    return code;
}

static enum ls_code open_tamed(struct ls_stream *stream, struct ls_source *source,
                               const struct ls_stream_request *request, struct ls_error *err)
{
    struct ls_array x = {.n_dims = 0}, y = {.n_dims = 0};
    struct ls_array_options options;
    struct ls_array_names names;
    struct opened opened = {.file = -1};
    enum ls_code code = ls_array_options_read(&options, source, request, err);
    if (code == LS_OK)
        code = open_file(&opened, source->files[0], err);
    if (code == LS_OK)
        code = open_arrays(&x, &y, &names, &opened, source, request->test_part, err);
    if (opened.file >= 0)
        opened.h5->Fclose(opened.file);
    if (code == LS_OK) {
        stream->facts.has_test = names.has_test;
        return ls_array_stream(stream, &x, &y, &options, err);
    }
    ls_array_close(&x);
    ls_array_close(&y);
    return code;
}

/* libhdf5 1.10 has ways to crash on damaged files that no option keeps it from; then at least the file is
 * named. */
static enum ls_code open_hdf5(struct ls_stream *stream, struct ls_source *source,
                              const struct ls_stream_request *request, struct ls_error *err)
{
    char work[300];
    snprintf(work, sizeof work, "reading '%.240s' with libhdf5: is the file damaged?",
             source->n_files ? source->files[0] : "");
    ls_crash_describe_work(work);
    const enum ls_code code = open_tamed(stream, source, request, err);
    ls_crash_describe_work(NULL);
    return code;
}

static int is_hdf5(const unsigned char *bytes, size_t n)
{
    return n >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

static const char *const endings[] = {".h5", ".hdf5", NULL};

const struct ls_format ls_format_hdf5 = {
    .name = "hdf5",
    .endings = endings,
    .usage = "hdf5:FILE[,part=train|val|test][,x=/PATH,y=/PATH][,divisor=1|16|255][,targets=labels|values]",
    .recognises = is_hdf5,
    .open = open_hdf5,
};
