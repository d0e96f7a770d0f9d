/* The order of samples (contract rule 7): position p of epoch e -> index, evaluated anywhere in O(1) memory.
 * Neither the rank nor the batch size appears, so every layout visits the same order.
 *
 *   on      a permutation of all samples, keyed by (seed, epoch)
 *   blocks  for storage that dislikes random reads.  Samples form blocks of `block` consecutive ones (the
 *           last may be short); blocks are visited in a permutation keyed by (seed, epoch), and the samples
 * of each 16 blocks that are visited one after the other, a window, in a permutation keyed by (seed, epoch,
 * window).  So 16 * block consecutive positions read from 16 stretches of the data. off     as the data are
 */
#ifndef LS_DATA_SAMPLER_H
#define LS_DATA_SAMPLER_H

#include "data/permutation.h"

enum ls_shuffle { LS_SHUFFLE_OFF, LS_SHUFFLE_ON, LS_SHUFFLE_BLOCKS };
enum { LS_WINDOW_BLOCKS = 16, LS_DEFAULT_SHUFFLE_BLOCK = 1024 };

/* "off", "on", "blocks", NULL-terminated, in the order above. */
extern const char *const ls_shuffle_names[];

struct ls_sampler {
    int64_t n_samples;
    enum ls_shuffle shuffle;
    uint64_t seed;               /* of the run */
    uint64_t epoch;              /* last set */
    struct ls_permutation order; /* of samples, or of blocks */
    int64_t block;               /* of LS_SHUFFLE_BLOCKS */
    int64_t short_visit;         /* when the last block is visited */
};

/* n_samples >= 1, at most 2^62.  LS_SHUFFLE_BLOCKS: in blocks of LS_DEFAULT_SHUFFLE_BLOCK. */
void ls_sampler_init(struct ls_sampler *sampler, int64_t n_samples, int shuffle, uint64_t seed);

/* The same in blocks of `block` samples, 1 to 2^31. */
void ls_sampler_init_blocks(struct ls_sampler *sampler, int64_t n_samples, int64_t block, uint64_t seed);

/* Chooses the epoch (0-based) whose order ls_sampler_index gives. */
void ls_sampler_set_epoch(struct ls_sampler *sampler, uint64_t epoch);

/* The sample at `position` of the epoch, 0 <= position < n_samples.  A bijection for every epoch. */
int64_t ls_sampler_index(const struct ls_sampler *sampler, int64_t position);

/* index[i] = ls_sampler_index(first + i) for i in [0, n). */
void ls_sampler_indices(const struct ls_sampler *sampler, int64_t first, int64_t n, int64_t *index);

#endif
