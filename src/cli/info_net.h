/* What `lockstep info` says of nets. */
#ifndef LS_CLI_INFO_NET_H
#define LS_CLI_INFO_NET_H

#include <stdint.h>

#include "base/status.h"

struct ls_info_net {
    const char *net;   /* as --net of train; NULL: not asked for */
    const char *input; /* "3x32x32"; NULL: the named net's, or 28x28 */
    int64_t batch, microbatch, outputs, ranks;
};

/* Prints each layer of the net, and what training it takes. */
enum ls_code ls_info_net(const struct ls_info_net *options, struct ls_error *err);

/* Lists the named nets. */
enum ls_code ls_info_nets(struct ls_error *err);

#endif
