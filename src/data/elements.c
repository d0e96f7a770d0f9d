/* Owns the meaning of binary numbers in files.  See elements.h. */
#include "data/elements.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HOST_BIG_ENDIAN = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ };

int ls_element_is_known(const struct ls_element *type)
{
    switch (type->kind) {
    case 'b':
        return type->bytes == 1;
    case 'u':
    case 'i':
        return type->bytes == 1 || type->bytes == 2 || type->bytes == 4 || type->bytes == 8;
    case 'f':
        return type->bytes == 2 || type->bytes == 4 || type->bytes == 8;
    default:
        return 0;
    }
}

int ls_element_is_native_float(const struct ls_element *type)
{
    return type->kind == 'f' && type->bytes == 4 && type->big_endian == HOST_BIG_ENDIAN;
}

const char *ls_element_name(const struct ls_element *type, char text[LS_ELEMENT_TEXT])
{
    const char *name = type->kind == 'u' ? "uint" : type->kind == 'i' ? "int" : "float";
    if (type->kind == 'b')
        snprintf(text, LS_ELEMENT_TEXT, "bool");
    else
        snprintf(text, LS_ELEMENT_TEXT, "%s%s%d", type->big_endian && type->bytes > 1 ? "big-endian " : "",
                 name, 8 * type->bytes);
    return text;
}

/* The bits of an element of `bytes` bytes, in the order that the file has them. */
static inline uint64_t bits_of(const uint8_t *raw, int bytes, int big_endian)
{
    uint8_t b1;
    uint16_t b2;
    uint32_t b4;
    uint64_t b8;
    const int swap = big_endian != HOST_BIG_ENDIAN;
    switch (bytes) {
    case 1:
        memcpy(&b1, raw, 1);
        return b1;
    case 2:
        memcpy(&b2, raw, 2);
        return swap ? __builtin_bswap16(b2) : b2;
    case 4:
        memcpy(&b4, raw, 4);
        return swap ? __builtin_bswap32(b4) : b4;
    default:
        memcpy(&b8, raw, 8);
        return swap ? __builtin_bswap64(b8) : b8;
    }
}

static inline float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* binary16, which binary32 holds exactly: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static inline float half_of(uint32_t bits)
{
    const uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ffu;
    if (exponent == 31)
        return float_of(sign | 0x7f800000u | fraction << 13);
    if (exponent > 0)
        return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    const float tiny = (float)fraction * 0x1p-24f; /* subnormal there, normal here: exact */
    return sign ? -tiny : tiny;
}

static inline int64_t signed_of(uint64_t bits, int bytes)
{
    switch (bytes) {
    case 1:
        return (int8_t)bits;
    case 2:
        return (int16_t)bits;
    case 4:
        return (int32_t)bits;
    default:
        return (int64_t)bits;
    }
}

static inline float as_float(char kind, int bytes, uint64_t bits)
{
    if (kind == 'f')
        return bytes == 2   ? half_of((uint32_t)bits)
               : bytes == 4 ? float_of((uint32_t)bits)
                            : (float)double_of(bits);
    return kind == 'i' ? (float)signed_of(bits, bytes) : (float)bits;
}

double ls_element_value(const struct ls_element *type, const void *raw)
{
    const uint64_t bits = bits_of(raw, type->bytes, type->big_endian);
    if (type->kind == 'f')
        return type->bytes == 2   ? (double)half_of((uint32_t)bits)
               : type->bytes == 4 ? (double)float_of((uint32_t)bits)
                                  : double_of(bits);
    return type->kind == 'i' ? (double)signed_of(bits, type->bytes) : (double)bits;
}

/* One loop a type: the compiler sees constants, and makes the loads and conversions vector code. */
void ls_elements_to_floats(const struct ls_element *type, size_t n, const void *raw, float *x)
{
    const uint8_t *from = raw;
    const int big = type->big_endian;
#define LOOP(kind_, bytes_)                                                                                  \
    if ((type->kind == (kind_) || (type->kind == 'b' && (kind_) == 'u')) && type->bytes == (bytes_)) {       \
        for (size_t i = 0; i < n; i++)                                                                       \
            x[i] = as_float(kind_, bytes_, bits_of(from + i * (bytes_), bytes_, big));                       \
        return;                                                                                              \
    }
    LOOP('u', 1)
    LOOP('u', 2)
    LOOP('u', 4)
    LOOP('u', 8)
    LOOP('i', 1)
    LOOP('i', 2)
    LOOP('i', 4)
    LOOP('i', 8)
    LOOP('f', 2)
    LOOP('f', 4)
    LOOP('f', 8)
#undef LOOP
}
