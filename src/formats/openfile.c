/* Owns the decision that formats are read from regular files only: their sizes bound what reading may cost.
 */
#include "formats/openfile.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int ls_open_regular(const char *path, uint64_t *size_bytes, struct ls_error *err)
{
    struct stat status;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) != 0) {
        ls_fail_errno(err, LS_FAILED, "cannot open '%s'", path);
    } else if (!S_ISREG(status.st_mode)) {
        ls_fail(err, LS_FAILED, "cannot read '%s': it is not a regular file", path);
    } else {
        *size_bytes = (uint64_t)status.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}
