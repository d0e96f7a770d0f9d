/* mpi-cases CASE RANKS [ARGUMENT …]: one multi-rank test; RANKS is how many there must be, since the launcher
 * of another MPI silently starts that many single ranks. */
#include "cases.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const struct mpi_case *const suites[] = {comm_cases,    matrix_cases,         fault_cases,
                                                command_cases, fault_campaign_cases, pinning_cases};

int complain(const struct ls_comm *comm, const char *format, ...)
{
    char text[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "rank %d of %d: %s\n", ls_comm_rank(comm), ls_comm_size(comm), text);
    return 1;
}

static const struct mpi_case *find_case(const char *name)
{
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
        for (const struct mpi_case *c = suites[i]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

int main(int argc, char **argv)
{
    const struct mpi_case *wanted = argc < 3 ? NULL : find_case(argv[1]);
    if (!wanted) {
        fprintf(stderr, "usage: mpi-cases CASE RANKS [ARGUMENT ...]; cases:");
        for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
            for (const struct mpi_case *c = suites[i]; c->name; c++)
                fprintf(stderr, " %s", c->name);
        fprintf(stderr, "\n");
        return 2;
    }
    struct ls_comm *comm = NULL;
    struct ls_error err = {.code = LS_OK};
    if (ls_comm_create(&comm, &err) != LS_OK) {
        fprintf(stderr, "mpi-cases: %s\n", err.text);
        return (int)err.code;
    }
    int failed = 0;
    if (ls_comm_size(comm) != atoi(argv[2]))
        failed = complain(comm, "%s ranks were asked for", argv[2]);
    else
        failed = wanted->run(comm, argc - 3, argv + 3);
    if (failed && failed != LS_ALL_FAILED)
        ls_comm_abort(comm, 1);
    ls_comm_destroy(&comm);
    if (ls_memory_balance() != 0) {
        fprintf(stderr, "mpi-cases: %ld blocks of memory were not freed\n", ls_memory_balance());
        return 1;
    }
    return failed ? 1 : 0;
}
