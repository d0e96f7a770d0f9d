/* Owns the loop around pread. */
#include "base/read_at.h"

#include <errno.h>
#include <unistd.h>

ptrdiff_t ls_read_at(int file, int64_t at, void *bytes, size_t n)
{
    size_t done = 0;
    while (done < n) {
        const ssize_t got = pread(file, (char *)bytes + done, n - done, (off_t)(at + (int64_t)done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ptrdiff_t)done;
}
