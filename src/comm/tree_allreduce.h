/* The tree of the contract finished over ranks, written against a wire of point-to-point messages.
 *
 * The wire is a parameter so that the very code that runs over MPI is also run by unit tests with P ranks as
 * threads of one process.  Three ways, chosen by arithmetic that all ranks share:
 *
 * - whole: perfect plans, few elements.  Groups of r ranks at distances 1, r, r^2 … send one another all that
 *   they have, and each adds it up: log_r(P) times the latency of a message (Ruefenacht, Bull, Booth 2017;
 *   r = 2 is recursive doubling).
 * - halving: perfect plans, many elements.  Recursive vector halving with distance doubling, then the way
 *   back (Rabenseifner 2004; Thakur, Rabenseifner, Gropp 2005): 2 n (P-1)/P elements sent by each rank.
 * - direct: any other plan.  Each rank owns a slice of the elements, gets every root of it, merges, and sends
 *   it round.
 *
 * A pair of ranks at distance 2^k in a perfect plan are the siblings of level k of the tree, so all three add
 * exactly what the tree adds. */
#ifndef LS_COMM_TREE_ALLREDUCE_H
#define LS_COMM_TREE_ALLREDUCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "comm/plan.h"

/* Messages of floats between ranks.  Sends and receives start at once and end in wait(slot); a slot carries
 * one message at a time and waiting for an idle slot returns at once.  Messages of one channel between two
 * ranks arrive in the order they were started.  The wire never reports an error: a rank that cannot
 * communicate cannot agree either, so its wire ends the job. */
struct ls_wire {
    int rank, size;
    void *self;
    void (*send)(void *self, int slot, const float *values, ptrdiff_t n, int to, int channel);
    void (*receive)(void *self, int slot, float *values, ptrdiff_t n, int from, int channel);
    void (*wait)(void *self, int slot);
};

/* What is chosen by measurement; the bits do not depend on any of it.  The same on every rank. */
struct ls_reduce_tuning {
    ptrdiff_t small_n;   /* up to this many elements: whole vectors rather than halves */
    int radix;           /* ranks that swap whole vectors: 2, 4, 8 or 16; 0: 2 */
    ptrdiff_t segment_n; /* elements of one message of the halving pipeline */
    int window;          /* messages in flight in that pipeline, at least 1 */
    ptrdiff_t granule_n; /* direct: slices are multiples of this */
    ptrdiff_t scratch_n; /* floats of scratch a rank; segments and window shrink to it.  More is taken where
                            whole vectors, or one element of every root that there can be, need it */
};

struct ls_reducer {
    struct ls_wire wire;
    struct ls_members members;
    struct ls_reduce_tuning tuning;
    int always_direct;   /* the direct exchange for any plan: to check the other ways */
    int flight;          /* of sums that go side by side, which: whose messages a fault strikes */
    struct ls_plan plan; /* of the last call: n_leaves changes at most twice an epoch */
    float *scratch;
    ptrdiff_t scratch_n;
    int borrows;            /* scratch is another's */
    struct ls_range *owned; /* (wire.size): who owns what in a round of the direct exchange */
};

/* What was measured best; see tree_allreduce.c.  between_hosts: when messages cross a network. */
struct ls_reduce_tuning ls_reduce_default_tuning(int between_hosts);

/* The same for sums of at most `most_n` elements that go on beside computing: what travels between two looks
 * of a rank is under way at once, and scratch is no more than they need. */
struct ls_reduce_tuning ls_reduce_flight_tuning(const struct ls_reduce_tuning *tuning, ptrdiff_t most_n);

/* Slots that a wire of `size` ranks must have. */
int ls_reduce_slots(int size, const struct ls_reduce_tuning *tuning);

/* Local.  first: which ranks' leaves the wire's members have between them (struct ls_members; kept), NULL
 * when they are the ranks.  Takes all memory that any later call needs, whatever its n, so an allreduce
 * cannot run out of memory on one rank only.  With `beside`, of as many members or more and the same tuning,
 * it uses that one's scratch: the two never work at the same time.  *reducer is the caller's storage; a
 * released or zeroed one may be released again.
 */
enum ls_code ls_reducer_init(struct ls_reducer *reducer, const struct ls_wire *wire, const int *first,
                             const struct ls_reduce_tuning *tuning, const struct ls_reducer *beside,
                             struct ls_error *err);
void ls_reducer_release(struct ls_reducer *reducer);

/* Collective over the wire; arguments as for ls_comm_allreduce. */
void ls_tree_allreduce(struct ls_reducer *reducer, int64_t n_leaves, ptrdiff_t n, float *sum,
                       float *const *roots, int n_roots);

/* Collective over the wire.  The first half of an allreduce of elements that each member owns a slice of
 * (struct ls_slices, plan.h): a member's own elements of `sum` get the tree's sum, at the same places as in
 * the roots.  The direct way: between pairs it sends as much as halving does, in more messages. */
void ls_tree_scatter(struct ls_reducer *reducer, int64_t n_leaves, const struct ls_slices *slices, float *sum,
                     float *const *roots, int n_roots);

/* Collective over the wire.  The other half: each member's slice of `values`, at the same place, to all. */
void ls_tree_share(struct ls_reducer *reducer, const struct ls_slices *slices, float *values);

#endif
