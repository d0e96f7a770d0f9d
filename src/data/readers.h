/* The readers behind ls_data_open, one a file.  Each fills datasets that were all zero; on failure it leaves
 * whatever ls_dataset_release can free, and the caller releases. */
#ifndef LS_DATA_READERS_H
#define LS_DATA_READERS_H

#include "data/dataset.h"

enum { LS_MAX_LABEL = 65535 };

/* The two or four files of an IDX data set. */
struct ls_idx_paths {
    const char *train_images, *train_labels;
    const char *test_images, *test_labels; /* NULL without test data */
};

enum ls_code ls_read_digits(struct ls_data *data, struct ls_error *err);
enum ls_code ls_read_idx(struct ls_data *data, const struct ls_idx_paths *paths, struct ls_error *err);
/* The last place looked in is `system_folder`: LS_FASHION_FOLDER, where Debian's package puts the files. */
#define LS_FASHION_FOLDER "/usr/share/datasets/fashion-mnist"
enum ls_code ls_read_fashion_mnist(struct ls_data *data, const char *system_folder, struct ls_error *err);

/* `options` is what stands behind "synthetic:", `samples` what stands behind "inline:". */
enum ls_code ls_read_synthetic(struct ls_data *data, const char *options, struct ls_error *err);
enum ls_code ls_read_inline(struct ls_dataset *dataset, const char *samples, struct ls_error *err);

/* A file of `lockstep convert`: both of its parts, or the one that part= names, as training data.  Checks the
 * header and nothing else. */
int ls_lsd_is_meant(const char *spec);
enum ls_code ls_read_lsd(struct ls_data *data, const char *spec, struct ls_error *err);

/* Sets dims and n_features.  1 <= n_dims <= LS_MAX_DIMS; the product must fit (readers check it before). */
void ls_dataset_set_shape(struct ls_dataset *dataset, int n_dims, const ptrdiff_t *dims);

#endif
