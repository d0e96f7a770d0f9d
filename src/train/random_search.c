/* Owns the search.  See random_search.h. */
#include "train/random_search.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

struct search {
    const struct ls_search_config *config;
    const struct ls_net *net;
    struct ls_comm *comm;
    const struct ls_data *data;
    const struct ls_search_observer *observer;
    float *best, *tried; /* (net->n_floats) each */
    struct ls_engine engine;
    struct ls_search_result *result;
    struct ls_error *err;
    enum ls_code code; /* agreed */
};

static enum ls_code tell_observer(struct search *search, int64_t trial, const struct ls_evaluation *train,
                                  int is_best)
{
    struct ls_error *err = search->err;
    err->code = search->observer && search->observer->on_trial
                    ? search->observer->on_trial(search->observer->context, trial, train, is_best, err)
                    : LS_OK;
    return ls_comm_agree(search->comm, err);
}

static enum ls_code try_one(struct search *search, int64_t trial)
{
    struct ls_search_result *result = search->result;
    const float *w = search->best;
    struct ls_evaluation train;
    if (trial > 0) {
        ls_net_draw(search->net, &search->config->init, search->config->seed, (uint64_t)trial, search->tried);
        w = search->tried;
    }
    const enum ls_code code =
        ls_engine_evaluate(&search->engine, w, &search->data->train, &train, search->err);
    if (code != LS_OK)
        return code;
    const int is_best = isfinite(train.loss) && (result->best_trial < 0 || train.loss < result->train.loss);
    if (is_best) {
        result->best_trial = trial;
        result->train = train;
        if (trial > 0)
            memcpy(search->best, search->tried, (size_t)search->net->n_floats * sizeof *search->best);
    }
    return tell_observer(search, trial, &train, is_best);
}

static void try_all(void *context)
{
    struct search *search = context;
    struct ls_search_result *result = search->result;
    for (int64_t trial = 0; trial < search->config->trials && search->code == LS_OK; trial++)
        search->code = try_one(search, trial);
    if (search->code == LS_OK && result->best_trial < 0)
        search->code =
            ls_fail(search->err, LS_NONFINITE,
                    "no loss of the %lld trials is finite: the weights or the inputs are too large, or "
                    "not numbers",
                    (long long)search->config->trials);
    result->times = search->engine.times;
    if (search->code == LS_OK && ls_data_watched(search->data)->n_samples > 0)
        search->code = ls_engine_evaluate(&search->engine, search->best, ls_data_watched(search->data),
                                          &result->test, search->err);
}

enum ls_code ls_random_search(const struct ls_search_config *config, const struct ls_net *net,
                              const struct ls_ops *ops, struct ls_comm *comm, const struct ls_data *data,
                              float *parameters, const struct ls_search_observer *observer,
                              struct ls_search_result *result, struct ls_error *err)
{
    const int64_t n_train = data->train.n_samples, n_test = ls_data_watched(data)->n_samples;
    const struct ls_engine_plan plan = {.loss = config->loss,
                                        .allreduce = config->allreduce,
                                        .microbatch = config->microbatch,
                                        .n_evaluated = n_train > n_test ? n_train : n_test,
                                        .n_values = data->train.n_values};
    struct search search = {.config = config,
                            .net = net,
                            .comm = comm,
                            .data = data,
                            .observer = observer,
                            .best = parameters,
                            .result = result,
                            .err = err};
    *result = (struct ls_search_result){.best_trial = -1};
    search.tried = ls_alloc((size_t)net->n_floats, sizeof *search.tried, "parameters on trial", err);
    err->code = search.tried ? ls_engine_create(&search.engine, net, ops, comm, &plan, err) : LS_FAILED;
    search.code = ls_comm_agree(comm, err);
    if (search.code == LS_OK)
        ops->with_team(try_all, &search);
    ls_engine_release(&search.engine);
    ls_free(search.tried);
    return search.code;
}
