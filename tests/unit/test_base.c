/* base/memory.c, base/status.c, base/text.c and base/hash.c: what the rest of the program takes for granted.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/elementary.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "compute/ops.h"
#include "compute/placement.h"

Test(memory, blocks_are_zeroed_aligned_and_counted)
{
    const long before = ls_memory_balance();
    void *blocks[65];
    /* Freed and dirty memory first, so that zeroes are not luck. */
    for (int round = 0; round < 2; round++) {
        for (size_t n = 0; n < 65; n++) {
            struct ls_error err = {.code = LS_OK};
            unsigned char *bytes = blocks[n] = ls_alloc(n * 13, 7, "row", &err);
            cr_assert_not_null(bytes);
            cr_assert((uintptr_t)bytes % 64 == 0, "block of %zu bytes at %p", n * 91, (void *)bytes);
            for (size_t i = 0; i < n * 91; i++)
                cr_assert(bytes[i] == 0, "byte %zu of %zu is %d", i, n * 91, bytes[i]);
            memset(bytes, 0xab, n * 91);
            cr_assert(err.code == LS_OK);
        }
        cr_assert(ls_memory_balance() == before + 65, "%ld live blocks", ls_memory_balance() - before);
        for (size_t n = 0; n < 65; n++)
            ls_free(blocks[n]);
        ls_free(NULL);
        cr_assert(ls_memory_balance() == before, "%ld live blocks", ls_memory_balance() - before);
    }
}

/* Pages of a block that are in memory; -1 where the sanitizer's heap has the block. */
static long resident_pages(void *block, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (bytes + page - 1) / page;
    static unsigned char map[1 << 16];
    long resident = 0;
    if ((uintptr_t)block % LS_HUGE_PAGE_BYTES != 0)
        return -1;
    cr_assert(n <= sizeof map && mincore(block, bytes, map) == 0, "%zu pages: %s", n, strerror(errno));
    for (size_t i = 0; i < n; i++)
        resident += map[i] & 1;
    return resident;
}

/* A large block starts on a huge page, and the first to touch it is the caller. */
Test(memory, large_blocks_are_untouched)
{
    const size_t huge = LS_HUGE_PAGE_BYTES;
    const size_t sizes[] = {huge / 2,     huge - 64, huge,          huge + 1,
                            3 * huge / 2, 2 * huge,  2 * huge + 64, 32 * huge + 5};
    struct ls_error err = {.code = LS_OK};
    for (int round = 0; round < 2; round++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            unsigned char *block = ls_alloc(sizes[s], 1, "large", &err);
            cr_assert_not_null(block, "%s", err.text);
            const long resident = resident_pages(block, sizes[s]);
            if (resident < 0) {
                cr_assert((uintptr_t)block % 64 == 0);
            } else {
                cr_expect(resident == 0, "%zu bytes: %ld pages touched", sizes[s], resident);
            }
            for (size_t i = 0; i < sizes[s]; i++)
                cr_assert(block[i] == 0, "byte %zu of %zu is %d", i, sizes[s], block[i]);
            memset(block, 0xab, sizes[s]);
            ls_free(block);
        }
    cr_expect(ls_memory_balance() == 0);
}

/* Which is all in one piece: half a huge page's worth of small ones is the heap's. */
Test(memory, small_blocks_take_no_mapping)
{
    struct ls_error err = {.code = LS_OK};
    void *block = ls_alloc(LS_HUGE_PAGE_BYTES / 2 - 64, 1, "small", &err);
    cr_assert_not_null(block);
    cr_expect((uintptr_t)block % LS_HUGE_PAGE_BYTES != 0, "%p", block);
    ls_free(block);
}

/* Faults of this thread and of all: who touches a page first has the fault. */
static void count_faults(long *mine, long *all)
{
    struct rusage usage;
    cr_assert(getrusage(RUSAGE_THREAD, &usage) == 0);
    *mine = usage.ru_minflt;
    cr_assert(getrusage(RUSAGE_SELF, &usage) == 0);
    *all = usage.ru_minflt;
}

Test(memory, a_block_is_placed_by_the_whole_team)
{
    const size_t bytes = 64 * (size_t)LS_HUGE_PAGE_BYTES;
    struct ls_error err = {.code = LS_OK};
    long mine[2], all[2];
    ls_ops_set_threads(4);
    void *small = ls_alloc(LS_HUGE_PAGE_BYTES, 1, "small", &err), *block = ls_alloc(bytes, 1, "large", &err),
         *before = ls_alloc(bytes, 1, "large", &err);
    cr_assert(small && block && before);
    ls_place(small, LS_HUGE_PAGE_BYTES);
    ls_place(NULL, bytes);
    if (resident_pages(block, bytes) < 0 || ls_ops_threads() < 4) {
        ls_free(small);
        ls_free(block);
        ls_free(before);
        cr_skip_test("a sanitizer's heap, or one thread");
    }
    cr_expect(resident_pages(small, LS_HUGE_PAGE_BYTES) == 0, "one place: left alone");
    ls_place(before, bytes); /* starts the threads, which has faults of its own */
    count_faults(&mine[0], &all[0]);
    ls_place(block, bytes);
    count_faults(&mine[1], &all[1]);
    const long own = mine[1] - mine[0], total = all[1] - all[0];
    cr_expect(resident_pages(block, bytes) == (long)(bytes / (size_t)sysconf(_SC_PAGESIZE)), "all are there");
    cr_expect(total >= 64 && own <= total / 2 && own >= 16, "this thread had %ld of %ld faults", own, total);
    ls_free(small);
    ls_free(block);
    ls_free(before);
}

Test(memory, an_impossible_size_is_a_message)
{
    const struct {
        size_t count, size;
    } cases[] = {{SIZE_MAX, 1},
                 {SIZE_MAX / 2, 3},
                 {SIZE_MAX / 4 + 1, 4},
                 {(size_t)1 << 32, (size_t)1 << 32},
                 {1, SIZE_MAX}};
    const long before = ls_memory_balance();
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct ls_error err = {.code = LS_OK};
        cr_expect_null(ls_alloc(cases[c].count, cases[c].size, "weights", &err), "case %zu", c);
        cr_expect(err.code == LS_FAILED, "case %zu: code %d", c, (int)err.code);
        cr_expect(strstr(err.text, "weights") != NULL, "case %zu: '%s'", c, err.text);
    }
    cr_expect_null(ls_alloc(SIZE_MAX, 2, "weights", NULL), "nobody need listen");
    cr_expect(ls_memory_balance() == before);
}

Test(memory, copies_text)
{
    struct ls_error err;
    const char text[] = "a row of words";
    char *copy = ls_copy_text(text, &err), *nothing = ls_copy_text("", &err);
    cr_assert(copy && copy != text && strcmp(copy, text) == 0);
    cr_assert(nothing && nothing[0] == '\0');
    ls_free(copy);
    ls_free(nothing);
    cr_expect(ls_memory_balance() == 0);
}

Test(status, carries_code_and_message)
{
    struct ls_error err = {.code = LS_OK};
    cr_expect(ls_fail(&err, LS_USAGE, "'%s' is %d, allowed are 1 to 3", "--ranks", 9) == LS_USAGE);
    cr_expect(err.code == LS_USAGE);
    cr_expect_str_eq(err.text, "'--ranks' is 9, allowed are 1 to 3");
    cr_expect(ls_fail(NULL, LS_NONFINITE, "nobody listens") == LS_NONFINITE);
    cr_expect(ls_fail_errno(NULL, LS_FAILED, "nobody listens") == LS_FAILED);
    errno = ENOENT;
    cr_expect(ls_fail_errno(&err, LS_FAILED, "cannot open '%s'", "data.bin") == LS_FAILED);
    cr_expect(err.code == LS_FAILED);
    cr_expect_str_eq(err.text, "cannot open 'data.bin': No such file or directory");
}

Test(status, a_long_message_is_cut_not_overrun)
{
    struct {
        struct ls_error err;
        char fence[64];
    } guarded;
    char long_name[2 * sizeof guarded.err.text];
    memset(&guarded, 0x5a, sizeof guarded);
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    errno = EACCES;
    ls_fail_errno(&guarded.err, LS_FAILED, "cannot open '%s'", long_name);
    cr_expect(strlen(guarded.err.text) == sizeof guarded.err.text - 1);
    for (size_t i = 0; i < sizeof guarded.fence; i++)
        cr_assert(guarded.fence[i] == 0x5a, "byte %zu behind the message was written", i);
}

Test(status, codes_are_the_exit_statuses)
{
    cr_expect(LS_OK == 0 && LS_DIFFERENT == 1 && LS_USAGE == 2 && LS_FAILED == 3 && LS_NONFINITE == 4 &&
              LS_REPLICA == 5);
}

/* The digest of nothing is the published one.  The others, one for each of the three length classes, pin what
 * libxxhash 0.8.1 gives: a checkpoint written today must verify with any later library. */
Test(hash, known_digests)
{
    const struct {
        const char *bytes, *digits;
    } cases[] = {{"", "99aa06d3014798d86001c324468d497f"},
                 {"a", "a96faf705af16834e6c632b61e964e1f"},
                 {"lockstep: one result", "d8419c17add2cc7ed1a5dca1415f612e"},
                 {"eight ranks of three threads hold the same bits as one, and so does the serial mode; this "
                  "text is longer than 128 bytes and shorter than 240",
                  "f16fb5ea38924de0a94fbc6c70875038"}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        char text[LS_HASH_TEXT];
        ls_hash_text(ls_hash_bytes(cases[c].bytes, strlen(cases[c].bytes)), text);
        cr_expect_str_eq(text, cases[c].digits, "hash of '%s': %s", cases[c].bytes, text);
    }
}

Test(hash, pieces_hash_like_the_whole)
{
    unsigned char bytes[3000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * i >> 3);
    struct ls_hasher *hasher = ls_hasher_create();
    cr_assert_not_null(hasher);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 37) {
        ls_hasher_reset(hasher);
        ls_hasher_add(hasher, bytes, cut);
        ls_hasher_add(hasher, bytes + cut, sizeof bytes - cut);
        cr_assert(ls_hash_equal(ls_hasher_end(hasher), ls_hash_bytes(bytes, sizeof bytes)), "cut at %zu",
                  cut);
    }
    ls_hasher_destroy(&hasher);
    cr_expect_null(hasher);
    ls_hasher_destroy(&hasher);
    ls_hasher_destroy(NULL);
}

Test(hash, text_round_trip)
{
    const struct ls_hash hashes[] = {
        {0, 0}, {0, 1}, {1, 0}, {UINT64_MAX, UINT64_MAX}, {0x0123456789abcdef, 0x8000000000000000}};
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        char text[LS_HASH_TEXT];
        struct ls_hash back = {7, 7};
        ls_hash_text(hashes[i], text);
        cr_expect(strlen(text) == 32);
        cr_expect(ls_hash_parse(text, &back) && ls_hash_equal(back, hashes[i]), "'%s'", text);
        for (size_t j = 0; j < sizeof hashes / sizeof hashes[0]; j++)
            cr_expect(ls_hash_equal(hashes[i], hashes[j]) == (i == j), "%zu and %zu", i, j);
    }
    struct ls_hash upper, lower;
    cr_expect(ls_hash_parse("99AA06D3014798D86001C324468D497F", &upper) &&
              ls_hash_parse("99aa06d3014798d86001c324468d497f", &lower) && ls_hash_equal(upper, lower));
}

Test(hash, other_text_is_refused)
{
    const char *const cases[] = {"",
                                 "0",
                                 "99aa06d3014798d86001c324468d497",
                                 "99aa06d3014798d86001c324468d497f0",
                                 "99aa06d3014798d86001c324468d497g",
                                 " 9aa06d3014798d86001c324468d497f",
                                 "0x99aa06d3014798d86001c324468d49",
                                 "-9aa06d3014798d86001c324468d497f",
                                 "99aa06d3014798d8-001c324468d497f"};
    struct ls_hash hash;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        cr_expect(!ls_hash_parse(cases[c], &hash), "'%s' was read", cases[c]);
}

Test(text, a_float_has_the_fewest_digits_that_read_back)
{
    static const struct {
        uint32_t bits;
        const char *text;
    } cases[] = {{0x3dcccccd, "0.1"},
                 {0x3dccccce, "0.10000001"},
                 {0x80000000, "-0"},
                 {0x00000001, "1e-45"},
                 {0x7f800000, "inf"},
                 {0xff800000, "-inf"},
                 {0x7f7fffff, "3.4028235e+38"},
                 /* Which NaN it is depends on the processor, its text must not. */
                 {0x7fc00000, "nan"},
                 {0xffc00000, "nan"},
                 {0xffc12345, "nan"}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        char text[LS_FLOAT_TEXT];
        cr_expect_str_eq(ls_text_of_float(ls_float(cases[c].bits), text), cases[c].text, "%08x gave '%s'",
                         cases[c].bits, text);
    }
}
