/* Owns the keyed permutation.  See permutation.h for the construction.
 *
 * A position splits into (l, r), position = l + a * r, and alternate rounds add a keyed hash of one half to
 * the other, modulo that half's size: each round can be undone, so their composition is a permutation of the
 * a x b cells.  Cells at or above n are walked through (fewer than a of them, so one walk in about sqrt(n)).
 * Only the first split divides; rounds reduce by a multiplication (Lemire, "Fast Random Integer Generation in
 * an Interval", 2019). */
#include "data/permutation.h"

#include <assert.h>

/* A keyed hash of `other`, in [0, size), for size <= 2^31: two multiplications by odd constants with a shift
 * between, of which the top 32 bits count; MurmurHash3's 32-bit finalizer costs half as much again. */
static inline uint64_t hash_below(uint64_t other, uint32_t key, uint64_t size)
{
    uint64_t hash = (other + key) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
    return (hash >> 32) * size >> 32;
}

/* (half + hash) mod size, for half < size; a branch would be mispredicted half of the time. */
static inline uint64_t add_round(uint64_t half, uint64_t other, uint32_t key, uint64_t size)
{
    const uint64_t sum = half + hash_below(other, key, size);
    return sum - (size & -(uint64_t)(sum >= size));
}

static inline uint64_t undo_round(uint64_t half, uint64_t other, uint32_t key, uint64_t size)
{
    const uint64_t hash = hash_below(other, key, size);
    return half >= hash ? half - hash : half + size - hash;
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

void ls_permutation_init(struct ls_permutation *permutation, int64_t n)
{
    assert(n >= 1 && n <= (int64_t)1 << 62);
    const uint64_t a = ceil_sqrt((uint64_t)n);
    *permutation =
        (struct ls_permutation){.n = n,
                                .a = a,
                                .b = ((uint64_t)n + a - 1) / a,
                                .rounds = n < LS_FEISTEL_SMALL ? LS_FEISTEL_ROUNDS_SMALL : LS_FEISTEL_ROUNDS};
}

void ls_permutation_key(struct ls_permutation *permutation, uint64_t seed, enum ls_purpose purpose,
                        uint64_t stream, uint64_t element)
{
    for (int round = 0; round < permutation->rounds; round += 4) {
        const struct ls_bits128 bits = ls_random(seed, purpose, stream, element + (uint64_t)round / 4);
        for (int i = 0; i < 4; i++)
            permutation->keys[round + i] = bits.word[i];
    }
}

/* All rounds of n cells, n constant where this is inlined.  Round by round: those of one cell are a chain of
 * multiplications, and a processor does not look far enough ahead to begin with the next cell. */
static inline void mix(const struct ls_permutation *permutation, const int n, uint64_t *l, uint64_t *r)
{
    const uint64_t a = permutation->a, b = permutation->b;
    for (int round = 0; round < permutation->rounds; round += 2) {
        for (int i = 0; i < n; i++)
            l[i] = add_round(l[i], r[i], permutation->keys[round], a);
        for (int i = 0; i < n; i++)
            r[i] = add_round(r[i], l[i], permutation->keys[round + 1], b);
    }
}

/* The end of the walk that has come to `cell`. */
static int64_t walk_on(const struct ls_permutation *permutation, uint64_t cell)
{
    while (cell >= (uint64_t)permutation->n) {
        uint64_t l = cell % permutation->a, r = cell / permutation->a;
        mix(permutation, 1, &l, &r);
        cell = l + permutation->a * r;
    }
    return (int64_t)cell;
}

int64_t ls_permutation_at(const struct ls_permutation *permutation, int64_t position)
{
    const uint64_t a = permutation->a;
    uint64_t l = (uint64_t)position % a, r = (uint64_t)position / a;
    mix(permutation, 1, &l, &r);
    return walk_on(permutation, l + a * r);
}

void ls_permutation_run(const struct ls_permutation *permutation, int64_t position, int64_t n, int64_t *value)
{
    enum { AT_ONCE = 8 };
    const uint64_t a = permutation->a;
    uint64_t next_l = (uint64_t)position % a, next_r = (uint64_t)position / a;
    for (int64_t at = 0; at < n; at += AT_ONCE) {
        uint64_t l[AT_ONCE], r[AT_ONCE]; /* of a last short stretch, cells beyond it are mixed in vain */
        for (int i = 0; i < AT_ONCE; i++) {
            l[i] = next_l;
            r[i] = next_r;
            next_l++;
            next_r += next_l == a;
            next_l = next_l == a ? 0 : next_l;
        }
        mix(permutation, AT_ONCE, l, r);
        for (int i = 0; i < AT_ONCE && at + i < n; i++)
            value[at + i] = walk_on(permutation, l[i] + a * r[i]);
    }
}

int64_t ls_permutation_find(const struct ls_permutation *permutation, int64_t value)
{
    const uint64_t a = permutation->a, b = permutation->b, n = (uint64_t)permutation->n;
    uint64_t l = (uint64_t)value % a, r = (uint64_t)value / a, position;
    do {
        for (int round = permutation->rounds - 2; round >= 0; round -= 2) {
            r = undo_round(r, l, permutation->keys[round + 1], b);
            l = undo_round(l, r, permutation->keys[round], a);
        }
        position = l + a * r;
    } while (position >= n);
    return (int64_t)position;
}
