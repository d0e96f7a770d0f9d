/* What comm.c, agree.c and sums.c need of a way to communicate; comm_mpi.c and comm_solo.c provide it.
 * Private to src/comm and its tests.
 *
 * None of these report errors: a backend that fails in the middle of a collective cannot reach the others any
 * more, so it prints which call failed on which rank and ends the job. */
#ifndef LS_COMM_COMM_BACKEND_H
#define LS_COMM_COMM_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "comm/comm.h"
#include "comm/tree_allreduce.h"

/* What is started: elements `range` of the roots, to be summed into the same elements of the vectors' sum; or
 * with cuts each rank's slice of them. */
struct ls_piece {
    struct ls_vectors *vectors;
    int64_t n_leaves;
    struct ls_range range;
    const ptrdiff_t *cuts;
    int n_roots;
    float *roots[LS_MAX_ROOTS];
};

struct ls_comm_ops {
    void (*destroy)(struct ls_comm *comm); /* frees what the backend owns, `comm` included */
    void (*barrier)(struct ls_comm *comm);
    void (*rest)(struct ls_comm *comm);
    /* *part of the first n ranks, 1 < n; NULL on the others.  Those agree.  NULL where there are no others.
     */
    enum ls_code (*create_part)(struct ls_comm *comm, int n, struct ls_comm **part, struct ls_error *err);
    void (*abort)(struct ls_comm *comm, int exit_status) __attribute__((noreturn));
    void (*reduce_tree)(struct ls_comm *comm, int direct, int64_t n_leaves, ptrdiff_t n, float *sum,
                        float *const *roots, int n_roots);
    /* Slices, with messages between all ranks. */
    void (*scatter)(struct ls_comm *comm, int64_t n_leaves, const ptrdiff_t *cuts, float *sum,
                    float *const *roots, int n_roots);
    void (*share)(struct ls_comm *comm, const ptrdiff_t *cuts, float *values);
    /* Over all ranks, elementwise, in place. */
    void (*add_floats)(struct ls_comm *comm, float *values, ptrdiff_t n);
    void (*add_counts)(struct ls_comm *comm, int64_t *values, int n);
    void (*take_largest)(struct ls_comm *comm, uint64_t *values, int n);
    void (*broadcast)(struct ls_comm *comm, void *bytes, size_t n, int from);
    /* Rank r's n bytes at all[r * n] on every rank. */
    void (*collect)(struct ls_comm *comm, const void *mine, size_t n, void *all);
    /* Rank r's sizes[r] bytes, in rank order, in `out` on rank 0; `sizes` and `out` are not used elsewhere.
     */
    void (*gather)(struct ls_comm *comm, const void *mine, size_t mine_bytes, void *out, const size_t *sizes);
    /* Other tuning of the tree, for tests and measurements. */
    enum ls_code (*tune)(struct ls_comm *comm, const struct ls_reduce_tuning *tuning, struct ls_error *err);
    void (*set_stall_timeout)(struct ls_comm *comm, double seconds);
    /* Whether all ranks call this within so many seconds. */
    int (*meet)(struct ls_comm *comm, double seconds);
    /* Collective; agrees.  Where ranks share memory, sets vectors->shared, and `at` to what all of them see;
     * else leaves both alone.  NULL: never.  n, n_floats and at are set. */
    enum ls_code (*vectors_create)(struct ls_comm *comm, struct ls_vectors *vectors, struct ls_error *err);
    void (*vectors_destroy)(struct ls_comm *comm, struct ls_vectors *vectors);
    /* Sums under way; all NULL where sums need nobody else. */
    enum ls_code (*flights_create)(struct ls_comm *comm, ptrdiff_t most_n, struct ls_error *err);
    int64_t (*start)(struct ls_comm *comm, const struct ls_piece *piece);
    void (*await)(struct ls_comm *comm, int64_t piece);
    int (*can_start)(struct ls_comm *comm);
    void (*progress)(struct ls_comm *comm);
    void (*finish)(struct ls_comm *comm);
    int (*travels)(const struct ls_comm *comm);
};

enum { LS_HOST_TEXT = 64 };

struct ls_comm {
    const struct ls_comm_ops *ops;
    int rank, size, ranks_on_host, n_hosts;
    size_t most_bytes; /* of one message of a gather or an MPI_Allreduce; tests make it small */
    char library[80];
    /* One for each rank; the last three are work space of collectives, taken now so that these cannot fail
     * later. */
    char (*hosts)[LS_HOST_TEXT];
    struct ls_hash *hashes;
    double *values;
    size_t *sizes;
};

/* Local.  The tables of comm->size ranks; released also when only some were taken. */
enum ls_code ls_comm_take_tables(struct ls_comm *comm, struct ls_error *err);
void ls_comm_release_tables(struct ls_comm *comm);

/* Local.  The host's name, cut to fit. */
void ls_comm_name_host(char host[LS_HOST_TEXT]);

/* Collective.  n_expected: how many ranks the launcher claims to have started, 0 if it does not say. */
enum ls_code ls_comm_create_mpi(struct ls_comm **comm, int n_expected, const char *claim,
                                struct ls_error *err);

/* Whether this process has called MPI_Init, and may still communicate. */
int ls_comm_mpi_is_running(void);

/* The name of the MPI library, started or not. */
void ls_comm_mpi_library(char *name, size_t size);

/* Collective.  Other tuning and message length; the bits stay the same. */
enum ls_code ls_comm_tune(struct ls_comm *comm, const struct ls_reduce_tuning *tuning, size_t most_bytes,
                          struct ls_error *err);

#endif
