/* Owns what a build without HDF5 (`make HDF5=0`) says of its files. */
#include "data/formats.h"

static enum ls_code open_hdf5(struct ls_stream *stream, struct ls_source *source,
                              const struct ls_stream_request *request, struct ls_error *err)
{
    (void)stream, (void)request;
    return ls_fail(err, LS_FAILED, "\"%s\": this program was built without HDF5 (make HDF5=0)",
                   source->n_files > 0 ? source->files[0] : "hdf5");
}

static const char *const endings[] = {".h5", ".hdf5", NULL};

const struct ls_format ls_format_hdf5 = {
    .name = "hdf5", .endings = endings, .usage = "hdf5:FILE (not in this build)", .open = open_hdf5};
