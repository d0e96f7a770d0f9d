/* Owns the last words of a process.  See crash.h.  Everything that the handler calls is async-signal-safe. */
#include "base/crash.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_RANGES = 64, PATH_TEXT = 256, LINE_TEXT = 640, STACK_BYTES = 1 << 16 };

struct range {
    atomic_int taken;
    _Atomic(uintptr_t) begin; /* 0 until all the rest is set */
    size_t n_bytes, file_offset;
    char path[PATH_TEXT];
};

struct watched {
    int number;
    const char *what;
    struct sigaction before;
};

static struct range ranges[MOST_RANGES];
static char who[160];
static char work[PATH_TEXT + 80];                   /* empty: nothing in particular */
static _Alignas(64) char signal_stack[STACK_BYTES]; /* also a stack that ran over has a last word */
static struct watched watched[] = {
    {.number = SIGSEGV, .what = "SIGSEGV, an address that is not there"},
    {.number = SIGBUS, .what = "SIGBUS"},
    {.number = SIGFPE, .what = "SIGFPE, an integer division by zero"},
    {.number = SIGILL, .what = "SIGILL, an instruction that this processor does not have"},
    {.number = SIGABRT, .what = "SIGABRT, a check inside the program or a library failed"},
};

enum { N_WATCHED = sizeof watched / sizeof *watched };

/* A line that is put together without stdio. */
struct line {
    size_t length;
    char text[LINE_TEXT];
};

static void add(struct line *line, const char *text)
{
    for (; *text && line->length < LINE_TEXT - 1; text++)
        line->text[line->length++] = *text;
}

static void add_number(struct line *line, uintptr_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    add(line, digits + at);
}

static const struct range *range_of(uintptr_t address)
{
    for (int i = 0; i < MOST_RANGES; i++) {
        const uintptr_t begin = atomic_load(&ranges[i].begin);
        if (begin != 0 && address >= begin && address - begin < ranges[i].n_bytes)
            return &ranges[i];
    }
    return NULL;
}

static void add_cause(struct line *line, const struct watched *w, const siginfo_t *info)
{
    const int faulted = info->si_code > 0 && (w->number == SIGBUS || w->number == SIGSEGV);
    const uintptr_t address = (uintptr_t)info->si_addr;
    const struct range *range = faulted ? range_of(address) : NULL;
    if (range) {
        add(line, "reading '");
        add(line, range->path);
        add(line, "' failed at byte ");
        add_number(line, range->file_offset + (address - atomic_load(&range->begin)));
        add(line, ": an input/output error, or the file was cut while it was read (");
        add(line, w->what);
        add(line, ")");
        return;
    }
    add(line, w->what);
    if (w->number == SIGBUS)
        add(line, ", memory or a mapped file that cannot be read");
    if (info->si_code <= 0 && info->si_pid != getpid()) {
        add(line, "; sent by process ");
        add_number(line, (uintptr_t)info->si_pid);
    }
}

/* Says it, and leaves the rest to who was there before: a fault repeats itself on return, another signal is
 * raised again. */
static void last_words(int number, siginfo_t *info, void *context)
{
    (void)context;
    struct line line = {.length = 0};
    for (int i = 0; i < N_WATCHED; i++)
        if (watched[i].number == number) {
            add(&line, "lockstep: ");
            add(&line, who);
            add(&line, " ends: ");
            add_cause(&line, &watched[i], info);
            add(&line, work[0] ? "; while " : "");
            add(&line, work);
            sigaction(number, &watched[i].before, NULL);
        }
    line.text[line.length++] = '\n';
    const ssize_t written = write(STDERR_FILENO, line.text, line.length);
    (void)written;
    if (info->si_code <= 0)
        raise(number);
}

static int is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == last_words;
}

/* Where no sanitizer reports, the signal's own action ends the process: MPI's handlers would only add pages
 * of addresses. */
static void keep_before(struct watched *w, const struct sigaction *before)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    w->before = *before;
#else
    (void)before;
    w->before = (struct sigaction){.sa_handler = SIG_DFL};
#endif
}

void ls_crash_watch(int rank, int size, const char *host)
{
    snprintf(who, sizeof who, "rank %d of %d, on %s,", rank, size, host);
    const stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK}, before;
    action.sa_sigaction = last_words;
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < N_WATCHED; i++)
        if (sigaction(watched[i].number, &action, &before) == 0 && !is_ours(&before))
            keep_before(&watched[i], &before);
}

void ls_crash_describe_work(const char *what)
{
    snprintf(work, sizeof work, "%s", what ? what : "");
}

void ls_crash_describe_range(const void *begin, size_t n_bytes, const char *path, size_t file_offset)
{
    const size_t length = strlen(path), most = PATH_TEXT - 1;
    for (int i = 0; i < MOST_RANGES; i++) {
        struct range *range = &ranges[i];
        int free = 0;
        if (!atomic_compare_exchange_strong(&range->taken, &free, 1))
            continue;
        snprintf(range->path, sizeof range->path, "%s", length > most ? path + (length - most) : path);
        range->n_bytes = n_bytes;
        range->file_offset = file_offset;
        atomic_store(&range->begin, (uintptr_t)begin);
        return;
    }
}

void ls_crash_forget_range(const void *begin)
{
    for (int i = 0; begin && i < MOST_RANGES; i++) {
        uintptr_t expected = (uintptr_t)begin;
        if (atomic_compare_exchange_strong(&ranges[i].begin, &expected, 0)) {
            atomic_store(&ranges[i].taken, 0);
            return;
        }
    }
}
