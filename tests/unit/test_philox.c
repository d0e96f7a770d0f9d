/* base/philox.h: the generator is the published one, its counters never meet, its numbers have the right
 * distribution. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "base/philox.h"

/* Known answers of Philox4x32-10, Random123 distribution, tests/kat_vectors. */
Test(philox, known_answers)
{
    const struct {
        struct ls_bits128 counter;
        uint32_t key0, key1;
        struct ls_bits128 wanted;
    } cases[] = {
        {{{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}},
         UINT32_MAX,
         UINT32_MAX,
         {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         0xa4093822,
         0x299f31d0,
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const struct ls_bits128 got = ls_philox(cases[c].counter, cases[c].key0, cases[c].key1);
        for (int i = 0; i < 4; i++)
            cr_expect(got.word[i] == cases[c].wanted.word[i], "case %zu, word %d: %08x, not %08x", c, i,
                      got.word[i], cases[c].wanted.word[i]);
    }
}

/* Where seed, purpose, stream and element go.  Every trained model depends on this layout. */
Test(philox, layout_is_fixed)
{
    const struct ls_bits128 got =
        ls_random(0x1122334455667788, LS_PURPOSE_SHUFFLE, 0x00aabbccddeeff01, 0x8070605040302010);
    const struct ls_bits128 counter = {{0x40302010, 0x80706050, 0xddeeff01, 0xaabbcc02}};
    const struct ls_bits128 wanted = ls_philox(counter, 0x55667788, 0x11223344);
    cr_expect(memcmp(&got, &wanted, sizeof got) == 0);
    cr_expect(LS_PURPOSE_INIT == 1 && LS_PURPOSE_SHUFFLE == 2 && LS_PURPOSE_SYNTHETIC == 3);
}

static int compare_bits(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ls_bits128));
}

/* Under one key Philox is a bijection, so equal blocks would mean equal counters.  Streams and elements here
 * are such that one field's bits, moved into another's place, would meet. */
Test(philox, purposes_streams_and_elements_never_meet)
{
    enum { PURPOSES = 4, MOST = 64 };
    const enum ls_purpose purposes[PURPOSES] = {LS_PURPOSE_INIT, LS_PURPOSE_SHUFFLE, LS_PURPOSE_SYNTHETIC,
                                                (enum ls_purpose)255};
    uint64_t streams[MOST], elements[MOST];
    int n_streams = 0, n_elements = 0;
    streams[n_streams++] = 0;
    elements[n_elements++] = 0;
    for (int bit = 0; bit < 56; bit++)
        streams[n_streams++] = UINT64_C(1) << bit;
    for (int bit = 0; bit < 63; bit++)
        elements[n_elements++] = UINT64_C(1) << bit;
    const size_t n = (size_t)PURPOSES * (size_t)n_streams * (size_t)n_elements;
    struct ls_bits128 *blocks = malloc(n * sizeof *blocks);
    cr_assert_not_null(blocks);
    size_t at = 0;
    for (int p = 0; p < PURPOSES; p++)
        for (int s = 0; s < n_streams; s++)
            for (int e = 0; e < n_elements; e++)
                blocks[at++] = ls_random(42, purposes[p], streams[s], elements[e]);
    qsort(blocks, n, sizeof *blocks, compare_bits);
    for (size_t i = 1; i < n; i++)
        cr_assert(compare_bits(&blocks[i - 1], &blocks[i]) != 0, "two of %zu blocks are equal", n);
    free(blocks);
}

/* A seed is all 64 bits. */
Test(philox, seeds_differ)
{
    const struct ls_bits128 zero = ls_random(0, LS_PURPOSE_INIT, 0, 0);
    for (int bit = 0; bit < 64; bit++) {
        const struct ls_bits128 other = ls_random(UINT64_C(1) << bit, LS_PURPOSE_INIT, 0, 0);
        int same_words = 0;
        for (int i = 0; i < 4; i++)
            same_words += zero.word[i] == other.word[i];
        cr_expect(same_words == 0, "seed bit %d leaves %d words as they were", bit, same_words);
    }
}

Test(uniform, lies_inside_the_open_interval)
{
    cr_expect(ls_uniform(0) == 0x1p-24f);
    cr_expect(ls_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
    cr_expect(ls_uniform(UINT32_C(1) << 31) == 0.5f + 0x1p-24f);
    cr_expect(ls_uniform((UINT32_C(1) << 31) - 1) == 0.5f - 0x1p-24f);
    /* Each of the 2^23 values, evenly spaced and symmetric about one half. */
    for (uint32_t i = 0; i < UINT32_C(1) << 23; i++) {
        const float u = ls_uniform(i << 9 | (i & 511u));
        cr_assert((double)u == ((double)i + 0.5) * 0x1p-23, "%u: %a", i, (double)u);
    }
}

enum { N_BLOCKS = 1 << 18, N_DRAWS = 4 * N_BLOCKS, N_BINS = 256 };

/* Every bound below is five standard deviations of its statistic; the bits are fixed, so a pass stays a pass.
 */
Test(uniform, has_the_moments_and_the_flatness)
{
    double sum = 0, squares = 0, neighbours = 0, before = 0;
    static int bins[N_BINS];
    for (uint64_t block = 0; block < N_BLOCKS; block++) {
        const struct ls_bits128 random = ls_random(20240229, LS_PURPOSE_INIT, 3, block);
        for (int i = 0; i < 4; i++) {
            const double u = (double)ls_uniform(random.word[i]) - 0.5;
            sum += u;
            squares += u * u;
            neighbours += u * before;
            before = u;
            bins[(int)((u + 0.5) * N_BINS)]++;
        }
    }
    const double mean = sum / N_DRAWS, variance = squares / N_DRAWS, correlation = 12 * neighbours / N_DRAWS;
    cr_expect(fabs(mean) < 5 * sqrt(1.0 / 12 / N_DRAWS), "mean is %g off", mean);
    cr_expect(fabs(variance - 1.0 / 12) < 5 * sqrt(1.0 / 180 / N_DRAWS), "variance %g", variance);
    cr_expect(fabs(correlation) < 5 / sqrt(N_DRAWS), "neighbours correlate by %g", correlation);
    double chi_square = 0;
    for (int i = 0; i < N_BINS; i++) {
        const double expected = (double)N_DRAWS / N_BINS, excess = bins[i] - expected;
        chi_square += excess * excess / expected;
    }
    cr_expect(fabs(chi_square - (N_BINS - 1)) < 5 * sqrt(2.0 * (N_BINS - 1)), "chi-square of %d bins: %g",
              N_BINS, chi_square);
}

Test(normal, has_the_moments_and_the_tails)
{
    double power[5] = {0};
    int beyond[6] = {0};
    for (uint64_t block = 0; block < N_BLOCKS; block++) {
        const struct ls_bits128 random = ls_random(7, LS_PURPOSE_INIT, 1, block);
        for (int i = 0; i < 4; i++) {
            const double z = (double)ls_normal_quantile(ls_uniform(random.word[i]));
            double product = 1;
            for (int p = 0; p < 5; p++, product *= z)
                power[p] += product;
            for (int k = 0; k < 6; k++)
                beyond[k] += fabs(z) > k;
        }
    }
    const double n = N_DRAWS;
    cr_expect(fabs(power[1] / n) < 5 * sqrt(1 / n), "mean %g", power[1] / n);
    cr_expect(fabs(power[2] / n - 1) < 5 * sqrt(2 / n), "variance %g", power[2] / n);
    cr_expect(fabs(power[3] / n) < 5 * sqrt(15 / n), "third moment %g", power[3] / n);
    cr_expect(fabs(power[4] / n - 3) < 5 * sqrt(96 / n), "fourth moment %g", power[4] / n);
    for (int k = 1; k < 5; k++) {
        const double wanted = n * erfc(k / sqrt(2));
        cr_expect(fabs(beyond[k] - wanted) < 5 * sqrt(wanted), "%d of %g beyond %d sigma", beyond[k], wanted,
                  k);
    }
}
