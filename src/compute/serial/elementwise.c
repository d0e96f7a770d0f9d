/* The oracle's operations that are one independent formula an element, activations aside. */
#include "compute/serial/serial.h"

#include "base/contract.h"
#include "base/philox.h"

void ls_serial_dropout(const struct ls_dropout *drop, ptrdiff_t B, ptrdiff_t K, float *y, const float *x)
{
    for (ptrdiff_t b = 0; b < B; b++)
        for (ptrdiff_t k = 0; k < K; k++) {
            const uint64_t i = (uint64_t)(drop->first_row + b) * (uint64_t)K + (uint64_t)k;
            const struct ls_bits128 bits = ls_random(drop->seed, LS_PURPOSE_DROPOUT, drop->stream, i / 4);
            y[b * K + k] = bits.word[i % 4] >= drop->threshold ? x[b * K + k] * drop->scale : 0.0f;
        }
}

void ls_serial_transpose(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t columns, float *to, const float *from)
{
    for (ptrdiff_t b = 0; b < B; b++)
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < columns; j++)
                to[(b * columns + j) * rows + i] = from[(b * rows + i) * columns + j];
}

void ls_serial_add(enum ls_activation act, ptrdiff_t n, float *y, const float *a, const float *b)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
    ls_serial_activation_forward(act, 0.0f, n, y, y);
}

void ls_serial_add_backward(enum ls_activation act, ptrdiff_t n, float *dz, const float *a, const float *b,
                            const float *y)
{
    for (ptrdiff_t i = 0; i < n; i++)
        dz[i] = a[i] + b[i];
    ls_serial_activation_backward(act, 0.0f, n, dz, dz, y);
}

void ls_serial_blend(ptrdiff_t n, float *average, const float *x, float weight)
{
    for (ptrdiff_t i = 0; i < n; i++)
        average[i] = ls_fma(weight, x[i] - average[i], average[i]);
}

void ls_serial_scale(ptrdiff_t n, float *y, const float *x, float factor)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

void ls_serial_scale_rows(ptrdiff_t B, ptrdiff_t K, float *x, const float *offset, const float *factor)
{
    for (ptrdiff_t b = 0; b < B; b++)
        for (ptrdiff_t k = 0; k < K; k++)
            x[b * K + k] = (x[b * K + k] - offset[k]) * factor[k];
}
