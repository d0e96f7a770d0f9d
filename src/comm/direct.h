/* The messages of a reducer, and the direct exchange: each member owns some of the elements, gets every root
 * of them, merges, and sends the sum round.  It serves any plan.  Private to src/comm. */
#ifndef LS_COMM_DIRECT_H
#define LS_COMM_DIRECT_H

#include "base/fault.h"
#include "comm/tree_allreduce.h"

enum ls_channel { LS_PARTIAL = 1, LS_RESULT = 2 };

/* Slots are counted by these. */
enum ls_message_kind { LS_PARTIAL_IN, LS_PARTIAL_OUT, LS_RESULT_IN, LS_RESULT_OUT };

static inline void ls_message_send(struct ls_reducer *reducer, int slot, const float *values, ptrdiff_t n,
                                   int to, enum ls_channel channel)
{
    reducer->wire.send(reducer->wire.self, slot, values, n, to, (int)channel);
}

static inline void ls_message_receive(struct ls_reducer *reducer, int slot, float *values, ptrdiff_t n,
                                      int from, enum ls_channel channel)
{
    ls_fault_expect(reducer->flight, slot, values, n);
    reducer->wire.receive(reducer->wire.self, slot, values, n, from, (int)channel);
}

static inline void ls_message_await(struct ls_reducer *reducer, int slot)
{
    reducer->wire.wait(reducer->wire.self, slot);
    ls_fault_arrived(reducer->flight, slot);
}

static inline void ls_message_await_all(struct ls_reducer *reducer)
{
    const int n_slots = ls_reduce_slots(reducer->wire.size, &reducer->tuning);
    for (int slot = 0; slot < n_slots; slot++)
        ls_message_await(reducer, slot);
}

/* The plan for that many leaves. */
void ls_reducer_plan(struct ls_reducer *reducer, int64_t n_leaves);

/* Collective over the wire; arguments as for ls_tree_allreduce, and the plan is made. */
void ls_direct_allreduce(struct ls_reducer *reducer, ptrdiff_t n, float *sum, float *const *roots,
                         int n_roots);

#endif
