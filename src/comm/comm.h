/* Communication: buffers and agreement, nothing about models.
 *
 * comm_mpi*.c are the only files that know MPI; comm_solo.c is one rank without it.  `make MPI=0` builds only
 * the latter, and a run that no mpirun started uses it too, so a laptop pays nothing for MPI_Init.  Every
 * function marked collective must be called by all ranks in the same order; functions that can fail on one
 * rank only end in agreement, so all ranks return the same code.  When MPI itself fails inside one of them,
 * that rank can agree on nothing any more: it prints a message that names the call and the rank, and ends the
 * job. */
#ifndef LS_COMM_COMM_H
#define LS_COMM_COMM_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "base/tree.h"

struct ls_comm;

enum ls_allreduce {
    LS_ALLREDUCE_TREE,        /* the contract's */
    LS_ALLREDUCE_MPI,         /* MPI_Allreduce of local sums, order unspecified: for comparison only */
    LS_ALLREDUCE_MESSAGES,    /* the contract's by messages even between ranks of one host */
    LS_ALLREDUCE_TREE_DIRECT, /* the contract's by other messages where it can be: to check the first */
};

/* Starts communication.  Collective over the job.  Uses MPI when the process was started by mpirun or srun
 * (their environment variables say so) or has already called MPI_Init, and this build has it; else one rank
 * alone.  Refused with LS_USAGE: a job of several ranks in a build without MPI, and a launcher whose number
 * of ranks is not what MPI sees (the mpirun of another MPI starts N separate ranks 0).  Calls MPI_Finalize in
 * the end only if it called MPI_Init.  *comm is the caller's, to be released by ls_comm_destroy (collective).
 */
enum ls_code ls_comm_create(struct ls_comm **comm, struct ls_error *err);
void ls_comm_destroy(struct ls_comm **comm);

/* One rank alone, whatever the environment says: for the serial oracle and for tests. */
enum ls_code ls_comm_create_solo(struct ls_comm **comm, struct ls_error *err);

/* Collective over `comm`; ends in agreement.  Communication of the first n of its ranks among themselves,
 * 1 <= n <= size: *part is that, NULL on the other ranks.  One rank is as of ls_comm_create_solo.  To be
 * released, by its ranks together, before `comm`. */
enum ls_code ls_comm_create_part(struct ls_comm *comm, int n, struct ls_comm **part, struct ls_error *err);

int ls_comm_rank(const struct ls_comm *comm);
int ls_comm_size(const struct ls_comm *comm);
const char *ls_comm_host(const struct ls_comm *comm);    /* this rank's host name */
int ls_comm_ranks_on_host(const struct ls_comm *comm);   /* how many ranks share this host */
int ls_comm_n_hosts(const struct ls_comm *comm);         /* as sums see them: ranks that share no memory */
const char *ls_comm_library(const struct ls_comm *comm); /* in use: "Open MPI v4.1.4", or "none" */

/* The MPI library that this build has, in use or not: "Open MPI v4.1.4", or "none" for `make MPI=0`.  Local.
 */
const char *ls_comm_library_built(void);

/* Local; the same on all ranks.  From now on a rank that lets others wait in a collective for so many
 * seconds, and does not answer their roll call either, ends the job: a message names it, status LS_FAILED.  A
 * rank answers while it waits for others itself, so the limit must be longer than any work between two
 * collectives. 0, as at the start: wait for ever. */
void ls_comm_set_stall_timeout(struct ls_comm *comm, double seconds);

/* Collective.  The worst code of all ranks, with its message, on every rank: the message of the lowest rank
 * that has the worst code, followed by " (rank R of P, on HOST)" unless every rank failed alike with the same
 * text.  err->code is this rank's own outcome on entry (LS_OK for none).  Returns the agreed code. */
enum ls_code ls_comm_agree(struct ls_comm *comm, struct ls_error *err);

/* Collective.  Finishes the tree of the contract over all ranks, elementwise over n floats.
 * Leaves are spread as ls_leaves_of_rank(n_leaves, size, rank) says.  This rank passes the sums of its
 * subtrees, in the order and number that ls_tree_roots(n_leaves, its range, ...) gives: roots[0..n_roots). On
 * return `sum` (n floats) holds tree(all leaves), the same bits on every rank; with no leaf anywhere, zeros.
 * roots[0] may be `sum` itself, else no overlap; all roots are scratch afterwards.  A rank without leaves
 * passes n_roots == 0.  LS_ALLREDUCE_TREE_DIRECT sends every root to the owner of a slice of the elements
 * even where the tree would be climbed by pairs of ranks: other messages, same bits.  LS_ALLREDUCE_MPI
 * instead adds the rank's roots in order and calls MPI_Allreduce(MPI_SUM). n and n_leaves must be the same on
 * every rank.  Allocates nothing: scratch of a fixed size is taken by ls_comm_create. */
enum ls_code ls_comm_allreduce(struct ls_comm *comm, enum ls_allreduce how, int64_t n_leaves, ptrdiff_t n,
                               float *sum, float *const *roots, int n_roots, struct ls_error *err);

/* Vectors of a rank whose tree sums the others want.  Where ranks share a host they lie in memory that all of
 * them see, and are added without a message or a copy; elsewhere this is ordinary memory. */
struct ls_vectors {
    int n;              /* may differ from rank to rank */
    ptrdiff_t n_floats; /* of each; the same on every rank */
    float **at;         /* (n), zeroed, 64-byte aligned */
    void *shared;       /* how the host's ranks share them; NULL: they do not */
};

/* Collective.  err->code is this rank's outcome of what came before (LS_OK for none): the first thing done is
 * to agree on it.  *vectors is the caller's storage, to be released by ls_comm_vectors_destroy, which is
 * local and accepts what failed, and zeroed storage. */
enum ls_code ls_comm_vectors_create(struct ls_comm *comm, int n, ptrdiff_t n_floats,
                                    struct ls_vectors *vectors, struct ls_error *err);
void ls_comm_vectors_destroy(struct ls_comm *comm, struct ls_vectors *vectors);

/* Collective.  ls_comm_allreduce of roots that are among vectors->at.  *sum is one of the vectors, this
 * rank's own, where nobody shares, or where a host has all ranks, which are two, and the tree has leaves;
 * else memory of the host: n floats to be read only, valid until the next call with the same vectors or their
 * release.  The vectors may be written again at once, but one that is the sum. */
enum ls_code ls_comm_allreduce_vectors(struct ls_comm *comm, enum ls_allreduce how,
                                       struct ls_vectors *vectors, int64_t n_leaves, ptrdiff_t n,
                                       float *const *roots, int n_roots, const float **sum,
                                       struct ls_error *err);

/* Collective.  The same of elements `range` alone, by the tree; only these of *sum are set.  Where vectors
 * are shared it is always memory of the host. */
void ls_comm_allreduce_range(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                             struct ls_range range, float *const *roots, int n_roots, const float **sum);

/* Slices of elements: rank r's are [cuts[r], cuts[r + 1]); ascending, the same on every rank. */

/* Collective.  The first half of an allreduce of elements [cuts[0], cuts[ranks]) of the vectors: *sum is as
 * of ls_comm_allreduce_vectors at the elements of this rank's slice, and undefined at the others'. */
void ls_comm_scatter_vectors(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                             const ptrdiff_t *cuts, float *const *roots, int n_roots, const float **sum);

/* Collective.  The other half, of other numbers: each rank's slice of `values`, its own memory, to all
 * others. Where ranks share the vectors, it goes through the sum: it is lost in those elements. */
void ls_comm_share_slices(struct ls_comm *comm, struct ls_vectors *vectors, const ptrdiff_t *cuts,
                          float *values);

/* Collective.  Each rank's slice, `mine` pointing at its first element, to rank 0: [cuts[0], cuts[ranks]) of
 * `whole`, which may be NULL elsewhere. */
void ls_comm_collect_slices(struct ls_comm *comm, const ptrdiff_t *cuts, const float *mine, float *whole);

/* Sums under way while this rank does other work: an allreduce of the same vectors in pieces.  At most so
 * many are under way; another one waits for the oldest. */
enum { LS_COMM_FLIGHTS = 4 };

/* Local; none may be under way.  Takes the memory of sums under way of at most most_n elements, the same on
 * all ranks; it stays, and later calls for as many or fewer find it there. */
enum ls_code ls_comm_flights_create(struct ls_comm *comm, ptrdiff_t most_n, struct ls_error *err);

/* Collective: all ranks start the same pieces in the same order, each when its own elements of them are
 * there, and finish.  Nothing is written to elements [range.begin, range.end) of the roots in between.  Other
 * collectives may come in between.  Returns the piece's number. */
int64_t ls_comm_start(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                      struct ls_range range, float *const *roots, int n_roots);

/* The same as ls_comm_scatter_vectors, of which range is [cuts[0], cuts[ranks]); cuts stay the caller's until
 * the piece is in. */
int64_t ls_comm_start_scatter(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves,
                              const ptrdiff_t *cuts, float *const *roots, int n_roots);

/* Local.  Whether a start would not have to wait.  Who starts a piece between other collectives must ask: a
 * rank that waits here may be waited for there. */
int ls_comm_can_start(struct ls_comm *comm);

/* Local.  Lets what is under way go on as far as it can without waiting.  Whoever computes for long calls
 * this now and then; waiting calls do it themselves. */
void ls_comm_progress(struct ls_comm *comm);

/* Collective.  Waits for one piece, while others go on.  Returns the sum, in which its elements are as of
 * ls_comm_allreduce_vectors. */
const float *ls_comm_await(struct ls_comm *comm, int64_t piece, struct ls_vectors *vectors,
                           float *const *roots, int n_roots);

/* Collective.  Waits for all that was started; then *sum is as of ls_comm_allreduce_vectors. */
void ls_comm_finish(struct ls_comm *comm, struct ls_vectors *vectors, float *const *roots, int n_roots,
                    const float **sum);

/* Local; the same on all ranks.  Whether a sum of vectors takes messages, so that starting it early can pay.
 */
int ls_comm_travels(const struct ls_comm *comm);

/* Collective.  Exact sums of counts, in place. */
enum ls_code ls_comm_sum_counts(struct ls_comm *comm, int64_t *counts, int n, struct ls_error *err);

/* Collective.  Smallest, mean and largest of one double a rank (timings; never a result). */
struct ls_spread {
    double min, mean, max;
};
enum ls_code ls_comm_spread(struct ls_comm *comm, double value, struct ls_spread *spread,
                            struct ls_error *err);

/* Collective.  LS_OK when every rank passes the same hash; else LS_REPLICA on every rank, with a message that
 * names `what`, the odd ranks and their hosts, and both hashes.  The majority is taken to be right; without a
 * majority rank 0 is. */
enum ls_code ls_comm_compare_hashes(struct ls_comm *comm, struct ls_hash hash, const char *what,
                                    struct ls_error *err);

/* Collective.  Whose hash to trust: the lowest rank with the hash that most ranks have, without a majority
 * rank 0.  *odd is the lowest rank with another hash, -1 when there is none. */
int ls_comm_vote(struct ls_comm *comm, struct ls_hash hash, int *odd);

/* Collective.  The largest of all ranks' values, elementwise, in place. */
void ls_comm_take_largest(struct ls_comm *comm, uint64_t *values, int n);

/* Collective.  `from`'s n bytes on every rank. */
void ls_comm_broadcast(struct ls_comm *comm, void *bytes, size_t n, int from);

const char *ls_comm_host_of(const struct ls_comm *comm, int rank);

/* Collective.  Rank r's `bytes` (the same count on every rank) land at out[r*bytes] on rank 0; out may be
 * NULL elsewhere. */
enum ls_code ls_comm_gather(struct ls_comm *comm, const void *mine, size_t bytes, void *out,
                            struct ls_error *err);

/* Variable sizes: rank r's mine_bytes land, in rank order, on rank 0 in a block of ls_alloc that the caller
 * frees (NULL on other ranks); sizes[r] tells each length (array of ls_comm_size, filled on rank 0, not used
 * elsewhere).  Collective; agrees. */
enum ls_code ls_comm_gather_variable(struct ls_comm *comm, const void *mine, size_t mine_bytes, void **out,
                                     size_t *sizes, struct ls_error *err);

enum ls_code ls_comm_barrier(struct ls_comm *comm, struct ls_error *err);

/* Collective.  A barrier for ranks that have nothing to do while others work on the same cores: whoever waits
 * sleeps, and looks some 1,000 times a second. */
void ls_comm_rest(struct ls_comm *comm);

/* Collective, if all is well: for a rank that is about to act on numbers which should be the same on all
 * ranks. When not all ranks come here within so many seconds, they have seen others: prints `what` with rank
 * and host, and ends the job with the status of LS_REPLICA. */
void ls_comm_meet(struct ls_comm *comm, double seconds, const char *what);

/* Ends the job because of `what`, which the other ranks cannot know; prints it with rank and host. */
void ls_comm_disagree(struct ls_comm *comm, const char *what) __attribute__((noreturn));

/* Ends the whole job at once, from any rank: for a rank that cannot reach agreement.  Prints nothing.  NULL
 * (no communication yet) ends this process.  Does not return. */
void ls_comm_abort(struct ls_comm *comm, int exit_status) __attribute__((noreturn));

#endif
