/* The net language: text -> layers with their words read and their places in the graph, no shapes yet. */
#ifndef LS_MODEL_LANGUAGE_H
#define LS_MODEL_LANGUAGE_H

#include "layers/layer.h"

struct ls_layer_list {
    char *text; /* canonical, one line */
    int n;
    struct ls_layer *layers; /* an add behind each residual block */
    int last;                /* the layer whose output is the net's, or LS_NET_INPUT */
};

/* As ls_net_create describes.  Release with ls_layer_list_release, also after failure. */
enum ls_code ls_layer_list_parse(struct ls_layer_list *list, const char *text, struct ls_error *err);
void ls_layer_list_release(struct ls_layer_list *list);

/* Puts the layer's place in front of the message that a kind wrote. */
enum ls_code ls_layer_explain(const struct ls_layer *layer, enum ls_code code, struct ls_error *err);

#endif
