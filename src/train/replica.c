/* Owns the search for what differs.  See replica.h. */
#include "train/replica.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum {
    CHUNK = 4096
}; /* floats of a broadcast: on the stack, since a run that ends so may be out of memory */

void ls_difference_add(struct ls_difference *difference, ptrdiff_t at, ptrdiff_t n, const float *mine,
                       const float *other)
{
    if (memcmp(mine, other, (size_t)n * sizeof *mine) == 0)
        return;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (memcmp(&mine[i], &other[i], sizeof *mine) == 0 || (isnan(mine[i]) && isnan(other[i])))
            continue;
        if (difference->n_different++ == 0) {
            difference->first = at + i;
            difference->mine = mine[i];
            difference->other = other[i];
        }
    }
}

struct ls_difference ls_difference_from(struct ls_comm *comm, int from, ptrdiff_t n, const float *mine)
{
    struct ls_difference difference = {0};
    float chunk[CHUNK];
    for (ptrdiff_t at = 0; at < n; at += CHUNK) {
        const ptrdiff_t count = n - at < CHUNK ? n - at : CHUNK;
        if (ls_comm_rank(comm) == from)
            memcpy(chunk, mine + at, (size_t)count * sizeof *chunk);
        ls_comm_broadcast(comm, chunk, (size_t)count * sizeof *chunk, from);
        ls_difference_add(&difference, at, count, mine + at, chunk);
    }
    return difference;
}

const char *ls_describe_element(const struct ls_net *net, ptrdiff_t element, char text[LS_ELEMENT_TEXT])
{
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_parameter *tensor = &net->tensors[t];
        char index[64];
        if (element < tensor->offset || element >= tensor->offset + tensor->count)
            continue;
        ls_parameter_index(tensor, element - tensor->offset, index, sizeof index);
        snprintf(text, LS_ELEMENT_TEXT, "%s%s", tensor->name, index);
        return text;
    }
    if (element == net->n_floats)
        snprintf(text, LS_ELEMENT_TEXT, "the loss");
    else
        snprintf(text, LS_ELEMENT_TEXT, "number %td, which is of no tensor", element);
    return text;
}

const char *ls_describe_value(float value, char text[LS_VALUE_TEXT])
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    snprintf(text, LS_VALUE_TEXT, "%.9g 0x%08" PRIx32, (double)value, bits);
    return text;
}

enum ls_code ls_replica_compare(struct ls_comm *comm, const struct ls_net *net, const float *flat,
                                struct ls_hash hash, const char *what, struct ls_error *err)
{
    const enum ls_code code = ls_comm_compare_hashes(comm, hash, what, err);
    if (code != LS_REPLICA)
        return code;
    int odd = -1;
    const int right = ls_comm_vote(comm, hash, &odd);
    struct ls_difference difference = ls_difference_from(comm, right, net->n_floats, flat);
    ls_comm_broadcast(comm, &difference, sizeof difference, odd);
    char element[LS_ELEMENT_TEXT], odd_value[LS_VALUE_TEXT], right_value[LS_VALUE_TEXT], count[32];
    const size_t at = strlen(err->text);
    if (difference.n_different ==
        0) { /* NaNs whose bits processors choose: the run is about to end as such */
        err->code = LS_OK;
        return LS_OK;
    }
    snprintf(err->text + at, sizeof err->text - at,
             ". First difference: %s is %s on rank %d, %s on rank %d; %s numbers differ",
             ls_describe_element(net, difference.first, element),
             ls_describe_value(difference.mine, odd_value), odd,
             ls_describe_value(difference.other, right_value), right,
             ls_text_grouped(difference.n_different, count));
    return LS_REPLICA;
}
