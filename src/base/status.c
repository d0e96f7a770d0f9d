/* Owns the wording of nothing: it only carries messages from where a thing failed to where it is printed. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void write_message(struct ls_error *err, enum ls_code code, const char *format, va_list args)
{
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
}

enum ls_code ls_fail(struct ls_error *err, enum ls_code code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        write_message(err, code, format, args);
        va_end(args);
    }
    return code;
}

enum ls_code ls_fail_errno(struct ls_error *err, enum ls_code code, const char *format, ...)
{
    const int cause = errno;
    if (err) {
        va_list args;
        va_start(args, format);
        write_message(err, code, format, args);
        va_end(args);
        const size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(cause));
    }
    return code;
}
