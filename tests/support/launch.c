#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int belongs_to_a_job(const char *entry)
{
    static const char *const prefixes[] = {"OMPI_", "PMIX_", "PMI_", "PRTE_", "SLURM_STEP_", "MV2_"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
            return 1;
    return 0;
}

static void unset_entry(const char *entry)
{
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(entry, "="), entry);
    unsetenv(name);
}

static void leave_any_job(void)
{
    for (char **entry = environ; *entry;) {
        if (belongs_to_a_job(*entry)) {
            unset_entry(*entry);
            entry = environ; /* it has moved */
        } else {
            entry++;
        }
    }
}

/* Leaks are looked for in programs that run alone.  Under mpirun the sanitizer would have to unwind slowly to
 * know Open MPI's own, which makes a run of 0.7 s one of 3.7; scripts/test.sh does it for a few.  Without a
 * sanitizer nobody reads these. */
static void advise_sanitizers(int mpi)
{
    char folder[PATH_MAX - 100], options[PATH_MAX];
    if (!getcwd(folder, sizeof folder))
        return;
    snprintf(options, sizeof options, "suppressions=%s/tests/support/lsan.supp:print_suppressions=0", folder);
    setenv("LSAN_OPTIONS", options, 0);
    setenv("ASAN_OPTIONS", mpi ? "detect_leaks=0:allocator_may_return_null=1" : "allocator_may_return_null=1",
           1);
}

static void advise_mpi(void)
{
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("OMPI_MCA_rmaps_base_oversubscribe", "1", 1);
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
    setenv("OMP_WAIT_POLICY", "passive", 1);
}

static void apply(const char *const env[])
{
    for (; env && *env; env++) {
        char name[256];
        const char *value = strchr(*env, '=');
        unset_entry(*env);
        if (!value)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(value - *env), *env);
        setenv(name, value + 1, 1);
    }
}

/* In the child: never returns. */
static void become(const char *const argv[], const char *const env[], int mpi, const int out[2],
                   const int err[2])
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    leave_any_job();
    advise_sanitizers(mpi);
    if (mpi)
        advise_mpi();
    apply(env);
    execvp(argv[0], (char *const *)(const void *)argv);
    fprintf(stderr, "cannot start \"%s\": %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Reads what is there; 0 once the other side has closed. */
static int read_some(int fd, char *text, size_t *used)
{
    char beyond[4096];
    const size_t space = LS_OUTCOME_TEXT - 1 - *used;
    const ssize_t got = read(fd, space ? text + *used : beyond, space ? space : sizeof beyond);
    if (got > 0 && space)
        *used += (size_t)got;
    return got > 0 || (got < 0 && errno == EINTR);
}

/* Until both streams are closed (1) or the time is over (0). */
static int capture(struct ls_outcome *outcome, int out, int err, double deadline)
{
    struct pollfd streams[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    size_t used[2] = {strlen(outcome->out), strlen(outcome->err)};
    char *const texts[2] = {outcome->out, outcome->err};
    while (streams[0].fd >= 0 || streams[1].fd >= 0) {
        const double left = deadline - now_s();
        if (left <= 0)
            return 0;
        if (poll(streams, 2, (int)(left * 1000) + 1) < 0 && errno != EINTR)
            return 0;
        for (int i = 0; i < 2; i++) {
            if (streams[i].fd >= 0 && streams[i].revents && !read_some(streams[i].fd, texts[i], &used[i]))
                streams[i].fd = -1;
            texts[i][used[i]] = '\0';
        }
    }
    return 1;
}

/* Waits for the end until the deadline; 1 when it has ended. */
static int reap(pid_t child, int *status, double deadline)
{
    for (;;) {
        const pid_t ended = waitpid(child, status, WNOHANG);
        if (ended == child || (ended < 0 && errno != EINTR))
            return ended == child;
        if (now_s() > deadline)
            return 0;
        const struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
}

/* SIGTERM lets mpirun end its ranks; what ignores that is killed. */
static void end_group(pid_t child, struct ls_outcome *outcome, int out, int err, int *status)
{
    kill(-child, SIGTERM);
    capture(outcome, out, err, now_s() + 2);
    kill(-child, SIGCONT);
    if (!reap(child, status, now_s() + 1)) {
        kill(-child, SIGKILL);
        waitpid(child, status, 0);
    }
}

static int run(struct ls_outcome *outcome, double timeout_s, const char *const env[],
               const char *const argv[], int mpi)
{
    int out[2], err[2], status = 0;
    const double begin = now_s();
    outcome->status = -1;
    outcome->signal = outcome->timed_out = 0;
    outcome->out[0] = outcome->err[0] = '\0';
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        snprintf(outcome->err, sizeof outcome->err, "no pipe: %s", strerror(errno));
        return -1;
    }
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        become(argv, env, mpi, out, err);
    close(out[1]);
    close(err[1]);
    if (child < 0) {
        snprintf(outcome->err, sizeof outcome->err, "no process: %s", strerror(errno));
    } else {
        outcome->timed_out =
            !capture(outcome, out[0], err[0], begin + timeout_s) || !reap(child, &status, begin + timeout_s);
        if (outcome->timed_out)
            end_group(child, outcome, out[0], err[0], &status);
        else
            outcome->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        outcome->signal = !outcome->timed_out && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }
    close(out[0]);
    close(err[0]);
    outcome->seconds = now_s() - begin;
    return outcome->status;
}

int ls_launch(struct ls_outcome *outcome, double timeout_s, const char *const env[], const char *const argv[])
{
    return run(outcome, timeout_s, env, argv, 0);
}

/* Waits until fewer than MOST_MPIRUNS jobs of this build folder run; returns a file to close afterwards, or
 * -1 with errno. */
static int take_a_place(void)
{
    enum { MOST_MPIRUNS = 4 };
    char path[PATH_MAX];
    for (int i = 0;; i = (i + 1) % MOST_MPIRUNS) {
        snprintf(path, sizeof path, LS_BUILD "/mpirun-%d.lock", i);
        const int place = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
        if (place < 0 || flock(place, LOCK_EX | LOCK_NB) == 0)
            return place;
        const int cause = errno;
        close(place);
        errno = cause;
        if (cause != EWOULDBLOCK && cause != EINTR)
            return -1;
        const struct timespec pause = {.tv_nsec = 5000000};
        nanosleep(&pause, NULL);
    }
}

int ls_launch_mpi(struct ls_outcome *outcome, int ranks, double timeout_s, const char *const env[],
                  const char *const argv[])
{
    enum { MOST_ARGS = 128 };
    char ranks_text[16], limit_text[16];
    snprintf(ranks_text, sizeof ranks_text, "%d", ranks);
    snprintf(limit_text, sizeof limit_text, "%d",
             (int)timeout_s + 1); /* in case the limit here is not reached */
    const char *command[MOST_ARGS] = {"mpirun",    "--oversubscribe", "--bind-to", "none",
                                      "--timeout", limit_text,        "-n",        ranks_text};
    int n = 8;
    for (int i = 0; argv[i] && n < MOST_ARGS - 1; i++)
        command[n++] = argv[i];
    command[n] = NULL;

    const int place = take_a_place();
    if (place < 0) {
        *outcome = (struct ls_outcome){.status = -1};
        snprintf(outcome->err, sizeof outcome->err,
                 "cannot lock a file %s/mpirun-*.lock: %s (tests run from the repository's root)", LS_BUILD,
                 strerror(errno));
    } else {
        /* Once in thousands of jobs whose ranks all fail, Open MPI 4.1's mpirun itself crashes while it ends
         * (in PMIx_server_finalize); a rank's crash would not be its own. */
        if (run(outcome, timeout_s, env, command, 1) == 128 + SIGSEGV && outcome->signal == SIGSEGV)
            run(outcome, timeout_s, env, command, 1);
    }
    if (place >= 0)
        close(place);
    return outcome->status;
}
