/* Faults on purpose: one bit that flips in a weight, a gradient, an activation or a message, to find out what
 * notices.  Only in builds of `make FAULTS=1`; in others every function here is nothing.
 *
 * Places where numbers are worked on call ls_fault_strike; the numbers that pass there within a step are
 * counted, so (kind, step, rank, element) names one of them, whatever pieces they come in.  Sums may be under
 * way side by side, and which one's message comes first is chance: each of them counts for itself, and is
 * named too. */
#ifndef LS_BASE_FAULT_H
#define LS_BASE_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum ls_fault_kind {
    LS_FAULT_NONE,
    LS_FAULT_WEIGHT,     /* in this rank's replica, after the update */
    LS_FAULT_GRADIENT,   /* in a leaf's sums after backward */
    LS_FAULT_ACTIVATION, /* in a layer's output, between forward and loss */
    LS_FAULT_MESSAGE,    /* in what the allreduce has received */
    LS_FAULT_KINDS
};

enum { LS_FAULT_FLIGHTS = 5 }; /* sums that count for themselves */

struct ls_fault {
    enum ls_fault_kind kind;
    int64_t step; /* from 1 */
    int rank;
    uint64_t element; /* of those that pass in the step; with `every`, modulo each piece */
    int flight;       /* messages: of which sum, 0 for that which is waited for; with `every`, of any */
    int bit;          /* 0 to 31; 31 is the sign */
    int every;        /* a faulty core: each piece, in this step and all that follow */
};

#if LS_WITH_FAULTS

/* "weight:step=3,rank=1,element=7,bit=20[,every]"; of a message also "[,flight=2]" before that. */
enum ls_code ls_fault_parse(const char *text, struct ls_fault *fault, struct ls_error *err);

/* Plans what LOCKSTEP_FAULT of the environment says, if it is set. */
enum ls_code ls_fault_from_environment(struct ls_error *err);

/* What will happen from now on; NULL: nothing. */
void ls_fault_plan(const struct ls_fault *fault);

/* A step begins, on this rank. */
void ls_fault_step(int64_t step, int rank);

/* n numbers, which stand for n * times of them, are there. */
void ls_fault_strike(enum ls_fault_kind kind, float *values, ptrdiff_t n, int64_t times);

/* The same of a message of a sum. */
void ls_fault_strike_message(int flight, float *values, ptrdiff_t n);

/* A message of n numbers will be at `values` when ls_fault_arrived is called with the same slot of the same
 * sum. */
void ls_fault_expect(int flight, int slot, float *values, ptrdiff_t n);
void ls_fault_arrived(int flight, int slot);

/* How many numbers of a kind have passed in the step at hand, of messages those of sum 0; how many bits have
 * flipped since the plan. */
uint64_t ls_fault_seen(enum ls_fault_kind kind);
int64_t ls_fault_struck(void);

#else

static inline enum ls_code ls_fault_from_environment(struct ls_error *err)
{
    (void)err;
    return LS_OK;
}
static inline void ls_fault_step(int64_t step, int rank)
{
    (void)step, (void)rank;
}
static inline void ls_fault_strike(enum ls_fault_kind kind, float *values, ptrdiff_t n, int64_t times)
{
    (void)kind, (void)values, (void)n, (void)times;
}
static inline void ls_fault_strike_message(int flight, float *values, ptrdiff_t n)
{
    (void)flight, (void)values, (void)n;
}
static inline void ls_fault_expect(int flight, int slot, float *values, ptrdiff_t n)
{
    (void)flight, (void)slot, (void)values, (void)n;
}
static inline void ls_fault_arrived(int flight, int slot)
{
    (void)flight, (void)slot;
}

#endif
#endif
