/* lockstep convert: any data into the trainer's own file (data/lsd.h), each rank its share of the blocks.
 *
 * Rank 0 makes the temporary, reserves its room and gives it its name in the end; every rank writes its
 * blocks where they belong; then rank 0 adds the tables and the header.  Until the rename nothing is at OUT.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "base/timer.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "data/lsd_write.h"
#include "data/readers.h"
#include "data/source.h"
#include "formats/savefile.h"

struct convert_options {
    const char *in, *out, *test_data;
    int type, progress, quiet;
    float divisor;
    int64_t block_bytes;
};

static const char *const type_names[] = {"keep", "u8", "f32", NULL};
static const char *const progress_choices[] = {"off", "on", "auto", NULL};

struct job {
    struct convert_options options;
    struct ls_comm *comm;
    struct ls_data data;         /* behind the streams, when the input has none of its own */
    struct ls_stream streams[2]; /* training, test */
    int has_test;
    struct ls_lsd_plan plan;
    struct ls_lsd_header header;
    char *names;
    uint8_t *table;          /* this rank's lines, part after part */
    struct ls_savefile file; /* rank 0's */
    int fd;
    double began_s, shown_s;
    int64_t done, share; /* samples */
};

static enum ls_code parse(struct convert_options *o, int argc, char **argv, int *help, int print,
                          struct ls_error *err)
{
    *o = (struct convert_options){.progress = 2, .block_bytes = 1 << 20};
    const struct ls_option options[] = {
        {"test-data", "SPEC", LS_OPTION_TEXT, &o->test_data,
         "test data for the same file; what IN carries itself is always kept", "none", 0, 0, NULL, NULL},
        {"type", "NAME", LS_OPTION_CHOICE, &o->type,
         "inputs as bytes (u8) or binary32 (f32); keep: as they are read; a value that would change is "
         "refused",
         "keep", 0, 0, type_names, NULL},
        {"divisor", "X", LS_OPTION_FLOAT, &o->divisor,
         "with --type u8: a value is byte / X; 255 for pixels between 0 and 1",
         "1, or the one that bytes have", 1e-30, 1e30, NULL, NULL},
        {"block-bytes", "N", LS_OPTION_INT, &o->block_bytes,
         "bytes of samples under one checksum; also the memory that converting takes", "1048576", 1, 1 << 30,
         NULL, NULL},
        {"progress", "on|off|auto", LS_OPTION_CHOICE, &o->progress,
         "a live line on stderr; auto: when that is a terminal", "auto", 0, 0, progress_choices, NULL},
        {"quiet", NULL, LS_OPTION_FLAG, &o->quiet, "print nothing", NULL, 0, 0, NULL, NULL},
    };
    const struct ls_command_line line = {
        .command = "convert",
        .synopsis = "lockstep convert IN OUT.lsd [OPTION ...]   or   mpirun -n RANKS lockstep convert ...",
        .summary =
            "Writes data as the file that training maps into memory: samples at a fixed stride, checksums a "
            "block. IN is anything that --data takes. The bytes of OUT do not depend on the number of ranks. "
            "Files of text and the like stream through, so memory does not grow with them.",
        .notes = "examples: lockstep convert fashion-mnist fashion.lsd; then train --data fashion.lsd\n"
                 "exit status: 0 done; 2 usage; 3 a file, the data, memory or the network failed (OUT is "
                 "then as it "
                 "was).\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .least_words = 2,
        .most_words = 2,
    };
    int n_words = 0;
    const char *words[2] = {NULL, NULL};
    const enum ls_code code =
        ls_options_parse(&line, argc, argv, words, &n_words, print ? stdout : NULL, help, err);
    o->in = words[0];
    o->out = words[1];
    return code;
}

/* ---- the input ---- */

/* Data that has no stream of its own, or stands beside such; .lsd files have two parts, which a stream has
 * not. */
static enum ls_code open_dataset(struct job *job, struct ls_error *err)
{
    const struct convert_options *o = &job->options;
    enum ls_code code = ls_data_open(&job->data, o->in, o->test_data, err);
    if (code == LS_OK)
        code = ls_data_check(&job->data, LS_CHECK_ON, ls_comm_rank(job->comm), ls_comm_size(job->comm), err);
    job->has_test = job->data.test.n_samples > 0;
    if (code == LS_OK)
        code = ls_stream_of_dataset(&job->streams[0], &job->data.train, NULL, err);
    if (code == LS_OK && job->streams[0].facts.classes.n == 0)
        code = ls_class_names_copy(&job->streams[0].facts.classes, &job->data.classes, err);
    if (code == LS_OK && job->has_test)
        code = ls_stream_of_dataset(&job->streams[1], &job->data.test, NULL, err);
    return code;
}

static enum ls_code open_input(struct job *job, struct ls_error *err)
{
    const struct convert_options *o = &job->options;
    if (!ls_data_streams(o->in) || (o->test_data && !ls_data_streams(o->test_data)))
        return open_dataset(job, err);
    struct ls_stream *train = &job->streams[0];
    enum ls_code code = ls_stream_open(train, o->in, NULL, err);
    if (code == LS_OK && train->facts.has_test && o->test_data)
        code =
            ls_fail(err, LS_USAGE, "--test-data %s is not needed: '%s' carries its own", o->test_data, o->in);
    job->has_test = code == LS_OK && (train->facts.has_test || o->test_data);
    if (!job->has_test)
        return code;
    const struct ls_stream_request request = {.classes =
                                                  &train->facts.classes, /* as the training data has them */
                                              .n_numbered = train->facts.n_classes,
                                              .n_features = train->facts.n_features,
                                              .trained = &train->facts.inputs,
                                              .test_part = train->facts.has_test};
    return ls_stream_open(&job->streams[1], o->test_data ? o->test_data : o->in, &request, err);
}

/* What stands at OUT is replaced: that must not be what the user has the data in. */
static enum ls_code check_output(const char *spec, const char *out, struct ls_error *err)
{
    struct ls_source source;
    struct stat in, old;
    const int parsed = ls_source_parse(&source, spec, NULL) == LS_OK, exists = stat(out, &old) == 0;
    enum ls_code code = LS_OK;
    for (int i = 0; parsed && exists && i < source.n_files && code == LS_OK; i++)
        if (stat(source.files[i], &in) == 0 && in.st_dev == old.st_dev && in.st_ino == old.st_ino)
            code = ls_fail(err, LS_USAGE, "'%s' would replace the data that it is made of: give another OUT",
                           out);
    ls_source_release(&source);
    return code;
}

static enum ls_code prepare(struct job *job, struct ls_error *err)
{
    const struct convert_options *o = &job->options;
    if (check_output(o->in, o->out, err) != LS_OK ||
        (o->test_data && check_output(o->test_data, o->out, err) != LS_OK))
        return LS_USAGE;
    if (o->divisor != 0.0f && o->type != LS_LSD_U8)
        return ls_fail(err, LS_USAGE, "--divisor means nothing without --type u8");
    enum ls_code code = open_input(job, err);
    job->plan = (struct ls_lsd_plan){.path = o->out,
                                     .type = (enum ls_lsd_type)o->type,
                                     .divisor = o->divisor,
                                     .block_bytes = o->block_bytes};
    if (code == LS_OK)
        code = ls_lsd_prepare(&job->header, &job->plan, &job->streams[0].facts,
                              job->has_test ? &job->streams[1].facts : NULL, &job->names, err);
    return code;
}

/* ---- the output, the same file on every rank ---- */

enum { PATH_BYTES = 4096 + 64 };

/* Rank 0's text on every rank: counts are what ranks can sum. */
static enum ls_code share_path(struct ls_comm *comm, const char *path, char text[PATH_BYTES],
                               struct ls_error *err)
{
    int64_t letters[PATH_BYTES] = {0};
    const size_t n = path ? strlen(path) : 0;
    for (size_t i = 0; i < n && i + 1 < PATH_BYTES; i++)
        letters[i] = (unsigned char)path[i];
    const enum ls_code code = ls_comm_sum_counts(comm, letters, PATH_BYTES, err);
    for (int i = 0; i < PATH_BYTES; i++)
        text[i] = (char)letters[i];
    return code;
}

static enum ls_code open_output(struct job *job, struct ls_error *err)
{
    const int first = ls_comm_rank(job->comm) == 0;
    char temporary[PATH_BYTES];
    err->code = first ? ls_savefile_open(&job->file, job->options.out, err) : LS_OK;
    if (first && err->code == LS_OK)
        err->code = ls_lsd_reserve(job->file.fd, job->header.file_bytes, job->options.out, err);
    enum ls_code code = ls_comm_agree(job->comm, err);
    if (code == LS_OK)
        code = share_path(job->comm, first ? job->file.temporary : NULL, temporary, err);
    if (code != LS_OK)
        return code;
    job->fd = open(temporary, O_WRONLY | O_CLOEXEC);
    err->code = job->fd >= 0
                    ? LS_OK
                    : ls_fail_errno(err, LS_FAILED,
                                    "cannot open '%s', which rank 0 made: all ranks must see the folder of "
                                    "OUT under the same name",
                                    temporary);
    return ls_comm_agree(job->comm, err);
}

/* ---- blocks ---- */

static struct ls_range share_of(const struct job *job, int part)
{
    const int64_t blocks = ls_lsd_blocks(&job->header, part), P = ls_comm_size(job->comm),
                  r = ls_comm_rank(job->comm), more = blocks % P;
    const int64_t begin = blocks / P * r + (r < more ? r : more);
    return (struct ls_range){begin, begin + blocks / P + (r < more)};
}

static int shows_progress(const struct job *job)
{
    const struct convert_options *o = &job->options;
    return ls_comm_rank(job->comm) == 0 && !o->quiet && (o->progress == 1 || (o->progress == 2 && isatty(2)));
}

/* Rank 0's share stands for all. */
static void show_progress(void *context, int64_t samples, int64_t bytes)
{
    struct job *job = context;
    (void)bytes;
    job->done += samples;
    const double now = ls_now_s(), between = 0.2;
    if (!shows_progress(job) || (now - job->shown_s < between && job->done < job->share))
        return;
    job->shown_s = now;
    const double part = (double)job->done / (double)job->share, spent = now - job->began_s;
    fprintf(stderr, "\r%5.1f %%  %.0f samples/s  %.0f s left ", 100 * part,
            (double)job->done * ls_comm_size(job->comm) / spent, spent / part - spent);
    if (job->done >= job->share)
        fputc('\n', stderr);
    fflush(stderr);
}

static int64_t samples_of(const struct job *job, int part, struct ls_range blocks)
{
    const int64_t n = job->header.part[part].n_samples, S = job->header.block_samples;
    const int64_t end =
        blocks.end > blocks.begin && blocks.end == ls_lsd_blocks(&job->header, part) ? n : blocks.end * S;
    return blocks.end > blocks.begin ? end - blocks.begin * S : 0;
}

static enum ls_code write_share(struct job *job, struct ls_error *err)
{
    const struct ls_lsd_watch watch = {.wrote = show_progress, .context = job};
    const int64_t line = ls_lsd_line(&job->header);
    const struct ls_range mine[2] = {share_of(job, 0), share_of(job, 1)};
    const int64_t lines = mine[0].end - mine[0].begin + mine[1].end - mine[1].begin;
    job->share = samples_of(job, 0, mine[0]) + samples_of(job, 1, mine[1]);
    job->table = ls_alloc((size_t)lines, (size_t)line, "checksums", err);
    if (!job->table)
        return LS_FAILED;
    uint8_t *table = job->table;
    enum ls_code code = LS_OK;
    for (int p = 0; p < 2 && code == LS_OK; p++) {
        code = ls_lsd_write_blocks(job->fd, &job->header, &job->plan, p, &job->streams[p], mine[p].begin,
                                   mine[p].end, table, &watch, err);
        table += (mine[p].end - mine[p].begin) * line;
    }
    if (code == LS_OK && ls_comm_rank(job->comm) > 0 && fsync(job->fd) != 0)
        code = ls_fail_errno(err, LS_FAILED, "cannot write '%s'", job->options.out);
    return code;
}

/* Every rank's lines, in the order of blocks, on rank 0. */
static enum ls_code gather_tables(struct job *job, uint8_t **tables, struct ls_error *err)
{
    const int first = ls_comm_rank(job->comm) == 0;
    const size_t line = (size_t)ls_lsd_line(&job->header);
    const uint8_t *at = job->table;
    size_t used = 0;
    *tables = first ? ls_alloc((size_t)ls_lsd_table_bytes(&job->header), 1, "checksums", err) : NULL;
    size_t *sizes = ls_alloc((size_t)ls_comm_size(job->comm), sizeof *sizes, "sizes", err);
    err->code = (first && !*tables) || !sizes ? LS_FAILED : LS_OK;
    enum ls_code code = ls_comm_agree(job->comm, err);
    for (int p = 0; p < 2 && code == LS_OK; p++) {
        const struct ls_range mine = share_of(job, p);
        const size_t bytes = (size_t)(mine.end - mine.begin) * line;
        void *all = NULL;
        code = ls_comm_gather_variable(job->comm, at, bytes, &all, sizes, err);
        const size_t n = (size_t)ls_lsd_blocks(&job->header, p) * line;
        if (code == LS_OK && first)
            memcpy(*tables + used, all, n);
        used += n;
        at += bytes;
        ls_free(all);
    }
    ls_free(sizes);
    return code;
}

static enum ls_code finish(struct job *job, struct ls_error *err)
{
    uint8_t *tables;
    enum ls_code code = gather_tables(job, &tables, err);
    if (code == LS_OK && ls_comm_rank(job->comm) == 0) {
        err->code = ls_lsd_write_frame(job->fd, &job->header, &job->plan, job->names, tables, err);
        if (err->code == LS_OK)
            err->code = ls_savefile_commit(&job->file, err);
    }
    ls_free(tables);
    return code == LS_OK ? ls_comm_agree(job->comm, err) : code;
}

static void report(const struct job *job)
{
    const struct ls_lsd_header *h = &job->header;
    char a[32], b[32], test[64] = "", bytes[32], hash[LS_HASH_TEXT];
    const double seconds = ls_now_s() - job->began_s;
    ls_hash_text(h->identity, hash);
    if (job->has_test)
        snprintf(test, sizeof test, " training + %s test", ls_text_grouped(h->part[1].n_samples, b));
    printf("converted '%s' to '%s': %s%s samples of %lld %s, %s bytes in %.2f s (%.0f MB/s), checksum %s\n",
           job->options.in, job->options.out, ls_text_grouped(h->part[0].n_samples, a), test,
           (long long)h->n_features, h->is_bytes ? "bytes" : "numbers", ls_text_grouped(h->file_bytes, bytes),
           seconds, (double)h->file_bytes / 1e6 / seconds, hash);
}

static enum ls_code run(struct job *job, struct ls_error *err)
{
    uint8_t bytes[LS_LSD_PAGE];
    job->began_s = ls_now_s();
    err->code = prepare(job, err);
    enum ls_code code = ls_comm_agree(job->comm, err);
    if (code == LS_OK) {
        ls_lsd_encode(&job->header, bytes);
        code = ls_comm_compare_hashes(job->comm, job->header.identity,
                                      "the shape of the data read by each rank", err);
    }
    if (code == LS_OK)
        code = open_output(job, err);
    if (code == LS_OK) {
        err->code = write_share(job, err);
        code = ls_comm_agree(job->comm, err);
    }
    if (code == LS_OK)
        code = finish(job, err);
    if (code == LS_OK && ls_comm_rank(job->comm) == 0 && !job->options.quiet)
        report(job);
    return code;
}

enum ls_code ls_command_convert(struct ls_comm *comm, int argc, char **argv, struct ls_error *err)
{
    struct job job = {.comm = comm, .fd = -1, .file = {.fd = -1}};
    int help = 0;
    err->code = parse(&job.options, argc, argv, &help, ls_comm_rank(comm) == 0, err);
    enum ls_code code = ls_comm_agree(comm, err);
    if (code != LS_OK || help)
        return code;
    code = run(&job, err);
    if (job.fd >= 0)
        close(job.fd);
    ls_savefile_release(&job.file);
    for (int p = 0; p < 2; p++)
        ls_stream_close(&job.streams[p]);
    ls_data_release(&job.data);
    ls_free(job.names);
    ls_free(job.table);
    return code;
}
