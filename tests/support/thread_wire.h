/* Ranks as threads of one process, for testing what is written against struct ls_wire without MPI.
 *
 * Unkinder than MPI: a receive buffer is poisoned when the receive starts; in LATE mode a message is copied
 * from the sender's buffer as late as the rules allow, so a buffer written too early shows as wrong bits. */
#ifndef LS_TESTS_THREAD_WIRE_H
#define LS_TESTS_THREAD_WIRE_H

#include "comm/tree_allreduce.h"

enum wire_mode { WIRE_EAGER, WIRE_LATE };

/* Runs body(wire, arg) on n_ranks threads and returns how many messages were never waited for (a bug in the
 * body). */
int run_ranks(int n_ranks, int n_slots, enum wire_mode mode,
              void (*body)(const struct ls_wire *wire, void *arg), void *arg);

#endif
