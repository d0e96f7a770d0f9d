/* The gradient in pieces that leave while backward still runs.
 *
 * Backward goes from the last layer to the first, and the flat gradient has the layers in order: what is
 * finished is always its end.  Buckets are cut between layers, from the end on, each of at least so many
 * bytes; they depend on the net alone, so that all ranks start the same ones in the same order, however many
 * leaves they have. */
#ifndef LS_TRAIN_BUCKETS_H
#define LS_TRAIN_BUCKETS_H

#include "base/tree.h"
#include "model/net.h"

struct ls_buckets {
    int n;             /* 0: the gradient goes as one */
    ptrdiff_t *begins; /* (n), descending to 0 */
    int n_started;     /* of the batch at hand */
    int n_complete;    /* of it, which may start */
    int64_t first;     /* number of the first of these */
};

/* Local.  n stays 0 when there would be only one. */
enum ls_code ls_buckets_create(struct ls_buckets *buckets, const struct ls_net *net, int64_t bytes,
                               struct ls_error *err);
void ls_buckets_release(struct ls_buckets *buckets);

/* Elements of bucket i; `end` is what follows the last one: net->n_floats, or more that goes with the first
 * bucket. */
struct ls_range ls_buckets_range(const struct ls_buckets *buckets, int i, ptrdiff_t end);

/* Elements of the longest; 0: there are none. */
ptrdiff_t ls_buckets_longest(const struct ls_buckets *buckets, ptrdiff_t end);

/* How many buckets are complete once layer i and all behind it are. */
int ls_buckets_complete(const struct ls_buckets *buckets, const struct ls_net *net, int layer);

#endif
