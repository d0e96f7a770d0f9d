/* Vectors of all ranks of a host in memory that each of them sees, and the tree's sum over them: no
 * messages.
 *
 * Every rank has a segment: a board, on which it posts what it has done, then its vectors; the first rank's
 * also has the sum.  A rank posts that its roots are finished, waits until the others of the host have posted
 * theirs, and adds up its slice of the elements straight out of everybody's vectors, in the tree's order.
 * When there are other hosts, the tree goes on over messages: rank i of a host with rank i of each other
 * host, for the i-th part of the elements ("lanes": as many as the host with the fewest ranks has).  Then
 * ranks wait for one another once more, and all read the one sum.  It stays until the next call: no rank can
 * come back here before all have left the old one alone.
 *
 * Few ranks rather write each its slice of the sum into a vector of every rank.  Those elements of the
 * vectors are nobody else's business any more, and their lines are in this core's cache, while lines of
 * another vector would have to come from the core that read them last.  A rank has then read and written as
 * many elements as there are; of one sum it writes its slice only, which pays when ranks are many.
 *
 * Several sums may be under way at once, each in a slot of its own, when the ranks start them in the same
 * order. Written against pointers and a way to wait, so that tests run it with ranks that are threads. */
#ifndef LS_COMM_SHARED_H
#define LS_COMM_SHARED_H

#include <stdatomic.h>

#include "comm/merge.h"
#include "comm/tree_allreduce.h"

/* The slot of a sum that is waited for, and those of sums under way. */
enum { LS_SHARED_WAITED = 0, LS_SHARED_SLOTS = 5 };

/* What a rank posts for a slot: the number of the call up to which it has come.  Flags are two cache lines
 * apart, since processors fetch lines in pairs; like every block of memory here a board starts at a line. */
struct ls_board {
    _Alignas(64) _Atomic uint64_t ready; /* its roots are there */
    char apart_1[120];
    _Atomic uint64_t merged; /* its slice of the host's roots is there */
    char apart_2[120];
    _Atomic uint64_t done; /* its part of the sum is there */
    char apart_3[120];
    int32_t n_roots, roots[LS_MAX_ROOTS]; /* which vectors; written before `ready` */
};

/* Where a rank stands. */
struct ls_place {
    int rank, size;          /* within the host */
    int first_rank, n_ranks; /* the host's first rank among all ranks; all ranks */
    int n_lanes;             /* 0: this host has all ranks */
    int even;                /* every host has n_lanes ranks */
};

struct ls_shared {
    struct ls_place place;
    ptrdiff_t n_floats;       /* from one vector to the next */
    struct ls_board **boards; /* (size): LS_SHARED_SLOTS of them, then vectors */
    float *sum;
    /* Returns when *flag has reached `value`; for ranks that spun in vain. */
    void (*wait)(void *self, const _Atomic uint64_t *flag, uint64_t value);
    void *self;
    int n_spins;      /* before that */
    int most_own;     /* ranks of a host that may each get the sum into their own memory */
    int64_t n_leaves; /* that merge is planned for */
    struct ls_merge merge;
    struct {
        uint64_t n_calls;
        float **roots;             /* (merge.most_roots): of the call at hand */
        struct ls_reducer *across; /* over the hosts, for this rank's lane; NULL: there is none */
    } slots[LS_SHARED_SLOTS];
    float *scratch; /* of each thread */
    ptrdiff_t scratch_n;
};

/* Bytes of the segment of a rank with so many vectors.  n_floats: of a vector. */
size_t ls_shared_bytes(int n_vectors, ptrdiff_t n_floats, int is_first);

/* Local.  The caller has set place, each slot's across, wait, self and n_spins.  *shared may be released also
 * after failure. */
enum ls_code ls_shared_init(struct ls_shared *shared, ptrdiff_t n_floats, struct ls_error *err);

/* Local.  Where the segments of the host's ranks are; they stay the caller's.  Boards are to be zeroed before
 * anybody reduces. */
void ls_shared_attach(struct ls_shared *shared, void *const *segments);
void ls_shared_release(struct ls_shared *shared);

/* This rank's i-th vector. */
float *ls_shared_vector(const struct ls_shared *shared, int i);

/* Collective over all ranks.  As ls_comm_allreduce, of elements [range.begin, range.end) of the vectors;
 * roots are among this rank's.  n_leaves must be the same for all that is under way.  The sum, in memory of
 * the host, counted from element 0: not to be written, and valid until the next call for those elements. */
const float *ls_shared_reduce(struct ls_shared *shared, int slot, int64_t n_leaves, struct ls_range range,
                              float *const *roots, int n_roots);

/* Collective over all ranks.  The same with a sum for each rank: in place of its first root, without roots of
 * its first vector, and its own to write. */
float *ls_shared_reduce_to_own(struct ls_shared *shared, int slot, int64_t n_leaves, struct ls_range range,
                               float *const *roots, int n_roots);

/* Local; the same on all ranks.  Whether that is to be had: on a host that has all ranks, at most most_own of
 * them, of a tree that has leaves. */
int ls_shared_can_own(const struct ls_shared *shared, int64_t n_leaves);

/* The same of elements [cuts[0], cuts[n_ranks]), of which rank r gets [cuts[r], cuts[r + 1]) alone.  That
 * slice of the sum is its to write, too. */
const float *ls_shared_scatter(struct ls_shared *shared, int slot, int64_t n_leaves, const ptrdiff_t *cuts,
                               float *const *roots, int n_roots);

/* Collective over all ranks.  Each rank's slice of `values`, which is its own memory, to all others; through
 * the sum, whose elements it overwrites: no rank may want these any more, but those of its own slice. */
void ls_shared_share(struct ls_shared *shared, int slot, const ptrdiff_t *cuts, float *values);

#endif
