/* Copies of the same numbers on several ranks that turn out to differ: where, and what each has.
 *
 * A hash says that replicas differ and which rank is odd; who has to find a faulty core or memory bank needs
 * the place and the bits.  All of this is collective, and ends with the same message on all ranks. */
#ifndef LS_TRAIN_REPLICA_H
#define LS_TRAIN_REPLICA_H

#include "comm/comm.h"
#include "model/net.h"

/* Of two arrays.  Two NaNs count as equal, whatever their bits. */
struct ls_difference {
    int64_t n_different;
    ptrdiff_t first; /* element */
    float mine, other;
};

/* Adds what differs in n floats, which begin at element `at` of the whole. */
void ls_difference_add(struct ls_difference *difference, ptrdiff_t at, ptrdiff_t n, const float *mine,
                       const float *other);

/* Collective.  How each rank's n floats differ from those of rank `from`. */
struct ls_difference ls_difference_from(struct ls_comm *comm, int from, ptrdiff_t n, const float *mine);

enum { LS_ELEMENT_TEXT = 128, LS_VALUE_TEXT = 40 };

/* "0.weight[3,7]", or "the loss" for what lies behind the gradients of a net. */
const char *ls_describe_element(const struct ls_net *net, ptrdiff_t element, char text[LS_ELEMENT_TEXT]);

/* "0.125 0x3e000000". */
const char *ls_describe_value(float value, char text[LS_VALUE_TEXT]);

/* Collective.  As ls_comm_compare_hashes of a net's flat parameters; when they differ the message also says
 * in which tensor and element, with both values. */
enum ls_code ls_replica_compare(struct ls_comm *comm, const struct ls_net *net, const float *flat,
                                struct ls_hash hash, const char *what, struct ls_error *err);

#endif
