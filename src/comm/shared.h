/* Vectors of all ranks of a host in memory that each of them sees, and the tree's sum over them: no messages,
 * no copies.
 *
 * Every rank has a segment: a board, on which it posts what it has done, then its vectors; the first rank's
 * also has the sum.  A rank posts that its roots are finished, waits until the others of the host have posted
 * theirs, and adds up its slice of the elements straight out of everybody's vectors, in the tree's order.
 * When there are other hosts, the tree goes on over messages: rank i of a host with rank i of each other
 * host, for the i-th part of the elements ("lanes": as many as the host with the fewest ranks has).  Then
 * ranks wait for one another once more, and all read the one sum.  It stays until the next call: no rank can
 * come back here before all have left the old one alone.
 *
 * Written against pointers and a way to wait, so that tests run it with ranks that are threads. */
#ifndef LS_COMM_SHARED_H
#define LS_COMM_SHARED_H

#include <stdatomic.h>

#include "comm/merge.h"
#include "comm/tree_allreduce.h"

/* What a rank posts: the number of the call up to which it has come. */
struct ls_board {
    _Alignas(128) _Atomic uint64_t ready;  /* its roots are there */
    _Alignas(128) _Atomic uint64_t merged; /* its slice of the host's roots is there */
    _Alignas(128) _Atomic uint64_t done;   /* its part of the sum is there */
    int32_t n_roots, roots[LS_MAX_ROOTS];  /* which vectors; written before `ready` */
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
    struct ls_board **boards; /* (size); vectors follow each */
    float *sum;
    struct ls_reducer *across; /* over the hosts, for this rank's lane; NULL: there is none */
    /* Returns when *flag has reached `value`; for ranks that spun in vain. */
    void (*wait)(void *self, const _Atomic uint64_t *flag, uint64_t value);
    void *self;
    int n_spins; /* before that */
    uint64_t n_calls;
    int64_t n_leaves; /* that merge is planned for */
    struct ls_merge merge;
    float **roots;  /* (merge.most_roots): of the call at hand */
    float *scratch; /* of each thread */
    ptrdiff_t scratch_n;
};

/* Bytes of the segment of a rank with so many vectors.  n_floats: of a vector. */
size_t ls_shared_bytes(int n_vectors, ptrdiff_t n_floats, int is_first);

/* Local.  The caller has set place, across, wait, self and n_spins.  *shared may be released also after
 * failure. */
enum ls_code ls_shared_init(struct ls_shared *shared, ptrdiff_t n_floats, struct ls_error *err);

/* Local.  Where the segments of the host's ranks are; they stay the caller's.  Boards are to be zeroed before
 * anybody reduces. */
void ls_shared_attach(struct ls_shared *shared, void *const *segments);
void ls_shared_release(struct ls_shared *shared);

/* This rank's i-th vector. */
float *ls_shared_vector(const struct ls_shared *shared, int i);

/* Collective over all ranks.  As ls_comm_allreduce; roots are among this rank's vectors.  The sum, in memory
 * of the host: not to be written, and valid until the next call. */
const float *ls_shared_reduce(struct ls_shared *shared, int64_t n_leaves, ptrdiff_t n, float *const *roots,
                              int n_roots);

#endif
