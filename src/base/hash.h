/* The 128-bit hash of parameters that runs are compared by: XXH3-128 of libxxhash, over tensors in order,
 * each as its little-endian binary32 bytes in memory order (dense weights: input-major). */
#ifndef LS_BASE_HASH_H
#define LS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct ls_hash {
    uint64_t high, low;
};

enum { LS_HASH_TEXT = 33 }; /* 32 hexadecimal digits and a terminator */

struct ls_hash ls_hash_bytes(const void *bytes, size_t n);

/* The hash of several pieces as if they lay in one: begin, add ..., end.  NULL only when memory is out. */
struct ls_hasher;
struct ls_hasher *ls_hasher_create(void);
void ls_hasher_reset(struct ls_hasher *hasher);
void ls_hasher_add(struct ls_hasher *hasher, const void *bytes, size_t n);
struct ls_hash ls_hasher_end(const struct ls_hasher *hasher);
void ls_hasher_destroy(struct ls_hasher **hasher);

int ls_hash_equal(struct ls_hash a, struct ls_hash b);

/* The canonical big-endian digits, as xxhsum -H2 prints them. */
void ls_hash_text(struct ls_hash hash, char text[LS_HASH_TEXT]);

/* Reads such digits; 0 when `text` is not 32 of them. */
int ls_hash_parse(const char *text, struct ls_hash *hash);

#endif
