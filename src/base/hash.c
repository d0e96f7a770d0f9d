/* A thin wrapper around libxxhash, so that one file includes it and one type goes round. */
#include "base/hash.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct ls_hash from_xxh(XXH128_hash_t h)
{
    return (struct ls_hash){.high = h.high64, .low = h.low64};
}

struct ls_hash ls_hash_bytes(const void *bytes, size_t n)
{
    return from_xxh(XXH3_128bits(bytes, n));
}

struct ls_hasher *ls_hasher_create(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state)
        XXH3_128bits_reset(state);
    return (struct ls_hasher *)state;
}

void ls_hasher_reset(struct ls_hasher *hasher)
{
    XXH3_128bits_reset((XXH3_state_t *)hasher);
}

void ls_hasher_add(struct ls_hasher *hasher, const void *bytes, size_t n)
{
    XXH3_128bits_update((XXH3_state_t *)hasher, bytes, n);
}

struct ls_hash ls_hasher_end(const struct ls_hasher *hasher)
{
    return from_xxh(XXH3_128bits_digest((const XXH3_state_t *)hasher));
}

void ls_hasher_destroy(struct ls_hasher **hasher)
{
    if (hasher && *hasher) {
        XXH3_freeState((XXH3_state_t *)*hasher);
        *hasher = NULL;
    }
}

int ls_hash_equal(struct ls_hash a, struct ls_hash b)
{
    return a.high == b.high && a.low == b.low;
}

void ls_hash_text(struct ls_hash hash, char text[LS_HASH_TEXT])
{
    snprintf(text, LS_HASH_TEXT, "%016llx%016llx", (unsigned long long)hash.high,
             (unsigned long long)hash.low);
}

int ls_hash_parse(const char *text, struct ls_hash *hash)
{
    if (strlen(text) != LS_HASH_TEXT - 1)
        return 0;
    for (const char *c = text; *c; c++)
        if (!isxdigit((unsigned char)*c))
            return 0;
    char half[17] = {0};
    memcpy(half, text, 16);
    hash->high = strtoull(half, NULL, 16);
    memcpy(half, text + 16, 16);
    hash->low = strtoull(half, NULL, 16);
    return 1;
}
