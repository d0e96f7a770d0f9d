/* Nets that have names: --net lenet5. */
#ifndef LS_MODEL_EXAMPLES_H
#define LS_MODEL_EXAMPLES_H

#include "layers/layer.h"

struct ls_net_example {
    const char *name, *about;
    const char *format; /* the net, %td standing for its outputs */
    struct ls_shape in; /* what it was made for; others may fit too */
};

/* The i-th, or NULL behind the last. */
const struct ls_net_example *ls_net_example_at(int i);
const struct ls_net_example *ls_net_example_find(const char *name); /* or NULL */

/* The text behind --net as ls_net_create takes it: a named net with so many outputs, or the text itself.  The
 * caller frees it with ls_free.  NULL when one word is neither a layer, a file nor a named net, or for want
 * of memory. */
char *ls_net_text(const char *net, ptrdiff_t outputs, struct ls_error *err);

#endif
