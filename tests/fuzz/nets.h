/* What both targets of the net language check. */
#ifndef LS_FUZZ_NETS_H
#define LS_FUZZ_NETS_H

#include <string.h>

#include "fuzz.h"
#include "model/net.h"

static inline void fuzz_check_layout(const struct ls_net *net)
{
    ptrdiff_t end = 0;
    for (int t = 0; t < net->n_tensors; t++) {
        const struct ls_parameter *tensor = &net->tensors[t];
        fuzz_require(tensor->count > 0 && tensor->offset >= end, "tensors that overlap");
        fuzz_require(tensor->count <= net->n_floats - tensor->offset, "a tensor beyond the flat array");
        end = tensor->offset + tensor->count;
    }
    for (int i = 0; i < net->n_layers; i++)
        fuzz_require(net->layers[i].from < i && net->layers[i].also < i, "a layer before what it takes");
}

static inline void fuzz_check_net(const char *text)
{
    const struct ls_shape in = {.n_dims = 3, .dims = {3, 8, 8}, .count = 192};
    struct ls_error err = {.code = LS_OK};
    struct ls_net net, again;
    const enum ls_code code = ls_net_create(&net, text, in, &err);
    fuzz_require_message(code, &err);
    if (code == LS_OK) {
        fuzz_check_layout(&net);
        fuzz_require(ls_net_create(&again, net.text, in, &err) == LS_OK, "the canonical text cannot be read");
        fuzz_require(strcmp(net.text, again.text) == 0, "the canonical text reads back differently");
        fuzz_require(net.n_floats == again.n_floats, "the canonical text is of another net");
        ls_net_release(&again);
    }
    ls_net_release(&net);
}

#endif
