/* The trainer's own data file: what goes in comes out, by any way of reading; and no damage gets past the
 * checks: not a byte of the header, with or without its checksum mended, not a bit of the rest, not a file
 * that is cut. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "base/memory.h"
#include "clean.h"
#include "compute/ops.h"
#include "data/lsd_file.h"
#include "data/lsd_write.h"
#include "data/prefetch.h"
#include "data/readers.h"
#include "data/split.h"
#include "files.h"
#include "lockstep.h"

enum { LIMIT_S = 3 * LOCKSTEP_LIMIT_S };

static struct ls_error err;

/* ---- support ---- */

/* Converts in one process, without the command. */
static void make_lsd(const char *path, const char *spec, enum ls_lsd_type type, float divisor,
                     int64_t block_bytes)
{
    struct ls_data data;
    struct ls_stream streams[2] = {{.ops = NULL}, {.ops = NULL}};
    struct ls_lsd_header header;
    const struct ls_lsd_plan plan = {path, type, divisor, block_bytes};
    char *names;
    cr_assert_eq(ls_data_open(&data, spec, NULL, &err), LS_OK, "%s", err.text);
    const int tested = data.test.n_samples > 0;
    cr_assert_eq(ls_stream_of_dataset(&streams[0], &data.train, NULL, &err), LS_OK);
    if (tested)
        cr_assert_eq(ls_stream_of_dataset(&streams[1], &data.test, NULL, &err), LS_OK);
    cr_assert_eq(
        ls_lsd_prepare(&header, &plan, &streams[0].facts, tested ? &streams[1].facts : NULL, &names, &err),
        LS_OK, "%s", err.text);
    const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    uint8_t *tables = ls_alloc((size_t)ls_lsd_table_bytes(&header), 1, "tables", &err);
    cr_assert(fd >= 0 && tables);
    cr_assert_eq(ls_lsd_reserve(fd, header.file_bytes, path, &err), LS_OK, "%s", err.text);
    uint8_t *table = tables;
    for (int p = 0; p < 2; p++) {
        const int64_t blocks = ls_lsd_blocks(&header, p);
        cr_assert_eq(ls_lsd_write_blocks(fd, &header, &plan, p, &streams[p], 0, blocks, table, NULL, &err),
                     LS_OK, "%s", err.text);
        table += blocks * ls_lsd_line(&header);
    }
    cr_assert_eq(ls_lsd_write_frame(fd, &header, &plan, names, tables, &err), LS_OK, "%s", err.text);
    close(fd);
    ls_free(tables);
    ls_free(names);
    ls_stream_close(&streams[0]);
    ls_stream_close(&streams[1]);
    ls_data_release(&data);
}

/* All of a part as training sees it. */
struct seen {
    float *x, *values;
    int32_t *labels;
};

static struct seen see(const struct ls_dataset *d)
{
    const size_t n = (size_t)d->n_samples;
    struct seen seen = {ls_alloc(n, (size_t)d->n_features * 4, "x", NULL),
                        ls_alloc(n, (size_t)d->n_values * 4, "values", NULL), ls_alloc(n, 4, "labels", NULL)};
    int64_t *index = ls_alloc(n, sizeof *index, "index", NULL);
    for (size_t i = 0; i < n; i++)
        index[i] = (int64_t)(i * 7 % n); /* any order */
    ls_dataset_gather(d, &ls_ops_serial, (ptrdiff_t)n, index, seen.x, seen.labels, seen.values);
    ls_free(index);
    return seen;
}

static void forget(struct seen *seen)
{
    ls_free(seen->x);
    ls_free(seen->values);
    ls_free(seen->labels);
}

static void expect_same(const struct ls_dataset *a, const struct ls_dataset *b, const char *what)
{
    cr_assert_eq(a->n_samples, b->n_samples, "%s: %lld and %lld samples", what, (long long)a->n_samples,
                 (long long)b->n_samples);
    cr_assert(a->n_dims == b->n_dims && a->n_features == b->n_features && a->n_classes == b->n_classes &&
                  a->n_values == b->n_values,
              "%s: another shape or other targets", what);
    if (a->n_samples == 0)
        return;
    struct seen x = see(a), y = see(b);
    const size_t n = (size_t)a->n_samples;
    cr_assert_eq(memcmp(x.x, y.x, n * (size_t)a->n_features * 4), 0, "%s: other inputs", what);
    cr_assert_eq(memcmp(x.labels, y.labels, n * 4), 0, "%s: other labels", what);
    cr_assert_eq(memcmp(x.values, y.values, n * (size_t)a->n_values * 4), 0, "%s: other values", what);
    forget(&x);
    forget(&y);
}

/* `measured`: bytes are measured as whole numbers, so only bytes measure as bytes. */
static void expect_same_data(const char *a_spec, const char *b_spec, int measured)
{
    struct ls_data a, b;
    cr_assert_eq(ls_data_open(&a, a_spec, NULL, &err), LS_OK, "%s", err.text);
    cr_assert_eq(ls_data_open(&b, b_spec, NULL, &err), LS_OK, "%s", err.text);
    cr_assert_eq(ls_data_check(&b, LS_CHECK_ON, 0, 1, &err), LS_OK, "%s", err.text);
    expect_same(&a.train, &b.train, b_spec);
    expect_same(&a.test, &b.test, b_spec);
    struct ls_normalise p, q;
    cr_assert_eq(ls_normalise_measure(&p, &a.train, &err), LS_OK);
    cr_assert_eq(ls_normalise_measure(&q, &b.train, &err), LS_OK);
    cr_assert(!measured || (p.mean[0] == q.mean[0] && p.deviation[0] == q.deviation[0]),
              "%s: measured otherwise", b_spec);
    ls_data_release(&a);
    ls_data_release(&b);
}

/* ---- what goes in comes out ---- */

CLEAN_TEST(lsd, every_kind_of_data_comes_back_by_every_way_of_reading)
{
    static const char *const specs[] = {"digits", "synthetic:n=300,shape=2x3x5,classes=7,test=40",
                                        "inline:1,2.5=3;4,5e-3=6;-7,0.125=8", "inline:1,2=3.5,4;4,5=6.25,-1"};
    const struct folder folder = folder_create();
    const struct place file = in_folder(&folder, "a.lsd");
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        for (int64_t block = 1; block <= 1 << 20; block *= 1024) {
            static const char *const ways[] = {"mmap", "pread", "memory", "auto"};
            make_lsd(file.path, specs[i], LS_LSD_KEEP, 0, block);
            for (int w = 0; w < 4; w++) {
                char spec[700];
                snprintf(spec, sizeof spec, "lsd:%s,read=%s", file.path, ways[w]);
                expect_same_data(specs[i], spec, 1);
            }
            expect_same_data(specs[i], file.path, 1); /* by its first bytes */
        }
    folder_destroy(&folder);
}

CLEAN_TEST(lsd, bytes_become_numbers_and_bytes_again)
{
    const struct folder folder = folder_create();
    const struct place f32 = in_folder(&folder, "f32.lsd"), u8 = in_folder(&folder, "u8.lsd");
    make_lsd(f32.path, "digits", LS_LSD_F32, 0, 1 << 16);
    expect_same_data("digits", f32.path, 0);
    make_lsd(u8.path, f32.path, LS_LSD_U8, 16, 1 << 16);
    expect_same_data("digits", u8.path, 1);
    struct stat a, b;
    cr_assert(stat(f32.path, &a) == 0 && stat(u8.path, &b) == 0 && a.st_size > 3 * b.st_size);
    folder_destroy(&folder);
}

/* ---- damage ---- */

/* Opens, checks and uses a file as training would.  Returns whether anything was refused. */
static int is_refused(const char *path, enum ls_check_data check)
{
    struct ls_data data;
    enum ls_code code = ls_data_open(&data, path, NULL, &err);
    if (code != LS_OK)
        return 1;
    code = ls_data_check(&data, check, 0, 1, &err);
    if (code == LS_OK) {
        struct seen seen = see(&data.train);
        forget(&seen);
        code = ls_dataset_failed(&data.train, &err);
    }
    ls_data_release(&data);
    return code != LS_OK;
}

static void put_byte(const char *path, int64_t at, uint8_t byte)
{
    const int fd = open(path, O_WRONLY);
    cr_assert(fd >= 0 && pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static void put_header(const char *path, uint8_t header[LS_LSD_PAGE])
{
    const int fd = open(path, O_WRONLY);
    cr_assert(fd >= 0 && pwrite(fd, header, LS_LSD_PAGE, 0) == LS_LSD_PAGE);
    close(fd);
}

static struct folder folder;
static struct place file;
static uint8_t *whole; /* of the file, before damage */
static size_t n_whole;

static void make_small(const char *spec)
{
    folder = folder_create();
    file = in_folder(&folder, "small.lsd");
    make_lsd(file.path, spec, LS_LSD_KEEP, 0, 500);
    FILE *in = fopen(file.path, "rb");
    struct stat status;
    cr_assert(in && fstat(fileno(in), &status) == 0);
    n_whole = (size_t)status.st_size;
    whole = ls_alloc(n_whole, 1, "a file", &err);
    cr_assert(whole && fread(whole, 1, n_whole, in) == n_whole);
    fclose(in);
    cr_assert(!is_refused(file.path, LS_CHECK_ON), "%s", err.text);
}

static void drop_small(void)
{
    cr_assert(!is_refused(file.path, LS_CHECK_ON), "the last damage was not mended: %s", err.text);
    ls_free(whole);
    folder_destroy(&folder);
}

CLEAN_TEST(lsd, every_byte_of_the_header_is_covered)
{
    make_small("digits");
    for (int i = 0; i < LS_LSD_PAGE; i++) {
        put_byte(file.path, i, (uint8_t)(whole[i] ^ 0x10));
        cr_assert(is_refused(file.path, LS_CHECK_OFF), "byte %d of the header can be damaged", i);
        cr_assert(i < 8 || strstr(err.text, file.path), "byte %d: the message names no file: %s", i,
                  err.text);
        put_byte(file.path, i, whole[i]);
    }
    drop_small();
}

/* Someone who wants harm mends the checksum: fields must stand on their own.  What is accepted is used, which
 * the sanitizers watch. */
CLEAN_TEST(lsd, hostile_headers_harm_nothing)
{
    static const uint8_t bytes[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    int accepted = 0, refused = 0;
    make_small("synthetic:n=60,shape=3x5,classes=4,test=20");
    for (int i = 0; i < 230; i++)
        for (size_t b = 0; b < sizeof bytes; b++) {
            uint8_t header[LS_LSD_PAGE];
            memcpy(header, whole, sizeof header);
            if (header[i] == bytes[b])
                continue;
            header[i] = bytes[b];
            ls_lsd_put_hash(header + LS_LSD_PAGE - 16, ls_hash_bytes(header, LS_LSD_PAGE - 16));
            put_header(file.path, header);
            const int is = is_refused(file.path, LS_CHECK_OFF);
            accepted += !is;
            refused += is;
        }
    put_header(file.path, whole);
    cr_assert(refused > 900 && accepted > 0, "%d refused, %d accepted", refused, accepted);
    drop_small();
}

CLEAN_TEST(lsd, a_flipped_bit_is_found_wherever_it_is)
{
    make_small("synthetic:n=60,shape=3x5,classes=4,test=20");
    for (size_t i = LS_LSD_PAGE; i < n_whole; i += i % 4096 < 700 ? 3 : 61) {
        put_byte(file.path, (int64_t)i, (uint8_t)(whole[i] ^ (1u << i % 8)));
        cr_assert(is_refused(file.path, LS_CHECK_ON), "bit %zu of byte %zu can be flipped", i % 8, i);
        cr_assert(strstr(err.text, file.path) && strstr(err.text, "byte"), "byte %zu: %s", i, err.text);
        put_byte(file.path, (int64_t)i, whole[i]);
    }
    put_byte(file.path, LS_LSD_PAGE + 4 * 15 * 9 + 1, (uint8_t)(whole[LS_LSD_PAGE + 4 * 15 * 9 + 1] ^ 4));
    cr_assert(is_refused(file.path, LS_CHECK_AUTO));
    cr_assert(strstr(err.text, "inputs of training samples 7 to 13 (block 1, bytes 4516 to 4935"), "%s",
              err.text);
    put_byte(file.path, LS_LSD_PAGE + 4 * 15 * 9 + 1, whole[LS_LSD_PAGE + 4 * 15 * 9 + 1]);
    drop_small();
}

/* By name, and by as many shares as ranks. */
CLEAN_TEST(lsd, shares_cover_every_block_once)
{
    make_small("synthetic:n=60,shape=3x5,classes=4,test=20");
    struct ls_data data;
    cr_assert_eq(ls_data_open(&data, file.path, NULL, &err), LS_OK);
    for (int64_t sample = 0; sample < 60; sample += 5)
        for (int n = 1; n <= 12; n += 5) {
            const int64_t at = LS_LSD_PAGE + sample * 60;
            int found = 0;
            put_byte(file.path, at, (uint8_t)(whole[at] ^ 1));
            for (int share = 0; share < n; share++)
                found += ls_data_check(&data, LS_CHECK_ON, share, n, &err) != LS_OK;
            cr_assert_eq(found, 1, "sample %lld: found by %d of %d shares", (long long)sample, found, n);
            put_byte(file.path, at, whole[at]);
        }
    ls_data_release(&data);
    drop_small();
}

CLEAN_TEST(lsd, a_label_that_is_no_class_is_refused_without_checksums)
{
    make_small("synthetic:n=60,shape=3x5,classes=4,test=20");
    struct ls_data data;
    cr_assert_eq(ls_data_open(&data, file.path, NULL, &err), LS_OK);
    const int64_t at = data.train.file->header.part[0].labels + 4 * 17;
    put_byte(file.path, at + 3, 0x80); /* a negative index */
    cr_assert_neq(ls_data_check(&data, LS_CHECK_OFF, 0, 1, &err), LS_OK);
    cr_assert(strstr(err.text, "of training sample 17; allowed are 0 to 3"), "%s", err.text);
    struct seen seen = see(&data.train); /* changed after the check: nothing is indexed by it */
    for (int i = 0; i < 60; i++)
        cr_assert(seen.labels[i] >= 0 && seen.labels[i] < 4);
    forget(&seen);
    cr_assert_eq(ls_dataset_failed(&data.train, &err), LS_FAILED);
    ls_data_release(&data);
    put_byte(file.path, at + 3, whole[at + 3]);
    drop_small();
}

/* Names go into models and onto terminals; a file from elsewhere, whose checksums fit, may have any. */
CLEAN_TEST(lsd, class_names_that_are_none_are_refused)
{
    static const struct {
        const char *names, *part;
    } cases[] = {{"ab\0ab", "'ab' is given twice"},
                 {"a\033\0cd", "class 0 is called 'a?': control characters"},
                 {"ab\0\xff\xff", "class 1 is called '"},
                 {"\0abcd", "class 0 is called ''"},
                 {"ab\0cd", NULL}};
    struct folder made = folder_create();
    const struct place csv = in_folder(&made, "a.csv"), lsd = in_folder(&made, "a.lsd");
    write_file(csv.path, "x,y\n1,ab\n2,cd\n", 14);
    const struct ls_outcome *out = lockstep(1, "convert %s %s --quiet", csv.path, lsd.path);
    cr_assert_eq(out->status, LS_OK, "%s", out->err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n;
        uint8_t *bytes = (uint8_t *)read_file(lsd.path, &n);
        memcpy(bytes + LS_LSD_PAGE, cases[i].names, 6);
        ls_lsd_put_hash(bytes + 184, ls_hash_bytes(bytes + LS_LSD_PAGE, 6));
        ls_lsd_put_hash(bytes + LS_LSD_PAGE - 16, ls_hash_bytes(bytes, LS_LSD_PAGE - 16));
        write_file(lsd.path, (const char *)bytes, n);
        free(bytes);
        const int refused = is_refused(lsd.path, LS_CHECK_ON);
        cr_expect_eq(refused, cases[i].part != NULL, "case %zu: %s", i, err.text);
        if (refused && cases[i].part)
            cr_expect(strstr(err.text, cases[i].part) && strstr(err.text, lsd.path), "%s", err.text);
    }
    folder_destroy(&made);
}

CLEAN_TEST(lsd, a_cut_or_longer_file_is_refused)
{
    make_small("synthetic:n=60,shape=3x5,classes=4,test=20");
    for (size_t n = n_whole - 1; n > 0; n -= n <= 300 ? 1 : n < 1297 ? n - 300 : 997) {
        cr_assert_eq(truncate(file.path, (off_t)n), 0);
        cr_assert(is_refused(file.path, LS_CHECK_OFF), "the first %zu bytes are a file", n);
        cr_assert(n < 8 || strstr(err.text, "cut short"), "%zu bytes: %s", n, err.text);
    }
    FILE *out = fopen(file.path, "wb");
    cr_assert(out && fwrite(whole, 1, n_whole, out) == n_whole && fputc(0, out) == 0);
    fclose(out);
    cr_assert(is_refused(file.path, LS_CHECK_OFF) && strstr(err.text, "too long"), "%s", err.text);
    cr_assert_eq(truncate(file.path, (off_t)n_whole), 0);
    drop_small();
}

/* A file that shrinks under the rows of pread is a message; under a map it is SIGBUS (see below). */
CLEAN_TEST(lsd, a_file_that_shrinks_while_it_is_read_is_told)
{
    char spec[700];
    make_small("synthetic:n=60,shape=3x5,classes=4,test=20");
    snprintf(spec, sizeof spec, "lsd:%s,read=pread", file.path);
    struct ls_data data;
    cr_assert_eq(ls_data_open(&data, spec, NULL, &err), LS_OK);
    struct seen seen = see(&data.train);
    forget(&seen);
    cr_assert_eq(ls_dataset_failed(&data.train, &err), LS_OK);
    cr_assert_eq(truncate(file.path, LS_LSD_PAGE + 100), 0);
    seen = see(&data.train);
    for (int i = 0; i < 15; i++) /* sample 0 was there, see()'s fourth was not */
        cr_assert_eq(seen.x[3 * 15 + i], 0.0f);
    forget(&seen);
    cr_assert_eq(ls_dataset_failed(&data.train, &err), LS_FAILED);
    cr_assert(strstr(err.text, "has become shorter"), "%s", err.text);
    ls_data_release(&data);
    FILE *out = fopen(file.path, "wb");
    cr_assert(out && fwrite(whole, 1, n_whole, out) == n_whole);
    fclose(out);
    drop_small();
}

/* Parts of a split are views of one file, which closes once. */
CLEAN_TEST(lsd, a_split_of_a_file_is_the_split_of_its_source)
{
    static const char *const specs[] = {"digits", "synthetic:n=80,shape=3x5,classes=4"};
    const struct folder here = folder_create();
    const struct place made = in_folder(&here, "a.lsd");
    for (int i = 0; i < 2; i++) {
        struct ls_data a, b;
        struct ls_split split = {.n_parts = 0};
        cr_assert_eq(ls_split_parse(&split, i ? "0.5,0.25,0.25" : "0.75,0.25", &err), LS_OK);
        split.seed = 3;
        split.stratify = 1;
        make_lsd(made.path, specs[i], LS_LSD_KEEP, 0, 999);
        cr_assert_eq(ls_data_open(&a, specs[i], NULL, &err), LS_OK);
        cr_assert_eq(ls_data_open(&b, made.path, NULL, &err), LS_OK);
        cr_assert_eq(ls_data_split(&a, &split, &err), LS_OK, "%s", err.text);
        cr_assert_eq(ls_data_split(&b, &split, &err), LS_OK, "%s", err.text);
        expect_same(&a.train, &b.train, "training part");
        expect_same(&a.validation, &b.validation, "validation part");
        expect_same(&a.test, &b.test, "test part");
        ls_data_release(&a);
        ls_data_release(&b);
    }
    folder_destroy(&here);
}

/* ---- the helper thread ---- */

static int is_in_memory(int fd, int64_t at)
{
    char byte;
    const struct iovec to = {.iov_base = &byte, .iov_len = 1};
    return preadv2(fd, &to, 1, (off_t)at, RWF_NOWAIT) == 1;
}

/* Waits for what comes soon or never. */
static int comes_true(int (*is_so)(struct ls_prefetch *, const struct ls_data *), struct ls_prefetch *p,
                      const struct ls_data *data)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    for (int i = 0; i < 2000; i++) {
        if (is_so(p, data))
            return 1;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int has_asked(struct ls_prefetch *p, const struct ls_data *data)
{
    (void)data;
    return ls_prefetch_counts(p).ranges > 0;
}

/* What of batch 3 is this rank's, rows 16 to 32 of 64, is there before anybody has read it. */
static int share_is_there(struct ls_prefetch *p, const struct ls_data *data)
{
    struct ls_sampler sampler;
    int n = 0;
    (void)p;
    ls_sampler_init(&sampler, data->train.n_samples, LS_SHUFFLE_ON, 5);
    for (int64_t at = 3 * 64 + 16; at < 3 * 64 + 32; at++)
        n += is_in_memory(data->train.file->fd, LS_LSD_PAGE + ls_sampler_index(&sampler, at) * 4096);
    return n == 16;
}

CLEAN_TEST(lsd, the_helper_brings_what_a_rank_will_need)
{
    struct ls_data data;
    struct ls_sampler sampler;
    const struct folder here = folder_create();
    const struct place made = in_folder(&here, "a.lsd");
    make_lsd(made.path, "synthetic:n=4000,shape=32x32,classes=4", LS_LSD_KEEP, 0, 1 << 20);
    cr_assert_eq(ls_data_open(&data, made.path, NULL, &err), LS_OK, "%s", err.text);
    const int fd = data.train.file->fd;
    ls_data_expect(&data, 1);
    ls_sampler_init(&sampler, 4000, LS_SHUFFLE_ON, 5);
    struct ls_prefetch *prefetch = ls_prefetch_create(&data.train);
    cr_assert_not_null(prefetch, "no helper thread");
    for (int64_t first = 0; first < 4000; first += 64) /* all is in memory: nothing to ask for */
        ls_prefetch_step(prefetch, &sampler, first, 64, 16, 32);
    ls_prefetch_destroy(&prefetch);
    cr_assert_null(prefetch);
    cr_assert(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    if (is_in_memory(fd, LS_LSD_PAGE + 4096 * 2000)) {
        fprintf(stderr, "skipped: pages of files in /tmp do not leave memory here\n");
    } else {
        prefetch = ls_prefetch_create(&data.train);
        ls_prefetch_step(prefetch, &sampler, 0, 64, 16, 32);
        cr_assert(comes_true(has_asked, prefetch, &data), "nothing was asked for");
        cr_assert(comes_true(share_is_there, prefetch, &data), "what was asked for did not come");
        ls_prefetch_destroy(&prefetch);
    }
    ls_data_release(&data);
    folder_destroy(&here);
}

/* ---- the program ---- */

static void check_status(const struct ls_outcome *o, int status, const char *what)
{
    cr_assert(o->status == status, "%s: status %d%s, expected %d\n%s%s", what, o->status,
              o->timed_out ? " (timed out)" : "", status, o->out, o->err);
}

static void has(const char *text, const char *part)
{
    cr_assert(strstr(text, part), "no '%s' in\n%s", part, text);
}

Test(lsd_cli, ranks_write_the_same_file_and_it_trains_to_the_same_weights, .timeout = LIMIT_S)
{
    const struct folder here = folder_create();
    const char *const data = "synthetic:n=700,shape=6x7,classes=5,test=90";
    check_status(lockstep(1, "convert %s %s/1.lsd --block-bytes 5000", data, here.path), 0, "one rank");
    check_status(lockstep(3, "convert %s %s/3.lsd --block-bytes 5000 2>&1", data, here.path), 0,
                 "three ranks");
    check_status(lockstep(1, "--version > /dev/null && cmp %s/1.lsd %s/3.lsd", here.path, here.path), 0,
                 "cmp");
    check_status(lockstep(1, "train --data %s --epochs 2", data), 0, "source");
    const struct hash_text source = last_hash(lockstep(1, "train --data %s --epochs 2", data)->out);
    static const struct {
        int ranks;
        const char *how;
    } runs[] = {
        {1, ""}, {1, ",read=pread"}, {3, ",read=pread --check-data on"}, {1, ",read=memory --serial"}};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        const struct ls_outcome *o =
            lockstep(runs[i].ranks, "train --data lsd:%s/3.lsd%s --epochs 2", here.path, runs[i].how);
        check_status(o, 0, runs[i].how);
        cr_assert_str_eq(last_hash(o->out).text, source.text, "read %s on %d ranks: other weights",
                         runs[i].how, runs[i].ranks);
    }
    cr_assert_eq(folder_count(&here), 2, "a temporary was left");
    folder_destroy(&here);
}

/* Records of CIFAR-10: a label, 3,072 pixels. */
static void write_records(const struct folder *here, const char *name, int n, int first)
{
    const struct place place = in_folder(here, name);
    FILE *out = fopen(place.path, "wb");
    cr_assert_not_null(out);
    for (int i = 0; i < n; i++) {
        fputc((first + i) % 10, out);
        for (int k = 0; k < 3072; k++)
            fputc((first + 3 * i + k * k) % 256, out);
    }
    cr_assert_eq(fclose(out), 0);
}

/* A stream gives one part at a time; the file gets both. */
Test(lsd_cli, test_data_that_a_format_carries_is_kept, .timeout = LIMIT_S)
{
    const struct folder here = folder_create();
    char spec[600], name[40];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        write_records(&here, name, 4, 7 * i);
    }
    write_records(&here, "test_batch.bin", 3, 50);
    snprintf(spec, sizeof spec, "cifar10:%s", here.path);
    const struct place made = in_folder(&here, "a.lsd");
    check_status(lockstep(1, "convert %s %s --block-bytes 9000", spec, made.path), 0, "convert");
    expect_same_data(spec, made.path, 1);
    const struct ls_outcome *o = lockstep(1, "convert %s %s --test-data %s", spec, made.path, spec);
    cr_assert_eq(o->status, 2, "two kinds of test data: status %d", o->status);
    has(o->err, "carries its own");
    folder_destroy(&here);
}

/* Test data may be of another format, with or without a stream; the classes mean the same. */
Test(lsd_cli, formats_go_together, .timeout = LIMIT_S)
{
    const struct folder here = folder_create();
    const struct place csv = in_folder(&here, "a.csv"), svm = in_folder(&here, "b.svm"),
                       odd = in_folder(&here, "odd.csv"), lsd = in_folder(&here, "b.lsd"),
                       made = in_folder(&here, "made.lsd"), other = in_folder(&here, "other.lsd");
    write_file(csv.path, "x,y,k\n1,2,0\n3,4,1\n5,6.5,2\n", 26);
    write_file(svm.path, "1 1:3 2:4\n0 1:1 2:2\n", 20);
    write_file(odd.path, "x,y,k\n3,4,b\n1,2,a\n", 18);
    check_status(lockstep(1, "convert %s %s --test-data %s", csv.path, made.path, svm.path), 0, "libsvm");
    check_status(lockstep(1, "convert %s %s", svm.path, lsd.path), 0, "its own");
    const char *const tests[] = {lsd.path, "'inline:3,4=1;1,2=0'"};
    for (int i = 0; i < 2; i++) {
        const struct ls_outcome *o =
            lockstep(1, "convert %s %s --test-data %s", csv.path, other.path, tests[i]);
        check_status(o, 0, tests[i]);
        has(o->out, "3 training + 2 test samples");
        check_status(lockstep(1, "--version > /dev/null && cmp %s %s", made.path, other.path), 0, tests[i]);
    }
    const struct ls_outcome *o = lockstep(1, "convert %s %s --test-data %s", csv.path, other.path, odd.path);
    check_status(o, 3, "labels of text beside numbers");
    has(o->err, "odd.csv\":2: column 3 'k': found 'b': an unknown class; known are 0, 1, 2");
    o = lockstep(1, "convert %s %s", csv.path, csv.path);
    check_status(o, 2, "over itself");
    has(o->err, "would replace the data");
    o = lockstep(1, "convert %s %s --test-data %s", csv.path, lsd.path, lsd.path);
    check_status(o, 2, "over its test data");
    o = lockstep(1, "convert %s %s", csv.path, other.path);
    has(o->out, ": 3 samples of 2 numbers");
    folder_destroy(&here);
}

Test(lsd_cli, damage_is_told_by_the_rank_that_sees_it, .timeout = LIMIT_S)
{
    const struct folder here = folder_create();
    const struct place bad = in_folder(&here, "bad.lsd");
    make_lsd(bad.path, "digits", LS_LSD_KEEP, 0, 6400);
    put_byte(bad.path, 4096 + 64 * 1450, 200);
    const struct ls_outcome *o = lockstep(3, "train --data %s --epochs 1", bad.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "inputs of training samples 1410 to 1499");
    o = lockstep(1, "info %s", bad.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "inputs of training samples 1410 to 1499");
    folder_destroy(&here);
}

Test(lsd_cli, refusals_leave_nothing_behind, .timeout = LIMIT_S)
{
    const struct folder here = folder_create();
    const struct ls_outcome *o = lockstep(1, "convert 'inline:1,2=0;300,4=1' %s/a.lsd --type u8", here.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "feature 0 of training sample 1 is 3e+02, which is none of 0/1 to 255/1");
    o = lockstep(1, "convert digits %s/a.lsd --divisor 3", here.path);
    cr_assert_eq(o->status, 2);
    o = lockstep(1, "convert digits %s/a.lsd --divisor 3 --type u8", here.path);
    cr_assert_eq(o->status, 2);
    has(o->err, "training inputs are bytes over 16 already");
    o = lockstep_after(1, "ulimit -f 64;", "convert digits %s/a.lsd", here.path);
    cr_assert_eq(o->status, 3);
    has(o->err, "a.lsd");
    cr_assert_eq(folder_count(&here), 0, "a file was left");
    folder_destroy(&here);
}

/* Peak memory of `convert` as the data grows tenfold; and address space too small to map the file. */
Test(lsd_cli, memory_stays_flat_and_small_address_space_trains_too, .timeout = LIMIT_S)
{
    const struct folder here = folder_create();
    long peak[2];
    for (int i = 0; i < 2; i++) {
        const struct ls_outcome *o =
            lockstep(1, "convert synthetic:n=%d,shape=30x30,classes=3 %s/%d.lsd --quiet", i ? 20000 : 2000,
                     here.path, i);
        check_status(o, 0, "convert");
        struct rusage used; /* of all children so far: the largest */
        cr_assert_eq(getrusage(RUSAGE_CHILDREN, &used), 0);
        peak[i] = used.ru_maxrss;
    }
    cr_assert_lt(peak[1] - peak[0], 8192, "peak memory grew from %ld to %ld KiB", peak[0], peak[1]);
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes of address space */
    const struct hash_text whole_run = last_hash(
        lockstep(1, "train --data %s/1.lsd --net 'dense 3' --batch 500 --epochs 1 --threads 1", here.path)
            ->out);
    const struct ls_outcome *o =
        lockstep_after(1, "ulimit -v 70000;",
                       "train --data %s/1.lsd --net 'dense 3' --batch 500 --epochs 1 --threads 1", here.path);
    check_status(o, 0, "with 70 MB of address space for a file of 72 MB");
    cr_assert_str_eq(last_hash(o->out).text, whole_run.text);
    o = lockstep_after(1, "ulimit -v 70000;", "train --data lsd:%s/1.lsd,read=memory --epochs 1 --threads 1",
                       here.path);
    cr_assert_eq(o->status, 3, "the limit does not bind: read=memory ended with %d", o->status);
#endif
    folder_destroy(&here);
}

/* The trainer ends on all ranks when a rank cannot read on. */
Test(lsd_cli, a_file_cut_under_a_run_ends_it_with_its_name, .timeout = LIMIT_S)
{
    static const struct {
        const char *way, *message;
        int ranks;
    } cases[] = {
        {"pread", "has become shorter", 1}, {"pread", "has become shorter", 2}, {"mmap", "cut.lsd", 1}};
    const struct folder here = folder_create();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct place cut = in_folder(&here, "cut.lsd");
        make_lsd(cut.path, "synthetic:n=3000,shape=8x8,classes=3", LS_LSD_KEEP, 0, 1 << 16);
        char before[600];
        snprintf(before, sizeof before, "(sleep 1.5; truncate -s 8192 %s) &", cut.path);
        const struct ls_outcome *o = lockstep_after(
            cases[i].ranks, before, "train --data lsd:%s,read=%s --epochs 1000000 --quiet --net 'dense 3'",
            cut.path, cases[i].way);
        cr_assert(o->status != 0 && !o->timed_out, "%s on %d ranks: status %d\n%s", cases[i].way,
                  cases[i].ranks, o->status, o->err);
        has(o->err, cases[i].message);
    }
    folder_destroy(&here);
}
