/* Signals that ask a run to end well: SIGINT, SIGTERM, and SIGUSR1, which batch systems send before a time
 * limit.
 *
 * A handler only takes a note, so a signal may come twice (mpirun sends some so).  The trainer looks at the
 * note once a step and tells the other ranks.  A second SIGINT ends the process at once. */
#ifndef LS_TRAIN_SIGNALS_H
#define LS_TRAIN_SIGNALS_H

/* From here on the signals are noted; before, and after ls_signals_release, they do what they did.  A signal
 * that this process was told to ignore (nohup) stays ignored. */
void ls_signals_catch(void);
void ls_signals_release(void);

/* The first signal that came since ls_signals_catch, or 0. */
int ls_signals_caught(void);

#endif
