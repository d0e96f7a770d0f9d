/* Last words: what a process that a signal ends has written before. */
#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crash.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { SANITIZED = 1 }; /* its own report follows, and its own way to end */
#else
enum { SANITIZED = 0 };
#endif

/* Runs `die` in a child that is rank 2 of 4; returns its wait status, its stderr in `text`. */
static int last_words_of(void (*die)(void), char *text, size_t size)
{
    int ends[2];
    cr_assert(pipe(ends) == 0);
    const pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        /* Criterion's own, inherited. */
        const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
        for (size_t i = 0; !SANITIZED && i < sizeof numbers / sizeof *numbers; i++)
            signal(numbers[i], SIG_DFL);
        ls_crash_watch(2, 4, "node7");
        ls_crash_watch(2, 4, "node7"); /* twice is once */
        die();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(ends[0], text + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

static int died_of(int status, int number)
{
    return SANITIZED ? !WIFEXITED(status) || WEXITSTATUS(status) != 0
                     : WIFSIGNALED(status) && WTERMSIG(status) == number;
}

static char file_name[] = "/tmp/lockstep-crash-XXXXXX";
static size_t page;
static volatile unsigned char sink;

/* A mapping of two pages whose second one the file loses. */
static const unsigned char *cut_file(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    const int fd = mkstemp(file_name);
    if (fd < 0 || ftruncate(fd, (off_t)(2 * page)) != 0)
        _exit(9);
    const unsigned char *bytes = mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED || ftruncate(fd, (off_t)page) != 0)
        _exit(9);
    unlink(file_name);
    return bytes;
}

static void read_cut_file(void)
{
    const unsigned char *bytes = cut_file();
    ls_crash_describe_range(bytes, 2 * page, "data/train.lsd", 4096);
    sink = bytes[page + 5];
}

static void read_forgotten_file(void)
{
    const unsigned char *bytes = cut_file();
    ls_crash_describe_range(bytes, 2 * page, "data/train.lsd", 0);
    ls_crash_forget_range(NULL);
    ls_crash_forget_range(bytes + 1);
    ls_crash_forget_range(bytes);
    sink = bytes[page + 5];
}

static void check_and_fail(void)
{
    abort();
}

static void write_nowhere(void)
{
    volatile int *volatile nowhere = (volatile int *)64; /* the first page is never there */
    *nowhere = 1;
}

static void describe_too_many(void)
{
    static unsigned char many[200];
    for (int i = 0; i < 200; i++)
        ls_crash_describe_range(many + i, 1, "x", 0);
    for (int i = 0; i < 200; i++)
        ls_crash_forget_range(many + i);
    read_cut_file(); /* there is room again */
}

Test(crash, a_mapped_file_that_was_cut_is_named_with_the_byte, .timeout = 20)
{
    void (*const ways[])(void) = {read_cut_file, describe_too_many};
    for (size_t i = 0; i < 2; i++) {
        char text[8192], expected[200];
        const int status = last_words_of(ways[i], text, sizeof text);
        snprintf(expected, sizeof expected,
                 "lockstep: rank 2 of 4, on node7, ends: reading 'data/train.lsd' failed at byte %zu: an "
                 "input/output error, or the file was cut while it was read (SIGBUS)\n",
                 4096 + (size_t)sysconf(_SC_PAGESIZE) + 5);
        cr_assert(died_of(status, SIGBUS), "status %x\n%s", (unsigned)status, text);
        cr_assert(strncmp(text, expected, strlen(expected)) == 0, "%s\nexpected %s", text, expected);
    }
}

Test(crash, a_forgotten_file_is_not_named, .timeout = 20)
{
    char text[8192];
    const int status = last_words_of(read_forgotten_file, text, sizeof text);
    cr_assert(died_of(status, SIGBUS) && strstr(text, "rank 2 of 4, on node7, ends: SIGBUS, memory or"), "%s",
              text);
    cr_assert(!strstr(text, "train.lsd"), "%s", text);
}

Test(crash, an_abort_and_a_wild_write_are_told, .timeout = 20)
{
    char text[8192];
    int status = last_words_of(check_and_fail, text, sizeof text);
    cr_assert(died_of(status, SIGABRT) && strstr(text, "ends: SIGABRT, a check inside the program"), "%s",
              text);
    cr_assert(!strstr(text, "sent by"), "%s", text);
    status = last_words_of(write_nowhere, text, sizeof text);
    cr_assert(died_of(status, SIGSEGV) && strstr(text, "ends: SIGSEGV, an address"), "%s", text);
}
