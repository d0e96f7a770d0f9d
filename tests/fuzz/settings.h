/* What the targets of text files share. */
#ifndef LS_FUZZ_SETTINGS_H
#define LS_FUZZ_SETTINGS_H

#include <stdio.h>
#include <string.h>

#include "fuzz.h"

/* "label=2,header=yes\n..." is the file "..." opened as FORMAT:FILE,label=2,header=yes. */
static inline void fuzz_check_with_settings(const char *format, const uint8_t *bytes, size_t n,
                                            int keep_missing)
{
    const uint8_t *end = n ? memchr(bytes, '\n', n) : NULL;
    const size_t line = end ? (size_t)(end - bytes) : n, used = end ? line + 1 : n;
    char spec[300];
    snprintf(spec, sizeof spec, "%s:%s%s%.*s", format, fuzz_file(0, bytes + used, n - used), line ? "," : "",
             (int)(line < 200 ? line : 200), (const char *)bytes);
    fuzz_check_stream(spec, keep_missing);
}

#endif
