/* The order of samples (contract rule 7): position p of epoch e -> index, evaluated anywhere in O(1) memory.
 *
 * A Feistel network over the smallest a x b grid that holds [0, n), walked until it lands inside (Black and
 * Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002), its round keys drawn from Philox by (seed,
 * epoch).  Neither the rank nor the batch size appears, so every layout visits the same order. */
#ifndef LS_DATA_SAMPLER_H
#define LS_DATA_SAMPLER_H

#include <stdint.h>

/* Small grids mix slowly.  Followed exactly, with ideal round functions, 8 rounds make the rarest order of 6
 * samples 0.69 times and the most frequent one 1.94 times as likely as a fair one; 16 rounds 0.98, 1.06. */
enum { LS_FEISTEL_ROUNDS = 8, LS_FEISTEL_ROUNDS_SMALL = 24, LS_FEISTEL_SMALL = 256 };

struct ls_sampler {
    int64_t n_samples;
    int shuffle;   /* 0: position p is sample p */
    uint64_t seed; /* of the run */
    uint64_t a, b; /* grid, a * b >= n_samples */
    int rounds;    /* LS_FEISTEL_ROUNDS_SMALL when n_samples < LS_FEISTEL_SMALL, else LS_FEISTEL_ROUNDS */
    uint32_t keys[LS_FEISTEL_ROUNDS_SMALL]; /* of the epoch last set */
};

/* n_samples >= 1, at most 2^62. */
void ls_sampler_init(struct ls_sampler *sampler, int64_t n_samples, int shuffle, uint64_t seed);

/* Chooses the epoch (0-based) whose order ls_sampler_index gives. */
void ls_sampler_set_epoch(struct ls_sampler *sampler, uint64_t epoch);

/* The sample at `position` of the epoch, 0 <= position < n_samples.  A bijection for every epoch. */
int64_t ls_sampler_index(const struct ls_sampler *sampler, int64_t position);

/* index[i] = ls_sampler_index(first + i) for i in [0, n). */
void ls_sampler_indices(const struct ls_sampler *sampler, int64_t first, int64_t n, int64_t *index);

#endif
