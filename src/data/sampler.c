/* Owns the order of samples.  See sampler.h for the construction.
 *
 * In blocks, positions are counted as if the last block were whole, too: `missing` positions are then left
 * out where the short block would end.  So one division finds a position's window, another its block. */
#include "data/sampler.h"

#include <assert.h>
#include <stddef.h>

const char *const ls_shuffle_names[] = {"off", "on", "blocks", NULL};

void ls_sampler_init(struct ls_sampler *sampler, int64_t n_samples, int shuffle, uint64_t seed)
{
    if (shuffle == LS_SHUFFLE_BLOCKS) {
        ls_sampler_init_blocks(sampler, n_samples, LS_DEFAULT_SHUFFLE_BLOCK, seed);
        return;
    }
    *sampler = (struct ls_sampler){
        .n_samples = n_samples, .shuffle = shuffle ? LS_SHUFFLE_ON : LS_SHUFFLE_OFF, .seed = seed};
    ls_permutation_init(&sampler->order, n_samples);
    ls_sampler_set_epoch(sampler, 0);
}

void ls_sampler_init_blocks(struct ls_sampler *sampler, int64_t n_samples, int64_t block, uint64_t seed)
{
    assert(block >= 1 && block <= (int64_t)1 << 31);
    *sampler = (struct ls_sampler){
        .n_samples = n_samples, .shuffle = LS_SHUFFLE_BLOCKS, .seed = seed, .block = block};
    ls_permutation_init(&sampler->order, (n_samples - 1) / block + 1);
    ls_sampler_set_epoch(sampler, 0);
}

void ls_sampler_set_epoch(struct ls_sampler *sampler, uint64_t epoch)
{
    sampler->epoch = epoch;
    ls_permutation_key(&sampler->order, sampler->seed, LS_PURPOSE_SHUFFLE, epoch, 0);
    if (sampler->shuffle == LS_SHUFFLE_BLOCKS)
        sampler->short_visit = ls_permutation_find(&sampler->order, sampler->order.n - 1);
}

/* Some blocks that are mixed with each other: positions [begin, end). */
struct window {
    int64_t begin, end, first_visit;
    int64_t
        short_end; /* behind the short block, counted from `begin`; beyond the window when it is elsewhere */
    struct ls_permutation order;
};

static int64_t missing_samples(const struct ls_sampler *sampler)
{
    return (sampler->block - sampler->n_samples % sampler->block) % sampler->block;
}

/* Where window w begins. */
static int64_t window_begin(const struct ls_sampler *sampler, int64_t w)
{
    const int64_t visit = w * LS_WINDOW_BLOCKS;
    if (visit >= sampler->order.n)
        return sampler->n_samples;
    return visit * sampler->block - (visit > sampler->short_visit ? missing_samples(sampler) : 0);
}

static void find_window(const struct ls_sampler *sampler, int64_t position, struct window *window)
{
    const int64_t size = LS_WINDOW_BLOCKS * sampler->block, missing = missing_samples(sampler);
    const int64_t short_window = sampler->short_visit / LS_WINDOW_BLOCKS;
    const int behind = position >= window_begin(sampler, short_window + 1);
    const int64_t w = (position + (behind ? missing : 0)) / size;
    *window = (struct window){.begin = window_begin(sampler, w),
                              .end = window_begin(sampler, w + 1),
                              .first_visit = w * LS_WINDOW_BLOCKS,
                              .short_end = INT64_MAX};
    if (w == short_window)
        window->short_end = (sampler->short_visit - window->first_visit + 1) * sampler->block - missing;
    ls_permutation_init(&window->order, window->end - window->begin);
    ls_permutation_key(&window->order, sampler->seed, LS_PURPOSE_WINDOW, sampler->epoch,
                       (uint64_t)w * LS_FEISTEL_BLOCKS);
}

static int64_t index_in_window(const struct ls_sampler *sampler, const struct window *window,
                               int64_t position)
{
    int64_t place = ls_permutation_at(&window->order, position - window->begin);
    if (place >= window->short_end)
        place += missing_samples(sampler);
    const int64_t visit = window->first_visit + place / sampler->block;
    return ls_permutation_at(&sampler->order, visit) * sampler->block + place % sampler->block;
}

int64_t ls_sampler_index(const struct ls_sampler *sampler, int64_t position)
{
    int64_t index;
    ls_sampler_indices(sampler, position, 1, &index);
    return index;
}

void ls_sampler_indices(const struct ls_sampler *sampler, int64_t first, int64_t n, int64_t *index)
{
    assert(first >= 0 && first + n <= sampler->n_samples);
    if (sampler->shuffle == LS_SHUFFLE_ON) {
        ls_permutation_run(&sampler->order, first, n, index);
        return;
    }
    struct window window = {.end = -1};
    for (int64_t i = 0; i < n; i++) {
        const int64_t position = first + i;
        if (sampler->shuffle == LS_SHUFFLE_OFF) {
            index[i] = position;
            continue;
        }
        if (position >= window.end)
            find_window(sampler, position, &window);
        index[i] = index_in_window(sampler, &window, position);
    }
}
