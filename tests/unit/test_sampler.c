/* The order of samples: a permutation for every n, epoch and seed; the same one for ever; without visible
 * structure. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "data/sampler.h"

static struct ls_sampler make(int64_t n, uint64_t seed, uint64_t epoch)
{
    struct ls_sampler sampler;
    ls_sampler_init(&sampler, n, 1, seed);
    ls_sampler_set_epoch(&sampler, epoch);
    return sampler;
}

static void expect_permutation(int64_t n, uint64_t seed, uint64_t epoch)
{
    const struct ls_sampler sampler = make(n, seed, epoch);
    char *seen = calloc((size_t)n, 1);
    cr_assert_not_null(seen);
    for (int64_t p = 0; p < n; p++) {
        const int64_t index = ls_sampler_index(&sampler, p);
        cr_assert(index >= 0 && index < n, "n %lld: position %lld gives %lld", (long long)n, (long long)p,
                  (long long)index);
        cr_assert(!seen[index], "n %lld: index %lld comes twice", (long long)n, (long long)index);
        seen[index] = 1;
    }
    free(seen);
}

Test(sampler, every_small_size_is_a_permutation)
{
    for (int64_t n = 1; n <= 300; n++)
        for (uint64_t epoch = 0; epoch < 4; epoch++)
            expect_permutation(n, 7 + (uint64_t)n, epoch);
}

Test(sampler, sizes_of_real_data_are_permutations)
{
    const int64_t sizes[] = {1500, 60000, 65535, 65536, 65537, 1281167};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        expect_permutation(sizes[i], 1, 3);
}

/* Each index once; and each window touches no more than its blocks. */
static void expect_blocks(int64_t n, int64_t block, uint64_t epoch)
{
    struct ls_sampler sampler;
    ls_sampler_init_blocks(&sampler, n, block, 3 + (uint64_t)n);
    ls_sampler_set_epoch(&sampler, epoch);
    const int64_t n_blocks = (n + block - 1) / block;
    int64_t *index = calloc((size_t)n, sizeof *index), touched = 0;
    char *seen = calloc((size_t)n, 1), *open = calloc((size_t)n_blocks, 1);
    int64_t *left = calloc((size_t)n_blocks, sizeof *left), n_open = 0;
    ls_sampler_indices(&sampler, 0, n, index);
    for (int64_t b = 0; b < n_blocks; b++)
        left[b] = n - b * block < block ? n - b * block : block;
    for (int64_t p = 0; p < n; p++) {
        cr_assert(index[p] >= 0 && index[p] < n && !seen[index[p]],
                  "n %lld block %lld: position %lld gives %lld", (long long)n, (long long)block, (long long)p,
                  (long long)index[p]);
        seen[index[p]] = 1;
        if (p % 7 == 0)
            cr_assert_eq(ls_sampler_index(&sampler, p), index[p]);
        const int64_t b = index[p] / block;
        n_open += !open[b];
        touched = n_open > touched ? n_open : touched;
        open[b] = 1;
        n_open -= --left[b] == 0;
        if (n_open == 0) /* a window ended: blocks were taken whole */
            touched = 0;
        cr_assert_leq(touched, LS_WINDOW_BLOCKS, "n %lld block %lld: %lld blocks at position %lld",
                      (long long)n, (long long)block, (long long)touched, (long long)p);
    }
    free(index);
    free(seen);
    free(open);
    free(left);
}

Test(sampler, blocks_are_a_permutation_that_opens_16_at_a_time)
{
    for (int64_t n = 1; n <= 200; n++)
        for (int64_t block = 1; block <= 20; block++)
            expect_blocks(n, block, (uint64_t)(n + block) % 3);
    const int64_t sizes[] = {1500, 4096, 60000, 65537};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int64_t block = 1; block <= 70000; block = block * 5 + 1)
            expect_blocks(sizes[i], block, 2);
}

Test(sampler, permutations_can_be_undone)
{
    for (int64_t n = 1; n < 100000; n = n * 3 / 2 + 1) {
        struct ls_permutation permutation;
        ls_permutation_init(&permutation, n);
        ls_permutation_key(&permutation, 5, LS_PURPOSE_SPLIT, 1, 0);
        for (int64_t p = 0; p < n; p += 1 + n / 1000)
            cr_assert_eq(ls_permutation_find(&permutation, ls_permutation_at(&permutation, p)), p);
    }
}

Test(sampler, a_run_of_positions_is_those_positions)
{
    for (int64_t n = 1; n < 2000; n = n * 3 / 2 + 1) {
        struct ls_permutation permutation;
        int64_t values[2000];
        ls_permutation_init(&permutation, n);
        ls_permutation_key(&permutation, 5, LS_PURPOSE_SPLIT, 1, 0);
        for (int64_t first = 0; first < n; first += 1 + n / 20) {
            ls_permutation_run(&permutation, first, n - first, values);
            for (int64_t p = first; p < n; p++)
                cr_assert_eq(values[p - first], ls_permutation_at(&permutation, p), "n %lld first %lld",
                             (long long)n, (long long)first);
        }
    }
}

static int compare_int64(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

Test(sampler, huge_sizes_stay_inside_and_do_not_collide)
{
    enum { N = 20000 };
    static int64_t index[N];
    const int64_t sizes[] = {((int64_t)1 << 32) - 1, ((int64_t)1 << 32) + 1, ((int64_t)1 << 40) + 12345,
                             ((int64_t)1 << 62) - 1, (int64_t)1 << 62};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const struct ls_sampler sampler = make(sizes[s], 5, 1);
        for (int i = 0; i < N; i++) /* both ends, where the walk and the carry of halves are */
            index[i] = ls_sampler_index(&sampler, i % 2 ? sizes[s] - 1 - i : i);
        qsort(index, N, sizeof *index, compare_int64);
        cr_assert(index[0] >= 0 && index[N - 1] < sizes[s]);
        for (int i = 1; i < N; i++)
            cr_assert(index[i] != index[i - 1], "n %lld: %lld comes twice", (long long)sizes[s],
                      (long long)index[i]);
        /* A uniform sample of 20,000 reaches the first and the last hundredth of the range. */
        cr_assert(index[0] < sizes[s] / 100 && index[N - 1] > sizes[s] - sizes[s] / 100);
    }
}

Test(sampler, off_is_the_identity)
{
    struct ls_sampler sampler;
    ls_sampler_init(&sampler, 1000, 0, 1);
    ls_sampler_set_epoch(&sampler, 9);
    for (int64_t p = 0; p < 1000; p++)
        cr_assert_eq(ls_sampler_index(&sampler, p), p);
}

static int64_t positions_in_common(struct ls_sampler a, struct ls_sampler b)
{
    int64_t same = 0;
    for (int64_t p = 0; p < a.n_samples; p++)
        same += ls_sampler_index(&a, p) == ls_sampler_index(&b, p);
    return same;
}

/* Two random permutations agree at 1 position on average, at 12 or more about once in a billion. */
Test(sampler, epochs_and_seeds_differ)
{
    const struct ls_sampler base = make(60000, 1, 0);
    cr_assert_eq(positions_in_common(base, make(60000, 1, 0)), 60000);
    for (uint64_t epoch = 1; epoch < 20; epoch++)
        cr_assert_lt(positions_in_common(base, make(60000, 1, epoch)), 12, "epoch %d", (int)epoch);
    cr_assert_lt(positions_in_common(base, make(60000, 1, (uint64_t)1 << 40)), 12);
    cr_assert_lt(positions_in_common(base, make(60000, 2, 0)), 12);
    cr_assert_lt(positions_in_common(base, make(60000, 1 + ((uint64_t)1 << 32), 0)), 12);
}

Test(sampler, epochs_can_be_visited_in_any_order)
{
    struct ls_sampler sampler;
    ls_sampler_init(&sampler, 1797, 1, 42);
    const int64_t first = ls_sampler_index(&sampler, 100);
    ls_sampler_set_epoch(&sampler, 8);
    ls_sampler_set_epoch(&sampler, 0);
    cr_assert_eq(ls_sampler_index(&sampler, 100), first);
}

Test(sampler, indices_are_index_at_each_position)
{
    const struct ls_sampler sampler = make(1797, 3, 2);
    int64_t index[100];
    ls_sampler_indices(&sampler, 1697, 100, index);
    for (int64_t i = 0; i < 100; i++)
        cr_assert_eq(index[i], ls_sampler_index(&sampler, 1697 + i));
}

/* The sum of (count - expected)^2 / expected over `cells` cells, which for random data is about cells - 1,
 * with a standard deviation of sqrt(2 (cells - 1)); here as its distance from that in standard deviations. */
static double chi_square_sigmas(const int64_t *counts, int cells, int64_t total)
{
    const double expected = (double)total / cells;
    double sum = 0;
    for (int i = 0; i < cells; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    double variance = 2.0 * (cells - 1), sigmas = sum - (cells - 1);
    return sigmas * sigmas / variance * (sigmas < 0 ? -1 : 1); /* the square, with the sign of the distance */
}

/* In blocks, too, as far as blocks allow: 8 blocks of 3 are one window, so all orders can come. */
Test(sampler, blocks_mix_uniformly_and_differ_by_epoch)
{
    enum { n = 24, epochs = 20000 };
    static int64_t counts[n * n];
    struct ls_sampler sampler;
    ls_sampler_init_blocks(&sampler, n, 3, 11);
    for (int epoch = 0; epoch < epochs; epoch++) {
        ls_sampler_set_epoch(&sampler, (uint64_t)epoch);
        for (int p = 0; p < n; p++)
            counts[p * n + ls_sampler_index(&sampler, p)]++;
    }
    cr_assert_lt(chi_square_sigmas(counts, n * n, (int64_t)n * epochs), 5.0 * 5.0);
    struct ls_sampler other;
    ls_sampler_init_blocks(&sampler, 60000, 100, 1);
    ls_sampler_init_blocks(&other, 60000, 100, 1);
    ls_sampler_set_epoch(&other, 1);
    cr_assert_lt(positions_in_common(sampler, other), 12);
    ls_sampler_init_blocks(&other, 60000, 100, 2);
    cr_assert_lt(positions_in_common(sampler, other), 12);
}

/* Over many epochs every position of a small set meets every index equally often. */
Test(sampler, positions_meet_indices_uniformly)
{
    for (int n = 2; n <= 24; n++) {
        const int epochs = 4000 * n;
        static int64_t counts[24 * 24];
        memset(counts, 0, sizeof counts);
        struct ls_sampler sampler = make(n, 11, 0);
        for (int epoch = 0; epoch < epochs; epoch++) {
            ls_sampler_set_epoch(&sampler, (uint64_t)epoch);
            for (int p = 0; p < n; p++)
                counts[p * n + ls_sampler_index(&sampler, p)]++;
        }
        /* Rows and columns are constrained, so this is a little below chi-square: only the upper side can
         * fail. */
        cr_assert_lt(chi_square_sigmas(counts, n * n, (int64_t)n * epochs), 5.0 * 5.0, "n %d", n);
    }
}

/* All orders of 5 samples are about equally frequent. */
Test(sampler, all_orders_of_five_appear)
{
    static int64_t counts[3125];
    static int64_t orders[120];
    struct ls_sampler sampler = make(5, 13, 0);
    const int epochs = 120 * 500;
    for (int epoch = 0; epoch < epochs; epoch++) {
        int code = 0;
        ls_sampler_set_epoch(&sampler, (uint64_t)epoch);
        for (int p = 0; p < 5; p++)
            code = code * 5 + (int)ls_sampler_index(&sampler, p);
        counts[code]++;
    }
    int found = 0;
    for (int code = 0; code < 3125; code++)
        if (counts[code])
            orders[found++] = counts[code];
    cr_assert_eq(found, 120);
    cr_assert_lt(chi_square_sigmas(orders, 120, epochs), 5.0 * 5.0);
}

/* The index at p says nothing about the index at p + 1, nor about the low or high bits of p. */
Test(sampler, neighbours_are_independent)
{
    enum { CELLS = 16 };
    for (int64_t n = 50000; n <= 400000; n *= 2) {
        const struct ls_sampler sampler = make(n, 21, 5);
        static int64_t pairs[CELLS * CELLS], steps[CELLS], parity[CELLS * 2], place[CELLS * CELLS];
        memset(pairs, 0, sizeof pairs);
        memset(steps, 0, sizeof steps);
        memset(parity, 0, sizeof parity);
        memset(place, 0, sizeof place);
        int64_t last = ls_sampler_index(&sampler, 0);
        for (int64_t p = 1; p < n; p++) {
            const int64_t index = ls_sampler_index(&sampler, p);
            pairs[last * CELLS / n * CELLS + index * CELLS / n]++;
            steps[(index - last + n) % n * CELLS / n]++;
            parity[index * CELLS / n * 2 + p % 2]++;
            place[p % CELLS * CELLS + index % CELLS]++;
            last = index;
        }
        cr_assert_lt(chi_square_sigmas(pairs, CELLS * CELLS, n - 1), 5.0 * 5.0, "n %lld", (long long)n);
        cr_assert_lt(chi_square_sigmas(steps, CELLS, n - 1), 5.0 * 5.0, "n %lld", (long long)n);
        cr_assert_lt(chi_square_sigmas(parity, CELLS * 2, n - 1), 5.0 * 5.0, "n %lld", (long long)n);
        cr_assert_lt(chi_square_sigmas(place, CELLS * CELLS, n - 1), 5.0 * 5.0, "n %lld", (long long)n);
    }
}

/* Runs are resumed and compared over years and machines: these must never change.  The numbers come from a
 * second implementation, in Python's integers, of what sampler.h says. */
Test(sampler, the_order_is_fixed_for_ever)
{
    const int64_t tiny[8] = {3, 8, 0, 1, 2, 6, 9, 5};
    const int64_t middle[8] = {2794, 44194, 57382, 14603, 49165, 43561, 58669, 33874};
    const int64_t huge[8] = {2647434161297030171, 2124299223551732572, 3100096609637039208,
                             218264619734845721,  4397501954741440994, 3652159227054984364,
                             3199023964134250073, 700093234365845738};
    int64_t index[8];
    struct ls_sampler sampler = make(10, 1, 0);
    ls_sampler_indices(&sampler, 0, 8, index);
    cr_expect_arr_eq(index, tiny, sizeof index);
    sampler = make(60000, 1, 0);
    ls_sampler_indices(&sampler, 0, 8, index);
    cr_expect_arr_eq(index, middle, sizeof index);
    sampler = make((int64_t)1 << 62, 0x0123456789ABCDEF, 1000000007);
    ls_sampler_indices(&sampler, ((int64_t)1 << 62) - 8, 8, index);
    cr_expect_arr_eq(index, huge, sizeof index);
}
