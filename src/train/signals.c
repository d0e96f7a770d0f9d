/* Owns the handlers.  See signals.h. */
#include "train/signals.h"

#include <signal.h>
#include <stddef.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
enum { N_NUMBERS = sizeof numbers / sizeof numbers[0] };

static volatile sig_atomic_t caught, interrupted;
static struct sigaction before[N_NUMBERS];
static int catching;

static void note(int number)
{
    if (number == SIGINT && interrupted) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT); /* comes when this handler returns */
        return;
    }
    interrupted |= number == SIGINT;
    if (!caught)
        caught = number;
}

void ls_signals_catch(void)
{
    struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    caught = interrupted = 0;
    for (int i = 0; i < N_NUMBERS; i++) {
        sigaction(numbers[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
    catching = 1;
}

void ls_signals_release(void)
{
    for (int i = 0; catching && i < N_NUMBERS; i++)
        sigaction(numbers[i], &before[i], NULL);
    catching = caught = 0;
}

int ls_signals_caught(void)
{
    return (int)caught;
}
