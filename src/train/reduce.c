/* Owns how a step's gradients become their sum over all ranks: as one, or in buckets that leave early; to
 * all, or to each rank its slices.  See step_parts.h. */
#include <assert.h>

#include "train/step_parts.h"

int ls_step_is_watched(const struct ls_engine *engine)
{
    return ls_probe_watches(engine->probe, engine->row_offset);
}

enum { REQUEST_UNIT = 3 };

/* Whether every rank has leaves, and so a root for what it asks for. */
static int with_all(const struct ls_engine *engine)
{
    const int size = ls_comm_size(engine->comm);
    const struct ls_range last = ls_leaves_of_rank(engine->gradients.n_leaves, size, size - 1);
    return last.begin < last.end;
}

int ls_step_goes_in_buckets(const struct ls_engine *engine)
{
    return engine->buckets.n > 0 && !ls_step_is_watched(engine);
}

/* Whether each rank gets its slices of the batch at hand alone. */
static int in_slices(const struct ls_engine *engine)
{
    return engine->shards.n > 0 && engine->allreduce == LS_ALLREDUCE_TREE && !ls_step_is_watched(engine);
}

/* Pieces that go before the buckets: the loss is the first bucket's, unless nobody gets all of that. */
static int n_before(const struct ls_engine *engine)
{
    return in_slices(engine);
}

/* Piece i: the loss, buckets, and the request by itself: what ends before it left long ago. */
static int64_t start_piece(struct ls_engine *engine, int i)
{
    struct ls_roots *roots = &engine->gradients;
    const ptrdiff_t loss = engine->net->n_floats;
    const int bucket = i - n_before(engine);
    struct ls_range range = {loss, loss + 1};
    if (bucket == engine->buckets.n)
        range = (struct ls_range){loss + 1, loss + 2};
    else if (bucket >= 0 && in_slices(engine))
        return ls_comm_start_scatter(engine->comm, &engine->vectors, roots->n_leaves,
                                     ls_shards_cuts(&engine->shards, bucket), roots->slots, roots->n);
    else if (bucket >= 0)
        range = ls_buckets_range(&engine->buckets, bucket, loss + 1);
    return ls_comm_start(engine->comm, &engine->vectors, roots->n_leaves, range, roots->slots, roots->n);
}

/* Up to the n-th, as far as they need not wait: in the middle of a pass somebody may wait for its other sums.
 */
static void start_pieces(struct ls_engine *engine, int n)
{
    struct ls_buckets *buckets = &engine->buckets;
    for (; buckets->n_started < n && ls_comm_can_start(engine->comm); buckets->n_started++) {
        const int64_t piece = start_piece(engine, buckets->n_started);
        buckets->first = buckets->n_started == 0 ? piece : buckets->first;
    }
}

/* Of bucket i, what this rank gets. */
static struct ls_range received(const struct ls_engine *engine, int i)
{
    return in_slices(engine) ? engine->shards.mine[i]
                             : ls_buckets_range(&engine->buckets, i, engine->net->n_floats + 1);
}

/* Backward is over: the rest, n in all.  Who wants to works with what is in while the others travel. */
static void finish_pieces(struct ls_engine *engine, int n, const float **sum)
{
    struct ls_buckets *buckets = &engine->buckets;
    struct ls_roots *roots = &engine->gradients;
    for (int i = 0; i < n; i++) {
        double since = ls_now_s();
        const int bucket = i - n_before(engine);
        start_pieces(engine, n);
        assert(i < buckets->n_started); /* all before it are in, so it had a place */
        *sum = ls_comm_await(engine->comm, buckets->first + i, &engine->vectors, roots->slots, roots->n);
        start_pieces(engine, n);
        ls_step_charge(&engine->times.allreduce_s, &since);
        if (engine->bucket_in && bucket >= 0 && bucket < buckets->n)
            engine->bucket_in(engine->bucket_context, received(engine, bucket), *sum);
    }
}

void ls_step_see_to_pieces(void *context)
{
    struct ls_engine *engine = context;
    const double since = ls_now_s();
    ls_comm_progress(engine->comm);
    start_pieces(engine, engine->buckets.n_complete);
    const double took = ls_now_s() - since;
    engine->times.allreduce_s += took;
    engine->times.compute_s -= took; /* the pass around it counts it in */
}

void ls_step_send_layer(void *context, int layer)
{
    struct ls_engine *engine = context;
    engine->buckets.n_complete = n_before(engine) + ls_buckets_complete(&engine->buckets, engine->net, layer);
    ls_step_see_to_pieces(engine);
}

/* All at once, n floats of each slot. */
static enum ls_code reduce_slots(struct ls_engine *engine, ptrdiff_t n, const float **sum,
                                 struct ls_error *err)
{
    double since = ls_now_s();
    struct ls_roots *roots = &engine->gradients;
    const int check = ls_step_is_watched(engine) && engine->allreduce != LS_ALLREDUCE_MPI;
    if (check)
        ls_probe_keep_roots(engine->probe, roots, n);
    enum ls_code code = ls_comm_allreduce_vectors(engine->comm, engine->allreduce, &engine->vectors,
                                                  roots->n_leaves, n, roots->slots, roots->n, sum, err);
    if (check && code == LS_OK)
        code = ls_probe_check_sum(engine->probe, engine->comm, engine->net, engine->step + 1, n, *sum, err);
    ls_step_charge(&engine->times.allreduce_s, &since);
    return code;
}

/* This rank's slice, and of what is behind the gradient everything. */
static void reduce_in_slices(struct ls_engine *engine, ptrdiff_t n, const float **sum)
{
    double since = ls_now_s();
    struct ls_roots *roots = &engine->gradients;
    ls_comm_scatter_vectors(engine->comm, &engine->vectors, roots->n_leaves,
                            ls_shards_cuts(&engine->shards, 0), roots->slots, roots->n, sum);
    ls_comm_allreduce_range(engine->comm, &engine->vectors, roots->n_leaves,
                            (struct ls_range){engine->net->n_floats, n}, roots->slots, roots->n, sum);
    ls_step_charge(&engine->times.allreduce_s, &since);
}

static int64_t read_request(float sum)
{
    const int whole = sum >= 0.0f && sum < 0x1p24f && sum == (float)(int64_t)sum;
    return whole && (int64_t)sum % REQUEST_UNIT == 0 ? (int64_t)sum / REQUEST_UNIT : -1;
}

/* Gradients and loss, and behind them the sum of the ranks' requests, so that to ask for something takes no
 * message of its own: whole numbers below 2^24 add exactly in any order.  They travel as multiples of 3,
 * which no 0 becomes when one of its bits flips.  A rank without leaves has no root for its request; then
 * there is a message for them. */
enum ls_code ls_step_reduce_gradients(struct ls_engine *engine, const float **sum, struct ls_error *err)
{
    struct ls_roots *roots = &engine->gradients;
    const ptrdiff_t at = engine->net->n_floats + 1;
    const int all = with_all(engine);
    const int64_t request = engine->request ? engine->request(engine->asked) : 0;
    enum ls_code code = LS_OK;
    for (int i = 0; i < roots->n; i++)
        roots->slots[i][at] = i == 0 ? (float)(REQUEST_UNIT * request) : 0.0f;
    if (ls_step_goes_in_buckets(engine))
        finish_pieces(engine, n_before(engine) + engine->buckets.n + all, sum);
    else if (in_slices(engine))
        reduce_in_slices(engine, at + all, sum);
    else
        code = reduce_slots(engine, at + all, sum, err);
    engine->requested = all ? read_request((*sum)[at]) : request;
    if (code == LS_OK && !all)
        code = ls_comm_sum_counts(engine->comm, &engine->requested, 1, err);
    return code;
}
