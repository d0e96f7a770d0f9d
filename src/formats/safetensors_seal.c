/* Owns the check of sealed files.  It believes nothing: the bytes are compared with the checksum before
 * anyone reads the header as JSON. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/read_at.h"
#include "formats/openfile.h"
#include "formats/safetensors.h"

enum {
    BLOCK_BYTES = 1 << 16,
    DIGITS = LS_HASH_TEXT - 1,
    DIGITS_AT = 8 + sizeof LS_SEAL_BEGINNING - 1,
    LEAST_BYTES = DIGITS_AT + DIGITS
};

/* Takes the digits out of the file's first block, leaving zeros. */
static enum ls_code take_digits(const char *path, char *block, size_t n, char digits[LS_HASH_TEXT],
                                struct ls_error *err)
{
    if (n < LEAST_BYTES)
        return ls_fail(err, LS_FAILED, "'%s' is cut short: it has %zu bytes, a checkpoint begins with %d",
                       path, n, (int)LEAST_BYTES);
    if (memcmp(block + 8, LS_SEAL_BEGINNING, sizeof LS_SEAL_BEGINNING - 1) != 0)
        return ls_fail(err, LS_FAILED,
                       "'%s' does not begin with a checksum: it is no checkpoint, or it is damaged", path);
    memcpy(digits, block + DIGITS_AT, DIGITS);
    digits[DIGITS] = '\0';
    memset(block + DIGITS_AT, '0', DIGITS);
    return LS_OK;
}

static enum ls_code check_open(int fd, const char *path, char *block, size_t room, struct ls_hasher *hasher,
                               struct ls_hash *checksum, struct ls_error *err)
{
    char stated[LS_HASH_TEXT] = "", found[LS_HASH_TEXT];
    ptrdiff_t n = 0;
    for (int64_t at = 0; (n = ls_read_at(fd, at, block, room)) > 0 || (n == 0 && at == 0); at += n) {
        if (at == 0 && take_digits(path, block, (size_t)n, stated, err) != LS_OK)
            return LS_FAILED;
        ls_hasher_add(hasher, block, (size_t)n);
    }
    if (n < 0)
        return ls_fail_errno(err, LS_FAILED, "cannot read '%s'", path);
    *checksum = ls_hasher_end(hasher);
    ls_hash_text(*checksum, found);
    if (strcmp(stated, found) == 0)
        return LS_OK;
    for (int i = 0; i < DIGITS; i++) /* of a damaged file: nothing for a terminal */
        if (stated[i] < '0' || stated[i] > 'f')
            stated[i] = '?';
    return ls_fail(err, LS_FAILED, "'%s' is damaged: its checksum is %s, its header says %s", path, found,
                   stated);
}

enum ls_code ls_safetensors_check_seal(const char *path, struct ls_hash *checksum, struct ls_error *err)
{
    uint64_t size_bytes = 0;
    enum ls_code code = LS_FAILED;
    const int fd = ls_open_regular(path, &size_bytes, err);
    if (fd < 0)
        return LS_FAILED;
    /* One more byte than a small file has, so that it is seen to end. */
    const size_t room = size_bytes < BLOCK_BYTES ? (size_t)size_bytes + 1 : BLOCK_BYTES;
    char *block = ls_alloc(room, 1, "block of a checkpoint", err);
    struct ls_hasher *hasher = ls_hasher_create();
    if (block && hasher)
        code = check_open(fd, path, block, room, hasher, checksum, err);
    else if (block)
        ls_fail(err, LS_FAILED, "checksum: out of memory");
    ls_hasher_destroy(&hasher);
    ls_free(block);
    close(fd);
    return code;
}
