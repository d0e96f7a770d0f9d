/* What a step keeps on its way so that it can be checked afterwards (train/cross_check.h): one leaf's own
 * sums, before they are merged into others; what the sums across samples came to; and the subtree sums that
 * went into the allreduce.  A step that is not checked keeps nothing. */
#ifndef LS_TRAIN_PROBE_H
#define LS_TRAIN_PROBE_H

#include "comm/comm.h"
#include "model/net.h"
#include "train/roots.h"

struct ls_probe {
    int64_t leaf; /* of the batch that begins at row_offset of the update; -1: this step is not checked */
    int64_t row_offset;
    ptrdiff_t n_floats; /* of the leaf's sums: gradients and loss */
    float *leaf_sums;   /* of the leaf, on its owner */
    int has_leaf;       /* they are there */
    float *sync;        /* results of finish_sums, one behind the other */
    ptrdiff_t n_sync, most_sync, replayed;
    struct ls_roots copies; /* of the roots that are reduced */
};

/* Local.  most_roots: of any batch's on this rank.  Release with ls_probe_release, also after failure. */
enum ls_code ls_probe_create(struct ls_probe *probe, const struct ls_net *net, int most_roots,
                             ptrdiff_t slot_floats, struct ls_error *err);
void ls_probe_release(struct ls_probe *probe);

/* Whether `probe`, which may be NULL, watches the batch at row_offset. */
static inline int ls_probe_watches(const struct ls_probe *probe, int64_t row_offset)
{
    return probe && probe->leaf >= 0 && probe->row_offset == row_offset;
}

/* Keeps the leaf, if it is one of the nodes [old, old + added) of the roots, whose slots are filled. */
void ls_probe_keep_leaf(struct ls_probe *probe, const struct ls_roots *roots, int old, int added);

/* Keeps the n numbers that sums across samples came to. */
void ls_probe_keep_sums(struct ls_probe *probe, const float *sums, ptrdiff_t n);

/* struct ls_pass's finish_sums with a probe as context: what was kept, in the same order. */
const float *ls_probe_replay_sums(void *probe, ptrdiff_t n);

/* Keeps what is about to be reduced. */
void ls_probe_keep_roots(struct ls_probe *probe, const struct ls_roots *roots, ptrdiff_t n);

/* Collective.  Reduces what was kept once more, by other messages where the plan allows them, and compares
 * with `sum` on all ranks: LS_REPLICA, with a message, when a bit differs. */
enum ls_code ls_probe_check_sum(struct ls_probe *probe, struct ls_comm *comm, const struct ls_net *net,
                                uint64_t step, ptrdiff_t n, const float *sum, struct ls_error *err);

#endif
