/* Command lines, one after the other in one job: what a hundred mpiruns would say, for the price of one.
 *
 * commands RANKS FILE: each line of FILE is words as a shell would be given them behind `lockstep`.  On
 * stderr each gets "#K", its message as main.c prints it, and "#K status S".  A command that leaves memory
 * behind fails the case. */
#include <stdio.h>
#include <string.h>
#include <wordexp.h>

#include "base/memory.h"
#include "cases.h"
#include "cli/cli.h"

enum { MOST_WORDS = 100, MOST_LINE = 4096 };

static int run_words(struct ls_comm *comm, int k, char *line)
{
    char *argv[MOST_WORDS + 1] = {(char[]){"lockstep"}};
    wordexp_t words;
    line[strcspn(line, "\n")] = '\0';
    if (wordexp(line, &words, WRDE_NOCMD) != 0 || words.we_wordc >= MOST_WORDS)
        return complain(comm, "not words: %s", line);
    for (size_t i = 0; i < words.we_wordc; i++)
        argv[i + 1] = words.we_wordv[i];
    const int first = ls_comm_rank(comm) == 0;
    const long held = ls_memory_balance();
    struct ls_error err = {.code = LS_OK};
    if (first)
        fprintf(stderr, "#%d\n", k);
    err.code = ls_run_command(comm, (int)words.we_wordc + 1, argv, &err);
    const enum ls_code code = ls_comm_agree(comm, &err);
    if (first && code > LS_DIFFERENT)
        fprintf(stderr, "lockstep: %s\n", err.text);
    if (first)
        fprintf(stderr, "#%d status %d\n", k, (int)code);
    wordfree(&words);
    return ls_memory_balance() == held
               ? 0
               : complain(comm, "%ld blocks of memory are left: %s", ls_memory_balance() - held, line);
}

static int run_commands(struct ls_comm *comm, int n_args, char **args)
{
    char line[MOST_LINE];
    FILE *file = n_args == 1 ? fopen(args[0], "r") : NULL;
    int failed = file ? 0 : complain(comm, "one file of commands is needed");
    for (int k = 0; !failed && fgets(line, sizeof line, file); k++)
        failed = run_words(comm, k, line);
    if (file)
        fclose(file);
    return failed;
}

const struct mpi_case command_cases[] = {{"commands", run_commands}, {0}};
