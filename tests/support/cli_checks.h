/* How tests judge what the program printed, and with which status it ended. */
#ifndef LS_TESTS_CLI_CHECKS_H
#define LS_TESTS_CLI_CHECKS_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S };

/* Status and emptiness of stderr, with both streams in the message. */
static inline void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
    if (status == 0)
        cr_assert(!*o->err, "%s: stderr is not empty: %s", what, o->err);
}

static inline void has(const char *text, const char *part, const char *what)
{
    cr_assert(strstr(text, part), "%s: no '%s' in\n%s", what, part, text);
}

static inline void same_bytes(const char *a, const char *b)
{
    size_t n_a, n_b;
    char *text_a = read_file(a, &n_a), *text_b = read_file(b, &n_b);
    cr_assert(n_a == n_b && memcmp(text_a, text_b, n_a) == 0, "'%s' and '%s' differ", a, b);
    free(text_a);
    free(text_b);
}

/* Criterion shows the reason only when it is verbose. */
#define SKIP(why)                                                                                            \
    do {                                                                                                     \
        fprintf(stderr, "skipped: %s\n", why);                                                               \
        cr_skip_test("%s", why);                                                                             \
    } while (0)

/* Runs it and expects success. */
#define RUN(...) check_status(lockstep(1, __VA_ARGS__), 0, #__VA_ARGS__)

#endif
