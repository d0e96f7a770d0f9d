/* Random search: what a trial draws, that the best is kept, and the same bits however it is spread. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "files.h"
#include "lockstep.h"
#include "train/random_search.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S, MOST = 64 };

static struct ls_error err;

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

/* --- what is drawn --- */

static float *draw(const struct ls_net *net, const char *how, uint64_t seed, uint64_t trial)
{
    struct ls_init init;
    float *w = malloc((size_t)net->n_floats * sizeof *w);
    cr_assert(w && ls_init_parse(&init, how, &err) == LS_OK);
    ls_net_draw(net, &init, seed, trial, w);
    return w;
}

static int share_a_block(const float *a, const float *b, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i + 4 <= n; i += 4)
        for (ptrdiff_t j = 0; j + 4 <= n; j += 4)
            if (memcmp(a + i, b + j, 4 * sizeof *a) == 0)
                return 1;
    return 0;
}

Test(random_search, trials_are_keyed_and_trial_0_is_training_s)
{
    struct ls_net net;
    struct ls_init init;
    cr_assert_eq(ls_net_create(&net, "dense 8, relu, dense 8", ls_shape_of(1, (const ptrdiff_t[]){8}), &err),
                 LS_OK);
    float *first = malloc((size_t)net.n_floats * sizeof *first);
    cr_assert_eq(ls_init_parse(&init, "normal=1", &err), LS_OK);
    ls_net_initialise(&net, &init, 7, first);
    static const uint64_t trials[] = {0, 1, 2, 255, 256, 65536, 999999999};
    enum { N = sizeof trials / sizeof trials[0] };
    float *w[N];
    const size_t bytes = (size_t)net.n_floats * sizeof **w;
    for (int i = 0; i < N; i++)
        w[i] = draw(&net, "normal=1", 7, trials[i]);
    cr_assert_eq(memcmp(first, w[0], bytes), 0, "trial 0 is not what training starts from");
    const struct ls_parameter *a = &net.tensors[0], *b = &net.tensors[2];
    for (int i = 0; i < N; i++) {
        float *again = draw(&net, "normal=1", 7, trials[i]), *other = draw(&net, "normal=1", 8, trials[i]);
        cr_assert_eq(memcmp(again, w[i], bytes), 0);
        cr_assert(!share_a_block(w[i] + a->offset, other + a->offset, a->count), "two seeds share numbers");
        cr_assert(!share_a_block(w[i] + a->offset, w[i] + b->offset, a->count), "two tensors share numbers");
        for (int j = 0; j < i; j++)
            cr_assert(!share_a_block(w[i] + a->offset, w[j] + a->offset, a->count) &&
                          !share_a_block(w[i] + a->offset, w[j] + b->offset, a->count),
                      "trials %d and %d share numbers", i, j);
        free(again);
        free(other);
    }
    for (int i = 0; i < N; i++)
        free(w[i]);
    free(first);
    ls_net_release(&net);
}

/* --- the search --- */

struct seen {
    int64_t n, best;
    float loss[MOST];
};

static enum ls_code see(void *context, int64_t trial, const struct ls_evaluation *train, int is_best,
                        struct ls_error *error)
{
    (void)error;
    struct seen *seen = context;
    cr_assert(trial == seen->n && trial < MOST);
    seen->loss[seen->n++] = train->loss;
    seen->best = is_best ? trial : seen->best;
    return LS_OK;
}

/* L(w) = mean of (w x - y)^2 in binary64, at the weight that the trial drew. */
Test(random_search, the_best_is_the_least_loss_of_all)
{
    struct ls_data data;
    struct ls_net net;
    struct ls_comm *comm = NULL;
    struct seen seen = {.n = 0};
    struct ls_search_result result;
    struct ls_search_config config = {
        .loss = {.kind = LS_LOSS_SQUARED}, .microbatch = 2, .trials = 40, .seed = 5};
    cr_assert(ls_init_parse(&config.init, "normal=2", &err) == LS_OK &&
              ls_comm_create_solo(&comm, &err) == LS_OK);
    cr_assert_eq(ls_data_open(&data, "inline:1=2;2=3.5;-1=-2;0.5=1;3=7", "inline:1=2;1=3", &err), LS_OK);
    cr_assert_eq(ls_net_create(&net, "dense 1 nobias", ls_shape_of(1, data.train.dims), &err), LS_OK);
    float *w = draw(&net, "normal=2", 5, 0);
    const struct ls_search_observer observer = {.context = &seen, .on_trial = see};
    cr_assert_eq(
        ls_random_search(&config, &net, ls_ops_parallel(NULL), comm, &data, w, &observer, &result, &err),
        LS_OK, "%s", err.text);
    cr_assert_eq(seen.n, 40);
    int64_t best = 0;
    for (int64_t t = 0; t < 40; t++) {
        float *tried = draw(&net, "normal=2", 5, (uint64_t)t);
        double loss = 0;
        for (int i = 0; i < 5; i++)
            loss +=
                pow((double)tried[0] * (double)data.train.numbers[i] - (double)data.train.values[i], 2) / 5;
        cr_assert(fabs(loss - (double)seen.loss[t]) < 1e-5 * loss, "trial %lld: %g, not %g", (long long)t,
                  (double)seen.loss[t], loss);
        best = seen.loss[t] < seen.loss[best] ? t : best;
        free(tried);
    }
    float *expected = draw(&net, "normal=2", 5, (uint64_t)best);
    cr_assert(best > 0 && result.best_trial == best && seen.best == best && w[0] == expected[0] &&
                  result.train.loss == seen.loss[best] && result.test.n_samples == 2,
              "trial %lld, expected %lld", (long long)result.best_trial, (long long)best);
    free(expected);
    free(w);
    ls_net_release(&net);
    ls_data_release(&data);
    ls_comm_destroy(&comm);
    cr_assert_eq(ls_memory_balance(), 0);
}

/* --- the program --- */

static double number_behind(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    cr_assert_not_null(at, "no '%s' in %s", key, text);
    return strtod(at + strlen(key), NULL);
}

#define SEARCH "train --optimizer random-search --net 'dense 12, relu, dense 10' "

Test(random_search, what_is_printed_logged_and_saved, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, SEARCH "--trials 30 --save %s/model --log %s/log", folder.path, folder.path);
    check_status(o, 0, "search");
    const struct hash_text hash = last_hash(o->out);
    cr_assert(strstr(o->out, "random search, the best of 30 random weights") && !strstr(o->out, "\nbatch ") &&
                  strstr(o->out, "the best so far\n") && strstr(o->out, "saved the model of trial "),
              "%s", o->out);
    size_t n;
    char *log = read_file(in_folder(&folder, "log").path, &n);
    cr_assert_eq(lines_beginning(log, "{\"event\":\"trial\""), 30);
    cr_assert(strstr(log, "\"optimizer\":\"random-search\",\"trials\":\"30\"") && strstr(log, hash.text),
              "%s", log);
    const int best = (int)number_behind(log, "\"best_trial\":");
    float least = INFINITY;
    int at = -1;
    const char *line = log;
    for (int t = 0; t < 30; t++) {
        line = strstr(line, "{\"event\":\"trial\"") + 1;
        const float loss = (float)number_behind(line, "\"loss\":");
        if (loss < least) {
            least = loss;
            at = t;
        }
    }
    cr_assert(at == best && (float)number_behind(strstr(log, "{\"event\":\"epoch\""), "\"loss\":") == least,
              "best trial %d, the least loss is that of trial %d", best, at);
    free(log);
    o = lockstep(1, "info %s/model", folder.path);
    cr_assert(strstr(o->out, hash.text) && strstr(o->out, "  optimizer          random-search\n") &&
                  strstr(o->out, "  trials             30\n") &&
                  (int)number_behind(o->out, "  best_trial  ") == best && !strstr(o->out, "learning_rate"),
              "%s", o->out);
    o = lockstep(1, "eval %s/model --part train", folder.path);
    cr_assert_eq((float)number_behind(o->out, "loss "), least, "%s", o->out);
    folder_destroy(&folder);
}

Test(random_search, one_trial_is_where_training_starts, .timeout = LIMIT_S)
{
    const struct ls_outcome *o = lockstep(1, SEARCH "--trials 1 --seed 4 --quiet");
    check_status(o, 0, "search");
    const struct hash_text hash = last_hash(o->out);
    check_status(o = lockstep(1, "train --net 'dense 12, relu, dense 10' --lr 0 --epochs 1 --seed 4 --quiet"),
                 0, "train");
    cr_assert(*hash.text, "no hash");
    cr_assert_str_eq(last_hash(o->out).text, hash.text);
}

/* A model that was trained is trial 0, and random weights are no match for it. */
Test(random_search, a_saved_model_is_trial_0, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, "train --net 'dense 12, relu, dense 10' --epochs 3 --quiet --save %s/model", folder.path);
    check_status(o, 0, "train");
    const struct hash_text hash = last_hash(o->out);
    check_status(o = lockstep(1, SEARCH "--trials 20 --quiet --load %s/model", folder.path), 0, "search");
    cr_assert_str_eq(last_hash(o->out).text, hash.text);
    folder_destroy(&folder);
}

Test(random_search, the_same_bits_however_it_is_spread, .timeout = LIMIT_S)
{
    static const struct {
        int ranks;
        const char *before, *options;
    } ways[] = {{1, "", "--serial"},
                {1, "", "--threads 3"},
                {1, "LOCKSTEP_ISA=portable", ""},
                {1, "LOCKSTEP_ISA=avx2", ""},
                {3, "", ""}};
    const struct folder folder = folder_create();
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (ways[i].ranks > 1 && !LS_WITH_MPI)
            continue;
        const struct ls_outcome *o = lockstep_after(
            ways[i].ranks, ways[i].before, SEARCH "--trials 25 --microbatch 24 --quiet %s --log %s/%zu",
            ways[i].options, folder.path, i);
        if (o->status == 2 && strstr(o->err, "LOCKSTEP_ISA"))
            continue; /* not on this machine */
        check_status(o, 0, ways[i].options);
        if (i > 0)
            check_status(lockstep(1, "verify %s/0 %s/%zu", folder.path, folder.path, i), 0, ways[i].before);
    }
    size_t n;
    char *serial = read_file(in_folder(&folder, "0").path, &n);
    char *other = read_file(in_folder(&folder, LS_WITH_MPI ? "4" : "1").path, &n);
    const char *a = strstr(serial, "{\"event\":\"trial\""), *b = strstr(other, "{\"event\":\"trial\"");
    const size_t length = (size_t)(strstr(a, "{\"event\":\"epoch\"") - a);
    cr_assert_eq(strncmp(a, b, length), 0, "the trials' lines differ");
    free(serial);
    free(other);
    folder_destroy(&folder);
}

Test(random_search, no_finite_loss_is_a_failure, .timeout = LIMIT_S)
{
    const struct folder folder = folder_create();
    const struct ls_outcome *o =
        lockstep(1, SEARCH "--init normal=1e30 --trials 3 --quiet --save %s/model", folder.path);
    check_status(o, 4, "search");
    cr_assert(strstr(o->err, "no loss of the 3 trials is finite"), "%s", o->err);
    cr_assert_neq(access(in_folder(&folder, "model").path, F_OK), 0);
    folder_destroy(&folder);
}
