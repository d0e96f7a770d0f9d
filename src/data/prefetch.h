/* A helper thread that asks the kernel for the samples of the next batches before training needs them, for
 * data that lie in a file (data/lsd_file.h) which memory may not hold.
 *
 * It computes the order of samples by itself, from a copy of the sampler, and only gives advice
 * (posix_fadvise, which serves mapped files and read ones alike): it can change neither a bit nor the
 * outcome, and where it is late or cannot be started, a sample is read when it is used.  It never calls MPI.
 * While everything it looks at is in memory already it gives no advice and looks at little: what is left is a
 * wake-up for each MiB of samples. */
#ifndef LS_DATA_PREFETCH_H
#define LS_DATA_PREFETCH_H

#include "data/dataset.h"
#include "data/sampler.h"

struct ls_prefetch;

/* Local.  NULL when the data lie in memory or the thread cannot be started: every function below accepts it.
 * The dataset must outlive it. */
struct ls_prefetch *ls_prefetch_create(const struct ls_dataset *dataset);
void ls_prefetch_destroy(struct ls_prefetch **prefetch);

/* The caller is about to use positions [begin, end) of the batch at [first, first + B) of the sampler's
 * epoch, and the same part of the batches after it.  Never waits. */
void ls_prefetch_step(struct ls_prefetch *prefetch, const struct ls_sampler *sampler, int64_t first,
                      int64_t B, int64_t begin, int64_t end);

/* The samples and ranges of the file that it has asked for.  For tests. */
struct ls_prefetch_counts {
    int64_t samples, ranges;
};
struct ls_prefetch_counts ls_prefetch_counts(struct ls_prefetch *prefetch);

#endif
