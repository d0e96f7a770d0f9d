/* The trainer's own data file, .lsd: samples at a fixed stride, as training reads them, so that opening takes
 * a page of the file and a sample is where its index says.
 *
 * All numbers are little-endian.  The header is the first 4,096 bytes:
 *
 *     0  8  89 4c 53 44 0d 0a 1a 0a: "LSD", and what a transfer as text would spoil
 *     8  4  version, 1
 *    12  4  0x01020304
 *    16  8  bytes of the file
 *    24  4  bytes of an input element: 1 (byte, value = byte / divisor) or 4 (binary32)
 *    28  4  divisor, binary32; 0 with 4-byte elements
 *    32  4  dimensions of a sample, 1 to 4
 *    36  4  classes, 0 to 65536; 0: no labels
 *    40 32  four dimensions, 8 bytes each; 0 behind the last
 *    72  8  target numbers a sample; 0: none
 *    80  8  bytes of the class names
 *    88  4  class names; 0, or as many as classes
 *    92  4  0
 *    96  8  samples in a block
 *   104 40  training part: samples, then where its inputs, labels, target numbers and checksums begin in the
 *           file (0: it has none), 8 bytes each
 *   144 40  test part, the same; all 0 without one
 *   184 16  XXH3-128 of the class names, low half first, as every checksum here
 *   200 16  XXH3-128 of all tables of checksums, one behind the other
 *   216     0
 *  4080 16  XXH3-128 of bytes 0 to 4079
 *
 * Then, each from the next multiple of 4,096 and padded with 0, what there is of: class names (each ends with
 * a 0 byte, in the order of classes); inputs (samples x features elements), labels (int32) and target numbers
 * (binary32) of the training part; the same of the test part; the training part's table, the test part's.  A
 * table has a line a block: the checksums of the block's inputs, labels, target numbers, as far as there are.
 * A block is `samples in a block` samples, the last of a part fewer.
 *
 * Nothing in it depends on when, where or by how many ranks it was written.  The checksum of the header
 * covers the checksum of the tables, and so stands for everything: ranks that hold copies compare these 16
 * bytes. */
#ifndef LS_DATA_LSD_H
#define LS_DATA_LSD_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "data/stream.h"

enum { LS_LSD_PAGE = 4096, LS_LSD_VERSION = 1, LS_LSD_PARTS = 2, LS_LSD_HASH_BYTES = 16 };

struct ls_lsd_part {
    int64_t n_samples;
    int64_t inputs, labels, values, table; /* offsets; 0 when there is none */
};

struct ls_lsd_header {
    int64_t file_bytes;
    int is_bytes;
    float divisor;
    int n_dims;
    int64_t dims[LS_MAX_DIMS];
    int64_t n_features; /* not in the file: the product of dims */
    int32_t n_classes;
    int64_t n_values;
    int64_t names_bytes;
    int32_t n_names;
    int64_t block_samples;
    struct ls_lsd_part part[LS_LSD_PARTS];
    struct ls_hash names, tables; /* checksums */
    struct ls_hash identity;      /* of the header's bytes: set by encode and decode */
};

/* Sets offsets and file_bytes from everything else.  LS_FAILED when the file would be too large. */
enum ls_code ls_lsd_lay_out(struct ls_lsd_header *header, const char *path, struct ls_error *err);

void ls_lsd_encode(struct ls_lsd_header *header, uint8_t bytes[LS_LSD_PAGE]);

/* Believes nothing: every field is checked, alone and against the others, and the offsets and the size
 * against those that ls_lsd_lay_out gives.  n: how many bytes there are, at most LS_LSD_PAGE. */
enum ls_code ls_lsd_decode(struct ls_lsd_header *header, const uint8_t *bytes, size_t n, int64_t file_bytes,
                           const char *path, struct ls_error *err);

int ls_lsd_is_magic(const unsigned char *bytes, size_t n);

/* Bytes of a sample's inputs; of a line of a table; blocks of a part. */
static inline int64_t ls_lsd_stride(const struct ls_lsd_header *header)
{
    return header->n_features * (header->is_bytes ? 1 : 4);
}
static inline int64_t ls_lsd_line(const struct ls_lsd_header *header)
{
    return LS_LSD_HASH_BYTES * (1 + (header->n_classes > 0) + (header->n_values > 0));
}
static inline int64_t ls_lsd_blocks(const struct ls_lsd_header *header, int part)
{
    const int64_t n = header->part[part].n_samples;
    return n > 0 ? (n - 1) / header->block_samples + 1 : 0;
}
static inline int64_t ls_lsd_table_bytes(const struct ls_lsd_header *header)
{
    return (ls_lsd_blocks(header, 0) + ls_lsd_blocks(header, 1)) * ls_lsd_line(header);
}

void ls_lsd_put_hash(uint8_t bytes[LS_LSD_HASH_BYTES], struct ls_hash hash);
struct ls_hash ls_lsd_get_hash(const uint8_t bytes[LS_LSD_HASH_BYTES]);

#endif
