#include "thread_wire.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum kind { IDLE, SEND, RECEIVE };

struct request {
    enum kind kind;
    int done;
    int rank, peer, channel;
    unsigned long order; /* when it was started */
    const float *from;
    float *to;
    ptrdiff_t n;
    struct request *match;
};

struct network {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum wire_mode mode;
    int n_ranks, n_slots;
    unsigned long started;
    struct request *requests; /* n_slots for each rank */
    void (*body)(const struct ls_wire *wire, void *arg);
    void *arg;
};

struct endpoint {
    struct network *network;
    int rank;
    pthread_t thread;
};

static struct request *slot_at(const struct network *net, int rank, int slot)
{
    assert(slot >= 0 && slot < net->n_slots);
    return &net->requests[rank * net->n_slots + slot];
}

static void copy_message(struct network *net, struct request *receive)
{
    struct request *send = receive->match;
    assert(send->n == receive->n);
    memcpy(receive->to, send->from, (size_t)send->n * sizeof *receive->to);
    send->done = receive->done = 1;
    pthread_cond_broadcast(&net->changed);
}

/* The earliest started request of the other side that fits. */
static void find_match(struct network *net, struct request *r)
{
    struct request *best = NULL;
    for (int slot = 0; slot < net->n_slots; slot++) {
        struct request *other = slot_at(net, r->peer, slot);
        if (other->kind == (r->kind == SEND ? RECEIVE : SEND) && !other->match && other->peer == r->rank &&
            other->channel == r->channel && (!best || other->order < best->order))
            best = other;
    }
    if (!best)
        return;
    r->match = best;
    best->match = r;
    pthread_cond_broadcast(&net->changed);
    if (net->mode == WIRE_EAGER)
        copy_message(net, r->kind == RECEIVE ? r : best);
}

static void start(struct endpoint *end, int slot, struct request request)
{
    struct network *net = end->network;
    pthread_mutex_lock(&net->mutex);
    struct request *r = slot_at(net, end->rank, slot);
    assert(r->kind == IDLE);
    *r = request;
    r->rank = end->rank;
    r->order = ++net->started;
    for (ptrdiff_t i = 0; r->kind == RECEIVE && i < r->n; i++)
        r->to[i] = NAN;
    find_match(net, r);
    pthread_mutex_unlock(&net->mutex);
}

static void send(void *self, int slot, const float *values, ptrdiff_t n, int to, int channel)
{
    assert(n > 0);
    start(self, slot, (struct request){.kind = SEND, .from = values, .n = n, .peer = to, .channel = channel});
}

static void receive(void *self, int slot, float *values, ptrdiff_t n, int from, int channel)
{
    assert(n > 0);
    start(self, slot,
          (struct request){.kind = RECEIVE, .to = values, .n = n, .peer = from, .channel = channel});
}

/* Whoever must wait lets its own matched receives go on meanwhile, as MPI does; the one that is waited for
 * last. */
static int progress(struct endpoint *end, const struct request *waited)
{
    struct network *net = end->network;
    for (int slot = net->n_slots - 1; slot >= 0; slot--) {
        struct request *r = slot_at(net, end->rank, slot);
        if (r->kind == RECEIVE && r->match && !r->done && r != waited) {
            copy_message(net, r);
            return 1;
        }
    }
    return 0;
}

static void finish(void *self, int slot)
{
    struct endpoint *end = self;
    struct network *net = end->network;
    pthread_mutex_lock(&net->mutex);
    struct request *r = slot_at(net, end->rank, slot);
    if (r->kind == RECEIVE && r->match && !r->done)
        copy_message(net, r);
    while (r->kind != IDLE && !r->done) {
        if (r->kind == RECEIVE && r->match)
            copy_message(net, r);
        else if (!progress(end, r))
            pthread_cond_wait(&net->changed, &net->mutex);
    }
    r->kind = IDLE;
    r->match = NULL;
    pthread_mutex_unlock(&net->mutex);
}

static void *run(void *arg)
{
    struct endpoint *end = arg;
    const struct ls_wire wire = {end->rank, end->network->n_ranks, end, send, receive, finish};
    end->network->body(&wire, end->network->arg);
    return NULL;
}

int run_ranks(int n_ranks, int n_slots, enum wire_mode mode,
              void (*body)(const struct ls_wire *wire, void *arg), void *arg)
{
    struct network net = {.mode = mode, .n_ranks = n_ranks, .n_slots = n_slots, .body = body, .arg = arg};
    pthread_mutex_init(&net.mutex, NULL);
    pthread_cond_init(&net.changed, NULL);
    net.requests = calloc((size_t)(n_ranks * n_slots), sizeof *net.requests);
    struct endpoint *ends = calloc((size_t)n_ranks, sizeof *ends);
    if (!net.requests || !ends)
        abort();
    for (int rank = 0; rank < n_ranks; rank++) {
        ends[rank] = (struct endpoint){.network = &net, .rank = rank};
        if (pthread_create(&ends[rank].thread, NULL, run, &ends[rank]) != 0)
            abort();
    }
    int left = 0;
    for (int rank = 0; rank < n_ranks; rank++)
        pthread_join(ends[rank].thread, NULL);
    for (int i = 0; i < n_ranks * n_slots; i++)
        left += net.requests[i].kind != IDLE;
    free(net.requests);
    free(ends);
    pthread_cond_destroy(&net.changed);
    pthread_mutex_destroy(&net.mutex);
    return left;
}
