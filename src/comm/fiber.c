/* Owns the stacks.  See fiber.h.  POSIX's contexts: slower than an assembly of one's own by the system call
 * that saves a signal mask, some 0.3 us, and the same on every processor. */
#include "comm/fiber.h"

#include <assert.h>
#include <ucontext.h>

#include "base/memory.h"

enum { STACK = 1 << 18 }; /* MPI's progress runs on it */

struct ls_fiber {
    ucontext_t self, resumer;
    void *stack;
    int running;
    void (*body)(void *argument);
    void *argument;
};

static _Thread_local struct ls_fiber *current;

enum ls_code ls_fiber_create(struct ls_fiber **fiber, struct ls_error *err)
{
    struct ls_fiber *made = ls_alloc(1, sizeof *made, "a fiber", err);
    *fiber = made;
    if (!made)
        return LS_FAILED;
    made->stack = ls_alloc(1, STACK, "a fiber's stack", err);
    if (!made->stack) {
        ls_free(made);
        *fiber = NULL;
    }
    return *fiber ? LS_OK : LS_FAILED;
}

void ls_fiber_destroy(struct ls_fiber *fiber)
{
    if (!fiber)
        return;
    assert(!fiber->running);
    ls_free(fiber->stack);
    ls_free(fiber);
}

/* makecontext passes ints: the fiber is the current one. */
static void run(void)
{
    struct ls_fiber *fiber = current;
    fiber->body(fiber->argument);
    fiber->running = 0;
}

void ls_fiber_resume(struct ls_fiber *fiber)
{
    if (!fiber->running)
        return;
    assert(!current);
    current = fiber;
    swapcontext(&fiber->resumer, &fiber->self);
    current = NULL;
}

void ls_fiber_start(struct ls_fiber *fiber, void (*body)(void *argument), void *argument)
{
    assert(!fiber->running);
    fiber->body = body;
    fiber->argument = argument;
    fiber->running = 1;
    getcontext(&fiber->self);
    fiber->self.uc_stack.ss_sp = fiber->stack;
    fiber->self.uc_stack.ss_size = STACK;
    fiber->self.uc_link = &fiber->resumer;
    makecontext(&fiber->self, run, 0);
    ls_fiber_resume(fiber);
}

int ls_fiber_is_running(const struct ls_fiber *fiber)
{
    return fiber->running;
}

int ls_fiber_is_inside(void)
{
    return current != NULL;
}

void ls_fiber_yield(void)
{
    struct ls_fiber *fiber = current;
    assert(fiber);
    swapcontext(&fiber->self, &fiber->resumer);
}
