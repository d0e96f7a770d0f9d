/* Owns the short way from decimal digits to binary32.
 *
 * At most 19 digits make a whole number w, and the point and the exponent a power of ten.  When w <= 2^53 and
 * the power is at most 10^22, both are exact in binary64, so w * 10^e or w / 10^-e is the decimal value
 * rounded once to binary64 (W. D. Clinger, "How to Read Floating Point Numbers Accurately", 1990).  Rounding
 * that again to binary32 gives what rounding once gives, unless it lies exactly halfway between two binary32
 * values: those, and all other numbers, are strtof's, which is exact and ten times slower. */
#include "base/decimal.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double power_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

struct parts {
    uint64_t digits; /* the first 19 that count */
    int n_digits;    /* those, leading zeros not counted; more than 19: digits lack some */
    int any;         /* at least one digit stands there */
    long exponent;   /* of ten, for digits */
};

static const char *take_digits(struct parts *parts, const char *at, const char *end, int behind_point)
{
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        parts->any = 1;
        if (parts->n_digits > 0 || *at != '0')
            parts->n_digits++;
        if (parts->n_digits <= 19)
            parts->digits = parts->digits * 10 + (uint64_t)(*at - '0');
        parts->exponent -= behind_point;
    }
    return at;
}

/* Behind the e; NULL when there are no digits. */
static const char *take_exponent(struct parts *parts, const char *at, const char *end)
{
    const int minus = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    long exponent = 0;
    const char *first = at;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        if (exponent < 100000)
            exponent = exponent * 10 + (*at - '0');
    parts->exponent += minus ? -exponent : exponent;
    return at > first ? at : NULL;
}

static int take_apart(struct parts *parts, const char *at, const char *end)
{
    at = take_digits(parts, at, end, 0);
    if (at < end && *at == '.')
        at = take_digits(parts, at + 1, end, 1);
    if (!parts->any)
        return 0;
    if (at < end && (*at == 'e' || *at == 'E'))
        at = take_exponent(parts, at + 1, end);
    return at == end;
}

/* Whether the parts are few enough, and no tie. */
static int short_way(const struct parts *parts, double *value)
{
    const long e = parts->exponent;
    if (parts->n_digits > 19 || parts->digits > (uint64_t)1 << 53 || e < -22 || e > 22)
        return 0;
    *value = e < 0 ? (double)parts->digits / power_of_ten[-e] : (double)parts->digits * power_of_ten[e];
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    return (bits & 0x1FFFFFFF) != 0x10000000; /* the 29 bits that binary32 does not have: a half? */
}

enum ls_decimal ls_decimal_to_float(const char *text, size_t n, float *value)
{
    struct parts parts = {.digits = 0};
    const int sign = n > 0 && (*text == '-' || *text == '+');
    double wide;
    if (!take_apart(&parts, text + sign, text + n))
        return LS_DECIMAL_NONE;
    if (short_way(&parts, &wide)) {
        *value = (float)(*text == '-' ? -wide : wide);
        return LS_DECIMAL_OK;
    }
    *value = strtof(text, NULL);
    return isfinite(*value) ? LS_DECIMAL_OK : LS_DECIMAL_HUGE;
}
