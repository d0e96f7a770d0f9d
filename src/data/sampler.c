/* Owns the order of samples.  See sampler.h for the construction.
 *
 * A position splits into (l, r), position = l + a * r, and alternate rounds add a keyed hash of one half to
 * the other, modulo that half's size: each round can be undone, so their composition is a permutation of the
 * a x b cells.  Cells at or above n are walked through (fewer than a of them, so one walk in about sqrt(n)).
 * Only the first split divides; rounds reduce by a multiplication (Lemire, "Fast Random Integer Generation in
 * an Interval", 2019). */
#include "data/sampler.h"

#include <assert.h>

#include "base/philox.h"

/* (half + keyed hash of the other half) mod size, for half < size <= 2^31.  The hash is two multiplications
 * by odd constants with a shift between, of which the top 32 bits count; MurmurHash3's 32-bit finalizer costs
 * half as much again. */
static inline uint64_t add_round(uint64_t half, uint64_t other, uint32_t key, uint64_t size)
{
    uint64_t hash = (other + key) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
    const uint64_t sum = half + ((hash >> 32) * size >> 32);
    return sum - (size & -(uint64_t)(sum >= size)); /* a branch would be mispredicted half of the time */
}

/* The smallest a with a * a >= n, for 1 <= n <= 2^62. */
static uint64_t ceil_sqrt(uint64_t n)
{
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= n)
            root += bit;
    return root * root == n ? root : root + 1;
}

void ls_sampler_init(struct ls_sampler *sampler, int64_t n_samples, int shuffle, uint64_t seed)
{
    assert(n_samples >= 1 && n_samples <= (int64_t)1 << 62);
    const uint64_t a = ceil_sqrt((uint64_t)n_samples);
    *sampler = (struct ls_sampler){.n_samples = n_samples,
                                   .shuffle = shuffle,
                                   .seed = seed,
                                   .a = a,
                                   .b = ((uint64_t)n_samples + a - 1) / a,
                                   .rounds = n_samples < LS_FEISTEL_SMALL ? LS_FEISTEL_ROUNDS_SMALL
                                                                          : LS_FEISTEL_ROUNDS};
    ls_sampler_set_epoch(sampler, 0);
}

void ls_sampler_set_epoch(struct ls_sampler *sampler, uint64_t epoch)
{
    for (int round = 0; round < sampler->rounds; round += 4) {
        const struct ls_bits128 bits =
            ls_random(sampler->seed, LS_PURPOSE_SHUFFLE, epoch, (uint64_t)round / 4);
        for (int i = 0; i < 4; i++)
            sampler->keys[round + i] = bits.word[i];
    }
}

int64_t ls_sampler_index(const struct ls_sampler *sampler, int64_t position)
{
    assert(position >= 0 && position < sampler->n_samples);
    if (!sampler->shuffle)
        return position;
    const uint64_t a = sampler->a, b = sampler->b, n = (uint64_t)sampler->n_samples;
    uint64_t l = (uint64_t)position % a, r = (uint64_t)position / a, index;
    do {
        for (int round = 0; round < sampler->rounds; round += 2) {
            l = add_round(l, r, sampler->keys[round], a);
            r = add_round(r, l, sampler->keys[round + 1], b);
        }
        index = l + a * r;
    } while (index >= n);
    return (int64_t)index;
}

void ls_sampler_indices(const struct ls_sampler *sampler, int64_t first, int64_t n, int64_t *index)
{
    for (int64_t i = 0; i < n; i++)
        index[i] = ls_sampler_index(sampler, first + i);
}
