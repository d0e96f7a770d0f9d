/* The formats behind ls_stream_open, one a file. */
#ifndef LS_DATA_FORMATS_H
#define LS_DATA_FORMATS_H

#include "data/source.h"
#include "data/stream.h"

struct ls_format {
    const char *name;           /* the word before the colon: "csv" */
    const char *const *endings; /* of file names, NULL-terminated: ".csv"; NULL: none */
    const char *usage;          /* "csv:FILE[,label=NAME|N][,header=yes|no]", for messages and help */
    /* Whether the first n bytes of a file can only be this format; NULL: they never tell. */
    int (*recognises)(const unsigned char *bytes, size_t n);
    /* Opens the files.  *stream was all zero; on failure the caller calls ls_stream_close.  Must call
     * ls_source_check after it has asked for its settings.  File names in `source` die with it: keep copies.
     */
    enum ls_code (*open)(struct ls_stream *stream, struct ls_source *source,
                         const struct ls_stream_request *request, struct ls_error *err);
};

extern const struct ls_format ls_format_csv, ls_format_tsv, ls_format_libsvm, ls_format_npy, ls_format_npz,
    ls_format_cifar10, ls_format_cifar100, ls_format_lsd, ls_format_hdf5;

/* NULL-terminated: every format of this build. */
extern const struct ls_format *const ls_formats[];

#endif
