/* Owns the flipped bit.  See fault.h; part of `make FAULTS=1` only. */
#include "base/fault.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { MOST_SLOTS = 4096 };

static const char *const kinds[] = {"none", "weight", "gradient", "activation", "message", NULL};

static struct ls_fault plan;
static int64_t step_now;
static int rank_now;
static uint64_t seen[LS_FAULT_KINDS][LS_FAULT_FLIGHTS]; /* [kind][0], but of messages */
static int64_t struck;
static struct {
    float *values;
    ptrdiff_t n;
} expected[LS_FAULT_FLIGHTS][MOST_SLOTS];

static enum ls_code bad(const char *text, struct ls_error *err)
{
    return ls_fail(
        err, LS_USAGE,
        "LOCKSTEP_FAULT='%.100s': expected KIND:step=S,rank=R,element=E,bit=B[,flight=F][,every] with "
        "KIND weight, gradient, activation or message, a bit from 0 to 31, and of messages a sum under way "
        "from 1 to %d",
        text, LS_FAULT_FLIGHTS - 1);
}

enum ls_code ls_fault_parse(const char *text, struct ls_fault *fault, struct ls_error *err)
{
    char kind[16] = "";
    int at = 0, more = 0;
    *fault = (struct ls_fault){.kind = LS_FAULT_NONE};
    const int n = sscanf(text, "%15[a-z]:step=%" SCNd64 ",rank=%d,element=%" SCNu64 ",bit=%d%n", kind,
                         &fault->step, &fault->rank, &fault->element, &fault->bit, &at);
    for (int i = 1; kinds[i]; i++)
        if (strcmp(kind, kinds[i]) == 0)
            fault->kind = (enum ls_fault_kind)i;
    if (n < 5 || !fault->kind || fault->bit < 0 || fault->bit > 31)
        return bad(text, err);
    if (fault->kind == LS_FAULT_MESSAGE && sscanf(text + at, ",flight=%d%n", &fault->flight, &more) == 1)
        at += more;
    fault->every = strcmp(text + at, ",every") == 0;
    const int is_over = fault->every || text[at] == '\0';
    return !is_over || fault->flight < 0 || fault->flight >= LS_FAULT_FLIGHTS ? bad(text, err) : LS_OK;
}

void ls_fault_plan(const struct ls_fault *fault)
{
    plan = fault ? *fault : (struct ls_fault){.kind = LS_FAULT_NONE};
    struck = 0;
}

enum ls_code ls_fault_from_environment(struct ls_error *err)
{
    const char *text = getenv("LOCKSTEP_FAULT");
    return text ? ls_fault_parse(text, &plan, err) : LS_OK;
}

void ls_fault_step(int64_t step, int rank)
{
    step_now = step;
    rank_now = rank;
    memset(seen, 0, sizeof seen);
}

static void flip(float *value)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    bits ^= UINT32_C(1) << plan.bit;
    memcpy(value, &bits, sizeof bits);
    struck++;
}

static void strike(enum ls_fault_kind kind, int flight, float *values, ptrdiff_t n, int64_t times)
{
    assert(flight >= 0 && flight < LS_FAULT_FLIGHTS);
    const uint64_t before = seen[kind][flight], passing = (uint64_t)n * (uint64_t)times;
    seen[kind][flight] += passing;
    if (plan.kind != kind || plan.rank != rank_now || n == 0)
        return;
    if (plan.every && step_now >= plan.step)
        flip(&values[plan.element % (uint64_t)n]);
    else if (!plan.every && step_now == plan.step && flight == plan.flight && struck == 0 &&
             plan.element >= before && plan.element - before < passing)
        flip(&values[(plan.element - before) % (uint64_t)n]);
}

void ls_fault_strike(enum ls_fault_kind kind, float *values, ptrdiff_t n, int64_t times)
{
    strike(kind, 0, values, n, times);
}

void ls_fault_strike_message(int flight, float *values, ptrdiff_t n)
{
    strike(LS_FAULT_MESSAGE, flight, values, n, 1);
}

void ls_fault_expect(int flight, int slot, float *values, ptrdiff_t n)
{
    if (slot >= MOST_SLOTS)
        return;
    expected[flight][slot].values = values;
    expected[flight][slot].n = n;
}

void ls_fault_arrived(int flight, int slot)
{
    if (slot >= MOST_SLOTS || !expected[flight][slot].values)
        return;
    ls_fault_strike_message(flight, expected[flight][slot].values, expected[flight][slot].n);
    expected[flight][slot].values = NULL;
}

uint64_t ls_fault_seen(enum ls_fault_kind kind)
{
    return seen[kind][0];
}

int64_t ls_fault_struck(void)
{
    return struck;
}
