/* Dropout: Philox in vectors, a block of four words in each 64-bit lane. */
#include "base/philox.h"
#include "compute/parallel/elementwise.h"
#include "compute/parallel/team.h"

struct dropout {
    const struct ls_dropout *drop;
    uint64_t first; /* number of the call's first element */
    ptrdiff_t n;
    float *y;
    const float *x;
};

enum { WORDS = 512, PER_BLOCK = 4 };

#if defined(__AVX2__)
#    if defined(__AVX512F__)
enum { WIDE = 8 };
#    else
enum { WIDE = 4 };
#    endif
typedef uint64_t wide __attribute__((vector_size(WIDE * sizeof(uint64_t))));

/* The 64-bit products of the low halves; what the high halves hold does not matter. */
LS_ALWAYS_INLINE wide wide_product(wide a, wide b)
{
#    if defined(__AVX512F__)
    return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#    else
    return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#    endif
}

/* words = the blocks from `block` on, WIDE of them: ls_random, lane by lane.  High halves of c0..c3 fill with
 * what the next product ignores. */
LS_ALWAYS_INLINE void random_blocks(uint32_t *words, const struct ls_dropout *drop, uint64_t block)
{
    wide lane;
    for (int l = 0; l < WIDE; l++)
        lane[l] = (uint64_t)l;
    wide c0 = lane + block, c1 = c0 >> 32, c2 = drop->stream - (wide){0};
    wide c3 = ((uint64_t)LS_PURPOSE_DROPOUT | drop->stream >> 32 << 8) - (wide){0};
    uint32_t key0 = (uint32_t)drop->seed, key1 = (uint32_t)(drop->seed >> 32);
    const wide factor0 = 0xD2511F53u - (wide){0}, factor1 = 0xCD9E8D57u - (wide){0};
    LS_UNROLL
    for (int round = 0; round < 10; round++) {
        const wide product0 = wide_product(c0, factor0), product1 = wide_product(c2, factor1);
        c0 = (product1 >> 32) ^ c1 ^ (uint64_t)key0;
        c1 = product1;
        c2 = (product0 >> 32) ^ c3 ^ (uint64_t)key1;
        c3 = product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    const wide low = (c0 & 0xffffffffu) | c1 << 32, high = (c2 & 0xffffffffu) | c3 << 32;
    for (int l = 0; l < WIDE; l++) {
        memcpy(words + PER_BLOCK * l, (const char *)&low + 8 * l, 8);
        memcpy(words + PER_BLOCK * l + 2, (const char *)&high + 8 * l, 8);
    }
}
#else
enum { WIDE = 1 };

LS_ALWAYS_INLINE void random_blocks(uint32_t *words, const struct ls_dropout *drop, uint64_t block)
{
    const struct ls_bits128 bits = ls_random(drop->seed, LS_PURPOSE_DROPOUT, drop->stream, block);
    memcpy(words, bits.word, sizeof bits.word);
}
#endif

static int64_t dropout_part(const void *job, int thread, int threads)
{
    const struct dropout *p = job;
    const struct range r = range_part(p->n, LINE, thread, threads);
    const uint32_t threshold = p->drop->threshold;
    const float scale = p->drop->scale;
    _Alignas(64) uint32_t words[WORDS];
    for (ptrdiff_t at = r.begin; at < r.end;) {
        const uint64_t element = p->first + (uint64_t)at;
        const ptrdiff_t skip = (ptrdiff_t)(element % PER_BLOCK);
        const ptrdiff_t n = r.end - at < WORDS - skip ? r.end - at : WORDS - skip;
        for (ptrdiff_t i = 0; i < n + skip; i += WIDE * PER_BLOCK)
            random_blocks(words + i, p->drop, (element - (uint64_t)skip + (uint64_t)i) / PER_BLOCK);
        const uint32_t *word = words + skip;
        const float *x = p->x + at;
        float *y = p->y + at;
        for (ptrdiff_t i = 0; i < n; i++) {
            const float kept = x[i] * scale;
            y[i] = word[i] >= threshold ? kept : 0.0f;
        }
        at += n;
    }
    return 0;
}

void LS_PER_ISA(ls_dropout)(const struct ls_dropout *drop, ptrdiff_t B, ptrdiff_t K, float *y, const float *x)
{
    const struct dropout p = {drop, (uint64_t)drop->first_row * (uint64_t)K, B * K, y, x};
    team_run((double)(B * K) * 0.5, dropout_part, &p);
}
