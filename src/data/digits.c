/* Owns the data set inside the binary: the UCI digits (README.md in this folder credits it), so that a run
 * needs nothing installed.  digits.bin, made by scripts/make_digits.py, is 1,797 x 64 pixels 0..16, then
 * 1,797 labels.
 *
 * .incbin rather than an array in C: nothing generated to review, no seconds of compiling.  The path is
 * relative to where make runs, the top of the source tree. */
#include "base/memory.h"
#include "data/readers.h"

#ifndef LS_DIGITS_PATH
#    define LS_DIGITS_PATH "src/data/digits.bin"
#endif

enum { N_DIGITS = 1797, N_TRAIN = 1500, N_PIXELS = 64 };

__asm__(".pushsection .rodata\n"
        ".globl ls_digits_bytes\n"
        ".hidden ls_digits_bytes\n"
        ".balign 64\n"
        "ls_digits_bytes:\n"
        ".incbin \"" LS_DIGITS_PATH "\"\n"
        ".popsection\n");

extern const uint8_t ls_digits_bytes[N_DIGITS * (N_PIXELS + 1)];

static enum ls_code read_part(struct ls_dataset *part, int first, int n, struct ls_error *err)
{
    int32_t *labels = ls_alloc((size_t)n, sizeof *labels, "labels of the digits", err);
    if (!labels)
        return LS_FAILED;
    for (int i = 0; i < n; i++)
        labels[i] = ls_digits_bytes[N_DIGITS * N_PIXELS + first + i];
    part->n_samples = n;
    ls_dataset_set_shape(part, 2, (const ptrdiff_t[]){8, 8});
    part->pixels = ls_digits_bytes + first * N_PIXELS;
    part->pixel_divisor = 16.0f;
    part->labels = labels;
    part->n_classes = 10;
    part->owned[0] = labels;
    return LS_OK;
}

enum ls_code ls_read_digits(struct ls_data *data, struct ls_error *err)
{
    const enum ls_code code = read_part(&data->train, 0, N_TRAIN, err);
    return code == LS_OK ? read_part(&data->test, N_TRAIN, N_DIGITS - N_TRAIN, err) : code;
}
