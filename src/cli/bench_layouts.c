/* Owns the text form of layouts, and what comes along.  See bench_layouts.h. */
#include "cli/bench_layouts.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { MOST_THREADS = 4096 };

static int comes_before(struct ls_layout a, struct ls_layout b)
{
    return a.threads != b.threads ? a.threads < b.threads : a.ranks < b.ranks;
}

static enum ls_code add(struct ls_layouts *layouts, int ranks, int threads, struct ls_error *err)
{
    const struct ls_layout layout = {ranks, threads};
    int at = 0;
    while (at < layouts->n && comes_before(layouts->at[at], layout))
        at++;
    if (at < layouts->n && !comes_before(layout, layouts->at[at]))
        return LS_OK;
    if (layouts->n == LS_MOST_LAYOUTS)
        return ls_fail(err, LS_USAGE,
                       "--layouts: more than %d, with those that they are compared with: leave some out",
                       LS_MOST_LAYOUTS);
    memmove(&layouts->at[at + 1], &layouts->at[at], (size_t)(layouts->n - at) * sizeof layout);
    layouts->at[at] = layout;
    layouts->n++;
    return LS_OK;
}

static enum ls_code add_with_base(struct ls_layouts *layouts, int ranks, int threads, struct ls_error *err)
{
    enum ls_code code = add(layouts, 1, 1, err);
    if (code == LS_OK)
        code = add(layouts, 1, threads, err);
    return code == LS_OK ? add(layouts, ranks, threads, err) : code;
}

/* "2x16", of `length` characters. */
static enum ls_code add_text(struct ls_layouts *layouts, const char *text, size_t length, int n_ranks,
                             struct ls_error *err)
{
    char word[32];
    int64_t ranks = 0, threads = 0;
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), text);
    char *times = strchr(word, 'x');
    if (times)
        *times = '\0';
    if (!times || !ls_text_to_int64(word, &ranks) || !ls_text_to_int64(times + 1, &threads) || ranks < 1 ||
        threads < 1 || threads > MOST_THREADS)
        return ls_fail(
            err, LS_USAGE,
            "--layouts: '%.*s' is no layout: give ranks x threads, as 1x1,1x2,2x1 (threads: 1 to %d)",
            (int)(length < 40 ? length : 40), text, MOST_THREADS);
    if (ranks > n_ranks)
        return ls_fail(
            err, LS_USAGE,
            "--layouts: %lldx%lld wants %lld ranks, this job has %d: start as many, or leave it out",
            (long long)ranks, (long long)threads, (long long)ranks, n_ranks);
    return add_with_base(layouts, (int)ranks, (int)threads, err);
}

enum ls_code ls_layouts_choose(struct ls_layouts *layouts, const char *text, int n_ranks, int threads,
                               struct ls_error *err)
{
    enum ls_code code = LS_OK;
    *layouts = (struct ls_layouts){.n = 0};
    if (!text) {
        for (int ranks = 1; code == LS_OK && ranks < n_ranks; ranks *= 2)
            code = add_with_base(layouts, ranks, threads, err);
        return code == LS_OK ? add_with_base(layouts, n_ranks, threads, err) : code;
    }
    for (;;) {
        const size_t length = strcspn(text, ",");
        code = add_text(layouts, text, length, n_ranks, err);
        if (code != LS_OK || text[length] == '\0')
            return code;
        text += length + 1;
    }
}
