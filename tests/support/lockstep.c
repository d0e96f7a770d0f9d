#include "lockstep.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { COMMAND_TEXT = 8192 };

static struct ls_outcome outcome;

static const struct ls_outcome *run(int ranks, const char *before, const char *words, va_list args)
{
    char command[COMMAND_TEXT];
    int n = snprintf(command, sizeof command, "%s %s ", before, LOCKSTEP);
    n += vsnprintf(command + n, sizeof command - (size_t)n, words, args);
    if (n >= COMMAND_TEXT) {
        outcome = (struct ls_outcome){.status = -1};
        snprintf(outcome.err, sizeof outcome.err, "the command of a test is too long");
        return &outcome;
    }
    /* One thread unless the words say otherwise: several spin when the machine is busy with other tests. */
    const char *const env[] = {"OMP_NUM_THREADS=1", NULL};
    if (ranks > 1)
        ls_launch_mpi(&outcome, ranks, LOCKSTEP_LIMIT_S, env, LS_ARGV("sh", "-c", command));
    else
        ls_launch(&outcome, LOCKSTEP_LIMIT_S, env, LS_ARGV("sh", "-c", command));
    return &outcome;
}

const struct ls_outcome *lockstep(int ranks, const char *words, ...)
{
    va_list args;
    va_start(args, words);
    const struct ls_outcome *result = run(ranks, "", words, args);
    va_end(args);
    return result;
}

const struct ls_outcome *lockstep_after(int ranks, const char *before, const char *words, ...)
{
    va_list args;
    va_start(args, words);
    const struct ls_outcome *result = run(ranks, before, words, args);
    va_end(args);
    return result;
}

int lines_beginning(const char *text, const char *beginning)
{
    int n = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        n += strncmp(line, beginning, strlen(beginning)) == 0;
    }
    return n;
}

struct hash_text last_hash(const char *out)
{
    struct hash_text hash = {""};
    for (const char *line = out; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const size_t length = strcspn(line, "\n");
        if (length > 33 && line[length - 33] == ' ' && strspn(line + length - 32, "0123456789abcdef") == 32)
            memcpy(hash.text, line + length - 32, 32);
    }
    return hash;
}
