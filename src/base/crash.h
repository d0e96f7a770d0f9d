/* What a process says when a signal ends it: which rank, on which host, and of what.
 *
 * mpirun names the rank and the signal, never the cause, and its message is easily lost among those of the
 * ranks it then ends.  So a rank that dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT first writes one
 * line with nothing but write(2), and then dies of that very signal, by whatever handler was there before
 * (a sanitizer's, or none).  SIGBUS is how a mapped file reports a disk that fails, or a file that was cut
 * under it: who maps a file describes the range, and the line names file and byte. */
#ifndef LS_BASE_CRASH_H
#define LS_BASE_CRASH_H

#include <stddef.h>

/* Watches from now on.  Local; called once communication has started, since MPI puts handlers of its own in
 * place.  `host` is copied. */
void ls_crash_watch(int rank, int size, const char *host);

/* Bytes [begin, begin + n_bytes) of memory are those of file `path` from byte `file_offset` on.  Any thread.
 * `path` is copied, the front cut off if it is long.  Some 64 ranges can be described at a time; more are
 * silently not. */
void ls_crash_describe_range(const void *begin, size_t n_bytes, const char *path, size_t file_offset);

/* What is going on, for the line: "reading 'a.h5' with libhdf5", whose own mistakes no check of ours keeps
 * from a damaged file.  Copied; NULL: nothing in particular.  One thread at a time. */
void ls_crash_describe_work(const char *what);

/* Forgets the range that begins there; before munmap.  Unknown ones and NULL are accepted. */
void ls_crash_forget_range(const void *begin);

#endif
