/* --shard-optimizer: who updates which parameters, when each rank updates some and gets the rest from the
 * others.
 *
 * Each piece in which gradients travel (a bucket, or all of them) is cut into a slice for each rank.  A rank
 * gets the sum of its slices alone, has optimizer state for these alone, and sends their new parameters to
 * all.  Every element is updated by the same numbers as elsewhere, so the bits cannot tell; nor can
 * checkpoints, which collect the slices. */
#ifndef LS_TRAIN_SHARDS_H
#define LS_TRAIN_SHARDS_H

#include "comm/comm.h"
#include "model/net.h"
#include "train/buckets.h"

struct ls_shards {
    int n, n_ranks;        /* n pieces; 0: every rank updates everything */
    ptrdiff_t *cuts;       /* (n, n_ranks + 1) */
    struct ls_range *mine; /* (n): this rank's slice of each */
};

/* Local; the same cuts on all ranks.  granule: slices begin at multiples of so many elements of a tensor.
 * Release with ls_shards_release, also after failure. */
enum ls_code ls_shards_create(struct ls_shards *shards, const struct ls_net *net,
                              const struct ls_buckets *buckets, const struct ls_comm *comm, ptrdiff_t granule,
                              struct ls_error *err);
void ls_shards_release(struct ls_shards *shards);

static inline const ptrdiff_t *ls_shards_cuts(const struct ls_shards *shards, int piece)
{
    return shards->cuts + (ptrdiff_t)piece * (shards->n_ranks + 1);
}

/* Local.  This rank's slices out of a flat array, into the same places of another. */
void ls_shards_copy(const struct ls_shards *shards, float *to, const float *from);

/* Local.  This rank's slices out of a flat array, one behind the other. */
void ls_shards_pack(const struct ls_shards *shards, float *packed, const float *flat);

/* Collective.  Slices that are packed, on each rank, to rank 0: all elements of `flat`, which may be NULL
 * elsewhere. */
void ls_shards_collect(const struct ls_shards *shards, struct ls_comm *comm, const float *packed,
                       float *flat);

/* Collective.  Each rank's slices of `flat` to all others; what `vectors` held as a sum is lost. */
void ls_shards_share(const struct ls_shards *shards, struct ls_comm *comm, struct ls_vectors *vectors,
                     float *flat);

#endif
