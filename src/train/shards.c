/* Owns where pieces are cut into slices.  See shards.h. */
#include "train/shards.h"

#include <string.h>

#include "base/memory.h"

/* The last place up to `at` where a slice may begin.  Between tensors it may anywhere. */
static ptrdiff_t snap(const struct ls_net *net, ptrdiff_t at, ptrdiff_t granule)
{
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_parameter *tensor = &net->tensors[t];
        if (at >= tensor->offset && at < tensor->offset + tensor->count)
            return tensor->offset + (at - tensor->offset) / granule * granule;
    }
    return at;
}

static void cut(const struct ls_net *net, struct ls_range piece, int n_ranks, ptrdiff_t granule,
                ptrdiff_t *cuts)
{
    const int64_t n = piece.end - piece.begin;
    for (int rank = 1; rank < n_ranks; rank++) {
        const int64_t ideal = piece.begin + n / n_ranks * rank + n % n_ranks * rank / n_ranks;
        cuts[rank] = snap(net, (ptrdiff_t)ideal, granule);
    }
    cuts[0] = (ptrdiff_t)piece.begin;
    cuts[n_ranks] = (ptrdiff_t)piece.end;
}

enum ls_code ls_shards_create(struct ls_shards *shards, const struct ls_net *net,
                              const struct ls_buckets *buckets, const struct ls_comm *comm, ptrdiff_t granule,
                              struct ls_error *err)
{
    const int rank = ls_comm_rank(comm), n_ranks = ls_comm_size(comm);
    *shards = (struct ls_shards){.n = buckets->n > 0 ? buckets->n : 1, .n_ranks = n_ranks};
    shards->cuts =
        ls_alloc((size_t)shards->n * ((size_t)n_ranks + 1), sizeof *shards->cuts, "slices of ranks", err);
    shards->mine = ls_alloc((size_t)shards->n, sizeof *shards->mine, "slices of ranks", err);
    if (!shards->cuts || !shards->mine)
        return LS_FAILED;
    for (int i = 0; i < shards->n; i++) {
        const struct ls_range piece = buckets->n > 0 ? ls_buckets_range(buckets, i, net->n_floats)
                                                     : (struct ls_range){0, net->n_floats};
        ptrdiff_t *cuts = shards->cuts + (ptrdiff_t)i * (n_ranks + 1);
        cut(net, piece, n_ranks, granule, cuts);
        shards->mine[i] = (struct ls_range){cuts[rank], cuts[rank + 1]};
    }
    return LS_OK;
}

void ls_shards_release(struct ls_shards *shards)
{
    ls_free(shards->cuts);
    ls_free(shards->mine);
    *shards = (struct ls_shards){0};
}

static size_t bytes_of(struct ls_range range)
{
    return (size_t)(range.end - range.begin) * sizeof(float);
}

void ls_shards_copy(const struct ls_shards *shards, float *to, const float *from)
{
    for (int i = 0; i < shards->n && to != from; i++)
        memcpy(to + shards->mine[i].begin, from + shards->mine[i].begin, bytes_of(shards->mine[i]));
}

void ls_shards_pack(const struct ls_shards *shards, float *packed, const float *flat)
{
    for (int i = 0; i < shards->n; packed += shards->mine[i].end - shards->mine[i].begin, i++)
        memcpy(packed, flat + shards->mine[i].begin, bytes_of(shards->mine[i]));
}

void ls_shards_collect(const struct ls_shards *shards, struct ls_comm *comm, const float *packed, float *flat)
{
    for (int i = 0; i < shards->n; packed += shards->mine[i].end - shards->mine[i].begin, i++)
        ls_comm_collect_slices(comm, ls_shards_cuts(shards, i), packed, flat);
}

void ls_shards_share(const struct ls_shards *shards, struct ls_comm *comm, struct ls_vectors *vectors,
                     float *flat)
{
    for (int i = 0; i < shards->n; i++)
        ls_comm_share_slices(comm, vectors, ls_shards_cuts(shards, i), flat);
}
