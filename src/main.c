/* Prints the one message that says what went wrong, and picks the exit status.  Nothing else exits. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/fault.h"
#include "cli/cli.h"

static int exit_status(enum ls_code code)
{
    return (int)code; /* the codes are the documented statuses */
}

/* A standard stream that the caller closed would be the number of the next file that is opened, and what is
 * printed would land in it.  Open the wrong way round, the stream still says that it cannot be written. */
static void hold_standard_streams(void)
{
    static const int wrong_way[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", wrong_way[fd]) != fd)
            return; /* no /dev/null: as it was */
}

int main(int argc, char **argv)
{
    hold_standard_streams();
    signal(SIGXFSZ, SIG_IGN); /* `ulimit -f` is then a write that fails, with a message and no half file */
    struct ls_error err = {.code = LS_OK};
    struct ls_comm *comm = NULL;
    if (ls_comm_create(&comm, &err) != LS_OK) {
        fprintf(stderr, "lockstep: %s\n", err.text);
        return exit_status(err.code);
    }
    ls_crash_watch(ls_comm_rank(comm), ls_comm_size(comm), ls_comm_host(comm));
    if (ls_fault_from_environment(&err) == LS_OK)
        err.code = ls_run_command(comm, argc, argv, &err);
    /* A full disk or a closed pipe behind stdout shows only now. */
    if (err.code == LS_OK && (fflush(stdout) != 0 || ferror(stdout)))
        ls_fail_errno(&err, LS_FAILED, "cannot write to standard output");
    const enum ls_code code = ls_comm_agree(comm, &err);
    if (code > LS_DIFFERENT && ls_comm_rank(comm) == 0)
        fprintf(stderr, "lockstep: %s\n", err.text);
    ls_comm_destroy(&comm);
    return exit_status(code);
}
