/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As
 * Easy as 1, 2, 3" (SC'11): 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
 *
 * Contract rule 6: the key is the run's seed; the counter says what the bits are for and which element they
 * belong to. Nothing here knows a rank, a thread or a call order. */
#ifndef LS_BASE_PHILOX_H
#define LS_BASE_PHILOX_H

#include <stdint.h>

/* What random bits are for; part of the counter, so two uses never share bits.  Values are fixed for ever. */
enum ls_purpose {
    LS_PURPOSE_INIT = 1,      /* stream: tensor index; element: element index */
    LS_PURPOSE_SHUFFLE = 2,   /* stream: epoch; element: block of round keys */
    LS_PURPOSE_SYNTHETIC = 3, /* stream and element: see data/synthetic.c */
    LS_PURPOSE_DROPOUT = 4,   /* stream: step and layer; element: position in the batch and unit, by fours */
    LS_PURPOSE_AUGMENT = 5,   /* stream: epoch; element: sample index */
    LS_PURPOSE_SEARCH = 6,    /* random search: stream: tensor and trial; element: element index */
    LS_PURPOSE_WINDOW = 7,    /* --shuffle blocks: stream: epoch; element: window and block of round keys */
    LS_PURPOSE_SPLIT = 8,     /* --split, --folds: stream: class + 1 or 0; element: block of round keys */
    LS_PURPOSE_CROSS_CHECK = 12, /* stream: step */
};

struct ls_bits128 {
    uint32_t word[4];
};

static inline struct ls_bits128 ls_philox(struct ls_bits128 counter, uint32_t key0, uint32_t key1)
{
    uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
    for (int round = 0; round < 10; round++) {
        const uint64_t product0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ key0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ key1;
        c3 = (uint32_t)product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return (struct ls_bits128){{c0, c1, c2, c3}};
}

/* The block of 128 bits for (seed, purpose, stream, element).  stream < 2^56: its high bits share a word with
 * the purpose, which is below 256. */
static inline struct ls_bits128 ls_random(uint64_t seed, enum ls_purpose purpose, uint64_t stream,
                                          uint64_t element)
{
    const struct ls_bits128 counter = {{(uint32_t)element, (uint32_t)(element >> 32), (uint32_t)stream,
                                        (uint32_t)purpose | (uint32_t)(stream >> 32) << 8}};
    return ls_philox(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* A number in the open interval (0, 1): (top 23 bits + 1/2) / 2^23, exact in binary32. */
static inline float ls_uniform(uint32_t word)
{
    return ((float)(word >> 9) + 0.5f) * 0x1p-23f;
}

#endif
