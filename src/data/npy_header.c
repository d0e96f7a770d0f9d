/* Owns .npy headers.  The dictionary in them is Python's text; what is read of it is only what numpy writes:
 * three keys in any order, strings without escapes, True or False, a tuple of whole numbers.  Whatever else
 * Python would understand is refused. */
#include "data/npy_header.h"

#include <stdio.h>
#include <string.h>

static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

int ls_npy_is_meant(const unsigned char *bytes, size_t n)
{
    return n >= sizeof magic && memcmp(bytes, magic, sizeof magic) == 0;
}

size_t ls_npy_header_bytes(const uint8_t prefix[LS_NPY_PREFIX], const char *where, struct ls_error *err)
{
    if (!ls_npy_is_meant(prefix, LS_NPY_PREFIX)) {
        ls_fail(err, LS_FAILED,
                "%s is not .npy: byte 0: found %02x %02x %02x %02x %02x %02x, expected 93 and NUMPY", where,
                prefix[0], prefix[1], prefix[2], prefix[3], prefix[4], prefix[5]);
        return 0;
    }
    if (prefix[6] < 1 || prefix[6] > 3 || prefix[7] != 0) {
        ls_fail(err, LS_FAILED, "%s: byte 6: .npy version %d.%d; known are 1.0, 2.0 and 3.0", where,
                prefix[6], prefix[7]);
        return 0;
    }
    const size_t text = prefix[6] == 1 ? (size_t)(prefix[8] | prefix[9] << 8)
                                       : (size_t)prefix[8] | (size_t)prefix[9] << 8 |
                                             (size_t)prefix[10] << 16 | (size_t)prefix[11] << 24;
    const size_t bytes = (prefix[6] == 1 ? 10 : 12) + text;
    if (bytes >= LS_NPY_PREFIX && bytes <= LS_NPY_MAX_HEADER)
        return bytes;
    ls_fail(err, LS_FAILED, "%s: byte 8: a header of %zu bytes; allowed are %d to %d", where, bytes,
            LS_NPY_PREFIX, LS_NPY_MAX_HEADER);
    return 0;
}

/* The dictionary's text while it is read. */
struct reader {
    const char *where;
    const char *text; /* the whole header: positions are the file's */
    size_t at, end;
    struct ls_error *err;
};

static enum ls_code unexpected(const struct reader *r, const char *expected)
{
    char found[24] = "the header's end";
    if (r->at < r->end) {
        const unsigned char c = (unsigned char)r->text[r->at];
        if (c >= ' ' && c < 127)
            snprintf(found, sizeof found, "'%c'", c);
        else
            snprintf(found, sizeof found, "byte %02x", c);
    }
    return ls_fail(r->err, LS_FAILED, "%s: byte %zu of the header: found %s, expected %s", r->where, r->at,
                   found, expected);
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (r->text[r->at] == ' ' || r->text[r->at] == '\n'))
        r->at++;
}

/* Takes `c`, after blanks, if it is there. */
static int take(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at == r->end || r->text[r->at] != c)
        return 0;
    r->at++;
    return 1;
}

static int take_word(struct reader *r, const char *word)
{
    const size_t n = strlen(word);
    skip_blanks(r);
    if (r->end - r->at < n || memcmp(r->text + r->at, word, n) != 0)
        return 0;
    r->at += n;
    return 1;
}

static enum ls_code take_string(struct reader *r, char *string, size_t size, const char *expected)
{
    const char quote = take(r, '\'') ? '\'' : take(r, '"') ? '"' : '\0';
    if (!quote)
        return unexpected(r, expected);
    size_t n = 0;
    for (; r->at < r->end && r->text[r->at] != quote; r->at++) {
        const char c = r->text[r->at];
        if (c < ' ' || c > '~' || c == '\\' || n + 1 == size)
            return unexpected(r, n + 1 == size ? "the end of a short text" : "a plain character");
        string[n++] = c;
    }
    string[n] = '\0';
    return take(r, quote) ? LS_OK : unexpected(r, "the end of a text");
}

/* What 'descr' says.  Anything but "<f4" and its kin is named for what it is. */
static enum ls_code parse_descr(struct reader *r, struct ls_element *type)
{
    char descr[64];
    if (take(r, '['))
        return ls_fail(
            r->err, LS_FAILED,
            "%s holds records (a structured type); save each field by itself: np.save(file, a['field'])",
            r->where);
    const enum ls_code code = take_string(r, descr, sizeof descr, "a type such as '<f4'");
    if (code != LS_OK)
        return code;
    if (descr[0] == '|' && descr[1] == 'O')
        return ls_fail(r->err, LS_FAILED,
                       "%s holds pickled Python objects, which are never loaded; convert with "
                       "a.astype('float32')",
                       r->where);
    if (strlen(descr) == 3)
        *type = (struct ls_element){.kind = descr[1], .bytes = descr[2] - '0', .big_endian = descr[0] == '>'};
    const int has_order = descr[0] == '<' || descr[0] == '>';
    if (strlen(descr) == 3 && ls_element_is_known(type) &&
        (has_order || (descr[0] == '|' && type->bytes == 1)))
        return LS_OK;
    return ls_fail(r->err, LS_FAILED,
                   "%s: type '%s'; allowed are |b1, |u1, |i1, and with < or > in front u2 u4 u8 i2 i4 i8 f2 "
                   "f4 f8; convert with a.astype('float32')",
                   r->where, descr);
}

static enum ls_code parse_size(struct reader *r, uint64_t *size)
{
    skip_blanks(r);
    const size_t start = r->at;
    *size = 0;
    for (; r->at < r->end && r->text[r->at] >= '0' && r->text[r->at] <= '9'; r->at++) {
        if (r->at - start == 19)
            return unexpected(r, "a dimension of at most 19 digits");
        *size = 10 * *size + (uint64_t)(r->text[r->at] - '0');
    }
    if (r->at == start)
        return unexpected(r, "a dimension");
    take(r, 'L'); /* Python 2 wrote (3L, 4L) */
    return LS_OK;
}

static enum ls_code parse_shape(struct reader *r, int *n_dims, uint64_t dims[LS_ARRAY_DIMS])
{
    int comma = 1;
    *n_dims = 0;
    if (!take(r, '('))
        return unexpected(r, "a tuple");
    for (; !take(r, ')'); comma = take(r, ',')) {
        if (!comma)
            return unexpected(r, "',' or ')'");
        uint64_t size;
        const enum ls_code code = parse_size(r, &size);
        if (code != LS_OK)
            return code;
        if (*n_dims == LS_ARRAY_DIMS)
            return ls_fail(
                r->err, LS_FAILED,
                "%s has more than %d dimensions; allowed are samples, then at most %d sizes of one", r->where,
                LS_ARRAY_DIMS, LS_MAX_DIMS);
        dims[(*n_dims)++] = size;
    }
    if (*n_dims == 1 && !comma) /* "(3)" is no tuple */
        return unexpected(r, "',' behind a tuple's only number");
    return LS_OK;
}

struct facts {
    int has_descr, has_order, has_shape;
    struct ls_element type;
    int fortran_order;
    int n_dims;
    uint64_t dims[LS_ARRAY_DIMS];
};

static enum ls_code parse_entry(struct reader *r, struct facts *facts)
{
    char key[16];
    const enum ls_code code = take_string(r, key, sizeof key, "'descr', 'fortran_order' or 'shape'");
    if (code != LS_OK)
        return code;
    int *has = strcmp(key, "descr") == 0           ? &facts->has_descr
               : strcmp(key, "fortran_order") == 0 ? &facts->has_order
               : strcmp(key, "shape") == 0         ? &facts->has_shape
                                                   : NULL;
    if (!has || *has)
        return ls_fail(r->err, LS_FAILED,
                       "%s: the header %s '%s'; it has 'descr', 'fortran_order' and 'shape', each once",
                       r->where, has ? "repeats" : "has a key", key);
    *has = 1;
    if (!take(r, ':'))
        return unexpected(r, "':'");
    if (has == &facts->has_descr)
        return parse_descr(r, &facts->type);
    if (has == &facts->has_shape)
        return parse_shape(r, &facts->n_dims, facts->dims);
    facts->fortran_order = take_word(r, "True");
    return facts->fortran_order || take_word(r, "False") ? LS_OK : unexpected(r, "True or False");
}

static enum ls_code parse_dictionary(struct reader *r, struct facts *facts)
{
    int comma = 1;
    if (!take(r, '{'))
        return unexpected(r, "'{'");
    for (; !take(r, '}'); comma = take(r, ',')) {
        if (!comma)
            return unexpected(r, "',' or '}'");
        const enum ls_code code = parse_entry(r, facts);
        if (code != LS_OK)
            return code;
    }
    skip_blanks(r);
    if (r->at != r->end)
        return unexpected(r, "blanks to its end");
    if (facts->has_descr && facts->has_order && facts->has_shape)
        return LS_OK;
    return ls_fail(r->err, LS_FAILED, "%s: the header has no '%s'", r->where,
                   !facts->has_descr   ? "descr"
                   : !facts->has_order ? "fortran_order"
                                       : "shape");
}

enum ls_code ls_npy_header_parse(struct ls_array *array, const uint8_t *header, size_t n,
                                 struct ls_error *err)
{
    struct facts facts = {.n_dims = 0};
    struct reader reader = {.where = array->where,
                            .text = (const char *)header,
                            .at = header[6] == 1 ? 10 : 12,
                            .end = n,
                            .err = err};
    enum ls_code code = parse_dictionary(&reader, &facts);
    if (code == LS_OK)
        code = ls_array_set_shape(array, &facts.type, facts.n_dims, facts.dims, err);
    if (code != LS_OK)
        return code;
    int n_long = 0;
    for (int i = 0; i < facts.n_dims; i++)
        n_long += facts.dims[i] > 1;
    if (facts.fortran_order && n_long > 1)
        return ls_fail(err, LS_FAILED,
                       "%s is in Fortran order: a sample's numbers lie all over the file; save it as "
                       "np.save(file, np.ascontiguousarray(a))",
                       array->where);
    array->first_byte = (int64_t)n;
    return LS_OK;
}
