/* Owns where Fashion-MNIST lies (H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
 * Benchmarking Machine Learning Algorithms", 2017). */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "data/readers.h"

struct path {
    char text[PATH_MAX];
};

/* folder/name or folder/name.gz, the first that exists; 0 when neither does or the name is too long. */
static int find_file(struct path *path, const char *folder, const char *name)
{
    static const char *const endings[] = {"", ".gz"};
    for (int i = 0; i < 2; i++) {
        const int n = snprintf(path->text, sizeof path->text, "%s/%s%s", folder, name, endings[i]);
        if (n > 0 && n < (int)sizeof path->text && access(path->text, F_OK) == 0)
            return 1;
    }
    return 0;
}

static enum ls_code read_folder(struct ls_data *data, const char *folder, struct ls_error *err)
{
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    struct path paths[4];
    for (int i = 0; i < 4; i++)
        if (!find_file(&paths[i], folder, names[i]))
            return ls_fail(err, LS_FAILED,
                           "fashion-mnist: \"%s\" has no \"%s\" nor \"%s.gz\", though other files are there",
                           folder, names[i], names[i]);
    return ls_read_idx(data,
                       &(struct ls_idx_paths){.train_images = paths[0].text,
                                              .train_labels = paths[1].text,
                                              .test_images = paths[2].text,
                                              .test_labels = paths[3].text},
                       err);
}

enum ls_code ls_read_fashion_mnist(struct ls_data *data, const char *system_folder, struct ls_error *err)
{
    const char *wish = getenv("LOCKSTEP_DATA");
    struct path inner = {""}, unused;
    if (wish && *wish)
        snprintf(inner.text, sizeof inner.text, "%s/fashion-mnist", wish);
    /* The folder named after the data first: MNIST itself has files of the same names. */
    const char *const folders[] = {wish && *wish ? inner.text : NULL, wish && *wish ? wish : NULL,
                                   system_folder};
    for (int i = 0; i < 3; i++)
        if (folders[i] && find_file(&unused, folders[i], "train-images-idx3-ubyte"))
            return read_folder(data, folders[i], err);
    if (wish && *wish)
        return ls_fail(err, LS_FAILED,
                       "fashion-mnist: no train-images-idx3-ubyte[.gz] in \"%s\", \"%s\" (LOCKSTEP_DATA) or "
                       "\"%s\"; on Debian: "
                       "apt-get install dataset-fashion-mnist",
                       folders[0], folders[1], folders[2]);
    return ls_fail(err, LS_FAILED,
                   "fashion-mnist: no train-images-idx3-ubyte[.gz] in \"%s\", and LOCKSTEP_DATA names no "
                   "other folder; on "
                   "Debian: apt-get install dataset-fashion-mnist",
                   system_folder);
}
