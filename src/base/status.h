/* How functions fail.
 *
 * A function that can fail because of the world (a file, memory, the network, what a user typed) returns an
 * ls_code and fills the caller's ls_error with one message for the person who reads it: what is wrong, where,
 * what was found, what is allowed, what to do.  A programmer's mistake is an assertion instead.  Nobody
 * prints or exits here: ranks first agree on the worst code (ls_comm_agree), then main.c prints once and
 * picks the exit status. */
#ifndef LS_BASE_STATUS_H
#define LS_BASE_STATUS_H

/* Also the exit statuses of the program; README lists them.  The larger is the worse when ranks agree. */
enum ls_code {
    LS_OK = 0,
    LS_DIFFERENT = 1,   /* verify found a difference; gradcheck found a gradient above tolerance */
    LS_USAGE = 2,       /* a command line that cannot be understood or carried out */
    LS_FAILED = 3,      /* the world failed: file, data, memory, message */
    LS_NONFINITE = 4,   /* training went to infinity or NaN */
    LS_REPLICA = 5,     /* replicas that must hold the same bits do not */
    LS_INTERRUPTED = 6, /* a signal ended training after a whole step */
};

struct ls_error {
    enum ls_code code;
    char text[1200];
};

/* Writes the message and the code into *err (which may be NULL) and returns the code: `return ls_fail(err,
 * ...)`. */
enum ls_code ls_fail(struct ls_error *err, enum ls_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like ls_fail, with ": strerror(errno)" behind the message. */
enum ls_code ls_fail_errno(struct ls_error *err, enum ls_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
