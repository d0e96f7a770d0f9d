/* Fuzzing: what every target shares.
 *
 * A target is one file, fuzz_NAME.c, that hands bytes to one reader of the project and checks what it gives.
 * Each is built twice: with libFuzzer into a program of its own (`make fuzz`), and with any compiler into
 * fuzz-replay, which runs the committed inputs through all of them (`make test`).
 *
 * Beside crashes and what the sanitizers see, an input is a finding when it leaves a block of memory or an
 * open file behind, makes the program ask for more memory at once than fuzz_limit_bytes, makes it open a path
 * that is not the input's own, fails without a message, or breaks what a target requires. */
#ifndef LS_FUZZ_H
#define LS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/dataset.h"

enum { FUZZ_FILES = 4, FUZZ_TEXT = 1 << 16 };

/* The most that may be asked for at once; a target may set it for its inputs. */
extern size_t fuzz_limit_bytes;
enum { FUZZ_LIMIT_BYTES = 16 << 20 };

/* Set by a target in whose input the user names files: none of them is there. */
extern int fuzz_hides_files;

/* Set by fuzz-replay for files that are named: failures are printed. */
extern int fuzz_shows;

/* The path of a regular file in memory with these bytes, until the same slot is filled again. */
const char *fuzz_file(int slot, const void *bytes, size_t n);

/* The same on a file system, for a library that wants to know where the file really is. */
const char *fuzz_disk_file(const void *bytes, size_t n);

/* Lets a path that is not there stand for the file in a slot, until the input is done with. */
void fuzz_alias(int slot, const char *path);

/* The input as text: up to its first zero byte, and at most FUZZ_TEXT - 1 long.  Lasts until the next call.
 */
char *fuzz_text(const uint8_t *bytes, size_t n);

/* Ends the program with what is wrong, unless it holds. */
void fuzz_require(int holds, const char *what);

/* A failure has the code that was returned and a message; success has neither. */
void fuzz_require_message(enum ls_code code, const struct ls_error *err);

/* What ls_data_open promises: of data that was opened, every number is looked at; of data that was not, all
 * is zero.  Releases it. */
void fuzz_check_data(enum ls_code code, struct ls_data *data, const struct ls_error *err);

/* Opens a specification as a stream, reads it to its end in small blocks, goes back and reads the beginning
 * again: the numbers are fit to be used, and the same bits. */
void fuzz_check_stream(const char *spec, int keep_missing);

/* Around each input. */
void fuzz_begin(void);
void fuzz_end(void);

typedef void (*fuzz_function)(const uint8_t *bytes, size_t n);

#ifdef LS_LIBFUZZER
#    define FUZZ_TARGET(name)                                                                                \
        static void fuzz_##name(const uint8_t *bytes, size_t n);                                             \
        int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);                                          \
        int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)                                           \
        {                                                                                                    \
            fuzz_begin();                                                                                    \
            fuzz_##name(bytes, n);                                                                           \
            fuzz_end();                                                                                      \
            return 0;                                                                                        \
        }                                                                                                    \
        static void fuzz_##name(const uint8_t *bytes, size_t n)
#else
#    define FUZZ_TARGET(name)                                                                                \
        void fuzz_##name(const uint8_t *bytes, size_t n);                                                    \
        void fuzz_##name(const uint8_t *bytes, size_t n)
#endif

#endif
