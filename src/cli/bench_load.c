/* lockstep bench load: what loading costs beside the least that it could cost.  The bare ways read whole
 * files, check nothing, and keep their memory. */
#include "cli/bench_load.h"

#include <fcntl.h>
#include <libdeflate.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/timer.h"
#include "cli/bench_statistics.h"
#include "cli/cli.h"
#include "cli/data_check.h"
#include "data/lsd_file.h"
#include "data/readers.h"

enum { MOST_ROUNDS = 1000, FILES = 4, PAGE = 4096, NAME = PATH_MAX };

struct bench {
    struct ls_comm *comm;
    struct ls_data data;
    char folder[NAME], idx[FILES][NAME + 16], lsd[NAME + 16];
    char idx_spec[2][2 * NAME + 40], lsd_spec[NAME + 40];
    int n_files; /* of IDX: images and labels, of test samples too */
    struct libdeflate_decompressor *inflater;
    struct ls_hasher *hasher;
    size_t most_bytes, packed_bytes, plain_bytes, lsd_bytes; /* of a file's content; of all IDX files; */
    uint8_t *in, *out;                                       /* (most_bytes), for the bare ways */
    struct ls_error *err;
};

/* ---- files ---- */

static enum ls_code cannot(const char *what, const char *path, struct ls_error *err)
{
    return ls_fail_errno(err, LS_FAILED, "cannot %s \"%s\"", what, path);
}

/* The samples' pixels or labels as an IDX file in memory. */
static size_t make_idx(const struct ls_dataset *d, int labels, uint8_t *to)
{
    const int rank = labels ? 1 : 1 + d->n_dims;
    uint32_t dims[1 + LS_MAX_DIMS] = {(uint32_t)d->n_samples};
    size_t at = 4;
    for (int i = 1; i < rank; i++)
        dims[i] = (uint32_t)d->dims[i - 1];
    memcpy(to, (const uint8_t[]){0, 0, 8, (uint8_t)rank}, 4);
    for (int i = 0; i < rank; i++)
        for (int shift = 24; shift >= 0; shift -= 8)
            to[at++] = (uint8_t)(dims[i] >> shift);
    if (labels)
        for (int64_t i = 0; i < d->n_samples; i++)
            to[at++] = (uint8_t)d->labels[i];
    else
        memcpy(to + at, d->pixels, (size_t)(d->n_samples * d->n_features));
    return labels ? at : at + (size_t)(d->n_samples * d->n_features);
}

static enum ls_code write_file(const char *path, const void *bytes, size_t n, struct ls_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return cannot("create", path, err);
    const int whole = fwrite(bytes, 1, n, file) == n;
    return fclose(file) == 0 && whole ? LS_OK : cannot("write", path, err);
}

/* gzip's own level. */
static enum ls_code write_idx(struct bench *b, int i, struct ls_error *err)
{
    const struct ls_dataset *d = i < 2 ? &b->data.train : &b->data.test;
    struct libdeflate_compressor *engine = libdeflate_alloc_compressor(6);
    const size_t plain = make_idx(d, i % 2, b->out);
    const size_t packed = engine ? libdeflate_gzip_compress(engine, b->out, plain, b->in, b->most_bytes) : 0;
    libdeflate_free_compressor(engine);
    snprintf(b->idx[i], sizeof b->idx[i], "%s/%d.gz", b->folder, i);
    b->packed_bytes += packed;
    b->plain_bytes += plain;
    return packed ? write_file(b->idx[i], b->in, packed, err)
                  : ls_fail(err, LS_FAILED, "\"%s\": cannot compress %zu bytes", b->idx[i], plain);
}

static enum ls_code convert(struct bench *b, struct ls_error *err)
{
    char *words[] = {(char[]){"lockstep"}, (char[]){"convert"},     b->idx_spec[0], b->lsd,
                     (char[]){"--quiet"},  (char[]){"--test-data"}, b->idx_spec[1]};
    return ls_run_command(b->comm, b->n_files == FILES ? 7 : 5, words, err);
}

static enum ls_code write_files(struct bench *b, struct ls_error *err)
{
    const char *where = getenv("TMPDIR");
    struct stat facts;
    enum ls_code code = LS_OK;
    snprintf(b->folder, sizeof b->folder, "%.3000s/lockstep-bench-XXXXXX", where && *where ? where : "/tmp");
    if (!mkdtemp(b->folder)) {
        code = cannot("create", b->folder, err);
        b->folder[0] = '\0';
        return code;
    }
    snprintf(b->lsd, sizeof b->lsd, "%s/data.lsd", b->folder);
    /* Not left to choose: read by pread there would be no pixels to compare and touch. */
    snprintf(b->lsd_spec, sizeof b->lsd_spec, "lsd:%s,read=mmap", b->lsd);
    for (int i = 0; i < b->n_files && code == LS_OK; i++)
        code = write_idx(b, i, err);
    for (int p = 0; p < 2; p++)
        snprintf(b->idx_spec[p], sizeof b->idx_spec[p], "idx:%s,%s", b->idx[2 * p], b->idx[2 * p + 1]);
    if (code == LS_OK)
        code = convert(b, err);
    if (code == LS_OK && stat(b->lsd, &facts) != 0)
        code = cannot("examine", b->lsd, err);
    b->lsd_bytes = code == LS_OK ? (size_t)facts.st_size : 0;
    return code;
}

static void remove_files(struct bench *b)
{
    for (int i = 0; i < FILES; i++)
        if (b->idx[i][0])
            unlink(b->idx[i]);
    if (b->lsd[0])
        unlink(b->lsd);
    if (b->folder[0])
        rmdir(b->folder);
}

/* ---- what is timed; each returns something of what it saw, so that no compiler leaves it out ---- */

static size_t read_whole(struct bench *b, const char *path, enum ls_code *code)
{
    size_t n = 0;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t got; file >= 0 && (got = read(file, b->in + n, b->most_bytes - n)) > 0;)
        n += (size_t)got;
    if (file < 0 || n == 0)
        *code = cannot("read", path, b->err);
    if (file >= 0)
        close(file);
    return n;
}

static enum ls_code inflate_bare(struct bench *b, uint64_t *seen)
{
    enum ls_code code = LS_OK;
    for (int i = 0; i < b->n_files && code == LS_OK; i++) {
        size_t made = 0;
        const size_t n = read_whole(b, b->idx[i], &code);
        if (libdeflate_gzip_decompress(b->inflater, b->in, n, b->out, b->most_bytes, &made) !=
            LIBDEFLATE_SUCCESS)
            return code == LS_OK ? ls_fail(b->err, LS_FAILED, "\"%s\" does not inflate", b->idx[i]) : code;
        *seen += b->out[made - 1];
    }
    return code;
}

/* All files at once, as Fashion-MNIST is read. */
static enum ls_code read_idx(const struct bench *b, struct ls_data *data, struct ls_error *err)
{
    const int with_test = b->n_files == FILES;
    const struct ls_idx_paths paths = {b->idx[0], b->idx[1], with_test ? b->idx[2] : NULL,
                                       with_test ? b->idx[3] : NULL};
    memset(data, 0, sizeof *data);
    return ls_read_idx(data, &paths, err);
}

static enum ls_code load_idx(struct bench *b, uint64_t *seen)
{
    struct ls_data data;
    const enum ls_code code = read_idx(b, &data, b->err);
    if (code == LS_OK)
        *seen += data.train.pixels[0];
    ls_data_release(&data);
    return code;
}

static uint64_t touch(const uint8_t *bytes, size_t n)
{
    uint64_t sum = 0;
    for (size_t at = 0; at < n; at += PAGE)
        sum += ((const volatile uint8_t *)bytes)[at];
    return sum;
}

static enum ls_code map_bare(struct bench *b, uint64_t *seen)
{
    const int file = open(b->lsd, O_RDONLY | O_CLOEXEC);
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, b->lsd_bytes, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED)
        return cannot("map", b->lsd, b->err);
    madvise(map, b->lsd_bytes, MADV_RANDOM); /* as training asks for, and twice as fast: no reading ahead */
    *seen += touch(map, b->lsd_bytes);
    munmap(map, b->lsd_bytes);
    close(file);
    return LS_OK;
}

static enum ls_code open_lsd(struct bench *b, uint64_t *seen)
{
    struct ls_data data;
    const enum ls_code code = ls_data_open(&data, b->lsd_spec, NULL, b->err);
    if (code == LS_OK) {
        ls_data_expect(&data, 1);
        *seen += touch(data.train.file->map, b->lsd_bytes);
    }
    ls_data_release(&data);
    return code;
}

static enum ls_code hash_bare(struct bench *b, uint64_t *seen)
{
    enum { PIECE = 1 << 20 };
    enum ls_code code = LS_OK;
    const int file = open(b->lsd, O_RDONLY | O_CLOEXEC);
    ls_hasher_reset(b->hasher);
    for (ssize_t got; file >= 0 && (got = read(file, b->in, PIECE)) > 0;)
        ls_hasher_add(b->hasher, b->in, (size_t)got);
    if (file < 0)
        code = cannot("read", b->lsd, b->err);
    else
        close(file);
    *seen += ls_hasher_end(b->hasher).low;
    return code;
}

static enum ls_code check_lsd(struct bench *b, uint64_t *seen)
{
    struct ls_data data;
    enum ls_code code = ls_data_open(&data, b->lsd_spec, NULL, b->err);
    if (code == LS_OK)
        code = ls_data_check(&data, LS_CHECK_ON, 0, 1, b->err);
    *seen += data.train.n_samples > 0;
    ls_data_release(&data);
    return code;
}

/* In pairs: the bare way, then ours. */
static const struct way {
    const char *what;
    enum ls_code (*run)(struct bench *, uint64_t *);
} ways[] = {{"read and inflate with libdeflate", inflate_bare},
            {"load gzip IDX", load_idx},
            {"map the file, touch each page", map_bare},
            {"open .lsd, touch each page", open_lsd},
            {"read the file, hash it", hash_bare},
            {"open .lsd, --check-data on", check_lsd}};
enum { WAYS = sizeof ways / sizeof *ways };

/* ---- the bench ---- */

static int same_samples(const struct ls_dataset *a, const struct ls_dataset *b)
{
    return a->n_samples == b->n_samples && a->n_features == b->n_features &&
           (a->n_samples == 0 ||
            (memcmp(a->pixels, b->pixels, (size_t)(a->n_samples * a->n_features)) == 0 &&
             memcmp(a->labels, b->labels, (size_t)a->n_samples * sizeof *a->labels) == 0));
}

static enum ls_code verify(struct bench *b, struct ls_error *err)
{
    for (int i = 0; i < 2; i++) {
        struct ls_data data;
        enum ls_code code = i ? ls_data_open(&data, b->lsd_spec, NULL, err) : read_idx(b, &data, err);
        if (code == LS_OK &&
            !(same_samples(&data.train, &b->data.train) && same_samples(&data.test, &b->data.test)))
            code = ls_fail(err, LS_DIFFERENT, "what is loaded from %s is not the data: nothing was timed",
                           i ? "the .lsd file" : "gzip IDX files");
        ls_data_release(&data);
        if (code != LS_OK)
            return code;
    }
    return LS_OK;
}

static void print(const struct bench *b, double (*seconds)[MOST_ROUNDS], int n)
{
    static double ratios[MOST_ROUNDS];
    printf("%.1f MB of samples and labels as IDX, %.1f MB gzipped; %.1f MB as .lsd; in the page cache; "
           "verified\n\n",
           1e-6 * (double)b->plain_bytes, 1e-6 * (double)b->packed_bytes, 1e-6 * (double)b->lsd_bytes);
    printf("%-34s %10s %8s %10s\n", "", "ms, median", "GB/s", "times bare");
    for (int w = 0; w < WAYS; w++) {
        for (int r = 0; r < n; r++) /* of rounds, so before any of the two is sorted */
            ratios[r] = seconds[w][r] / seconds[w / 2 * 2][r];
        const double ratio = ls_quantile(ratios, n, 0.5),
                     bytes = (double)(w < 2 ? b->plain_bytes : b->lsd_bytes);
        static double sorted[MOST_ROUNDS];
        memcpy(sorted, seconds[w], (size_t)n * sizeof *sorted);
        const double median = ls_quantile(sorted, n, 0.5);
        printf("%-34s %10.3f %8.2f", ways[w].what, 1e3 * median, 1e-9 * bytes / median);
        if (w % 2)
            printf(" %10.2f", ratio);
        printf("\n");
    }
    printf("\n%d rounds, all in turn\n", n);
}

static enum ls_code time_ways(struct bench *b, double limit_s)
{
    static double seconds[WAYS][MOST_ROUNDS];
    static volatile uint64_t sink;
    const double until = ls_now_s() + limit_s;
    uint64_t seen = 0;
    int n = 0;
    for (int round = -1; round < 3 || (n < MOST_ROUNDS && ls_now_s() < until); round++) {
        n = round < 0 ? 0 : round; /* the first warms up */
        for (int w = 0; w < WAYS; w++)
            seconds[w][n] = 0;
        for (int i = 0; i < 2 * WAYS; i++) {
            const int w =
                i < WAYS ? i : (i - WAYS) ^ 1; /* the second of two finds caches warm: both orders */
            const double began = ls_now_s();
            const enum ls_code code = ways[w].run(b, &seen);
            seconds[w][n] += 0.5 * (ls_now_s() - began);
            if (code != LS_OK)
                return code;
        }
        n = round < 0 ? 0 : round + 1;
    }
    sink = seen;
    (void)sink;
    print(b, seconds, n);
    return LS_OK;
}

static enum ls_code check_data(const struct bench *b, const char *name, struct ls_error *err)
{
    const struct ls_dataset *train = &b->data.train;
    if (!train->pixels || !train->labels || train->n_classes > 256 ||
        (b->data.test.n_samples > 0 && !b->data.test.pixels))
        return ls_fail(
            err, LS_USAGE,
            "bench load: '%.200s' is no pixels in memory with labels up to 255: give such data, as "
            "fashion-mnist, digits or lsd:FILE,read=memory",
            name);
    return LS_OK;
}

static enum ls_code prepare(struct bench *b, struct ls_error *err)
{
    const struct ls_dataset *train = &b->data.train;
    const struct ls_dataset *test = &b->data.test;
    const int64_t more = test->n_samples > train->n_samples ? test->n_samples : train->n_samples;
    const size_t pixels = (size_t)(more * train->n_features), n = b->data.test.n_samples > 0 ? FILES : 2;
    b->n_files = (int)n;
    b->most_bytes = 2 * pixels + ((size_t)2 << 20);
    b->in = ls_alloc(b->most_bytes, 1, "files to time", err);
    b->out = ls_alloc(b->most_bytes, 1, "files to time", err);
    b->inflater = libdeflate_alloc_decompressor();
    b->hasher = ls_hasher_create();
    if (!b->in || !b->out)
        return LS_FAILED;
    if (!b->inflater || !b->hasher)
        return ls_fail(err, LS_FAILED, "out of memory for inflating and hashing");
    memset(b->in, 1, b->most_bytes);
    memset(b->out, 1, b->most_bytes);
    return write_files(b, err);
}

enum ls_code ls_bench_load(const struct ls_session *session, const struct ls_bench_load_options *options,
                           struct ls_error *err)
{
    static struct bench b; /* large: not for the stack */
    b = (struct bench){.comm = session->comm, .err = err};
    if (ls_comm_size(session->comm) > 1)
        return ls_fail(err, LS_USAGE, "bench load is for one rank, found %d: start it without mpirun",
                       ls_comm_size(session->comm));
    enum ls_code code = ls_data_open(&b.data, options->data, NULL, err);
    if (code == LS_OK)
        code = check_data(&b, options->data, err);
    if (code == LS_OK)
        code = prepare(&b, err);
    if (code == LS_OK)
        code = verify(&b, err);
    if (code == LS_OK)
        code = time_ways(&b, options->seconds);
    remove_files(&b);
    libdeflate_free_decompressor(b.inflater);
    ls_hasher_destroy(&b.hasher);
    ls_free(b.in);
    ls_free(b.out);
    ls_data_release(&b.data);
    return code;
}
