/* Owns telling models from run logs. */
#include "formats/compare.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "formats/openfile.h"
#include "formats/safetensors.h"

enum kind { UNKNOWN, MODEL, LOG };

static const char *const kind_names[] = {[MODEL] = "a model", [LOG] = "a run log"};

/* A model begins with the length of its header and '{', a log with '{'.  The text of a log, read as a length,
 * is beyond any header's. */
static enum ls_code find_kind(const char *path, enum kind *kind, struct ls_error *err)
{
    uint64_t size_bytes;
    char start[9] = "";
    uint64_t length;
    *kind = UNKNOWN;
    const int fd = ls_open_regular(path, &size_bytes, err);
    if (fd < 0)
        return LS_FAILED;
    const ssize_t n = pread(fd, start, sizeof start, 0);
    if (n < 0)
        ls_fail_errno(err, LS_FAILED, "cannot read '%s'", path);
    close(fd);
    if (n < 0)
        return LS_FAILED;
    memcpy(&length, start, 8);
    if (start[8] == '{' && length <= LS_SAFETENSORS_HEADER_BYTES)
        *kind = MODEL;
    else if (start[0] == '{')
        *kind = LOG;
    else
        return ls_fail(
            err, LS_FAILED,
            "'%s' (%llu bytes) is neither a model nor a run log: a model begins with 8 bytes of length, at "
            "most %d, and '{', a run log with '{'",
            path, (unsigned long long)size_bytes, LS_SAFETENSORS_HEADER_BYTES);
    return LS_OK;
}

enum ls_code ls_compare_files(const char *a, const char *b, FILE *out, struct ls_error *err)
{
    enum kind kind_a, kind_b;
    if (find_kind(a, &kind_a, err) != LS_OK || find_kind(b, &kind_b, err) != LS_OK)
        return LS_FAILED;
    if (kind_a != kind_b)
        return ls_fail(err, LS_FAILED, "'%s' is %s and '%s' is %s; two of one kind can be compared", a,
                       kind_names[kind_a], b, kind_names[kind_b]);
    return kind_a == MODEL ? ls_compare_models(a, b, out, err) : ls_compare_logs(a, b, out, err);
}
