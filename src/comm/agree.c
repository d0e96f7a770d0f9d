/* Owns what ranks do when they may differ: agreement on the worst outcome, and the comparison of replicas. */
#include "comm/comm.h"

#include <stdio.h>
#include <string.h>

#include "comm/comm_backend.h"

/* Puts " (rank R of P, on HOST)" behind the message, cutting the message rather than that. */
static void name_rank(const struct ls_comm *comm, int rank, struct ls_error *err)
{
    char suffix[LS_HOST_TEXT + 64];
    const int length =
        snprintf(suffix, sizeof suffix, " (rank %d of %d, on %s)", rank, comm->size, comm->hosts[rank]);
    size_t at = strlen(err->text);
    if (at > sizeof err->text - 1 - (size_t)length)
        at = sizeof err->text - 1 - (size_t)length;
    memcpy(err->text + at, suffix, (size_t)length + 1);
}

enum ls_code ls_comm_agree(struct ls_comm *comm, struct ls_error *err)
{
    /* The worst code and, of those who have it, the lowest rank: one number to take the largest of. */
    const uint64_t own =
        err->code == LS_OK ? 0 : (uint64_t)err->code << 32 | (uint64_t)(INT32_MAX - comm->rank);
    uint64_t worst = own;
    comm->ops->take_largest(comm, &worst, 1);
    if (worst == 0)
        return LS_OK;
    const enum ls_code code = (enum ls_code)(worst >> 32);
    const int from = (int)(INT32_MAX - (worst & UINT32_MAX));

    struct ls_error theirs = {.code = code};
    if (comm->rank == from)
        snprintf(theirs.text, sizeof theirs.text, "%s", err->text);
    comm->ops->broadcast(comm, theirs.text, sizeof theirs.text, from);
    theirs.text[sizeof theirs.text - 1] = '\0';
    uint64_t any_differs = err->code != code || strcmp(err->text, theirs.text) != 0;
    comm->ops->take_largest(comm, &any_differs, 1);
    *err = theirs;
    if (any_differs)
        name_rank(comm, from, err);
    return code;
}

/* The hash that most ranks have; without a majority, rank 0's.  Returns how many have it.  Boyer and Moore's
 * vote: in the only hash that can be a majority, pairs of ranks that differ cancel out. */
static int take_vote(const struct ls_hash *hashes, int n, struct ls_hash *winner)
{
    struct ls_hash candidate = hashes[0];
    int lead = 0, votes = 0;
    for (int i = 0; i < n; i++) {
        if (lead == 0)
            candidate = hashes[i];
        lead += ls_hash_equal(hashes[i], candidate) ? 1 : -1;
    }
    for (int i = 0; i < n; i++)
        votes += ls_hash_equal(hashes[i], candidate);
    *winner = votes > n / 2 ? candidate : hashes[0];
    votes = 0;
    for (int i = 0; i < n; i++)
        votes += ls_hash_equal(hashes[i], *winner);
    return votes;
}

static enum ls_code name_odd_ranks(const struct ls_comm *comm, const char *what, struct ls_error *err)
{
    enum { MOST_NAMED = 6 };
    const int n = comm->size;
    struct ls_hash right;
    char text[LS_HASH_TEXT];
    const int votes = take_vote(comm->hashes, n, &right);
    char list[800];
    size_t at = 0;
    int n_odd = 0;
    for (int rank = 0; rank < n; rank++) {
        if (ls_hash_equal(comm->hashes[rank], right))
            continue;
        if (++n_odd > MOST_NAMED)
            continue;
        ls_hash_text(comm->hashes[rank], text);
        at += (size_t)snprintf(list + at, sizeof list - at, "%srank %d on %s has %s", n_odd == 1 ? "" : ", ",
                               rank, comm->hosts[rank], text);
    }
    if (n_odd > MOST_NAMED)
        snprintf(list + at, sizeof list - at, ", and %d more", n_odd - MOST_NAMED);
    ls_hash_text(right, text);
    if (votes > n / 2)
        return ls_fail(err, LS_REPLICA, "%s differ between ranks: %s; %d of %d ranks have %s", what, list,
                       votes, n, text);
    return ls_fail(err, LS_REPLICA, "%s differ between ranks: %s; no majority, rank 0 on %s has %s", what,
                   list, comm->hosts[0], text);
}

enum ls_code ls_comm_compare_hashes(struct ls_comm *comm, struct ls_hash hash, const char *what,
                                    struct ls_error *err)
{
    /* All equal exactly when the largest is the smallest, and ~x turns the one into the other. */
    uint64_t extremes[4] = {hash.high, hash.low, ~hash.high, ~hash.low};
    comm->ops->take_largest(comm, extremes, 4);
    if (extremes[0] == ~extremes[2] && extremes[1] == ~extremes[3])
        return LS_OK;
    comm->ops->collect(comm, &hash, sizeof hash, comm->hashes);
    return name_odd_ranks(comm, what, err);
}

int ls_comm_vote(struct ls_comm *comm, struct ls_hash hash, int *odd)
{
    struct ls_hash right;
    comm->ops->collect(comm, &hash, sizeof hash, comm->hashes);
    take_vote(comm->hashes, comm->size, &right);
    int trusted = -1;
    *odd = -1;
    for (int rank = comm->size - 1; rank >= 0; rank--)
        *(ls_hash_equal(comm->hashes[rank], right) ? &trusted : odd) = rank;
    return trusted;
}

void ls_comm_disagree(struct ls_comm *comm, const char *what)
{
    fprintf(stderr,
            "lockstep: replicas disagree: rank %d of %d, on %s: %s. A message, memory or a core of some rank "
            "changed bits; resume from the last checkpoint, with --cross-check 1 to find out whose\n",
            comm->rank, comm->size, comm->hosts[comm->rank], what);
    ls_comm_abort(comm, LS_REPLICA);
}

void ls_comm_meet(struct ls_comm *comm, double seconds, const char *what)
{
    if (!comm->ops->meet(comm, seconds))
        ls_comm_disagree(comm, what);
}
