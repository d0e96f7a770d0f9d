/* What comm.h promises, on real ranks. */
#include "cases.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/comm_backend.h"
#include "leaves.h"

static int check_sum(struct ls_comm *comm, int64_t n_leaves, ptrdiff_t n)
{
    struct rank_leaves mine = rank_leaves_create(n_leaves, ls_comm_size(comm), ls_comm_rank(comm), n,
                                                 (int)(n_leaves + ls_comm_rank(comm)) % 2);
    int failed = 0;
    ls_comm_allreduce(comm, LS_ALLREDUCE_TREE, n_leaves, n, mine.sum, mine.roots, mine.n_roots, NULL);
    const ptrdiff_t wrong = first_wrong(n_leaves, n, mine.sum);
    if (wrong < n)
        failed = complain(comm, "%lld leaves, %td elements: element %td is %a, not %a", (long long)n_leaves,
                          n, wrong, (double)mine.sum[wrong], (double)leaf_sum(n_leaves, wrong));
    rank_leaves_release(&mine);
    return failed;
}

static int check_sums(struct ls_comm *comm, int64_t n_leaves, ptrdiff_t n, ptrdiff_t more_n)
{
    int failed = 0;
    for (; !failed && n <= more_n; n++)
        failed = check_sum(comm, n_leaves, n);
    return failed;
}

/* The tree's bits for many leaves and elements, on both sides of every choice that the default tuning makes.
 */
static int run_allreduce(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const int64_t p = ls_comm_size(comm);
    int failed = 0;
    for (int64_t n_leaves = 0; !failed && n_leaves <= 40; n_leaves++)
        failed = check_sums(comm, n_leaves, 0, 2) || check_sum(comm, n_leaves, 7) ||
                 check_sum(comm, n_leaves, 1000);
    const int64_t several[] = {1, 2, p - 1, p, 2 * p, 4 * p, 4 * p - 1, 11, 1023};
    for (size_t i = 0; !failed && i < sizeof several / sizeof *several; i++)
        failed = check_sum(comm, several[i], several[i] > 64 ? 4099 : 100003);
    return failed || check_sum(comm, p, 300007) || check_sum(comm, p + 1, 300007);
}

/* Roots in vectors that ranks of a host share, taken in changing order, and written again as soon as they may
 * be. */
static int check_vectors(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves, ptrdiff_t n)
{
    const int rank = ls_comm_rank(comm);
    struct rank_leaves mine = rank_leaves_create(n_leaves, ls_comm_size(comm), rank, n, 0);
    float *roots[LS_MAX_ROOTS];
    for (int i = 0; i < mine.n_roots; i++) {
        roots[i] = vectors->at[(i + rank + (int)n_leaves) % vectors->n];
        memcpy(roots[i], mine.roots[i], (size_t)n * sizeof(float));
    }
    const float *sum = NULL;
    ls_comm_allreduce_vectors(comm, LS_ALLREDUCE_TREE, vectors, n_leaves, n, roots, mine.n_roots, &sum, NULL);
    for (int i = 0; i < mine.n_roots && vectors->shared; i++)
        if (roots[i] != sum)
            memset(roots[i], 0xff, (size_t)n * sizeof(float));
    const ptrdiff_t wrong = first_wrong(n_leaves, n, sum);
    const int failed = wrong < n && complain(comm, "%lld leaves, %td elements: element %td is %a, not %a",
                                             (long long)n_leaves, n, wrong, (double)sum[wrong],
                                             (double)leaf_sum(n_leaves, wrong));
    rank_leaves_release(&mine);
    return failed;
}

/* argument: whether the vectors must be shared */
static int run_allreduce_vectors(struct ls_comm *comm, int n_args, char **args)
{
    enum { MOST_N = 40000 };
    static const ptrdiff_t ns[] = {0, 1, 33, 1000, MOST_N};
    struct ls_vectors vectors;
    struct ls_error err = {.code = LS_OK};
    int failed = 0;
    for (int round = 0; !failed && round < 2; round++) { /* memory that is given back can be had again */
        if (ls_comm_vectors_create(comm, 12 + ls_comm_rank(comm), MOST_N, &vectors, &err) != LS_OK)
            return complain(comm, "%s", err.text);
        if (n_args > 0 && (vectors.shared != NULL) != atoi(args[0]))
            failed = complain(comm, "vectors are %s", vectors.shared ? "shared" : "private");
        for (int64_t n_leaves = 0; !failed && n_leaves <= 40; n_leaves++)
            for (size_t i = 0; !failed && i < sizeof ns / sizeof *ns; i++)
                failed =
                    (ns[i] < MOST_N || n_leaves % 8 == 7) && check_vectors(comm, &vectors, n_leaves, ns[i]);
        /* As a rank that failed before it came here. */
        struct ls_vectors none;
        ls_comm_vectors_destroy(comm, &vectors);
        if (ls_comm_rank(comm) == ls_comm_size(comm) - 1)
            ls_fail(&err, LS_FAILED, "no more memory");
        if (ls_comm_vectors_create(comm, 3, 10, &none, &err) != LS_FAILED ||
            !strstr(err.text, "no more memory"))
            failed = complain(comm, "a failure elsewhere was not heard of");
        ls_comm_vectors_destroy(comm, &none);
        err.code = LS_OK;
    }
    return failed;
}

enum { SLICE_PIECES = 5, MOST_SLICE_RANKS = 8 };

/* Each rank its slices of the sum, of several pieces under way at once or one after the other; then other
 * numbers in these slices to all, and to rank 0. */
static int check_slices(struct ls_comm *comm, struct ls_vectors *vectors, int64_t n_leaves, ptrdiff_t n)
{
    const int rank = ls_comm_rank(comm), size = ls_comm_size(comm), under_way = (int)(n_leaves % 2);
    struct rank_leaves mine = rank_leaves_create(n_leaves, size, rank, n, 0);
    ptrdiff_t cuts[SLICE_PIECES][MOST_SLICE_RANKS + 1];
    float *roots[LS_MAX_ROOTS];
    const float *sum = NULL;
    int failed = 0;
    for (int i = 0; i < mine.n_roots; i++) {
        roots[i] = vectors->at[(i + rank + (int)n_leaves) % vectors->n];
        memcpy(roots[i], mine.roots[i], (size_t)n * sizeof(float));
    }
    for (int i = 0; i < SLICE_PIECES; i++) {
        cut_slices(n * i / SLICE_PIECES, n * (i + 1) / SLICE_PIECES, size, i % SLICE_WAYS, cuts[i]);
        if (under_way)
            ls_comm_start_scatter(comm, vectors, n_leaves, cuts[i], roots, mine.n_roots);
        else
            ls_comm_scatter_vectors(comm, vectors, n_leaves, cuts[i], roots, mine.n_roots, &sum);
    }
    if (under_way)
        ls_comm_finish(comm, vectors, roots, mine.n_roots, &sum);
    for (int i = 0; !failed && i < SLICE_PIECES; i++)
        if (first_wrong_in(n_leaves, cuts[i][rank], cuts[i][rank + 1], sum) < cuts[i][rank + 1])
            failed = complain(comm, "%lld leaves, %td elements, piece %d: the sum is wrong",
                              (long long)n_leaves, n, i);
    float *whole = rank == 0 ? malloc((size_t)n * sizeof *whole + 1) : NULL;
    for (int i = 0; i < SLICE_PIECES; i++) {
        fill_slice(cuts[i], size, rank, mine.sum);
        ls_comm_collect_slices(comm, cuts[i], mine.sum + cuts[i][rank], whole);
        ls_comm_share_slices(comm, vectors, cuts[i], mine.sum);
        if (first_not_shared(cuts[i], size, mine.sum) < cuts[i][size] ||
            (whole && first_not_shared(cuts[i], size, whole) < cuts[i][size]))
            failed |= complain(comm, "%lld leaves, %td elements, piece %d: what is shared is wrong",
                               (long long)n_leaves, n, i);
    }
    free(whole);
    rank_leaves_release(&mine);
    return failed;
}

static int run_slices(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    static const ptrdiff_t ns[] = {0, 33, 40000};
    struct ls_vectors vectors;
    struct ls_error err = {.code = LS_OK};
    int failed = 0;
    err.code = ls_comm_flights_create(comm, 40000, &err);
    if (ls_comm_vectors_create(comm, 12, 40000, &vectors, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    for (int64_t n_leaves = 0; !failed && n_leaves <= 13; n_leaves++)
        for (size_t i = 0; !failed && i < sizeof ns / sizeof *ns; i++)
            failed = check_slices(comm, &vectors, n_leaves, ns[i]);
    ls_comm_vectors_destroy(comm, &vectors);
    return failed;
}

/* Short segments and little scratch: pipelines that refill, exchanges in rounds. */
static int run_allreduce_in_pieces(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const struct ls_reduce_tuning tuning = {
        .small_n = 4, .segment_n = 50, .window = 3, .granule_n = 16, .scratch_n = 1};
    struct ls_error err = {.code = LS_OK};
    if (ls_comm_tune(comm, &tuning, 1 << 20, &err) != LS_OK)
        return complain(comm, "%s", err.text);
    int failed = 0;
    for (int64_t n_leaves = 0; !failed && n_leaves <= 40; n_leaves++)
        failed = check_sums(comm, n_leaves, 0, 2) || check_sum(comm, n_leaves, 7) ||
                 check_sum(comm, n_leaves, 1000);
    return failed;
}

/* The ordinary MPI_Allreduce of local sums is near the tree's sum, but not its bits: if this fails, either it
 * is the tree by luck, or `mpi` runs the tree and every comparison with it is void. */
static int run_mpi_differs(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    enum { LEAVES = 37, N = 5000 };
    struct rank_leaves mine = rank_leaves_create(LEAVES, ls_comm_size(comm), ls_comm_rank(comm), N, 1);
    ls_comm_tune(comm, &(struct ls_reduce_tuning){.segment_n = 64, .window = 2, .granule_n = 16}, 4000, NULL);
    ls_comm_allreduce(comm, LS_ALLREDUCE_MPI, LEAVES, N, mine.sum, mine.roots, mine.n_roots, NULL);
    int n_different = 0, failed = 0;
    for (ptrdiff_t i = 0; i < N; i++) {
        const float tree = leaf_sum(LEAVES, i);
        n_different += memcmp(&tree, &mine.sum[i], sizeof tree) != 0;
        if (!(fabsf(tree - mine.sum[i]) <= 0.1f)) /* terms reach 2^12 * 2: 2^13 * 37 * 2^-24 and some */
            failed = complain(comm, "element %td is %a, far from the tree's %a", i, (double)mine.sum[i],
                              (double)tree);
    }
    rank_leaves_release(&mine);
    if (ls_comm_size(comm) == 1)
        return failed || (n_different && complain(comm, "one rank, but %d elements differ", n_different));
    return failed ||
           (n_different < N / 100 && complain(comm, "only %d of %d elements differ", n_different, N));
}

/* One agreement: what this rank brings, and what every rank must get. */
static int check_agreement(struct ls_comm *comm, enum ls_code code, const char *text,
                           enum ls_code expected_code, const char *expected_text)
{
    struct ls_error err = {.code = LS_OK};
    if (code != LS_OK)
        ls_fail(&err, code, "%s", text);
    const enum ls_code agreed = ls_comm_agree(comm, &err);
    if (agreed != expected_code || (agreed != LS_OK && err.code != expected_code))
        return complain(comm, "agreed on %d, not %d", (int)agreed, (int)expected_code);
    if (agreed != LS_OK && strcmp(err.text, expected_text) != 0)
        return complain(comm, "message \"%s\", not \"%s\"", err.text, expected_text);
    return 0;
}

static const char *with_rank(const struct ls_comm *comm, const char *text, int rank)
{
    static char full[1300];
    if (ls_comm_size(comm) == 1)
        snprintf(full, sizeof full, "%s", text);
    else
        snprintf(full, sizeof full, "%s (rank %d of %d, on %s)", text, rank, ls_comm_size(comm),
                 ls_comm_host(comm));
    return full;
}

static int run_agree(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const int rank = ls_comm_rank(comm), last = ls_comm_size(comm) - 1;
    char own[64], longest[1200];
    snprintf(own, sizeof own, "rank %d says no", rank);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    int failed = check_agreement(comm, LS_OK, "", LS_OK, "");
    /* only the last; all alike; all with their own words; a worse one behind; the lowest of two that are
     * equally bad */
    failed |= check_agreement(comm, rank == last ? LS_FAILED : LS_OK, "no such file", LS_FAILED,
                              with_rank(comm, "no such file", last));
    failed |= check_agreement(comm, LS_USAGE, "bad option", LS_USAGE, "bad option");
    failed |= check_agreement(comm, LS_FAILED, own, LS_FAILED, with_rank(comm, "rank 0 says no", 0));
    failed |= check_agreement(comm, rank == last ? LS_REPLICA : LS_USAGE, rank == last ? "worse" : "bad",
                              LS_REPLICA, with_rank(comm, "worse", last));
    failed |= check_agreement(comm, rank > 0 || last == 0 ? LS_NONFINITE : LS_OK, "nan", LS_NONFINITE,
                              with_rank(comm, "nan", last == 0 ? 0 : 1));
    failed |= check_agreement(comm, LS_OK, "", LS_OK, "");
    if (last > 0) {
        struct ls_error err = {.code = LS_OK};
        if (rank == 0)
            ls_fail(&err, LS_FAILED, "%s", longest);
        ls_comm_agree(comm, &err);
        const char *suffix = strstr(err.text, " (rank 0 of ");
        if (strlen(err.text) != sizeof err.text - 1 || !suffix || err.text[strlen(err.text) - 1] != ')')
            failed |= complain(comm, "a long message lost its rank: \"%s\"", err.text);
    }
    return failed;
}

static int check_hashes(struct ls_comm *comm, uint64_t own, const char *const expected[])
{
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code =
        ls_comm_compare_hashes(comm, (struct ls_hash){own, 0xabcdef}, "weights after step 12", &err);
    if (!expected)
        return code == LS_OK ? 0 : complain(comm, "equal hashes: code %d, \"%s\"", (int)code, err.text);
    if (code != LS_REPLICA || err.code != LS_REPLICA)
        return complain(comm, "different hashes: code %d", (int)code);
    for (; *expected; expected++)
        if (!strstr(err.text, *expected))
            return complain(comm, "\"%s\" is not in \"%s\"", *expected, err.text);
    return 0;
}

static int run_hashes(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const int rank = ls_comm_rank(comm), size = ls_comm_size(comm);
    const uint64_t right = 0x1111, wrong = 0x2222;
    int failed = check_hashes(comm, right, NULL);
    if (size == 1)
        return failed;
    char odd[200], others[200];
    snprintf(odd, sizeof odd, ": rank %d on %s has 00000000000022220000000000abcdef; ", size - 1,
             ls_comm_host(comm));
    snprintf(others, sizeof others, "%d of %d ranks have 00000000000011110000000000abcdef", size - 1, size);
    if (size == 2)
        snprintf(others, sizeof others, "no majority, rank 0 on %s has 00000000000011110000000000abcdef",
                 ls_comm_host(comm));
    failed |=
        check_hashes(comm, rank == size - 1 ? wrong : right,
                     (const char *const[]){"weights after step 12 differ between ranks", odd, others, NULL});
    if (size > 2) { /* the odd one may be rank 0 */
        snprintf(odd, sizeof odd, ": rank 0 on %s has 00000000000022220000000000abcdef; ",
                 ls_comm_host(comm));
        failed |= check_hashes(comm, rank == 0 ? wrong : right, (const char *const[]){odd, others, NULL});
        /* nobody agrees with anybody */
        failed |= check_hashes(comm, (uint64_t)rank,
                               (const char *const[]){"rank 1 on", "no majority, rank 0 on",
                                                     "00000000000000010000000000abcdef", NULL});
    }
    return failed | check_hashes(comm, wrong, NULL);
}

static int run_counts(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const int64_t rank = ls_comm_rank(comm), size = ls_comm_size(comm);
    int64_t counts[3] = {rank, INT64_C(1) << 53, -1};
    ls_comm_sum_counts(comm, counts, 3, NULL);
    if (counts[0] != size * (size - 1) / 2 || counts[1] != size << 53 || counts[2] != -size)
        return complain(comm, "sums %lld %lld %lld", (long long)counts[0], (long long)counts[1],
                        (long long)counts[2]);
    struct ls_spread spread;
    ls_comm_spread(comm, (double)rank - 3, &spread, NULL);
    if (spread.min != -3 || spread.max != (double)size - 4 ||
        fabs(spread.mean - ((double)(size - 1) / 2 - 3)) > 1e-12)
        return complain(comm, "spread %g %g %g", spread.min, spread.mean, spread.max);
    if (ls_comm_ranks_on_host(comm) != size)
        return complain(comm, "%d ranks on this host", ls_comm_ranks_on_host(comm));
    ls_comm_barrier(comm, NULL);
    return 0;
}

static unsigned char byte_of(int rank, size_t i)
{
    return (unsigned char)((size_t)rank * 31 + i * 7 + 1);
}

static int check_block(const struct ls_comm *comm, const unsigned char *at, int rank, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at[i] != byte_of(rank, i))
            return complain(comm, "byte %zu of rank %d is wrong", i, rank);
    return 0;
}

static int check_gathers(struct ls_comm *comm)
{
    enum { EACH = 1001 };
    const int rank = ls_comm_rank(comm), size = ls_comm_size(comm);
    unsigned char mine[4 * EACH];
    for (size_t i = 0; i < sizeof mine; i++)
        mine[i] = byte_of(rank, i);
    int failed = 0;

    unsigned char *all = rank == 0 ? malloc((size_t)size * EACH) : NULL;
    ls_comm_gather(comm, mine, EACH, all, NULL);
    for (int r = 0; rank == 0 && r < size; r++)
        failed |= check_block(comm, all + r * EACH, r, EACH);
    free(all);

    /* Rank 1 sends nothing. */
    void *block = NULL;
    size_t *sizes = calloc((size_t)size, sizeof *sizes), at = 0;
    const enum ls_code code = ls_comm_gather_variable(
        comm, mine, rank == 1 ? 0 : (size_t)(rank % 4) * EACH + 1, &block, sizes, NULL);
    if (code != LS_OK || (block != NULL) != (rank == 0))
        failed |= complain(comm, "gather_variable: code %d, block %p", (int)code, block);
    for (int r = 0; !failed && rank == 0 && r < size; at += sizes[r++]) {
        if (sizes[r] != (r == 1 ? 0 : (size_t)(r % 4) * EACH + 1))
            failed |= complain(comm, "rank %d sent %zu bytes", r, sizes[r]);
        failed |= check_block(comm, (unsigned char *)block + at, r, sizes[r]);
    }
    ls_free(block);
    free(sizes);
    return failed;
}

static int run_gather(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const struct ls_reduce_tuning tuning = ls_reduce_default_tuning(0);
    int failed = check_gathers(comm);
    ls_comm_tune(comm, &tuning, 100, NULL); /* many messages each, as if they were longer than INT_MAX */
    return failed | check_gathers(comm);
}

/* Nobody can address that many bytes: rank 0's failure is everybody's, with its message. */
static int run_gather_too_much(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    void *block = NULL;
    size_t *sizes = calloc((size_t)ls_comm_size(comm), sizeof *sizes);
    struct ls_error err = {.code = LS_OK};
    const enum ls_code code = ls_comm_gather_variable(comm, NULL, SIZE_MAX / 2, &block, sizes, &err);
    free(sizes);
    if (code != LS_FAILED || block || !strstr(err.text, "sent to rank 0"))
        return complain(comm, "code %d, \"%s\"", (int)code, err.text);
    return 0;
}

/* Communication of the first n ranks, for every n, all at once; the others rest meanwhile. */
static int run_parts(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    enum { MOST = 8 };
    const int size = ls_comm_size(comm), rank = ls_comm_rank(comm);
    struct ls_comm *parts[MOST + 1] = {NULL};
    struct ls_error err = {.code = LS_OK};
    int failed = 0;
    for (int n = 1; n <= size; n++)
        if (ls_comm_create_part(comm, n, &parts[n], &err) != LS_OK)
            return complain(comm, "a part of %d: %s", n, err.text);
    for (int n = size; n >= 1; n--) {
        struct ls_comm *part = parts[n];
        if ((part != NULL) != (rank < n))
            return complain(comm, "a part of %d is%s here", n, part ? "" : " not");
        if (part && (ls_comm_rank(part) != rank || ls_comm_size(part) != n || ls_comm_n_hosts(part) < 1 ||
                     ls_comm_n_hosts(part) > n))
            failed = complain(comm, "part of %d: rank %d of %d on %d hosts", n, ls_comm_rank(part),
                              ls_comm_size(part), ls_comm_n_hosts(part));
        if (part)
            failed |= check_sums(part, 2 * n + 1, 999, 1000);
        int64_t counts[] = {1};
        ls_comm_rest(comm);
        if (part)
            ls_comm_sum_counts(part, counts, 1, NULL);
        if (part && counts[0] != n)
            failed = complain(comm, "%lld ranks in a part of %d", (long long)counts[0], n);
    }
    for (int n = 1; n <= size; n++)
        ls_comm_destroy(&parts[n]);
    return failed;
}

/* The rest must end the job; a rank that returns has failed. */
static int run_abort(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    if (ls_comm_rank(comm) == ls_comm_size(comm) - 1)
        ls_comm_abort(comm, 7);
    ls_comm_barrier(comm, NULL);
    return complain(comm, "went on after an abort");
}

static int run_die(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    if (ls_comm_rank(comm) == ls_comm_size(comm) - 1)
        raise(SIGKILL);
    check_sum(comm, 2 * ls_comm_size(comm), 100003);
    ls_comm_barrier(comm, NULL);
    return complain(comm, "went on after a rank's death");
}

/* A programmer's mistake that MPI notices: not the same n everywhere. */
static int run_mismatch(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    const int64_t size = ls_comm_size(comm);
    check_sum(comm, size, ls_comm_rank(comm) == 0 ? 10 : 20);
    ls_comm_barrier(comm, NULL);
    return complain(comm, "went on after a failed message");
}

static int run_identity(struct ls_comm *comm, int n_args, char **args)
{
    (void)n_args, (void)args;
    if (ls_comm_rank(comm) == 0)
        printf("%d ranks, %s\n", ls_comm_size(comm), ls_comm_library(comm));
    return 0;
}

const struct mpi_case comm_cases[] = {
    {"allreduce", run_allreduce},
    {"allreduce-in-pieces", run_allreduce_in_pieces},
    {"mpi-differs", run_mpi_differs},
    {"agree", run_agree},
    {"hashes", run_hashes},
    {"counts", run_counts},
    {"gather", run_gather},
    {"gather-too-much", run_gather_too_much},
    {"parts", run_parts},
    {"allreduce-vectors", run_allreduce_vectors},
    {"slices", run_slices},
    {"abort", run_abort},
    {"die", run_die},
    {"mismatch", run_mismatch},
    {"identity", run_identity},
    {0},
};
