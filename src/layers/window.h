/* What convolutions and pools share: a window that moves over an image. */
#ifndef LS_LAYERS_WINDOW_H
#define LS_LAYERS_WINDOW_H

#include "layers/layer.h"

/* Reads the option word at words[*i] ("stride S", "pad P") and moves *i to its last word.  *known says
 * whether it was one. */
enum ls_code ls_window_option(struct ls_layer *layer, int n_words, char *const *words, int *i, int *known,
                              struct ls_error *err);

/* The layer's window over B images. */
struct ls_window ls_window_of(const struct ls_layer *layer, ptrdiff_t B);

/* Fills in the image and the output of layer->conv.at from layer->in; a misfit is explained. */
enum ls_code ls_window_infer(struct ls_layer *layer, struct ls_error *err);

#endif
