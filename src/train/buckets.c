/* Owns where the gradient is cut.  See buckets.h. */
#include "train/buckets.h"

#include "base/memory.h"

/* Where the parameters of layer i and of all behind it begin. */
static ptrdiff_t begin_of(const struct ls_net *net, int layer)
{
    for (; layer < net->n_layers; layer++)
        if (net->layers[layer].n_tensors > 0)
            return net->tensors[net->layers[layer].first_tensor].offset;
    return net->n_floats;
}

enum ls_code ls_buckets_create(struct ls_buckets *buckets, const struct ls_net *net, int64_t bytes,
                               struct ls_error *err)
{
    const int64_t least = bytes / (int64_t)sizeof(float);
    ptrdiff_t end = net->n_floats;
    *buckets = (struct ls_buckets){0};
    buckets->begins = ls_alloc((size_t)net->n_layers + 1, sizeof *buckets->begins, "buckets", err);
    if (!buckets->begins)
        return LS_FAILED;
    for (int layer = net->n_layers - 1; layer >= 0; layer--) {
        const ptrdiff_t begin = begin_of(net, layer);
        /* What would be left of the first layers is not worth a bucket of its own. */
        if (begin < end && end - begin >= least && begin >= least) {
            buckets->begins[buckets->n++] = begin;
            end = begin;
        }
    }
    if (buckets->n > 0)
        buckets->begins[buckets->n++] = 0;
    return LS_OK;
}

void ls_buckets_release(struct ls_buckets *buckets)
{
    ls_free(buckets->begins);
    *buckets = (struct ls_buckets){0};
}

struct ls_range ls_buckets_range(const struct ls_buckets *buckets, int i, ptrdiff_t end)
{
    return (struct ls_range){buckets->begins[i], i > 0 ? buckets->begins[i - 1] : end};
}

ptrdiff_t ls_buckets_longest(const struct ls_buckets *buckets, ptrdiff_t end)
{
    int64_t most = 0;
    for (int i = 0; i < buckets->n; i++) {
        const struct ls_range range = ls_buckets_range(buckets, i, end);
        most = range.end - range.begin > most ? range.end - range.begin : most;
    }
    return (ptrdiff_t)most;
}

int ls_buckets_complete(const struct ls_buckets *buckets, const struct ls_net *net, int layer)
{
    const ptrdiff_t begin = layer > 0 ? begin_of(net, layer) : 0;
    int n = 0;
    while (n < buckets->n && buckets->begins[n] >= begin)
        n++;
    return n;
}
